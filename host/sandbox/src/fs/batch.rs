//! `vespiary:plugin/tree`: many directories and files a call. Each path goes the way it would go through `wasi:filesystem`; only
//! the crossings of the border are fewer.

use super::backing::{Kind, Near};
use super::code::code;
use super::handle::{DirHandle, Files, Handle};
use super::open::Wanted;
use super::tree::{Last, PATH_BYTES_MAX, Tree};
use crate::bindings::tree;
use crate::cell::Cell;
use rustix::io::Errno;
use std::io;
use std::sync::Arc;

/// Questions answered in one call.
const ANSWERS_MAX: usize = 1_024;

/// Bytes and entries given in one call; the answer that passes this is the last.
const BYTES_MAX: u64 = 4 << 20;
const ENTRIES_MAX: usize = 64 << 10;

/// The most of one file that is given, however much is asked for: it passes through the host's memory.
const FILE_BYTES_MAX: u64 = 64 << 20;

impl tree::Host for Cell {
    fn list(&mut self, directories: Vec<String>) -> wasmtime::Result<Vec<Result<tree::Listing, String>>> {
        let mut answers = Vec::with_capacity(directories.len().min(ANSWERS_MAX));
        let mut entries = 0;
        for path in directories.iter().take(ANSWERS_MAX) {
            let listing = self.files.listing(path);
            entries += listing.as_ref().map_or(0, |listing| listing.entries.len());
            answers.push(listing.map_err(|error| code(&error).name().to_owned()));
            if entries >= ENTRIES_MAX || self.walls.cpu_spent().is_some() {
                break;
            }
        }
        Ok(answers)
    }

    fn lengths(&mut self, files: Vec<String>) -> wasmtime::Result<Vec<Result<u64, String>>> {
        let mut answers = Vec::with_capacity(files.len().min(ANSWERS_MAX));
        let mut near = None;
        for path in files.iter().take(ANSWERS_MAX) {
            answers.push(self.files.length(path, &mut near).map_err(|error| code(&error).name().to_owned()));
            if self.walls.cpu_spent().is_some() {
                break;
            }
        }
        Ok(answers)
    }

    fn read(&mut self, files: Vec<String>, bytes_max: u64) -> wasmtime::Result<Vec<Result<tree::Content, String>>> {
        let mut answers = Vec::with_capacity(files.len().min(ANSWERS_MAX));
        let mut given = 0;
        for path in files.iter().take(ANSWERS_MAX) {
            // What does not fit any more is left for the next call, unless it is the first: that one must be answered.
            let content = match self.files.whole(path, bytes_max, if given == 0 { u64::MAX } else { BYTES_MAX - given })
            {
                Ok(None) => break,
                Ok(Some(content)) => Ok(content),
                Err(error) => Err(code(&error).name().to_owned()),
            };
            given += content.as_ref().map_or(0, |content| content.bytes.len() as u64);
            answers.push(content);
            if given >= BYTES_MAX || self.walls.cpu_spent().is_some() {
                break;
            }
        }
        Ok(answers)
    }
}

impl Files {
    fn listing(&mut self, path: &str) -> io::Result<tree::Listing> {
        let (root, inner) = self.place(path)?;
        let mut unnamed = 0;
        let mut entries = Vec::new();
        for entry in self.list_at(&root, &inner)? {
            match entry.name.into_string() {
                Ok(name) => entries.push(tree::Entry { name, kind: kind(entry.kind) }),
                Err(_) => unnamed += 1,
            }
        }
        Ok(tree::Listing { entries, unnamed })
    }

    /// How long a regular file is. `near` belongs to the tree beside it, where another path was looked at just before.
    fn length(&mut self, path: &str, near: &mut Option<(Arc<Tree>, Near)>) -> io::Result<u64> {
        let (root, inner) = self.place(path)?;
        let (_, near) = match near {
            Some(last) if Arc::ptr_eq(&last.0, &root.tree) => last,
            other => other.insert((Arc::clone(&root.tree), Near::default())),
        };
        let stat = self.stat_near(&root, &inner, Last::Keep, near)?;
        match stat.kind {
            Kind::File => Ok(stat.bytes),
            Kind::Dir => Err(Errno::ISDIR.into()),
            _ => Err(Errno::INVAL.into()),
        }
    }

    /// Up to `bytes_max` bytes of a file, or nothing where they would be more than `room`.
    fn whole(&mut self, path: &str, bytes_max: u64, room: u64) -> io::Result<Option<tree::Content>> {
        let bytes_max = bytes_max.min(FILE_BYTES_MAX);
        let (root, inner) = self.place(path)?;
        let Handle::File(mut file) = self.open_at(&root, &inner, Last::Keep, Wanted::READ)? else {
            return Err(Errno::ISDIR.into());
        };
        if file.open.bytes.min(bytes_max) > room {
            return Ok(None);
        }
        // One byte more than is wanted tells whether there is more.
        let most = bytes_max + 1;
        let (mut bytes, mut ended) = self.read(&mut file, most, 0)?;
        while !ended && (bytes.len() as u64) < most {
            let at = bytes.len() as u64;
            let (more, end) = self.read(&mut file, most - at, at)?;
            ended = end;
            bytes.extend_from_slice(&more);
        }
        let whole = bytes.len() as u64 <= bytes_max;
        bytes.truncate(usize::try_from(bytes_max).unwrap_or(usize::MAX));
        Ok(Some(tree::Content { bytes, whole }))
    }

    /// Where a path leads: the root of the tree it lies in, and the path there. What no preopened name covers is not permitted.
    fn place(&self, path: &str) -> io::Result<(DirHandle, String)> {
        if path.len() > PATH_BYTES_MAX {
            return Err(Errno::NAMETOOLONG.into());
        }
        let preopens = self.granted.preopens.iter();
        let covering = preopens.filter_map(|preopen| Some((preopen, below(path, &preopen.name)?)));
        let (preopen, inner) = covering.max_by_key(|(preopen, _)| preopen.name.len()).ok_or(Errno::PERM)?;
        if inner.split('/').any(|name| name == "..") {
            return Err(Errno::PERM.into());
        }
        let root = DirHandle { tree: Arc::clone(&preopen.tree), path: ".".into(), mutate: false };
        let inner = match (&*preopen.path, inner) {
            (".", "") => ".".to_owned(),
            (".", inner) => inner.to_owned(),
            (own, "") => own.to_owned(),
            (own, inner) => format!("{own}/{inner}"),
        };
        Ok((root, inner))
    }
}

/// What is left of `path` below the preopened `name`.
fn below<'a>(path: &'a str, name: &str) -> Option<&'a str> {
    match name {
        "." if path.starts_with('/') => None,
        "." => Some(if path == "." { "" } else { path }),
        "/" => path.strip_prefix('/'),
        name => match path.strip_prefix(name)? {
            "" => Some(""),
            rest => rest.strip_prefix('/'),
        },
    }
}

fn kind(kind: Kind) -> tree::Kind {
    match kind {
        Kind::File => tree::Kind::File,
        Kind::Dir => tree::Kind::Directory,
        Kind::Link => tree::Kind::Link,
        Kind::BlockDevice | Kind::CharDevice | Kind::Other => tree::Kind::Other,
    }
}
