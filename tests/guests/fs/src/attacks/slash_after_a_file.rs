//! Takes files for directories by a slash. The wall: `not-directory`.

use crate::siege::Siege;
use vespiary_sdk::{Result, tool};

/// Takes files for directories by a slash.
#[tool]
pub fn slash_after_a_file() -> Result<String> {
    let mut siege = Siege::begin()?;
    for path in ["notes.txt/", "notes.txt/.", "notes.txt/..", "notes.txt/../.env", "notes.txt/x", "leak/", "pipe/"] {
        siege.reads(path);
    }
    siege.end()
}
