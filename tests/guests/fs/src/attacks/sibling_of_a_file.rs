//! Holds one file, and takes it for a directory to reach its neighbours. The wall: a file is no directory.

use crate::siege::Siege;
use vespiary_sdk::{Result, tool};

/// Holds one file, and takes it for a directory to reach its neighbours.
#[tool]
pub fn sibling_of_a_file() -> Result<String> {
    let mut siege = Siege::begin()?;
    for path in [".", "..", "../sub/visible", ".env", "/", "sub/visible", ""] {
        siege.reads(path);
    }
    let listed = siege.dir.read_directory();
    siege.tried("list it", listed);
    let written = siege.dir.write(b"x", 0);
    siege.tried("write it", written);
    siege.end()
}
