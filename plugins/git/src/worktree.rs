//! The working tree against the index: what changed, what is gone, what is not tracked. What must never live here: commits.

use crate::hidden;
use crate::ignore::Rules;
use crate::index::{Index, IndexEntry, since_1970};
use crate::objects::hasher;
use crate::repository::{Repository, beside, checked_out};
use crate::tree::Paths;
use gix_hash::ObjectId;
use gix_object::Kind;
use gix_object::bstr::{BString, ByteSlice};
use gix_object::tree::EntryKind;
use std::collections::BTreeMap;
use std::io;
use vespiary_sdk::{Error, fs};

/// Bytes of a file hashed at a time.
const HASHED_BYTES: usize = 256 * 1024;
/// Most untracked paths kept.
const UNTRACKED_MAX: usize = 100_000;

/// What became of a tracked file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// As the index has it.
    Same,
    /// Its content differs.
    Modified,
    /// It is a file where a link was, or the other way round.
    TypeChanged,
    /// It is gone.
    Deleted,
}

/// How untracked files are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Untracked {
    /// Not at all.
    None,
    /// A directory with nothing tracked in it as one.
    Directories,
    /// File by file.
    Files,
}

/// What a look at the working tree found.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// State of each tracked file that is not in conflict and not unwatched, other than the same.
    pub(crate) changed: BTreeMap<BString, State>,
    /// Untracked files; directories end in `/`.
    pub(crate) untracked: Vec<String>,
    /// Whether there were more untracked files than were kept.
    pub(crate) cut: bool,
    /// What could not be looked at, and why.
    pub(crate) skipped: Vec<(String, String)>,
}

/// Looks at the working tree, or at some paths of it.
///
/// # Errors
/// The root cannot be listed. What cannot be looked at below is in [`Scan::skipped`].
pub(crate) fn scan(repository: &Repository, index: &Index, paths: &Paths, untracked: Untracked) -> Result<Scan, Error> {
    let Some(work_dir) = &repository.work_dir else {
        return Err(Error::invalid("the repository is bare: it has no working tree to look at"));
    };
    let mut walk = Walk { work_dir, index, paths, untracked, scan: Scan::default(), seen: Vec::new() };
    walk.seen.resize(index.entries.len(), false);
    walk.run(Rules::of(repository)?)?;
    walk.find_lost();
    let mut scan = walk.scan;
    scan.untracked.sort_unstable();
    Ok(scan)
}

struct Walk<'a> {
    work_dir: &'a str,
    index: &'a Index,
    paths: &'a Paths,
    untracked: Untracked,
    scan: Scan,
    /// For each entry of the index whether the walk came by it.
    seen: Vec<bool>,
}

/// A directory still to be listed, relative to the root of the working tree.
struct Open {
    dir: String,
    rules: Rules,
    /// Inside an ignored directory only tracked files count.
    ignored: bool,
}

impl Walk<'_> {
    fn run(&mut self, rules: Rules) -> Result<(), Error> {
        let mut open = vec![Open { dir: String::new(), rules, ignored: false }];
        while let Some(at) = open.pop() {
            let listed = self.list(&at, &mut open);
            if let Err(error) = listed {
                if at.dir.is_empty() {
                    return Err(error.into());
                }
                self.scan.skipped.push((at.dir, error.to_string()));
            }
        }
        Ok(())
    }

    fn list(&mut self, at: &Open, open: &mut Vec<Open>) -> io::Result<()> {
        let entries = fs::read_dir(beside(self.work_dir, &at.dir))?;
        let rules = at.rules.enter(self.work_dir, &at.dir)?;
        for entry in entries {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    self.scan.skipped.push((at.dir.clone(), error.to_string()));
                    continue;
                }
            };
            if entry.name() == ".git" {
                continue;
            }
            let path = if at.dir.is_empty() { entry.name().to_owned() } else { beside(&at.dir, entry.name()) };
            if !self.paths.reach(path.as_bytes()) {
                continue;
            }
            let is_dir = entry.file_type().is_dir();
            let from = self.index.entries.partition_point(|known| known.path.as_bytes() < path.as_bytes());
            let tracked = self.index.at(path.as_bytes());
            if !tracked.is_empty() {
                if let Err(error) = self.check(from, tracked, || entry.metadata()) {
                    self.scan.skipped.push((path, error.to_string()));
                }
            } else if is_dir && self.index.has_below(path.as_bytes().as_bstr()) {
                let ignored = at.ignored || rules.ignore(&path, true);
                open.push(Open { dir: path, rules: rules.clone(), ignored });
            } else if !at.ignored && self.untracked != Untracked::None && !rules.ignore(&path, is_dir) {
                self.meet_untracked(path, entry.file_type(), &rules, open);
            }
        }
        Ok(())
    }

    fn meet_untracked(&mut self, path: String, file_type: fs::FileType, rules: &Rules, open: &mut Vec<Open>) {
        match file_type {
            fs::FileType::File | fs::FileType::Symlink if self.paths.cover(path.as_bytes()) => self.keep(path),
            fs::FileType::Dir => {
                // Another repository is told as one, whatever is in it.
                let is_repository = fs::symlink_metadata(beside(self.work_dir, &format!("{path}/.git"))).is_ok();
                if is_repository {
                    self.keep(format!("{path}/"));
                } else if self.untracked == Untracked::Files || !self.paths.cover(path.as_bytes()) {
                    open.push(Open { dir: path, rules: rules.clone(), ignored: false });
                } else if self.holds_any(&path, rules) {
                    self.keep(format!("{path}/"));
                }
            }
            _ => {}
        }
    }

    fn keep(&mut self, path: String) {
        if self.scan.untracked.len() < UNTRACKED_MAX {
            self.scan.untracked.push(path);
        } else {
            self.scan.cut = true;
        }
    }

    /// Whether an untracked directory holds any file that is not ignored.
    fn holds_any(&mut self, dir: &str, rules: &Rules) -> bool {
        let mut open = vec![(dir.to_owned(), rules.clone())];
        while let Some((dir, rules)) = open.pop() {
            let listed = fs::read_dir(beside(self.work_dir, &dir));
            let (entries, rules) = match listed.and_then(|entries| Ok((entries, rules.enter(self.work_dir, &dir)?))) {
                Ok(both) => both,
                Err(error) => {
                    self.scan.skipped.push((dir, error.to_string()));
                    continue;
                }
            };
            for entry in entries.flatten() {
                let path = beside(&dir, entry.name());
                let file_type = entry.file_type();
                if rules.ignore(&path, file_type.is_dir()) {
                    continue;
                }
                match file_type {
                    fs::FileType::Dir => open.push((path, rules.clone())),
                    fs::FileType::File | fs::FileType::Symlink => return true,
                    fs::FileType::Other => {}
                }
            }
        }
        false
    }

    /// Tracked files the walk did not come by: gone, or in a place that cannot be listed.
    fn find_lost(&mut self) {
        for at in 0..self.index.entries.len() {
            let entry = &self.index.entries[at];
            if self.seen[at] || !self.paths.cover(&entry.path) || entry.stage != 0 || entry.unwatched {
                continue;
            }
            let Ok(path) = entry.path.to_str() else {
                let reason = "its name is not UTF-8, so it cannot be looked at".to_owned();
                self.scan.skipped.push((entry.path.to_str_lossy().into_owned(), reason));
                continue;
            };
            let hiding = hidden::hiding(Some(self.work_dir), path.as_bytes());
            // What is hidden looks like what is gone, so nothing from the first name that hides it on says anything.
            if self.is_cut_off(&path[..hiding.as_ref().map_or(path.len(), |names| names.start)]) {
                self.scan.changed.insert(entry.path.clone(), State::Deleted);
                continue;
            }
            let index = self.index;
            let standing = beside(self.work_dir, path);
            match fs::symlink_metadata(&standing) {
                Err(error) if gone(&error) && hiding.is_some() => {
                    let reason =
                        format!("not shown to this call, or gone; a grant that names it shows it: read:{standing}");
                    self.scan.skipped.push((path.to_owned(), reason));
                }
                Err(error) if gone(&error) => drop(self.scan.changed.insert(entry.path.clone(), State::Deleted)),
                Err(error) => self.scan.skipped.push((path.to_owned(), error.to_string())),
                Ok(found) => {
                    if let Err(error) = self.check(at, &index.entries[at..=at], || Ok(found)) {
                        self.scan.skipped.push((path.to_owned(), error.to_string()));
                    }
                }
            }
        }
    }

    /// Whether something else than a directory stands above a path, which may be the beginning of one. A link that leads to a
    /// directory does: Git does not look through it.
    fn is_cut_off(&self, path: &str) -> bool {
        let above = path.match_indices('/').map(|(slash, _)| &path[..slash]);
        above.into_iter().any(|dir| match fs::symlink_metadata(beside(self.work_dir, dir)) {
            Ok(found) => !found.is_dir(),
            Err(error) => gone(&error),
        })
    }

    /// Compares a tracked path with what is there. `from` is where `tracked` stand in the index.
    fn check(
        &mut self,
        from: usize,
        tracked: &[IndexEntry],
        look: impl FnOnce() -> io::Result<fs::Metadata>,
    ) -> Result<(), Error> {
        self.seen[from..from + tracked.len()].fill(true);
        let [entry] = tracked else { return Ok(()) };
        if entry.stage != 0 || entry.unwatched || !self.paths.cover(&entry.path) {
            return Ok(());
        }
        let state = state(self.work_dir, self.index, entry, &look()?)?;
        if state != State::Same {
            self.scan.changed.insert(entry.path.clone(), state);
        }
        Ok(())
    }
}

fn gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn state(work_dir: &str, index: &Index, entry: &IndexEntry, found: &fs::Metadata) -> Result<State, Error> {
    let path = beside(work_dir, &entry.path.to_str_lossy());
    let same = |same: bool| if same { State::Same } else { State::Modified };
    match entry.side.kind {
        EntryKind::Commit if found.is_dir() => {
            // A submodule that was never fetched is an empty directory, and no change.
            Ok(same(checked_out(&path)?.is_none_or(|id| id == entry.side.id)))
        }
        _ if found.is_dir() => Ok(State::Deleted),
        EntryKind::Link if found.is_symlink() => Ok(same(link_hash(&path)? == entry.side.id)),
        EntryKind::Blob | EntryKind::BlobExecutable if found.is_file() => {
            let sized = entry.size != 0 || entry.side.id.is_empty_blob();
            if sized && u64::from(entry.size) != found.len() & u64::from(u32::MAX) {
                return Ok(State::Modified);
            }
            if sized && is_untouched(index, entry, found) {
                return Ok(State::Same);
            }
            Ok(same(file_hash(&path, found.len())? == Some(entry.side.id)))
        }
        _ => Ok(State::TypeChanged),
    }
}

/// Whether the file's time says that it is as it was staged. A file changed in the very moment that the index was written
/// may have changed once more.
fn is_untouched(index: &Index, entry: &IndexEntry, found: &fs::Metadata) -> bool {
    let Some((seconds, nanos)) = found.modified().map(since_1970) else { return false };
    let (staged_seconds, staged_nanos) = (u64::from(entry.modified.0), entry.modified.1);
    let before_index = match staged_nanos {
        0 => staged_seconds < index.written.0,
        nanos => (staged_seconds, nanos) < index.written,
    };
    staged_seconds != 0 && before_index && seconds == staged_seconds && (nanos == staged_nanos || staged_nanos == 0)
}

/// The hash that a file would have as a blob; nothing where it changed meanwhile.
fn file_hash(path: &str, size: u64) -> io::Result<Option<ObjectId>> {
    let file = fs::File::open(path)?;
    let mut hasher = hasher(Kind::Blob, size);
    let mut at = 0;
    loop {
        let bytes = file.read_at(at, HASHED_BYTES)?;
        if bytes.is_empty() {
            break;
        }
        at += bytes.len() as u64;
        hasher.update(&bytes);
    }
    Ok(if at == size { hasher.try_finalize().ok() } else { None })
}

fn link_hash(path: &str) -> io::Result<ObjectId> {
    let target = fs::read_link(path)?;
    crate::objects::hash(Kind::Blob, target.as_bytes()).map_err(io::Error::other)
}
