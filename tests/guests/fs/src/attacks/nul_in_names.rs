//! Cuts a path short with NUL, so that what is judged is not what is opened. The wall: `invalid`.

use crate::siege::Siege;
use vespiary_sdk::{Result, tool};

/// Cuts a path short with NUL, so that what is judged is not what is opened.
#[tool]
pub fn nul_in_names() -> Result<String> {
    let mut siege = Siege::begin()?;
    for path in [".env\0.txt", "notes.txt\0", "\0", "sub/\0/../.env", ".git/config\0x"] {
        siege.reads(path);
        siege.writes(path);
        let linked = siege.dir.symlink_at("notes.txt\0x", "made");
        siege.tried("a link that says NUL", linked);
        let moved = siege.dir.rename_at(path, &siege.dir, "seen");
        siege.tried("move it", moved);
    }
    siege.end()
}
