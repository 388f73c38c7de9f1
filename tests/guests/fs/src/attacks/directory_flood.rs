//! Makes directories without end. The wall: making counts, `quota`.

use crate::siege::{flood, granted};
use vespiary_sdk::{Result, tool};

/// Makes directories without end.
#[tool]
pub fn directory_flood() -> Result<String> {
    let dir = granted()?;
    flood(100_000, |n| {
        let name = format!("made-{n}");
        dir.create_directory_at(&name)?;
        dir.remove_directory_at(&name)
    })
}
