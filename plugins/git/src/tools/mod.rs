//! The tools, one a file: arguments in, JSON shapes out. What must never live here: the formats of Git's files.

pub mod diff;
pub mod log;
pub mod show;
pub mod status;

use vespiary_sdk::Error;

/// Most values a list argument takes.
const LIST_MAX: usize = 1_000;

fn default_path() -> String {
    ".".to_owned()
}

fn check_list(name: &str, list: &[String]) -> Result<(), Error> {
    if list.len() > LIST_MAX {
        return Err(Error::invalid(format!("`{name}` has {} values; at most {LIST_MAX} are taken", list.len())));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
