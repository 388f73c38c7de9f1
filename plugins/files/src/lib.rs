//! Files, for agents and scripts: list, glob, stat and read; write and edit where that was granted. Whatever cannot be
//! looked at is reported beside what could, and ends nothing. What must never live here: judgement about permission; the
//! cell holds what it holds.

mod coding;
mod listing;
mod patterns;
mod reading;
mod writing;

pub use listing::{glob, list};
pub use reading::{read, stat};
pub use writing::{edit, write};

vespiary_sdk::tool_plugin!(list, glob, stat, read, write, edit);

#[cfg(test)]
mod tests;
