//! Moves a denied directory, or what holds it, to where nothing is denied. The wall: `not-permitted`.

use crate::siege::Siege;
use vespiary_sdk::{Result, tool};

/// Moves a denied directory, or what holds it, to where nothing is denied.
#[tool]
pub fn hole_by_moving() -> Result<String> {
    let mut siege = Siege::begin()?;
    for (from, to) in [("private", "public"), ("deep", "shallow"), ("empty", "deep"), ("private/key", "key"), ("deep/private", "seen"), (".", "other")] {
        let moved = siege.dir.rename_at(from, &siege.dir, to);
        siege.tried(&format!("{from} to {to}"), moved);
    }
    siege.reads("public/key");
    siege.reads("shallow/private/key");
    siege.end()
}
