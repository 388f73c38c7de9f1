//! Makes ten thousand alarms and keeps them. The wall: limit `open-handles`.

use vespiary_sdk::{Result, tool};
use wasip2::clocks::monotonic_clock::subscribe_duration;

/// Collects clocks.
#[tool]
pub fn poll_crowd() -> Result<usize> {
    let alarms: Vec<_> = (0..10_000).map(|n| subscribe_duration(n << 40)).collect();
    Ok(wasip2::io::poll::poll(&alarms.iter().collect::<Vec<_>>()).len())
}
