//! Moves a file it may write to a place it may not. The wall: `rename: not-permitted`.

use crate::wasi::{Target, granted, refused};
use vespiary_sdk::{Result, tool};

/// Renames PATH to `../PATH`.
#[tool]
pub fn rename_out(target: Target) -> Result<String> {
    let dir = granted()?;
    dir.rename_at(&target.path, &dir, &format!("../{}", target.path)).map_err(|code| refused("rename", code))?;
    Ok("moved out".into())
}
