//! The files of a cell: `wasi:filesystem` as this host answers it, on the calling thread. Every operation is resolved beneath
//! the root of a tree, judged on the canonical path, and only then asked of what lies under the tree. Never a path that was
//! not judged, and never a link followed by anybody but `tree`.
//!
//! Stricter than the standard asks, by design:
//!
//! - Hard links cannot be made, and a file that has a second name cannot be opened for writing: that name may lie outside.
//! - Only regular files and directories are ever opened. A FIFO, socket or device is not permitted, and nothing is waited for.
//! - A symbolic link can only be made with a relative target that, by its text, stays inside the tree; one whose target is
//!   absolute is neither followed nor read. One that would lead out at its new place is not moved there.
//! - A path may have 4,095 bytes, with the directory it is taken from and with what is left of it behind a link. A longer one is
//!   `name-too-long`, whatever it names: it is not judged.
//! - What is hidden is absent to whoever looks, and not permitted to whoever changes, whether or not it exists.
//! - A directory in which a rule begins or ends (`deny` of something below, a grant of something below) cannot be renamed.
//! - Renaming from one tree to another (the project, an absolute grant) is `cross-device`.
//! - A descriptor of a directory is its path, not its inode: after a rename it names what has the path then.
//! - Synchronized writes and advisory locks are not supported.

pub(crate) mod backing;
mod batch;
mod code;
mod handle;
mod host;
pub(crate) mod limits;
mod open;
pub(crate) mod overlay;
pub(crate) mod plain;
pub(crate) mod seen;
mod streams;
pub(crate) mod tree;
mod verbs;

#[cfg(test)]
mod tests;

pub(crate) use handle::{Files, Granted, Preopen};
pub(crate) use verbs::shown_entries;
