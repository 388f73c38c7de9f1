//! Opens a file with every flag there is, and those that there are not, for reading only. The wall: `open: not-permitted`,
//! `read-only` or `unsupported`.

use crate::wasi::{DescriptorFlags, OpenFlags, PathFlags, Target, granted, refused};
use vespiary_sdk::{Result, tool};

/// Sets all bits.
#[tool]
pub fn unknown_flags(target: Target) -> Result<String> {
    let dir = granted()?;
    let all = DescriptorFlags::from_bits_retain(0xff);
    let (how, paths) = (OpenFlags::from_bits_retain(0xff), PathFlags::from_bits_retain(0xff));
    for flags in [all, all - DescriptorFlags::REQUESTED_WRITE_SYNC, DescriptorFlags::WRITE, DescriptorFlags::MUTATE_DIRECTORY] {
        for how in [how, OpenFlags::CREATE, OpenFlags::TRUNCATE] {
            if dir.open_at(paths, &target.path, how, flags).is_ok() {
                return Ok(format!("opened with {flags:?} {how:?}"));
            }
        }
    }
    dir.open_at(paths, &target.path, how, all).map(|_| String::new()).map_err(|code| refused("open", code))
}
