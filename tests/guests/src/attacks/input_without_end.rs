//! Waits for standard input in every way there is. The wall: it is closed, and says so at once.

use vespiary_sdk::{Error, Result, tool};

/// Reads, skips, subscribes.
#[tool]
pub fn input_without_end() -> Result<String> {
    let input = wasip2::cli::stdin::get_stdin();
    input.subscribe().block();
    if input.read(u64::MAX).is_ok() || input.blocking_skip(u64::MAX).is_ok() || input.skip(1).is_ok() {
        return Ok("somebody typed".into());
    }
    Err(Error::failed("stdin: closed"))
}
