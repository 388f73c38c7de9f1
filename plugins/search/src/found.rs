//! What a search gives. What must never live here: searching.

use vespiary_sdk::prelude::*;
use vespiary_sdk::walk::Skipped;

/// Bytes of text all hits together may hold. Far below what a call may return, so that a caller gets a cut answer, not none.
const TEXT_BYTES_MAX: usize = 4 << 20;

/// One line that matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Hit {
    /// The file.
    pub path: String,
    /// Line of the match, counted from 1.
    pub line: u64,
    /// Where the first match of the line begins, counted from 1 in characters.
    pub column: u64,
    /// The line without its end. A line past 2,000 bytes is cut to those around the match.
    pub text: String,
    /// Lines before it, as many as asked for and there are.
    pub before: Vec<String>,
    /// Lines after it.
    pub after: Vec<String>,
}

/// What was found, and what was not looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Found {
    /// In the order of a depth-first walk, names sorted; one for each line that matches.
    pub matches: Vec<Hit>,
    /// Files that were searched to their end, or to where the search stopped.
    pub files_searched: u64,
    /// Bytes of those files.
    pub bytes_searched: u64,
    /// What was not searched, and why: binary or too large files, links, odd names, what cannot be read.
    pub skipped: Vec<Skipped>,
    /// Whether the search stopped at a limit, so that there may be more matches.
    pub truncated: bool,
}

/// What is found while a search runs, within its limits.
pub(crate) struct Finds {
    pub(crate) found: Found,
    matches_max: usize,
    text_bytes: usize,
}

impl Finds {
    pub(crate) fn new(matches_max: usize) -> Self {
        Self { found: Found::default(), matches_max, text_bytes: 0 }
    }

    /// Whether one more match fits; where not, the answer says that it was cut.
    pub(crate) fn has_room(&mut self) -> bool {
        let full = self.found.matches.len() >= self.matches_max || self.text_bytes >= TEXT_BYTES_MAX;
        self.found.truncated |= full;
        !full
    }

    pub(crate) fn add(&mut self, hit: Hit) {
        let context = hit.before.iter().chain(&hit.after).map(String::len).sum::<usize>();
        self.text_bytes += hit.text.len() + context;
        self.found.matches.push(hit);
    }

    pub(crate) fn skip(&mut self, path: impl Into<String>, reason: impl Into<String>) {
        self.found.skipped.push(Skipped { path: path.into(), reason: reason.into() });
    }
}
