//! Logs a million empty lines, each of which costs the reader a line and the writer nothing. The wall: limit `log-bytes`.

use vespiary_sdk::{Result, report, tool};

/// Logs nothing, again and again.
#[tool]
pub fn log_empty_lines() -> Result<String> {
    for _ in 0..1_000_000 {
        report::info("");
    }
    Ok("a million lines of nothing".into())
}
