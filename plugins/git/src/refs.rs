//! Names of commits: `HEAD`, branches, tags and remotes, loose or packed. What must never live here: revision syntax.

use crate::disk;
use gix_hash::ObjectId;
use std::cell::OnceCell;
use std::io;
use vespiary_sdk::Error;

/// Symbolic references followed from one to the next.
const FOLLOWED_MAX: usize = 5;
/// Largest file of packed references read, in bytes.
const PACKED_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Largest loose reference read, in bytes.
const LOOSE_BYTES_MAX: u64 = 4 * 1024;
/// Places where a short name may stand, in Git's order.
const PLACES: [(&str, &str); 6] = [
    ("", ""),
    ("refs/", ""),
    ("refs/tags/", ""),
    ("refs/heads/", ""),
    ("refs/remotes/", ""),
    ("refs/remotes/", "/HEAD"),
];

/// Why a reference leads nowhere.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RefError {
    /// A file holds neither a hash nor a reference.
    #[error("the reference {0} holds neither a hash nor the name of a reference")]
    Broken(String),
    /// Hashes of 64 digits.
    #[error("the repository uses SHA-256 for its objects; only SHA-1 repositories can be read")]
    Sha256,
    /// References lead to references, too often.
    #[error("the reference {0} leads through more than {FOLLOWED_MAX} others")]
    Circle(String),
    /// A file cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<RefError> for Error {
    fn from(error: RefError) -> Self {
        match error {
            RefError::Io(error) => error.into(),
            other => Self::failed(other.to_string()),
        }
    }
}

/// The references of a repository.
#[derive(Debug)]
pub(crate) struct Refs {
    git_dir: String,
    common_dir: String,
    packed: OnceCell<Vec<u8>>,
}

/// Where `HEAD` points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// Full name of the branch checked out; nothing when detached.
    pub(crate) reference: Option<String>,
    /// The commit; nothing on a branch without one.
    pub(crate) id: Option<ObjectId>,
}

enum Target {
    Id(ObjectId),
    Reference(String),
}

impl Refs {
    /// The references of a working tree (`git_dir`) and of the repository it belongs to (`common_dir`).
    pub(crate) fn new(git_dir: String, common_dir: String) -> Self {
        Self { git_dir, common_dir, packed: OnceCell::new() }
    }

    /// Where `HEAD` points.
    pub(crate) fn head(&self) -> Result<Head, RefError> {
        match self.target("HEAD")? {
            None => Err(RefError::Broken("HEAD".to_owned())),
            Some(Target::Id(id)) => Ok(Head { reference: None, id: Some(id) }),
            Some(Target::Reference(name)) => Ok(Head { id: self.follow(&name)?, reference: Some(name) }),
        }
    }

    /// What a short or full name leads to, looked for where Git looks.
    pub(crate) fn find(&self, name: &str) -> Result<Option<ObjectId>, RefError> {
        for (before, after) in PLACES {
            if let Some(id) = self.follow(&format!("{before}{name}{after}"))? {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }

    fn follow(&self, name: &str) -> Result<Option<ObjectId>, RefError> {
        let mut at = name.to_owned();
        for _ in 0..=FOLLOWED_MAX {
            match self.target(&at)? {
                None => return Ok(None),
                Some(Target::Id(id)) => return Ok(Some(id)),
                Some(Target::Reference(next)) => at = next,
            }
        }
        Err(RefError::Circle(name.to_owned()))
    }

    fn target(&self, name: &str) -> Result<Option<Target>, RefError> {
        // Also what keeps a name from leading out of the repository.
        if !is_name(name) {
            return Ok(None);
        }
        let of_worktree = !name.starts_with("refs/") || name.starts_with("refs/bisect/");
        let dir = if of_worktree { &self.git_dir } else { &self.common_dir };
        let Some(bytes) = disk::small(&format!("{dir}/{name}"), LOOSE_BYTES_MAX)? else {
            return self.packed_target(name);
        };
        let broken = || RefError::Broken(name.to_owned());
        let text = std::str::from_utf8(&bytes).map_err(|_| broken())?.trim_end();
        if let Some(target) = text.strip_prefix("ref:").map(str::trim) {
            return if is_name(target) { Ok(Some(Target::Reference(target.to_owned()))) } else { Err(broken()) };
        }
        // FETCH_HEAD and its like go on after the hash.
        id(text.split_ascii_whitespace().next().unwrap_or(""))
            .map(|id| Some(Target::Id(id)))
            .ok_or_else(|| if text.len() == 64 { RefError::Sha256 } else { broken() })
    }

    fn packed_target(&self, name: &str) -> Result<Option<Target>, RefError> {
        let packed = match self.packed.get() {
            Some(packed) => packed,
            None => {
                let read = disk::small(&format!("{}/packed-refs", self.common_dir), PACKED_BYTES_MAX)?;
                self.packed.get_or_init(|| read.unwrap_or_default())
            }
        };
        for line in packed.split(|byte| *byte == b'\n').filter(|line| !line.starts_with(b"#")) {
            if let Some(hex) = line.strip_suffix(name.as_bytes()).and_then(|line| line.strip_suffix(b" ")) {
                let hex = std::str::from_utf8(hex).unwrap_or("");
                return match id(hex) {
                    Some(id) => Ok(Some(Target::Id(id))),
                    None if hex.len() == 64 => Err(RefError::Sha256),
                    None => Err(RefError::Broken(name.to_owned())),
                };
            }
        }
        Ok(None)
    }
}

fn id(hex: &str) -> Option<ObjectId> {
    (hex.len() == 40).then(|| ObjectId::from_hex(hex.as_bytes()).ok())?
}

/// Whether a text can name a reference: below `refs/`, or in capitals at the top.
fn is_name(name: &str) -> bool {
    let whole = match name.strip_prefix("refs/") {
        Some(rest) => !rest.is_empty(),
        None => !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'),
    };
    let forbidden = |char: char| char.is_control() || " ~^:?*[\\".contains(char);
    whole && !name.contains("..") && !name.contains("//") && !name.ends_with(['/', '.']) && !name.contains(forbidden)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_lead_out() {
        for good in ["HEAD", "MERGE_HEAD", "refs/heads/main", "refs/remotes/origin/HEAD", "refs/heads/ä"] {
            assert!(is_name(good), "{good}");
        }
        for bad in
            ["", "config", "refs/", "refs/../config", "refs/heads/..", "/etc/passwd", "refs//x", "refs/a b", "refs/a\0"]
        {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
