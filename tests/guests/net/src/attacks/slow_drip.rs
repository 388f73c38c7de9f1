//! Waits for a body that comes a byte at a time. The wall: limit `wall-time-ms`.

use crate::wire::{Target};
use std::time::Duration;
use vespiary_sdk::http::Request;
use vespiary_sdk::{Result, tool};

/// Reads patiently.
#[tool]
pub fn slow_drip(target: Target) -> Result<String> {
    Request::get(target.url("/")).timeout(Duration::from_secs(3600)).send()?.text()
}
