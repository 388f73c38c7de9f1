//! Waits for the first of no events, which is for ever. The wall: a trap.

use vespiary_sdk::{Result, tool};

/// Polls an empty list.
#[tool]
pub fn poll_nothing() -> Result<usize> {
    Ok(wasip2::io::poll::poll(&[]).len())
}
