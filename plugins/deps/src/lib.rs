//! The bundled agent `deps`: reads lock files, matches them with advisories, and tries to refute what it found.
//!
//! It reaches files only through tools, and the network not at all: advisories come from a path in the project. What must never
//! live here: a clock, randomness, a file system of its own; the same files give the same answer.

mod agent;
mod finding;
mod listing;
mod lock;
mod osv;
mod refute;
mod scan;
#[cfg(test)]
mod served;
mod shown;
mod source;
mod version;

pub use agent::{Advisories, Answer, Context, Mode, Report, Skipped, deps};
pub use finding::{Evidence, Finding, Severity};
pub use refute::{Claim, ClaimedEvidence, Refutation, Verdict};
pub use version::Ecosystem;
