//! Which calls are made where the client is heard, and which go to other threads. To wake a thread takes longer than a call that only
//! computes, and is then most of what the client waits for; but whoever computes where clients are heard keeps the others waiting. So a
//! call stays only if its cell holds nothing that could make the host wait, and its tool has been quick of late.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A call is quick if it is on a processor for no longer, in a cell or on behalf of one.
const QUICK: Duration = Duration::from_millis(2);

/// Quick calls on another thread that a tool owes before its first call where clients are heard, and after a slow one there.
const OWED_AT_FIRST: u32 = 1;
const OWED_ONCE_SLOW: u32 = 1_000;

/// How quick a tool has been.
#[derive(Debug)]
pub struct Quickness {
    holds_nothing: bool,
    owed: AtomicU32,
}

impl Quickness {
    /// Of a tool that nobody has called yet. `holds_nothing`: no file, no network, no program; its calls wait for nothing.
    pub fn new(holds_nothing: bool) -> Self {
        Self { holds_nothing, owed: AtomicU32::new(OWED_AT_FIRST) }
    }

    /// Whether its next call may be made where clients are heard.
    pub fn may_stay(&self) -> bool {
        self.holds_nothing && self.owed.load(Ordering::Relaxed) == 0
    }

    /// A call on another thread took so long on a processor.
    pub fn took_elsewhere(&self, time: Duration) {
        let owes = |owed: u32| (time <= QUICK).then(|| owed.saturating_sub(1));
        // One that was slow changes nothing: what is owed stays owed.
        let _ = self.owed.fetch_update(Ordering::Relaxed, Ordering::Relaxed, owes);
    }

    /// A call had the thread where clients are heard for so long on a processor.
    pub fn took_here(&self, time: Duration) {
        if time > QUICK {
            self.owed.store(OWED_ONCE_SLOW, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOW: Duration = Duration::from_millis(3);

    #[test]
    fn a_tool_stays_once_it_was_quick_and_leaves_for_long_when_it_was_slow() {
        let tool = Quickness::new(true);
        assert!(!tool.may_stay(), "nothing is known of it");
        tool.took_elsewhere(SLOW);
        assert!(!tool.may_stay(), "it was slow");
        tool.took_elsewhere(QUICK);
        assert!(tool.may_stay());
        tool.took_here(QUICK);
        assert!(tool.may_stay());
        tool.took_here(SLOW);
        (1..OWED_ONCE_SLOW).for_each(|_| tool.took_elsewhere(QUICK));
        assert!(!tool.may_stay(), "one more is owed");
        tool.took_elsewhere(QUICK);
        assert!(tool.may_stay());
    }

    #[test]
    fn whoever_holds_something_never_stays() {
        let tool = Quickness::new(false);
        (0..10).for_each(|_| tool.took_elsewhere(Duration::ZERO));
        assert!(!tool.may_stay());
    }
}
