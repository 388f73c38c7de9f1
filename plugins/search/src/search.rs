//! The tool `search.grep`: one pass over the files asked for. It runs natively as it does in a cell, so that a benchmark
//! can compare the two.

use crate::found::{Finds, Found, Hit};
use crate::lines;
use crate::pattern::{self, Case};
use grep_matcher::Matcher;
use grep_regex::RegexMatcher;
use grep_searcher::{BinaryDetection, Searcher, SearcherBuilder, Sink, SinkFinish, SinkMatch};
use ignore::overrides::Override;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io;
use vespiary_sdk::fs::{FileType, Size};
use vespiary_sdk::prelude::*;
use vespiary_sdk::report;
use vespiary_sdk::walk::{Entry, Options, Step, walk};

/// Files between two reports of progress.
const FILES_A_REPORT: u64 = 2000;

const CONTEXT_LINES_MAX: usize = 50;

/// What to search for, and where.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GrepArgs {
    /// Regular expression in the syntax of Rust's `regex` crate. It matches within a line.
    pub pattern: String,
    /// Directories and files to search, relative to the project. A file named here is searched even where rules ignore it.
    #[serde(default = "everything")]
    pub paths: Vec<String>,
    /// Search only files that match one of these, for example `*.rs` or `src/**`; `!` before one leaves matches out.
    #[serde(default)]
    pub globs: Vec<String>,
    /// Honour `.gitignore` and `.ignore` files. `.git` is never entered.
    #[serde(default = "yes")]
    pub ignore: bool,
    /// Search files and directories whose names begin with a dot, too.
    #[serde(default)]
    pub hidden: bool,
    /// How upper and lower case compare.
    #[serde(default)]
    pub case: Case,
    /// Take the pattern as text, not as a regular expression.
    #[serde(default)]
    pub fixed: bool,
    /// Lines to give before each match; at most 50.
    #[serde(default)]
    pub before: usize,
    /// Lines to give after each match; at most 50.
    #[serde(default)]
    pub after: usize,
    /// Stop after this many matches.
    #[serde(default = "matches_max")]
    pub max_matches: usize,
    /// Pass over files larger than this; at most 33,554,432.
    #[serde(default = "file_bytes_max")]
    pub max_file_bytes: u64,
}

const FILE_BYTES_MAX: u64 = 32 << 20;

fn everything() -> Vec<String> {
    vec![".".to_owned()]
}

fn yes() -> bool {
    true
}

fn matches_max() -> usize {
    1000
}

fn file_bytes_max() -> u64 {
    16 << 20
}

/// Search files for a regular expression, line by line, as ripgrep does: ignore rules are honoured, binary files passed
/// over, symbolic links not followed. Gives each matching line with its place, and lists what was not searched and why.
#[tool]
pub fn grep(args: GrepArgs) -> Result<Found> {
    check(&args)?;
    let mut search = Search::new(&args)?;
    let mut failed = None;
    for path in &args.paths {
        if let Err(error) = search.tree(path, &args) {
            search.finds.skip(path, error.to_string());
            failed = Some(error);
        }
        if search.finds.found.truncated {
            break;
        }
    }
    match failed {
        // One place of several that cannot be searched is reported; the only one is what the call was about.
        Some(error) if args.paths.len() == 1 => Err(error.into()),
        _ => Ok(search.finds.found),
    }
}

fn check(args: &GrepArgs) -> Result<()> {
    if args.paths.is_empty() {
        return Err(Error::invalid("paths is empty; leave it out to search everything, or name a directory"));
    }
    if args.before.max(args.after) > CONTEXT_LINES_MAX {
        return Err(Error::invalid(format!("before and after are at most {CONTEXT_LINES_MAX} lines")));
    }
    if args.max_matches == 0 {
        return Err(Error::invalid("max_matches is 0; at least one match must fit"));
    }
    if args.max_file_bytes > FILE_BYTES_MAX {
        return Err(Error::invalid(format!("max_file_bytes is past {FILE_BYTES_MAX}")));
    }
    Ok(())
}

/// A search under way. Buffers live as long as it does.
struct Search {
    matcher: RegexMatcher,
    globs: Override,
    searcher: Searcher,
    context: Context,
    bytes: Vec<u8>,
    /// Files searched already, where several paths may lead to the same.
    seen: Option<BTreeSet<String>>,
    finds: Finds,
}

/// Lines to give around a match.
#[derive(Clone, Copy)]
struct Context {
    before: usize,
    after: usize,
}

impl Search {
    fn new(args: &GrepArgs) -> Result<Self> {
        Ok(Self {
            matcher: pattern::matcher(&args.pattern, args.fixed, args.case)?,
            globs: pattern::globs(&args.globs)?,
            searcher: SearcherBuilder::new()
                .binary_detection(BinaryDetection::quit(0))
                .bom_sniffing(false)
                .line_number(true)
                .build(),
            context: Context { before: args.before, after: args.after },
            bytes: Vec::new(),
            seen: (args.paths.len() > 1).then(BTreeSet::new),
            finds: Finds::new(args.max_matches),
        })
    }

    fn tree(&mut self, start: &str, args: &GrepArgs) -> io::Result<()> {
        let options = Options { ignore: args.ignore, hidden: args.hidden, depth_max: None };
        let mut steps = walk(start, options)?;
        while let Some(step) = steps.next() {
            match step {
                Step::Skipped(skipped) => self.finds.found.skipped.push(skipped),
                Step::Entry(entry) => {
                    let is_dir = entry.file_type.is_dir();
                    if self.globs.matched(&entry.path, is_dir).is_ignore() {
                        if is_dir {
                            steps.prune();
                        }
                    } else if !is_dir {
                        self.entry(&entry, args.max_file_bytes);
                    }
                }
            }
            if self.finds.found.truncated {
                break;
            }
        }
        Ok(())
    }

    fn entry(&mut self, entry: &Entry, bytes_max: u64) {
        match entry.file_type {
            FileType::File => {}
            FileType::Symlink => return self.finds.skip(&entry.path, "a symbolic link; links are not followed"),
            FileType::Dir | FileType::Other => return self.finds.skip(&entry.path, "not a regular file"),
        }
        if self.seen.as_mut().is_some_and(|seen| !seen.insert(entry.path.clone())) {
            return;
        }
        let mut bytes = std::mem::take(&mut self.bytes);
        match entry.read_whole(&mut bytes, bytes_max) {
            Ok(Size::Whole) => self.file(&entry.path, &bytes),
            Ok(Size::CutOff) => self.finds.skip(&entry.path, format!("larger than {bytes_max} bytes")),
            Err(error) => self.finds.skip(&entry.path, error.to_string()),
        }
        self.bytes = bytes;
    }

    fn file(&mut self, path: &str, bytes: &[u8]) {
        let text = decoded(bytes);
        let mut sink = Hits {
            path,
            text: &text,
            matcher: &self.matcher,
            context: self.context,
            finds: &mut self.finds,
            binary: None,
        };
        let searched = self.searcher.search_slice(&self.matcher, &text, &mut sink);
        match (searched, sink.binary) {
            (Err(error), _) => self.finds.skip(path, error.to_string()),
            (Ok(()), Some(at)) => self.finds.skip(path, format!("binary: NUL at byte {at}")),
            (Ok(()), None) => {
                self.finds.found.files_searched += 1;
                self.finds.found.bytes_searched += bytes.len() as u64;
                if self.finds.found.files_searched.is_multiple_of(FILES_A_REPORT) {
                    report::progress(self.finds.found.files_searched, None, "files searched");
                }
            }
        }
    }
}

/// UTF-16 as it says of itself becomes UTF-8; all other text is searched as it is, without a byte order mark.
fn decoded(bytes: &[u8]) -> Cow<'_, [u8]> {
    match encoding_rs::Encoding::for_bom(bytes) {
        None => Cow::Borrowed(bytes),
        Some((encoding, mark_bytes)) if encoding == encoding_rs::UTF_8 => Cow::Borrowed(&bytes[mark_bytes..]),
        Some((encoding, mark_bytes)) => match encoding.decode_without_bom_handling(&bytes[mark_bytes..]).0 {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        },
    }
}

/// Turns the searcher's matches in one file into hits.
struct Hits<'a> {
    path: &'a str,
    text: &'a [u8],
    matcher: &'a RegexMatcher,
    context: Context,
    finds: &'a mut Finds,
    /// Offset of a NUL, which ended the search.
    binary: Option<u64>,
}

impl Sink for Hits<'_> {
    type Error = io::Error;

    fn matched(&mut self, _: &Searcher, found: &SinkMatch<'_>) -> io::Result<bool> {
        if !self.finds.has_room() {
            return Ok(false);
        }
        let line = found.bytes();
        let start = usize::try_from(found.absolute_byte_offset()).unwrap_or(usize::MAX);
        let at = self.matcher.find(line)?.map_or(0, |place| place.start());
        self.finds.add(Hit {
            path: self.path.to_owned(),
            line: found.line_number().unwrap_or(0),
            column: lines::column(line, at),
            text: lines::shown(line, at),
            before: lines::before(self.text, start, self.context.before),
            after: lines::after(self.text, start + line.len(), self.context.after),
        });
        Ok(true)
    }

    fn finish(&mut self, _: &Searcher, finish: &SinkFinish) -> io::Result<()> {
        self.binary = finish.binary_byte_offset();
        Ok(())
    }
}
