//! Grows a file without writing a byte. The wall: growing counts as writing, `quota`.

use crate::siege::{CREATE, FOLLOW, Siege, WRITE};
use vespiary_sdk::{Error, Result, tool};

/// Grows a file without writing a byte.
#[tool]
pub fn set_size_bomb() -> Result<String> {
    let mut siege = Siege::begin()?;
    let file = siege.dir.open_at(FOLLOW, "bomb", CREATE, WRITE).map_err(|code| Error::failed(code.name()))?;
    for bytes in [1 << 20, 1 << 40, u64::MAX >> 1, u64::MAX] {
        siege.tried("grow it", file.set_size(bytes));
    }
    // In steps it must not work either.
    let mut bytes = 0;
    let stopped = loop {
        bytes += 16 << 10;
        if let Err(code) = file.set_size(bytes) {
            break code;
        }
        if bytes > 16 << 20 {
            return Ok("16 MiB in steps".into());
        }
        let _ = file.set_size(0);
        let _ = file.set_size(bytes);
    };
    siege.tried::<()>("in steps", Err(stopped));
    siege.end()
}
