//! Files natively, over `std::fs`, for unit tests and for comparing a plugin with itself outside a cell. What must never
//! live here: confinement; there is no cell to keep closed.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "this is the file that stands in for a cell")]

use super::{FileType, Metadata};
use std::cell::Cell;
use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

pub(super) struct Preopen {
    pub(super) name: String,
    pub(super) handle: Handle,
}

impl Preopen {
    pub(super) fn capability(&self) -> String {
        format!("write:{}", self.name)
    }
}

thread_local! {
    static PREOPENS: Cell<&'static [Preopen]> = Cell::new(rooted_at(Path::new(".")));
}

pub(super) fn preopens() -> &'static [Preopen] {
    PREOPENS.get()
}

/// Makes `root` the project root for paths used on this thread from now on. Native only, for tests.
pub fn set_root(root: impl AsRef<Path>) {
    PREOPENS.set(rooted_at(root.as_ref()));
}

/// Leaks two small values: handles outlive every borrow, as they do in a cell.
fn rooted_at(root: &Path) -> &'static [Preopen] {
    let preopen = |name: &str, path: &Path| Preopen { name: name.to_owned(), handle: Handle::dir(path.to_owned()) };
    Box::leak(Box::new([preopen(".", root), preopen("/", Path::new("/"))]))
}

#[derive(Clone, Copy)]
pub(super) enum Open {
    Read,
    Create,
    Append,
}

#[derive(Clone, Copy)]
pub(super) enum Links {
    Follow,
    Keep,
}

#[derive(Debug)]
pub(super) struct Handle {
    path: PathBuf,
    file: Option<fs::File>,
}

impl Handle {
    fn dir(path: PathBuf) -> Self {
        Self { path, file: None }
    }

    fn file(&self) -> io::Result<&fs::File> {
        self.file.as_ref().ok_or_else(|| io::Error::from(io::ErrorKind::IsADirectory))
    }

    /// `links` is of no weight here: what is opened without following was listed a moment ago, in a test's own directory.
    pub(super) fn open_at(&self, inner: &str, how: Open, _links: Links) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        match how {
            Open::Read => options.read(true),
            Open::Create => options.write(true).create(true).truncate(true),
            Open::Append => options.write(true).create(true).truncate(false),
        };
        let path = self.path.join(inner);
        let file = options.open(&path)?;
        Ok(Self { path, file: Some(file) })
    }

    pub(super) fn open_dir_at(&self, inner: &str, links: Links) -> io::Result<Self> {
        match self.stat_at(inner, links)?.file_type {
            FileType::Dir => Ok(Self::dir(self.path.join(inner))),
            _ => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    pub(super) fn entries(&self) -> io::Result<Entries> {
        fs::read_dir(&self.path).map(Entries)
    }

    pub(super) fn stat(&self) -> io::Result<Metadata> {
        self.file()?.metadata().map(metadata)
    }

    pub(super) fn stat_at(&self, inner: &str, links: Links) -> io::Result<Metadata> {
        let path = self.path.join(inner);
        match links {
            Links::Follow => fs::metadata(path).map(metadata),
            Links::Keep => fs::symlink_metadata(path).map(metadata),
        }
    }

    /// Adds up to `len` bytes to `bytes`; says whether the file ended.
    pub(super) fn read_at(&self, offset: u64, len: usize, bytes: &mut Vec<u8>) -> io::Result<bool> {
        use std::os::unix::fs::FileExt;
        let had = bytes.len();
        bytes.resize(had + len.min(1 << 20), 0);
        let read = self.file()?.read_at(&mut bytes[had..], offset);
        bytes.truncate(had + *read.as_ref().unwrap_or(&0));
        Ok(read? == 0)
    }

    pub(super) fn read_whole(&self, bytes: &mut Vec<u8>, limit: u64) -> io::Result<bool> {
        let read = self.file()?.take(limit.saturating_add(1)).read_to_end(bytes)?;
        let ended = read as u64 <= limit;
        if !ended {
            bytes.pop();
        }
        Ok(ended)
    }

    pub(super) fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        use std::os::unix::fs::FileExt;
        self.file()?.write_at(bytes, offset)
    }

    pub(super) fn set_len(&self, len: u64) -> io::Result<()> {
        self.file()?.set_len(len)
    }

    pub(super) fn create_dir_at(&self, inner: &str) -> io::Result<()> {
        fs::create_dir(self.path.join(inner))
    }

    pub(super) fn read_link_at(&self, inner: &str) -> io::Result<String> {
        let target = fs::read_link(self.path.join(inner))?.into_os_string().into_string();
        target.map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it leads to a name that is not UTF-8"))
    }

    pub(super) fn remove_file_at(&self, inner: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(inner))
    }

    pub(super) fn remove_dir_at(&self, inner: &str) -> io::Result<()> {
        fs::remove_dir(self.path.join(inner))
    }

    pub(super) fn rename_at(&self, inner: &str, to: &Self, to_inner: &str) -> io::Result<()> {
        fs::rename(self.path.join(inner), to.path.join(to_inner))
    }
}

/// The entries of a directory, and how many more have names that are not UTF-8. A link in its place is not followed.
#[cfg(feature = "walk")]
pub(super) fn list(path: &str) -> io::Result<(Vec<(String, FileType)>, usize)> {
    let at = super::path::locate(Path::new(path))?;
    let (mut entries, mut unnamed) = (Vec::new(), 0);
    for entry in at.base.open_dir_at(&at.inner, Links::Keep)?.entries()? {
        match entry {
            Ok(entry) => entries.push(entry),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => unnamed += 1,
            Err(error) => return Err(error),
        }
    }
    Ok((entries, unnamed))
}

/// How long regular files are.
#[cfg(feature = "walk")]
pub(super) fn lengths(paths: &[String]) -> Vec<io::Result<u64>> {
    let length = |path: &String| {
        let at = super::path::locate(Path::new(path))?;
        let metadata = at.base.stat_at(&at.inner, Links::Keep)?;
        match metadata.file_type() {
            FileType::File => Ok(metadata.len()),
            FileType::Dir => Err(io::ErrorKind::IsADirectory.into()),
            FileType::Symlink | FileType::Other => Err(io::ErrorKind::InvalidInput.into()),
        }
    };
    paths.iter().map(length).collect()
}

/// The contents of files, each with whether it is whole.
pub(super) fn read_many(paths: &[String], limit: u64) -> Vec<io::Result<(Vec<u8>, bool)>> {
    let read = |path: &String| {
        let at = super::path::locate(Path::new(path))?;
        let mut bytes = Vec::new();
        let whole = at.base.open_at(&at.inner, Open::Read, Links::Keep)?.read_whole(&mut bytes, limit)?;
        Ok((bytes, whole))
    };
    paths.iter().map(read).collect()
}

#[derive(Debug)]
pub(super) struct Entries(fs::ReadDir);

impl Iterator for Entries {
    type Item = io::Result<(String, FileType)>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.0.next()?.and_then(|entry| {
            let name = entry.file_name().into_string().map_err(|name| {
                let shown = name.to_string_lossy().into_owned();
                io::Error::new(io::ErrorKind::InvalidData, format!("an entry's name is not UTF-8: {shown}"))
            })?;
            Ok((name, file_type(entry.file_type()?)))
        }))
    }
}

fn file_type(kind: fs::FileType) -> FileType {
    if kind.is_file() {
        FileType::File
    } else if kind.is_dir() {
        FileType::Dir
    } else if kind.is_symlink() {
        FileType::Symlink
    } else {
        FileType::Other
    }
}

fn metadata(stat: fs::Metadata) -> Metadata {
    Metadata { file_type: file_type(stat.file_type()), len: stat.len(), modified: stat.modified().ok() }
}
