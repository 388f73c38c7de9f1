//! Holds `src/**/*.rs` and reaches for what only looks like it. The wall: whole names are matched.

use crate::siege::Siege;
use vespiary_sdk::{Result, tool};

/// Holds `src/**/*.rs` and reaches for what only looks like it.
#[tool]
pub fn glob_edges() -> Result<String> {
    let mut siege = Siege::begin()?;
    for path in [
        "secret.txt",
        "lib.rsx",
        "lib.rs.txt",
        "LIB.RS",
        "link.rs",
        "../notes.txt",
        "../src-private/lib.rs",
        "../src.rs",
        "sub/../../notes.txt",
        "none/secret.txt",
    ] {
        siege.reads(path);
        siege.writes(path);
    }
    siege.writes("lib.rs");
    siege.end()
}
