//! What one agent made of a tree, by path: pure bookkeeping. No file is touched here.

use super::reads::Reads;
use crate::fs::backing::{Kind, Stat, Times};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::time::SystemTime;
use vespiary_kernel::change::{Node, stays_inside};

/// The longest path that may come out of a rename, bytes.
const PATH_BYTES_MAX: usize = 4_095;

/// Inode numbers of what has no file of its own begin here, above those that file systems hand out.
const IDS_FROM: u64 = 1 << 62;

/// What is at a path now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Now {
    /// Nothing, whatever is below.
    Absent,
    /// A file, with the number of its content.
    File { number: u64, executable: bool },
    /// A link.
    Link { target: Box<str>, times: Times, id: u64 },
    /// A directory. An opaque one shows nothing of what is below; another one is only there for its times.
    Dir { opaque: bool, times: Times, id: u64 },
}

/// What was found at a path.
#[derive(Debug, Clone)]
pub(super) enum Found {
    Layer(Now),
    Lower(Stat),
}

impl Found {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Layer(Now::File { .. }) => Kind::File,
            Self::Layer(Now::Link { .. }) => Kind::Link,
            Self::Layer(Now::Dir { .. }) => Kind::Dir,
            Self::Layer(Now::Absent) => Kind::Other,
            Self::Lower(stat) => stat.kind,
        }
    }
}

/// A path that the layer knows: what was below when it first was touched, and what is there now.
#[derive(Debug)]
struct Known {
    base: Option<Node>,
    now: Now,
}

#[derive(Debug)]
pub(super) struct Layer {
    /// What was read of the paths that are not known.
    pub(super) reads: Reads,
    known: BTreeMap<Box<str>, Known>,
    /// How long all known paths and the targets of links are together.
    names_bytes: usize,
    numbers: u64,
    copied: u64,
    root: Times,
    device: u64,
}

impl Layer {
    pub(super) fn new(device: u64, reads_bytes_max: usize) -> Self {
        let reads = Reads::new(reads_bytes_max, SystemTime::now());
        Self { reads, known: BTreeMap::new(), names_bytes: 0, numbers: 0, copied: 0, root: Times::default(), device }
    }

    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// What its names take, bytes of memory.
    pub(super) fn names_bytes(&self) -> usize {
        self.names_bytes
    }

    /// A number that was never given out.
    pub(super) fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// What the layer has at `path`; `None` where it knows nothing and the tree below shows. Fails as the lookup would.
    pub(super) fn find(&self, path: &str) -> io::Result<Option<&Now>> {
        let mut shadowed = false;
        for (at, _) in path.match_indices('/') {
            match self.known.get(&path[..at]).map(|known| &known.now) {
                Some(Now::Absent) => return Err(Errno::NOENT.into()),
                Some(Now::File { .. }) => return Err(Errno::NOTDIR.into()),
                Some(Now::Link { .. }) => return Err(Errno::LOOP.into()),
                Some(Now::Dir { opaque, .. }) => shadowed |= opaque,
                None if shadowed => return Err(Errno::NOENT.into()),
                None => {}
            }
        }
        match self.known.get(path).map(|known| &known.now) {
            Some(Now::Absent) => Err(Errno::NOENT.into()),
            None if shadowed => Err(Errno::NOENT.into()),
            found => Ok(found),
        }
    }

    /// Whether the tree below shows in the directory `path`, as far as the directories above it go.
    pub(super) fn shows_lower(&self, path: &str) -> bool {
        let opaque =
            |above: &str| matches!(self.known.get(above), Some(Known { now: Now::Dir { opaque: true, .. }, .. }));
        !path.match_indices('/').any(|(at, _)| opaque(&path[..at]))
    }

    pub(super) fn knows(&self, path: &str) -> bool {
        self.known.contains_key(path)
    }

    /// Whether it knows any path that begins with `stem`.
    pub(super) fn knows_below(&self, stem: &str) -> bool {
        self.from(Bound::Included(stem)).next().is_some_and(|(path, _)| path.starts_with(stem))
    }

    /// What stands directly below `stem`, which is empty or ends in `/`, and is not absent.
    pub(super) fn children<'a>(&'a self, stem: &'a str) -> impl Iterator<Item = (&'a str, Kind)> {
        let mut after = Bound::Included(stem.to_owned());
        std::iter::from_fn(move || {
            loop {
                let from = match &after {
                    Bound::Included(path) => Bound::Included(path.as_str()),
                    Bound::Excluded(path) => Bound::Excluded(path.as_str()),
                    Bound::Unbounded => Bound::Unbounded,
                };
                let (path, known) = self.from(from).next()?;
                let name = path.strip_prefix(stem)?;
                match name.split_once('/') {
                    // Everything below that directory is left out in one step: `0` is what comes after `/`.
                    Some((dir, _)) => after = Bound::Included(format!("{stem}{dir}0")),
                    None => {
                        after = Bound::Excluded(path.to_owned());
                        if known.now != Now::Absent {
                            return Some((name, Found::Layer(known.now.clone()).kind()));
                        }
                    }
                }
            }
        })
    }

    fn from<'a>(&'a self, start: Bound<&str>) -> impl Iterator<Item = (&'a str, &'a Known)> + use<'a> {
        self.known.range::<str, _>((start, Bound::Unbounded)).map(|(path, known)| (&**path, known))
    }

    pub(super) fn at_mut(&mut self, path: &str) -> Option<&mut Now> {
        self.known.get_mut(path).map(|known| &mut known.now)
    }

    /// Put something at `path`. `base` is what was below; what is known of that already stays.
    pub(super) fn put(&mut self, path: &str, base: Option<Node>, now: Now) {
        self.names_bytes += target_bytes(&now);
        match self.known.get_mut(path) {
            Some(known) => {
                self.names_bytes -= target_bytes(&known.now);
                known.now = now;
            }
            None => {
                self.names_bytes += path.len();
                self.known.insert(path.into(), Known { base, now });
            }
        }
    }

    /// Take away what is at `path`, and give it back. That there was something below is remembered.
    pub(super) fn remove(&mut self, path: &str) -> Option<Now> {
        let known = self.known.get_mut(path)?;
        self.names_bytes -= target_bytes(&known.now);
        if known.base.is_some() {
            return Some(std::mem::replace(&mut known.now, Now::Absent));
        }
        self.names_bytes -= path.len();
        self.known.remove(path).map(|known| known.now)
    }

    /// Whether everything that a rename moves may stand where it comes to stand, and the names that are new still fit.
    pub(super) fn may_move(&self, from: &str, to: &str, names_bytes_max: usize) -> io::Result<()> {
        let mut names_bytes = self.names_bytes;
        for path in self.moved(from) {
            names_bytes += path.len() + to.len() - from.len();
            if names_bytes > names_bytes_max {
                return Err(Errno::NOSPC.into());
            }
            let new = format!("{to}{}", &path[from.len()..]);
            if new.len() > PATH_BYTES_MAX {
                return Err(Errno::NAMETOOLONG.into());
            }
            match self.known.get(&*path).map(|known| &known.now) {
                Some(Now::Link { target, .. }) if !stays_inside(&new, target) => return Err(Errno::PERM.into()),
                _ => {}
            }
        }
        Ok(())
    }

    /// Give what is at `from`, with all below it, the name `to`. The caller has seen that this may be, that all of it is in the
    /// layer, and that what is replaced is known. Gives back what was at `to`.
    pub(super) fn rename(&mut self, from: &str, to: &str) -> Option<Now> {
        let replaced = self.remove(to);
        for path in self.moved(from) {
            let new = format!("{to}{}", &path[from.len()..]);
            match self.remove(&path) {
                // What was absent at the old place says nothing about the new one.
                Some(Now::Absent) | None => {}
                Some(now) => self.put(&new, None, now),
            }
        }
        replaced
    }

    /// The path itself and all known below it.
    fn moved(&self, from: &str) -> Vec<Box<str>> {
        let stem = format!("{from}/");
        let below = self.from(Bound::Included(&stem)).map(|(path, _)| path).take_while(|path| path.starts_with(&stem));
        std::iter::once(from).chain(below).map(Box::from).collect()
    }

    /// Whether another `bytes` may be copied.
    pub(super) fn may_copy(&self, bytes: u64, bytes_max: u64) -> io::Result<()> {
        if self.copied.saturating_add(bytes) > bytes_max { Err(Errno::NOSPC.into()) } else { Ok(()) }
    }

    pub(super) fn copied(&mut self, bytes: u64) {
        self.copied = self.copied.saturating_add(bytes);
    }

    /// Every known path: what was below, and what is there now.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, Option<&Node>, &Now)> {
        self.known.iter().map(|(path, known)| (&**path, known.base.as_ref(), &known.now))
    }

    /// What is known of something that has no file of its own.
    pub(super) fn stat(&self, now: &Now) -> Stat {
        let (kind, bytes, names, times, id) = match now {
            Now::Link { target, times, id } => (Kind::Link, target.len() as u64, 1, *times, *id),
            Now::Dir { times, id, .. } => (Kind::Dir, 0, 2, *times, *id),
            Now::File { number, .. } => (Kind::File, 0, 1, Times::default(), *number),
            Now::Absent => (Kind::Other, 0, 0, Times::default(), 0),
        };
        Stat {
            kind,
            bytes,
            names,
            accessed: times.accessed,
            modified: times.modified,
            changed: times.modified,
            identity: (self.device, IDS_FROM + id),
        }
    }

    /// The root, which is always the one below, with the times it was given here.
    pub(super) fn root_stat(&self, stat: Stat) -> Stat {
        let Times { accessed, modified } = self.root;
        Stat { accessed: accessed.or(stat.accessed), modified: modified.or(stat.modified), ..stat }
    }

    pub(super) fn set_root_times(&mut self, times: Times) {
        self.root = with(self.root, times);
    }
}

fn target_bytes(now: &Now) -> usize {
    match now {
        Now::Link { target, .. } => target.len(),
        _ => 0,
    }
}

/// `old`, with those times that `new` sets.
pub(super) fn with(old: Times, new: Times) -> Times {
    Times { accessed: new.accessed.or(old.accessed), modified: new.modified.or(old.modified) }
}

/// Both times at this moment.
pub(super) fn now() -> Times {
    let now = Some(SystemTime::now());
    Times { accessed: now, modified: now }
}
