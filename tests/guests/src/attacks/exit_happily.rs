//! Leaves through `exit` with success instead of answering. The wall: trap `exit`; success is what was answered, not a status.

use vespiary_sdk::{Result, tool};

/// Exits.
#[tool]
pub fn exit_happily() -> Result<String> {
    wasip2::cli::exit::exit(Ok(()));
    Ok("came back".into())
}
