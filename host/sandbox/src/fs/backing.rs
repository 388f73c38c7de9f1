//! What lies under a tree: the few operations everything else here is built from. An implementation is given canonical paths
//! only, follows no symbolic link, and decides nothing: what a cell may see and change was judged before it is asked.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::time::SystemTime;

/// Files and directories below one root.
///
/// A path is relative to that root: names joined by `/`, with no empty name, no `.`, no `..` and no trailing slash; the root
/// itself is `.`. No link is ever followed, neither in the middle nor at the end: an operation whose path passes through a
/// symbolic link fails with `ELOOP`, and so does opening one. That is what makes it safe to judge a path first and to use
/// it afterwards, since whoever swaps a directory for a link in between gets an error.
///
/// Errors are the operating system's own (`io::Error::raw_os_error` is kept), because guests are told them one for one:
/// `ENOENT` for what is not there, `ENOTDIR` for a path through a file, `EEXIST`, `EISDIR`, `ENOTEMPTY` and so on.
///
/// No operation waits: a FIFO or a device is opened without blocking, and the caller looks at what was opened before it
/// is used.
pub(crate) trait Backing: fmt::Debug + Send + Sync {
    /// What is there; of a symbolic link, the link.
    fn stat(&self, path: &str) -> io::Result<Stat>;

    /// The same for one of many paths, best with neighbours one after the other: the directory of the last one may stay open in `near`,
    /// which is for one backing only and not kept for longer than one look at all of them.
    fn stat_near(&self, path: &str, _near: &mut Near) -> io::Result<Stat> {
        self.stat(path)
    }

    /// Open what is there, or make a regular file. A directory may be opened for reading too, and is then only good for
    /// looking at and syncing.
    ///
    /// Fails with `ELOOP` for a symbolic link, `ENXIO` or success for special files (the caller refuses those), `EEXIST` where
    /// `make` is `New` and something is there, `EISDIR` for a directory opened for writing.
    fn open(&self, path: &str, opening: Opening) -> io::Result<File>;

    /// The entries of a directory, `.` and `..` left out, in any order.
    fn list(&self, path: &str) -> io::Result<Vec<Entry>>;

    /// Make a directory.
    fn make_dir(&self, path: &str) -> io::Result<()>;

    /// Remove anything but a directory (`EISDIR`).
    fn remove_file(&self, path: &str) -> io::Result<()>;

    /// Remove an empty directory (`ENOTDIR`, `ENOTEMPTY`).
    fn remove_dir(&self, path: &str) -> io::Result<()>;

    /// Give what is at `from` the name `to`, replacing what rename(2) replaces.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Make a symbolic link that says `target`, whatever that is: the caller has judged it.
    fn make_link(&self, target: &str, path: &str) -> io::Result<()>;

    /// What a symbolic link says. Fails with `EINVAL` for anything else.
    fn read_link(&self, path: &str) -> io::Result<OsString>;

    /// Set the times of what is there; of a symbolic link, the link's.
    fn set_times(&self, path: &str, times: Times) -> io::Result<()>;
}

/// The directory in which the last path stood.
#[derive(Debug, Default)]
pub(crate) struct Near(pub(crate) Option<(String, OwnedFd)>);

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Opening {
    /// For reading. Neither reading nor writing means reading.
    pub(crate) read: bool,
    /// For writing.
    pub(crate) write: bool,
    /// Whether it is made.
    pub(crate) make: Make,
    /// What becomes of the content that is there.
    pub(crate) content: Content,
}

impl Opening {
    /// What is there, for reading.
    pub(crate) const READ: Self = Self { read: true, write: false, make: Make::Never, content: Content::Kept };
}

/// Whether opening may make a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Make {
    /// Open what is there.
    Never,
    /// Make a file where nothing is, and nothing else.
    New,
}

/// What becomes of a file's content once it is open for writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// It is still needed.
    Kept,
    /// The caller empties the file next, after looking at what was opened. A backing must not empty it itself; one that copies
    /// may leave the copying out.
    Unneeded,
}

/// What kind of thing a name leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Link,
    /// A block device.
    BlockDevice,
    /// A character device.
    CharDevice,
    /// A FIFO, a socket, or what this machine does not tell.
    Other,
}

/// What is known of a file, directory or link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) kind: Kind,
    /// Bytes; of a symbolic link, the length of what it says.
    pub(crate) bytes: u64,
    /// Names it has in the file system.
    pub(crate) names: u64,
    pub(crate) accessed: Option<SystemTime>,
    pub(crate) modified: Option<SystemTime>,
    pub(crate) changed: Option<SystemTime>,
    /// Which file it is, whatever it is called: device and inode.
    pub(crate) identity: (u64, u64),
}

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// As the file system spells it; not always UTF-8.
    pub(crate) name: OsString,
    /// Of a symbolic link, the link.
    pub(crate) kind: Kind,
}

/// Times to set; `None` leaves one as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Times {
    pub(crate) accessed: Option<SystemTime>,
    pub(crate) modified: Option<SystemTime>,
}
