//! Opens one file again and again and keeps every handle. The wall: the host's table of handles ends the attempt; the call
//! fails or is ended, and the host's descriptors come back when it ends.

use crate::wasi::{DescriptorFlags, OpenFlags, PathFlags, Target, granted, refused};
use vespiary_sdk::{Result, tool};

/// Opens PATH up to a million times.
#[tool]
pub fn open_many_files(target: Target) -> Result<String> {
    let dir = granted()?;
    let mut held = Vec::new();
    for _ in 0..1_000_000 {
        let file = dir.open_at(PathFlags::empty(), &target.path, OpenFlags::empty(), DescriptorFlags::READ);
        held.push(file.map_err(|code| refused(&format!("open number {}", held.len()), code))?);
    }
    Ok(format!("held {} files", held.len()))
}
