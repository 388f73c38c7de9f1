//! Asks for ever. The wall: limit `http-requests`.

use crate::wire::{Target, fetch};
use vespiary_sdk::{Result, tool};

/// Asks a thousand times.
#[tool]
pub fn request_flood(target: Target) -> Result<String> {
    for _ in 0..1_000 {
        let _ = fetch(target.url("/"));
    }
    Ok("nobody stopped me".into())
}
