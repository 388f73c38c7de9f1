//! What there is: one directory, a whole tree, or what matches patterns.

use crate::patterns::Patterns;
use std::io::ErrorKind;
use vespiary_sdk::fs::{self, FileType, clean};
use vespiary_sdk::prelude::*;
use vespiary_sdk::walk::{Options, Skipped, Step, Walk, walk};

/// Entries given when the caller names no limit.
const LIMIT: usize = 50_000;

/// Bytes an answer may hold, as JSON writes them. Well below what a call may return, so that a caller gets a cut list, not none.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// What an entry takes in an answer besides its path, about.
const ENTRY_BYTES: usize = 48;

/// What kind of thing an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link; it is never followed.
    Symlink,
    /// A pipe, socket or device.
    Other,
}

impl From<FileType> for Kind {
    fn from(file_type: FileType) -> Self {
        match file_type {
            FileType::File => Self::File,
            FileType::Dir => Self::Dir,
            FileType::Symlink => Self::Symlink,
            FileType::Other => Self::Other,
        }
    }
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Entry {
    /// Relative to the project.
    pub path: String,
    /// What kind of thing it is.
    pub kind: Kind,
    /// Bytes, for regular files whose size was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

/// Paths by what kind of thing they lead to, each in the order of the walk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ByKind {
    /// Regular files.
    pub files: Vec<String>,
    /// Directories.
    pub dirs: Vec<String>,
    /// Symbolic links; they are never followed.
    pub symlinks: Vec<String>,
    /// Pipes, sockets and devices.
    pub others: Vec<String>,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Listing {
    /// In the order of a depth-first walk, names sorted. Empty with `by_kind`.
    pub entries: Vec<Entry>,
    /// The same by kind, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by_kind: Option<ByKind>,
    /// What could not be looked at, and why.
    pub skipped: Vec<Skipped>,
    /// Whether a limit cut the list: ask for less of the tree at once.
    pub truncated: bool,
}

/// Arguments of `list`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListArgs {
    /// Directory to list, relative to the project.
    #[serde(default = "here")]
    pub path: String,
    /// Go into directories, too.
    #[serde(default)]
    pub recursive: bool,
    /// How many levels with `recursive`, which is not needed beside it; 1 is the directory's own entries.
    pub depth: Option<usize>,
    /// List names that begin with a dot.
    #[serde(default)]
    pub hidden: bool,
    /// Leave out what `.gitignore` and `.ignore` name.
    #[serde(default = "yes")]
    pub ignore: bool,
    /// Names of files and directories that are left out, with all that is below them.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// Tell the size of each regular file.
    #[serde(default = "yes")]
    pub sizes: bool,
    /// Give bare paths, by kind, in `by_kind`: of many thousands of files, several times quicker to read. Tells no sizes.
    #[serde(default)]
    pub by_kind: bool,
    /// At most this many entries; 50,000 when not given.
    pub limit: Option<usize>,
}

/// Arguments of `glob`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GlobArgs {
    /// Patterns; a file is given when one of them matches its path below `path`. `*` stays within a name, `**` crosses
    /// directories, `{a,b}` and `[a-z]` as usual; `*.rs` matches at any depth.
    pub patterns: Vec<String>,
    /// Directory to start from, relative to the project.
    #[serde(default = "here")]
    pub path: String,
    /// Match names that begin with a dot, too. On by itself where a pattern names one, as `.github/**` does.
    #[serde(default)]
    pub hidden: bool,
    /// Leave out what `.gitignore` and `.ignore` name.
    #[serde(default = "yes")]
    pub ignore: bool,
    /// Tell the size of each file.
    #[serde(default = "yes")]
    pub sizes: bool,
    /// At most this many files; 50,000 when not given.
    pub limit: Option<usize>,
}

pub(crate) fn here() -> String {
    ".".into()
}

pub(crate) fn yes() -> bool {
    true
}

/// List a directory, or a whole tree with `recursive`. Ignored and hidden entries are left out unless asked for, and so is what
/// `exclude` names; links are listed and never followed; what cannot be looked at is in `skipped`.
#[tool]
pub fn list(args: ListArgs) -> Result<Listing> {
    if args.depth == Some(0) {
        return Err(Error::invalid("depth is 0; 1 lists the directory itself"));
    }
    let depth_max = if args.recursive { args.depth } else { args.depth.or(Some(1)) };
    let options = Options { ignore: args.ignore, hidden: args.hidden, depth_max };
    let sizes = args.sizes && !args.by_kind;
    let mut listing = gather(walk(&args.path, options)?, &args.exclude, sizes, args.limit, |_, _| true)?;
    if args.by_kind {
        listing.by_kind = Some(ByKind::of(std::mem::take(&mut listing.entries)));
    }
    Ok(listing)
}

impl ByKind {
    fn of(entries: Vec<Entry>) -> Self {
        let mut all = Self::default();
        for Entry { path, kind, .. } in entries {
            let of_kind = match kind {
                Kind::File => &mut all.files,
                Kind::Dir => &mut all.dirs,
                Kind::Symlink => &mut all.symlinks,
                Kind::Other => &mut all.others,
            };
            of_kind.push(path);
        }
        all
    }
}

/// Find files by patterns, ignore rules honoured. Gives regular files; links are not followed.
#[tool]
pub fn glob(args: GlobArgs) -> Result<Listing> {
    let patterns = Patterns::new(&args.patterns)?;
    let start = clean(&args.path)?;
    let root = clean(format!("{start}/{}", patterns.root))?;
    let hidden = args.hidden || patterns.hidden;
    let options = Options { ignore: args.ignore, hidden, depth_max: patterns.depth_max };
    let steps = match walk(&root, options) {
        // The caller named the start, and it must be there; a pattern may well name nothing.
        Err(error) if root != start && matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            fs::metadata(&start)?;
            return Ok(Listing::default());
        }
        steps => steps?,
    };
    gather(steps, &[], args.sizes, args.limit, |path, kind| {
        kind == Kind::File && patterns.match_path(below(path, &start))
    })
}

/// `path` as seen from `start`; both in plain form.
fn below<'a>(path: &'a str, start: &str) -> &'a str {
    match start {
        "." => path,
        start => path.strip_prefix(start).unwrap_or(path).trim_start_matches('/'),
    }
}

fn gather(
    mut steps: Walk,
    exclude: &[String],
    sizes: bool,
    limit: Option<usize>,
    wanted: impl Fn(&str, Kind) -> bool,
) -> Result<Listing> {
    let limit = limit.unwrap_or(LIMIT);
    let mut listing = Listing::default();
    let mut bytes = 0;
    // Files whose sizes are still to be asked for, by their places in the listing.
    let mut unmeasured = Vec::new();
    while let Some(step) = steps.next() {
        let entry = match step {
            Step::Skipped(_) if bytes >= ANSWER_BYTES_MAX => {
                listing.truncated = true;
                break;
            }
            Step::Skipped(skipped) => {
                bytes += listing.skip(skipped);
                continue;
            }
            Step::Entry(entry) => entry,
        };
        let kind = Kind::from(entry.file_type);
        if exclude.iter().any(|name| name == entry.name()) {
            steps.prune();
            continue;
        }
        if !wanted(&entry.path, kind) {
            continue;
        }
        if listing.entries.len() >= limit || bytes >= ANSWER_BYTES_MAX {
            listing.truncated = true;
            break;
        }
        let size = match kind {
            Kind::File if sizes && entry.was_listed() => {
                unmeasured.push(listing.entries.len());
                None
            }
            Kind::File if sizes => match entry.metadata() {
                Ok(metadata) => Some(metadata.len()),
                // Removed since its directory was read, so it is simply not there.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => {
                    bytes += listing.skip(Skipped { path: entry.path, reason: error.to_string() });
                    continue;
                }
            },
            _ => None,
        };
        bytes += json_len(&entry.path) + ENTRY_BYTES;
        listing.entries.push(Entry { path: entry.path, kind, size });
    }
    measure(&mut listing, &unmeasured, bytes);
    Ok(listing)
}

impl Listing {
    /// Tells what was passed over; gives how many bytes that takes.
    fn skip(&mut self, skipped: Skipped) -> usize {
        let bytes = json_len(&skipped.path) + json_len(&skipped.reason) + ENTRY_BYTES;
        self.skipped.push(skipped);
        bytes
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

/// Ask for the sizes of these entries, all at once. `bytes` are those of the answer so far.
pub(crate) fn measure(listing: &mut Listing, places: &[usize], mut bytes: usize) {
    let paths: Vec<String> = places.iter().map(|place| std::mem::take(&mut listing.entries[*place].path)).collect();
    let sizes = fs::lengths(&paths);
    let mut gone = Vec::new();
    for ((place, path), size) in places.iter().zip(paths).zip(sizes) {
        let entry = &mut listing.entries[*place];
        entry.path = path;
        match size {
            Ok(size) => entry.size = Some(size),
            Err(error) => {
                gone.push(*place);
                // Removed since its directory was read, so it is simply not there.
                if error.kind() != ErrorKind::NotFound {
                    let skipped = Skipped { path: entry.path.clone(), reason: error.to_string() };
                    if bytes < ANSWER_BYTES_MAX {
                        bytes += listing.skip(skipped);
                    } else {
                        listing.truncated = true;
                    }
                }
            }
        }
    }
    let (mut place, mut gone) = (0, gone.into_iter().peekable());
    listing.entries.retain(|_| {
        let stays = gone.next_if_eq(&place).is_none();
        place += 1;
        stays
    });
}
