//! A name leads to a permitted server at first and to the metadata address afterwards. The wall: each request is judged
//! where its own lookup leads.

use crate::wire::{Target, fetch};
use vespiary_sdk::{Result, tool};

/// Asks until the name has changed.
#[tool]
pub fn rebinding(target: Target) -> Result<String> {
    let first = fetch(target.url("/"))?;
    vespiary_sdk::report::info(&format!("first: {first}"));
    fetch(target.url("/latest/meta-data"))
}
