//! Hides climbing and roots among slashes and dots. The wall: `not-permitted`.

use crate::siege::Siege;
use vespiary_sdk::{Result, tool};

/// Hides climbing and roots among slashes and dots.
#[tool]
pub fn doubled_slashes() -> Result<String> {
    let mut siege = Siege::begin()?;
    for path in [
        "//etc/passwd", "/", "///", "/.", ".//..//secret.txt", "sub//..//..//secret.txt", "./../secret.txt", "..", "../", "../.",
        "sub/../../secret.txt", "./././../secret.txt", "link-to-sub/../../secret.txt", "sub/.././../project/../secret.txt",
    ] {
        siege.reads(path);
        siege.writes(path);
    }
    siege.end()
}
