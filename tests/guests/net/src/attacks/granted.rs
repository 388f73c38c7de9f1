//! Not an attack: a request that is granted, so that every refusal beside it means something.

use crate::wire::{Target, fetch};
use vespiary_sdk::{Result, tool};

/// Gives the body back.
#[tool]
pub fn granted(target: Target) -> Result<String> {
    fetch(target.url("/v1/x"))
}
