//! Answers with far more than anybody asked for. The wall: limit `result-bytes`.

use vespiary_sdk::{Result, tool};

/// Gives 32 MiB of text.
#[tool]
pub fn huge_result() -> Result<String> {
    Ok("x".repeat(32 << 20))
}
