//! Looks for directories in its own cell. The wall: an agent has none.

use crate::Outcome;
use serde_json::Value;

/// Lists what it was granted directly.
pub fn attack(_: &Value) -> Outcome {
    Ok(wasip2::filesystem::preopens::get_directories().into_iter().map(|(_, name)| name).collect())
}
