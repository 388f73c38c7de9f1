//! Makes a second name, inside the grant, for a file outside it. The wall: `link: not-permitted`.

use crate::wasi::{PathFlags, Target, granted, read, refused};
use vespiary_sdk::{Result, tool};

/// Links `stolen` to `../PATH` and reads it.
#[tool]
pub fn hardlink_out(target: Target) -> Result<String> {
    let dir = granted()?;
    dir.link_at(PathFlags::empty(), &format!("../{}", target.path), &dir, "stolen").map_err(|code| refused("link", code))?;
    read(&dir, "stolen")
}
