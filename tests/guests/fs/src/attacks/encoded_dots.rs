//! Writes `..` in encodings that somebody may decode. The wall: they are names like others, and nothing has them.

use crate::siege::Siege;
use vespiary_sdk::{Result, tool};

/// Writes `..` in encodings that somebody may decode.
#[tool]
pub fn encoded_dots() -> Result<String> {
    let mut siege = Siege::begin()?;
    for path in ["%2e%2e/secret.txt", "..%2fsecret.txt", "\u{ff0e}\u{ff0e}/secret.txt", "\u{2025}/secret.txt", "..\u{2215}secret.txt", ".. /secret.txt", "... /secret.txt", "..\u{200b}/secret.txt"] {
        siege.reads(path);
    }
    siege.end()
}
