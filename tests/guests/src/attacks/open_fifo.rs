//! Opens a pipe that nobody writes to, which would hold a thread of the host for ever. The wall: `open: not-permitted` at
//! once.

use crate::wasi::{Target, granted, read};
use vespiary_sdk::{Result, tool};

/// Reads the pipe at PATH.
#[tool]
pub fn open_fifo(target: Target) -> Result<String> {
    read(&granted()?, &target.path)
}
