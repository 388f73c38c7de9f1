//! Reports progress once, with a note of twenty mebibytes. The wall: limit `host-call-bytes`.

use vespiary_sdk::{Result, report, tool};

/// A note that nobody can read.
#[tool]
pub fn progress_huge_note() -> Result<String> {
    report::progress(u64::MAX, Some(u64::MAX), "n".repeat(20 << 20));
    Ok("noted".into())
}
