//! Search, for agents and scripts: ripgrep's libraries over the files a cell was granted. Whatever cannot be searched is
//! reported beside what could, and ends nothing. What must never live here: another way to walk a tree; that is the SDK's.

mod found;

mod lines;
mod pattern;
mod search;

pub use found::{Found, Hit};
pub use pattern::Case;
pub use search::{GrepArgs, grep};

vespiary_sdk::tool_plugin!(grep);

#[cfg(test)]
mod tests;
