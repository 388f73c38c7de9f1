//! The object store: any object by its hash, from loose files, packs and alternates, checked against that hash. What must
//! never live here: what commits and trees say.
//!
//! A repository may have been written by anyone. Sizes are believed only up to [`OBJECT_BYTES_MAX`], chains only up to
//! [`CHAIN_LEN_MAX`], and no allocation is made on the word of a file alone.

mod delta;
mod inflate;
mod loose;
mod pack;
mod pack_index;

use crate::disk::{self, Pages};
use crate::recent::Recent;
use gix_hash::ObjectId;
use gix_object::Kind;
use pack::Pack;
use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::io;
use std::rc::Rc;
use vespiary_sdk::{Error, fs};

/// Largest object read into memory, in bytes. Larger ones only have a size.
pub(crate) const OBJECT_BYTES_MAX: u64 = 24 * 1024 * 1024;
/// Longest chain of deltas followed. Git itself writes at most 4,095.
const CHAIN_LEN_MAX: usize = 4_096;
/// Most bytes that the steps of one chain may add up to.
const CHAIN_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;
/// Bytes of objects and of delta bases remembered, each.
const OBJECTS_BYTES_MAX: usize = 12 * 1024 * 1024;
/// Most packs opened in one store.
const PACKS_MAX: usize = 2_000;
/// Most object directories, alternates of alternates included.
const DIRS_MAX: usize = 32;

/// Why an object cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ObjectError {
    /// No store reachable from here has it.
    #[error("object {id} is missing{hint}")]
    Missing {
        /// The object.
        id: ObjectId,
        /// What may be the reason.
        hint: String,
    },
    /// It is there, and larger than is read into memory.
    #[error("object {id} has {size} bytes; at most {OBJECT_BYTES_MAX} are read")]
    TooLarge {
        /// The object.
        id: ObjectId,
        /// Its size in bytes.
        size: u64,
    },
    /// It is there, and is of another kind than it must be.
    #[error("object {id} is a {found}, where a {wanted} is needed")]
    Kind {
        /// The object.
        id: ObjectId,
        /// What it is.
        found: Kind,
        /// What it must be.
        wanted: Kind,
    },
    /// The repository contradicts itself.
    #[error("object {id} is corrupt: {why}; `git fsck` tells more")]
    Corrupt {
        /// The object.
        id: ObjectId,
        /// What does not fit.
        why: String,
    },
    /// A pack or its index contradicts itself.
    #[error("{path} is corrupt: {why}; `git fsck` tells more")]
    CorruptFile {
        /// The file.
        path: String,
        /// What does not fit.
        why: String,
    },
    /// A file cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<ObjectError> for Error {
    fn from(error: ObjectError) -> Self {
        match error {
            ObjectError::Io(error) => error.into(),
            ObjectError::Missing { .. } => Self::not_found(error.to_string()),
            other => Self::failed(other.to_string()),
        }
    }
}

/// What is wrong with stored bytes, before it is known which object they were for.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("{0}")]
    Why(String),
    #[error("it has {0} bytes")]
    TooLarge(u64),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Broken {
    fn why(why: impl Into<String>) -> Self {
        Self::Why(why.into())
    }

    fn of(self, id: ObjectId) -> ObjectError {
        match self {
            Self::Why(why) => ObjectError::Corrupt { id, why },
            Self::TooLarge(size) => ObjectError::TooLarge { id, size },
            Self::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                ObjectError::Corrupt { id, why: "its file ends too early".to_owned() }
            }
            Self::Io(error) => ObjectError::Io(error),
        }
    }
}

/// An object whose bytes were checked against its hash.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    /// What it is.
    pub(crate) kind: Kind,
    /// Its content.
    pub(crate) data: Rc<Vec<u8>>,
}

/// All objects of a repository.
pub(crate) struct Objects {
    dirs: Vec<String>,
    /// Alternates that could not be read, for the message about a missing object.
    unreachable: Vec<String>,
    pages: Pages,
    packs: OnceCell<Vec<Pack>>,
    bases: Recent<(usize, u64), Object>,
    seen: Recent<ObjectId, Object>,
}

impl Objects {
    /// The store in the directory `objects`, and its alternates. Reads no object yet.
    pub(crate) fn open(objects: String) -> Result<Self, ObjectError> {
        let mut dirs = vec![objects];
        let mut unreachable = Vec::new();
        let mut at = 0;
        while let Some(dir) = dirs.get(at).cloned() {
            at += 1;
            let Some(list) = disk::small(&format!("{dir}/info/alternates"), 64 * 1024)? else { continue };
            for line in String::from_utf8_lossy(&list).lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
            {
                match disk::join(&dir, line) {
                    Some(path) if dirs.contains(&path) => {}
                    Some(path) if dirs.len() < DIRS_MAX && fs::metadata(&path).is_ok_and(|found| found.is_dir()) => {
                        dirs.push(path);
                    }
                    _ => unreachable.push(line.to_owned()),
                }
            }
        }
        Ok(Self {
            dirs,
            unreachable,
            pages: Pages::new(),
            packs: OnceCell::new(),
            bases: Recent::new(OBJECTS_BYTES_MAX),
            seen: Recent::new(OBJECTS_BYTES_MAX),
        })
    }

    /// An object of any kind.
    pub(crate) fn read(&self, id: ObjectId) -> Result<Object, ObjectError> {
        if let Some(object) = self.seen.recall(&id) {
            return Ok(object);
        }
        let object = self.fetch(id)?.ok_or_else(|| self.missing(id))?;
        let found = hash(object.kind, &object.data).map_err(|why| ObjectError::Corrupt { id, why })?;
        if found != id {
            return Err(ObjectError::Corrupt { id, why: format!("its content has the hash {found}") });
        }
        self.seen.keep(id, object.clone(), object.data.len());
        Ok(object)
    }

    /// An object that must be of one kind.
    pub(crate) fn read_kind(&self, id: ObjectId, wanted: Kind) -> Result<Rc<Vec<u8>>, ObjectError> {
        let object = self.read(id)?;
        if object.kind != wanted {
            return Err(ObjectError::Kind { id, found: object.kind, wanted });
        }
        Ok(object.data)
    }

    /// All objects whose hash begins so, in order; at most `limit`.
    pub(crate) fn beginning(&self, prefix: &Prefix, limit: usize) -> Result<Vec<ObjectId>, ObjectError> {
        let mut found = BTreeSet::new();
        for dir in &self.dirs {
            loose::beginning(dir, prefix, limit, &mut found)?;
        }
        for pack in self.packs()? {
            pack.index.beginning(prefix, limit, &mut found)?;
        }
        Ok(found.into_iter().take(limit).collect())
    }

    /// Packs first: most objects are there, and looking into an index asks the host for nothing it has not given before.
    fn fetch(&self, id: ObjectId) -> Result<Option<Object>, ObjectError> {
        for pack in self.packs()? {
            if let Some(offset) = pack.index.find(&id)? {
                return pack.read(offset, &self.bases).map(Some).map_err(|broken| broken.of(id));
            }
        }
        for dir in &self.dirs {
            if let Some(object) = loose::read(dir, id).map_err(|broken| broken.of(id))? {
                return Ok(Some(object));
            }
        }
        Ok(None)
    }

    fn packs(&self) -> Result<&[Pack], ObjectError> {
        if let Some(packs) = self.packs.get() {
            return Ok(packs);
        }
        let mut packs = Vec::new();
        for dir in self.dirs.iter().map(|dir| format!("{dir}/pack")) {
            let mut names = Vec::new();
            match fs::read_dir(&dir) {
                Ok(entries) => {
                    // A name that is not UTF-8 is no pack that Git wrote.
                    let entries = entries.flatten();
                    names.extend(entries.filter_map(|entry| entry.name().strip_suffix(".idx").map(str::to_owned)));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
            names.sort_unstable();
            for name in names {
                if packs.len() == PACKS_MAX {
                    let why = format!("it holds more than {PACKS_MAX} packs");
                    return Err(ObjectError::CorruptFile { path: dir, why });
                }
                packs.push(Pack::open(&format!("{dir}/{name}"), packs.len(), &self.pages)?);
            }
        }
        Ok(self.packs.get_or_init(|| packs))
    }

    fn missing(&self, id: ObjectId) -> ObjectError {
        let hint = match self.unreachable.as_slice() {
            [] => String::new(),
            elsewhere => format!(
                "; the repository borrows objects from {}, which is outside what was granted",
                elsewhere.join(", ")
            ),
        };
        ObjectError::Missing { id, hint }
    }
}

/// The hash that an object of this kind and content has.
pub(crate) fn hash(kind: Kind, data: &[u8]) -> Result<ObjectId, String> {
    let mut hasher = hasher(kind, data.len() as u64);
    hasher.update(data);
    hasher.try_finalize().map_err(|error| error.to_string())
}

/// A hasher that waits for the `size` bytes of an object's content.
pub(crate) fn hasher(kind: Kind, size: u64) -> gix_hash::Hasher {
    let mut hasher = gix_hash::hasher(gix_hash::Kind::Sha1);
    hasher.update(&gix_object::encode::loose_header(kind, size));
    hasher
}

/// The beginning of a hash, in hexadecimal.
#[derive(Clone, Debug)]
pub(crate) struct Prefix {
    hex: String,
    least: ObjectId,
}

impl Prefix {
    /// Between 4 and 40 hexadecimal digits, or nothing.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if !(4..=40).contains(&text.len()) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let hex = text.to_ascii_lowercase();
        let least = ObjectId::from_hex(format!("{hex:0<40}").as_bytes()).ok()?;
        Some(Self { hex, least })
    }

    fn fits(&self, id: &ObjectId) -> bool {
        id.to_string().starts_with(&self.hex)
    }
}

#[cfg(test)]
mod tests;
