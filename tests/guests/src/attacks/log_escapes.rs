//! Logs terminal escapes and a forged second line. The wall: control characters arrive neutralized, and a
//! second line keeps the level of the first.

use vespiary_sdk::{Result, report, tool};

/// Clears the reader's screen, if it can.
#[tool]
pub fn log_escapes() -> Result<String> {
    report::info("innocent\x1b[2J\x1b]0;owned\x07\r\nERROR forged line\u{9b}31m\u{202e}");
    Ok("logged".into())
}
