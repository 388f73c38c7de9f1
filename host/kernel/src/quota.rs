//! Limits, and holds on what is limited. A `Quota` bounds one call; a `Meter` counts what a run or agent has used; a `Pool`
//! is the host's own capacity, from which a `Lease` takes a place before a cell starts and gives it back when dropped.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

const MIB: u64 = 1 << 20;

/// The limits of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Time on a processor, host calls made on the guest's behalf included.
    pub cpu_time_max: Duration,
    /// Time from start to end, waiting included.
    pub wall_time_max: Duration,
    /// Linear memory of all the cell's memories together.
    pub memory_bytes_max: u64,
    /// Elements of all the cell's tables together.
    pub table_elements_max: u64,
    /// JSON text returned.
    pub result_bytes_max: u64,
    /// Log lines and standard output together.
    pub log_bytes_max: u64,
    /// Artifacts together.
    pub artifact_bytes_max: u64,
    /// Calls an agent plugin makes.
    pub tool_calls_max: u64,
}

impl Default for Quota {
    fn default() -> Self {
        Self {
            cpu_time_max: Duration::from_secs(10),
            wall_time_max: Duration::from_secs(60),
            memory_bytes_max: 128 * MIB,
            table_elements_max: 20_000,
            result_bytes_max: 4 * MIB,
            log_bytes_max: 256 << 10,
            artifact_bytes_max: 64 * MIB,
            tool_calls_max: 10_000,
        }
    }
}

/// Changes to a quota, as manifests and flags write them. Unset means the default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct QuotaRequest {
    /// Milliseconds.
    pub cpu_time_ms_max: Option<u64>,
    /// Milliseconds.
    pub wall_time_ms_max: Option<u64>,
    /// Bytes.
    pub memory_bytes_max: Option<u64>,
    /// Elements.
    pub table_elements_max: Option<u64>,
    /// Bytes.
    pub result_bytes_max: Option<u64>,
    /// Bytes.
    pub log_bytes_max: Option<u64>,
    /// Bytes.
    pub artifact_bytes_max: Option<u64>,
    /// Calls.
    pub tool_calls_max: Option<u64>,
}

impl QuotaRequest {
    /// `base` with these changes, or every value that lies outside its bounds.
    pub fn applied_to(&self, base: &Quota) -> Result<Quota, Vec<String>> {
        let mut faults = Vec::new();
        let mut pick = |name: &str, wanted: Option<u64>, default: u64, least: u64, most: u64| match wanted {
            Some(value) if !(least..=most).contains(&value) => {
                faults.push(format!("{name} is {value}; it must lie between {least} and {most}"));
                default
            }
            Some(value) => value,
            None => default,
        };
        let ms = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
        let hour = 3_600_000;
        let quota = Quota {
            cpu_time_max: Duration::from_millis(pick(
                "cpu-time-ms-max",
                self.cpu_time_ms_max,
                ms(base.cpu_time_max),
                1,
                hour,
            )),
            wall_time_max: Duration::from_millis(pick(
                "wall-time-ms-max",
                self.wall_time_ms_max,
                ms(base.wall_time_max),
                1,
                24 * hour,
            )),
            memory_bytes_max: pick("memory-bytes-max", self.memory_bytes_max, base.memory_bytes_max, 65_536, 256 * MIB),
            table_elements_max: pick("table-elements-max", self.table_elements_max, base.table_elements_max, 1, 20_000),
            result_bytes_max: pick("result-bytes-max", self.result_bytes_max, base.result_bytes_max, 4, 64 * MIB),
            log_bytes_max: pick("log-bytes-max", self.log_bytes_max, base.log_bytes_max, 0, 64 * MIB),
            artifact_bytes_max: pick(
                "artifact-bytes-max",
                self.artifact_bytes_max,
                base.artifact_bytes_max,
                0,
                4096 * MIB,
            ),
            tool_calls_max: pick("tool-calls-max", self.tool_calls_max, base.tool_calls_max, 0, 1_000_000),
        };
        if faults.is_empty() { Ok(quota) } else { Err(faults) }
    }
}

/// The limit that ended a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitHit {
    /// The quota's name; its last part is the unit, for example `memory-bytes`, `cpu-time-ms`.
    pub quota: String,
    /// The limit, in that unit.
    pub limit: u64,
    /// What had been used or was asked for, in that unit.
    pub used: u64,
}

impl fmt::Display for LimitHit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is limited to {}; the call used {}", self.quota, self.limit, self.used)
    }
}

/// A count that may not pass its limit, however many ask at once.
#[derive(Debug)]
pub struct Meter {
    name: &'static str,
    limit: u64,
    used: AtomicU64,
}

impl Meter {
    /// Nothing used yet of `limit`.
    pub fn new(name: &'static str, limit: u64) -> Self {
        Self { name, limit, used: AtomicU64::new(0) }
    }

    /// Take `amount`, or say what the limit is and leave the count as it was.
    pub fn take(&self, amount: u64) -> Result<(), LimitHit> {
        let taken = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            used.checked_add(amount).filter(|sum| *sum <= self.limit)
        });
        taken.map(drop).map_err(|used| LimitHit {
            quota: self.name.into(),
            limit: self.limit,
            used: used.saturating_add(amount),
        })
    }

    /// What has been taken.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

/// Which sort of cell takes a place. Each sort has places of its own, so that agents that wait for tools can never occupy
/// the places their tools need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Berth {
    /// A tool call.
    Tool,
    /// An agent plugin.
    Agent,
    /// A script's engine.
    Script,
}

/// How many cells of each sort may be alive, and how many may compute at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Tool cells alive.
    pub tools: usize,
    /// Agent cells alive.
    pub agents: usize,
    /// Script engines alive.
    pub scripts: usize,
    /// Cells that compute at the same time.
    pub running: usize,
}

impl Capacity {
    /// All cells that can be alive at once.
    pub fn cells(&self) -> usize {
        self.tools + self.agents + self.scripts
    }
}

/// The host's places. First come, first served within each sort.
#[derive(Debug, Clone)]
pub struct Pool {
    tools: Arc<Semaphore>,
    agents: Arc<Semaphore>,
    scripts: Arc<Semaphore>,
    running: Arc<Semaphore>,
}

impl Pool {
    /// A pool with `capacity` places, all free.
    pub fn new(capacity: Capacity) -> Self {
        let places = |n: usize| Arc::new(Semaphore::new(n.clamp(1, Semaphore::MAX_PERMITS)));
        Self {
            tools: places(capacity.tools),
            agents: places(capacity.agents),
            scripts: places(capacity.scripts),
            running: places(capacity.running),
        }
    }

    /// Wait for a place to live and a place to run.
    pub async fn lease(&self, berth: Berth) -> Lease {
        let places = match berth {
            Berth::Tool => &self.tools,
            Berth::Agent => &self.agents,
            Berth::Script => &self.scripts,
        };
        let place = take(places).await;
        let running = take(&self.running).await;
        Lease { running: Some(running), pool: Arc::clone(&self.running), _place: place }
    }
}

async fn take(places: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    match Arc::clone(places).acquire_owned().await {
        Ok(permit) => permit,
        // Nothing closes these semaphores; were one closed, waiting for ever is the safe answer: no place, no cell.
        Err(_) => std::future::pending().await,
    }
}

/// A hold on one cell's place; dropping it returns the place.
#[derive(Debug)]
pub struct Lease {
    running: Option<OwnedSemaphorePermit>,
    pool: Arc<Semaphore>,
    _place: OwnedSemaphorePermit,
}

impl Lease {
    /// Stay alive without computing: others may run meanwhile.
    pub fn park(&mut self) {
        self.running = None;
    }

    /// Wait for a place to run again.
    pub async fn resume(&mut self) {
        if self.running.is_none() {
            self.running = Some(take(&self.pool).await);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Capacity = Capacity { tools: 1, agents: 1, scripts: 1, running: 1 };

    #[test]
    fn a_meter_is_never_passed_by_one_unit() {
        let meter = Arc::new(Meter::new("tool-calls", 1_000));
        let refused: u64 = std::thread::scope(|scope| {
            let takers: Vec<_> =
                (0..4).map(|_| scope.spawn(|| (0..500).filter(|_| meter.take(1).is_err()).count() as u64)).collect();
            takers.into_iter().map(|t| t.join().unwrap()).sum()
        });
        assert_eq!((meter.used(), refused), (1_000, 1_000));
        assert_eq!(meter.take(2).unwrap_err(), LimitHit { quota: "tool-calls".into(), limit: 1_000, used: 1_002 });
    }

    #[tokio::test(start_paused = true)]
    async fn a_parked_agent_lets_its_tool_run() {
        let pool = Pool::new(SMALL);
        let mut agent = pool.lease(Berth::Agent).await;
        let wait = Duration::from_secs(5);
        assert!(tokio::time::timeout(wait, pool.lease(Berth::Tool)).await.is_err(), "the one running place was taken");
        agent.park();
        let tool = tokio::time::timeout(wait, pool.lease(Berth::Tool)).await.expect("the place was given back");
        assert!(tokio::time::timeout(wait, agent.resume()).await.is_err());
        drop(tool);
        tokio::time::timeout(wait, agent.resume()).await.expect("dropping the lease returned the place");
    }

    #[test]
    fn a_request_outside_its_bounds_is_named() {
        let request = QuotaRequest { memory_bytes_max: Some(1 << 40), cpu_time_ms_max: Some(0), ..Default::default() };
        assert_eq!(request.applied_to(&Quota::default()).unwrap_err().len(), 2);
    }
}
