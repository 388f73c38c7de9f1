//! Git, read-only, from the repository's own files: no git program, nothing written. What lives here: the plugin's list of
//! tools. What must never live here: a way to write.
//!
//! A repository may have been made by an attacker. Every object is checked against its hash, every name before it becomes
//! part of a path, and every size before memory is given for it; what does not fit is an error, never a panic.
//!
//! Files that a broad grant does not show (`.env`, private keys) are in the repository's objects all the same, which it does
//! show. Their content is told only to who names them: `paths` of `git.diff`, `REV:PATH` or an object's hash of `git.show`. A
//! policy that denies `read:**/.git` denies it to all.
//!
//! Not supported, with an error that says so: SHA-256 repositories, the reftable format, a split index, pack indexes of the old
//! version one. Not looked at: replacement objects, grafts, the user's own configuration and ignore list, conversion of line endings
//! and other filters, and whether a file of the working tree is executable, which a cell cannot see.

mod changes;
mod commit;
mod disk;
mod hidden;
mod history;
mod ignore;
mod index;
mod objects;
mod patch;
mod recent;
mod refs;
mod repository;
mod revision;
mod room;
mod text;
mod time;
mod tree;
mod worktree;

pub mod tools;

pub use commit::{CommitInfo, Person};

use tools::{diff::diff, log::log, show::show, status::status};

vespiary_sdk::tool_plugin!(status, log, show, diff);

#[cfg(test)]
mod fixture;
