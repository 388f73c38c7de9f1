//! Writes nothing to standard output, for ever: each call costs the host and counts no byte. The wall: limit
//! `cpu-time-ms`, which counts calls to the host as well.

use vespiary_sdk::{Error, Result, tool};

/// Prints nothing.
#[tool]
pub fn empty_writes() -> Result<String> {
    let out = wasip2::cli::stdout::get_stdout();
    loop {
        out.write(b"").map_err(|_| Error::failed("stdout: closed"))?;
    }
}
