//! Waits for the last moment that a clock can name. The wall: limit `wall-time-ms`; nothing overflows on the way.

use vespiary_sdk::{Result, tool};
use wasip2::clocks::monotonic_clock::{subscribe_duration, subscribe_instant};

/// Sleeps until the end of time.
#[tool]
pub fn sleep_past_the_end() -> Result<String> {
    subscribe_duration(u64::MAX).block();
    subscribe_instant(u64::MAX).block();
    Ok("slept".into())
}
