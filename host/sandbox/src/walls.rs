//! The walls of one cell: processor time, memory and tables. They count, refuse and remember that they refused; what a
//! refusal means for the call is `ending`'s to say. Log, artifact and result limits stand where those bytes arrive.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use vespiary_kernel::account::{Account, Resource};
use vespiary_kernel::call::Usage;
use vespiary_kernel::pool::CELL_BYTES_MAX;
use vespiary_kernel::quota::{LimitHit, Quota};
use wasmtime::ResourceLimiter;

/// Time a cell spent on a processor: the time inside the polls of its future, waiting excluded.
#[derive(Debug)]
pub(crate) struct Clock {
    zero: Instant,
    spent_ns: AtomicU64,
    /// When the poll now under way began; `OUTSIDE` between polls.
    entered_ns: AtomicU64,
    /// Whether the cell waits for tools that work on its behalf.
    served: AtomicBool,
}

const OUTSIDE: u64 = u64::MAX;

impl Clock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            zero: Instant::now(),
            spent_ns: AtomicU64::new(0),
            entered_ns: AtomicU64::new(OUTSIDE),
            served: AtomicBool::new(false),
        })
    }

    /// Whether the cell waits for tools that work on its behalf: then it is not idle.
    pub(crate) fn is_served(&self) -> bool {
        self.served.load(Ordering::Relaxed)
    }

    /// Processor time so far, the poll under way included.
    pub(crate) fn cpu(&self) -> Duration {
        let entered = self.entered_ns.load(Ordering::Relaxed);
        let running = if entered == OUTSIDE { 0 } else { self.now().saturating_sub(entered) };
        Duration::from_nanos(self.spent_ns.load(Ordering::Relaxed) + running)
    }

    /// Time since the clock was made.
    pub(crate) fn wall(&self) -> Duration {
        self.zero.elapsed()
    }

    /// Await `future`, counting its polls.
    pub(crate) async fn timed<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        poll_fn(|context| {
            self.enter();
            let polled = future.as_mut().poll(context);
            self.leave();
            polled
        })
        .await
    }

    /// Await `future` from inside a timed one, not counting its polls: they are other cells' work.
    pub(crate) async fn untimed<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        self.served.store(true, Ordering::Relaxed);
        let served = poll_fn(|context| {
            self.leave();
            let polled = future.as_mut().poll(context);
            self.enter();
            polled
        })
        .await;
        self.served.store(false, Ordering::Relaxed);
        served
    }

    // One task owns a cell, so the two atomics are never written at the same time: relaxed is enough.
    fn enter(&self) {
        self.entered_ns.store(self.now(), Ordering::Relaxed);
    }

    fn leave(&self) {
        let entered = self.entered_ns.swap(OUTSIDE, Ordering::Relaxed);
        self.spent_ns.fetch_add(self.now().saturating_sub(entered), Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        u64::try_from(self.zero.elapsed().as_nanos()).unwrap_or(OUTSIDE - 1)
    }
}

/// What a cell may use, and what it uses.
#[derive(Debug)]
pub(crate) struct Walls {
    pub(crate) clock: Arc<Clock>,
    cpu_max: Duration,
    memory: Amount,
    tables: Amount,
    instances_max: usize,
    account: Arc<Account>,
    /// Processor time that stands in the account already, microseconds.
    charged_us: u64,
    /// The agent's or run's limit on processor time, when it was passed.
    pooled: Option<LimitHit>,
}

/// A sum over all memories, or all tables, of a cell.
#[derive(Debug)]
struct Amount {
    used: u64,
    peak: u64,
    limit: u64,
    /// The growth allowed last; taken back when the allocator then fails.
    last: u64,
    /// What was asked for when it was refused.
    refused: Option<u64>,
}

impl Walls {
    pub(crate) fn new(quota: &Quota, account: Arc<Account>) -> Self {
        Self {
            clock: Clock::new(),
            cpu_max: quota.cpu_time_max,
            memory: Amount::new(quota.memory_bytes_max.min(CELL_BYTES_MAX)),
            tables: Amount::new(quota.table_elements_max),
            instances_max: usize::try_from(quota.instances_max).unwrap_or(usize::MAX),
            account,
            charged_us: 0,
            pooled: None,
        }
    }

    /// The limit, when the processor time of the call, its agent or its run is used up.
    pub(crate) fn cpu_spent(&self) -> Option<LimitHit> {
        let used = self.clock.cpu();
        (used > self.cpu_max).then(|| time_hit("cpu-time-ms", self.cpu_max, used)).or_else(|| self.pooled.clone())
    }

    /// Note the processor time used since the last time in the account of the call, its agent and its run.
    pub(crate) fn charge(&mut self) {
        let used = Usage::micros(self.clock.cpu());
        let more = used.saturating_sub(self.charged_us);
        self.charged_us = used;
        if let Err(hit) = self.account.charge(Resource::CpuTime, more) {
            self.pooled.get_or_insert(hit);
        }
    }

    /// The growth that was refused, if one was: the likely reason when a guest dies afterwards.
    pub(crate) fn refusal(&self) -> Option<LimitHit> {
        self.memory.hit("memory-bytes").or_else(|| self.tables.hit("table-elements"))
    }

    pub(crate) fn memory_bytes_peak(&self) -> u64 {
        self.memory.peak
    }
}

/// A time limit that was passed, in whole milliseconds, rounded up.
pub(crate) fn time_hit(quota: &str, limit: Duration, used: Duration) -> LimitHit {
    let ms = |time: Duration| u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
    LimitHit { quota: quota.into(), limit: ms(limit), used: ms(used) }
}

impl Amount {
    fn new(limit: u64) -> Self {
        Self { used: 0, peak: 0, limit, last: 0, refused: None }
    }

    fn grow(&mut self, from: usize, to: usize) -> bool {
        let by = to.saturating_sub(from) as u64;
        let sum = self.used.saturating_add(by);
        if sum > self.limit {
            self.refused = Some(sum);
            return false;
        }
        self.used = sum;
        self.last = by;
        self.peak = self.peak.max(sum);
        true
    }

    fn shrink(&mut self) {
        self.used = self.used.saturating_sub(std::mem::take(&mut self.last));
    }

    fn hit(&self, quota: &str) -> Option<LimitHit> {
        self.refused.map(|used| LimitHit { quota: quota.into(), limit: self.limit, used })
    }
}

impl ResourceLimiter for Walls {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.memory.grow(current, desired))
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.memory.shrink();
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.tables.grow(current, desired))
    }

    fn table_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.tables.shrink();
        Ok(())
    }

    fn instances(&self) -> usize {
        self.instances_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vespiary_kernel::account::Limits;

    fn walls(quota: &Quota, run: Limits) -> Walls {
        Walls::new(quota, Account::of_call(&Account::of_run(run), quota))
    }

    #[test]
    fn processor_time_is_charged_once_and_the_runs_limit_ends_the_call() {
        let mut walls = walls(&Quota::default(), Limits::NONE.with(Resource::CpuTime, 5_000));
        walls.clock.enter();
        let until = Instant::now() + Duration::from_millis(6);
        walls.charge();
        assert_eq!(walls.cpu_spent(), None);
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        walls.charge();
        walls.clock.leave();
        let hit = walls.cpu_spent().expect("the run's processor time is used up");
        assert_eq!((hit.quota.as_str(), hit.limit), ("run-cpu-time-us", 5_000));
        assert_eq!(walls.account.used(Resource::CpuTime), walls.charged_us);
    }

    #[test]
    fn memories_share_one_limit_and_a_failed_growth_is_given_back() {
        let mut walls = walls(&Quota { memory_bytes_max: 100, ..Quota::default() }, Limits::NONE);
        assert!(walls.memory_growing(0, 60, None).unwrap());
        assert!(walls.memory_growing(0, 40, None).unwrap());
        assert!(!walls.memory_growing(40, 41, None).unwrap());
        assert_eq!(walls.refusal(), Some(LimitHit { quota: "memory-bytes".into(), limit: 100, used: 101 }));
        walls.memory_grow_failed(wasmtime::format_err!("no memory")).unwrap();
        assert!(walls.memory_growing(0, 40, None).unwrap());
        assert_eq!(walls.memory_bytes_peak(), 100);
    }

    #[tokio::test]
    async fn waiting_and_other_cells_work_are_not_processor_time() {
        let clock = Clock::new();
        let burn = |ms| {
            let until = Instant::now() + Duration::from_millis(ms);
            while Instant::now() < until {
                std::hint::spin_loop();
            }
        };
        clock
            .timed(async {
                burn(20);
                tokio::time::sleep(Duration::from_millis(100)).await;
                clock.untimed(async { burn(100) }).await;
            })
            .await;
        let cpu = clock.cpu();
        assert!(cpu >= Duration::from_millis(20) && cpu < Duration::from_millis(90), "{cpu:?}");
        assert!(clock.wall() >= Duration::from_millis(220));
    }
}
