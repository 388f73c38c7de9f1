//! Where `workflow(name)` finds what it names. A port: the roof knows the directories, the fleet only that a name has a source.

use std::fmt;

/// A workflow that can be run as a part of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The name by which it is known.
    pub name: String,
    /// The JavaScript.
    pub source: String,
}

/// Workflows by name.
pub trait Library: fmt::Debug + Send + Sync {
    /// The workflow called `name`, which is a script's word and may be anything. Reads a file and blocks.
    ///
    /// # Errors
    /// A sentence for the script's author: what is wrong with the name, and which there are.
    fn find(&self, name: &str) -> Result<Found, String>;
}
