//! Why a tool or agent gave no value. What lives here: the error authors return, mirroring `tool-error` of the contract.
//! What must never live here: anything that needs a cell.

use std::fmt;

/// What a tool, an agent or this crate's verbs return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why there is no value. A caller can tell the cases apart without reading prose, so choose the nearest one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The arguments do not fit the schema, or contradict each other. Say which and why.
    InvalidArguments(String),
    /// The thing named by the arguments does not exist.
    NotFound(String),
    /// A capability was missing.
    Denied(Denial),
    /// A quota was used up.
    Limit(LimitHit),
    /// The call was stopped from outside.
    Cancelled,
    /// The tool ran and could not do its work. Say what failed and what to do next.
    Failed(String),
}

/// A permission that was missing, in the textual capability form (`read:src`, `tool:files.read`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// What the call needed.
    pub needed: String,
    /// What the caller held, comma separated; empty when nothing.
    pub held: String,
    /// What would allow it, as a sentence.
    pub hint: String,
}

/// A limit that ended a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitHit {
    /// The quota's name, for example `memory-bytes`.
    pub quota: String,
    /// The limit, in the unit the name ends with.
    pub limit: u64,
    /// What had been used, in the same unit.
    pub used: u64,
}

impl Error {
    /// The arguments are at fault: say which one and why.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::InvalidArguments(message.into())
    }

    /// What the arguments name is not there.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::NotFound(message.into())
    }

    /// The work could not be done: say what failed and what to do next.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::Failed(message.into())
    }

    /// The same error with `what` and a colon before its message. The case stays as it was, and a case without a message
    /// stays as it is.
    #[must_use]
    pub fn within(self, what: impl fmt::Display) -> Self {
        match self {
            Self::InvalidArguments(message) => Self::InvalidArguments(format!("{what}: {message}")),
            Self::NotFound(message) => Self::NotFound(format!("{what}: {message}")),
            Self::Failed(message) => Self::Failed(format!("{what}: {message}")),
            other => other,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidArguments(message) => write!(out, "invalid arguments: {message}"),
            Self::NotFound(message) => write!(out, "not found: {message}"),
            Self::Denied(denial) => denial.fmt(out),
            Self::Limit(hit) => write!(out, "the limit {} was reached: {} of {}", hit.quota, hit.used, hit.limit),
            Self::Cancelled => out.write_str("the call was stopped"),
            Self::Failed(message) => out.write_str(message),
        }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = if self.held.is_empty() { "nothing" } else { &self.held };
        write!(out, "needs {}; held: {held}", self.needed)?;
        if !self.hint.is_empty() {
            write!(out, ". {}", self.hint)?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

impl From<std::io::Error> for Error {
    /// Keeps the case: what [`crate::fs`] found missing or not granted stays `NotFound` and `Denied`.
    fn from(error: std::io::Error) -> Self {
        if let Some(denial) = crate::fs::denial(&error) {
            return Self::Denied(denial);
        }
        match error.kind() {
            std::io::ErrorKind::NotFound => Self::NotFound(error.to_string()),
            std::io::ErrorKind::InvalidInput => Self::InvalidArguments(error.to_string()),
            _ => Self::Failed(error.to_string()),
        }
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::Failed(format!("JSON: {error}"))
    }
}

impl From<std::str::Utf8Error> for Error {
    fn from(error: std::str::Utf8Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<std::string::FromUtf8Error> for Error {
    fn from(error: std::string::FromUtf8Error) -> Self {
        Self::Failed(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_stays_a_missing_file() {
        let io = std::io::Error::new(std::io::ErrorKind::NotFound, "src/x: no such file or directory");
        assert_eq!(Error::from(io), Error::not_found("src/x: no such file or directory"));
    }

    #[test]
    fn within_says_where_and_keeps_the_case() {
        assert_eq!(Error::invalid("odd").within("pattern"), Error::invalid("pattern: odd"));
        assert_eq!(Error::Cancelled.within("pattern"), Error::Cancelled);
    }

    #[test]
    fn a_denial_reads_as_a_sentence() {
        let denial =
            Denial { needed: "read:notes".into(), held: String::new(), hint: "Pass --allow read:notes.".into() };
        assert_eq!(Error::Denied(denial).to_string(), "needs read:notes; held: nothing. Pass --allow read:notes.");
    }
}
