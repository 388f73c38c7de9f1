//! Asks with nothing granted. The wall: denied before any lookup.

use crate::wire::{Target, fetch};
use vespiary_sdk::{Result, tool};

/// Asks a public name.
#[tool]
pub fn nothing_granted(target: Target) -> Result<String> {
    fetch(target.url("/"))
}
