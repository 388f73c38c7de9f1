//! Changing files: whole, or by replacing one exact piece of text with another. What must never live here: a change that
//! begins before it is known that it fits.

use crate::coding::Coding;
use memchr::memmem;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, ErrorKind};
use vespiary_sdk::fs::{self, File, Size};
use vespiary_sdk::prelude::*;

/// Bytes of a file that can be edited: the file, its new content and a copy of either fit the memory of a cell.
const EDIT_BYTES_MAX: u64 = 24 << 20;

/// Most places of one text in a file that is edited, since the answer names the line of each.
const PLACES_MAX: usize = 500_000;

/// Lines that a message names.
const LINES_NAMED: usize = 20;

/// Arguments of `write`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WriteArgs {
    /// File to write, relative to the project.
    pub path: String,
    /// Its whole new content.
    pub text: String,
    /// Create missing directories above it.
    #[serde(default)]
    pub create_dirs: bool,
    /// Replace a file that exists. When false, one that exists is an error.
    #[serde(default = "crate::listing::yes")]
    pub overwrite: bool,
}

/// Arguments of `edit`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EditArgs {
    /// File to edit, relative to the project; at most 24 MiB.
    pub path: String,
    /// The exact text to replace, white space and line ends included.
    pub old: String,
    /// What to put in its place.
    pub new: String,
    /// How often `old` must occur; every occurrence is replaced. 1 when not given, at most 500,000.
    #[serde(default = "one")]
    pub expected_count: usize,
}

/// What was written.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Written {
    /// The file.
    pub path: String,
    /// Its bytes now.
    pub bytes: u64,
    /// Whether the file is new.
    pub created: bool,
}

/// What was edited.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Edited {
    /// The file.
    pub path: String,
    /// Its bytes now.
    pub bytes: u64,
    /// Lines at which the replaced texts began, before the edit.
    pub lines: Vec<u64>,
}

fn one() -> usize {
    1
}

/// Write a whole file. A new one appears in one step; an existing one keeps its permissions.
#[tool]
pub fn write(args: WriteArgs) -> Result<Written> {
    let path = fs::clean(&args.path)?;
    let there = match fs::metadata(&path) {
        Ok(metadata) if metadata.is_dir() => {
            return Err(Error::invalid(format!("{path} is a directory; name the file to write in it")));
        }
        Ok(_) => true,
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        Err(error) => return Err(error.into()),
    };
    if there && !args.overwrite {
        let hint = "set overwrite, or use files.edit to change a part of it";
        return Err(Error::invalid(format!("{path} exists; {hint}")));
    }
    if !there && let Some((above, _)) = path.rsplit_once('/').filter(|(above, _)| !above.is_empty()) {
        if args.create_dirs {
            fs::create_dir_all(above)?;
        } else if fs::metadata(above).is_err_and(|error| error.kind() == ErrorKind::NotFound) {
            return Err(Error::not_found(format!(
                "the directory {above} does not exist; set create_dirs to create it"
            )));
        }
    }
    put(&path, args.text.as_bytes())?;
    Ok(Written { path, bytes: args.text.len() as u64, created: !there })
}

/// Replace an exact piece of a text file by another. Fails, changing nothing, where it occurs more or less often than
/// expected, and says where it does.
#[tool]
pub fn edit(args: EditArgs) -> Result<Edited> {
    if args.old.is_empty() {
        return Err(Error::invalid("old is empty; to write a whole file use files.write"));
    }
    if args.old == args.new {
        return Err(Error::invalid("old and new are the same; there is nothing to do"));
    }
    if args.expected_count == 0 {
        return Err(Error::invalid("expected_count is 0; there would be nothing to do"));
    }
    if args.expected_count > PLACES_MAX {
        return Err(Error::invalid(format!("expected_count is past {PLACES_MAX}; use files.write for such a change")));
    }
    let path = fs::clean(&args.path)?;
    if fs::metadata(&path)?.is_dir() {
        return Err(Error::invalid(format!("{path} is a directory; name the file to edit in it")));
    }
    let mut content = Vec::new();
    if File::open(&path)?.read_whole(&mut content, EDIT_BYTES_MAX)? == Size::CutOff {
        return Err(Error::failed(format!("{path} is larger than {EDIT_BYTES_MAX} bytes, too large to edit")));
    }
    // `old` in UTF-8 could be found in the middle of its characters.
    if Coding::of(&content).is_some_and(|coding| coding != Coding::Utf8) {
        return Err(Error::failed(format!("{path} is UTF-16, which is read as text and cannot be edited")));
    }
    let places: Vec<usize> = memmem::find_iter(&content, &args.old).collect();
    let lines = lines_at(&content, &places);
    if lines.len() != args.expected_count {
        return Err(miscounted(&path, &content, &args, &lines));
    }
    let content = replaced(&content, &places, &args);
    put(&path, &content)?;
    Ok(Edited { path, bytes: content.len() as u64, lines })
}

fn replaced(content: &[u8], places: &[usize], args: &EditArgs) -> Vec<u8> {
    let without = content.len() - places.len() * args.old.len();
    let mut new = Vec::with_capacity(without + places.len() * args.new.len());
    let mut done = 0;
    for place in places {
        new.extend_from_slice(&content[done..*place]);
        new.extend_from_slice(args.new.as_bytes());
        done = place + args.old.len();
    }
    new.extend_from_slice(&content[done..]);
    new
}

/// The lines, from 1, of ascending places.
fn lines_at(content: &[u8], places: &[usize]) -> Vec<u64> {
    let (mut line, mut counted) = (1, 0);
    let count = |place: &usize| {
        line += memchr::memchr_iter(b'\n', &content[counted..*place]).count() as u64;
        counted = *place;
        line
    };
    places.iter().map(count).collect()
}

/// Says how often `old` occurs and where, and what is likely wrong.
fn miscounted(path: &str, content: &[u8], args: &EditArgs, lines: &[u64]) -> Error {
    let expected = args.expected_count;
    let why = match lines {
        [] => format!("old does not occur in {path}, expected {expected}; {}", near_miss(content, &args.old)),
        [line] => format!("old occurs once in {path}, at line {line}, expected {expected}; set expected_count"),
        lines => format!(
            "old occurs {} times in {path}, at lines {}, expected {expected}; take more of the text around it into old and \
             new, or set expected_count",
            lines.len(),
            named(lines)
        ),
    };
    Error::invalid(why)
}

/// What a caller who wrote `old` may have meant.
fn near_miss(content: &[u8], old: &str) -> String {
    let bare = old.replace("\r\n", "\n");
    let other_ends = if bare == old { old.replace('\n', "\r\n") } else { bare };
    if other_ends != old && memmem::find(content, other_ends.as_bytes()).is_some() {
        let ends = if other_ends.contains('\r') { "CR LF, so write \\r\\n" } else { "LF, so write \\n" };
        return format!("it would with other line ends: the file's are {ends}");
    }
    let first = old.lines().map(str::trim).find(|line| !line.is_empty());
    let places: Vec<usize> = first.map_or(Vec::new(), |line| memmem::find_iter(content, line).collect());
    let lines = lines_at(content, &places);
    match lines.as_slice() {
        [] => "read the file again with files.read".to_owned(),
        lines => {
            format!("its first line, without the white space around it, does at {}; compare all of it", named(lines))
        }
    }
}

fn named(lines: &[u64]) -> String {
    let mut text = lines.iter().take(LINES_NAMED).map(u64::to_string).collect::<Vec<_>>().join(", ");
    if let Some(more) = lines.len().checked_sub(LINES_NAMED).filter(|more| *more > 0) {
        text += &format!(" and {more} more");
    }
    text
}

/// Puts `content` at `path`. It is first written whole beside the file, so that whatever can fail fails before the file is
/// touched. A new file then appears in one step. An existing one is overwritten in place, because a file moved over it would
/// not have its permissions (a script could no longer be run, a private file would be readable); whoever is killed
/// meanwhile leaves the whole new content beside it.
fn put(path: &str, content: &[u8]) -> io::Result<()> {
    let there = match fs::symlink_metadata(path) {
        Ok(there) if there.is_file() => true,
        // A link is written through.
        Ok(_) => return fs::write(path, content),
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        Err(error) => return Err(error),
    };
    let beside = beside(path, content);
    match fs::write(&beside, content) {
        Ok(()) => {}
        // The directory cannot be written to; perhaps the file can.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => return fs::write(path, content),
        Err(error) => return Err(discard(&beside, error)),
    }
    if !there {
        return fs::rename(&beside, path).map_err(|error| discard(&beside, error));
    }
    match fs::write(path, content) {
        Ok(()) => fs::remove_file(&beside),
        // Nothing was touched, and the caller's error must stay what it is.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(discard(&beside, error)),
        Err(error) => Err(io::Error::new(error.kind(), format!("{error}; the whole new content is in {beside}"))),
    }
}

/// A name in the same directory that only a writer of the same content to the same file uses.
fn beside(path: &str, content: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    (path, content).hash(&mut hasher);
    let (above, slash) = path.rsplit_once('/').map_or(("", ""), |(above, _)| (above, "/"));
    format!("{above}{slash}.vespiary-{:016x}", hasher.finish())
}

/// Removes what was begun, and gives the error that matters.
fn discard(beside: &str, cause: io::Error) -> io::Error {
    match fs::remove_file(beside) {
        Err(error) if error.kind() != ErrorKind::NotFound && cause.kind() != ErrorKind::PermissionDenied => {
            io::Error::new(cause.kind(), format!("{cause}; {beside} was left behind"))
        }
        _ => cause,
    }
}
