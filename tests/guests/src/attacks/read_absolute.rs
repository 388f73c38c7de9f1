//! Names a file from the root of the file system. The wall: `open: not-permitted`.

use crate::wasi::{Target, granted, read};
use vespiary_sdk::{Result, tool};

/// Reads PATH, which is absolute.
#[tool]
pub fn read_absolute(target: Target) -> Result<String> {
    read(&granted()?, &target.path)
}
