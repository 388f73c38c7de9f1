//! A directory of the host, as it is. Every path is opened beneath the root and through no link, by the kernel where it can and
//! name by name where it cannot.

use super::backing::{Backing, Content, Entry, Kind, Make, Near, Opening, Stat, Times};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, ResolveFlags, Timestamps};
use rustix::io::Errno;
use rustix::path::Arg;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Whatever is opened: not left to a program the host starts, never waited for, never a controlling terminal.
const ALWAYS: OFlags = OFlags::CLOEXEC.union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// A directory only to look below.
const PASSING: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// How much of a listing is asked for at once, bytes.
const LISTING_BYTES: usize = 16 << 10;

/// A directory of the host.
#[derive(Debug)]
pub(crate) struct Plain {
    root: OwnedFd,
    resolves: Resolves,
}

/// Who resolves a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Resolves {
    /// The kernel, in one call: openat2(2).
    Kernel,
    /// We do, name by name, since this kernel (or what confines us) has no openat2.
    NameByName,
}

impl Plain {
    /// The directory `root`, which stays open as long as this lives.
    pub(crate) fn new(root: OwnedFd) -> Self {
        let probe = rustix::fs::openat2(&root, ".", PASSING, Mode::empty(), beneath());
        let resolves = if probe.is_ok() { Resolves::Kernel } else { Resolves::NameByName };
        Self { root, resolves }
    }

    /// The same, resolved without the kernel's help.
    #[cfg(test)]
    pub(crate) fn name_by_name(root: OwnedFd) -> Self {
        Self { root, resolves: Resolves::NameByName }
    }

    fn open_beneath(&self, path: &str, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
        match self.resolves {
            Resolves::Kernel => rustix::fs::openat2(&self.root, path, flags, mode, beneath()),
            Resolves::NameByName => {
                let (dir, name) = self.above(path)?;
                rustix::fs::openat(&dir, name, flags | OFlags::NOFOLLOW, mode)
                    .map_err(|errno| link_or(errno, dir.as_fd(), name))
            }
        }
    }

    /// The directory in which the last name of `path` stands, and that name.
    fn above<'a>(&self, path: &'a str) -> Result<(Above<'_>, &'a str), Errno> {
        let Some((dir, name)) = path.rsplit_once('/') else { return Ok((Above::Root(self.root.as_fd()), path)) };
        match self.resolves {
            Resolves::Kernel => Ok((Above::Below(self.open_beneath(dir, PASSING, Mode::empty())?), name)),
            Resolves::NameByName => {
                let mut above = Above::Root(self.root.as_fd());
                for step in dir.split('/') {
                    above = Above::Below(enter(above.as_fd(), step)?);
                }
                Ok((above, name))
            }
        }
    }
}

/// The directory at `path`, only to look below: where a tree begins. The one path here that is not beneath a root, and no link is
/// followed on it either.
///
/// Fails with `ELOOP` where one stands on the way or at its end.
pub(crate) fn open_without_links(path: &Path) -> io::Result<OwnedFd> {
    let no_links = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(CWD, path, PASSING, Mode::empty(), no_links) {
        Err(errno) if errno != Errno::LOOP => Ok(open_name_by_name(path)?),
        opened => Ok(opened?),
    }
}

/// The same where the kernel has no openat2, or tells of another error, which this tells of as well.
fn open_name_by_name(path: &Path) -> Result<OwnedFd, Errno> {
    let begin = if path.is_absolute() { "/" } else { "." };
    let mut dir = rustix::fs::open(begin, PASSING, Mode::empty())?;
    for step in path.components().filter(|step| !matches!(step, Component::RootDir | Component::CurDir)) {
        dir = enter(dir.as_fd(), step.as_os_str())?;
    }
    Ok(dir)
}

fn beneath() -> ResolveFlags {
    ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS
}

fn enter(dir: BorrowedFd<'_>, name: impl Arg + Copy) -> Result<OwnedFd, Errno> {
    let opened = rustix::fs::openat(dir, name, PASSING | OFlags::NOFOLLOW, Mode::empty());
    opened.map_err(|errno| link_or(errno, dir, name))
}

/// A link that is not followed is no directory; what the caller needs to hear is that it is a link.
fn link_or(errno: Errno, dir: BorrowedFd<'_>, name: impl Arg) -> Errno {
    let is_link = errno == Errno::NOTDIR
        && rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink);
    if is_link { Errno::LOOP } else { errno }
}

/// A directory on the way, which is closed when this is dropped unless it is the root.
enum Above<'a> {
    Root(BorrowedFd<'a>),
    Below(OwnedFd),
}

impl AsFd for Above<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Root(fd) => *fd,
            Self::Below(fd) => fd.as_fd(),
        }
    }
}

impl Backing for Plain {
    fn stat(&self, path: &str) -> io::Result<Stat> {
        let stat = if path == "." {
            rustix::fs::fstat(&self.root)?
        } else {
            let (dir, name) = self.above(path)?;
            rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW)?
        };
        Ok(known(&stat))
    }

    fn stat_near(&self, path: &str, near: &mut Near) -> io::Result<Stat> {
        let Some((dir, name)) = path.rsplit_once('/') else { return self.stat(path) };
        let open = match near.0.take() {
            Some((last, open)) if last == dir => (last, open),
            _ => match self.above(path)?.0 {
                Above::Below(open) => (dir.to_owned(), open),
                Above::Root(_) => return self.stat(path),
            },
        };
        let stat = rustix::fs::statat(&open.1, name, AtFlags::SYMLINK_NOFOLLOW);
        near.0 = Some(open);
        Ok(known(&stat?))
    }

    fn open(&self, path: &str, opening: Opening) -> io::Result<File> {
        let access = match (opening.read, opening.write) {
            (_, false) => OFlags::RDONLY,
            (true, true) => OFlags::RDWR,
            (false, true) => OFlags::WRONLY,
        };
        let (flags, mode) = match opening.make {
            Make::Never => (access | ALWAYS, Mode::empty()),
            Make::New => (access | ALWAYS | OFlags::CREATE | OFlags::EXCL, Mode::from_raw_mode(0o666)),
        };
        // The content is the caller's to empty, whether it is needed or not.
        let (Content::Kept | Content::Unneeded) = opening.content;
        Ok(File::from(self.open_beneath(path, flags, mode)?))
    }

    fn list(&self, path: &str) -> io::Result<Vec<Entry>> {
        let dir = self.open_beneath(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let mut buffer = [const { MaybeUninit::uninit() }; LISTING_BYTES];
        let mut reading = RawDir::new(&dir, &mut buffer);
        let mut entries = Vec::new();
        while let Some(entry) = reading.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let kind = match entry.file_type() {
                // Some file systems do not tell in a listing. What is gone by now was there a moment ago.
                FileType::Unknown => rustix::fs::statat(&dir, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)
                    .map_or(Kind::Other, |stat| known(&stat).kind),
                told => kind(told),
            };
            entries.push(Entry { name: OsString::from_vec(name.to_vec()), kind });
        }
        Ok(entries)
    }

    fn make_dir(&self, path: &str) -> io::Result<()> {
        let (dir, name) = self.above(path)?;
        Ok(rustix::fs::mkdirat(&dir, name, Mode::from_raw_mode(0o777))?)
    }

    fn remove_file(&self, path: &str) -> io::Result<()> {
        let (dir, name) = self.above(path)?;
        Ok(rustix::fs::unlinkat(&dir, name, AtFlags::empty())?)
    }

    fn remove_dir(&self, path: &str) -> io::Result<()> {
        let (dir, name) = self.above(path)?;
        Ok(rustix::fs::unlinkat(&dir, name, AtFlags::REMOVEDIR)?)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let (from_dir, from_name) = self.above(from)?;
        let (to_dir, to_name) = self.above(to)?;
        Ok(rustix::fs::renameat(&from_dir, from_name, &to_dir, to_name)?)
    }

    fn make_link(&self, target: &str, path: &str) -> io::Result<()> {
        let (dir, name) = self.above(path)?;
        Ok(rustix::fs::symlinkat(target, &dir, name)?)
    }

    fn read_link(&self, path: &str) -> io::Result<OsString> {
        let (dir, name) = self.above(path)?;
        let target = rustix::fs::readlinkat(&dir, name, Vec::new())?;
        Ok(std::ffi::OsStr::from_bytes(target.to_bytes()).to_owned())
    }

    fn set_times(&self, path: &str, times: Times) -> io::Result<()> {
        let (dir, name) = self.above(path)?;
        Ok(rustix::fs::utimensat(&dir, name, &timestamps(times), AtFlags::SYMLINK_NOFOLLOW)?)
    }
}

/// What is known of an open file or directory.
pub(crate) fn stat_file(file: &impl AsFd) -> io::Result<Stat> {
    Ok(known(&rustix::fs::fstat(file)?))
}

/// Times as the kernel takes them.
pub(crate) fn timestamps(times: Times) -> Timestamps {
    let spec = |time: Option<SystemTime>| match time {
        None => rustix::fs::Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT },
        Some(time) => match time.duration_since(UNIX_EPOCH) {
            Ok(since) => rustix::fs::Timespec {
                tv_sec: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: since.subsec_nanos().into(),
            },
            // Before 1970 counts downwards in whole seconds and upwards within one.
            Err(before) => {
                let before = before.duration();
                let whole = before.as_secs() + u64::from(before.subsec_nanos() > 0);
                let part = (1_000_000_000 - before.subsec_nanos()) % 1_000_000_000;
                rustix::fs::Timespec {
                    tv_sec: i64::try_from(whole).map_or(i64::MIN, |whole| -whole),
                    tv_nsec: part.into(),
                }
            }
        },
    };
    Timestamps { last_access: spec(times.accessed), last_modification: spec(times.modified) }
}

fn known(stat: &rustix::fs::Stat) -> Stat {
    Stat {
        kind: kind(FileType::from_raw_mode(stat.st_mode)),
        bytes: u64::try_from(stat.st_size).unwrap_or(0),
        #[allow(clippy::unnecessary_cast, reason = "its width differs from machine to machine")]
        names: stat.st_nlink as u64,
        accessed: moment(stat.st_atime, stat.st_atime_nsec),
        modified: moment(stat.st_mtime, stat.st_mtime_nsec),
        changed: moment(stat.st_ctime, stat.st_ctime_nsec),
        identity: (stat.st_dev, stat.st_ino),
    }
}

#[allow(clippy::unnecessary_fallible_conversions, reason = "the widths differ from machine to machine")]
fn moment(seconds: impl TryInto<i64>, nanoseconds: impl TryInto<u32>) -> Option<SystemTime> {
    let (seconds, part) = (seconds.try_into().ok()?, Duration::new(0, nanoseconds.try_into().ok()?));
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let base = if seconds < 0 { UNIX_EPOCH.checked_sub(whole)? } else { UNIX_EPOCH.checked_add(whole)? };
    base.checked_add(part)
}

fn kind(file_type: FileType) -> Kind {
    match file_type {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Dir,
        FileType::Symlink => Kind::Link,
        FileType::BlockDevice => Kind::BlockDevice,
        FileType::CharacterDevice => Kind::CharDevice,
        FileType::Fifo | FileType::Socket | FileType::Unknown => Kind::Other,
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests make their own files")]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_root_is_reached_through_no_link_however_it_is_resolved() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().canonicalize().unwrap();
        std::fs::create_dir_all(dir.join("a/b")).unwrap();
        std::fs::write(dir.join("a/file"), "").unwrap();
        symlink("a", dir.join("link")).unwrap();
        symlink("b", dir.join("a/end")).unwrap();
        symlink("file", dir.join("a/single")).unwrap();
        let ways: [fn(&Path) -> io::Result<OwnedFd>; 2] = [open_without_links, |path| Ok(open_name_by_name(path)?)];
        for open in ways {
            let identity = |path: &Path| open(path).and_then(|dir| stat_file(&dir)).map(|stat| stat.identity);
            let errno = |path: &str| Errno::from_io_error(&open(&dir.join(path)).unwrap_err()).unwrap();
            for path in ["link", "link/b", "a/end", "a/single", "link/none"] {
                assert_eq!(errno(path), Errno::LOOP, "{path}");
            }
            assert_eq!(
                (errno("a/none"), errno("a/file"), errno("a/file/x")),
                (Errno::NOENT, Errno::NOTDIR, Errno::NOTDIR)
            );
            let b = Plain::new(File::open(&dir).unwrap().into()).stat("a/b").unwrap().identity;
            assert_eq!(identity(&dir.join("a/b")).unwrap(), b);
            assert_eq!(identity(&dir.join("a/../a/./b/")).unwrap(), b);
            identity(Path::new("/")).unwrap();
            identity(Path::new(".")).unwrap();
        }
    }
}
