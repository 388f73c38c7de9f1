//! The bundled agent `secrets`: finds credentials in files and, asked a second time, tries to refute what was found.
//!
//! It reaches files only through the tool `files.read`, so it sees no more than its caller was granted. What must never live here:
//! a file system of its own, a clock, randomness; the same files give the same answer. And nothing that leaves it holds a secret.

mod agent;
mod allow;
mod assignment;
mod checks;
mod finding;
mod keys;
mod known;
mod measure;
mod pair;
mod place;
mod refute;
mod rules;
mod scan;
mod source;
mod url;
mod value;
mod words;

pub use agent::{Answer, Context, Mode, Report, secrets};
pub use finding::{Evidence, Finding, Severity};
pub use refute::{Claim, Refutation, Verdict, refute_text};
pub use scan::{FileScan, scan_text, warm};
pub use source::Skipped;
