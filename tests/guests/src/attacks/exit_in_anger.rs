//! Leaves through `exit` with a failure. The wall: trap `exit`, and no process of the host's ends.

use vespiary_sdk::{Result, tool};

/// Exits.
#[tool]
pub fn exit_in_anger() -> Result<String> {
    wasip2::cli::exit::exit(Err(()));
    Ok("came back".into())
}
