//! What differs between two states of the files, wherever each is kept. What must never live here: how it is told.

use crate::index::{Index, IndexEntry};
use crate::objects::{OBJECT_BYTES_MAX, ObjectError, Objects, hash};
use crate::repository::{Repository, beside, checked_out};
use crate::tree::{self, Change, Paths, Side};
use crate::worktree::{self, State, Untracked};
use gix_hash::ObjectId;
use gix_object::Kind;
use gix_object::bstr::{BString, ByteSlice};
use gix_object::tree::EntryKind;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;
use vespiary_sdk::{Error, fs};

/// A file on one side of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// As a commit or the index has it.
    Stored(Side),
    /// As it stands in the working tree.
    Standing(EntryKind),
}

impl End {
    /// File, executable, link or submodule.
    pub(crate) fn kind(self) -> EntryKind {
        match self {
            Self::Stored(side) => side.kind,
            Self::Standing(kind) => kind,
        }
    }
}

/// One file that differs.
#[derive(Clone, Debug)]
pub(crate) struct Difference {
    /// The path from the root.
    pub(crate) path: BString,
    /// The path it had, where it was renamed.
    pub(crate) old_path: Option<BString>,
    /// What was.
    pub(crate) old: Option<End>,
    /// What is.
    pub(crate) new: Option<End>,
}

/// Content of one side.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// All of it, and its hash.
    Whole(Rc<Vec<u8>>, ObjectId),
    /// Too large to be read; its hash where that is known.
    TooLarge(Option<ObjectId>),
}

/// Between two trees; no tree is an empty one.
pub(crate) fn between_trees(
    objects: &Objects,
    old: Option<ObjectId>,
    new: Option<ObjectId>,
    paths: &Paths,
) -> Result<Vec<Difference>, Error> {
    let changes = tree::compare(objects, old, new, paths)?.into_iter();
    let stored = |side: Option<Side>| side.map(End::Stored);
    let differences = changes.map(|Change { path, old, new }| (path, stored(old), stored(new)));
    Ok(with_renames(differences.flat_map(split).collect()))
}

/// From a tree to the index. Paths in conflict are left out: they have no one state in the index.
pub(crate) fn tree_to_index(
    objects: &Objects,
    tree: Option<ObjectId>,
    index: &Index,
    paths: &Paths,
) -> Result<Vec<Difference>, Error> {
    let mut old = files_of(objects, tree, paths)?;
    let mut differences = Vec::new();
    for file in staged_files(objects, index, paths)? {
        let was = old.remove(&file.path).map(End::Stored);
        if file.stage == 0 && !file.announced {
            differences.push((file.path, was, Some(End::Stored(file.side))));
        }
    }
    differences.extend(old.into_iter().map(|(path, was)| (path, Some(End::Stored(was)), None)));
    differences.retain(|(_, old, new)| old != new);
    differences.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(with_renames(differences.into_iter().flat_map(split).collect()))
}

/// Differences to the working tree, and what of it could not be looked at, with the reason.
pub(crate) type ToWorktree = (Vec<Difference>, Vec<(String, String)>);

/// From the index to the working tree: tracked files only.
pub(crate) fn index_to_worktree(repository: &Repository, index: &Index, paths: &Paths) -> Result<ToWorktree, Error> {
    let scan = worktree::scan(repository, index, paths, Untracked::None)?;
    let mut differences = Vec::new();
    for (path, state) in scan.changed {
        let Some(entry) = index.at(&path).first() else { continue };
        let old = (!entry.announced).then_some(End::Stored(entry.side));
        differences.push((path.clone(), old, standing(repository, &path, entry.side.kind, state)?));
    }
    Ok((differences.into_iter().flat_map(split).collect(), scan.skipped))
}

/// From a tree to the working tree: files tracked in either. Paths in conflict are left out.
pub(crate) fn tree_to_worktree(
    repository: &Repository,
    tree: Option<ObjectId>,
    index: &Index,
    paths: &Paths,
) -> Result<ToWorktree, Error> {
    let scan = worktree::scan(repository, index, paths, Untracked::None)?;
    // Of what could not be looked at it is not known that it differs.
    let unknown: HashSet<&[u8]> = scan.skipped.iter().map(|(path, _)| path.as_bytes()).collect();
    let mut old = files_of(&repository.objects, tree, paths)?;
    let mut differences = Vec::new();
    for file in staged_files(&repository.objects, index, paths)? {
        let was = old.remove(&file.path).map(End::Stored);
        if file.stage != 0 || unknown.contains(file.path.as_slice()) {
            continue;
        }
        let new = match scan.changed.get(&file.path) {
            None => Some(End::Stored(file.side)),
            Some(state) => standing(repository, &file.path, file.side.kind, *state)?,
        };
        differences.push((file.path, was, new));
    }
    differences.extend(old.into_iter().map(|(path, was)| (path, Some(End::Stored(was)), None)));
    differences.retain(|(_, old, new)| old != new);
    differences.sort_by(|one, other| one.0.cmp(&other.0));
    Ok((with_renames(differences.into_iter().flat_map(split).collect()), scan.skipped))
}

/// The content of one side of a difference, up to `bytes_max` bytes.
pub(crate) fn content(repository: &Repository, path: &BString, end: End, bytes_max: u64) -> Result<Content, Error> {
    let bytes = match end {
        End::Stored(Side { kind: EntryKind::Commit, id }) => submodule(id),
        End::Stored(Side { id, .. }) => {
            return match repository.objects.read_kind(id, Kind::Blob) {
                Ok(data) if data.len() as u64 <= bytes_max => Ok(Content::Whole(data, id)),
                Ok(_) | Err(ObjectError::TooLarge { .. }) => Ok(Content::TooLarge(Some(id))),
                Err(error) => Err(error.into()),
            };
        }
        End::Standing(kind) => {
            let work_dir = repository.work_dir.as_deref().unwrap_or(".");
            let standing = beside(work_dir, &path.to_str_lossy());
            match kind {
                EntryKind::Commit => submodule(checked_out(&standing)?.unwrap_or(gix_hash::Kind::Sha1.null())),
                EntryKind::Link => fs::read_link(&standing)?.into_bytes(),
                _ => {
                    let mut bytes = Vec::new();
                    match fs::File::open(&standing)?.read_whole(&mut bytes, bytes_max.min(OBJECT_BYTES_MAX))? {
                        fs::Size::Whole => bytes,
                        fs::Size::CutOff => return Ok(Content::TooLarge(None)),
                    }
                }
            }
        }
    };
    let id = hash(Kind::Blob, &bytes).map_err(Error::failed)?;
    Ok(Content::Whole(Rc::new(bytes), id))
}

fn submodule(id: ObjectId) -> Vec<u8> {
    format!("Subproject commit {id}\n").into_bytes()
}

fn files_of(objects: &Objects, tree: Option<ObjectId>, paths: &Paths) -> Result<BTreeMap<BString, Side>, Error> {
    let files = tree::compare(objects, None, tree, paths)?.into_iter();
    Ok(files.filter_map(|change| Some((change.path, change.new?))).collect())
}

/// A file of the index.
struct StagedFile {
    path: BString,
    side: Side,
    stage: u8,
    announced: bool,
}

/// The files of the index. A directory that is left out of the working tree can stand in it as one entry: here it is the
/// files that its tree holds.
fn staged_files(objects: &Objects, index: &Index, paths: &Paths) -> Result<Vec<StagedFile>, Error> {
    let mut files = Vec::new();
    for IndexEntry { path, side, stage, announced, .. } in &index.entries {
        let (path, side, stage, announced) = (path.clone(), *side, *stage, *announced);
        if side.kind == EntryKind::Tree {
            if !paths.reach(path.strip_suffix(b"/").unwrap_or(&path)) {
                continue;
            }
            for Change { path: below, new, .. } in tree::compare(objects, None, Some(side.id), &Paths::default())? {
                let path = BString::from([path.as_slice(), &below].concat());
                if let Some(side) = new.filter(|_| paths.cover(&path)) {
                    files.push(StagedFile { path, side, stage, announced });
                }
            }
        } else if paths.cover(&path) {
            files.push(StagedFile { path, side, stage, announced });
        }
    }
    Ok(files)
}

/// What stands in the working tree where a file of `kind` is tracked.
fn standing(repository: &Repository, path: &BString, kind: EntryKind, state: State) -> Result<Option<End>, Error> {
    let kind = match state {
        State::Deleted => return Ok(None),
        State::Same | State::Modified => kind,
        State::TypeChanged => {
            let work_dir = repository.work_dir.as_deref().unwrap_or(".");
            let found = fs::symlink_metadata(beside(work_dir, &path.to_str_lossy()))?;
            if found.is_symlink() { EntryKind::Link } else { EntryKind::Blob }
        }
    };
    Ok(Some(End::Standing(kind)))
}

/// A file that became a link, or the other way round, is one removed and another added: that is how patches say it.
fn split((path, old, new): (BString, Option<End>, Option<End>)) -> Vec<Difference> {
    let one = |old, new| Difference { path: path.clone(), old_path: None, old, new };
    let class = |end: End| match end.kind() {
        EntryKind::BlobExecutable => EntryKind::Blob,
        kind => kind,
    };
    match (old, new) {
        (Some(was), Some(is)) if class(was) != class(is) => vec![one(old, None), one(None, new)],
        _ => vec![one(old, new)],
    }
}

/// Pairs a removed file with an added one of the same content. Files that changed while they moved stay two.
fn with_renames(differences: Vec<Difference>) -> Vec<Difference> {
    let mut removed: HashMap<ObjectId, Vec<(BString, Side)>> = HashMap::new();
    for difference in differences.iter().rev() {
        if let (Some(End::Stored(side)), None) = (difference.old, difference.new) {
            removed.entry(side.id).or_default().push((difference.path.clone(), side));
        }
    }
    let mut renamed = HashSet::new();
    let mut paired: Vec<Difference> = Vec::with_capacity(differences.len());
    for mut difference in differences {
        if let (None, Some(End::Stored(side))) = (difference.old, difference.new) {
            let candidates = removed.get_mut(&side.id).filter(|_| !side.id.is_empty_blob());
            let same_class = |old: &Side| (old.kind == EntryKind::Link) == (side.kind == EntryKind::Link);
            if let Some((path, old)) = candidates.and_then(|paths| paths.pop_if(|(_, old)| same_class(old))) {
                renamed.insert(path.clone());
                difference.old_path = Some(path);
                difference.old = Some(End::Stored(old));
            }
        }
        paired.push(difference);
    }
    paired.retain(|difference| difference.new.is_some() || !renamed.contains(&difference.path));
    paired
}
