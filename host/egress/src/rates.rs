//! Whose turn it is: requests a second and exchanges at once, for each run and host. Who comes too fast waits, in order; the
//! wait counts against the exchange's own time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use vespiary_kernel::http::HttpLimits;
use vespiary_kernel::ids::RunId;
use vespiary_kernel::net::NetHost;

/// Lanes kept before idle ones are looked for.
const LANES_KEPT: usize = 256;

/// Everybody's turns.
pub(crate) struct Rates {
    everybody: Arc<Semaphore>,
    per_second_max: u32,
    lanes: Mutex<HashMap<(RunId, NetHost), Arc<Lane>>>,
}

/// One run's way to one host.
struct Lane {
    exchanges: Arc<Semaphore>,
    /// When the next request would begin, were they evenly spaced.
    next: Mutex<Instant>,
}

/// A place among the exchanges under way; dropping it gives it back.
pub(crate) struct Turn {
    _lane: OwnedSemaphorePermit,
    _everybody: OwnedSemaphorePermit,
}

impl Rates {
    pub(crate) fn new(concurrent_max: usize, per_second_max: u32) -> Self {
        let everybody = Arc::new(Semaphore::new(concurrent_max.clamp(1, Semaphore::MAX_PERMITS)));
        Self { everybody, per_second_max, lanes: Mutex::default() }
    }

    /// Wait for a turn of `run` with `host`.
    pub(crate) async fn turn(&self, run: &RunId, host: &NetHost, limits: &HttpLimits) -> Turn {
        let lane = self.lane(run, host, limits);
        let own = acquire(&lane.exchanges).await;
        let wait = lane.book(limits.requests_per_second_per_host.min(self.per_second_max));
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        Turn { _lane: own, _everybody: acquire(&self.everybody).await }
    }

    fn lane(&self, run: &RunId, host: &NetHost, limits: &HttpLimits) -> Arc<Lane> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if lanes.len() >= LANES_KEPT {
            let now = Instant::now();
            // A lane nobody holds, and whose credit is full again, is no different from a new one.
            lanes.retain(|_, lane| Arc::strong_count(lane) > 1 || lane.busy() || lane.booked_after(now));
        }
        let made = || {
            let places = (limits.concurrent_per_host as usize).clamp(1, Semaphore::MAX_PERMITS);
            let now = Instant::now();
            let next = now.checked_sub(Duration::from_secs(1)).unwrap_or(now);
            Arc::new(Lane { exchanges: Arc::new(Semaphore::new(places)), next: Mutex::new(next) })
        };
        Arc::clone(lanes.entry((run.clone(), host.clone())).or_insert_with(made))
    }
}

impl Lane {
    /// Take the next slot, and how long it is until then. A second's worth may begin at once after a second of silence.
    fn book(&self, per_second: u32) -> Duration {
        let spacing = Duration::from_secs(1) / per_second.max(1);
        let credit = Duration::from_secs(1).saturating_sub(spacing);
        let now = Instant::now();
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = (*next).max(now.checked_sub(credit).unwrap_or(now));
        *next = slot + spacing;
        slot.saturating_duration_since(now)
    }

    fn booked_after(&self, now: Instant) -> bool {
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) > now
    }

    /// Whether an exchange of this lane is under way: a permit keeps the semaphore alive.
    fn busy(&self) -> bool {
        Arc::strong_count(&self.exchanges) > 1
    }
}

async fn acquire(places: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    match Arc::clone(places).acquire_owned().await {
        Ok(permit) => permit,
        // Nothing closes these semaphores; were one closed, waiting until the exchange's time is up is the safe answer.
        Err(_) => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(per_second: u32, at_once: u32) -> HttpLimits {
        HttpLimits { requests_per_second_per_host: per_second, concurrent_per_host: at_once, ..HttpLimits::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_spread_and_hosts_and_runs_do_not_share() {
        let rates = Rates::new(100, u32::MAX);
        let (run, other): (RunId, RunId) = ("r1".parse().unwrap(), "r2".parse().unwrap());
        let (a, b): (NetHost, NetHost) = ("a.com".parse().unwrap(), "b.com".parse().unwrap());
        let limits = limits(10, 100);
        let start = Instant::now();
        for _ in 0..30 {
            rates.turn(&run, &a, &limits).await;
        }
        // A second's worth at once, then one every tenth of a second.
        assert_eq!(start.elapsed().as_millis() / 10, 200);
        let before = Instant::now();
        rates.turn(&run, &b, &limits).await;
        rates.turn(&other, &a, &limits).await;
        assert_eq!(before.elapsed().as_millis(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_is_given_back_when_dropped() {
        let rates = Rates::new(100, u32::MAX);
        let run: RunId = "r1".parse().unwrap();
        let host: NetHost = "a.com".parse().unwrap();
        let limits = limits(1_000, 2);
        let held = (rates.turn(&run, &host, &limits).await, rates.turn(&run, &host, &limits).await);
        let wait = Duration::from_secs(60);
        assert!(tokio::time::timeout(wait, rates.turn(&run, &host, &limits)).await.is_err(), "two are under way");
        drop(held);
        tokio::time::timeout(wait, rates.turn(&run, &host, &limits)).await.map(drop).expect("a place is free");
    }

    #[tokio::test(start_paused = true)]
    async fn idle_lanes_are_forgotten() {
        let rates = Rates::new(100, u32::MAX);
        let host: NetHost = "a.com".parse().unwrap();
        let limits = limits(1_000, 2);
        for n in 0..2 * LANES_KEPT {
            rates.turn(&format!("r{n}").parse().unwrap(), &host, &limits).await;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        assert!(rates.lanes.lock().unwrap().len() <= LANES_KEPT);
    }
}
