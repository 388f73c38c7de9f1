//! Writes names and paths that are longer than any file system holds. The wall: an error, soon.

use crate::siege::Siege;
use vespiary_sdk::{Result, tool};

/// Writes names and paths that are longer than any file system holds.
#[tool]
pub fn long_names() -> Result<String> {
    let mut siege = Siege::begin()?;
    for path in ["n".repeat(256), "n".repeat(100_000), "n/".repeat(50_000), "./".repeat(100_000) + ".env", "\u{1f980}".repeat(300)] {
        siege.reads(&path);
        siege.writes(&path);
    }
    let linked = siege.dir.symlink_at(&"x/".repeat(50_000), "made");
    siege.tried("a link that says too much", linked);
    siege.end()
}
