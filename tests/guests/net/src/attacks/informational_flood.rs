//! A server that is always about to answer. The wall: limit `wall-time-ms`; such responses extend nothing.

use crate::wire::{Target, fetch};
use vespiary_sdk::{Result, tool};

/// Waits for the response behind the flood.
#[tool]
pub fn informational_flood(target: Target) -> Result<String> {
    fetch(target.url("/"))
}
