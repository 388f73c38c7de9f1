//! Writes through streams until it is stopped, then goes on with others. The wall: `quota` once for all of them.

use crate::siege::{CREATE, FOLLOW, Siege, WRITE};
use vespiary_sdk::{Error, Result, tool};
use wasip2::filesystem::types::ErrorCode;

/// Writes through streams until it is stopped, then goes on with others.
#[tool]
pub fn stream_past_quota() -> Result<String> {
    let mut siege = Siege::begin()?;
    let file = siege.dir.open_at(FOLLOW, "bomb", CREATE, WRITE).map_err(|code| Error::failed(code.name()))?;
    let mut written = 0u64;
    for _ in 0..8 {
        let stream = file.append_via_stream().map_err(|code| Error::failed(code.name()))?;
        while stream.blocking_write_and_flush(&[b'x'; 4096]).is_ok() {
            written += 4096;
            if written > 1 << 20 {
                return Ok(format!("{written} bytes were written"));
            }
        }
        siege.tried::<()>("another stream", Err(ErrorCode::Quota));
        siege.tried("the file itself", file.write(&[b'x'; 4096], 0));
    }
    siege.end()
}
