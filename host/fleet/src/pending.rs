//! What a script has asked for and has no answer to: its prompts, options and arguments are in the host's memory until then,
//! whether they wait for room, for others, or for a person. They are counted over all scripts of the run, and no more of them is
//! taken than there is room for.

use crate::jobs::thrown;
use std::sync::Arc;
use vespiary_kernel::call::Failure;
use vespiary_kernel::quota::Meter;
use vespiary_kernel::script::Rejection;

/// All that is asked for and not answered, bytes.
pub(crate) const PENDING_BYTES_MAX: u64 = 256 << 20;

/// What a request takes beside its own words, bytes of memory.
const REQUEST_BYTES: u64 = 1 << 10;

/// What is pending in one run.
#[derive(Debug)]
pub(crate) struct Pending(Arc<Meter>);

impl Default for Pending {
    fn default() -> Self {
        Self(Arc::new(Meter::new("run-pending-bytes", PENDING_BYTES_MAX)))
    }
}

impl Pending {
    /// Hold room for a request of that many bytes until it is answered, or say what the script's call throws.
    pub(crate) fn take(&self, bytes: u64) -> Result<Weight, Rejection> {
        let bytes = bytes.saturating_add(REQUEST_BYTES);
        self.0.take(bytes).map_err(|hit| thrown(&Failure::Limit(hit)))?;
        Ok(Weight { meter: Arc::clone(&self.0), bytes })
    }
}

/// What one request takes of the room; dropping it gives that back.
#[derive(Debug)]
pub(crate) struct Weight {
    meter: Arc<Meter>,
    bytes: u64,
}

impl Drop for Weight {
    fn drop(&mut self) {
        self.meter.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_answered_makes_room() {
        let pending = Pending::default();
        let half = PENDING_BYTES_MAX / 2 - REQUEST_BYTES;
        let (first, _second) = (pending.take(half).unwrap(), pending.take(half).unwrap());
        let refused = pending.take(0).unwrap_err();
        assert!(refused.code == "limit" && refused.message.contains("run-pending-bytes"), "{refused:?}");
        drop(first);
        pending.take(half).unwrap();
    }
}
