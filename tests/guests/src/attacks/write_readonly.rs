//! Writes where it may only read: by opening for writing, by truncating, by creating. The wall: `read-only` or
//! `not-permitted`.

use crate::wasi::{DescriptorFlags, OpenFlags, PathFlags, Target, granted, refused};
use vespiary_sdk::{Error, Result, tool};

/// Tries to change PATH, and to create a file beside it.
#[tool]
pub fn write_readonly(target: Target) -> Result<String> {
    let dir = granted()?;
    let writing = DescriptorFlags::READ | DescriptorFlags::WRITE;
    let mut last = Error::failed("nothing was tried");
    for (path, how) in [
        (target.path.as_str(), OpenFlags::empty()),
        (target.path.as_str(), OpenFlags::TRUNCATE),
        ("created", OpenFlags::CREATE),
    ] {
        match dir.open_at(PathFlags::empty(), path, how, writing) {
            Ok(_) => return Ok(format!("opened {path} for writing")),
            Err(code) => last = refused("open", code),
        }
    }
    match dir.create_directory_at("made") {
        Ok(()) => Ok("made a directory".into()),
        Err(_) => Err(last),
    }
}
