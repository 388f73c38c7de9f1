//! The tool `search.grep`: one pass over the files asked for. It runs natively as it does in a cell, so that a benchmark
//! can compare the two.

use crate::found::{Finds, Found, Hit};
use crate::lines;
use crate::pattern::{self, Case};
use grep_matcher::Matcher;
use grep_regex::RegexMatcher;
use ignore::overrides::Override;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io;
use vespiary_sdk::fs::{FileType, Size};
use vespiary_sdk::prelude::*;
use vespiary_sdk::report;
use vespiary_sdk::walk::{Entry, Options, Skipped, Step, walk};

/// Files between two reports of progress.
const FILES_A_REPORT: u64 = 2000;

const CONTEXT_LINES_MAX: usize = 50;

/// Files read at once.
const FILES_A_READING: usize = 64;

/// How much of a file is looked at to tell text from binary, before it is searched.
const SNIFF_BYTES: usize = 64 << 10;

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

/// A search under way.
struct Search {
    matcher: RegexMatcher,
    globs: Override,
    context: Context,
    /// What the walk came by and was not looked at yet.
    queued: Vec<Queued>,
    /// Files searched already, where several paths may lead to the same.
    seen: Option<BTreeSet<String>>,
    finds: Finds,
}

/// Something the walk came by.
enum Queued {
    Read(String),
    Skip(Skipped),
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
            context: Context { before: args.before, after: args.after },
            queued: Vec::new(),
            seen: (args.paths.len() > 1).then(BTreeSet::new),
            finds: Finds::new(args.max_matches),
        })
    }

    fn tree(&mut self, start: &str, args: &GrepArgs) -> io::Result<()> {
        let options = Options { ignore: args.ignore, hidden: args.hidden, depth_max: None };
        let mut steps = walk(start, options)?;
        while let Some(step) = steps.next() {
            match step {
                Step::Skipped(skipped) => self.queue(Queued::Skip(skipped), args.max_file_bytes),
                Step::Entry(entry) => {
                    let is_dir = entry.file_type.is_dir();
                    if self.globs.matched(&entry.path, is_dir).is_ignore() {
                        if is_dir {
                            steps.prune();
                        }
                    } else if !is_dir {
                        self.entry(entry, args.max_file_bytes);
                    }
                }
            }
            if self.finds.found.truncated {
                break;
            }
        }
        self.flush(args.max_file_bytes);
        Ok(())
    }

    /// Files are read some at a time: each reading crosses the cell's border, and that costs more than a small file. What is
    /// passed over waits with them, so that everything is told in the order of the walk.
    fn queue(&mut self, queued: Queued, bytes_max: u64) {
        self.queued.push(queued);
        if self.queued.len() >= FILES_A_READING {
            self.flush(bytes_max);
        }
    }

    fn entry(&mut self, entry: Entry, bytes_max: u64) {
        let skip = |why: &str| Skipped { path: entry.path.clone(), reason: why.to_owned() };
        let queued = match entry.file_type {
            FileType::File if self.seen.as_mut().is_some_and(|seen| !seen.insert(entry.path.clone())) => return,
            FileType::File => Queued::Read(entry.path),
            FileType::Symlink => Queued::Skip(skip("a symbolic link; links are not followed")),
            FileType::Dir | FileType::Other => Queued::Skip(skip("not a regular file")),
        };
        self.queue(queued, bytes_max);
    }

    fn flush(&mut self, bytes_max: u64) {
        let queued = std::mem::take(&mut self.queued);
        let wanted =
            queued.iter().filter_map(|one| if let Queued::Read(path) = one { Some(path.clone()) } else { None });
        let mut contents = vespiary_sdk::fs::read_many(&wanted.collect::<Vec<_>>(), bytes_max).into_iter();
        for one in queued {
            if self.finds.found.truncated {
                break;
            }
            match one {
                Queued::Skip(skipped) => self.finds.skipped(skipped),
                Queued::Read(path) => match contents.next() {
                    Some(Ok((bytes, Size::Whole))) => self.file(&path, &bytes),
                    Some(Ok((_, Size::CutOff))) => self.finds.skip(&path, format!("larger than {bytes_max} bytes")),
                    Some(Err(error)) => self.finds.skip(&path, error.to_string()),
                    None => self.finds.skip(&path, "it was not read"),
                },
            }
        }
    }

    fn file(&mut self, path: &str, bytes: &[u8]) {
        let text = decoded(bytes);
        let hits_before = self.finds.found.matches.len();
        if let Err(why) = self.lines(path, &text) {
            self.finds.found.matches.truncate(hits_before);
            self.finds.skip(path, why);
            return;
        }
        self.finds.found.files_searched += 1;
        self.finds.found.bytes_searched += bytes.len() as u64;
        if self.finds.found.files_searched.is_multiple_of(FILES_A_REPORT) {
            report::progress(self.finds.found.files_searched, None, "files searched");
        }
    }

    /// Looks for the pattern in the text as a whole and asks for lines only where it occurs, which is what makes it quick:
    /// the matcher is built so that no match reaches past the end of a line. Fails with the reason not to search the file.
    fn lines(&mut self, path: &str, text: &[u8]) -> Result<(), String> {
        refuse_binary(&text[..text.len().min(SNIFF_BYTES)], 0)?;
        let (mut line, mut counted, mut at) = (1, 0, 0);
        while at < text.len() {
            let Some(place) = self.matcher.find_at(text, at).map_err(|error| error.to_string())? else { break };
            if place.start() == text.len() && text.ends_with(b"\n") {
                // An empty match behind the last line's end is in no line.
                break;
            }
            if !self.finds.has_room() {
                break;
            }
            let start = memchr::memrchr(b'\n', &text[..place.start()]).map_or(0, |newline| newline + 1);
            let end =
                memchr::memchr(b'\n', &text[place.start()..]).map_or(text.len(), |newline| place.start() + newline + 1);
            refuse_binary(&text[start..end], start)?;
            line += memchr::memchr_iter(b'\n', &text[counted..start]).count() as u64;
            counted = start;
            self.finds.add(Hit {
                path: path.to_owned(),
                line,
                column: lines::column(&text[start..end], place.start() - start),
                text: lines::shown(&text[start..end], place.start() - start),
                before: lines::before(text, start, self.context.before),
                after: lines::after(text, end, self.context.after),
            });
            at = end;
        }
        Ok(())
    }
}

/// A NUL means that this is no text.
fn refuse_binary(bytes: &[u8], offset: usize) -> Result<(), String> {
    match memchr::memchr(0, bytes) {
        Some(at) => Err(format!("binary: NUL at byte {}", offset + at)),
        None => Ok(()),
    }
}

/// UTF-16 that says so becomes UTF-8; all other text is searched as it is, without a byte order mark.
fn decoded(bytes: &[u8]) -> Cow<'_, [u8]> {
    let wide = |rest: &[u8], unit: fn([u8; 2]) -> u16| {
        let units = rest.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
        let text: String =
            char::decode_utf16(units).map(|found| found.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
        Cow::Owned(text.into_bytes())
    };
    match bytes {
        [0xef, 0xbb, 0xbf, rest @ ..] => Cow::Borrowed(rest),
        [0xff, 0xfe, rest @ ..] => wide(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => wide(rest, u16::from_be_bytes),
        _ => Cow::Borrowed(bytes),
    }
}
