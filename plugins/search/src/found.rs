//! What a search gives. What must never live here: searching.

use vespiary_sdk::prelude::*;
use vespiary_sdk::walk::Skipped;

/// Bytes all hits together may hold. Far below what a call may return, so that a caller gets a cut answer, not none.
const HITS_BYTES_MAX: usize = 4 << 20;

/// What a hit takes in an answer besides its texts, about.
const HIT_BYTES: usize = 80;

/// Things passed over that are listed. A tree may hold any number of pictures.
const SKIPPED_MAX: usize = 2000;

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
    /// How many more were not searched than `skipped` lists.
    pub skipped_more: u64,
    /// Whether the search stopped at a limit, so that there may be more matches.
    pub truncated: bool,
}

/// What is found while a search runs, within its limits.
pub(crate) struct Finds {
    pub(crate) found: Found,
    matches_max: usize,
    hits_bytes: usize,
}

impl Finds {
    pub(crate) fn new(matches_max: usize) -> Self {
        Self { found: Found::default(), matches_max, hits_bytes: 0 }
    }

    /// Whether one more match fits; where not, the answer says that it was cut.
    pub(crate) fn has_room(&mut self) -> bool {
        let full = self.found.matches.len() >= self.matches_max || self.hits_bytes >= HITS_BYTES_MAX;
        self.found.truncated |= full;
        !full
    }

    pub(crate) fn add(&mut self, hit: Hit) {
        let texts = [&hit.path, &hit.text].into_iter().chain(&hit.before).chain(&hit.after);
        self.hits_bytes += texts.map(String::len).sum::<usize>() + HIT_BYTES;
        self.found.matches.push(hit);
    }

    pub(crate) fn skip(&mut self, path: impl Into<String>, reason: impl Into<String>) {
        self.skipped(Skipped { path: path.into(), reason: reason.into() });
    }

    pub(crate) fn skipped(&mut self, skipped: Skipped) {
        if self.found.skipped.len() < SKIPPED_MAX {
            self.found.skipped.push(skipped);
        } else {
            self.found.skipped_more += 1;
        }
    }
}
