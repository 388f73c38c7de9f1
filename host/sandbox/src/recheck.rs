//! Looking again at what an earlier call saw. The same trees, rules and digests as for a cell, so that what was hidden from the call
//! is hidden here, and nothing is opened that it could not have opened.

use crate::fs::backing::{Backing, Content, Kind, Make, Opening, Stat};
use crate::fs::plain::{Plain, stat_file};
use crate::fs::seen::{hash_file, listing_digest};
use crate::fs::tree::Tree;
use crate::fs::{Granted, Preopen, shown_entries};
use rustix::fs::{Mode, OFlags};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use vespiary_kernel::change::{ChangeSet, Node, TreePath};
use vespiary_kernel::ids::Digest;
use vespiary_kernel::observed::{ContentDigest, Observation, Observed};
use vespiary_kernel::sight::Sight;

/// The longest content that is given back as the base of a merge.
const BASE_BYTES_MAX: u64 = 4 << 20;

/// Digests that are remembered, so that a file that many calls read is read again once.
const KNOWN_MAX: usize = 200_000;

/// A file changed more recently than this may change again without its times telling.
const SETTLED_SECS: i64 = 2;

/// Remembers the contents of files that have not changed since they were last hashed.
#[derive(Debug, Default)]
pub(crate) struct Rechecker {
    known: Mutex<HashMap<Version, ContentDigest>>,
}

/// A file at one moment: whoever writes to it changes one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Version {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Rechecker {
    /// Whether whoever is granted `granted` meets everything in `seen` in the same state.
    pub(crate) fn unchanged(&self, granted: &Granted, seen: &[&Observation]) -> bool {
        seen.iter().all(|seen| match place(granted, &seen.path) {
            Some((tree, path)) => self.found(tree, path, &seen.state),
            None => false,
        })
    }

    fn found(&self, tree: &Tree, path: &str, state: &Observed) -> bool {
        let stat = match tree.rules.sight(path) {
            Sight::Outside | Sight::Hidden => None,
            sight => match tree.backing.stat(path) {
                Ok(stat) if sight == Sight::Passage && stat.kind != Kind::Dir => None,
                Ok(stat) => Some(stat),
                Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NOENT.raw_os_error()) => None,
                Err(_) => return false,
            },
        };
        match (state, stat) {
            (Observed::Absent, None) => true,
            (Observed::File { bytes, content, .. }, Some(Stat { kind: Kind::File, bytes: now, .. })) => {
                *bytes == now && content.is_none_or(|content| self.digest(tree, path) == Some(content))
            }
            (Observed::Directory { listing }, Some(Stat { kind: Kind::Dir, .. })) => listing.is_none_or(|listing| {
                shown_entries(tree, path).is_ok_and(|entries| listing_digest(&entries) == listing)
            }),
            (Observed::Link { target }, Some(Stat { kind: Kind::Link, .. })) => target
                .as_deref()
                .is_none_or(|target| tree.backing.read_link(path).is_ok_and(|now| now.to_str() == Some(target))),
            (Observed::Special, Some(Stat { kind, .. })) => !matches!(kind, Kind::File | Kind::Dir | Kind::Link),
            _ => false,
        }
    }

    fn digest(&self, tree: &Tree, path: &str) -> Option<ContentDigest> {
        let file = open(&*tree.backing, path).ok()?;
        let (version, settled) = version(&file).ok()?;
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(digest) = known().get(&version) {
            return Some(*digest);
        }
        let (_, digest) = hash_file(&file).ok()?;
        let digest = digest?;
        let mut known = known();
        if settled && known.len() < KNOWN_MAX {
            known.insert(version, digest);
        }
        Some(digest)
    }
}

/// Whether everything that `changes` changes in the project at `root` is what it was before.
pub(crate) fn is_base(root: &Path, changes: &ChangeSet) -> bool {
    let Ok(project) = project(root) else { return false };
    changes.iter().all(|(path, change)| match node(&project, path) {
        Ok(found) => found.as_ref() == change.before(),
        Err(_) => false,
    })
}

/// The contents of files that `changes` changes, as they are before, by digest; those that are long or have changed are left out.
pub(crate) fn bases(root: &Path, changes: &ChangeSet) -> BTreeMap<Digest, Arc<[u8]>> {
    let Ok(project) = project(root) else { return BTreeMap::new() };
    let base = |(path, change): (&TreePath, &vespiary_kernel::change::Change)| {
        let Some(Node::File { digest, bytes, .. }) = change.before() else { return None };
        if *bytes > BASE_BYTES_MAX {
            return None;
        }
        let mut content = Vec::new();
        let file = open(&project, path.as_str()).ok()?;
        file.take(BASE_BYTES_MAX + 1).read_to_end(&mut content).ok()?;
        (Digest::of(&content) == *digest).then(|| (*digest, Arc::from(content)))
    };
    changes.iter().filter_map(base).collect()
}

fn project(root: &Path) -> io::Result<Plain> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(Plain::new(rustix::fs::open(root, flags, Mode::empty())?))
}

/// What is at `path`, as a change set says it.
fn node(project: &Plain, path: &TreePath) -> io::Result<Option<Node>> {
    let path = path.as_str();
    let missing = [rustix::io::Errno::NOENT, rustix::io::Errno::NOTDIR].map(|errno| Some(errno.raw_os_error()));
    let stat = match project.stat(path) {
        Ok(stat) => stat,
        Err(error) if missing.contains(&error.raw_os_error()) => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(Some(match stat.kind {
        Kind::Dir => Node::Directory,
        Kind::Link => Node::Link { target: project.read_link(path)?.to_string_lossy().into_owned() },
        Kind::File => {
            let mut file = open(project, path)?;
            let executable = file.metadata()?.mode() & 0o100 != 0;
            let mut hash = Sha256::new();
            let bytes = io::copy(&mut file, &mut hash)?;
            Node::File { digest: Digest::from_bytes(hash.finalize().into()), bytes, executable }
        }
        Kind::BlockDevice | Kind::CharDevice | Kind::Other => return Err(io::ErrorKind::Unsupported.into()),
    }))
}

fn open(backing: &dyn Backing, path: &str) -> io::Result<File> {
    let opening = Opening { read: true, write: false, make: Make::Never, content: Content::Kept };
    let file = backing.open(path, opening)?;
    // What was a file a moment ago may be a pipe by now.
    if stat_file(&file)?.kind == Kind::File { Ok(file) } else { Err(io::ErrorKind::Unsupported.into()) }
}

fn version(file: &File) -> io::Result<(Version, bool)> {
    let stat = file.metadata()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs() as i64);
    let version = Version {
        device: stat.dev(),
        inode: stat.ino(),
        bytes: stat.len(),
        modified: (stat.mtime(), stat.mtime_nsec()),
        changed: (stat.ctime(), stat.ctime_nsec()),
    };
    Ok((version, stat.ctime() + SETTLED_SECS < now))
}

/// The tree in which a recorded path lies, and what it is called there.
fn place<'a>(granted: &'a Granted, path: &'a str) -> Option<(&'a Tree, &'a str)> {
    granted.preopens.iter().find_map(|Preopen { tree, .. }| Some((&**tree, tree.rules.inner(path)?)))
}
