//! Reaches a denied directory through links. The wall: `not-permitted`, judged where the link leads, whether or not
//! something is there.

use crate::siege::Siege;
use vespiary_sdk::{Result, tool};

/// Reaches a denied directory through links.
#[tool]
pub fn hole_by_link() -> Result<String> {
    let mut siege = Siege::begin()?;
    let _ = siege.dir.symlink_at("private", "made");
    let _ = siege.dir.symlink_at("../private/key", "sub/made");
    for path in ["private/key", "private", "made/key", "made/nothing", "sub/made", "link-to-sub/../private/key", "link-to-private/key"] {
        siege.reads(path);
        siege.writes(path);
    }
    siege.end()
}
