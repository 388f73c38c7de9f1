//! Writes one byte very far out. The wall: the gap counts as written, `quota`.

use crate::siege::{CREATE, FOLLOW, Siege, WRITE};
use vespiary_sdk::{Error, Result, tool};
use wasip2::filesystem::types::ErrorCode;

/// Writes one byte very far out.
#[tool]
pub fn sparse_bomb() -> Result<String> {
    let mut siege = Siege::begin()?;
    let file = siege.dir.open_at(FOLLOW, "bomb", CREATE, WRITE).map_err(|code| Error::failed(code.name()))?;
    for offset in [1 << 20, 1 << 40, (u64::MAX >> 1) - 1, u64::MAX] {
        siege.tried("write far out", file.write(b"x", offset));
        let stream = file.write_via_stream(offset).map_err(|code| Error::failed(code.name()))?;
        let written = stream.blocking_write_and_flush(b"x");
        siege.tried("stream far out", written.map_err(|_| ErrorCode::Quota));
    }
    siege.end()
}
