//! Files, as pleasant as `std::fs`: over `wasi:filesystem` in a cell, over `std::fs` natively. What lives here: the verbs
//! and their errors. What must never live here: host calls; those are in `cell.rs` and `native.rs`.
//!
//! Paths use `/`, are relative to the project root or absolute, and never contain `..`. A path is looked up in the longest
//! preopen (granted directory) that covers it. Natively the project root is the process's current directory, unless
//! [`set_root`] says otherwise.
//!
//! Errors are [`io::Error`]s of a fitting kind. They name the path, and where nothing granted covers it they say what the
//! cell holds. `?` turns them into [`crate::Error`], keeping `NotFound` and `Denied` apart.

mod dir;
mod error;
mod file;
mod path;

#[cfg(target_family = "wasm")]
#[path = "cell.rs"]
mod backend;
#[cfg(not(target_family = "wasm"))]
#[path = "native.rs"]
mod backend;

#[cfg(not(target_family = "wasm"))]
pub use backend::set_root;
pub use dir::{Dir, DirEntry, ReadDir};
pub(crate) use error::denial;
pub use file::{File, Size};
pub use path::clean;

use error::Context;
#[cfg(feature = "walk")]
pub(crate) use path::join;
use path::{Located, locate};
use std::io;
use std::path::Path;
use std::time::SystemTime;

/// What a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FileType {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink,
    /// A device, pipe or socket, or a kind the host does not tell.
    Other,
}

impl FileType {
    /// Whether it is a regular file.
    pub fn is_file(self) -> bool {
        self == Self::File
    }

    /// Whether it is a directory.
    pub fn is_dir(self) -> bool {
        self == Self::Dir
    }

    /// Whether it is a symbolic link.
    pub fn is_symlink(self) -> bool {
        self == Self::Symlink
    }
}

/// What is known of a file without opening it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    file_type: FileType,
    len: u64,
    modified: Option<SystemTime>,
}

impl Metadata {
    /// What kind of thing it is.
    pub fn file_type(&self) -> FileType {
        self.file_type
    }

    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        self.file_type.is_file()
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.file_type.is_dir()
    }

    /// Whether it is a symbolic link; only [`symlink_metadata`] gives that.
    pub fn is_symlink(&self) -> bool {
        self.file_type.is_symlink()
    }

    /// Size in bytes.
    // A size of zero says nothing about a directory, so there is no `is_empty`.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// When the content was last changed, where the host tells.
    pub fn modified(&self) -> Option<SystemTime> {
        self.modified
    }
}

/// Reads a whole file.
///
/// # Errors
/// The file is missing, is a directory, is not granted, or cannot be read.
pub fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.read_whole(&mut bytes, u64::MAX)?;
    Ok(bytes)
}

/// Reads a whole file of UTF-8 text.
///
/// # Errors
/// Those of [`read`]; [`io::ErrorKind::InvalidData`] where the content is not UTF-8.
pub fn read_to_string(path: impl AsRef<Path>) -> io::Result<String> {
    let path = path.as_ref();
    String::from_utf8(read(path)?).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let cause = io::Error::new(io::ErrorKind::InvalidData, format!("not UTF-8 text: byte {at} does not fit"));
        error::at("read", &path.to_string_lossy(), cause)
    })
}

/// Reads many files at once, each from its beginning up to `limit` bytes, and says of each whether there was more. Much cheaper
/// in a cell than as many calls of [`read`]. Answers are in the order of `paths`; a file that cannot be read is an error
/// among them. A symbolic link as the last name of a path is not followed.
pub fn read_many(paths: &[String], limit: u64) -> Vec<io::Result<(Vec<u8>, Size)>> {
    let size = |whole| if whole { Size::Whole } else { Size::CutOff };
    let contents = backend::read_many(paths, limit).into_iter().zip(paths);
    contents.map(|(read, path)| read.map(|(bytes, whole)| (bytes, size(whole))).context("read", path)).collect()
}

/// Tells how long many regular files are, bytes. Much cheaper in a cell than as many calls of [`metadata`], and quickest where neighbours
/// follow each other. Answers are in the order of `paths`; what is no file any more, or cannot be looked at, is an error among them. A
/// symbolic link as the last name of a path is not followed.
#[cfg(feature = "walk")]
pub fn lengths(paths: &[String]) -> Vec<io::Result<u64>> {
    let lengths = backend::lengths(paths).into_iter().zip(paths);
    lengths.map(|(length, path)| length.context("look at", path)).collect()
}

/// The entries of a directory, in no particular order, and how many more have names that are not UTF-8.
#[cfg(feature = "walk")]
pub(crate) fn list(path: &str) -> io::Result<(Vec<(String, FileType)>, usize)> {
    backend::list(path).context("list", path)
}

/// Makes a file's whole content these bytes, creating the file where it is missing.
///
/// # Errors
/// The directory is missing, writing is not granted, or the host stops the write. A write that fails half-way leaves what
/// was written until then.
pub fn write(path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> io::Result<()> {
    File::create(path)?.write_all_at(bytes.as_ref(), 0)
}

/// Adds bytes to the end of a file, creating it where it is missing.
///
/// # Errors
/// Those of [`write()`].
pub fn append(path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> io::Result<()> {
    let file = File::open_with(path.as_ref(), backend::Open::Append)?;
    let end = file.metadata()?.len();
    file.write_all_at(bytes.as_ref(), end)
}

/// The entries of a directory, in no particular order. A name that is not UTF-8, or an entry that cannot be looked at, is
/// an `Err` among them and does not end the iteration.
///
/// # Errors
/// The directory is missing, is no directory, or is not granted.
pub fn read_dir(path: impl AsRef<Path>) -> io::Result<ReadDir> {
    Dir::open(path)?.entries()
}

/// What is known of the thing a path leads to, symbolic links followed.
///
/// # Errors
/// Nothing is there, or it is not granted.
pub fn metadata(path: impl AsRef<Path>) -> io::Result<Metadata> {
    let at = locate(path.as_ref())?;
    at.base.stat_at(&at.inner, backend::Links::Follow).context("look at", &at.path)
}

/// What is known of the thing a path names, a symbolic link not followed.
///
/// # Errors
/// Nothing is there, or it is not granted.
pub fn symlink_metadata(path: impl AsRef<Path>) -> io::Result<Metadata> {
    let at = locate(path.as_ref())?;
    at.base.stat_at(&at.inner, backend::Links::Keep).context("look at", &at.path)
}

/// What a symbolic link says. Where it leads is not looked at.
///
/// # Errors
/// Nothing is there, it is no symbolic link, it is not granted, or the host does not tell (some refuse absolute targets).
pub fn read_link(path: impl AsRef<Path>) -> io::Result<String> {
    let at = locate(path.as_ref())?;
    at.base.read_link_at(&at.inner).context("read the link", &at.path)
}

/// Creates a directory and those above it. One that exists already is no error.
///
/// # Errors
/// Something else than a directory is in the way, or writing is not granted.
pub fn create_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
    let at = locate(path.as_ref())?;
    let ends = at.inner.match_indices('/').map(|(end, _)| end).chain([at.inner.len()]);
    for step in ends.map(|end| &at.inner[..end]).filter(|step| *step != ".") {
        let Err(error) = at.base.create_dir_at(step) else { continue };
        // Some hosts answer "not permitted" before "exists", so what is there decides.
        let there = at.base.stat_at(step, backend::Links::Follow);
        if !there.is_ok_and(|there| there.is_dir()) {
            return Err(error).context("create the directory", &at.path);
        }
    }
    Ok(())
}

/// Removes a file or a symbolic link.
///
/// # Errors
/// It is missing, is a directory, or writing is not granted.
pub fn remove_file(path: impl AsRef<Path>) -> io::Result<()> {
    let at = locate(path.as_ref())?;
    at.base.remove_file_at(&at.inner).context("remove", &at.path)
}

/// Removes an empty directory.
///
/// # Errors
/// It is missing, is no directory, has entries, or writing is not granted.
pub fn remove_dir(path: impl AsRef<Path>) -> io::Result<()> {
    let at = locate(path.as_ref())?;
    at.base.remove_dir_at(&at.inner).context("remove", &at.path)
}

/// Gives a file or directory another name, replacing a file that has it.
///
/// # Errors
/// `from` is missing, or writing is not granted at both places.
pub fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
    let from: Located = locate(from.as_ref())?;
    let to = locate(to.as_ref())?;
    from.base.rename_at(&from.inner, to.base, &to.inner).context(format_args!("rename to {}", to.path), &from.path)
}

/// The paths of the directories this cell was granted; natively `.` and `/`.
pub fn preopens() -> Vec<String> {
    backend::preopens().iter().map(|preopen| preopen.name.clone()).collect()
}

#[cfg(test)]
mod tests;
