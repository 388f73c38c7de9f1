//! Makes links that lead out, in every way it knows. The wall: none is made, none followed.

use crate::siege::Siege;
use vespiary_sdk::{Result, tool};

/// Makes links that lead out, in every way it knows.
#[tool]
pub fn links_made_out() -> Result<String> {
    let mut siege = Siege::begin()?;
    for says in ["/etc/passwd", "/", "..", "../secret.txt", "sub/../../secret.txt", "./../secret.txt", "//etc", "sub/../sub/../../x", ""] {
        let made = siege.dir.symlink_at(says, "made");
        siege.tried(&format!("a link to {says}"), made);
        siege.reads("made");
    }
    let made = siege.dir.symlink_at("../../secret.txt", "sub/made");
    siege.tried("a link two up", made);
    siege.end()
}
