//! A repository: where it is, and its parts. What must never live here: what a tool makes of it.

use crate::disk;
use crate::objects::{ObjectError, Objects};
use crate::refs::{RefError, Refs};
use gix_hash::ObjectId;
use std::collections::HashSet;
use std::io;
use vespiary_sdk::{Error, fs};

/// Largest configuration and largest list of shallow commits read, in bytes.
const SMALL_FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Why a repository cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// There is none.
    #[error(
        "no Git repository holds {0}, as far as was granted; if one does, grant reading of the directory its .git is in"
    )]
    None(String),
    /// A `.git` file or a `commondir` names a directory that cannot be reached.
    #[error("{file} says that the repository is at {target}, which is missing or outside what was granted")]
    Elsewhere {
        /// The file that says so.
        file: String,
        /// What it names.
        target: String,
    },
    /// It is of a kind that is not supported.
    #[error("the repository uses {0}, which is not supported")]
    Unsupported(String),
    /// Its object store cannot be opened.
    #[error(transparent)]
    Objects(#[from] ObjectError),
    /// A file cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<OpenError> for Error {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::None(_) => Self::not_found(error.to_string()),
            OpenError::Objects(error) => error.into(),
            OpenError::Io(error) => error.into(),
            other => Self::failed(other.to_string()),
        }
    }
}

/// An open repository.
pub(crate) struct Repository {
    /// Root of the working tree; nothing for a bare repository.
    pub(crate) work_dir: Option<String>,
    /// Where `HEAD` and the index are.
    pub(crate) git_dir: String,
    /// Where objects and branches are; differs from `git_dir` in a linked working tree.
    pub(crate) common_dir: String,
    /// Its objects.
    pub(crate) objects: Objects,
    /// Its references.
    pub(crate) refs: Refs,
    /// Commits whose parents were not fetched.
    pub(crate) shallow: HashSet<ObjectId>,
}

impl Repository {
    /// The repository that holds `path`: the nearest one at or above it.
    pub(crate) fn discover(path: &str) -> Result<Self, OpenError> {
        let path = fs::clean(path)?;
        let mut at = path.clone();
        loop {
            if let Some(git_dir) = git_dir_in(&at)? {
                return Self::open(Some(at), git_dir);
            }
            if is_git_dir(&at) {
                return Self::open(None, at);
            }
            at = match at.rsplit_once('/') {
                _ if at == "." || at == "/" => return Err(OpenError::None(path)),
                Some(("", _)) => "/".to_owned(),
                Some((above, _)) => above.to_owned(),
                None => ".".to_owned(),
            };
        }
    }

    fn open(work_dir: Option<String>, git_dir: String) -> Result<Self, OpenError> {
        let common_file = beside(&git_dir, "commondir");
        let common_dir = match fs::metadata(&common_file) {
            Ok(found) if found.is_file() => linked(&common_file, &git_dir, "")?,
            _ => git_dir.clone(),
        };
        check_config(&common_dir)?;
        let refs = Refs::new(git_dir.clone(), common_dir.clone());
        // Where the configuration does not say it, the hashes do, and the index would be taken for a corrupt one.
        if let Err(RefError::Sha256) = refs.head() {
            return Err(unsupported_format("sha256"));
        }
        let shallow = disk::small(&beside(&common_dir, "shallow"), SMALL_FILE_BYTES_MAX)?.unwrap_or_default();
        let shallow = shallow.split(|byte| *byte == b'\n').filter_map(|line| ObjectId::from_hex(line).ok()).collect();
        Ok(Self {
            work_dir,
            objects: Objects::open(beside(&common_dir, "objects"))?,
            refs,
            git_dir,
            common_dir,
            shallow,
        })
    }
}

/// The repository's own directory, where `dir` is the root of a working tree.
fn git_dir_in(dir: &str) -> Result<Option<String>, OpenError> {
    let dot_git = beside(dir, ".git");
    match fs::metadata(&dot_git) {
        Ok(found) if found.is_dir() && is_git_dir(&dot_git) => Ok(Some(dot_git)),
        Ok(found) if found.is_file() => linked(&dot_git, dir, "gitdir: ").map(Some),
        _ => Ok(None),
    }
}

/// The commit that the repository in `dir` has checked out; nothing where there is none, as in a submodule that was not
/// fetched.
///
/// # Errors
/// There is one, and it cannot be read.
pub(crate) fn checked_out(dir: &str) -> Result<Option<ObjectId>, Error> {
    match git_dir_in(dir)? {
        None => Ok(None),
        Some(git_dir) => Ok(Refs::new(git_dir.clone(), git_dir).head()?.id),
    }
}

/// `name` in the directory `dir`.
pub(crate) fn beside(dir: &str, name: &str) -> String {
    match dir {
        "." => name.to_owned(),
        "/" => format!("/{name}"),
        _ => format!("{dir}/{name}"),
    }
}

fn is_git_dir(dir: &str) -> bool {
    let has = |name: &str| fs::metadata(beside(dir, name)).is_ok();
    // A linked working tree has no objects of its own.
    has("HEAD") && (has("objects") || has("commondir"))
}

/// The directory that a file of one line names.
fn linked(file: &str, from: &str, key: &str) -> Result<String, OpenError> {
    let text = disk::small(file, 4096)?.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let target = text.trim_end().strip_prefix(key).unwrap_or("").to_owned();
    disk::join(from, &target)
        .filter(|dir| !target.is_empty() && fs::metadata(dir).is_ok_and(|found| found.is_dir()))
        .ok_or_else(|| OpenError::Elsewhere { file: file.to_owned(), target })
}

/// Refuses a repository of a format that would be misread. A configuration may be hidden from this cell, for it can hold
/// credentials; then the formats show elsewhere, later and less clearly.
fn check_config(common_dir: &str) -> Result<(), OpenError> {
    if fs::metadata(beside(common_dir, "reftable")).is_ok_and(|found| found.is_dir()) {
        return Err(OpenError::Unsupported("the reftable format for its references".to_owned()));
    }
    let config = disk::small(&beside(common_dir, "config"), SMALL_FILE_BYTES_MAX)?.unwrap_or_default();
    let config = String::from_utf8_lossy(&config).to_ascii_lowercase();
    let mut in_extensions = false;
    for line in config.lines().map(str::trim) {
        if line.starts_with('[') {
            in_extensions = line.starts_with("[extensions]");
        } else if let Some((key, value)) = line.split_once('=').filter(|_| in_extensions) {
            match (key.trim(), value.trim()) {
                ("objectformat", "sha1") | ("refstorage", "files") => {}
                ("objectformat", format) => return Err(unsupported_format(format)),
                ("refstorage", format) => {
                    return Err(OpenError::Unsupported(format!("the {format} format for its references")));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn unsupported_format(objects: &str) -> OpenError {
    OpenError::Unsupported(format!("{objects} for its objects (only SHA-1 repositories can be read)"))
}
