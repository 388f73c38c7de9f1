//! What a search gives. What must never live here: searching.

use vespiary_sdk::prelude::*;
use vespiary_sdk::walk::Skipped;

/// Bytes all hits together may hold, as JSON writes them. Far below what a call may return, so that a caller gets a cut
/// answer, not none: one more hit, with all its context, still fits.
const HITS_BYTES_MAX: usize = 4 << 20;

/// What a hit takes in an answer besides its texts, about, and what one of its lines does.
const HIT_BYTES: usize = 80;
const LINE_BYTES: usize = 3;

/// Things passed over that are listed, and the bytes they may hold. A tree may hold any number of pictures.
const SKIPPED_MAX: usize = 2000;
const SKIPPED_BYTES_MAX: usize = 1 << 20;

/// What one takes besides its texts.
const SKIPPED_BYTES: usize = 24;

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
    skipped_bytes: usize,
}

impl Finds {
    pub(crate) fn new(matches_max: usize) -> Self {
        Self { found: Found::default(), matches_max, hits_bytes: 0, skipped_bytes: 0 }
    }

    /// Whether one more match fits; where not, the answer says that it was cut.
    pub(crate) fn has_room(&mut self) -> bool {
        let full = self.found.matches.len() >= self.matches_max || self.hits_bytes >= HITS_BYTES_MAX;
        self.found.truncated |= full;
        !full
    }

    pub(crate) fn add(&mut self, hit: Hit) {
        let texts = [&hit.path, &hit.text].into_iter().chain(&hit.before).chain(&hit.after);
        self.hits_bytes += texts.map(|text| json_len(text) + LINE_BYTES).sum::<usize>() + HIT_BYTES;
        self.found.matches.push(hit);
    }

    pub(crate) fn skip(&mut self, path: impl Into<String>, reason: impl Into<String>) {
        self.skipped(Skipped { path: path.into(), reason: reason.into() });
    }

    pub(crate) fn skipped(&mut self, skipped: Skipped) {
        let bytes = self.skipped_bytes + json_len(&skipped.path) + json_len(&skipped.reason) + SKIPPED_BYTES;
        if self.found.skipped.len() < SKIPPED_MAX && bytes <= SKIPPED_BYTES_MAX {
            self.skipped_bytes = bytes;
            self.found.skipped.push(skipped);
        } else {
            self.found.skipped_more += 1;
        }
    }
}

/// Bytes of a text in JSON, without its quotes: a control character is up to six.
fn json_len(text: &str) -> usize {
    let bytes = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 8 | 12 => 2,
        0..0x20 => 6,
        _ => 1,
    };
    text.bytes().map(bytes).sum()
}

#[cfg(test)]
mod tests {
    use super::json_len;

    #[test]
    fn a_text_is_as_long_as_json_writes_it() {
        for text in ["", "plain", "a\"b\\c/", "日\u{7f}\u{80}🐝"] {
            assert_eq!(json_len(text), serde_json::to_string(text).unwrap().len() - 2, "{text:?}");
        }
        let all: String = (0..0x100).filter_map(char::from_u32).collect();
        assert_eq!(json_len(&all), serde_json::to_string(&all).unwrap().len() - 2);
    }
}
