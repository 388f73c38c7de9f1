//! Asks with arguments that are nested a hundred thousand deep. The wall: the tool's refusal; nobody recurses into them.

use crate::{Outcome, told};
use serde_json::Value;

/// Arrays in arrays.
pub fn attack(_: &Value) -> Outcome {
    let arguments = format!("{{\"path\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    Ok(told(&[("files.read", arguments)]))
}
