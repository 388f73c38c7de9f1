//! Opens requests and reads none of them. The wall: only so many are under way at once, and the call's time runs.

use crate::wire::{Target};
use vespiary_sdk::http::Request;
use vespiary_sdk::{Result, tool};

/// Holds what it opened.
#[tool]
pub fn many_open(target: Target) -> Result<String> {
    let mut held = Vec::new();
    for _ in 0..40 {
        held.push(Request::get(target.url("/")).send()?);
    }
    Ok(format!("{} at once", held.len()))
}
