//! Uses a descriptor that it has given back. The wall: the call ends.

#![allow(unsafe_code, reason = "what no safe guest can do is what is tried here")]

use crate::siege::{Descriptor, FOLLOW, NOTHING, READ, granted};
use vespiary_sdk::{Error, Result, tool};

/// Uses a descriptor that it has given back.
#[tool]
pub fn used_after_drop() -> Result<String> {
    let dir = granted()?;
    let file = dir.open_at(FOLLOW, "notes.txt", NOTHING, READ).map_err(|code| Error::failed(code.name()))?;
    let again = std::mem::ManuallyDrop::new(unsafe { Descriptor::from_handle(file.handle()) });
    drop(file);
    let (bytes, _) = again.read(4096, 0).map_err(|code| Error::failed(code.name()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
