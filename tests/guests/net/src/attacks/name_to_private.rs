//! A permitted name leads to this machine. The wall: the address is judged, and denied.

use crate::wire::{Target, fetch};
use vespiary_sdk::{Result, tool};

/// Asks the name.
#[tool]
pub fn name_to_private(target: Target) -> Result<String> {
    fetch(target.url("/"))
}
