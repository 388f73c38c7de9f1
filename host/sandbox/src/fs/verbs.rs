//! What can be done to a tree besides opening: each verb judges the canonical path, does one thing, and records what it saw
//! and changed. Standard interface and batched interface both come here.

use super::backing::{Entry, Kind, Near, Stat, Times};
use super::handle::{DirHandle, FileHandle, Files};
use super::plain::{stat_file, timestamps};
use super::seen::Seen;
use super::tree::{Last, PATH_BYTES_MAX, Refused, Target, Tree, is, stays_inside};
use rustix::io::Errno;
use std::io;
use std::sync::Arc;
use vespiary_kernel::sight::Sight;

/// The most one read gives, bytes.
const READ_BYTES_MAX: u64 = 1 << 20;

/// Room for a read where the file seems to end before it: it may have grown.
const READ_BYTES_MIN: u64 = 512;

impl Files {
    /// What is known of `path`.
    pub(crate) fn stat_at(&mut self, dir: &DirHandle, path: &str, last: Last) -> io::Result<Stat> {
        self.stat_near(dir, path, last, &mut Near::default())
    }

    /// The same for one of many paths of one tree, best with neighbours one after the other.
    pub(crate) fn stat_near(&mut self, dir: &DirHandle, path: &str, last: Last, near: &mut Near) -> io::Result<Stat> {
        let tree = &dir.tree;
        tree.at(&dir.path, path, last, &mut self.seen, |target, seen| {
            let sight = tree.look(&target.path)?;
            let stat = tree.explained(&target.path, tree.backing.stat_near(&target.path, near), seen)?;
            if stat.kind == Kind::Link && (last == Last::Follow || target.slash) {
                return Err(unfollowed());
            }
            note(tree, target, sight, &stat, seen)?;
            if target.slash && stat.kind != Kind::Dir {
                return Err(Errno::NOTDIR.into());
            }
            Ok(stat)
        })
    }

    /// What is known of an open directory.
    pub(crate) fn stat_dir(&mut self, dir: &DirHandle) -> io::Result<Stat> {
        self.stat_at(dir, ".", Last::Keep)
    }

    /// The entries of a directory that the cell may see.
    pub(crate) fn list(&mut self, dir: &DirHandle) -> io::Result<Vec<Entry>> {
        self.list_at(dir, ".")
    }

    /// The same of the directory at `path`, which is opened for nothing else.
    pub(crate) fn list_at(&mut self, dir: &DirHandle, path: &str) -> io::Result<Vec<Entry>> {
        let tree = &dir.tree;
        tree.at(&dir.path, path, Last::Keep, &mut self.seen, |target, seen| {
            let sight = tree.look(&target.path)?;
            let listed = shown_entries(tree, &target.path);
            if let Err(error) = &listed
                && is(error, Errno::NOTDIR)
                && let Ok(stat) = tree.backing.stat(&target.path)
            {
                // That something else is there is what the cell gets to know, if it may.
                note(tree, target, sight, &stat, seen)?;
            }
            let entries = tree.explained(&target.path, listed, seen)?;
            seen.listed(&tree.rules, &target.path, &entries);
            Ok(entries)
        })
    }

    pub(crate) fn make_dir(&mut self, dir: &DirHandle, path: &str) -> io::Result<()> {
        let (tree, spent) = (&dir.tree, Arc::clone(&self.spent));
        tree.at(&dir.path, path, Last::Name, &mut self.seen, |target, seen| {
            tree.may_change(&target.path)?;
            refuse_existing(tree, target, seen)?;
            spent.make()?;
            tree.backing.make_dir(&target.path).inspect_err(|_| spent.unmade())?;
            seen.made(&tree.rules, &target.path);
            Ok(())
        })
    }

    pub(crate) fn remove_file(&mut self, dir: &DirHandle, path: &str) -> io::Result<()> {
        let tree = &dir.tree;
        tree.at(&dir.path, path, Last::Name, &mut self.seen, |target, seen| {
            tree.may_change(&target.path)?;
            if target.slash {
                demand_dir(tree, target, seen)?;
                return Err(Errno::ISDIR.into());
            }
            tree.backing.remove_file(&target.path)?;
            seen.change(&tree.rules, &target.path);
            Ok(())
        })
    }

    pub(crate) fn remove_dir(&mut self, dir: &DirHandle, path: &str) -> io::Result<()> {
        let tree = &dir.tree;
        tree.at(&dir.path, path, Last::Name, &mut self.seen, |target, seen| {
            tree.may_change(&target.path)?;
            if target.dot {
                demand_dir(tree, target, seen)?;
                return Err(Errno::INVAL.into());
            }
            tree.backing.remove_dir(&target.path)?;
            seen.change_all_below(&tree.rules, &target.path);
            Ok(())
        })
    }

    pub(crate) fn rename(&mut self, from: (&DirHandle, &str), to: (&DirHandle, &str)) -> io::Result<()> {
        let tree = &from.0.tree;
        if !Arc::ptr_eq(tree, &to.0.tree) {
            return Err(Errno::XDEV.into());
        }
        tree.at_both((&from.0.path, from.1), (&to.0.path, to.1), &mut self.seen, |from, to, seen| {
            tree.may_change(&from.path)?;
            tree.may_change(&to.path)?;
            if from.dot || to.dot {
                return Err(Errno::BUSY.into());
            }
            // Whatever lies below must be judged at its new place as it was at the old one, whatever it is by then.
            if !tree.rules.even_below(&from.path) || !tree.rules.even_below(&to.path) {
                return Err(Errno::PERM.into());
            }
            if from.slash || to.slash {
                demand_dir(tree, from, seen)?;
            }
            refuse_leading_out(tree, from, to)?;
            tree.backing.rename(&from.path, &to.path)?;
            seen.change_all_below(&tree.rules, &from.path);
            seen.change_all_below(&tree.rules, &to.path);
            Ok(())
        })
    }

    /// Make a symbolic link at `path` that says `says`.
    pub(crate) fn make_link(&mut self, dir: &DirHandle, says: &str, path: &str) -> io::Result<()> {
        let (tree, spent) = (&dir.tree, Arc::clone(&self.spent));
        if says.len() > PATH_BYTES_MAX {
            return Err(Errno::NAMETOOLONG.into());
        }
        tree.at(&dir.path, path, Last::Name, &mut self.seen, |target, seen| {
            tree.may_change(&target.path)?;
            if says.is_empty() {
                return Err(Errno::NOENT.into());
            }
            if !stays_inside(&target.path, says) {
                return Err(Errno::PERM.into());
            }
            refuse_existing(tree, target, seen)?;
            if target.slash {
                return Err(Errno::NOENT.into());
            }
            spent.make()?;
            tree.backing.make_link(says, &target.path).inspect_err(|_| spent.unmade())?;
            seen.made(&tree.rules, &target.path);
            Ok(())
        })
    }

    /// What a symbolic link says; an absolute target is not told.
    pub(crate) fn read_link(&mut self, dir: &DirHandle, path: &str) -> io::Result<String> {
        let tree = &dir.tree;
        tree.at(&dir.path, path, Last::Keep, &mut self.seen, |target, seen| {
            tree.look(&target.path)?;
            if target.slash {
                demand_dir(tree, target, seen)?;
                return Err(Errno::INVAL.into());
            }
            let says = tree.read_link(&target.path, seen)?;
            if says.starts_with('/') { Err(Errno::PERM.into()) } else { Ok(says) }
        })
    }

    pub(crate) fn set_times_at(&mut self, dir: &DirHandle, path: &str, last: Last, times: Times) -> io::Result<()> {
        let tree = &dir.tree;
        tree.at(&dir.path, path, last, &mut self.seen, |target, seen| {
            tree.may_change(&target.path)?;
            let stat = tree.explained(&target.path, tree.backing.stat(&target.path), seen)?;
            if stat.kind == Kind::Link && (last == Last::Follow || target.slash) {
                return Err(unfollowed());
            }
            seen.found(&tree.rules, &target.path, &stat);
            if target.slash && stat.kind != Kind::Dir {
                return Err(Errno::NOTDIR.into());
            }
            Ok(tree.backing.set_times(&target.path, times)?)
        })
    }

    /// Up to `len` bytes at `offset`, and whether the file ends there.
    pub(crate) fn read(&mut self, handle: &mut FileHandle, len: u64, offset: u64) -> io::Result<(Vec<u8>, bool)> {
        let open = &handle.open;
        // One byte more than the file should have, so that its end shows in this read and not only in the next.
        let expected = open.bytes.saturating_sub(offset).saturating_add(1).max(READ_BYTES_MIN);
        let room = len.min(READ_BYTES_MAX).min(expected);
        let mut bytes = Vec::with_capacity(room as usize);
        let room = room as usize;
        if room == 0 {
            return Ok((bytes, false));
        }
        let read = rustix::io::pread(&open.file, rustix::buffer::spare_capacity(&mut bytes), offset)
            .inspect_err(|_| self.seen.missed())?;
        // Capacity may be more than was asked for; the length never is.
        let ended = read < room;
        bytes.truncate(room);
        if !handle.read_seen {
            handle.read_seen = true;
            let whole = (ended && offset == 0).then_some(&*bytes);
            self.seen.content(open, whole);
        }
        Ok((bytes, ended))
    }

    /// Write at `offset`. Bytes are counted before they are written, and a gap that is left counts as written.
    pub(crate) fn write(&mut self, handle: &mut FileHandle, bytes: &[u8], offset: u64) -> io::Result<u64> {
        self.changing(handle)?;
        let open = &handle.open;
        let gap = offset.saturating_sub(stat_file(&open.file)?.bytes);
        self.spent.write(gap.saturating_add(bytes.len() as u64))?;
        Ok(rustix::io::pwrite(&open.file, bytes, offset)? as u64)
    }

    /// Cut a file or fill it with zeroes; growing counts as writing.
    pub(crate) fn set_size(&mut self, handle: &mut FileHandle, bytes: u64) -> io::Result<()> {
        if handle.open.may_change && !handle.open.write {
            return Err(Errno::INVAL.into());
        }
        if i64::try_from(bytes).is_err() {
            return Err(Errno::INVAL.into());
        }
        self.changing(handle)?;
        let open = &handle.open;
        self.spent.write(bytes.saturating_sub(stat_file(&open.file)?.bytes))?;
        open.file.set_len(bytes)
    }

    pub(crate) fn set_times(&mut self, handle: &FileHandle, times: Times) -> io::Result<()> {
        if !handle.open.may_change {
            return Err(Errno::PERM.into());
        }
        Ok(rustix::fs::futimens(&handle.open.file, &timestamps(times))?)
    }

    /// Before the content of an open file changes: whether it may, and a note of how it was.
    pub(crate) fn changing(&mut self, handle: &mut FileHandle) -> io::Result<()> {
        let open = &handle.open;
        if !open.may_change {
            return Err(Errno::PERM.into());
        }
        if !open.write {
            return Err(Errno::BADF.into());
        }
        if !handle.changed {
            handle.changed = true;
            if open.read {
                self.seen.content(open, None);
            }
            self.seen.change(&open.tree.rules, &open.path);
        }
        Ok(())
    }
}

/// The entries of the directory at `path` that are shown under the rules of `tree`.
pub(crate) fn shown_entries(tree: &Tree, path: &str) -> io::Result<Vec<Entry>> {
    let sight = tree.look(path)?;
    let mut entries = tree.backing.list(path)?;
    let mut place = if path == "." { String::new() } else { format!("{path}/") };
    let stem = place.len();
    entries.retain(|entry| {
        // A name that is not UTF-8 can be granted by no rule of its own; where everything is shown, so is its trouble.
        let Some(name) = entry.name.to_str() else { return sight >= Sight::Read };
        place.truncate(stem);
        place.push_str(name);
        shown(tree.rules.sight(&place), entry.kind).is_ok()
    });
    Ok(entries)
}

/// Whether something of this kind is shown at a place of this sight; only directories are a passage.
fn shown(sight: Sight, kind: Kind) -> Result<(), Errno> {
    match sight {
        Sight::Read | Sight::Write => Ok(()),
        Sight::Passage if kind == Kind::Dir => Ok(()),
        Sight::Passage | Sight::Hidden => Err(Errno::NOENT),
        Sight::Outside => Err(Errno::PERM),
    }
}

/// The cell gets to know that this is there, if it may; where it may not, nothing is.
fn note(tree: &Tree, target: &Target, sight: Sight, stat: &Stat, seen: &mut Seen) -> Result<(), Errno> {
    match shown(sight, stat.kind) {
        Ok(()) => seen.found(&tree.rules, &target.path, stat),
        Err(refused) => {
            seen.absent(&tree.rules, &target.path);
            return Err(refused);
        }
    }
    Ok(())
}

/// A link that the walk had followed: somebody put it there meanwhile.
fn unfollowed() -> Refused {
    Refused::Met(Errno::LOOP.into())
}

/// Before something is made: that is not paid for where something is already.
fn refuse_existing(tree: &Tree, target: &Target, seen: &mut Seen) -> Result<(), Refused> {
    match tree.backing.stat(&target.path) {
        Ok(stat) => {
            seen.found(&tree.rules, &target.path, &stat);
            Err(Errno::EXIST.into())
        }
        // What has no other name than `.` cannot be made.
        Err(error) if is(&error, Errno::NOENT) && !target.dot => Ok(()),
        found => tree.explained(&target.path, found, seen).map(drop),
    }
}

fn demand_dir(tree: &Tree, target: &Target, seen: &mut Seen) -> Result<(), Refused> {
    let stat = tree.explained(&target.path, tree.backing.stat(&target.path), seen)?;
    match stat.kind {
        Kind::Dir => seen.found(&tree.rules, &target.path, &stat),
        // Whatever it is: it may be a thing that is not shown.
        _ => return Err(Refused::Met(Errno::NOTDIR.into())),
    }
    Ok(())
}

/// A link stays inside by its text (see `stays_inside`) where it was made, and must do so where it is moved. What follows links
/// below a granted directory is not always this host.
fn refuse_leading_out(tree: &Tree, from: &Target, to: &Target) -> Result<(), Refused> {
    // Where this cannot be told, the system refuses to move it for the same reason.
    if tree.backing.stat(&from.path).is_ok_and(|stat| stat.kind == Kind::Link) {
        let says = tree.backing.read_link(&from.path)?;
        if !says.to_str().is_some_and(|says| stays_inside(&to.path, says)) {
            return Err(Errno::PERM.into());
        }
    }
    Ok(())
}
