//! Goes on as if nothing had happened when a body is cut off. The wall: the limit ends the call, whatever the guest says.

use crate::wire::{Target, fetch};
use vespiary_sdk::{Result, tool};

/// Reads until it is stopped, and calls that a success.
#[tool]
pub fn ignores_the_limit(target: Target) -> Result<String> {
    Ok(fetch(target.url("/")).unwrap_or_else(|error| format!("never mind: {error}")))
}
