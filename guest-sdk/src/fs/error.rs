//! What went wrong, where, and what the cell holds. What must never live here: decisions; errors are made for people.

use super::backend;
use crate::Denial;
use std::{fmt, io};

/// An [`io::Error`]'s inner error: the verb, the path and the cause.
#[derive(Debug)]
struct At {
    verb: String,
    path: String,
    cause: io::Error,
}

/// An [`io::Error`]'s inner error: nothing granted covers the path, or not for this.
#[derive(Debug)]
struct NotGranted {
    verb: Option<String>,
    denial: Denial,
    path: String,
}

pub(super) trait Context<T> {
    /// Names the path, and says what the cell holds where permission was missing.
    fn context(self, verb: impl fmt::Display, path: &str) -> io::Result<T>;
}

impl<T> Context<T> for io::Result<T> {
    fn context(self, verb: impl fmt::Display, path: &str) -> io::Result<T> {
        self.map_err(|cause| at(verb, path, cause))
    }
}

pub(super) fn at(verb: impl fmt::Display, path: &str, cause: io::Error) -> io::Error {
    let verb = verb.to_string();
    match cause.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            let reading = ["read", "look at", "open", "list", "read the link"].contains(&verb.as_str());
            let denial = denied(path, if reading { "read" } else { "write" });
            let inner = NotGranted { verb: Some(verb), denial, path: path.to_owned() };
            io::Error::new(io::ErrorKind::PermissionDenied, inner)
        }
        kind => io::Error::new(kind, At { verb, path: path.to_owned(), cause }),
    }
}

/// Nothing granted covers the path.
pub(super) fn outside(path: &str) -> io::Error {
    let inner = NotGranted { verb: None, denial: denied(path, "read"), path: path.to_owned() };
    io::Error::new(io::ErrorKind::PermissionDenied, inner)
}

/// The permission that was missing, where that is what an error of this module says.
pub(crate) fn denial(error: &io::Error) -> Option<Denial> {
    let inner = error.get_ref()?.downcast_ref::<NotGranted>()?;
    Some(inner.denial.clone())
}

fn denied(path: &str, access: &str) -> Denial {
    let held: Vec<String> = backend::preopens().iter().map(backend::Preopen::capability).collect();
    let needed = format!("{access}:{path}");
    // By its name, since a directory above it may not show it: what is hidden or guarded must be spelled out.
    let hint = format!("Grant {needed} to this call");
    Denial { needed, held: held.join(", "), hint }
}

impl fmt::Display for At {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "cannot {} {}: {}", self.verb, self.path, self.cause)
    }
}

impl fmt::Display for NotGranted {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = if self.denial.held.is_empty() { "no directory" } else { &self.denial.held };
        match &self.verb {
            Some(verb) => write!(out, "cannot {verb} {}: permission denied; the cell holds {held}", self.path),
            None => write!(out, "{} is outside what was granted; the cell holds {held}", self.path),
        }
    }
}

impl std::error::Error for At {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}

impl std::error::Error for NotGranted {}
