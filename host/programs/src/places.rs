//! From a scope to directories: what a program is given to read and to write, and what is laid over. Cells are asked at each
//! opening; a program is not, so what it may not see is looked for before it starts. What does not exist yet cannot be
//! found: a program that may write in a directory may create there what it would not have been shown.
//!
//! What is laid over goes along when a directory above it is moved, and the next run would judge it by its new name. So a
//! directory in which that name decides is a mount of its own, too: a mount cannot be moved.
#![allow(clippy::disallowed_methods, reason = "it looks for what must be hidden")]

use crate::confined::Refused;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use vespiary_kernel::scope::Scope;
use vespiary_kernel::sight::{Rules, Sight};

/// Most directory entries that are looked at for one run.
const ENTRIES_MAX: usize = 300_000;
/// Most places that are laid over, each of which is a mount.
const OVERLAYS_MAX: usize = 2_000;
/// Deepest directory that is looked into.
const DEPTH_MAX: usize = 200;

/// What of the file system a program is given. All paths are absolute and hold no symbolic link.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Places {
    pub(crate) read: BTreeSet<PathBuf>,
    pub(crate) write: BTreeSet<PathBuf>,
    pub(crate) hide: BTreeSet<PathBuf>,
}

impl Places {
    /// What `scope` gives over the project at `root`. Reads directories; changes nothing.
    ///
    /// # Errors
    /// Where a granted path leads through a link, or too much would have to be looked at or hidden.
    pub(crate) fn of(scope: &Scope, root: &Path) -> Result<Self, Refused> {
        let root = fs::canonicalize(root)
            .map_err(|error| Refused::Place(format!("the project {} cannot be used: {error}", root.display())))?;
        let (project, outside) = (scope.rules(None), scope.rules(Some("/")));
        let mut search = Search { project, outside, places: Self::default(), looked_at: 0 };
        for (_, granted) in scope.paths() {
            let base = granted.base();
            search.look_at(&base, &below(&root, &base))?;
        }
        Ok(search.places)
    }

    /// How many mounts it takes.
    fn overlays(&self) -> usize {
        self.read.len() + self.write.len() + self.hide.len()
    }
}

/// The file `name` means: relative to the project, or absolute.
fn below(root: &Path, name: &str) -> PathBuf {
    if name == "." { root.to_owned() } else { root.join(name) }
}

struct Search {
    /// For names relative to the project.
    project: Rules,
    /// For absolute names.
    outside: Rules,
    places: Places,
    looked_at: usize,
}

impl Search {
    /// Look at a granted place, and at all below it.
    fn look_at(&mut self, name: &str, path: &Path) -> Result<(), Refused> {
        let linked = |why: &str| Refused::Place(format!("{} cannot be given to a program: {why}", path.display()));
        match fs::canonicalize(path) {
            Ok(real) if real == path => {}
            Ok(real) => {
                return Err(linked(&format!("a symbolic link leads to {}; grant that instead", real.display())));
            }
            // Nothing is there to give.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(linked(&error.to_string())),
        }
        let access = self.access(name);
        match access {
            Sight::Outside | Sight::Hidden => return Ok(()),
            Sight::Write => self.places.write.insert(path.to_owned()),
            Sight::Read | Sight::Passage => self.places.read.insert(path.to_owned()),
        };
        self.look_below(name, path, access, 0)
    }

    /// Look for what differs below a directory that is given with `access`.
    fn look_below(&mut self, name: &str, dir: &Path, access: Sight, depth: usize) -> Result<(), Refused> {
        let unseen = |why: String| {
            Refused::Place(format!(
                "what is hidden below {} cannot be found ({why}); grant a program smaller directories",
                dir.display()
            ))
        };
        if depth > DEPTH_MAX {
            return Err(unseen("it is too deep".into()));
        }
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            // A single file has nothing below it; what the user cannot look into, the program cannot either.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotADirectory | io::ErrorKind::PermissionDenied) => {
                return Ok(());
            }
            Err(error) => return Err(unseen(error.to_string())),
        };
        for entry in entries {
            let entry = entry.map_err(|error| unseen(error.to_string()))?;
            self.looked_at += 1;
            if self.looked_at > ENTRIES_MAX {
                return Err(unseen(format!("it holds more than {ENTRIES_MAX} entries")));
            }
            let Ok(kind) = entry.file_type() else { continue };
            // A link shows nothing that is not reached by its own name as well.
            if kind.is_symlink() {
                continue;
            }
            let (path, file) = (entry.path(), entry.file_name());
            // A name that no capability can spell can be judged by none, and neither can what lies below it.
            let below = file.to_str().map(|file| match name {
                "." => file.to_owned(),
                "/" => format!("/{file}"),
                name => format!("{name}/{file}"),
            });
            let own = match below.as_deref().map_or(Sight::Outside, |below| self.access(below)) {
                // Only a directory is on the way to something.
                Sight::Passage if !kind.is_dir() => Sight::Outside,
                own => own,
            };
            match own {
                Sight::Outside | Sight::Hidden => self.places.hide.insert(path.clone()),
                Sight::Write if access != Sight::Write => self.places.write.insert(path.clone()),
                Sight::Read | Sight::Passage if access == Sight::Write => self.places.read.insert(path.clone()),
                _ => false,
            };
            if let Some(below) = below.filter(|_| kind.is_dir() && own > Sight::Hidden) {
                let others = self.places.overlays();
                self.look_below(&below, &path, own, depth + 1)?;
                // A place of its own, with the same access, is a mount: it stays where it is.
                if own == Sight::Write && self.places.overlays() > others && !self.is_even_below(&below) {
                    self.places.write.insert(path.clone());
                }
            }
            if self.places.overlays() > OVERLAYS_MAX {
                return Err(unseen(format!("more than {OVERLAYS_MAX} places differ from what is granted around them")));
            }
        }
        Ok(())
    }

    /// What is seen at `name`.
    fn access(&self, name: &str) -> Sight {
        let (rules, name) = self.judged(name);
        rules.sight(name)
    }

    /// Whether the directory `name` may be moved without anything below it being judged otherwise.
    fn is_even_below(&self, name: &str) -> bool {
        let (rules, name) = self.judged(name);
        rules.even_below(name)
    }

    /// The rules that judge `name`, and the name as they know it.
    fn judged<'a>(&self, name: &'a str) -> (&Rules, &'a str) {
        match name.strip_prefix('/') {
            Some("") => (&self.outside, "."),
            Some(below) => (&self.outside, below),
            None => (&self.project, name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vespiary_kernel::grant::Grant;

    fn places(root: &Path, held: &[&str]) -> Result<Places, Refused> {
        let grant = Grant::of_run(held.iter().map(|held| held.parse().unwrap()));
        Places::of(&Scope::whole(grant), root)
    }

    fn project() -> (tempfile::TempDir, PathBuf) {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().canonicalize().unwrap();
        for dir in [".git/hooks", "src/deep", "out"] {
            fs::create_dir_all(root.join(dir)).unwrap();
        }
        for file in [".env", ".git/config", ".git/HEAD", "src/a.rs", "src/b.c", "src/deep/c.rs", "src/deep/.env.local"]
        {
            fs::write(root.join(file), "x").unwrap();
        }
        std::os::unix::fs::symlink("/etc", root.join("etc")).unwrap();
        (temp, root)
    }

    fn below(root: &Path, names: &[&str]) -> BTreeSet<PathBuf> {
        names.iter().map(|name| if name.is_empty() { root.to_owned() } else { root.join(name) }).collect()
    }

    #[test]
    fn a_broad_reader_is_not_shown_what_is_hidden() {
        let (_temp, root) = project();
        let places = places(&root, &["read:."]).unwrap();
        assert_eq!(places.read, below(&root, &[""]));
        assert_eq!(places.write, below(&root, &[]));
        assert_eq!(places.hide, below(&root, &[".env", ".git/config", "src/deep/.env.local"]));
    }

    #[test]
    fn a_broad_writer_does_not_change_what_is_guarded() {
        let (_temp, root) = project();
        let broad = places(&root, &["write:."]).unwrap();
        assert_eq!((broad.write, broad.read), (below(&root, &[""]), below(&root, &[".git"])));
        let named = places(&root, &["write:.git", "read:.env"]).unwrap();
        assert_eq!((named.write, named.read), (below(&root, &[".git"]), below(&root, &[".env"])));
        assert_eq!(named.hide, below(&root, &[".git/config"]));
    }

    #[test]
    fn a_directory_whose_name_decides_what_is_hidden_below_it_is_kept_in_its_place() {
        let (_temp, root) = project();
        for dir in ["home/.kube", "home/.cargo/bin", "home/.config/gh"] {
            fs::create_dir_all(root.join(dir)).unwrap();
        }
        for file in ["home/.kube/config", "home/.config/gh/hosts.yml"] {
            fs::write(root.join(file), "x").unwrap();
        }
        let kept = ["home/.kube", "home/.config", "home/.config/gh"];
        let writer = places(&root, &["write:."]).unwrap();
        assert_eq!(writer.write, below(&root, &["", kept[0], kept[1], kept[2]]), "home and .cargo may be moved");
        assert!(writer.hide.is_superset(&below(&root, &["home/.kube/config", "home/.config/gh/hosts.yml"])));
        // Where nothing is written, nothing is moved.
        assert_eq!(places(&root, &["read:."]).unwrap().write, below(&root, &[]));
    }

    #[test]
    fn what_no_capability_can_spell_is_not_given() {
        use std::os::unix::ffi::OsStrExt as _;
        let (_temp, root) = project();
        let odd = root.join(std::ffi::OsStr::from_bytes(b"caf\xe9"));
        fs::create_dir(&odd).unwrap();
        fs::write(odd.join(".env"), "x").unwrap();
        for held in ["read:.", "write:."] {
            let places = places(&root, &[held]).unwrap();
            assert!(places.hide.contains(&odd) && !places.hide.contains(&odd.join(".env")), "{held}");
        }
    }

    #[test]
    fn a_glob_shows_and_lets_change_only_what_it_means() {
        let (_temp, root) = project();
        let reader = places(&root, &["read:src/**/*.rs"]).unwrap();
        assert_eq!(
            (reader.read, reader.hide),
            (below(&root, &["src"]), below(&root, &["src/b.c", "src/deep/.env.local"]))
        );
        let writer = places(&root, &["write:src/*.rs"]).unwrap();
        assert_eq!((writer.read, writer.write), (below(&root, &["src"]), below(&root, &["src/a.rs"])));
        assert_eq!(writer.hide, below(&root, &["src/b.c", "src/deep"]));
    }

    #[test]
    fn a_granted_link_is_refused_and_a_missing_place_is_none() {
        let (_temp, root) = project();
        assert!(matches!(places(&root, &["read:etc"]), Err(Refused::Place(why)) if why.contains("/etc")));
        assert!(matches!(places(&root, &["read:etc/ssl"]), Err(Refused::Place(_))));
        assert_eq!(places(&root, &["write:gone", "tool:*"]).unwrap(), Places::default());
    }

    #[test]
    fn too_much_to_hide_is_refused() {
        let (_temp, root) = project();
        for n in 0..=OVERLAYS_MAX {
            fs::write(root.join(format!("out/{n}.key")), "").unwrap();
        }
        let refused = places(&root, &["read:."]).unwrap_err().to_string();
        assert!(refused.contains("smaller directories"), "{refused}");
    }
}
