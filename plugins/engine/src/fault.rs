//! What can be wrong with a script, and where. Says nothing about how it was found.

/// Which part of the contract the script broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The source is not JavaScript.
    Syntax,
    /// `meta` is missing, not first, not a pure literal, or lacks a required field.
    Meta,
    /// The script threw, and nothing caught it.
    Thrown,
    /// The script waits for a promise that nothing will ever settle.
    Stalled,
}

/// A place in the source: both count from 1, columns in characters. `0:0` where the place is unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

/// Why a script cannot run, or cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}:{}: {message}", place.line, place.column)]
pub struct Fault {
    /// Which part of the contract was broken.
    pub kind: Kind,
    /// What is wrong, and what to do about it.
    pub message: String,
    /// Where.
    pub place: Place,
    /// Stack frames inside the script, one a line; may be empty.
    pub stack: String,
}

impl Fault {
    /// A fault without a stack.
    pub(crate) fn at(kind: Kind, place: Place, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), place, stack: String::new() }
    }
}
