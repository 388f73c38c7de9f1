//! Follows chains of links, circles, and links through links. The wall: `loop` after forty.

use crate::siege::Siege;
use vespiary_sdk::{Result, tool};

/// Follows chains of links, circles, and links through links.
#[tool]
pub fn link_chains() -> Result<String> {
    let mut siege = Siege::begin()?;
    for n in 0..8 {
        let _ = siege.dir.symlink_at(&format!("made-{}", (n + 1) % 8), &format!("made-{n}"));
    }
    for path in ["chain-0", "circle", "circle/x", "made-0", "made-3/x", "made-0/../made-1"] {
        siege.reads(path);
        siege.writes(path);
    }
    siege.end()
}
