//! Logs once: a million line breaks in one message. The wall: limit `log-bytes`, each line break counted as a line.

use vespiary_sdk::{Result, report, tool};

/// One call, a million lines.
#[tool]
pub fn log_one_message() -> Result<String> {
    report::info("\n".repeat(1_000_000));
    Ok("logged".into())
}
