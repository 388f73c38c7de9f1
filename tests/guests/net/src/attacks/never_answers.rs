//! Waits for a server that says nothing, with all the time in the world. The wall: limit `wall-time-ms`.

use crate::wire::{Target};
use std::time::Duration;
use vespiary_sdk::http::Request;
use vespiary_sdk::{Result, tool};

/// Asks for an hour's patience.
#[tool]
pub fn never_answers(target: Target) -> Result<String> {
    Request::get(target.url("/")).timeout(Duration::from_secs(3600)).send()?.text()
}
