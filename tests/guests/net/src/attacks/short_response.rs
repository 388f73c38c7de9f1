//! A server that promises more than it sends. The wall: a body that breaks off is an error, never a short success.

use crate::wire::{Target, fetch};
use vespiary_sdk::{Result, tool};

/// Reads it to its end.
#[tool]
pub fn short_response(target: Target) -> Result<String> {
    fetch(target.url("/"))
}
