//! Reaches hidden files through links that were there and through links it makes. The wall: judged where the link leads.

use crate::siege::Siege;
use vespiary_sdk::{Result, tool};

/// Reaches hidden files through links that were there and through links it makes.
#[tool]
pub fn hidden_by_link() -> Result<String> {
    let mut siege = Siege::begin()?;
    for path in ["link-to-env", "link-to-link", "link-to-sub/.env", "link-to-git/config"] {
        siege.reads(path);
        siege.writes(path);
    }
    for (says, link, path) in [
        (".env", "made-1", "made-1"),
        ("sub/../.env", "made-2", "made-2"),
        ("made-1", "made-3", "made-3"),
        (".git", "made-4", "made-4/config"),
        (".", "made-5", "made-5/made-5/.env"),
    ] {
        // Links may be made; it is what lies behind them that must not be had.
        let _ = siege.dir.symlink_at(says, link);
        siege.reads(path);
        siege.writes(path);
    }
    siege.end()
}
