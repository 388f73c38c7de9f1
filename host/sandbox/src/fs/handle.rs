//! What a guest holds: descriptors of files and directories, and the listings it reads. And what the cell keeps for all of
//! them: what is granted, what was spent, what was seen.

use super::backing::{Entry, Opening};
use super::limits::{Held, Spent};
use super::plain::stat_file;
use super::seen::Seen;
use super::tree::Tree;
use crate::known::Glimpse;
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex};
use std::vec;
use vespiary_kernel::account::Account;
use vespiary_kernel::observed::ReadSet;
use vespiary_kernel::quota::{LimitHit, Quota};
use vespiary_kernel::sight::Sight;

/// What one cell keeps about files.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) granted: Arc<Granted>,
    pub(crate) spent: Arc<Spent>,
    pub(crate) seen: Seen,
}

/// The trees that are granted, and where the guest enters them. Kept open from call to call.
#[derive(Debug, Default)]
pub(crate) struct Granted {
    pub(crate) preopens: Vec<Preopen>,
}

/// One granted directory or file, and the name the guest knows it by.
#[derive(Debug, Clone)]
pub(crate) struct Preopen {
    pub(crate) name: String,
    pub(crate) tree: Arc<Tree>,
    /// Canonical, relative to the tree.
    pub(crate) path: Arc<str>,
    pub(crate) is_dir: bool,
}

#[cfg(test)]
impl Default for Files {
    fn default() -> Self {
        let quota = Quota::default();
        Self::new(Arc::default(), &Account::alone(&quota), &quota, Seen::default())
    }
}

impl Files {
    pub(crate) fn new(granted: Arc<Granted>, account: &Arc<Account>, quota: &Quota, seen: Seen) -> Self {
        Self { granted, spent: Spent::new(account, quota), seen }
    }

    /// Everything the cell saw. Empties the record.
    pub(crate) fn observations(&mut self) -> ReadSet {
        if self.spent.refusal().is_some() {
            // How much was left is nothing that was seen.
            self.seen.missed();
        }
        self.seen.take()
    }

    /// The limit on files that was met first, if one was.
    pub(crate) fn refusal(&self) -> Option<LimitHit> {
        self.spent.refusal()
    }

    /// The descriptors a guest begins with. A granted file that has gone meanwhile is left out.
    pub(crate) fn preopened(&mut self) -> Vec<(Handle, String)> {
        let granted = Arc::clone(&self.granted);
        let open = |preopen: &Preopen| {
            let handle = if preopen.is_dir {
                let mutate = preopen.tree.rules.sight(&preopen.path) == Sight::Write;
                Handle::Dir(DirHandle { tree: Arc::clone(&preopen.tree), path: Arc::clone(&preopen.path), mutate })
            } else {
                self.single_file(preopen).inspect_err(|_| self.seen.missed()).ok()?
            };
            Some((handle, preopen.name.clone()))
        };
        granted.preopens.iter().filter_map(open).collect()
    }

    /// A file granted by its own name: for writing, too, where that is granted and the file has no other name.
    fn single_file(&mut self, preopen: &Preopen) -> io::Result<Handle> {
        let Preopen { tree, path, .. } = preopen;
        let write = match tree.rules.sight(path) {
            Sight::Write => tree.backing.stat(path)?.names == 1,
            Sight::Read => false,
            Sight::Outside | Sight::Hidden | Sight::Passage => return Err(Errno::NOENT.into()),
        };
        let held = self.spent.open()?;
        let file = tree.backing.open(path, Opening { write, ..Opening::READ })?;
        let stat = stat_file(&file)?;
        if stat.kind != super::backing::Kind::File || (write && stat.names > 1) {
            return Err(Errno::PERM.into());
        }
        self.seen.found(&tree.rules, path, &stat);
        Ok(Handle::File(FileHandle {
            open: Arc::new(OpenFile {
                file,
                tree: Arc::clone(tree),
                path: Box::from(&**path),
                read: true,
                write,
                may_change: write,
                bytes: stat.bytes,
                glimpse: Glimpse::of(&stat),
                _held: held,
            }),
            read_seen: false,
            changed: false,
        }))
    }
}

/// What a descriptor in the table is.
#[derive(Debug)]
pub(crate) enum Handle {
    Dir(DirHandle),
    File(FileHandle),
}

/// A directory: a place in a tree, which holds nothing open.
#[derive(Debug, Clone)]
pub(crate) struct DirHandle {
    pub(crate) tree: Arc<Tree>,
    pub(crate) path: Arc<str>,
    /// Whether the guest is told that it may change entries.
    pub(crate) mutate: bool,
}

/// An open file, as one descriptor knows it.
#[derive(Debug)]
pub(crate) struct FileHandle {
    pub(crate) open: Arc<OpenFile>,
    /// The content was recorded as read.
    pub(crate) read_seen: bool,
    /// The path was recorded as changed.
    pub(crate) changed: bool,
}

/// An open file. Streams share it.
#[derive(Debug)]
pub(crate) struct OpenFile {
    pub(crate) file: File,
    pub(crate) tree: Arc<Tree>,
    pub(crate) path: Box<str>,
    pub(crate) read: bool,
    pub(crate) write: bool,
    /// Whether the path may be changed, however the file was opened.
    pub(crate) may_change: bool,
    /// Its length when it was opened.
    pub(crate) bytes: u64,
    /// What it was when it was opened.
    pub(crate) glimpse: Glimpse,
    pub(crate) _held: Held,
}

impl Handle {
    pub(crate) fn dir(&self) -> io::Result<&DirHandle> {
        match self {
            Self::Dir(dir) => Ok(dir),
            Self::File(_) => Err(Errno::NOTDIR.into()),
        }
    }

    pub(crate) fn file_mut(&mut self) -> io::Result<&mut FileHandle> {
        match self {
            Self::File(file) => Ok(file),
            Self::Dir(_) => Err(Errno::BADF.into()),
        }
    }
}

/// A listing under way. The lock is never waited for: the table hands out shared references only.
#[derive(Debug)]
pub(crate) struct Listing {
    pub(crate) entries: Mutex<vec::IntoIter<Entry>>,
    pub(crate) _held: Held,
}
