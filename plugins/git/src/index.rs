//! The index (`.git/index`, versions 2 to 4): what the next commit would hold. What must never live here: the working tree.

use crate::disk;
use crate::tree::{PATH_BYTES_MAX, Side, is_name};
use gix_hash::ObjectId;
use gix_object::bstr::{BStr, BString, ByteSlice};
use gix_object::tree::{EntryKind, EntryMode};
use std::cmp::Ordering;
use std::io;
use vespiary_sdk::{Error, fs};

/// Largest index read, in bytes. 500,000 files take about 60 MB.
const INDEX_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Most bytes that all paths take together. Version 4 can say long paths in few bytes.
const PATHS_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Least bytes of an entry.
const ENTRY_BYTES: usize = 62;

const SKIP_WORKTREE: u16 = 0x4000;
const INTENT_TO_ADD: u16 = 0x2000;
const ASSUME_VALID: u16 = 0x8000;
const EXTENDED: u16 = 0x4000;

/// Why the index cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IndexError {
    /// It contradicts itself.
    #[error("the index {path} is corrupt: {why}; `git reset` in a copy of the repository rebuilds it")]
    Corrupt {
        /// The file.
        path: String,
        /// What does not fit.
        why: &'static str,
    },
    /// It is of a kind that is not supported.
    #[error("the index {path} {what}, which is not supported")]
    Unsupported {
        /// The file.
        path: String,
        /// What it does.
        what: String,
    },
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<IndexError> for Error {
    fn from(error: IndexError) -> Self {
        match error {
            IndexError::Io(error) => error.into(),
            other => Self::failed(other.to_string()),
        }
    }
}

/// One file of the index.
#[derive(Clone, Debug)]
pub(crate) struct IndexEntry {
    /// The path from the root; one that ends in `/` stands for a directory that is left out of the working tree.
    pub(crate) path: BString,
    /// 0, or 1 (base), 2 (ours), 3 (theirs) in a conflict.
    pub(crate) stage: u8,
    /// What is staged.
    pub(crate) side: Side,
    /// Size of the file when it was staged, in bytes; 0 where Git does not vouch for it.
    pub(crate) size: u32,
    /// When the file had been changed, in seconds since 1970 and nanoseconds.
    pub(crate) modified: (u32, u32),
    /// Whether the user asked that the file not be looked at.
    pub(crate) unwatched: bool,
    /// Whether `git add -N` announced it only.
    pub(crate) announced: bool,
}

/// The whole index.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index {
    /// Files in order of path, then stage.
    pub(crate) entries: Vec<IndexEntry>,
    /// When the index was written, in seconds since 1970 and nanoseconds; 0 where the host does not tell.
    pub(crate) written: (u64, u32),
}

impl Index {
    /// Reads the index of a repository; one that is missing is empty.
    pub(crate) fn read(git_dir: &str) -> Result<Self, IndexError> {
        let path = format!("{git_dir}/index");
        let Some(bytes) = disk::small(&path, INDEX_BYTES_MAX)? else { return Ok(Self::default()) };
        let written = fs::metadata(&path)?.modified().map_or((0, 0), since_1970);
        Ok(Self { entries: parse(&bytes).map_err(|wrong| wrong.of(path))?, written })
    }

    /// Where entries of a path are or would be.
    fn lower_bound(&self, path: &[u8]) -> usize {
        self.entries.partition_point(|entry| entry.path.as_bytes() < path)
    }

    /// The entries of one path, one for each stage.
    pub(crate) fn at(&self, path: &[u8]) -> &[IndexEntry] {
        let from = self.lower_bound(path);
        let len = self.entries[from..].iter().take_while(|entry| entry.path == path).count();
        &self.entries[from..from + len]
    }

    /// Whether any file below a directory is in the index.
    pub(crate) fn has_below(&self, dir: &BStr) -> bool {
        let below = [dir.as_bytes(), b"/"].concat();
        self.entries.get(self.lower_bound(&below)).is_some_and(|entry| entry.path.starts_with(&below))
    }
}

/// A time as the index writes it.
pub(crate) fn since_1970(time: std::time::SystemTime) -> (u64, u32) {
    time.duration_since(std::time::UNIX_EPOCH).map_or((0, 0), |past| (past.as_secs(), past.subsec_nanos()))
}

/// What is wrong with an index, before its path is named.
enum Wrong {
    Corrupt(&'static str),
    Unsupported(String),
}

impl Wrong {
    fn of(self, path: String) -> IndexError {
        match self {
            Self::Corrupt(why) => IndexError::Corrupt { path, why },
            Self::Unsupported(what) => IndexError::Unsupported { path, what },
        }
    }
}

fn parse(bytes: &[u8]) -> Result<Vec<IndexEntry>, Wrong> {
    let cut = || Wrong::Corrupt("it is cut");
    let (content, checksum) = bytes.split_last_chunk::<20>().ok_or_else(cut)?;
    // `index.skipHash` leaves zeroes.
    if *checksum != [0; 20] {
        let mut hasher = gix_hash::hasher(gix_hash::Kind::Sha1);
        hasher.update(content);
        let found = hasher.try_finalize().map_err(|_| Wrong::Corrupt("its checksum is a known forgery"))?;
        if found.as_slice() != checksum {
            return Err(Wrong::Corrupt("its checksum does not fit"));
        }
    }
    let mut rest = Bytes { all: content, at: 0 };
    if rest.take(4).ok_or_else(cut)? != b"DIRC" {
        return Err(Wrong::Corrupt("it does not begin with DIRC"));
    }
    let version = rest.number32().ok_or_else(cut)?;
    if !(2..=4).contains(&version) {
        return Err(Wrong::Unsupported(format!("has version {version}")));
    }
    let count = rest.number32().ok_or_else(cut)? as usize;
    if count > content.len() / ENTRY_BYTES {
        return Err(Wrong::Corrupt("it is too short for its count of files"));
    }
    let mut entries: Vec<IndexEntry> = Vec::with_capacity(count);
    let mut paths_bytes = 0;
    for _ in 0..count {
        let last = entries.last();
        let entry = entry(&mut rest, version, last.map_or(b"".as_bstr(), |last| last.path.as_bstr()))?;
        let order = last.map_or(Ordering::Less, |last| (&last.path, last.stage).cmp(&(&entry.path, entry.stage)));
        if order != Ordering::Less {
            return Err(Wrong::Corrupt("its files are not in order"));
        }
        paths_bytes += entry.path.len();
        if paths_bytes > PATHS_BYTES_MAX {
            return Err(Wrong::Unsupported(format!("has paths of more than {PATHS_BYTES_MAX} bytes together")));
        }
        entries.push(entry);
    }
    extensions(&mut rest)?;
    Ok(entries)
}

fn entry(rest: &mut Bytes<'_>, version: u32, last: &BStr) -> Result<IndexEntry, Wrong> {
    let cut = || Wrong::Corrupt("an entry is cut");
    let from = rest.at;
    rest.take(8).ok_or_else(cut)?;
    let modified = (rest.number32().ok_or_else(cut)?, rest.number32().ok_or_else(cut)?);
    rest.take(8).ok_or_else(cut)?;
    let mode = rest.number32().ok_or_else(cut)?;
    rest.take(8).ok_or_else(cut)?;
    let size = rest.number32().ok_or_else(cut)?;
    let id = rest.take(20).and_then(|id| <[u8; 20]>::try_from(id).ok()).map(ObjectId::from).ok_or_else(cut)?;
    let flags = rest.number16().ok_or_else(cut)?;
    let more = if version >= 3 && flags & EXTENDED != 0 { rest.number16().ok_or_else(cut)? } else { 0 };
    let path: BString = if version == 4 {
        let drop = rest.offset().ok_or_else(cut)?;
        let keep = last.len().checked_sub(drop).ok_or(Wrong::Corrupt("a path drops more than there is"))?;
        [&last[..keep], rest.line().ok_or_else(cut)?].concat().into()
    } else {
        let path = rest.line().ok_or_else(cut)?.into();
        // Entries are padded with NULs to a multiple of eight bytes; one of them ended the path.
        let len = rest.at - from;
        rest.take(len.next_multiple_of(8) - len).ok_or_else(cut)?;
        path
    };
    let kind = u16::try_from(mode).ok().and_then(|_| EntryMode::try_from(mode).ok()).map(|mode| mode.kind());
    let kind = kind.ok_or(Wrong::Corrupt("a file has a mode that is none of Git's"))?;
    let plain = path.strip_suffix(b"/").filter(|_| kind == EntryKind::Tree).unwrap_or(&path);
    if path.len() > PATH_BYTES_MAX || !plain.split(|byte| *byte == b'/').all(is_name) {
        return Err(Wrong::Corrupt("a file has a path that Git forbids"));
    }
    Ok(IndexEntry {
        stage: (flags >> 12 & 3) as u8,
        side: Side { kind, id },
        size,
        modified,
        unwatched: flags & ASSUME_VALID != 0 || more & SKIP_WORKTREE != 0,
        announced: more & INTENT_TO_ADD != 0,
        path,
    })
}

/// Walks over what follows the files. An extension in lower case changes what the files mean.
fn extensions(rest: &mut Bytes<'_>) -> Result<(), Wrong> {
    while rest.at < rest.all.len() {
        let cut = || Wrong::Corrupt("an extension is cut");
        let name = rest.take(4).ok_or_else(cut)?;
        let size = rest.number32().ok_or_else(cut)?;
        rest.take(size as usize).ok_or_else(cut)?;
        match name {
            b"link" => {
                return Err(Wrong::Unsupported(
                    "is split in two (`git update-index --no-split-index` joins it)".to_owned(),
                ));
            }
            // Directories in place of their files: the entries say so themselves.
            b"sdir" => {}
            name if name[0].is_ascii_uppercase() => {}
            name => return Err(Wrong::Unsupported(format!("needs the extension {}", name.as_bstr()))),
        }
    }
    Ok(())
}

/// Bytes taken from the front.
struct Bytes<'a> {
    all: &'a [u8],
    at: usize,
}

impl<'a> Bytes<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let taken = self.all.get(self.at..)?.get(..len)?;
        self.at += len;
        Some(taken)
    }

    fn number16(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_be_bytes)
    }

    fn number32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_be_bytes)
    }

    /// Bytes up to a NUL, which is taken too.
    fn line(&mut self) -> Option<&'a [u8]> {
        let len = self.all.get(self.at..)?.iter().take(PATH_BYTES_MAX + 1).position(|byte| *byte == 0)?;
        let line = self.take(len);
        self.at += 1;
        line
    }

    /// A number in groups of seven bits, highest first, as packs write offsets.
    fn offset(&mut self) -> Option<usize> {
        let mut byte = self.take(1)?[0];
        let mut number = usize::from(byte & 0x7f);
        while byte & 0x80 != 0 {
            byte = self.take(1)?[0];
            number = number.checked_add(1)?.checked_mul(128)?.checked_add(usize::from(byte & 0x7f))?;
        }
        Some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(version: u32, entries: &[&[u8]], rest: &[u8]) -> Vec<u8> {
        let mut bytes = [b"DIRC", &version.to_be_bytes()[..], &(entries.len() as u32).to_be_bytes()].concat();
        entries.iter().for_each(|entry| bytes.extend_from_slice(entry));
        bytes.extend_from_slice(rest);
        bytes.extend_from_slice(&[0; 20]);
        bytes
    }

    fn entry(mode: u32, path: &[u8]) -> Vec<u8> {
        let mut bytes = [&[0; 24][..], &mode.to_be_bytes(), &[0; 32], &[0; 2], path].concat();
        bytes.resize((bytes.len() + 8) / 8 * 8, 0);
        bytes
    }

    fn refusal(bytes: &[u8]) -> String {
        match parse(bytes) {
            Ok(entries) => panic!("accepted: {entries:?}"),
            Err(wrong) => wrong.of("index".to_owned()).to_string(),
        }
    }

    #[test]
    fn entries_are_read() {
        let entries = parse(&index(2, &[&entry(0o100_644, b"a"), &entry(0o120_000, b"b/c")], b"TREE\0\0\0\x01x")).ok();
        let paths: Vec<_> = entries.unwrap().into_iter().map(|entry| (entry.path, entry.side.kind)).collect();
        assert_eq!(paths, [("a".into(), EntryKind::Blob), ("b/c".into(), EntryKind::Link)]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let file = |path| entry(0o100_644, path);
        for (bytes, why) in [
            (b"DIRC".to_vec(), "cut"),
            (index(5, &[], b""), "version 5"),
            (index(2, &[&file(b"b"), &file(b"a")], b""), "not in order"),
            (index(2, &[&file(b"a"), &file(b"a")], b""), "not in order"),
            (index(2, &[&file(b"../a")], b""), "Git forbids"),
            (index(2, &[&file(b"/a")], b""), "Git forbids"),
            (index(2, &[&file(b"a/.git/config")], b""), "Git forbids"),
            (index(2, &[&entry(0o777, b"a")], b""), "mode"),
            (index(2, &[], b"link\0\0\0\0"), "split"),
            (index(2, &[], b"zzzz\0\0\0\0"), "extension zzzz"),
            (index(2, &[], b"TREE\xff\0\0\0"), "cut"),
            ([b"DIRC\0\0\0\x02\xff\xff\xff\xff".as_slice(), &[0; 20]].concat(), "too short"),
            ([b"DIRC\0\0\0\x02\0\0\0\0".as_slice(), &[1; 20]].concat(), "checksum"),
        ] {
            let said = refusal(&bytes);
            assert!(said.contains(why), "{said}");
        }
    }

    #[test]
    fn any_cut_or_flip_is_no_panic() {
        let whole =
            index(4, &[&[&[0; 24][..], &0o100_644_u32.to_be_bytes(), &[0; 34], b"\0a\0"].concat()], b"TREE\0\0\0\0");
        assert_eq!(parse(&whole).ok().unwrap().len(), 1);
        for at in 0..whole.len() {
            let _ = parse(&whole[..at]);
            for bit in 0..8 {
                let mut flipped = whole.clone();
                flipped[at] ^= 1 << bit;
                let _ = parse(&flipped);
            }
        }
    }
}
