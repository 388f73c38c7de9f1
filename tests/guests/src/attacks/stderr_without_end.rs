//! Prints to standard error and never ends the line, so that the host keeps what it cannot show yet. The wall: limit
//! `log-bytes`.

use vespiary_sdk::{Error, Result, tool};

/// One line that never ends.
#[tool]
pub fn stderr_without_end() -> Result<String> {
    let err = wasip2::cli::stderr::get_stderr();
    for _ in 0..1_000_000 {
        err.blocking_write_and_flush(b"..........").map_err(|_| Error::failed("stderr: closed"))?;
    }
    Ok("printed".into())
}
