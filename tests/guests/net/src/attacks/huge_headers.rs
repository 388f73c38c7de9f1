//! A server whose headers never end. The wall: they are refused unread.

use crate::wire::{Target, fetch};
use vespiary_sdk::{Result, tool};

/// Asks for them.
#[tool]
pub fn huge_headers(target: Target) -> Result<String> {
    fetch(target.url("/"))
}
