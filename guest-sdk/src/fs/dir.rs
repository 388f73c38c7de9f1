//! One open directory and its entries. What must never live here: recursion; that is `walk`.

use super::backend::{Entries, Handle, Links, Open};
use super::error::{self, Context};
use super::file::File;
use super::path::{clean, join, locate};
use super::{FileType, Metadata};
use std::io;
use std::path::Path;

/// An open directory. What is opened through it cannot be moved away meanwhile, and needs no lookup from the root.
#[derive(Debug)]
pub struct Dir {
    handle: Handle,
    path: String,
}

impl Dir {
    /// Opens a directory.
    ///
    /// # Errors
    /// It is missing, is no directory, or is not granted.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let at = locate(path.as_ref())?;
        let handle = at.base.open_dir_at(&at.inner, Links::Follow).context("open", &at.path)?;
        Ok(Self { handle, path: at.path })
    }

    /// The directory's path in plain form.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Its entries: see [`super::read_dir`].
    ///
    /// # Errors
    /// The host cannot list it.
    pub fn entries(&self) -> io::Result<ReadDir> {
        let entries = self.handle.entries().context("list", &self.path)?;
        Ok(ReadDir { entries, dir: self.path.clone() })
    }

    /// Opens a directory below, not following a symbolic link in its last name.
    ///
    /// # Errors
    /// It is missing, is no directory, or is not granted.
    pub fn open_dir(&self, name: &str) -> io::Result<Self> {
        let path = join(&self.path, &clean(name)?);
        let handle = self.handle.open_dir_at(name, Links::Keep).context("open", &path)?;
        Ok(Self { handle, path })
    }

    /// Opens a file below for reading.
    ///
    /// # Errors
    /// It is missing or is not granted.
    pub fn open_file(&self, name: &str) -> io::Result<File> {
        let path = join(&self.path, &clean(name)?);
        let handle = self.handle.open_at(name, Open::Read, Links::Follow).context("open", &path)?;
        Ok(File::new(handle, path))
    }

    /// What is known of the thing named, a symbolic link not followed.
    ///
    /// # Errors
    /// Nothing is there.
    pub fn symlink_metadata(&self, name: &str) -> io::Result<Metadata> {
        let path = join(&self.path, &clean(name)?);
        self.handle.stat_at(name, Links::Keep).context("look at", &path)
    }
}

/// The entries of a directory: see [`super::read_dir`].
#[derive(Debug)]
pub struct ReadDir {
    entries: Entries,
    dir: String,
}

impl Iterator for ReadDir {
    type Item = io::Result<DirEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(match self.entries.next()? {
            Ok((name, file_type)) => Ok(DirEntry { dir: self.dir.clone(), name, file_type }),
            Err(cause) => Err(error::at("list", &self.dir, cause)),
        })
    }
}

/// One entry of a directory. Its type comes with the listing, at no further cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    dir: String,
    name: String,
    file_type: FileType,
}

impl DirEntry {
    /// The name, without the directory.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The path: the directory as it was opened, and the name.
    pub fn path(&self) -> String {
        join(&self.dir, &self.name)
    }

    /// What kind of thing it is; a symbolic link is not followed.
    pub fn file_type(&self) -> FileType {
        self.file_type
    }

    /// What is known of it, a symbolic link not followed.
    ///
    /// # Errors
    /// It is gone.
    pub fn metadata(&self) -> io::Result<Metadata> {
        super::symlink_metadata(self.path())
    }
}
