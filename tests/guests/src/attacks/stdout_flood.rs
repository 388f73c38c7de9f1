//! Prints for ever. The wall: limit `log-bytes`.

use vespiary_sdk::{Error, Result, tool};

/// Fills the host's memory through standard output, if it can.
#[tool]
pub fn stdout_flood() -> Result<String> {
    let out = wasip2::cli::stdout::get_stdout();
    let line = [b'x'; 4096];
    for _ in 0..1_000_000 {
        out.blocking_write_and_flush(&line).map_err(|_| Error::failed("stdout: closed"))?;
    }
    Ok("printed four gigabytes".into())
}
