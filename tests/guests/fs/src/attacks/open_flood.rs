//! Opens a file again and again and closes none. The wall: files open at once are counted, `quota`.

use crate::siege::{FOLLOW, NOTHING, READ, flood, granted};
use vespiary_sdk::{Result, tool};

/// Opens a file again and again and closes none.
#[tool]
pub fn open_flood() -> Result<String> {
    let dir = granted()?;
    let mut held = Vec::new();
    flood(100_000, |_| {
        held.push(dir.open_at(FOLLOW, "notes.txt", NOTHING, READ)?);
        Ok(())
    })
}
