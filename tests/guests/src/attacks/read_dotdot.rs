//! Climbs out of the granted directory with `..`. The wall: `open: not-permitted`.

use crate::wasi::{Target, granted, read};
use vespiary_sdk::{Result, tool};

/// Reads `../PATH`, and the same hidden behind a real directory.
#[tool]
pub fn read_dotdot(target: Target) -> Result<String> {
    let dir = granted()?;
    read(&dir, &format!("inside/../../{}", target.path)).or_else(|_| read(&dir, &format!("../{}", target.path)))
}
