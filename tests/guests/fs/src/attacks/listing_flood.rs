//! Holds listings and directories without end. The wall: the cell's handles are counted, and the call ends.

use crate::siege::{FOLLOW, OpenFlags, READ, flood, granted};
use vespiary_sdk::{Result, tool};

/// Holds listings and directories without end.
#[tool]
pub fn listing_flood() -> Result<String> {
    let dir = granted()?;
    let mut held = Vec::new();
    flood(100_000, |_| {
        let below = dir.open_at(FOLLOW, "sub", OpenFlags::DIRECTORY, READ)?;
        held.push((below.read_directory()?, below));
        Ok(())
    })
}
