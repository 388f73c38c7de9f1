//! Makes a link that stays inside and moves it to where the same text leads out. The wall: followed where it stands,
//! `not-permitted`.

use crate::siege::Siege;
use vespiary_sdk::{Result, tool};

/// Makes a link that stays inside and moves it to where the same text leads out.
#[tool]
pub fn link_moved_out() -> Result<String> {
    let mut siege = Siege::begin()?;
    let _ = siege.dir.symlink_at("../secret.txt", "sub/made");
    let _ = siege.dir.rename_at("sub/made", &siege.dir, "made");
    siege.reads("made");
    siege.writes("made");
    let _ = siege.dir.create_directory_at("sub/below");
    let _ = siege.dir.symlink_at("../../secret.txt", "sub/below/made");
    let _ = siege.dir.rename_at("sub/below", &siege.dir, "below");
    siege.reads("below/made");
    siege.writes("below/made");
    siege.end()
}
