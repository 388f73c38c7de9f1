//! Workflows as files: one named by its path, or by a name that is looked for in the project's and the user's own directories. A
//! name leads nowhere else: it has no slash and no dot, and no link that leaves its directory is followed. Nothing here reads
//! a script's meaning; it is text.

use crate::disk;
use crate::exit::Trouble;
use crate::paths::Home;
use rustix::fd::OwnedFd;
use rustix::fs::{Dir, FileType, Mode, OFlags, ResolveFlags, fstat, open, openat2};
use rustix::io::Errno;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use vespiary_fleet::drive::SCRIPT_BYTES_MAX;
use vespiary_fleet::library::{Found, Library};

/// The longest name, bytes.
const NAME_BYTES_MAX: usize = 64;
/// The most files of one directory that are looked at for a list.
const LISTED_MAX: usize = 1_000;

/// A workflow, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// Its file, as a person would name it.
    pub path: PathBuf,
    /// The file's name without its ending.
    pub title: String,
    /// The JavaScript.
    pub source: String,
    /// Whether it was asked for by name, so that the path is news to whoever asked.
    pub by_name: bool,
}

/// Workflows that are part of the program: their names and sources.
const BUILT_IN: &[(&str, &str)] = &[("audit", include_str!("../../examples/audit.js"))];

/// How the place of those is shown.
const BUILT_IN_PLACE: &str = "(built in)";

/// Where workflows are looked for, first to last: directories, then the program itself.
#[derive(Debug)]
pub struct Shelves(Vec<Shelf>, &'static [(&'static str, &'static str)]);

/// One directory of workflows.
#[derive(Debug)]
struct Shelf {
    /// What must not be left: the project, or the user's settings.
    base: PathBuf,
    /// Relative to it.
    below: &'static str,
    /// How it is shown: relative for the project's.
    shown: PathBuf,
}

/// A workflow that can be run by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Known {
    /// Its name.
    pub name: String,
    /// The file that answers to it.
    pub path: PathBuf,
    /// Files of the same name in later directories, which are not looked at.
    pub hides: Vec<PathBuf>,
}

impl Shelves {
    /// The directories of the project at `root`, then the user's.
    pub fn of(root: &Path, home: &Home) -> Self {
        let project = [".vespiary/workflows", ".claude/workflows"].map(|below| Shelf {
            base: root.to_owned(),
            below,
            shown: PathBuf::from(below),
        });
        let user =
            home.settings().map(|dir| Shelf { base: dir.to_owned(), below: "workflows", shown: dir.join("workflows") });
        Self(project.into_iter().chain(user).collect(), BUILT_IN)
    }

    /// The workflow that `asked` names: a path where it reads as one (it has a slash or a dot), else a name; a file of just that
    /// name in the current directory comes last.
    pub fn find(&self, asked: &Path) -> Result<Script, Trouble> {
        let Some(name) = asked.to_str().filter(|text| is_name(text)) else { return self.at(asked) };
        match self.named(name)? {
            Some(script) => Ok(script),
            None if asked.exists() => self.at(asked),
            None => Err(self.unknown(name)),
        }
    }

    /// The workflow of that name, from the directories of workflows and nowhere else.
    fn named(&self, name: &str) -> Result<Option<Script>, Trouble> {
        for shelf in &self.0 {
            let path = shelf.shown.join(format!("{name}.js"));
            match shelf.read(name) {
                Ok(Some(source)) => {
                    return Ok(Some(Script { path, title: name.to_owned(), source, by_name: true }));
                }
                Ok(None) => {}
                // Whoever has a broken file there does not want one of another place to run in its stead.
                Err(error) => return Err(unreadable(&path, &error, String::new())),
            }
        }
        let built_in = self.1.iter().find(|(known, _)| *known == name);
        Ok(built_in.map(|(name, source)| Script {
            path: built_in_path(name),
            title: (*name).to_owned(),
            source: (*source).to_owned(),
            by_name: true,
        }))
    }

    /// All that can be run by name, in the order of their names.
    pub fn known(&self) -> Vec<Known> {
        let mut known: BTreeMap<String, Known> = BTreeMap::new();
        for shelf in &self.0 {
            for name in shelf.names() {
                let path = shelf.shown.join(format!("{name}.js"));
                match known.get_mut(&name) {
                    Some(first) => first.hides.push(path),
                    None => drop(known.insert(name.clone(), Known { name, path, hides: Vec::new() })),
                }
            }
        }
        for (name, _) in self.1 {
            let path = built_in_path(name);
            match known.get_mut(*name) {
                Some(first) => first.hides.push(path),
                None => {
                    drop(known.insert((*name).to_owned(), Known { name: (*name).to_owned(), path, hides: Vec::new() }))
                }
            }
        }
        known.into_values().collect()
    }

    /// The directories, as they are shown.
    pub fn places(&self) -> Vec<PathBuf> {
        self.0.iter().map(|shelf| shelf.shown.clone()).collect()
    }

    fn at(&self, path: &Path) -> Result<Script, Trouble> {
        let source = disk::read_text(path, SCRIPT_BYTES_MAX).map_err(|error| unreadable(path, &error, self.hint()))?;
        let title = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        Ok(Script { path: path.to_owned(), title, source, by_name: false })
    }

    fn unknown(&self, name: &str) -> Trouble {
        let why = format!("no {name}.js in {}, and no file {name} here", self.shown_places());
        Trouble::usage(format!("there is no workflow named {name:?}"), why, self.hint())
    }

    fn shown_places(&self) -> String {
        let places: Vec<_> = self.0.iter().map(|shelf| shelf.shown.display().to_string()).collect();
        places.join(", ")
    }

    /// What could have been named instead.
    fn hint(&self) -> String {
        let known = self.known();
        let names: Vec<_> = known.iter().take(20).map(|known| known.name.as_str()).collect();
        let files: Vec<_> =
            disk::files_with(Path::new("examples"), "js").iter().take(5).map(|p| p.display().to_string()).collect();
        let file = match &files[..] {
            [] => "the repository's examples/audit.js".to_owned(),
            some => some.join(" or "),
        };
        match names.len() {
            n if n < known.len() => {
                format!("name a workflow: {} and others (`vespiary workflows`), or a file", names.join(", "))
            }
            _ => format!("name a workflow: {}; or a JavaScript file, for example {file}", names.join(", ")),
        }
    }
}

/// How a workflow that is part of the program is shown.
fn built_in_path(name: &str) -> PathBuf {
    Path::new(BUILT_IN_PLACE).join(format!("{name}.js"))
}

impl Library for Shelves {
    fn find(&self, name: &str) -> Result<Found, String> {
        if !is_name(name) {
            let name: String = name.chars().take(NAME_BYTES_MAX).collect();
            return Err(format!(
                "{name:?} does not name a workflow: a name has letters, digits, '-' and '_', and is looked for in {}",
                self.shown_places()
            ));
        }
        match self.named(name) {
            Ok(Some(script)) => Ok(Found { name: script.title, source: script.source }),
            Ok(None) => {
                let known = self.known();
                let names: Vec<_> = known.iter().take(20).map(|known| known.name.as_str()).collect();
                let there = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
                Err(format!("there is no workflow {name:?} in {}; known by name: {there}", self.shown_places()))
            }
            Err(trouble) => Err(format!("{trouble}; {}", trouble.next)),
        }
    }
}

impl Shelf {
    /// None: there is no such directory, or no such file in it.
    fn read(&self, name: &str) -> io::Result<Option<String>> {
        let Some(dir) = self.open()? else { return Ok(None) };
        // A pipe must not make us wait for somebody at its other end.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = match openat2(&dir, format!("{name}.js"), flags, Mode::empty(), inside()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(leads_out(errno)),
        };
        if FileType::from_raw_mode(fstat(&file)?.st_mode) != FileType::RegularFile {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
        }
        let bytes = disk::bounded(File::from(file), SCRIPT_BYTES_MAX)?;
        let text = String::from_utf8(bytes).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e.utf8_error()))?;
        Ok(Some(text))
    }

    fn names(&self) -> Vec<String> {
        let Ok(Some(dir)) = self.open() else { return Vec::new() };
        let entries = Dir::read_from(&dir).into_iter().flatten().filter_map(Result::ok);
        let names = entries.filter_map(|entry| Some(entry.file_name().to_str().ok()?.strip_suffix(".js")?.to_owned()));
        names.filter(|name| is_name(name)).take(LISTED_MAX).collect()
    }

    fn open(&self) -> io::Result<Option<OwnedFd>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let absent = |errno| matches!(errno, Errno::NOENT | Errno::NOTDIR);
        let base = match open(&self.base, flags, Mode::empty()) {
            Ok(base) => base,
            Err(errno) if absent(errno) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        match openat2(&base, self.below, flags, Mode::empty(), inside()) {
            Ok(dir) => Ok(Some(dir)),
            Err(errno) if absent(errno) => Ok(None),
            Err(errno) => Err(leads_out(errno)),
        }
    }
}

/// Letters, digits, `-` and `_`, beginning with a letter or digit: no slash, no dot, nothing that an option could be.
pub fn is_name(text: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        && !text.starts_with(['-', '_'])
}

fn inside() -> ResolveFlags {
    ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS
}

fn leads_out(errno: Errno) -> io::Error {
    match errno {
        Errno::XDEV | Errno::LOOP => io::Error::new(
            io::ErrorKind::PermissionDenied,
            "a link leads out of the directory of workflows; it is not followed",
        ),
        other => other.into(),
    }
}

fn unreadable(path: &Path, error: &io::Error, hint: String) -> Trouble {
    let next = match error.kind() {
        io::ErrorKind::FileTooLarge => "split it, or pass data in --args".to_owned(),
        io::ErrorKind::InvalidData => "save it as UTF-8".to_owned(),
        io::ErrorKind::PermissionDenied if hint.is_empty() => "copy the file there, or name it by its path".to_owned(),
        _ if hint.is_empty() => "correct or remove it, or name another file by its path".to_owned(),
        _ => hint,
    };
    Trouble::usage(format!("the script {} cannot be read", path.display()), error, next)
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests set up what they look at")]
mod tests {
    use super::*;
    use crate::exit::Exit;
    use std::fs;
    use std::os::unix::fs::symlink;

    struct Ground {
        temp: tempfile::TempDir,
        shelves: Shelves,
    }

    fn ground() -> Ground {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().join("project");
        for dir in [".vespiary/workflows", ".claude/workflows"] {
            fs::create_dir_all(root.join(dir)).unwrap();
        }
        fs::create_dir_all(temp.path().join("config/workflows")).unwrap();
        let shelf = |base: PathBuf, below, shown: &str| Shelf { base, below, shown: shown.into() };
        let shelves = Shelves(
            vec![
                shelf(root.clone(), ".vespiary/workflows", ".vespiary/workflows"),
                shelf(root, ".claude/workflows", ".claude/workflows"),
                shelf(temp.path().join("config"), "workflows", "config/workflows"),
            ],
            &[("built", "in")],
        );
        Ground { temp, shelves }
    }

    impl Ground {
        fn write(&self, path: &str, text: &str) {
            fs::write(self.temp.path().join(path), text).unwrap();
        }
    }

    #[test]
    fn the_first_directory_that_has_it_wins() {
        let ground = ground();
        ground.write("config/workflows/a.js", "user");
        ground.write("config/workflows/b.js", "user");
        ground.write("project/.claude/workflows/a.js", "claude");
        let found = ground.shelves.find(Path::new("a")).unwrap();
        assert_eq!((found.source.as_str(), found.path.to_str()), ("claude", Some(".claude/workflows/a.js")));
        ground.write("project/.vespiary/workflows/a.js", "own");
        assert_eq!(ground.shelves.find(Path::new("a")).unwrap().source, "own");
        let known = ground.shelves.known();
        assert_eq!(known.iter().map(|k| k.name.as_str()).collect::<Vec<_>>(), ["a", "b", "built"]);
        assert_eq!(ground.shelves.find(Path::new("built")).unwrap().source, "in");
        ground.write("config/workflows/built.js", "user");
        assert_eq!(
            ground.shelves.find(Path::new("built")).unwrap().source,
            "user",
            "whatever lies in a directory goes first"
        );
        assert_eq!(known[0].hides, [Path::new(".claude/workflows/a.js"), Path::new("config/workflows/a.js")]);
    }

    #[test]
    fn a_name_leads_nowhere_else() {
        let ground = ground();
        ground.write("outside.js", "outside");
        let dir = ground.temp.path().join("project/.vespiary/workflows");
        symlink("../../../outside.js", dir.join("out.js")).unwrap();
        symlink(ground.temp.path().join("outside.js"), dir.join("absolute.js")).unwrap();
        fs::create_dir(dir.join("dir.js")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, dir.join("pipe.js"), Mode::RUSR).unwrap();
        for name in ["out", "absolute", "dir", "pipe"] {
            let trouble = ground.shelves.find(Path::new(name)).unwrap_err();
            assert!(trouble.exit == Exit::Usage && trouble.what.contains(name), "{trouble:?}");
        }
        ground.write("project/.vespiary/workflows/real.js", "real");
        symlink("real.js", dir.join("alias.js")).unwrap();
        assert_eq!(ground.shelves.find(Path::new("alias")).unwrap().source, "real");
        for no_name in ["..", ".", "a/b", "a.js", "-a", "", "ä", "a b"] {
            assert!(!is_name(no_name), "{no_name:?}");
        }
    }

    #[test]
    fn a_script_finds_by_name_and_by_nothing_else() {
        let ground = ground();
        ground.write("project/.claude/workflows/inner.js", "inner");
        ground.write("project/outer.js", "outer");
        symlink("../../../outside.js", ground.temp.path().join("project/.vespiary/workflows/out.js")).unwrap();
        let find = |name: &str| Library::find(&ground.shelves, name);
        assert_eq!(find("inner").unwrap(), Found { name: "inner".into(), source: "inner".into() });
        for path in
            ["../outer", "./inner", "inner.js", "/etc/passwd", "outer.js", "", "..", "a\0b", "\u{1b}[2J", "in ner"]
        {
            let why = find(path).unwrap_err();
            assert!(why.contains("does not name a workflow") && !why.contains('\u{1b}'), "{path:?}: {why}");
        }
        // What `vespiary run` takes from where a person stands, a script does not.
        for absent in ["outer", "project"] {
            assert!(find(absent).unwrap_err().contains("known by name: built, inner"), "{absent}");
        }
        assert!(find("out").unwrap_err().contains("leads out"));
    }

    #[test]
    fn a_directory_that_is_a_link_out_of_the_project_is_not_entered() {
        let ground = ground();
        ground.write("config/workflows/a.js", "theirs");
        let own = ground.temp.path().join("project/.vespiary/workflows");
        fs::remove_dir(&own).unwrap();
        symlink(ground.temp.path().join("config/workflows"), &own).unwrap();
        let trouble = ground.shelves.find(Path::new("a")).unwrap_err();
        assert!(trouble.why.contains("leads out"), "{trouble:?}");
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let ground = ground();
        ground.write("project/.claude/workflows/review.js", "");
        let trouble = ground.shelves.find(Path::new("reveiw")).unwrap_err();
        assert!(trouble.what.contains("\"reveiw\"") && trouble.next.contains("review"), "{trouble:?}");
        assert!(trouble.why.contains(".vespiary/workflows") && trouble.why.contains("config/workflows"), "{trouble:?}");
        let trouble = ground.shelves.find(Path::new("/nowhere.js")).unwrap_err();
        assert!(trouble.exit == Exit::Usage && trouble.next.contains("audit.js"), "{trouble:?}");
    }
}
