//! From a scope to open directories. A relative path is opened beneath the project's root and through no link; what was
//! opened is kept for the next call, as long as the path still names it.

#![allow(clippy::disallowed_methods, reason = "this is where granted directories are opened")]

use crate::files::Preopen;
use cap_fs_ext::DirExt;
use cap_std::ambient_authority;
use cap_std::fs::{Dir, MetadataExt};
use std::collections::VecDeque;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use vespiary_kernel::call::Failure;
use vespiary_kernel::capability::{Capability, ScopePath};
use vespiary_kernel::grant::Grant;
use vespiary_kernel::policy::Denial;
use wasmtime_wasi::{FsPerms, OpenMode};

/// Scopes kept open. Each holds one descriptor for each of its directories and one for its root.
const KEPT: usize = 32;

/// Directories opened for recent calls.
#[derive(Default)]
pub(crate) struct Scopes {
    recent: RwLock<VecDeque<Arc<Opened>>>,
}

struct Opened {
    root: PathBuf,
    scope: Grant,
    /// The root's directory, when a relative path needed it.
    base: Option<(Dir, Identity)>,
    named: Vec<(ScopePath, Identity)>,
    preopens: Arc<[Preopen]>,
}

/// Which directory it is, whatever it is called.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

impl Scopes {
    /// The directories of `scope`, for a project at `root`.
    ///
    /// Fails with `NotFound` for a directory that does not exist, and with `Denied` for a path through a symbolic link.
    pub(crate) fn open(&self, root: &Path, scope: &Grant) -> Result<Arc<[Preopen]>, Failure> {
        if directories(scope).next().is_none() {
            return Ok(Arc::new([]));
        }
        let known = {
            let recent = self.recent.read().unwrap_or_else(PoisonError::into_inner);
            // Compared as text: `Path` compares component by component, which costs more than the rest of the search.
            recent.iter().find(|o| o.root.as_os_str() == root.as_os_str() && o.scope == *scope).cloned()
        };
        if let Some(opened) = known.filter(|opened| opened.is_current()) {
            return Ok(Arc::clone(&opened.preopens));
        }
        let opened = Arc::new(Opened::new(root, scope)?);
        let mut recent = self.recent.write().unwrap_or_else(PoisonError::into_inner);
        recent.retain(|other| other.root != opened.root || other.scope != opened.scope);
        recent.truncate(KEPT - 1);
        recent.push_front(Arc::clone(&opened));
        Ok(Arc::clone(&opened.preopens))
    }
}

impl Opened {
    fn new(root: &Path, scope: &Grant) -> Result<Self, Failure> {
        let mut base = None;
        let mut named = Vec::new();
        let mut preopens = Vec::new();
        for (capability, path, perms) in directories(scope) {
            let dir = if path.is_absolute() {
                Dir::open_ambient_dir(path.as_str(), ambient_authority())
                    .map_err(|error| refused(capability, Path::new(path.as_str()), &error))?
            } else {
                let (root_dir, _) = match &mut base {
                    Some(base) => base,
                    none => none.insert(open_root(root)?),
                };
                open_without_links(root_dir, path.as_str()).map_err(|error| match error {
                    OpenError::Link(link) => through_link(capability, &root.join(link), scope),
                    OpenError::Io(error) => refused(capability, &root.join(path.as_str()), &error),
                })?
            };
            named.push((path.clone(), Identity::of(&dir).map_err(|e| Failure::Host(e.to_string()))?));
            let mode = match perms {
                FsPerms::ReadOnly => OpenMode::READ,
                FsPerms::ReadWrite => OpenMode::READ | OpenMode::WRITE,
            };
            let dir = wasmtime_wasi::filesystem::Dir::new(dir.into_std_file(), perms, mode, true);
            preopens.push(Preopen { dir, name: path.as_str().to_owned() });
        }
        Ok(Self { root: root.to_owned(), scope: scope.clone(), base, named, preopens: preopens.into() })
    }

    /// Whether every path still names the directory that was opened. A directory that was removed and made again, or moved
    /// aside, is another directory.
    fn is_current(&self) -> bool {
        if self.base.as_ref().is_some_and(|(_, identity)| Identity::at(&self.root).ok() != Some(*identity)) {
            return false;
        }
        self.named.iter().all(|(path, identity)| {
            let now = match &self.base {
                _ if path.is_absolute() => Identity::at(Path::new(path.as_str())),
                // The root itself was looked at above.
                _ if path.as_str() == "." => return true,
                Some((root, _)) => root.metadata(path.as_str()).map(|m| Identity { device: m.dev(), inode: m.ino() }),
                None => return false,
            };
            now.ok() == Some(*identity)
        })
    }
}

impl Identity {
    fn of(dir: &Dir) -> io::Result<Self> {
        let metadata = dir.dir_metadata()?;
        Ok(Self { device: metadata.dev(), inode: metadata.ino() })
    }

    fn at(path: &Path) -> io::Result<Self> {
        let metadata = std::fs::metadata(path)?;
        Ok(Self { device: metadata.dev(), inode: metadata.ino() })
    }
}

fn directories(scope: &Grant) -> impl Iterator<Item = (&Capability, &ScopePath, FsPerms)> {
    scope.iter().filter_map(|capability| match capability {
        Capability::Read(path) => Some((capability, path, FsPerms::ReadOnly)),
        Capability::Write(path) => Some((capability, path, FsPerms::ReadWrite)),
        Capability::Tool(_) | Capability::Spawn(_) => None,
    })
}

fn open_root(root: &Path) -> Result<(Dir, Identity), Failure> {
    let opened = Dir::open_ambient_dir(root, ambient_authority()).and_then(|dir| {
        let identity = Identity::of(&dir)?;
        Ok((dir, identity))
    });
    opened.map_err(|error| {
        Failure::NotFound(format!("the project directory {} cannot be opened: {error}", root.display()))
    })
}

enum OpenError {
    /// This part of the path is a symbolic link.
    Link(PathBuf),
    Io(io::Error),
}

/// Open a directory below `root`, step by step, through no link. A guest that may write in one directory could leave a link
/// there, and whoever is granted that name next must not be given what it points to.
fn open_without_links(root: &Dir, path: &str) -> Result<Dir, OpenError> {
    let mut dir = root.try_clone().map_err(OpenError::Io)?;
    let mut so_far = PathBuf::new();
    for part in Path::new(path).components() {
        so_far.push(part);
        dir = dir.open_dir_nofollow(part.as_os_str()).map_err(|error| {
            let is_link = dir.symlink_metadata(part.as_os_str()).is_ok_and(|metadata| metadata.is_symlink());
            if is_link { OpenError::Link(so_far.clone()) } else { OpenError::Io(error) }
        })?;
    }
    Ok(dir)
}

fn through_link(capability: &Capability, link: &Path, scope: &Grant) -> Failure {
    let link = link.display();
    Failure::Denied(Denial {
        needed: capability.to_string(),
        held: scope.to_string(),
        hint: format!("{link} is a symbolic link; grant the directory it leads to by its own name"),
        rule: None,
    })
}

fn refused(capability: &Capability, path: &Path, error: &io::Error) -> Failure {
    let path = path.display();
    match error.kind() {
        io::ErrorKind::NotFound => {
            Failure::NotFound(format!("{capability}: the directory {path} does not exist; create it, or grant another"))
        }
        io::ErrorKind::NotADirectory => {
            Failure::NotFound(format!("{capability}: {path} is not a directory; grant the directory that holds it"))
        }
        _ => Failure::Failed(format!("{capability}: {path} cannot be opened: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(texts: &[&str]) -> Grant {
        Grant::of_run(texts.iter().map(|t| t.parse().unwrap()))
    }

    fn inode(preopens: &[Preopen], at: usize) -> u64 {
        preopens[at].dir.dir.metadata().unwrap().ino()
    }

    #[test]
    fn a_missing_directory_a_file_and_a_link_are_told_apart() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().join("root");
        std::fs::create_dir(&root).unwrap();
        std::fs::create_dir(temp.path().join("outside")).unwrap();
        std::fs::write(root.join("file"), "").unwrap();
        std::os::unix::fs::symlink("../outside", root.join("up")).unwrap();
        std::os::unix::fs::symlink(temp.path().join("outside"), root.join("away")).unwrap();
        std::fs::create_dir_all(root.join("out/below")).unwrap();
        std::os::unix::fs::symlink("out", root.join("inside")).unwrap();
        let scopes = Scopes::default();
        let open = |text: &str| scopes.open(&root, &grant(&[text])).map(drop).unwrap_err();
        assert!(
            matches!(open("read:gone"), Failure::NotFound(why) if why.contains("read:gone") && why.contains("gone does not exist"))
        );
        assert!(matches!(open("write:file"), Failure::NotFound(why) if why.contains("not a directory")));
        for link in ["read:up", "read:away", "write:inside", "write:inside/below"] {
            let refused = open(link);
            assert!(matches!(&refused, Failure::Denied(d) if d.hint.contains("is a symbolic link")), "{refused:?}");
        }
        scopes.open(&root, &grant(&["write:out/below"])).map(drop).unwrap();
    }

    #[test]
    fn a_directory_made_anew_is_opened_anew() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path();
        let (sub, scope, scopes) = (root.join("sub"), grant(&["read:.", "write:sub"]), Scopes::default());
        std::fs::create_dir(&sub).unwrap();
        let first = scopes.open(root, &scope).unwrap();
        assert!(Arc::ptr_eq(&first, &scopes.open(root, &scope).unwrap()), "an unchanged scope is opened once");
        std::fs::rename(&sub, root.join("old")).unwrap();
        std::fs::create_dir(&sub).unwrap();
        let second = scopes.open(root, &scope).unwrap();
        assert_ne!(inode(&first, 1), inode(&second, 1));
        assert_eq!((first[1].name.as_str(), second.len()), ("sub", 2));
    }

    #[test]
    fn only_so_many_scopes_stay_open() {
        let temp = tempfile::tempdir().unwrap();
        let scopes = Scopes::default();
        for n in 0..3 * KEPT {
            let name = format!("d{n}");
            std::fs::create_dir(temp.path().join(&name)).unwrap();
            scopes.open(temp.path(), &grant(&[&format!("read:{name}")])).unwrap();
        }
        assert_eq!(scopes.recent.read().unwrap().len(), KEPT);
    }
}
