//! What a run, an agent and a call have used of what they may use, as accounts that hang below each other: whatever a call takes
//! is taken from its agent and its run too, or from nobody. However many take at once, no account is passed by one unit.

use crate::quota::{LimitHit, Quota, give_back, take_below};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Something that is counted for a call, an agent and a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum Resource {
    /// Microseconds on a processor.
    CpuTime,
    /// Calls through the dispatcher.
    ToolCalls,
    /// Bytes written to files.
    BytesWritten,
    /// Files, directories and links created.
    FilesWritten,
    /// HTTP requests sent.
    HttpRequests,
    /// Bytes sent.
    HttpBytesOut,
    /// Bytes received.
    HttpBytesIn,
    /// Bytes of artifacts.
    ArtifactBytes,
    /// Bytes of the arguments of calls, which the record keeps before anything is decided.
    ArgumentBytes,
    /// Tokens sent to models.
    InputTokens,
    /// Tokens received from models.
    OutputTokens,
    /// Both together: what a script's `budget` counts.
    Tokens,
    /// Millionths of a US dollar.
    UsdMicros,
}

const COUNT: usize = 13;

/// Each resource: its name, and how much an agent and a run may use where nobody says otherwise.
const TABLE: [(Resource, &str, u64, u64); COUNT] = [
    (Resource::CpuTime, "cpu-time-us", 3_600_000_000, 86_400_000_000),
    (Resource::ToolCalls, "tool-calls", 100_000, 1_000_000),
    (Resource::BytesWritten, "bytes-written", 1 << 30, 8 << 30),
    (Resource::FilesWritten, "files-written", 100_000, 1_000_000),
    (Resource::HttpRequests, "http-requests", 10_000, 100_000),
    (Resource::HttpBytesOut, "http-bytes-out", 256 << 20, 2 << 30),
    (Resource::HttpBytesIn, "http-bytes-in", 1 << 30, 8 << 30),
    (Resource::ArtifactBytes, "artifact-bytes", 1 << 30, 8 << 30),
    (Resource::ArgumentBytes, "argument-bytes", 256 << 20, 2 << 30),
    (Resource::InputTokens, "input-tokens", 10_000_000, 100_000_000),
    (Resource::OutputTokens, "output-tokens", 1_000_000, 10_000_000),
    (Resource::Tokens, "tokens", 11_000_000, 110_000_000),
    (Resource::UsdMicros, "usd-micros", 5_000_000, 20_000_000),
];

impl Resource {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Resource> {
        TABLE.iter().map(|row| row.0)
    }

    /// The name, whose last part is the unit.
    pub fn name(self) -> &'static str {
        TABLE[self as usize].1
    }
}

/// How much of each resource may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits([u64; COUNT]);

impl Limits {
    /// No limit at all; what stands above still holds.
    pub const NONE: Limits = Limits([u64::MAX; COUNT]);

    /// What one agent may use.
    pub fn of_agent() -> Self {
        Self(TABLE.map(|row| row.2))
    }

    /// What a whole run may use.
    pub fn of_run() -> Self {
        Self(TABLE.map(|row| row.3))
    }

    /// What one call may use. Its processor time is watched by the cell itself, its tokens and dollars by agent and run.
    pub fn of_call(quota: &Quota) -> Self {
        Self::NONE
            .with(Resource::ToolCalls, quota.tool_calls_max)
            .with(Resource::BytesWritten, quota.bytes_written_max)
            .with(Resource::FilesWritten, quota.files_written_max)
            .with(Resource::HttpRequests, quota.http_requests_max)
            .with(Resource::HttpBytesOut, quota.http_bytes_out_max)
            .with(Resource::HttpBytesIn, quota.http_bytes_in_max)
            .with(Resource::ArtifactBytes, quota.artifact_bytes_max)
    }

    /// The same with another limit for `resource`.
    #[must_use]
    pub fn with(mut self, resource: Resource, limit: u64) -> Self {
        self.0[resource as usize] = limit;
        self
    }

    /// The limit of `resource`.
    pub fn of(&self, resource: Resource) -> u64 {
        self.0[resource as usize]
    }

    /// The same, with nothing above `ceiling`.
    #[must_use]
    pub fn under(mut self, ceiling: &Ceiling) -> Self {
        for (resource, most) in ceiling.rows() {
            self.0[resource as usize] = self.of(resource).min(most);
        }
        self
    }
}

/// Ceilings on what an agent or a run may use, as policies write them: `usd-micros-max = 5000000`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Ceiling {
    /// Microseconds on a processor.
    pub cpu_time_us_max: Option<u64>,
    /// Calls through the dispatcher.
    pub tool_calls_max: Option<u64>,
    /// Bytes written to files.
    pub bytes_written_max: Option<u64>,
    /// Files, directories and links created.
    pub files_written_max: Option<u64>,
    /// HTTP requests sent.
    pub http_requests_max: Option<u64>,
    /// Bytes sent.
    pub http_bytes_out_max: Option<u64>,
    /// Bytes received.
    pub http_bytes_in_max: Option<u64>,
    /// Bytes of artifacts.
    pub artifact_bytes_max: Option<u64>,
    /// Bytes of the arguments of calls.
    pub argument_bytes_max: Option<u64>,
    /// Tokens sent to models.
    pub input_tokens_max: Option<u64>,
    /// Tokens received from models.
    pub output_tokens_max: Option<u64>,
    /// Both together.
    pub tokens_max: Option<u64>,
    /// Millionths of a US dollar.
    pub usd_micros_max: Option<u64>,
}

impl Ceiling {
    /// The lower of each pair: two ceilings in force together.
    #[must_use]
    pub fn lower_of(&self, other: &Ceiling) -> Ceiling {
        let lower = |one: Option<u64>, two: Option<u64>| one.into_iter().chain(two).min();
        Ceiling {
            cpu_time_us_max: lower(self.cpu_time_us_max, other.cpu_time_us_max),
            tool_calls_max: lower(self.tool_calls_max, other.tool_calls_max),
            bytes_written_max: lower(self.bytes_written_max, other.bytes_written_max),
            files_written_max: lower(self.files_written_max, other.files_written_max),
            http_requests_max: lower(self.http_requests_max, other.http_requests_max),
            http_bytes_out_max: lower(self.http_bytes_out_max, other.http_bytes_out_max),
            http_bytes_in_max: lower(self.http_bytes_in_max, other.http_bytes_in_max),
            artifact_bytes_max: lower(self.artifact_bytes_max, other.artifact_bytes_max),
            argument_bytes_max: lower(self.argument_bytes_max, other.argument_bytes_max),
            input_tokens_max: lower(self.input_tokens_max, other.input_tokens_max),
            output_tokens_max: lower(self.output_tokens_max, other.output_tokens_max),
            tokens_max: lower(self.tokens_max, other.tokens_max),
            usd_micros_max: lower(self.usd_micros_max, other.usd_micros_max),
        }
    }

    fn rows(&self) -> impl Iterator<Item = (Resource, u64)> {
        let row = |resource| (resource, self.of(resource));
        Resource::all()
            .map(row)
            .filter_map(|(resource, most)| most.map(|most| (resource, most)))
            .collect::<Vec<_>>()
            .into_iter()
    }

    fn of(&self, resource: Resource) -> Option<u64> {
        match resource {
            Resource::CpuTime => self.cpu_time_us_max,
            Resource::ToolCalls => self.tool_calls_max,
            Resource::BytesWritten => self.bytes_written_max,
            Resource::FilesWritten => self.files_written_max,
            Resource::HttpRequests => self.http_requests_max,
            Resource::HttpBytesOut => self.http_bytes_out_max,
            Resource::HttpBytesIn => self.http_bytes_in_max,
            Resource::ArtifactBytes => self.artifact_bytes_max,
            Resource::ArgumentBytes => self.argument_bytes_max,
            Resource::InputTokens => self.input_tokens_max,
            Resource::OutputTokens => self.output_tokens_max,
            Resource::Tokens => self.tokens_max,
            Resource::UsdMicros => self.usd_micros_max,
        }
    }
}

/// Whose account it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Call,
    Agent,
    Phase,
    Run,
}

/// What somebody has used of what they may use.
#[derive(Debug)]
pub struct Account {
    level: Level,
    limits: Limits,
    used: [AtomicU64; COUNT],
    /// Of what is used, what is only held: it may come back.
    held: [AtomicU64; COUNT],
    above: Option<Arc<Account>>,
}

impl Account {
    /// The account of a run, at the top.
    pub fn of_run(limits: Limits) -> Arc<Self> {
        Self::new(Level::Run, limits, None)
    }

    /// The account of a phase of that run, which has no limits but these.
    pub fn of_phase(run: &Arc<Account>, most: &Ceiling) -> Arc<Self> {
        Self::new(Level::Phase, Limits::NONE.under(most), Some(Arc::clone(run)))
    }

    /// The account of an agent of that run, or of a phase of it.
    pub fn of_agent(above: &Arc<Account>, limits: Limits) -> Arc<Self> {
        Self::new(Level::Agent, limits, Some(Arc::clone(above)))
    }

    /// The account of one call by the holder of `above`.
    pub fn of_call(above: &Arc<Account>, quota: &Quota) -> Arc<Self> {
        Self::new(Level::Call, Limits::of_call(quota), Some(Arc::clone(above)))
    }

    /// The account of a call that belongs to no run: a component asked to describe itself.
    pub fn alone(quota: &Quota) -> Arc<Self> {
        Self::new(Level::Call, Limits::of_call(quota), None)
    }

    fn new(level: Level, limits: Limits, above: Option<Arc<Account>>) -> Arc<Self> {
        Arc::new(Self { level, limits, used: Default::default(), held: Default::default(), above })
    }

    /// Take `amount` from this account and all above it, or from none: the error names the limit that stood in the way.
    pub fn take(&self, resource: Resource, amount: u64) -> Result<(), LimitHit> {
        let used = &self.used[resource as usize];
        take_below(used, self.limits.of(resource), amount).map_err(|used| self.hit(resource, used))?;
        let above = self.above.as_ref().map_or(Ok(()), |above| above.take(resource, amount));
        if above.is_err() {
            give_back(used, amount);
        }
        above
    }

    /// Give back what was taken and not used.
    pub fn give_back(&self, resource: Resource, amount: u64) {
        give_back(&self.used[resource as usize], amount);
        if let Some(above) = &self.above {
            above.give_back(resource, amount);
        }
    }

    /// Note `amount` that has been used already, whatever the limits say; the error names the first that is passed now.
    pub fn charge(&self, resource: Resource, amount: u64) -> Result<(), LimitHit> {
        let before = self.used[resource as usize].fetch_add(amount, Ordering::Relaxed);
        let above = self.above.as_ref().map_or(Ok(()), |above| above.charge(resource, amount));
        let used = before.saturating_add(amount);
        if used > self.limits.of(resource) { Err(self.hit(resource, used)) } else { above }
    }

    /// Hold `most` until what was really used is known. Dropping the hold unsettled gives all of it back.
    pub fn reserve(self: &Arc<Self>, resource: Resource, most: u64) -> Result<Reservation, LimitHit> {
        self.take(resource, most)?;
        self.hold(resource, most);
        Ok(Reservation { account: Arc::clone(self), resource, held: most })
    }

    fn hold(&self, resource: Resource, amount: u64) {
        self.held[resource as usize].fetch_add(amount, Ordering::Relaxed);
        if let Some(above) = &self.above {
            above.hold(resource, amount);
        }
    }

    fn let_go(&self, resource: Resource, amount: u64) {
        give_back(&self.held[resource as usize], amount);
        if let Some(above) = &self.above {
            above.let_go(resource, amount);
        }
    }

    /// What has been spent for good: what is used, less what is held for requests under way. Asked for while one begins or ends it
    /// may for a moment be too high, never too low.
    pub fn settled(&self, resource: Resource) -> u64 {
        let held = self.held[resource as usize].load(Ordering::Relaxed);
        self.used(resource).saturating_sub(held)
    }

    /// What has been used, holds included.
    pub fn used(&self, resource: Resource) -> u64 {
        self.used[resource as usize].load(Ordering::Relaxed)
    }

    /// What may still be used: the least that this account and those above leave.
    pub fn left(&self, resource: Resource) -> u64 {
        let own = self.limits.of(resource).saturating_sub(self.used(resource));
        self.above.as_ref().map_or(own, |above| own.min(above.left(resource)))
    }

    /// The limit that has been reached, if one has.
    pub fn spent(&self, resource: Resource) -> Option<LimitHit> {
        let used = self.used(resource);
        if used >= self.limits.of(resource) {
            return Some(self.hit(resource, used));
        }
        self.above.as_ref().and_then(|above| above.spent(resource))
    }

    fn hit(&self, resource: Resource, used: u64) -> LimitHit {
        let whose = match self.level {
            Level::Call => "",
            Level::Agent => "agent-",
            Level::Phase => "phase-",
            Level::Run => "run-",
        };
        LimitHit { quota: format!("{whose}{}", resource.name()), limit: self.limits.of(resource), used }
    }
}

/// A hold on part of an account, for a request whose cost is known only afterwards.
#[derive(Debug)]
pub struct Reservation {
    account: Arc<Account>,
    resource: Resource,
    held: u64,
}

impl Reservation {
    /// What is held.
    pub fn held(&self) -> u64 {
        self.held
    }

    /// It cost `used`: the rest goes back. More than was held is noted all the same, since it is spent; the error then names
    /// the limit that is passed, if one is.
    pub fn settle(mut self, used: u64) -> Result<(), LimitHit> {
        let held = std::mem::take(&mut self.held);
        self.account.let_go(self.resource, held);
        self.account.give_back(self.resource, held.saturating_sub(used));
        match used.checked_sub(held).filter(|more| *more > 0) {
            Some(more) => self.account.charge(self.resource, more),
            None => Ok(()),
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.account.let_go(self.resource, self.held);
        self.account.give_back(self.resource, self.held);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn family(run: u64, agent: u64, call: u64) -> [Arc<Account>; 3] {
        let limits = |most| Limits::NONE.with(Resource::BytesWritten, most);
        let run = Account::of_run(limits(run));
        let agent = Account::of_agent(&run, limits(agent));
        let quota = Quota { bytes_written_max: call, ..Quota::default() };
        let call = Account::of_call(&agent, &quota);
        [run, agent, call]
    }

    fn used(accounts: &[Arc<Account>; 3]) -> [u64; 3] {
        [0, 1, 2].map(|i| accounts[i].used(Resource::BytesWritten))
    }

    #[test]
    fn the_table_is_in_the_order_of_the_resources() {
        for (at, resource) in Resource::all().enumerate() {
            assert_eq!(resource as usize, at);
            assert!(Limits::of_agent().of(resource) <= Limits::of_run().of(resource), "{}", resource.name());
            let ceiling: Ceiling = toml::from_str(&format!("{}-max = 7", resource.name())).unwrap();
            assert_eq!(Limits::of_run().under(&ceiling).of(resource), 7);
            let both = ceiling.lower_of(&Ceiling::default()).lower_of(&ceiling);
            assert_eq!(Limits::of_run().under(&both).of(resource), 7, "two in force together");
        }
    }

    #[test]
    fn whoever_refuses_nobody_is_charged() {
        for (limits, name) in [
            ((100, 50, 10), "bytes-written"),
            ((100, 10, 50), "agent-bytes-written"),
            ((10, 50, 100), "run-bytes-written"),
        ] {
            let accounts = family(limits.0, limits.1, limits.2);
            accounts[2].take(Resource::BytesWritten, 10).unwrap();
            let hit = accounts[2].take(Resource::BytesWritten, 1).unwrap_err();
            assert_eq!((hit.quota.as_str(), hit.limit, hit.used), (name, 10, 11));
            assert_eq!(used(&accounts), [10; 3]);
            assert_eq!(accounts[2].left(Resource::BytesWritten), 0);
            assert_eq!(accounts[2].spent(Resource::BytesWritten).unwrap().quota, name);
        }
    }

    #[test]
    fn what_is_reserved_and_not_used_comes_back() {
        let accounts = family(100, 100, 100);
        let hold = accounts[2].reserve(Resource::BytesWritten, 80).unwrap();
        assert!(accounts[1].reserve(Resource::BytesWritten, 30).is_err(), "what is held is not there for others");
        let settled = |n: usize| accounts[n].settled(Resource::BytesWritten);
        assert_eq!([settled(0), settled(1), settled(2)], [0; 3], "nor is it spent");
        hold.settle(25).unwrap();
        assert_eq!([settled(0), settled(1), settled(2)], [25; 3]);
        assert_eq!(used(&accounts), [25; 3]);
        drop(accounts[2].reserve(Resource::BytesWritten, 75).unwrap());
        assert_eq!(used(&accounts), [25; 3]);
        let over = accounts[2].reserve(Resource::BytesWritten, 70).unwrap().settle(90).unwrap_err();
        assert_eq!((over.used, used(&accounts)), (115, [115; 3]), "what was spent is spent");
    }

    /// A thousand at once, a run's budget of which each wants a part: never one unit more.
    #[test]
    fn no_budget_is_passed_by_one_unit_under_a_thousand_takers() {
        let run = Account::of_run(Limits::NONE.with(Resource::UsdMicros, 10_007));
        let spent: u64 = std::thread::scope(|scope| {
            let agents: Vec<_> = (0..1_000u64)
                .map(|n| {
                    let agent = Account::of_agent(&run, Limits::of_agent());
                    scope.spawn(move || {
                        let mut spent = 0;
                        for step in 0..20 {
                            let most = 1 + (n + step) % 13;
                            if let Ok(hold) = agent.reserve(Resource::UsdMicros, most) {
                                let used = most - most / 3;
                                hold.settle(used).unwrap();
                                spent += used;
                            }
                        }
                        spent
                    })
                })
                .collect();
            agents.into_iter().map(|agent| agent.join().unwrap()).sum()
        });
        assert_eq!(spent, run.used(Resource::UsdMicros));
        assert!(spent <= 10_007 && spent > 10_007 - 13, "{spent}");
    }

    proptest! {
        #[test]
        fn sums_hold_whatever_is_taken_and_given(steps in proptest::collection::vec((any::<bool>(), 0u64..40), 0..40)) {
            let accounts = family(200, 150, 100);
            let mut held = 0u64;
            for (take, amount) in steps {
                if take {
                    let fits = held + amount <= 100;
                    prop_assert_eq!(accounts[2].take(Resource::BytesWritten, amount).is_ok(), fits);
                    if fits { held += amount; }
                } else {
                    let back = amount.min(held);
                    accounts[2].give_back(Resource::BytesWritten, back);
                    held -= back;
                }
                prop_assert_eq!(used(&accounts), [held; 3]);
            }
        }
    }
}
