//! Lists a directory in which a name is no text, and goes on. The wall: `illegal-byte-sequence` for that entry, and an
//! end.

use crate::siege::granted;
use vespiary_sdk::{Error, Result, tool};

/// Lists a directory in which a name is no text, and goes on.
#[tool]
pub fn odd_bytes_in_names() -> Result<String> {
    let dir = granted()?;
    let stream = dir.read_directory().map_err(|code| Error::failed(code.name()))?;
    let (mut odd, mut steps) = (0, 0);
    loop {
        steps += 1;
        match stream.read_directory_entry() {
            Ok(Some(entry)) if entry.name.contains('\u{fffd}') => return Ok("a name was made up".into()),
            Ok(Some(_)) => {}
            Ok(None) => return Err(Error::failed(format!("an end, {odd} odd"))),
            Err(_) => odd += 1,
        }
        if steps > 10_000 {
            return Ok("no end".into());
        }
    }
}
