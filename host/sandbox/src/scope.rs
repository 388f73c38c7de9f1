//! From a scope to open trees. The project is one tree, each absolute grant another; a relative path is looked at beneath the
//! project's root. No link is followed, neither on the way to a root nor below it: whoever may write in a directory could have
//! left one there, also above what another is granted. What was opened is kept for the next call, as long as the paths still
//! name it.

#![allow(clippy::disallowed_methods, reason = "this is where granted directories are opened")]

use crate::fs::backing::{Backing, Kind};
use crate::fs::overlay::Overlay;
use crate::fs::plain::{Plain, open_without_links, stat_file};
use crate::fs::tree::{Tree, is};
use crate::fs::{Granted, Preopen};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use vespiary_kernel::call::Failure;
use vespiary_kernel::capability::Capability;
use vespiary_kernel::path::ScopePath;
use vespiary_kernel::policy::Denial;
use vespiary_kernel::scope::Scope;
use vespiary_kernel::sight::Access;

/// Scopes kept open. Each holds one descriptor for each of its trees.
const KEPT: usize = 32;

/// Trees opened for recent calls.
#[derive(Default)]
pub(crate) struct Scopes {
    recent: RwLock<VecDeque<Arc<Opened>>>,
}

struct Opened {
    root: PathBuf,
    scope: Scope,
    roots: Vec<Root>,
    granted: Arc<Granted>,
}

/// The root of a tree: where it was opened, and which directory that was.
struct Root {
    /// The absolute path it was granted by; nothing for the project.
    base: Option<String>,
    path: PathBuf,
    /// Which directory that was, whatever it is called: device and inode.
    identity: (u64, u64),
    tree: Arc<Tree>,
}

impl Scopes {
    /// The trees of `scope`, for a project at `root`.
    ///
    /// Fails with `NotFound` for a path that does not exist, and with `Denied` for one through a symbolic link.
    pub(crate) fn open(&self, root: &Path, scope: &Scope) -> Result<Arc<Granted>, Failure> {
        if paths(scope.grant().iter()).next().is_none() {
            return Ok(Arc::default());
        }
        let known = {
            let recent = self.recent.read().unwrap_or_else(PoisonError::into_inner);
            // Compared as text: `Path` compares component by component, which costs more than the rest of the search.
            recent.iter().find(|o| o.root.as_os_str() == root.as_os_str() && o.scope == *scope).cloned()
        };
        if let Some(opened) = known.filter(|opened| opened.is_current()) {
            return Ok(Arc::clone(&opened.granted));
        }
        let opened = Arc::new(Opened::new(root, scope, None)?);
        let mut recent = self.recent.write().unwrap_or_else(PoisonError::into_inner);
        recent.retain(|other| other.root != opened.root || other.scope != opened.scope);
        recent.truncate(KEPT - 1);
        recent.push_front(Arc::clone(&opened));
        Ok(Arc::clone(&opened.granted))
    }

    /// The same for an isolated agent, whose project is `layer`. Whatever else was granted can only be read: it has no layer,
    /// and nothing but a layer is an isolated agent's to change. Nothing is kept: the layer is, and the rest is cheap.
    pub(crate) fn open_above(root: &Path, scope: &Scope, layer: &Overlay) -> Result<Arc<Granted>, Failure> {
        Ok(Opened::new(root, scope, Some(layer))?.granted)
    }
}

impl Opened {
    fn new(root: &Path, scope: &Scope, layer: Option<&Overlay>) -> Result<Self, Failure> {
        let mut roots: Vec<Root> = Vec::new();
        let mut preopens: Vec<Preopen> = Vec::new();
        // Shorter paths first, so that one absolute grant below another is part of its tree.
        let mut granted: Vec<_> =
            paths(scope.grant().iter()).map(|(capability, _, path)| (capability, path.base())).collect();
        granted.sort_by_key(|(_, base)| base.len());
        for (capability, name) in granted {
            if preopens.iter().any(|preopen| preopen.name == name) {
                continue;
            }
            let at = match roots.iter().position(|known| known.inner(&name).is_some()) {
                Some(at) => at,
                None => {
                    roots.push(Root::new(capability, root, &name, scope, layer)?);
                    roots.len() - 1
                }
            };
            let inner = roots[at].inner(&name).unwrap_or_else(|| ".".to_owned());
            let tree = Arc::clone(&roots[at].tree);
            let is_dir = kind_without_links(&tree, &inner).map_err(|error| match error {
                OpenError::Link(link) => through_link(capability, &roots[at].path.join(link), scope),
                OpenError::Io(error) => refused(capability, &roots[at].path.join(&inner), &error),
            })?;
            preopens.push(Preopen { name, tree, path: inner.into(), is_dir });
        }
        Ok(Self { root: root.to_owned(), scope: scope.clone(), roots, granted: Arc::new(Granted { preopens }) })
    }

    /// Whether every path still names what was opened. A directory that was removed and made again, or moved aside, is
    /// another directory; below a root only the kind matters, since nothing there is held open.
    fn is_current(&self) -> bool {
        self.roots.iter().all(|root| identity(&root.path).ok() == Some(root.identity))
            && self.granted.preopens.iter().all(|preopen| {
                let wanted = if preopen.is_dir { Kind::Dir } else { Kind::File };
                // The roots themselves were looked at above.
                &*preopen.path == "." || preopen.tree.backing.stat(&preopen.path).is_ok_and(|stat| stat.kind == wanted)
            })
    }
}

impl Root {
    /// Open the tree that `path` lies in: the project, or the directory an absolute path names or lies in.
    fn new(
        capability: &Capability,
        project: &Path,
        path: &str,
        scope: &Scope,
        layer: Option<&Overlay>,
    ) -> Result<Self, Failure> {
        let is_absolute = path.starts_with('/');
        let wanted = if is_absolute { Path::new(path) } else { project };
        let opened = if is_absolute { directory_of(wanted) } else { open_root(wanted) };
        let (opened_at, identity, dir) = opened.map_err(|error| match first_link(wanted, &error) {
            Some(link) => through_link(capability, &link, scope),
            None if is_absolute => refused(capability, wanted, &error),
            None => Failure::NotFound(format!("the project directory {} cannot be opened: {error}", wanted.display())),
        })?;
        let base = is_absolute.then(|| opened_at.to_string_lossy().into_owned());
        let plain = || Box::new(Plain::new(dir));
        let (backing, rules): (Box<dyn Backing>, _) = match (layer, &base) {
            (Some(layer), None) => (Box::new(layer.clone()), scope.rules(None)),
            (Some(_), Some(base)) => (plain(), scope.rules_of_reader(Some(base))),
            (None, base) => (plain(), scope.rules(base.as_deref())),
        };
        let tree = Arc::new(Tree::new(backing, rules));
        Ok(Self { base, path: opened_at, identity, tree })
    }

    /// `path` as this tree knows it, when it lies in this tree.
    fn inner(&self, path: &str) -> Option<String> {
        match &self.base {
            None => (!path.starts_with('/')).then(|| path.to_owned()),
            Some(own) if own == path => Some(".".to_owned()),
            Some(own) => {
                let rest = path.strip_prefix(own.trim_end_matches('/'))?.strip_prefix('/')?;
                Some(rest.to_owned())
            }
        }
    }
}

fn paths<'a>(
    capabilities: impl IntoIterator<Item = &'a Capability>,
) -> impl Iterator<Item = (&'a Capability, Access, &'a ScopePath)> {
    capabilities.into_iter().filter_map(|capability| match capability {
        Capability::Read(path) => Some((capability, Access::Read, path)),
        Capability::Write(path) => Some((capability, Access::Write, path)),
        _ => None,
    })
}

/// The paths that capabilities name, with the access each gives.
#[cfg(test)]
pub(crate) fn rule_paths(capabilities: &[Capability]) -> impl Iterator<Item = (Access, &ScopePath)> {
    paths(capabilities).map(|(_, access, path)| (access, path))
}

/// Which directory `path` names, through no link.
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    Ok(stat_file(&open_without_links(path)?)?.identity)
}

/// Where a tree begins, which directory that is, and the directory.
fn open_root(path: &Path) -> io::Result<(PathBuf, (u64, u64), OwnedFd)> {
    let dir = open_without_links(path)?;
    Ok((path.to_owned(), stat_file(&dir)?.identity, dir))
}

/// The same for the directory an absolute path names, or the one that holds the file it names.
fn directory_of(path: &Path) -> io::Result<(PathBuf, (u64, u64), OwnedFd)> {
    match (open_root(path), path.parent()) {
        // Something is there, and is looked at below.
        (Err(error), Some(above)) if is(&error, Errno::NOTDIR) => open_root(above),
        (opened, _) => opened,
    }
}

/// The link on the way to `path` because of which it was not opened.
fn first_link(path: &Path, error: &io::Error) -> Option<PathBuf> {
    let is_link = |path: &&Path| std::fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink());
    let link = || path.ancestors().filter(is_link).last().unwrap_or(path).to_owned();
    is(error, Errno::LOOP).then(link)
}

enum OpenError {
    /// Some part of the path is a symbolic link.
    Link(PathBuf),
    Io(io::Error),
}

/// Whether `path` is a directory or a file, looked at step by step, through no link. A guest that may write in one directory
/// could leave a link there, and whoever is granted that name next must not be given what it points to.
fn kind_without_links(tree: &Tree, path: &str) -> Result<bool, OpenError> {
    let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
    let mut is_dir = true;
    for step in ends.map(|end| &path[..end]) {
        match tree.backing.stat(step).map_err(OpenError::Io)?.kind {
            Kind::Dir => is_dir = true,
            Kind::File => is_dir = false,
            Kind::Link => return Err(OpenError::Link(PathBuf::from(step))),
            Kind::BlockDevice | Kind::CharDevice | Kind::Other => {
                return Err(OpenError::Io(rustix::io::Errno::PERM.into()));
            }
        }
    }
    Ok(is_dir)
}

fn through_link(capability: &Capability, link: &Path, scope: &Scope) -> Failure {
    let link = link.display();
    Failure::Denied(Denial {
        needed: capability.to_string(),
        held: scope.to_string(),
        hint: format!("{link} is a symbolic link; grant what it leads to by its own name"),
        rule: None,
    })
}

fn refused(capability: &Capability, path: &Path, error: &io::Error) -> Failure {
    let path = path.display();
    match error.kind() {
        io::ErrorKind::NotFound => {
            Failure::NotFound(format!("{capability}: {path} does not exist; create it, or grant another"))
        }
        io::ErrorKind::NotADirectory => {
            Failure::NotFound(format!("{capability}: {path} lies below something that is not a directory"))
        }
        _ => Failure::Failed(format!("{capability}: {path} cannot be opened: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vespiary_kernel::grant::Grant;

    fn grant(texts: &[&str]) -> Scope {
        Scope::whole(Grant::of_run(texts.iter().map(|t| t.parse().unwrap())))
    }

    fn inode(scope: &Granted, at: usize) -> u64 {
        let preopen = &scope.preopens[at];
        preopen.tree.backing.stat(&preopen.path).unwrap().identity.1
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
        assert!(matches!(open("write:file/below"), Failure::NotFound(why) if why.contains("not a directory")));
        for link in ["read:up", "read:away", "write:inside", "write:inside/below"] {
            let refused = open(link);
            assert!(matches!(&refused, Failure::Denied(d) if d.hint.contains("is a symbolic link")), "{refused:?}");
        }
        scopes.open(&root, &grant(&["write:out/below"])).map(drop).unwrap();
        let one_file = scopes.open(&root, &grant(&["read:file"])).unwrap();
        assert!(!one_file.preopens[0].is_dir);
        let absolute = |name: &str| format!("read:{}", root.join(name).display());
        let several =
            scopes.open(&root, &grant(&[&absolute("out"), &absolute("out/below"), &absolute("file")])).unwrap();
        let places: Vec<_> = several.preopens.iter().map(|preopen| (&*preopen.path, preopen.is_dir)).collect();
        assert_eq!(places, [(".", true), ("file", false)], "a grant that another covers is part of it");
    }

    /// A guest that may write in `out` leaves links there, and whoever is granted one of these names next is another.
    #[test]
    fn no_link_on_the_way_to_an_absolute_grant_is_followed() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().canonicalize().unwrap();
        for made in ["root", "out/sub", "secret/deep"] {
            std::fs::create_dir_all(dir.join(made)).unwrap();
        }
        std::fs::write(dir.join("secret/file"), "outside").unwrap();
        std::fs::write(dir.join("out/file"), "inside").unwrap();
        for (link, says) in [("dir", "../secret"), ("single", "../secret/file"), ("within", "sub"), ("gone", "nowhere")]
        {
            std::os::unix::fs::symlink(says, dir.join("out").join(link)).unwrap();
        }
        let scopes = Scopes::default();
        let open = |access: &str, name: &str| {
            scopes.open(&dir.join("root"), &grant(&[&format!("{access}:{}", dir.join(name).display())]))
        };
        for access in ["read", "write"] {
            for (name, link) in [
                ("out/dir", "out/dir"),
                ("out/dir/deep", "out/dir"),
                ("out/dir/file", "out/dir"),
                ("out/dir/none", "out/dir"),
                ("out/dir/**/*.txt", "out/dir"),
                ("out/single", "out/single"),
                ("out/single/x", "out/single"),
                ("out/within", "out/within"),
                ("out/gone", "out/gone"),
            ] {
                let refused = open(access, name).map(drop).unwrap_err();
                let link = dir.join(link).display().to_string();
                assert!(
                    matches!(&refused, Failure::Denied(denial) if denial.hint.starts_with(&format!("{link} is a symbolic link"))),
                    "{access}:{name}: {refused:?}"
                );
            }
            open(access, "out/sub").unwrap();
            assert!(!open(access, "out/file").unwrap().preopens[0].is_dir);
            assert!(
                matches!(open(access, "out/none"), Err(Failure::NotFound(why)) if why.contains("out/none does not exist"))
            );
            assert!(
                matches!(open(access, "out/file/x"), Err(Failure::NotFound(why)) if why.contains("not a directory"))
            );
        }
    }

    /// What was opened is kept, and must not be taken for what stands in its place.
    #[test]
    fn a_root_that_a_link_replaced_is_not_opened_again() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().canonicalize().unwrap();
        for made in ["root", "out"] {
            std::fs::create_dir(dir.join(made)).unwrap();
        }
        let (root, out, scopes) = (dir.join("root"), dir.join("out"), Scopes::default());
        let (absolute, relative) = (grant(&[&format!("write:{}", out.display())]), grant(&["read:."]));
        let denied = |opened: Result<Arc<Granted>, Failure>| matches!(opened, Err(Failure::Denied(denial)) if denial.hint.contains("is a symbolic link"));
        scopes.open(&root, &absolute).unwrap();
        scopes.open(&root, &relative).unwrap();
        for (place, scope) in [(&out, &absolute), (&root, &relative)] {
            let aside = dir.join("moved");
            std::fs::rename(place, &aside).unwrap();
            // Even one to the very same directory: what it leads to is somebody else's to change.
            std::os::unix::fs::symlink(&aside, place).unwrap();
            assert!(denied(scopes.open(&root, scope)), "{}", place.display());
            std::fs::remove_file(place).unwrap();
            std::fs::rename(&aside, place).unwrap();
            scopes.open(&root, scope).unwrap();
        }
    }

    #[test]
    fn a_directory_made_anew_is_opened_anew() {
        let temp = tempfile::tempdir().unwrap();
        let (root, away) = (&temp.path().join("root"), temp.path().join("away"));
        let (sub, scope, scopes) = (root.join("sub"), grant(&["read:.", "write:sub"]), Scopes::default());
        std::fs::create_dir_all(&sub).unwrap();
        let first = scopes.open(root, &scope).unwrap();
        assert!(Arc::ptr_eq(&first, &scopes.open(root, &scope).unwrap()), "an unchanged scope is opened once");
        std::fs::rename(&sub, root.join("old")).unwrap();
        std::fs::create_dir(&sub).unwrap();
        let second = scopes.open(root, &scope).unwrap();
        assert_eq!((first.preopens[1].name.as_str(), second.preopens.len()), ("sub", 2));
        assert!(
            Arc::ptr_eq(&first, &second),
            "what lies below a root is not held open, so that it need not be opened anew"
        );
        std::fs::rename(root, &away).unwrap();
        std::fs::create_dir_all(&sub).unwrap();
        let third: Arc<Granted> = scopes.open(root, &scope).unwrap();
        assert_ne!(inode(&first, 0), inode(&third, 0));
        assert!(std::fs::remove_dir(&sub).is_ok() && matches!(scopes.open(root, &scope), Err(Failure::NotFound(_))));
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
