//! How fast one server may be asked, by everybody together: requests a second, with a second's worth at once after a second of
//! silence, and requests under way at the same time. Who comes too early waits, in order.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep};

/// The turns at one server.
#[derive(Debug)]
pub(crate) struct Rate {
    spacing: Duration,
    credit: Duration,
    next: Mutex<Option<Instant>>,
    at_once: Arc<Semaphore>,
}

/// A request that may be sent. Dropping it makes room for another.
#[derive(Debug)]
pub(crate) struct Turn(#[allow(dead_code, reason = "it is held, not looked at")] Option<OwnedSemaphorePermit>);

impl Rate {
    pub(crate) fn new(per_second: u32, at_once: u32) -> Self {
        let spacing = Duration::from_secs(1) / per_second.max(1);
        let at_once = Arc::new(Semaphore::new(at_once.max(1) as usize));
        Self { spacing, credit: Duration::from_secs(1).saturating_sub(spacing), next: Mutex::default(), at_once }
    }

    /// Wait for a turn.
    pub(crate) async fn turn(&self) -> Turn {
        // Nothing closes the semaphore.
        let turn = Turn(Arc::clone(&self.at_once).acquire_owned().await.ok());
        sleep(self.book(Instant::now())).await;
        turn
    }

    /// Take the next slot, and how long it is until then.
    fn book(&self, now: Instant) -> Duration {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let earliest = now.checked_sub(self.credit).unwrap_or(now);
        let slot = next.unwrap_or(earliest).max(earliest);
        *next = Some(slot + self.spacing);
        slot.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_one_second_long_and_the_rest_is_spread() {
        tokio::time::advance(Duration::from_secs(10)).await;
        let rate = Rate::new(20, 1_000);
        let begun = Instant::now();
        for _ in 0..20 {
            drop(rate.turn().await);
        }
        assert_eq!(begun.elapsed(), Duration::ZERO, "a second's worth begins at once");
        for _ in 0..40 {
            drop(rate.turn().await);
        }
        let took = begun.elapsed();
        assert!((1_950..=2_100).contains(&took.as_millis()), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_are_under_way_than_may_be() {
        let rate = Rate::new(1_000, 2);
        let held = [rate.turn().await, rate.turn().await];
        let waited = tokio::time::timeout(Duration::from_secs(5), rate.turn()).await;
        assert!(waited.is_err(), "two were under way");
        drop(held);
        tokio::time::timeout(Duration::from_secs(5), rate.turn()).await.expect("there is room again");
    }
}
