//! Sleeps for a century. The wall: limit `wall-time-ms`.

use vespiary_sdk::{Result, tool};

/// Waits on the host's clock.
#[tool]
pub fn endless_sleep() -> Result<String> {
    wasip2::clocks::monotonic_clock::subscribe_duration(100 * 365 * 86_400 * 1_000_000_000).block();
    Ok("slept".into())
}
