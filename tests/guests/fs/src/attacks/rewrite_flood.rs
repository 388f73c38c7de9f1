//! Writes the same small file for ever. The wall: bytes count each time they are written, `quota`.

use crate::siege::{CREATE, FOLLOW, OpenFlags, WRITE, flood, granted};
use vespiary_sdk::{Result, tool};

/// Writes the same small file for ever.
#[tool]
pub fn rewrite_flood() -> Result<String> {
    let dir = granted()?;
    flood(100_000, |_| {
        let file = dir.open_at(FOLLOW, "again", CREATE | OpenFlags::TRUNCATE, WRITE)?;
        file.write(&[b'x'; 1024], 0).map(drop)
    })
}
