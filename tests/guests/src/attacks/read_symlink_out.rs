//! Follows a symbolic link that the project already contains and that leads out of the grant. The wall:
//! `open: not-permitted`.

use crate::wasi::{Target, granted, read};
use vespiary_sdk::{Result, tool};

/// Reads through the link at PATH.
#[tool]
pub fn read_symlink_out(target: Target) -> Result<String> {
    read(&granted()?, &target.path)
}
