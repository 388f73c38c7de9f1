//! Asks whether somebody sits at a terminal, and for its handles. The wall: nobody does.

use vespiary_sdk::{Error, Result, tool};

/// Looks for a screen.
#[tool]
pub fn terminal() -> Result<String> {
    use wasip2::cli::{terminal_stderr, terminal_stdin, terminal_stdout};
    let found = (
        terminal_stdin::get_terminal_stdin().is_some(),
        terminal_stdout::get_terminal_stdout().is_some(),
        terminal_stderr::get_terminal_stderr().is_some(),
    );
    if found == (false, false, false) {
        return Err(Error::failed("terminal: none"));
    }
    Ok(format!("{found:?}"))
}
