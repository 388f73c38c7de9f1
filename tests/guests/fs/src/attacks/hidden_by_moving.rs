//! Moves hidden files to visible names, visible files over hidden ones, and the directories that make a name hidden. The
//! wall: `not-permitted` for each.

use crate::siege::Siege;
use vespiary_sdk::{Result, tool};

/// Moves hidden files to visible names, visible files over hidden ones, and the directories that make a name hidden.
#[tool]
pub fn hidden_by_moving() -> Result<String> {
    let mut siege = Siege::begin()?;
    for (from, to) in [
        (".env", "seen"),
        ("sub/.env", "seen"),
        (".git/config", "seen"),
        ("notes.txt", ".env"),
        ("notes.txt", "id_rsa"),
        ("notes.txt", ".git/config"),
        (".git", "git"),
        (".ssh", "ssh"),
        (".aws", "aws"),
        (".kube", "kube"),
        ("empty", ".git"),
        ("empty", ".ssh"),
    ] {
        let moved = siege.dir.rename_at(from, &siege.dir, to);
        siege.tried(&format!("{from} to {to}"), moved);
    }
    siege.end()
}
