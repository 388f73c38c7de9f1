//! Which files of a project could be read: its names, and what version control says of them. Names only; no file is opened but those that
//! hold rules. The `ignore` crate's own walk gives the same and looks for rules where no listing names any, which took longer than all
//! that a run over a known project has left to do; so only its rules are used, and its walk is what the tests compare with.

use crate::disk;
use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, openat, statat};
use std::fs::File;
use std::io::ErrorKind;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;
use vespiary_kernel::grant::Grant;
use vespiary_kernel::scope::Scope;
use vespiary_kernel::sight::Sight;

/// Entries that are looked at; a tree with more is not counted to its end.
const ENTRIES_MAX: usize = 500_000;

/// How much of a listing is asked for at once, bytes.
const LISTING_BYTES: usize = 32 << 10;

/// All rules of a tree together, bytes. Each takes more than a hundred times its length while it is heeded, and a project can be
/// anybody's; a tree with more is not counted to its end.
const RULES_BYTES_MAX: u64 = 1 << 20;

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The files of a project that could be read, directories in the order of their names.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// Relative to the project.
    pub paths: Vec<String>,
    /// Whether there are more.
    pub partial: bool,
}

impl Files {
    /// Those below `root` that `grant` shows and that version control does not ignore. What cannot be listed could not be read either.
    pub fn below(root: &Path, grant: &Grant) -> Self {
        Self::up_to(Left { entries: ENTRIES_MAX, rules_bytes: RULES_BYTES_MAX }, root, grant)
    }

    fn up_to(mut left: Left, root: &Path, grant: &Grant) -> Self {
        let mut found = Self::default();
        let Ok(top) = openat(CWD, root, DIRECTORY.difference(OFlags::NOFOLLOW), Mode::empty()) else { return found };
        let shown = Scope::whole(grant.clone()).rules(None);
        let mut levels: Vec<_> = Level::open(&top, String::new(), None, &mut left).into_iter().collect();
        while let Some(level) = levels.last_mut() {
            let Some((name, is_dir)) = level.entries.pop() else {
                levels.pop();
                continue;
            };
            let path = format!("{}{name}", level.place);
            if level.rules.as_ref().is_some_and(|rules| rules.ignore(&path, is_dir)) {
                continue;
            }
            if is_dir {
                let rules = level.rules.clone();
                levels.extend(Level::open(&top, path, rules, &mut left));
            } else if shown.sight(&path) >= Sight::Read {
                found.paths.push(path);
            }
        }
        found.partial = left.is_none();
        found
    }
}

/// What a walk may still look at.
#[derive(Debug, Clone, Copy)]
struct Left {
    entries: usize,
    rules_bytes: u64,
}

impl Left {
    const NONE: Self = Self { entries: 0, rules_bytes: 0 };

    fn is_none(self) -> bool {
        self.entries == 0
    }
}

/// A directory that is being gone through.
struct Level {
    /// What its entries' names come after: nothing, or its path and a slash.
    place: String,
    rules: Option<Rc<Rules>>,
    /// Files and directories, the next one last.
    entries: Vec<(String, bool)>,
}

impl Level {
    fn open(top: &OwnedFd, path: String, above: Option<Rc<Rules>>, left: &mut Left) -> Option<Self> {
        let place = if path.is_empty() { path } else { path + "/" };
        let dir = openat(top, if place.is_empty() { "." } else { &place }, DIRECTORY, Mode::empty()).ok()?;
        let mut buffer = [const { MaybeUninit::uninit() }; LISTING_BYTES];
        let mut reading = RawDir::new(&dir, &mut buffer);
        let (mut entries, mut ruled) = (Vec::new(), false);
        while let Some(Ok(entry)) = reading.next() {
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            if left.is_none() {
                break;
            }
            left.entries -= 1;
            let kind = match entry.file_type() {
                // Some file systems do not tell in a listing.
                FileType::Unknown => statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW)
                    .map_or(FileType::Unknown, |stat| FileType::from_raw_mode(stat.st_mode)),
                told => told,
            };
            let Ok(name) = name.to_str() else { continue };
            ruled |= matches!(name, OWN | GIT | REPOSITORY);
            if name != REPOSITORY && matches!(kind, FileType::RegularFile | FileType::Directory) {
                entries.push((name.to_owned(), kind == FileType::Directory));
            }
        }
        entries.sort_unstable_by(|one, other| other.cmp(one));
        let rules = if ruled { Some(Rc::new(Rules::read(&dir, &place, above, left)?)) } else { above };
        Some(Self { place, rules, entries })
    }
}

const OWN: &str = ".ignore";
const GIT: &str = ".gitignore";
const REPOSITORY: &str = ".git";
const EXCLUDED: &str = ".git/info/exclude";

/// The rules that hold in one directory: its own, then those above, whatever repository they belong to.
struct Rules {
    own: Option<Gitignore>,
    git: Option<Gitignore>,
    excluded: Option<Gitignore>,
    above: Option<Rc<Rules>>,
}

impl Rules {
    /// `None` where there are more than the walk may heed: then it is at its end.
    fn read(dir: &OwnedFd, place: &str, above: Option<Rc<Rules>>, left: &mut Left) -> Option<Self> {
        let mut rules = |name| rules(dir, place, name, left);
        let (own, git, excluded) = (rules(OWN)?, rules(GIT)?, rules(EXCLUDED)?);
        Some(Self { own, git, excluded, above })
    }

    fn ignore(&self, path: &str, is_dir: bool) -> bool {
        let of = |rules: &Option<Gitignore>| match rules.as_ref().map(|rules| rules.matched(path, is_dir)) {
            None | Some(Match::None) => None,
            Some(Match::Ignore(_)) => Some(true),
            Some(Match::Whitelist(_)) => Some(false),
        };
        let levels = || std::iter::successors(Some(self), |level| level.above.as_deref());
        let own = levels().find_map(|level| of(&level.own));
        own.or_else(|| levels().find_map(|level| of(&level.git)))
            .or_else(|| levels().find_map(|level| of(&level.excluded)))
            .unwrap_or(false)
    }
}

/// The rules in a file; none where there is none that can be read. A line that is no rule is passed over. `None` where there are more
/// than the walk may heed.
fn rules(dir: &OwnedFd, place: &str, name: &str, left: &mut Left) -> Option<Option<Gitignore>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Some(file) = openat(dir, name, flags, Mode::empty()).ok().map(File::from) else { return Some(None) };
    if !file.metadata().is_ok_and(|found| found.is_file()) {
        return Some(None);
    }
    let bytes = match disk::bounded(file, left.rules_bytes) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::FileTooLarge => {
            *left = Left::NONE;
            return None;
        }
        Err(_) => return Some(None),
    };
    left.rules_bytes -= bytes.len() as u64;
    let text = String::from_utf8_lossy(&bytes);
    let mut builder = GitignoreBuilder::new(place);
    for line in text.strip_prefix('\u{feff}').unwrap_or(&text).lines() {
        let _ = builder.add_line(None, line);
    }
    Some(builder.build().ok().filter(|rules| !rules.is_empty()))
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests make their own files")]
mod tests {
    use super::*;
    use ignore::WalkBuilder;
    use proptest::prelude::*;
    use std::fs;

    fn reader() -> Grant {
        Grant::of_run(["read:.".parse().unwrap()])
    }

    /// What the crate's own walk gives.
    fn walked(root: &Path) -> Vec<String> {
        let walk = WalkBuilder::new(root)
            .hidden(false)
            .require_git(false)
            .parents(false)
            .git_global(false)
            .follow_links(false)
            .sort_by_file_name(Ord::cmp)
            .filter_entry(|entry| entry.file_name() != ".git")
            .build();
        let files = walk.flatten().filter(|entry| entry.file_type().is_some_and(|kind| kind.is_file()));
        files.map(|entry| entry.path().strip_prefix(root).unwrap().to_str().unwrap().to_owned()).collect()
    }

    fn rules() -> impl Strategy<Value = Vec<String>> {
        let one = prop::sample::select(vec![
            "a", "b/", "*.log", "!x.log", "/c", "a/b", "**/b", "!a", "c/*", "!c/a", "# note", "\\#a", ".h", "*", "!*/",
            "a**", "[ab]",
        ]);
        prop::collection::vec(one.prop_map(str::to_owned), 1..4)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

        #[test]
        fn it_is_what_the_walk_of_the_crate_gives(
            files in prop::collection::vec("([abc]/){0,3}(a|b|c|x\\.log|y\\.log|\\.h)", 1..25),
            ruled in prop::collection::vec(("([abc]/){0,2}(\\.gitignore|\\.ignore|\\.git/info/exclude)", rules()), 0..4),
            repositories in prop::collection::vec("([abc]/){0,2}\\.git", 0..2),
        ) {
            let dir = tempfile::tempdir().unwrap();
            let root = dir.path();
            let rules = ruled.iter().map(|(path, lines)| (path, lines.join("\n")));
            for (path, content) in rules.chain(files.iter().map(|path| (path, String::new()))) {
                let path = root.join(path);
                // Some name a file where another names a directory: whoever comes first has it.
                if fs::create_dir_all(path.parent().unwrap()).is_ok() && !path.exists() {
                    fs::write(path, content).unwrap();
                }
            }
            for path in &repositories {
                let _ = fs::create_dir_all(root.join(path));
            }
            let found = Files::below(root, &reader());
            prop_assert!(!found.partial);
            prop_assert_eq!(found.paths, walked(root));
        }
    }

    #[test]
    fn links_and_pipes_are_no_files_and_hold_nobody_up() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir(root.join("d")).unwrap();
        fs::write(root.join("d/f"), "").unwrap();
        std::os::unix::fs::symlink("d", root.join("l")).unwrap();
        std::os::unix::fs::symlink("d/f", root.join("m")).unwrap();
        // Rules that nobody writes to the other end of.
        for name in ["d/.gitignore", "p"] {
            rustix::fs::mkfifoat(CWD, root.join(name), Mode::RUSR | Mode::WUSR).unwrap();
        }
        assert_eq!(Files::below(root, &reader()).paths, ["d/f"]);
        assert_eq!(Files::below(&root.join("gone"), &reader()), Files::default());
    }

    #[test]
    fn a_tree_that_is_too_large_is_counted_in_part() {
        let dir = tempfile::tempdir().unwrap();
        for n in 0..4 {
            fs::write(dir.path().join(n.to_string()), "").unwrap();
        }
        for (entries, files, partial) in [(3, 3, true), (5, 4, false)] {
            let found = Files::up_to(Left { entries, rules_bytes: 0 }, dir.path(), &reader());
            assert_eq!((found.paths.len(), found.partial), (files, partial), "{entries}");
        }
    }

    /// Each rule takes far more memory than its text.
    #[test]
    fn rules_are_bounded_over_the_whole_tree_and_read_through_no_link() {
        let (dir, beside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(beside.path().join("rules"), "f").unwrap();
        for name in ["a", "b", "c"] {
            fs::create_dir(dir.path().join(name)).unwrap();
            fs::write(dir.path().join(name).join("f"), "").unwrap();
        }
        std::os::unix::fs::symlink(beside.path().join("rules"), dir.path().join("a/.gitignore")).unwrap();
        for name in ["b", "c"] {
            fs::write(dir.path().join(name).join(".gitignore"), "ffff").unwrap();
        }
        for (rules_bytes, files, partial) in [(8, 5, false), (7, 3, true), (3, 1, true)] {
            let found = Files::up_to(Left { entries: 100, rules_bytes }, dir.path(), &reader());
            assert_eq!((found.paths.len(), found.partial), (files, partial), "{:?}", found.paths);
        }
    }
}
