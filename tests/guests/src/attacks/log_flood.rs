//! Logs for ever. The wall: limit `log-bytes`.

use vespiary_sdk::{Result, report, tool};

/// Fills the host's disk, if it can.
#[tool]
pub fn log_flood() -> Result<String> {
    let line = "all work and no play ".repeat(50);
    for _ in 0..1_000_000 {
        report::info(&line);
    }
    Ok("logged a gigabyte".into())
}
