//! Waits for a hundred alarms at once, none of which will ring this century. The wall: limit `wall-time-ms`.

use vespiary_sdk::{Result, tool};
use wasip2::clocks::monotonic_clock::subscribe_duration;

/// Polls a list of clocks.
#[tool]
pub fn sleep_in_many() -> Result<usize> {
    let century = 100 * 365 * 86_400 * 1_000_000_000;
    let alarms: Vec<_> = (0..100).map(|n| subscribe_duration(century + n)).collect();
    let all: Vec<_> = alarms.iter().collect();
    Ok(wasip2::io::poll::poll(&all).len())
}
