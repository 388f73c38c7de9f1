//! Looking again at what an earlier call saw. The same trees, rules and digests as for a cell, so that what was hidden from the call
//! is hidden here, and nothing is opened that it could not have opened.

use crate::fs::backing::{Backing, Content, Kind, Make, Near, Opening, Stat};
use crate::fs::overlay::bases::{self, BASES_BYTES_MAX};
use crate::fs::plain::{Plain, open_without_links, stat_file};
use crate::fs::seen::{hash_file, listing_digest};
use crate::fs::tree::Tree;
use crate::fs::{Granted, Preopen, shown_entries};
use crate::known::{Glimpse, Known};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, available_parallelism};
use vespiary_kernel::change::{ChangeSet, Node, TreePath};
use vespiary_kernel::ids::Digest;
use vespiary_kernel::observed::{ContentDigest, Observation, Observed};
use vespiary_kernel::sight::Sight;

/// Observations for which one thread is enough, and the most threads that look.
const OF_ONE_THREAD: usize = 400;
const THREADS_MAX: usize = 4;

/// Tells whether files are as they were, without reading those whose content is known.
#[derive(Debug)]
pub(crate) struct Rechecker {
    known: Arc<Known>,
    threads: usize,
}

impl Rechecker {
    pub(crate) fn new(known: Arc<Known>) -> Self {
        // Asking takes as long as looking at a hundred files.
        let threads = available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
        Self { known, threads }
    }

    /// Whether whoever is granted `granted` meets everything in `seen` in the same state. Much is looked at by several threads.
    pub(crate) fn unchanged(&self, granted: &Granted, seen: &[&Observation]) -> bool {
        let threads = (seen.len() / OF_ONE_THREAD).min(self.threads);
        let differs = &AtomicBool::new(false);
        let look = |part| {
            if !self.all_unchanged(granted, part, differs) {
                differs.store(true, Ordering::Relaxed);
            }
        };
        thread::scope(|scope| {
            let mut parts = seen.chunks(seen.len().div_ceil(threads.max(1)).max(1));
            let own = parts.next().unwrap_or_default();
            for part in parts {
                // Where there is no thread to be had, this one does it.
                if thread::Builder::new().spawn_scoped(scope, move || look(part)).is_err() {
                    look(part);
                }
            }
            look(own);
        });
        !differs.load(Ordering::Relaxed)
    }

    /// The same for a part; given up once another part is known to differ.
    fn all_unchanged(&self, granted: &Granted, seen: &[&Observation], differs: &AtomicBool) -> bool {
        let mut last: Option<(&Tree, Near)> = None;
        seen.iter().all(|seen| {
            if differs.load(Ordering::Relaxed) {
                return false;
            }
            let Some((tree, path)) = place(granted, &seen.path) else { return false };
            let near = match &mut last {
                Some((of, near)) if std::ptr::eq(*of, tree) => near,
                other => &mut other.insert((tree, Near::default())).1,
            };
            self.found(tree, path, &seen.state, near)
        })
    }

    fn found(&self, tree: &Tree, path: &str, state: &Observed, near: &mut Near) -> bool {
        let sight = tree.rules.sight(path);
        if let Observed::Directory { listing: Some(listing) } = state {
            // What is no directory cannot be listed.
            return !matches!(sight, Sight::Outside | Sight::Hidden)
                && shown_entries(tree, path).is_ok_and(|entries| listing_digest(&entries) == *listing);
        }
        let stat = match sight {
            Sight::Outside | Sight::Hidden => None,
            sight => match tree.backing.stat_near(path, near) {
                Ok(stat) if sight == Sight::Passage && stat.kind != Kind::Dir => None,
                Ok(stat) => Some(stat),
                Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NOENT.raw_os_error()) => None,
                Err(_) => return false,
            },
        };
        match (state, stat) {
            (Observed::Absent, None) => true,
            (Observed::File { bytes, content, .. }, Some(stat @ Stat { kind: Kind::File, .. })) => {
                *bytes == stat.bytes && content.is_none_or(|content| self.content(tree, path, &stat) == Some(content))
            }
            (Observed::Directory { .. }, Some(Stat { kind: Kind::Dir, .. })) => true,
            (Observed::Link { target }, Some(Stat { kind: Kind::Link, .. })) => target
                .as_deref()
                .is_none_or(|target| tree.backing.read_link(path).is_ok_and(|now| now.to_str() == Some(target))),
            (Observed::Special, Some(Stat { kind, .. })) => !matches!(kind, Kind::File | Kind::Dir | Kind::Link),
            _ => false,
        }
    }

    fn content(&self, tree: &Tree, path: &str, stat: &Stat) -> Option<ContentDigest> {
        if let Some(digest) = self.known.content(stat) {
            return Some(digest);
        }
        let file = open(&*tree.backing, path).ok()?;
        let before = Glimpse::of(&stat_file(&file).ok()?);
        let digest = hash_file(&file).ok()?.1?;
        self.known.learn(&file, &before, digest);
        Some(digest)
    }
}

/// Whether everything that `changes` changes in the project at `root` is what it was before.
pub(crate) fn is_base(root: &Path, changes: &ChangeSet) -> bool {
    let Ok(project) = project(root) else { return false };
    changes.iter().all(|(path, change)| match node(&project, path) {
        Ok(found) => found.as_ref() == change.before(),
        Err(_) => false,
    })
}

/// The contents of files that `changes` changes, as they are before, by digest; those that are long, more than are held at once, or have
/// changed are left out.
pub(crate) fn bases(root: &Path, changes: &ChangeSet) -> BTreeMap<Digest, Arc<[u8]>> {
    project(root).map_or_else(|_| BTreeMap::new(), |project| bases::bases(&project, changes, BASES_BYTES_MAX))
}

fn project(root: &Path) -> io::Result<Plain> {
    Ok(Plain::new(open_without_links(root)?))
}

/// What is at `path`, as a change set says it.
fn node(project: &Plain, path: &TreePath) -> io::Result<Option<Node>> {
    let path = path.as_str();
    let missing = [rustix::io::Errno::NOENT, rustix::io::Errno::NOTDIR].map(|errno| Some(errno.raw_os_error()));
    let stat = match project.stat(path) {
        Ok(stat) => stat,
        Err(error) if missing.contains(&error.raw_os_error()) => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(Some(match stat.kind {
        Kind::Dir => Node::Directory,
        Kind::Link => Node::Link { target: project.read_link(path)?.to_string_lossy().into_owned() },
        Kind::File => {
            let mut file = open(project, path)?;
            let executable = file.metadata()?.mode() & 0o100 != 0;
            let mut hash = Sha256::new();
            let bytes = io::copy(&mut file, &mut hash)?;
            Node::File { digest: Digest::from_bytes(hash.finalize().into()), bytes, executable }
        }
        Kind::BlockDevice | Kind::CharDevice | Kind::Other => return Err(io::ErrorKind::Unsupported.into()),
    }))
}

fn open(backing: &dyn Backing, path: &str) -> io::Result<File> {
    let opening = Opening { read: true, write: false, make: Make::Never, content: Content::Kept };
    let file = backing.open(path, opening)?;
    // What was a file a moment ago may be a pipe by now.
    if stat_file(&file)?.kind == Kind::File { Ok(file) } else { Err(io::ErrorKind::Unsupported.into()) }
}

/// The tree in which a recorded path lies, and what it is called there.
fn place<'a>(granted: &'a Granted, path: &'a str) -> Option<(&'a Tree, &'a str)> {
    granted.preopens.iter().find_map(|Preopen { tree, .. }| Some((&**tree, tree.rules.inner(path)?)))
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests make their own files")]
mod tests {
    use super::*;
    use crate::scope::Scopes;
    use rustix::fs::{CWD, FileType, Mode};
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use vespiary_kernel::grant::Grant;
    use vespiary_kernel::scope::Scope;

    fn digest(content: &[u8]) -> Option<ContentDigest> {
        Some(ContentDigest(*blake3::hash(content).as_bytes()))
    }

    fn seen(path: &str, state: Observed) -> Observation {
        Observation { path: path.into(), state }
    }

    /// What a reader of everything sees of these paths now, as a cell would record it.
    fn look(root: &Path, granted: &Granted, paths: &[&str]) -> Vec<Observation> {
        let state = |path: &str| {
            let at = if path.starts_with('/') { path.into() } else { root.join(path) };
            match fs::symlink_metadata(&at) {
                Err(_) => Observed::Absent,
                Ok(stat) if stat.is_dir() => {
                    let (tree, inner) = place(granted, path).unwrap();
                    Observed::Directory { listing: Some(listing_digest(&shown_entries(tree, inner).unwrap())) }
                }
                Ok(stat) if stat.is_symlink() => {
                    Observed::Link { target: Some(fs::read_link(&at).unwrap().to_str().unwrap().to_owned()) }
                }
                Ok(stat) => Observed::File { bytes: stat.len(), read: true, content: digest(&fs::read(&at).unwrap()) },
            }
        };
        paths.iter().map(|path| seen(path, state(path))).collect()
    }

    #[test]
    fn one_change_among_many_is_noticed_wherever_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let names: Vec<String> = (0..5 * OF_ONE_THREAD).map(|n| format!("d{}/f{n}", n % 50)).collect();
        for name in &names {
            fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
            fs::write(root.join(name), name).unwrap();
        }
        let granted = Scopes::default().open(root, &Scope::whole(Grant::of_run(["read:.".parse().unwrap()]))).unwrap();
        let state = |name: &String| Observed::File { bytes: name.len() as u64, read: false, content: None };
        let all: Vec<_> = names.iter().map(|name| seen(name, state(name))).collect();
        let all: Vec<_> = all.iter().collect();
        let rechecker = Rechecker::new(Arc::default());
        assert!(rechecker.unchanged(&granted, &all));
        for place in [0, names.len() / 2, names.len() - 1] {
            fs::write(root.join(&names[place]), "longer than it was before").unwrap();
            assert!(!rechecker.unchanged(&granted, &all), "{}", names[place]);
            fs::write(root.join(&names[place]), &names[place]).unwrap();
        }
        assert!(rechecker.unchanged(&granted, &all));
    }

    #[test]
    fn whatever_changed_is_noticed_and_whatever_is_hidden_is_not() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let root = dir.path();
        fs::create_dir(root.join("d")).unwrap();
        for name in ["a", "d/b", "d/c"] {
            fs::write(root.join(name), format!("content of {name}")).unwrap();
        }
        symlink("a", root.join("l")).unwrap();
        fs::write(other.path().join("f"), "beyond").unwrap();
        let beyond = other.path().join("f").to_str().unwrap().to_owned();
        let held = ["read:.".to_owned(), format!("read:{}", other.path().display())];
        let scope = Scope::whole(Grant::of_run(held.iter().map(|held| held.parse().unwrap())));
        let granted = Scopes::default().open(root, &scope).unwrap();
        let all = look(root, &granted, &["a", "d", "d/b", "l", "missing", ".", &beyond]);
        let rechecker = Rechecker::new(Arc::default());
        let same = || rechecker.unchanged(&granted, &all.iter().collect::<Vec<_>>());
        assert!(same() && same());

        // What nobody was shown changes nothing, and times do not either.
        fs::write(root.join("d/.env"), "SECRET").unwrap();
        fs::write(root.join("a"), "content of a").unwrap();
        assert!(same());

        let a = root.join("a");
        type Act<'a> = &'a dyn Fn();
        let changes: [(&str, Act<'_>, Act<'_>); 7] = [
            ("content", &|| fs::write(&a, "CONTENT of a").unwrap(), &|| fs::write(&a, "content of a").unwrap()),
            (
                "a link in place of a file",
                &|| {
                    fs::rename(&a, other.path().join("g")).unwrap();
                    symlink(other.path().join("g"), &a).unwrap();
                },
                &|| {
                    fs::remove_file(&a).unwrap();
                    fs::rename(other.path().join("g"), &a).unwrap();
                },
            ),
            ("a file that was not there", &|| fs::write(root.join("missing"), "").unwrap(), &|| {
                fs::remove_file(root.join("missing")).unwrap();
            }),
            ("a name in a directory", &|| fs::rename(root.join("d/c"), root.join("d/e")).unwrap(), &|| {
                fs::rename(root.join("d/e"), root.join("d/c")).unwrap();
            }),
            (
                "a link that leads elsewhere",
                &|| {
                    fs::remove_file(root.join("l")).unwrap();
                    symlink("d", root.join("l")).unwrap();
                },
                &|| {
                    fs::remove_file(root.join("l")).unwrap();
                    symlink("a", root.join("l")).unwrap();
                },
            ),
            ("another tree", &|| fs::write(&beyond, "BEYOND").unwrap(), &|| fs::write(&beyond, "beyond").unwrap()),
            (
                "a pipe in place of a file",
                &|| {
                    fs::rename(&a, other.path().join("g")).unwrap();
                    rustix::fs::mknodat(CWD, &a, FileType::Fifo, Mode::RUSR, 0).unwrap();
                },
                &|| {
                    fs::remove_file(&a).unwrap();
                    fs::rename(other.path().join("g"), &a).unwrap();
                },
            ),
        ];
        for (what, change, back) in changes {
            change();
            assert!(!same(), "{what}");
            back();
            assert!(same(), "{what}, and back");
        }
        // Who may see less has not seen the same.
        let less = Scope::whole(Grant::of_run(["read:d".parse().unwrap()]));
        let less = Scopes::default().open(root, &less).unwrap();
        assert!(!rechecker.unchanged(&less, &all.iter().collect::<Vec<_>>()));
    }

    #[test]
    fn the_base_of_a_change_is_all_of_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f");
        fs::write(&file, "old\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        let base = Digest::of(b"old\n");
        let set = serde_json::json!({
            "f": {
                "before": { "file": { "digest": base, "bytes": 4, "executable": false } },
                "after": { "file": { "digest": Digest::of(b"new\n"), "bytes": 4, "executable": false } },
            },
            "new/g": { "after": { "link": { "target": "../f" } } },
        });
        let set: ChangeSet = serde_json::from_value(set).unwrap();
        let holds = || is_base(dir.path(), &set);
        assert!(holds());
        assert_eq!(bases(dir.path(), &set).keys().collect::<Vec<_>>(), [&base]);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(!holds());
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        fs::create_dir(dir.path().join("new")).unwrap();
        assert!(holds());
        fs::write(dir.path().join("new/g"), "").unwrap();
        assert!(!holds());
        fs::remove_dir_all(dir.path().join("new")).unwrap();
        fs::write(&file, "odd\n").unwrap();
        assert!(!holds() && bases(dir.path(), &set).is_empty());
    }

    #[test]
    fn the_bases_of_many_changes_are_bounded_together() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = 4 << 20;
        let base = Digest::of(&vec![0; bytes as usize]);
        let removed = |files: u64| {
            let change = |n: u64| {
                let file = fs::File::create(dir.path().join(n.to_string())).unwrap();
                file.set_len(bytes).unwrap();
                let node = Node::File { digest: base, bytes, executable: false };
                (n.to_string().parse().unwrap(), vespiary_kernel::change::Change::new(Some(node), None).unwrap())
            };
            ChangeSet::new((0..files).map(change).collect()).unwrap()
        };
        let fitting = BASES_BYTES_MAX / bytes;
        assert_eq!(bases(dir.path(), &removed(fitting)).len(), 1);
        assert!(bases(dir.path(), &removed(fitting + 1)).is_empty());
    }
}
