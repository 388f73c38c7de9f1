//! Reads the environment, the command line and the working directory. The wall: all of them are empty.

use vespiary_sdk::{Error, Result, tool};

/// Collects whatever the host's process would tell.
#[tool]
pub fn environment() -> Result<String> {
    use wasip2::cli::environment as env;
    let (variables, arguments, dir) = (env::get_environment(), env::get_arguments(), env::initial_cwd());
    if variables.is_empty() && arguments.is_empty() && dir.is_none() {
        return Err(Error::failed("environment: empty"));
    }
    Ok(format!("{variables:?} {arguments:?} {dir:?}"))
}
