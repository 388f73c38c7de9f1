//! Reports progress for ever, a long note each time. The wall: limit `log-bytes`.

use vespiary_sdk::{Result, report, tool};

/// Drowns whoever watches.
#[tool]
pub fn progress_flood() -> Result<String> {
    let note = "n".repeat(1000);
    for done in 0..1_000_000 {
        report::progress(done, None, &note);
    }
    Ok("nobody stopped me".into())
}
