//! Files in a cell, over `wasi:filesystem` 0.2. What must never live here: policy; the host confines, this asks.

use super::{FileType, Metadata};
use crate::bindings::tool_world::vespiary::plugin::tree;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};
use wasip2::filesystem::preopens::get_directories;
use wasip2::filesystem::types::{
    Descriptor, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntryStream, ErrorCode, OpenFlags, PathFlags,
};

/// Asked for at once. Hosts give less; each answer says whether the file ended.
const READ_BYTES: u64 = 1 << 20;

/// What hosts give at once, as far as is known; a shorter piece is probably a file's last.
const SHORT_BYTES: u64 = 64 << 10;

/// Asked for to learn that a file has ended.
const PROBE_BYTES: u64 = 512;

#[derive(Debug)]
pub(super) struct Preopen {
    pub(super) name: String,
    pub(super) handle: Handle,
}

impl Preopen {
    pub(super) fn capability(&self) -> String {
        let writable = DescriptorFlags::WRITE | DescriptorFlags::MUTATE_DIRECTORY;
        let may_write = self.handle.0.get_flags().is_ok_and(|flags| flags.intersects(writable));
        format!("{}:{}", if may_write { "write" } else { "read" }, self.name)
    }
}

/// Asked for once. A snapshot is taken before any call, so it never holds a handle of another cell.
pub(super) fn preopens() -> &'static [Preopen] {
    static PREOPENS: OnceLock<Vec<Preopen>> = OnceLock::new();
    PREOPENS.get_or_init(|| {
        let directories = get_directories().into_iter();
        directories.map(|(descriptor, name)| Preopen { name, handle: Handle::new(descriptor) }).collect()
    })
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

impl Links {
    fn flags(self) -> PathFlags {
        match self {
            Self::Follow => PathFlags::SYMLINK_FOLLOW,
            Self::Keep => PathFlags::empty(),
        }
    }
}

/// Shared, because a granted single file is opened by taking the grant itself.
#[derive(Debug)]
pub(super) struct Handle(Arc<Descriptor>);

impl Handle {
    fn new(descriptor: Descriptor) -> Self {
        Self(Arc::new(descriptor))
    }

    pub(super) fn open_at(&self, inner: &str, how: Open, links: Links) -> io::Result<Self> {
        if inner == "." && matches!(self.0.get_type(), Ok(DescriptorType::RegularFile)) {
            if let Open::Create = how {
                self.set_len(0)?;
            }
            return Ok(Self(Arc::clone(&self.0)));
        }
        let (open, access) = match how {
            Open::Read => (OpenFlags::empty(), DescriptorFlags::READ),
            Open::Create => (OpenFlags::CREATE | OpenFlags::TRUNCATE, DescriptorFlags::WRITE),
            Open::Append => (OpenFlags::CREATE, DescriptorFlags::WRITE),
        };
        self.0.open_at(links.flags(), inner, open, access).map(Self::new).map_err(error)
    }

    pub(super) fn open_dir_at(&self, inner: &str, links: Links) -> io::Result<Self> {
        if inner == "." {
            return match self.0.get_type().map_err(error)? {
                DescriptorType::Directory => Ok(Self(Arc::clone(&self.0))),
                _ => Err(io::ErrorKind::NotADirectory.into()),
            };
        }
        let opened = self.0.open_at(links.flags(), inner, OpenFlags::DIRECTORY, DescriptorFlags::READ);
        opened.map(Self::new).map_err(error)
    }

    pub(super) fn entries(&self) -> io::Result<Entries> {
        let stream = self.0.read_directory().map_err(error)?;
        Ok(Entries { stream: Some(stream) })
    }

    pub(super) fn stat(&self) -> io::Result<Metadata> {
        self.0.stat().map(metadata).map_err(error)
    }

    pub(super) fn stat_at(&self, inner: &str, links: Links) -> io::Result<Metadata> {
        if inner == "." {
            return self.stat();
        }
        self.0.stat_at(links.flags(), inner).map(metadata).map_err(error)
    }

    /// Adds up to `len` bytes to `bytes`; says whether the file ended.
    pub(super) fn read_at(&self, offset: u64, len: usize, bytes: &mut Vec<u8>) -> io::Result<bool> {
        let (piece, ended) = self.0.read((len as u64).min(READ_BYTES), offset).map_err(error)?;
        let ended = ended || piece.is_empty();
        // Most files arrive in one piece, which then needs no copy.
        if bytes.is_empty() && bytes.capacity() < piece.len() {
            *bytes = piece;
        } else {
            bytes.extend_from_slice(&piece);
        }
        Ok(ended)
    }

    pub(super) fn read_whole(&self, bytes: &mut Vec<u8>, limit: u64) -> io::Result<bool> {
        let mut ask_bytes = READ_BYTES;
        loop {
            let had = bytes.len() as u64;
            let left = limit.saturating_add(1) - had;
            let ended = self.read_at(had, left.min(ask_bytes) as usize, bytes)?;
            if bytes.len() as u64 > limit {
                bytes.truncate(limit as usize);
                return Ok(false);
            }
            if ended {
                return Ok(true);
            }
            // A short answer is nearly always the last one. Hosts clear as much memory as they are asked for, so the
            // question that makes sure is a small one.
            let short = bytes.len() as u64 - had < SHORT_BYTES;
            ask_bytes = if short { PROBE_BYTES } else { READ_BYTES };
        }
    }

    pub(super) fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.0.write(bytes, offset).map(|written| written as usize).map_err(error)
    }

    pub(super) fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_size(len).map_err(error)
    }

    pub(super) fn create_dir_at(&self, inner: &str) -> io::Result<()> {
        self.0.create_directory_at(inner).map_err(error)
    }

    pub(super) fn read_link_at(&self, inner: &str) -> io::Result<String> {
        self.0.readlink_at(inner).map_err(error)
    }

    pub(super) fn remove_file_at(&self, inner: &str) -> io::Result<()> {
        self.0.unlink_file_at(inner).map_err(error)
    }

    pub(super) fn remove_dir_at(&self, inner: &str) -> io::Result<()> {
        self.0.remove_directory_at(inner).map_err(error)
    }

    pub(super) fn rename_at(&self, inner: &str, to: &Self, to_inner: &str) -> io::Result<()> {
        self.0.rename_at(inner, &to.0, to_inner).map_err(error)
    }
}

/// Ends after an error that belongs to no single entry; such an error would come again for ever.
#[derive(Debug)]
pub(super) struct Entries {
    stream: Option<DirectoryEntryStream>,
}

impl Iterator for Entries {
    type Item = io::Result<(String, FileType)>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.stream.as_ref()?.read_directory_entry() {
            Ok(Some(entry)) => Some(Ok((entry.name, file_type(entry.type_)))),
            Ok(None) => {
                self.stream = None;
                None
            }
            Err(ErrorCode::IllegalByteSequence) => {
                Some(Err(io::Error::new(io::ErrorKind::InvalidData, "an entry's name is not UTF-8")))
            }
            Err(code) => {
                self.stream = None;
                Some(Err(error(code)))
            }
        }
    }
}

fn file_type(kind: DescriptorType) -> FileType {
    match kind {
        DescriptorType::RegularFile => FileType::File,
        DescriptorType::Directory => FileType::Dir,
        DescriptorType::SymbolicLink => FileType::Symlink,
        _ => FileType::Other,
    }
}

fn metadata(stat: DescriptorStat) -> Metadata {
    let modified = stat
        .data_modification_timestamp
        .and_then(|at| SystemTime::UNIX_EPOCH.checked_add(Duration::new(at.seconds, at.nanoseconds)));
    Metadata { file_type: file_type(stat.type_), len: stat.size, modified }
}

fn error(code: ErrorCode) -> io::Error {
    named(code.name())
}

fn named(code: &str) -> io::Error {
    use io::ErrorKind;
    let kind = match code {
        "access" | "not-permitted" => ErrorKind::PermissionDenied,
        // The standard library's own words for this kind say less.
        "no-entry" => return io::Error::new(ErrorKind::NotFound, "no such file or directory"),
        "exist" => ErrorKind::AlreadyExists,
        "not-directory" => ErrorKind::NotADirectory,
        "is-directory" => ErrorKind::IsADirectory,
        "not-empty" => ErrorKind::DirectoryNotEmpty,
        "read-only" => ErrorKind::ReadOnlyFilesystem,
        "insufficient-space" => ErrorKind::StorageFull,
        "quota" => ErrorKind::QuotaExceeded,
        "file-too-large" => ErrorKind::FileTooLarge,
        "invalid" => ErrorKind::InvalidInput,
        "busy" => ErrorKind::ResourceBusy,
        "cross-device" => ErrorKind::CrossesDevices,
        "unsupported" => ErrorKind::Unsupported,
        "interrupted" => ErrorKind::Interrupted,
        other => return io::Error::other(other.to_owned()),
    };
    kind.into()
}

/// The entries of a directory, and how many more have names that are not UTF-8. A link in its place is not followed.
#[cfg(feature = "walk")]
pub(super) fn list(path: &str) -> io::Result<(Vec<(String, FileType)>, usize)> {
    let answer = tree::list(&[path.to_owned()]).pop();
    let listing = answer.ok_or_else(|| io::Error::other("the host gave no answer"))?.map_err(|code| named(&code))?;
    let entries = listing.entries.into_iter().map(|entry| (entry.name, kind(entry.kind))).collect();
    Ok((entries, listing.unnamed as usize))
}

/// How long regular files are. Links in their place are not followed.
#[cfg(feature = "walk")]
pub(super) fn lengths(paths: &[String]) -> Vec<io::Result<u64>> {
    let mut lengths = Vec::with_capacity(paths.len());
    while lengths.len() < paths.len() {
        let answers = tree::lengths(&paths[lengths.len()..]);
        if answers.is_empty() {
            lengths.push(Err(io::Error::other("the host gave no answer")));
        }
        lengths.extend(answers.into_iter().map(|answer| answer.map_err(|code| named(&code))));
    }
    lengths
}

/// The contents of files, each with whether it is whole. Links in their place are not followed.
pub(super) fn read_many(paths: &[String], limit: u64) -> Vec<io::Result<(Vec<u8>, bool)>> {
    let mut contents = Vec::with_capacity(paths.len());
    while contents.len() < paths.len() {
        let answers = tree::read(&paths[contents.len()..], limit);
        if answers.is_empty() {
            contents.push(Err(io::Error::other("the host gave no answer")));
        }
        for answer in answers {
            contents.push(answer.map(|content| (content.bytes, content.whole)).map_err(|code| named(&code)));
        }
    }
    contents
}

#[cfg(feature = "walk")]
fn kind(kind: tree::Kind) -> FileType {
    match kind {
        tree::Kind::File => FileType::File,
        tree::Kind::Directory => FileType::Dir,
        tree::Kind::Link => FileType::Symlink,
        tree::Kind::Other => FileType::Other,
    }
}
