//! Not an attack: the well-behaved call that runs beside every attack and must not notice it.

use schemars::JsonSchema;
use serde::Deserialize;
use vespiary_sdk::{Result, tool};

#[derive(Deserialize, JsonSchema)]
pub struct Words {
    /// What to say back.
    text: String,
}

/// Gives the text back.
#[tool]
pub fn neighbour(words: Words) -> Result<String> {
    Ok(words.text)
}
