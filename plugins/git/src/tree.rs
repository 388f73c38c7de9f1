//! Trees: their entries, a path in them, and what differs between two. What must never live here: content of files.

use crate::objects::{ObjectError, Objects};
use gix_hash::ObjectId;
use gix_object::bstr::{BString, ByteSlice, ByteVec};
use gix_object::tree::{EntryKind, name_order};
use gix_object::{Kind, TreeRefIter};
use std::cmp::Ordering;
use vespiary_sdk::Error;

/// Most entries looked at in one comparison. A few small trees can unfold to billions.
const ENTRIES_MAX: usize = 1_000_000;
/// Most differing files kept.
const CHANGES_MAX: usize = 300_000;
/// Longest path followed, in bytes; what Linux allows.
pub(crate) const PATH_BYTES_MAX: usize = 4096;

/// Why trees cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TreeError {
    /// A name that could lead elsewhere, or that Git forbids.
    #[error("the tree {id} has an entry named {name:?}, which Git forbids")]
    Name {
        /// The tree.
        id: ObjectId,
        /// The name.
        name: String,
    },
    /// Paths are too long.
    #[error("the tree {0} lies deeper than a path of {PATH_BYTES_MAX} bytes can say")]
    Deep(ObjectId),
    /// There are too many entries.
    #[error("the trees unfold to more than {ENTRIES_MAX} entries or {CHANGES_MAX} differing files; name `paths`")]
    Many,
    /// An object cannot be had.
    #[error(transparent)]
    Object(#[from] ObjectError),
}

impl From<TreeError> for Error {
    fn from(error: TreeError) -> Self {
        match error {
            TreeError::Object(error) => error.into(),
            other => Self::failed(other.to_string()),
        }
    }
}

/// One entry of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TreeEntry {
    /// What the entry is.
    pub(crate) kind: EntryKind,
    /// Its name, without the directory.
    pub(crate) name: BString,
    /// Its object.
    pub(crate) id: ObjectId,
}

impl TreeEntry {
    fn is_tree(&self) -> bool {
        self.kind == EntryKind::Tree
    }
}

/// A file as a commit or the index has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Side {
    /// File, executable, link or submodule.
    pub(crate) kind: EntryKind,
    /// Its object.
    pub(crate) id: ObjectId,
}

/// A path that differs, with what is on each side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// The path from the root.
    pub(crate) path: BString,
    /// What was.
    pub(crate) old: Option<Side>,
    /// What is.
    pub(crate) new: Option<Side>,
}

/// The entries of a tree, every name fit to be part of a path.
pub(crate) fn entries(objects: &Objects, id: ObjectId) -> Result<Vec<TreeEntry>, TreeError> {
    let data = objects.read_kind(id, Kind::Tree)?;
    let mut entries = Vec::new();
    for entry in TreeRefIter::from_bytes(&data, gix_hash::Kind::Sha1) {
        let entry = entry.map_err(|error| ObjectError::Corrupt { id, why: error.to_string() })?;
        if !is_name(entry.filename) {
            return Err(TreeError::Name { id, name: entry.filename.to_str_lossy().into_owned() });
        }
        entries.push(TreeEntry { kind: entry.mode.kind(), name: entry.filename.to_owned(), id: entry.oid.to_owned() });
    }
    Ok(entries)
}

/// Whether a name can be one part of a path and stays out of `.git`.
pub(crate) fn is_name(name: &[u8]) -> bool {
    let forbidden = matches!(name, b"" | b"." | b"..") || name.eq_ignore_ascii_case(b".git");
    !forbidden && !name.iter().any(|byte| matches!(byte, b'/' | 0))
}

/// What stands at a path; the root itself for an empty one.
pub(crate) fn find(objects: &Objects, root: ObjectId, path: &[u8]) -> Result<Option<TreeEntry>, TreeError> {
    let mut at = TreeEntry { kind: EntryKind::Tree, name: BString::default(), id: root };
    for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".") {
        if !at.is_tree() {
            return Ok(None);
        }
        match entry(objects, at.id, name)? {
            Some(entry) => at = entry,
            None => return Ok(None),
        }
    }
    Ok(Some(at))
}

/// One entry of a tree.
fn entry(objects: &Objects, id: ObjectId, name: &[u8]) -> Result<Option<TreeEntry>, TreeError> {
    let data = objects.read_kind(id, Kind::Tree)?;
    for entry in TreeRefIter::from_bytes(&data, gix_hash::Kind::Sha1) {
        let entry = entry.map_err(|error| ObjectError::Corrupt { id, why: error.to_string() })?;
        if entry.filename == name {
            return Ok(Some(TreeEntry { kind: entry.mode.kind(), name: name.into(), id: entry.oid.to_owned() }));
        }
    }
    Ok(None)
}

/// Which paths a comparison looks at: all, or those at and below some.
#[derive(Clone, Debug, Default)]
pub(crate) struct Paths(Vec<BString>);

impl Paths {
    /// Paths from the root of the repository.
    ///
    /// # Errors
    /// One is absolute, has `..`, or is a pattern.
    pub(crate) fn new(paths: &[String]) -> Result<Self, Error> {
        let mut parsed = Vec::new();
        for path in paths {
            if path.starts_with([':', '/']) || path.split('/').any(|name| name == "..") {
                return Err(Error::invalid(format!(
                    "the path {path:?} must be a plain one, relative to the root of the repository and without `..`"
                )));
            }
            let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty() && *name != ".").collect();
            if names.is_empty() {
                return Ok(Self::default());
            }
            parsed.push(names.join("/").into());
        }
        Ok(Self(parsed))
    }

    /// The paths; none for all.
    pub(crate) fn each(&self) -> &[BString] {
        &self.0
    }

    /// Whether a file is among them.
    pub(crate) fn cover(&self, path: &[u8]) -> bool {
        self.0.is_empty() || self.0.iter().any(|wanted| is_at_or_below(path, wanted))
    }

    /// Whether one of them is the first `len` bytes of a path or more of it.
    pub(crate) fn spell_out(&self, path: &[u8], len: usize) -> bool {
        self.0.iter().any(|wanted| wanted.len() >= len && is_at_or_below(path, wanted))
    }

    /// Whether a directory is among them, or holds one of them.
    pub(crate) fn reach(&self, dir: &[u8]) -> bool {
        self.cover(dir) || self.0.iter().any(|wanted| is_at_or_below(wanted, dir))
    }
}

fn is_at_or_below(path: &[u8], above: &[u8]) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

/// The files that differ between two trees, in order of their paths. No tree is an empty one. Equal subtrees are not read.
pub(crate) fn compare(
    objects: &Objects,
    old: Option<ObjectId>,
    new: Option<ObjectId>,
    paths: &Paths,
) -> Result<Vec<Change>, TreeError> {
    let mut changes = Vec::new();
    let mut looked_at = 0;
    let mut open = vec![(BString::default(), old, new)];
    while let Some((dir, old, new)) = open.pop() {
        if old == new {
            continue;
        }
        let read = |id: Option<ObjectId>| id.map_or_else(|| Ok(Vec::new()), |id| entries(objects, id));
        let (old_entries, new_entries) = (read(old)?, read(new)?);
        // A tree without entries weighs too, or one could be unfolded for ever.
        looked_at += old_entries.len() + new_entries.len() + 1;
        if looked_at > ENTRIES_MAX || changes.len() > CHANGES_MAX {
            return Err(TreeError::Many);
        }
        for (old, new) in paired(old_entries, new_entries) {
            if old == new {
                continue;
            }
            let Some(name) = old.as_ref().or(new.as_ref()).map(|entry| &entry.name) else { continue };
            let mut path = dir.clone();
            if !path.is_empty() {
                path.push_char('/');
            }
            path.push_str(name);
            if path.len() > PATH_BYTES_MAX {
                return Err(TreeError::Deep(old.or(new).map_or(gix_hash::Kind::Sha1.null(), |entry| entry.id)));
            }
            let tree = |entry: &Option<TreeEntry>| entry.as_ref().filter(|entry| entry.is_tree()).map(|entry| entry.id);
            let file = |entry: &Option<TreeEntry>| {
                entry.as_ref().filter(|entry| !entry.is_tree()).map(|entry| Side { kind: entry.kind, id: entry.id })
            };
            if (tree(&old).is_some() || tree(&new).is_some()) && paths.reach(&path) {
                open.push((path.clone(), tree(&old), tree(&new)));
            }
            if (file(&old).is_some() || file(&new).is_some()) && paths.cover(&path) {
                changes.push(Change { path, old: file(&old), new: file(&new) });
            }
        }
    }
    changes.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(changes)
}

/// Entries of the same name together; a file and a tree of one name stay apart, as Git's order has them.
fn paired(old: Vec<TreeEntry>, new: Vec<TreeEntry>) -> Vec<(Option<TreeEntry>, Option<TreeEntry>)> {
    let (mut old, mut new) = (old.into_iter().peekable(), new.into_iter().peekable());
    let mut pairs = Vec::new();
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return pairs,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => name_order(&old.name, old.is_tree(), &new.name, new.is_tree()),
        };
        pairs.push(match order {
            Ordering::Less => (old.next(), None),
            Ordering::Greater => (None, new.next()),
            Ordering::Equal => (old.next(), new.next()),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for bad in ["", ".", "..", ".git", ".GIT", "a/b", "a\0"] {
            assert!(!is_name(bad.as_bytes()), "{bad}");
        }
        assert!(is_name(b".gitignore") && is_name(b"...") && is_name(b"\xff"));
    }

    #[test]
    fn paths_cover_what_is_below() {
        let paths = Paths::new(&["./src//a".to_owned()]).unwrap();
        assert!(paths.cover(b"src/a") && paths.cover(b"src/a/b") && !paths.cover(b"src/ab") && !paths.cover(b"src"));
        assert!(paths.spell_out(b"src/a/b", 3) && paths.spell_out(b"src/a/b", 5));
        assert!(!paths.spell_out(b"src/a/b", 7) && !paths.spell_out(b"src/ab", 3));
        assert!(paths.reach(b"src") && !paths.reach(b"lib"));
        assert!(Paths::new(&[".".to_owned()]).unwrap().cover(b"x"));
        for bad in ["/a", "a/../b", ":(glob)*"] {
            assert!(Paths::new(&[bad.to_owned()]).is_err(), "{bad}");
        }
    }
}
