//! Reads what the person types. The wall: standard input is closed.

use vespiary_sdk::{Error, Result, tool};

/// Waits for a line on standard input.
#[tool]
pub fn standard_input() -> Result<String> {
    match wasip2::cli::stdin::get_stdin().blocking_read(1024) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(_) => Err(Error::failed("stdin: closed")),
    }
}
