//! Answers with as many bytes as it is asked for, to stand exactly on the limit and one byte past it. The wall: limit
//! `result-bytes`, at the byte.

use schemars::JsonSchema;
use serde::Deserialize;
use vespiary_sdk::{Result, tool};

#[derive(Deserialize, JsonSchema)]
pub struct Length {
    /// Length of the JSON text to answer with, quotes included.
    bytes: usize,
}

/// Gives a JSON string of BYTES bytes.
#[tool]
pub fn result_of_length(length: Length) -> Result<String> {
    Ok("x".repeat(length.bytes - 2))
}
