//! Deletes what it may only read. The wall: `unlink: read-only` or `not-permitted`.

use crate::wasi::{Target, granted, refused};
use vespiary_sdk::{Result, tool};

/// Unlinks PATH.
#[tool]
pub fn delete_readonly(target: Target) -> Result<String> {
    granted()?.unlink_file_at(&target.path).map_err(|code| refused("unlink", code))?;
    Ok("deleted".into())
}
