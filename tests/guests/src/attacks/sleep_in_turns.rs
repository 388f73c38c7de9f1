//! Sleeps for no time at all, for ever: it never computes for long and never waits for long. The wall: limit `wall-time-ms`
//! or `cpu-time-ms`, whichever is first.

use vespiary_sdk::{Result, tool};
use wasip2::clocks::monotonic_clock::subscribe_duration;

/// Naps.
#[tool]
pub fn sleep_in_turns() -> Result<String> {
    loop {
        subscribe_duration(1).block();
    }
}
