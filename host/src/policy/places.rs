//! Where policy files lie, and how they are opened: never through a link that somebody else may have laid, never one that
//! somebody else may write, and never more of one than a policy can be long. A file that is there and cannot be read is a
//! fault; taking it for absent would allow what it forbids.
#![allow(clippy::disallowed_methods, reason = "this file is meant to touch the file system: it opens policy files")]

use super::fault::Fault;
use crate::disk;
use crate::paths::Home;
use rustix::fs::{Dir, FileType, Mode, OFlags, Stat, fstat, open, openat};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use vespiary_kernel::policy::LayerKind;

/// Bytes of a policy file.
const POLICY_BYTES_MAX: u64 = 1 << 20;
/// Fragments in `policy.d`.
const FRAGMENTS_MAX: usize = 1_000;

/// The administrator's directory.
const ADMINISTRATOR: &str = "/etc/vespiary";
/// Another one, for tests. Only a debug build looks at it: in a released program the environment must not be able to replace
/// the administrator.
const OVERRIDE: &str = "VESPIARY_POLICY_DIR";

/// Where to look.
#[derive(Debug, Clone)]
pub struct Places {
    /// The administrator's directory.
    pub administrator: PathBuf,
    /// Who beside root may own what lies in it. Nobody, but in tests.
    pub owner: Option<u32>,
    /// What `--policy` named.
    pub named: Option<PathBuf>,
    /// The user's file.
    pub user: Option<PathBuf>,
    /// The project directory.
    pub project: Option<PathBuf>,
}

/// One file, as it was found.
#[derive(Debug)]
pub struct Found {
    /// Whose.
    pub kind: LayerKind,
    /// Where.
    pub path: PathBuf,
    /// Whether it is the administrator's own, of which all files make one layer.
    pub installed: bool,
    /// What stands in it.
    pub text: Result<String, Fault>,
}

impl Places {
    /// Where this process looks.
    pub fn of(home: &Home, named: Option<&Path>, project: &Path) -> Self {
        let other = if cfg!(debug_assertions) { std::env::var_os(OVERRIDE) } else { None };
        Self {
            owner: other.as_ref().map(|_| rustix::process::geteuid().as_raw()),
            administrator: other.map_or_else(|| ADMINISTRATOR.into(), PathBuf::from),
            named: named.map(Path::to_owned),
            user: home.policy().map(Path::to_owned),
            project: Some(project.to_owned()),
        }
    }

    /// Every file there is, highest layer first.
    pub fn find(&self) -> Vec<Found> {
        let mut all = self.installed();
        if let Some(path) = &self.named {
            let text = named(path).map_err(|error| unreadable(path, &error, "name a policy file that you can read"));
            all.push(Found { kind: LayerKind::Administrator, path: path.clone(), installed: false, text });
        }
        all.extend(self.project.as_deref().and_then(of_project));
        if let Some(path) = &self.user {
            match named(path) {
                // Below what is no directory there is no file either.
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
                read => {
                    let next = "make it a regular file that only you can write, or remove it";
                    let text = read.map_err(|error| unreadable(path, &error, next));
                    all.push(Found { kind: LayerKind::User, path: path.clone(), installed: false, text });
                }
            }
        }
        all
    }

    /// The administrator's `policy.toml` and fragments.
    fn installed(&self) -> Vec<Found> {
        const NEXT: &str =
            "make it a regular file of root's that nobody else can write (chown root, chmod 0644), or remove it";
        let found = |path: &Path, text: io::Result<String>| Found {
            kind: LayerKind::Administrator,
            path: path.to_owned(),
            installed: true,
            text: text.map_err(|error| unreadable(path, &error, NEXT)),
        };
        let mut all = Vec::new();
        let dir = match open_dir(&self.administrator).and_then(|dir| self.guarded(dir)) {
            Ok(dir) => dir,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return all,
            Err(error) => return vec![found(&self.administrator, Err(error))],
        };
        let own = self.administrator.join("policy.toml");
        match self.read_at(&dir, Path::new("policy.toml")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            text => all.push(found(&own, text)),
        }
        let below = self.administrator.join("policy.d");
        let fragments = open_dir_at(&dir, "policy.d").and_then(|dir| self.guarded(dir));
        let names = fragments.and_then(|dir| Ok((fragment_names(&dir)?, dir)));
        match names {
            Ok((names, dir)) => {
                all.extend(names.iter().map(|name| found(&below.join(name), self.read_at(&dir, name))));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => all.push(found(&below, Err(error))),
        }
        all
    }

    fn read_at(&self, dir: &OwnedFd, name: &Path) -> io::Result<String> {
        text_of(self.guarded(openat(dir, name, FILE | OFlags::NOFOLLOW, Mode::empty()).map_err(plain)?)?)
    }

    /// Whoever can change the administrator's file is the administrator; so it must be root's alone.
    fn guarded(&self, opened: OwnedFd) -> io::Result<OwnedFd> {
        let stat = fstat(&opened)?;
        let refuse = |why: String| Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
        if stat.st_uid != 0 && Some(stat.st_uid) != self.owner {
            return refuse(format!("it belongs to user {}, not to root", stat.st_uid));
        }
        if stat.st_mode & 0o022 != 0 {
            return refuse(format!("others than root can write it (mode {:04o})", stat.st_mode & 0o7777));
        }
        Ok(opened)
    }
}

const FILE: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);
const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The project's file. It came from somewhere, so neither it nor its directory is followed anywhere else.
fn of_project(project: &Path) -> Option<Found> {
    let read = || {
        let root = open(project, DIRECTORY, Mode::empty())?;
        let dir = open_dir_at(&root, ".vespiary")?;
        text_of(openat(&dir, "policy.toml", FILE | OFlags::NOFOLLOW, Mode::empty()).map_err(plain)?)
    };
    let path = project.join(".vespiary/policy.toml");
    let text = match read() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        read => {
            read.map_err(|error| unreadable(&path, &error, "make it a regular file inside the project, or remove it"))
        }
    };
    Some(Found { kind: LayerKind::Project, path, installed: false, text })
}

/// The text of a file that a person names to have it checked, whoever may write it.
pub fn read(path: &Path) -> Result<String, Fault> {
    let opened = open(path, FILE, Mode::empty()).map_err(io::Error::from);
    opened.and_then(text_of).map_err(|error| unreadable(path, &error, "name a policy file that you can read"))
}

/// A file a person named, or their own: links are theirs to lay.
fn named(path: &Path) -> io::Result<String> {
    let opened = open(path, FILE, Mode::empty())?;
    if fstat(&opened)?.st_mode & 0o002 != 0 {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "everybody can write it"));
    }
    text_of(opened)
}

fn open_dir(path: &Path) -> io::Result<OwnedFd> {
    open(path, DIRECTORY, Mode::empty()).map_err(plain)
}

fn open_dir_at(dir: impl AsFd, name: &str) -> io::Result<OwnedFd> {
    openat(dir, name, DIRECTORY, Mode::empty()).map_err(plain)
}

/// What a link or a wrong sort of file is called where it is refused.
fn plain(error: Errno) -> io::Error {
    match error {
        Errno::LOOP => {
            io::Error::new(io::ErrorKind::PermissionDenied, "it is a symbolic link, which is not followed here")
        }
        Errno::NOTDIR => {
            io::Error::new(io::ErrorKind::NotADirectory, "it is a link or no directory, and is not followed")
        }
        other => other.into(),
    }
}

/// Names that end in `.toml` and do not begin with a dot, in the order of their bytes.
fn fragment_names(dir: &OwnedFd) -> io::Result<Vec<PathBuf>> {
    use std::os::unix::ffi::OsStrExt as _;
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name.ends_with(b".toml") && !name.starts_with(b".") {
            names.push(PathBuf::from(std::ffi::OsStr::from_bytes(name)));
        }
        if names.len() > FRAGMENTS_MAX {
            return Err(io::Error::other(format!("it holds more than {FRAGMENTS_MAX} fragments")));
        }
    }
    names.sort();
    Ok(names)
}

fn text_of(opened: OwnedFd) -> io::Result<String> {
    let stat: Stat = fstat(&opened)?;
    if !FileType::from_raw_mode(stat.st_mode).is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let bytes = disk::bounded(File::from(opened), POLICY_BYTES_MAX)?;
    String::from_utf8(bytes).map_err(|error| {
        let bytes = error.as_bytes();
        let line = 1 + bytes[..error.utf8_error().valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
        io::Error::new(io::ErrorKind::InvalidData, format!("it is not UTF-8 text (line {line})"))
    })
}

fn unreadable(path: &Path, error: &io::Error, next: &str) -> Fault {
    Fault::of_file(path.to_string_lossy().into_owned(), format!("it cannot be used: {error}"), next)
}

/// The place itself that a path names, its links resolved as far as it exists.
pub(super) fn real(path: &Path) -> Option<PathBuf> {
    let mut known = path.to_owned();
    let mut rest = Vec::new();
    loop {
        match known.canonicalize() {
            Ok(real) => return Some(rest.iter().rev().fold(real, |path, name| path.join(name))),
            Err(_) => {
                rest.push(known.file_name()?.to_owned());
                known.pop();
            }
        }
    }
}
