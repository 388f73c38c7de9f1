//! What there is: one directory, a whole tree, or what matches patterns.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use vespiary_sdk::fs::{FileType, clean};
use vespiary_sdk::prelude::*;
use vespiary_sdk::walk::{self, Options, Skipped, Step};

/// Entries given when the caller names no limit.
const LIMIT: usize = 50_000;

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

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Listing {
    /// In the order of a depth-first walk, names sorted.
    pub entries: Vec<Entry>,
    /// What could not be looked at, and why.
    pub skipped: Vec<Skipped>,
    /// Whether the limit cut the list.
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
    /// With `recursive`: how many levels; 1 is the directory itself.
    pub depth: Option<usize>,
    /// List names that begin with a dot.
    #[serde(default)]
    pub hidden: bool,
    /// Leave out what `.gitignore` and `.ignore` name.
    #[serde(default = "yes")]
    pub ignore: bool,
    /// Tell the size of each regular file.
    #[serde(default = "yes")]
    pub sizes: bool,
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
    /// Match names that begin with a dot, too.
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

/// List a directory, or a whole tree with `recursive`. Ignored and hidden entries are left out unless asked for; links are
/// listed and never followed; what cannot be looked at is in `skipped`.
#[tool]
pub fn list(args: ListArgs) -> Result<Listing> {
    if args.depth == Some(0) {
        return Err(Error::invalid("depth is 0; 1 lists the directory itself"));
    }
    let depth_max = if args.recursive { args.depth } else { Some(1) };
    let options = Options { ignore: args.ignore, hidden: args.hidden, depth_max };
    gather(&args.path, options, args.sizes, args.limit, |_, _| true)
}

/// Find files by patterns, ignore rules honoured.
#[tool]
pub fn glob(args: GlobArgs) -> Result<Listing> {
    let patterns = compile(&args.patterns)?;
    let start = clean(&args.path)?;
    let options = Options { ignore: args.ignore, hidden: args.hidden, depth_max: None };
    gather(&args.path, options, args.sizes, args.limit, |path, kind| {
        let below = match start.as_str() {
            "." => path,
            start => path.strip_prefix(start).map_or(path, |rest| rest.trim_start_matches('/')),
        };
        kind == Kind::File && patterns.is_match(below)
    })
}

fn compile(patterns: &[String]) -> Result<GlobSet> {
    if patterns.is_empty() {
        return Err(Error::invalid("patterns is empty; give at least one, for example \"**/*.rs\""));
    }
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        // A pattern without a slash is about the name, wherever it is.
        let anywhere = if pattern.contains('/') { pattern.clone() } else { format!("**/{pattern}") };
        let glob = GlobBuilder::new(&anywhere).literal_separator(true).build();
        set.add(glob.map_err(|error| Error::invalid(format!("pattern {pattern:?}: {}", error.kind())))?);
    }
    set.build().map_err(|error| Error::invalid(error.to_string()))
}

fn gather(
    start: &str,
    options: Options,
    sizes: bool,
    limit: Option<usize>,
    wanted: impl Fn(&str, Kind) -> bool,
) -> Result<Listing> {
    let limit = limit.unwrap_or(LIMIT);
    let mut listing = Listing { entries: Vec::new(), skipped: Vec::new(), truncated: false };
    for step in walk::walk(start, options)? {
        let entry = match step {
            Step::Skipped(skipped) => {
                listing.skipped.push(skipped);
                continue;
            }
            Step::Entry(entry) => entry,
        };
        let kind = Kind::from(entry.file_type);
        if !wanted(&entry.path, kind) {
            continue;
        }
        if listing.entries.len() == limit {
            listing.truncated = true;
            break;
        }
        let size = match kind {
            Kind::File if sizes => match entry.metadata() {
                Ok(metadata) => Some(metadata.len()),
                Err(error) => {
                    listing.skipped.push(Skipped { path: entry.path, reason: error.to_string() });
                    continue;
                }
            },
            _ => None,
        };
        listing.entries.push(Entry { path: entry.path, kind, size });
    }
    Ok(listing)
}
