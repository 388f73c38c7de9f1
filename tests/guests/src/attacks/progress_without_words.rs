//! Reports progress for ever and says nothing with it. The wall: limit `log-bytes`: every report costs one.

use vespiary_sdk::{Result, report, tool};

/// Calls the host a million times.
#[tool]
pub fn progress_without_words() -> Result<String> {
    for done in 0..1_000_000 {
        report::progress(done, Some(0), "");
    }
    Ok("nobody stopped me".into())
}
