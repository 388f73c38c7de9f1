//! Holds a writable directory, plants a symbolic link that leads out, and reads through it. The wall: the link cannot be
//! made, or cannot be followed (`not-permitted`).

use crate::wasi::{Target, granted, read, refused};
use vespiary_sdk::{Result, tool};

/// Links `planted` to PATH and reads it.
#[tool]
pub fn link_then_read(target: Target) -> Result<String> {
    let dir = granted()?;
    dir.symlink_at(&target.path, "planted").map_err(|code| refused("symlink", code))?;
    read(&dir, "planted")
}
