//! Makes files without end, removing them as it goes. The wall: making counts, `quota`.

use crate::siege::{CREATE, FOLLOW, WRITE, flood, granted};
use vespiary_sdk::{Result, tool};

/// Makes files without end, removing them as it goes.
#[tool]
pub fn file_flood() -> Result<String> {
    let dir = granted()?;
    flood(100_000, |n| {
        let name = format!("made-{n}");
        dir.open_at(FOLLOW, &name, CREATE, WRITE).map(drop)?;
        dir.unlink_file_at(&name)
    })
}
