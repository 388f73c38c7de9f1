//! Opening a path: judged, opened without waiting, looked at, and only then handed out.

use super::backing::{Content, Kind, Make, Opening};
use super::handle::{DirHandle, FileHandle, Files, Handle, OpenFile};
use super::limits::Spent;
use super::plain::stat_file;
use super::seen::Seen;
use super::tree::{Last, Refused, Target, Tree, is};
use crate::known::Glimpse;
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::sync::Arc;
use vespiary_kernel::sight::Sight;

/// Attempts to make a file that somebody else makes and removes at the same time.
const ATTEMPTS: usize = 8;

/// What a guest asks for when it opens a path.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wanted {
    pub(crate) read: bool,
    pub(crate) write: bool,
    pub(crate) create: bool,
    pub(crate) exclusive: bool,
    pub(crate) truncate: bool,
    pub(crate) directory: bool,
}

impl Wanted {
    /// Open what is there, for reading.
    pub(crate) const READ: Self =
        Self { read: true, write: false, create: false, exclusive: false, truncate: false, directory: false };
}

/// What was opened, and whether it was there before.
struct Opened {
    file: File,
    made: bool,
}

impl Files {
    /// Open `path`, taken from `dir`.
    pub(crate) fn open_at(&mut self, dir: &DirHandle, path: &str, last: Last, wanted: Wanted) -> io::Result<Handle> {
        let changes = wanted.create || wanted.exclusive || wanted.truncate;
        if wanted.directory && changes {
            return Err(Errno::INVAL.into());
        }
        // A file that is made or emptied is open for writing, whatever else was asked for.
        let write = wanted.write || wanted.create || wanted.truncate;
        let wanted = Wanted { read: wanted.read || !wanted.write, write, ..wanted };
        // Making a file and nothing else means the name itself, also where a link has it.
        let last = if wanted.create && wanted.exclusive { Last::Name } else { last };
        let Self { spent, seen, .. } = self;
        dir.tree.at(&dir.path, path, last, seen, |target, seen| {
            let tree = &dir.tree;
            let sight = if write {
                tree.may_change(&target.path)?;
                Sight::Write
            } else {
                tree.look(&target.path)?
            };
            let held = spent.open()?;
            if write && !wanted.create && (target.slash || wanted.directory) {
                return Err(never_written(tree, target, seen));
            }
            let opened = tree.explained(&target.path, open_or_make(tree, target, wanted, spent), seen)?;
            let stat = stat_file(&opened.file)?;
            if stat.kind == Kind::Dir {
                seen.found(&tree.rules, &target.path, &stat);
                let path = Arc::from(&*target.path);
                return Ok(Handle::Dir(DirHandle { tree: Arc::clone(tree), path, mutate: false }));
            }
            if sight == Sight::Passage {
                seen.absent(&tree.rules, &target.path);
                return Err(Errno::NOENT.into());
            }
            if !opened.made {
                seen.found(&tree.rules, &target.path, &stat);
            }
            if wanted.directory || target.slash {
                return Err(Errno::NOTDIR.into());
            }
            if stat.kind != Kind::File || (write && stat.names > 1) {
                // A FIFO, socket or device: reading it could wait for ever, and writing it is not writing to the tree. A file
                // with a second name: that name may lie outside.
                return Err(Errno::PERM.into());
            }
            let empties = wanted.truncate && stat.bytes > 0;
            if empties {
                opened.file.set_len(0)?;
            }
            if opened.made {
                seen.made(&tree.rules, &target.path);
            } else if empties {
                seen.change(&tree.rules, &target.path);
            }
            let open = OpenFile {
                file: opened.file,
                tree: Arc::clone(tree),
                path: Box::from(&*target.path),
                read: wanted.read,
                write,
                may_change: sight == Sight::Write,
                bytes: if empties { 0 } else { stat.bytes },
                glimpse: Glimpse::of(&stat),
                _held: held,
            };
            let changed = opened.made || empties;
            Ok(Handle::File(FileHandle { open: Arc::new(open), read_seen: false, changed }))
        })
    }
}

/// Only a directory would do, and it is to be written or emptied, which no directory can be. Told without opening anything: what is
/// opened for writing in a worktree is copied first, and only the length of it where it is to be emptied.
fn never_written(tree: &Tree, target: &Target, seen: &mut Seen) -> Refused {
    match tree.explained(&target.path, tree.backing.stat(&target.path), seen) {
        Err(refused) => refused,
        Ok(stat) => {
            seen.found(&tree.rules, &target.path, &stat);
            match stat.kind {
                Kind::Dir => Errno::ISDIR.into(),
                Kind::Link => Errno::LOOP.into(),
                _ => Errno::NOTDIR.into(),
            }
        }
    }
}

/// Open what is there, or make a file where nothing is, which is paid for first.
fn open_or_make(tree: &Tree, target: &Target, wanted: Wanted, spent: &Spent) -> io::Result<Opened> {
    // Nothing but the kind of what is opened can still be in the way, and what is no file has no content.
    let content = if wanted.truncate { Content::Unneeded } else { Content::Kept };
    let opening = Opening { read: wanted.read, write: wanted.write, make: Make::Never, content };
    let new = Opening { make: Make::New, ..opening };
    let there = |result: &io::Result<File>, errno: Errno| result.as_ref().is_err_and(|error| is(error, errno));
    if !wanted.create {
        return Ok(Opened { file: tree.backing.open(&target.path, opening)?, made: false });
    }
    if target.dot {
        // Only a directory has such a name, and it has it already.
        return Err(match tree.backing.stat(&target.path)?.kind {
            Kind::Dir if wanted.exclusive => Errno::EXIST.into(),
            Kind::Dir => Errno::ISDIR.into(),
            Kind::Link => Errno::LOOP.into(),
            _ => Errno::NOTDIR.into(),
        });
    }
    if target.slash {
        let above = target.path.rsplit_once('/').map_or(".", |(above, _)| above);
        return Err(match tree.backing.stat(above)?.kind {
            Kind::Dir => Errno::ISDIR.into(),
            Kind::Link => Errno::LOOP.into(),
            _ => Errno::NOTDIR.into(),
        });
    }
    for _ in 0..ATTEMPTS {
        if wanted.exclusive {
            match tree.backing.stat(&target.path) {
                Ok(_) => return Err(Errno::EXIST.into()),
                Err(error) if is(&error, Errno::NOENT) => {}
                Err(error) => return Err(error),
            }
        } else {
            let opened = tree.backing.open(&target.path, opening);
            if !there(&opened, Errno::NOENT) {
                return Ok(Opened { file: opened?, made: false });
            }
        }
        spent.make()?;
        let made = tree.backing.open(&target.path, new).inspect_err(|_| spent.unmade());
        // Somebody was quicker: what they made is there to be opened now.
        if wanted.exclusive || !there(&made, Errno::EXIST) {
            return Ok(Opened { file: made?, made: true });
        }
    }
    Err(Errno::BUSY.into())
}
