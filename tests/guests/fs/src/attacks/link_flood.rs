//! Makes links without end. The wall: making counts, `quota`.

use crate::siege::{flood, granted};
use vespiary_sdk::{Result, tool};

/// Makes links without end.
#[tool]
pub fn link_flood() -> Result<String> {
    let dir = granted()?;
    flood(100_000, |n| dir.symlink_at("notes.txt", &format!("made-{n}")))
}
