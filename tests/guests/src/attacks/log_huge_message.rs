//! Logs one message of twenty mebibytes, which the host would have to copy before it could count it. The wall: limit
//! `host-call-bytes`, before the copy.

use vespiary_sdk::{Result, report, tool};

/// One line, longer than any log.
#[tool]
pub fn log_huge_message() -> Result<String> {
    report::info("x".repeat(20 << 20));
    Ok("logged".into())
}
