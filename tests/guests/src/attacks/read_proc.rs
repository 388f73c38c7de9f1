//! Asks the kernel for the host process itself. The wall: `open: not-permitted`, or no such entry below the grant.

use crate::wasi::{granted, read};
use vespiary_sdk::{Error, Result, tool};

/// Reads the host's environment, memory map and root from `/proc` by every spelling.
#[tool]
pub fn read_proc() -> Result<String> {
    let dir = granted()?;
    let spellings = ["/proc/self/environ", "proc/self/environ", "../../../../../../proc/self/maps", "//proc/self/root/etc/passwd"];
    let mut last = Error::failed("nothing was tried");
    for path in spellings {
        match read(&dir, path) {
            Ok(loot) => return Ok(loot),
            Err(error) => last = error,
        }
    }
    Err(last)
}
