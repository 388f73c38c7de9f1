//! Who asks. A run is started once by a person; everybody else in it is a child that holds no more than its parent.

use crate::account::{Account, Ceiling, Limits, Resource};
use crate::call::Failure;
use crate::capability::Capability;
use crate::grant::Grant;
use crate::ids::{AgentId, CallId, RunId};
use crate::policy::Denial;
use crate::quota::{LimitHit, Meter};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// How deep agents may lie below an agent that a script started.
pub const NESTING_MAX: u8 = 3;

/// Limits of a run and of each of its agents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunLimits {
    /// Agents ever started.
    pub agents_max: u64,
    /// What each agent may use.
    pub agent: Limits,
    /// What the whole run may use.
    pub run: Limits,
}

impl Default for RunLimits {
    fn default() -> Self {
        Self { agents_max: 1_000, agent: Limits::of_agent(), run: Limits::of_run() }
    }
}

/// Whether an agent's writes go into the project or into a layer of its own above it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Isolation {
    /// Into the project.
    #[default]
    Shared,
    /// Into the agent's own worktree, from which they come as a change set.
    Worktree,
}

/// What all principals of one run share.
#[derive(Debug)]
pub struct Run {
    id: RunId,
    root: PathBuf,
    agents: Meter,
    account: Arc<Account>,
    agent_limits: Limits,
    last_agent: AtomicU32,
    agents_of_agents: AtomicU64,
    last_call: AtomicU64,
}

impl Run {
    /// The run's id.
    pub fn id(&self) -> &RunId {
        &self.id
    }

    /// The project directory on the host, to which relative capability paths refer.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Agents started so far.
    pub fn agents(&self) -> u64 {
        self.agents.used()
    }

    /// Those of them that an agent started, and not the script.
    pub fn agents_of_agents(&self) -> u64 {
        self.agents_of_agents.load(Ordering::Relaxed)
    }

    /// Calls dispatched so far.
    pub fn calls(&self) -> u64 {
        self.account.used(Resource::ToolCalls)
    }

    /// What the run has used.
    pub fn account(&self) -> &Arc<Account> {
        &self.account
    }
}

/// Somebody in a run, with what they hold. The dispatcher makes the first (`Dispatcher::start`) and every other one
/// (`Dispatcher::spawn`), which only narrows:
///
/// ```compile_fail,E0616
/// use vespiary_kernel::{grant::Grant, principal::Principal};
/// fn widen(mut who: Principal, grant: Grant) -> Principal { who.grant = grant; who }
/// ```
#[derive(Debug, Clone)]
pub struct Principal {
    run: Arc<Run>,
    agent: AgentId,
    grant: Grant,
    account: Arc<Account>,
    isolation: Isolation,
    inside: bool,
    /// How many agents lie between this one and the script.
    nesting: u8,
    starts: Option<Arc<Starts>>,
}

/// How many agents an agent may start that holds `spawn:N`, those it starts and those that they start together.
#[derive(Debug)]
struct Starts {
    meter: Meter,
    above: Option<Arc<Starts>>,
}

impl Starts {
    /// What somebody below may start who holds `grant`; none who does not hold `spawn:`.
    fn of(grant: &Grant, above: Option<&Arc<Starts>>) -> Option<Arc<Starts>> {
        let most = grant.iter().find_map(|held| match held {
            Capability::Spawn(most) => Some(u64::from(*most)),
            _ => None,
        })?;
        Some(Arc::new(Self { meter: Meter::new("agents-of-agent", most), above: above.cloned() }))
    }

    fn take(&self) -> Result<(), LimitHit> {
        self.meter.take(1)?;
        let above = self.above.as_ref().map_or(Ok(()), |above| above.take());
        above.inspect_err(|_| self.meter.give_back(1))
    }

    fn give_back(&self) {
        self.meter.give_back(1);
        self.above.iter().for_each(|above| above.give_back());
    }
}

/// Why an agent was not started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpawnRefused {
    /// It wanted more than its parent holds.
    #[error("{0}")]
    Denied(Denial),
    /// The run, or the agent that would start it, has started as many agents as it may, or it would lie too deep.
    #[error("{0}")]
    Limit(LimitHit),
}

impl From<SpawnRefused> for Failure {
    fn from(refused: SpawnRefused) -> Self {
        match refused {
            SpawnRefused::Denied(denial) => Self::Denied(denial),
            SpawnRefused::Limit(hit) => Self::Limit(hit),
        }
    }
}

impl Principal {
    /// The person who starts a run over the project at `root`, and the only source of authority in it. Crate-private: the
    /// dispatcher holds `limits` to its policy first.
    pub(crate) fn of_run(id: RunId, root: PathBuf, grant: Grant, limits: RunLimits) -> Self {
        let account = Account::of_run(limits.run);
        let run = Run {
            id,
            root,
            agents: Meter::new("agents", limits.agents_max),
            account: Arc::clone(&account),
            agent_limits: limits.agent,
            last_agent: AtomicU32::new(0),
            agents_of_agents: AtomicU64::new(0),
            last_call: AtomicU64::new(0),
        };
        let (agent, isolation) = (AgentId::ROOT, Isolation::Shared);
        Self { run: Arc::new(run), agent, grant, account, isolation, inside: false, nesting: 0, starts: None }
    }

    /// A new agent that holds `grant`, which must be part of this one's. Crate-private: the dispatcher judges first.
    pub(crate) fn child(&self, grant: Grant, isolation: Isolation, most: &Ceiling) -> Result<Principal, SpawnRefused> {
        // Whoever asks from inside a cell is an agent, also where a person called it.
        let nesting = if self.agent == AgentId::ROOT && !self.inside { 0 } else { self.nesting + 1 };
        if nesting > NESTING_MAX {
            let (limit, used) = (NESTING_MAX.into(), nesting.into());
            return Err(SpawnRefused::Limit(LimitHit { quota: "nesting".into(), limit, used }));
        }
        self.starts.as_ref().map_or(Ok(()), |starts| starts.take()).map_err(SpawnRefused::Limit)?;
        if let Err(hit) = self.run.agents.take(1) {
            self.starts.iter().for_each(|starts| starts.give_back());
            return Err(SpawnRefused::Limit(hit));
        }
        if nesting > 0 {
            self.run.agents_of_agents.fetch_add(1, Ordering::Relaxed);
        }
        let agent = AgentId(self.run.last_agent.fetch_add(1, Ordering::Relaxed) + 1);
        let account = Account::of_agent(&self.account, self.run.agent_limits.under(most));
        let starts = Starts::of(&grant, self.starts.as_ref());
        Ok(Self { run: Arc::clone(&self.run), agent, grant, account, isolation, inside: false, nesting, starts })
    }

    /// The same somebody, whose agents from now on may use no more than `most` together.
    #[must_use]
    pub fn in_phase(&self, most: &Ceiling) -> Principal {
        Self { account: Account::of_phase(&self.account, most), ..self.clone() }
    }

    /// The same somebody as seen from inside its own cell, held to `scope`. Crate-private: only the dispatcher narrows a
    /// principal without asking it.
    pub(crate) fn within(&self, scope: Grant) -> Principal {
        debug_assert!(scope.iter().all(|c| self.grant.covers(c)), "a scope is always part of the grant");
        let starts = Starts::of(&scope, self.starts.as_ref());
        Self { grant: scope, inside: true, starts, ..self.clone() }
    }

    /// Whether this is an agent asking from inside its cell, and not whoever started it.
    pub(crate) fn is_inside(&self) -> bool {
        self.inside
    }

    /// Take the next call number, if another call may be made. What is asked for from inside a cell was counted where it
    /// came out of it.
    pub(crate) fn next_call(&self) -> Result<CallId, LimitHit> {
        if !self.inside {
            self.account.take(Resource::ToolCalls, 1)?;
        }
        Ok(CallId(self.run.last_call.fetch_add(1, Ordering::Relaxed) + 1))
    }

    /// The run.
    pub fn run(&self) -> &Arc<Run> {
        &self.run
    }

    /// Which agent; `AgentId::ROOT` for the run itself.
    pub fn agent(&self) -> AgentId {
        self.agent
    }

    /// How many agents lie between this one and the script: 0 for the script, and for those it starts itself.
    pub fn nesting(&self) -> u8 {
        self.nesting
    }

    /// What it has used: an agent's own account, or the run's.
    pub fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// Where its writes go.
    pub fn isolation(&self) -> Isolation {
        self.isolation
    }

    /// What it holds.
    pub fn grant(&self) -> &Grant {
        &self.grant
    }
}
