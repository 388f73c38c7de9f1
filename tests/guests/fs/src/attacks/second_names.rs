//! Writes through a second name of a file outside, and makes such names. The wall: `not-permitted`.

use crate::siege::{PathFlags, Siege};
use vespiary_sdk::{Result, tool};

/// Writes through a second name of a file outside, and makes such names.
#[tool]
pub fn second_names() -> Result<String> {
    let mut siege = Siege::begin()?;
    siege.writes("shared");
    for (from, to) in [("notes.txt", "made"), (".env", "seen"), ("../secret.txt", "stolen"), ("leak", "stolen")] {
        let made = siege.dir.link_at(PathFlags::empty(), from, &siege.dir, to);
        siege.tried("a name more", made);
    }
    siege.end()
}
