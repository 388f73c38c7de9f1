//! Writing a change set into the tree it was made for: everything is checked first, contents are laid down beside the tree's own
//! files before anything moves, and each path is looked at once more when its turn comes. No link is ever followed. Done twice
//! it does nothing the second time, so what was interrupted is finished by doing it again. What may be applied is decided by the
//! caller.

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use vespiary_kernel::change::{Change, ChangeSet, Node, TreePath};
use vespiary_kernel::ids::Digest;

/// The largest file that is compared with a change set, bytes; no change set holds a larger one.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// A directory that change sets are applied to.
#[derive(Debug)]
pub struct Target {
    root: OwnedFd,
    device: u64,
    /// Where contents wait: a name in the root that nobody else uses.
    staging: String,
}

/// A path that is not as the change set found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Differs {
    /// Which.
    pub path: TreePath,
    /// In what, in words.
    pub why: String,
}

/// Why not all of a change set was written.
#[derive(Debug, thiserror::Error)]
pub enum Stopped {
    /// None of it was.
    #[error("{0}")]
    Before(#[source] io::Error),
    /// Some of it may have been.
    #[error("{0}")]
    Amid(#[source] io::Error),
}

/// How a path stands to a change.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Standing {
    /// As the change found it.
    Before,
    /// As the change leaves it.
    After,
    /// What was there has made way for another sort of thing, which has not come yet.
    Between,
    /// Otherwise.
    Differs(String),
}

impl Target {
    /// The directory at `root`. `id` names whoever applies: leftovers of the same are cleared away, those of others never.
    pub fn open(root: &Path, id: &str) -> io::Result<Self> {
        let root = rustix::fs::open(root, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let device = rustix::fs::fstat(&root)?.st_dev;
        Ok(Self { root, device, staging: format!(".vespiary-apply-{id}") })
    }

    /// Every path that is neither as the change set found it nor as it leaves it. Empty: it can be applied. Reads every file.
    /// `begun` says that an attempt was interrupted, which may have left a path between the two.
    pub fn differences(&self, set: &ChangeSet, begun: bool) -> io::Result<Vec<Differs>> {
        let mut differing = Vec::new();
        for (path, change) in set {
            let standing = match self.standing(path, change)? {
                Standing::Before => self.obstacle(path, change, set)?.map_or(Standing::Before, Standing::Differs),
                Standing::Between if !begun => {
                    Standing::Differs(format!("there should be {}, and there is nothing", words(change.before())))
                }
                standing => standing,
            };
            if let Standing::Differs(why) = standing {
                differing.push(Differs { path: path.clone(), why });
            }
        }
        Ok(differing)
    }

    /// Every path that is as the change set leaves it, or from which something has gone while nothing has come.
    pub fn in_place(&self, set: &ChangeSet) -> io::Result<Vec<TreePath>> {
        let mut placed = Vec::new();
        for (path, change) in set {
            if matches!(self.standing(path, change)?, Standing::After | Standing::Between) {
                placed.push(path.clone());
            }
        }
        Ok(placed)
    }

    /// Write it. `content` gives what the set names by digest. Stops at the first path that changes under it.
    pub fn apply(&self, set: &ChangeSet, content: impl Fn(&Digest) -> io::Result<Vec<u8>>) -> Result<(), Stopped> {
        let begun = || -> io::Result<OwnedFd> {
            self.clear_staging()?;
            rustix::fs::mkdirat(&self.root, self.staging.as_str(), Mode::RWXU)?;
            let staging = open_dir(self.root.as_fd(), &self.staging)?;
            self.stage(set, &staging, content).map(|()| staging)
        };
        // Whatever happens: what waits there is in the ledger, and what is placed is not there any more.
        let staging = begun().map_err(|error| {
            let _ = self.clear_staging();
            Stopped::Before(error)
        })?;
        let placed = self.place(set, &staging);
        let cleared = self.clear_staging();
        let done = placed.and(cleared).and_then(|()| Ok(rustix::fs::syncfs(&self.root)?));
        done.map_err(Stopped::Amid)
    }

    /// All contents and links, under numbers. Whatever runs out, runs out here, while nothing has changed.
    fn stage(
        &self,
        set: &ChangeSet,
        staging: &OwnedFd,
        content: impl Fn(&Digest) -> io::Result<Vec<u8>>,
    ) -> io::Result<()> {
        for (number, (path, change)) in set.iter().enumerate() {
            let name = number.to_string();
            match change.after() {
                Some(Node::Link { target }) => rustix::fs::symlinkat(target.as_str(), staging, name.as_str())?,
                Some(Node::File { digest, executable, .. }) => {
                    let bytes = content(digest)?;
                    if Digest::of(&bytes) != *digest {
                        return Err(io::Error::other(format!("the content kept for {path} is another")));
                    }
                    let mode = if *executable { 0o777 } else { 0o666 };
                    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                    let file = rustix::fs::openat(staging, name.as_str(), flags, Mode::from_raw_mode(mode))?;
                    if let Some(old) = self.stat(path)?.filter(|old| kind(old) == FileType::RegularFile) {
                        // Who may read the file stays as it was; only whether it is executed is the change's to say.
                        let read = old.st_mode & 0o444;
                        let run = if *executable { (old.st_mode & 0o111) | (read >> 2) } else { 0 };
                        rustix::fs::fchmod(&file, Mode::from_raw_mode((old.st_mode & 0o666) | run))?;
                    }
                    let mut file = File::from(file);
                    file.write_all(&bytes)?;
                    file.sync_data()?;
                }
                Some(Node::Directory) | None => {}
            }
        }
        Ok(())
    }

    /// First what goes, the deepest first; then what comes, the other way round.
    fn place(&self, set: &ChangeSet, staging: &OwnedFd) -> io::Result<()> {
        let changes: Vec<(usize, (&TreePath, &Change))> = set.iter().enumerate().collect();
        for (_, (path, change)) in changes.iter().rev() {
            let goes = change.before().is_some() && change.after().is_none();
            if (goes || makes_way(change)) && self.expect(path, change)? == Standing::Before {
                let is_dir = change.before().is_some_and(Node::is_dir);
                let flags = if is_dir { AtFlags::REMOVEDIR } else { AtFlags::empty() };
                let (dir, name) = self.above(path)?;
                rustix::fs::unlinkat(&dir, name, flags).map_err(|errno| at(path, errno))?;
            }
        }
        for (number, (path, change)) in changes {
            let Some(after) = change.after() else { continue };
            if self.expect(path, change)? == Standing::After {
                continue;
            }
            let (dir, name) = self.above(path)?;
            let placed = match after {
                Node::Directory => rustix::fs::mkdirat(&dir, name, Mode::from_raw_mode(0o777)),
                Node::File { .. } | Node::Link { .. } => rustix::fs::renameat(staging, number.to_string(), &dir, name),
            };
            placed.map_err(|errno| at(path, errno))?;
        }
        Ok(())
    }

    /// How a path stands now, when it must be one or the other.
    fn expect(&self, path: &TreePath, change: &Change) -> io::Result<Standing> {
        match self.standing(path, change)? {
            Standing::Differs(why) => Err(io::Error::other(format!("{path} changed meanwhile: {why}"))),
            standing => Ok(standing),
        }
    }

    fn standing(&self, path: &TreePath, change: &Change) -> io::Result<Standing> {
        let node = match self.node(path) {
            Ok(node) => node,
            Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
                return Ok(Standing::Differs("a symbolic link is in the way".into()));
            }
            Err(error) => return Err(io::Error::new(error.kind(), format!("{path}: {error}"))),
        };
        let node = match node {
            Some(Err(what)) => return Ok(Standing::Differs(format!("{what} is there"))),
            Some(Ok(node)) => Some(node),
            None => None,
        };
        Ok(if node.is_none() && makes_way(change) {
            Standing::Between
        } else if node.as_ref() == change.after() {
            Standing::After
        } else if node.as_ref() == change.before() {
            Standing::Before
        } else {
            Standing::Differs(format!(
                "there should be {}, and there is {}",
                words(change.before()),
                words(node.as_ref())
            ))
        })
    }

    /// What would stop a change although its own path is as it should be: something else in a directory that is to go, a
    /// directory above that is not there, a place on another file system, or our own place.
    fn obstacle(&self, path: &TreePath, change: &Change, set: &ChangeSet) -> io::Result<Option<String>> {
        if path.as_str().split('/').next() == Some(self.staging.as_str()) {
            return Ok(Some("the name is needed while changes are applied".into()));
        }
        let goes = change.before().is_some_and(Node::is_dir);
        if goes {
            let (above, name) = self.above(path)?;
            for entry in Dir::read_from(open_dir(above.as_fd(), name)?)? {
                let entry = entry?;
                let name = entry.file_name().to_bytes();
                if matches!(name, b"." | b"..") {
                    continue;
                }
                let known = std::str::from_utf8(name).ok().and_then(|name| set.at(&format!("{path}/{name}")));
                if known.is_none_or(|change| change.after().is_some()) {
                    return Ok(Some(format!("it still holds {:?}", String::from_utf8_lossy(name))));
                }
            }
        }
        match self.above(path) {
            Ok((above, _)) if rustix::fs::fstat(&above)?.st_dev != self.device => {
                Ok(Some("it lies on another file system than the rest".into()))
            }
            Ok(_) => Ok(None),
            Err(_) => {
                let made = |above: &str| set.at(above).and_then(Change::after).is_some_and(Node::is_dir);
                let missing = path.above().next().is_some_and(|above| !made(above)) && change.after().is_some();
                Ok(missing.then(|| "the directory in which it lies is not there".into()))
            }
        }
    }

    /// What is at `path`: nothing, something a change set can name, or something else, in a word.
    fn node(&self, path: &TreePath) -> io::Result<Option<Result<Node, &'static str>>> {
        let (dir, name) = match self.above(path) {
            Ok(found) => found,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let stat = match rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        Ok(Some(match kind(&stat) {
            FileType::Directory => Ok(Node::Directory),
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(&dir, name, Vec::new())?;
                let target = std::ffi::OsStr::from_bytes(target.to_bytes()).to_str().map(str::to_owned);
                target.map(|target| Node::Link { target }).ok_or("a link with a name that is no text")
            }
            FileType::RegularFile => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let file = File::from(rustix::fs::openat(&dir, name, flags, Mode::empty())?);
                let opened = rustix::fs::fstat(&file)?;
                let mut content = Vec::new();
                file.take(FILE_BYTES_MAX + 1).read_to_end(&mut content)?;
                if kind(&opened) != FileType::RegularFile || content.len() as u64 > FILE_BYTES_MAX {
                    return Ok(Some(Err("something else")));
                }
                let (digest, bytes) = (Digest::of(&content), content.len() as u64);
                Ok(Node::File { digest, bytes, executable: opened.st_mode & 0o100 != 0 })
            }
            _ => Err("a special file"),
        }))
    }

    fn stat(&self, path: &TreePath) -> io::Result<Option<Stat>> {
        let Ok((dir, name)) = self.above(path) else { return Ok(None) };
        match rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The directory in which `path` stands, opened name by name and through no link, and its last name.
    fn above<'a>(&self, path: &'a TreePath) -> io::Result<(OwnedFd, &'a str)> {
        let (dirs, name) = path.as_str().rsplit_once('/').unwrap_or(("", path.as_str()));
        let mut dir = self.root.try_clone()?;
        for step in dirs.split('/').filter(|step| !step.is_empty()) {
            dir = open_dir(dir.as_fd(), step)?;
        }
        Ok((dir, name))
    }

    /// Remove what an earlier attempt of the same left.
    pub fn clear_staging(&self) -> io::Result<()> {
        let staging = match open_dir(self.root.as_fd(), &self.staging) {
            Ok(staging) => staging,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        for entry in Dir::read_from(&staging)? {
            let entry = entry?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                rustix::fs::unlinkat(&staging, entry.file_name(), AtFlags::empty())?;
            }
        }
        Ok(rustix::fs::unlinkat(&self.root, self.staging.as_str(), AtFlags::REMOVEDIR)?)
    }
}

/// Whether what is there has to go before what comes can come.
fn makes_way(change: &Change) -> bool {
    matches!((change.before(), change.after()), (Some(before), Some(after)) if before.is_dir() != after.is_dir())
}

fn open_dir(dir: impl AsFd, name: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(&dir, name, flags, Mode::empty()).map_err(|errno| {
        // A link that is not followed is no directory; what matters is that it is a link.
        let is_link = errno == Errno::NOTDIR
            && rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|s| kind(&s) == FileType::Symlink);
        if is_link { Errno::LOOP.into() } else { errno.into() }
    })
}

fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

fn at(path: &TreePath, errno: Errno) -> io::Error {
    let error = io::Error::from(errno);
    io::Error::new(error.kind(), format!("{path}: {error}"))
}

fn words(node: Option<&Node>) -> String {
    match node {
        None => "nothing".into(),
        Some(Node::Directory) => "a directory".into(),
        Some(Node::Link { target }) => format!("a link to {target:?}"),
        Some(Node::File { digest, bytes, executable }) => {
            let run = if *executable { "an executable" } else { "a file" };
            format!("{run} of {bytes} bytes (sha256 {})", digest.short())
        }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests set the disk up and look at it")]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn file(text: &str, executable: bool) -> Option<Node> {
        Some(Node::File { digest: Digest::of(text.as_bytes()), bytes: text.len() as u64, executable })
    }

    fn set(changes: &[(&str, Option<Node>, Option<Node>)]) -> ChangeSet {
        let change = |(path, before, after): &(&str, Option<Node>, Option<Node>)| {
            (path.parse().unwrap(), Change::new(before.clone(), after.clone()).unwrap())
        };
        ChangeSet::new(changes.iter().map(change).collect()).unwrap()
    }

    fn contents(texts: &[&str]) -> impl Fn(&Digest) -> io::Result<Vec<u8>> + use<> {
        let known: BTreeMap<Digest, Vec<u8>> =
            texts.iter().map(|text| (Digest::of(text.as_bytes()), text.as_bytes().to_vec())).collect();
        move |digest| known.get(digest).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn tree() -> tempfile::TempDir {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir_all(temp.path().join("src/old")).unwrap();
        fs::write(temp.path().join("src/a"), "a").unwrap();
        fs::write(temp.path().join("src/old/b"), "b").unwrap();
        fs::set_permissions(temp.path().join("src/a"), fs::Permissions::from_mode(0o640)).unwrap();
        temp
    }

    fn whole() -> ChangeSet {
        let dir = Some(Node::Directory);
        set(&[
            ("src/a", file("a", false), file("A", true)),
            ("src/old", dir.clone(), file("now a file", false)),
            ("src/old/b", file("b", false), None),
            ("new", None, dir),
            ("new/x", None, file("x", false)),
            ("new/link", None, Some(Node::Link { target: "x".into() })),
        ])
    }

    const TEXTS: &[&str] = &["A", "x", "now a file"];

    #[test]
    fn everything_is_written_once_and_a_second_time_nothing_is() {
        let temp = tree();
        let target = Target::open(temp.path(), "r").unwrap();
        assert_eq!(target.differences(&whole(), false).unwrap(), []);
        target.apply(&whole(), contents(TEXTS)).unwrap();
        let read = |path: &str| fs::read_to_string(temp.path().join(path)).unwrap();
        assert_eq!((read("src/a"), read("src/old"), read("new/link")), ("A".into(), "now a file".into(), "x".into()));
        let mode = fs::metadata(temp.path().join("src/a")).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o750, "whoever could read it can, and nobody else");
        assert!(!temp.path().join(".vespiary-apply-r").exists());
        assert_eq!(target.differences(&whole(), false).unwrap(), []);
        target.apply(&whole(), contents(TEXTS)).unwrap();
    }

    #[test]
    fn what_differs_is_told_path_by_path() {
        let temp = tree();
        fs::write(temp.path().join("src/a"), "mine").unwrap();
        fs::write(temp.path().join("src/old/more"), "").unwrap();
        fs::write(temp.path().join("new"), "in the way").unwrap();
        let target = Target::open(temp.path(), "r").unwrap();
        let told: Vec<_> =
            target.differences(&whole(), false).unwrap().into_iter().map(|d| (d.path.to_string(), d.why)).collect();
        assert_eq!(told.iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>(), ["new", "src/a", "src/old"]);
        assert!(told[1].1.contains("4 bytes") && told[2].1.contains("more"), "{told:?}");
    }

    #[test]
    fn no_link_is_followed_wherever_it_stands() {
        let (temp, outside) = (tree(), tempfile::tempdir().unwrap());
        fs::write(outside.path().join("a"), "a").unwrap();
        let one = set(&[("src/a", file("a", false), file("A", false))]);
        let target = Target::open(temp.path(), "r").unwrap();
        fs::rename(temp.path().join("src"), temp.path().join("aside")).unwrap();
        symlink(outside.path(), temp.path().join("src")).unwrap();
        assert!(target.differences(&one, false).unwrap()[0].why.contains("symbolic link"));
        assert!(target.apply(&one, contents(TEXTS)).is_err());
        fs::remove_file(temp.path().join("src")).unwrap();
        fs::create_dir(temp.path().join("src")).unwrap();
        symlink(outside.path().join("a"), temp.path().join("src/a")).unwrap();
        assert!(target.differences(&one, false).unwrap()[0].why.contains("a link to"));
        assert!(target.apply(&one, contents(TEXTS)).is_err());
        assert_eq!(fs::read_to_string(outside.path().join("a")).unwrap(), "a");
    }

    #[test]
    fn a_link_in_the_place_of_our_own_directory_is_not_used() {
        let (temp, outside) = (tree(), tempfile::tempdir().unwrap());
        fs::write(outside.path().join("precious"), "").unwrap();
        symlink(outside.path(), temp.path().join(".vespiary-apply-r")).unwrap();
        let target = Target::open(temp.path(), "r").unwrap();
        assert!(target.apply(&whole(), contents(TEXTS)).is_err());
        assert!(outside.path().join("precious").exists());
        assert_eq!(fs::read_to_string(temp.path().join("src/a")).unwrap(), "a");
    }

    #[test]
    fn a_content_that_is_missing_or_another_changes_nothing() {
        let temp = tree();
        let target = Target::open(temp.path(), "r").unwrap();
        // What runs out, runs out before anything has changed.
        assert!(matches!(target.apply(&whole(), contents(&["A"])), Err(Stopped::Before(_))));
        assert!(matches!(target.apply(&whole(), |_| Ok(b"forged".to_vec())), Err(Stopped::Before(_))));
        assert_eq!(fs::read_to_string(temp.path().join("src/a")).unwrap(), "a");
        assert!(!temp.path().join("new").exists() && !temp.path().join(".vespiary-apply-r").exists());
    }

    #[test]
    fn what_was_interrupted_anywhere_is_finished_by_doing_it_again() {
        let full = tree();
        Target::open(full.path(), "r").unwrap().apply(&whole(), contents(TEXTS)).unwrap();
        // After each step that `place` takes, in its order.
        let steps: &[fn(&Path)] = &[
            |root| fs::create_dir_all(root.join(".vespiary-apply-r")).unwrap(),
            |root| fs::write(root.join(".vespiary-apply-r/0"), "half").unwrap(),
            |root| fs::remove_file(root.join("src/old/b")).unwrap(),
            |root| fs::remove_dir(root.join("src/old")).unwrap(),
            |root| fs::create_dir(root.join("new")).unwrap(),
            |root| fs::write(root.join("new/x"), "x").unwrap(),
        ];
        for done in 0..=steps.len() {
            let temp = tree();
            steps[..done].iter().for_each(|step| step(temp.path()));
            let target = Target::open(temp.path(), "r").unwrap();
            assert_eq!(target.differences(&whole(), false).unwrap().is_empty(), done < 4, "after {done} steps");
            assert_eq!(target.differences(&whole(), true).unwrap(), [], "after {done} steps");
            target.apply(&whole(), contents(TEXTS)).unwrap_or_else(|e| panic!("after {done} steps: {e:?}"));
            assert_eq!(fs::read_to_string(temp.path().join("src/old")).unwrap(), "now a file");
            assert_eq!(fs::read_to_string(temp.path().join("src/a")).unwrap(), "A");
            assert!(!temp.path().join(".vespiary-apply-r").exists());
        }
    }
}
