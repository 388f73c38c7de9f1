//! Writes paths with the separators of another system. The wall: a backslash is a letter.

use crate::siege::Siege;
use vespiary_sdk::{Result, tool};

/// Writes paths with the separators of another system.
#[tool]
pub fn backslashes() -> Result<String> {
    let mut siege = Siege::begin()?;
    for path in ["..\\secret.txt", "sub\\..\\..\\secret.txt", "C:\\secret.txt", "\\\\?\\C:\\x", "sub\\visible", ".git\\config"] {
        siege.reads(path);
    }
    siege.end()
}
