//! Appends to a file for ever. The wall: `quota`.

use crate::siege::{CREATE, FOLLOW, WRITE, flood, granted};
use vespiary_sdk::{Error, Result, tool};

/// Appends to a file for ever.
#[tool]
pub fn append_flood() -> Result<String> {
    let file = granted()?.open_at(FOLLOW, "longer", CREATE, WRITE).map_err(|code| Error::failed(code.name()))?;
    flood(100_000, |n| file.write(&[b'x'; 512], u64::from(n) * 512).map(drop))
}
