//! What a run keeps on disk while its process lives: a lock that says so, and places where somebody at another terminal can ask it to
//! stop, or leave a decision on one of its gates. All lie in the state directory, which is the owner's alone. No process is signalled, so none can be mistaken for another
//! that took its number.
#![allow(
    clippy::disallowed_methods,
    reason = "this file is meant to touch the file system: it keeps the files of live runs"
)]

use crate::exit::Trouble;
use crate::paths::Home;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::NamedTempFile;
use vespiary_fleet::stop::Urgency;
use vespiary_kernel::gate::Decision;
use vespiary_kernel::ids::{Digest, RunId};
use vespiary_kernel::json::Json;

const LOCK: &str = "lock";
const STOP: &str = "stop";
/// What a decision's file is called, before the digest of its gate.
const GATE: &str = "gate-";
/// The arguments of a run that was ordered over another door than the command line.
const ORDER: &str = "order.json";
/// The longest such file, bytes.
const GATE_BYTES_MAX: u64 = 16 << 10;
/// What is asked for, as it is written.
const GENTLY: &str = "gently";
const NOW: &str = "now";

/// Who holds the lock longer than this, drives the run.
const GLANCES_MAX: u32 = 20;
const BETWEEN_GLANCES: Duration = Duration::from_millis(25);

/// How often somebody looks.
pub const GLANCE: Duration = Duration::from_millis(150);

/// Held while a run's process lives.
#[derive(Debug)]
pub struct Live {
    dir: PathBuf,
    _lock: File,
}

impl Live {
    /// Say that this process drives `run`. Fails when another does.
    pub fn begin(home: &Home, run: &RunId) -> Result<Self, Trouble> {
        Self::take(home, run)?.ok_or_else(|| {
            Trouble::usage(
                format!("{run} cannot be started"),
                "another process drives it",
                format!("follow it with `vespiary runs watch {run}`"),
            )
        })
    }

    /// The same. None: another process does.
    pub fn take(home: &Home, run: &RunId) -> Result<Option<Self>, Trouble> {
        let dir = make(home, run)?;
        match lock(home, run) {
            Ok(lock) => {
                clear(&dir);
                Ok(Some(Self { dir, _lock: lock }))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(unusable(&dir, &error)),
        }
    }

    /// What somebody elsewhere has decided about a gate.
    pub fn decision(&self, gate: &Digest) -> Option<Decision> {
        read_decision(&self.dir, gate)
    }

    /// What has been asked so far from elsewhere.
    pub fn asked(&self) -> Urgency {
        match fs::read(self.dir.join(STOP)).as_deref() {
            Ok(text) if text == NOW.as_bytes() => Urgency::Firm,
            Ok(_) => Urgency::Gentle,
            Err(_) => Urgency::None,
        }
    }

    /// Resolves once somebody elsewhere asks for a stop.
    pub async fn stop_asked(&self) {
        while self.asked() == Urgency::None {
            tokio::time::sleep(GLANCE).await;
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        // What cannot be removed does no harm: the lock goes with the process.
        clear(&self.dir);
        let _ = fs::remove_file(self.dir.join(LOCK));
        // What a detached run said stays.
        let _ = fs::remove_dir(&self.dir);
    }
}

/// The lock of `run`, held. A file that was taken away while it was waited for locks nobody out, so it is looked whether the
/// one that is held is the one that lies there.
fn lock(home: &Home, run: &RunId) -> io::Result<File> {
    loop {
        let path = make(home, run).map_err(|trouble| io::Error::other(trouble.why))?.join(LOCK);
        let open = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let mut file = match open {
            // The directory went with its last file.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            opened => opened?,
        };
        let mut glances = 0;
        while let Err(errno) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
            // Whoever looks whether somebody holds it holds it for that moment.
            // Whoever only looks shares it.
            let driven = errno == Errno::WOULDBLOCK && flock(&file, FlockOperation::NonBlockingLockShared).is_err();
            if errno != Errno::WOULDBLOCK || driven || glances == GLANCES_MAX {
                return Err(errno.into());
            }
            flock(&file, FlockOperation::Unlock)?;
            glances += 1;
            std::thread::sleep(BETWEEN_GLANCES);
        }
        let (held, there) = (file.metadata()?, fs::metadata(&path));
        if there.is_ok_and(|there| (there.dev(), there.ino()) == (held.dev(), held.ino())) {
            // For people who look; nothing here relies on it.
            file.set_len(0)?;
            writeln!(file, "{}", std::process::id())?;
            return Ok(file);
        }
    }
}

/// What was asked of an earlier process, and decided for it, is not for this one.
fn clear(dir: &Path) {
    let _ = fs::remove_file(dir.join(STOP));
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(GATE) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// A decision as it is left.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    approved: bool,
    by: String,
    note: Option<String>,
    at_ms: u64,
}

/// Leave a decision for the process that drives `run`. Made whole before it has its name, and never over another: the first wins.
/// Gives the one that lies there, if that is not this one.
pub fn leave_decision(
    home: &Home,
    run: &RunId,
    gate: &Digest,
    decision: &Decision,
) -> Result<Option<Decision>, Trouble> {
    let dir = dir(home, run);
    let Decision { approved, by, note, at_ms } = decision.clone();
    let write = || -> io::Result<bool> {
        let mut file = NamedTempFile::new_in(&dir)?;
        file.write_all(serde_json::to_string(&Written { approved, by, note, at_ms })?.as_bytes())?;
        match file.persist_noclobber(dir.join(format!("{GATE}{gate}"))) {
            Ok(_) => Ok(true),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error.error),
        }
    };
    match write() {
        Ok(true) => Ok(None),
        Ok(false) => Ok(read_decision(&dir, gate)),
        // Its process is gone, and the directory with it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unusable(&dir, &error)),
    }
}

fn read_decision(dir: &Path, gate: &Digest) -> Option<Decision> {
    let bytes = crate::disk::read(&dir.join(format!("{GATE}{gate}")), GATE_BYTES_MAX).ok()?;
    let Written { approved, by, note, at_ms } = serde_json::from_slice(&bytes).ok()?;
    Some(Decision { approved, by, note, at_ms })
}

/// Whether a process drives `run`.
pub fn is_live(home: &Home, run: &RunId) -> bool {
    let Ok(file) = File::open(dir(home, run).join(LOCK)) else { return false };
    flock(&file, FlockOperation::NonBlockingLockShared).is_err_and(|errno| errno == Errno::WOULDBLOCK)
}

/// Ask the process that drives `run` to stop.
pub fn ask_to_stop(home: &Home, run: &RunId, now: bool) -> Result<(), Trouble> {
    let dir = dir(home, run);
    let write = || -> io::Result<()> {
        let mut file = NamedTempFile::new_in(&dir)?;
        file.write_all(if now { NOW } else { GENTLY }.as_bytes())?;
        file.persist(dir.join(STOP)).map(drop).map_err(|error| error.error)
    };
    write().map_err(|error| unusable(&dir, &error))
}

/// What a detached run says: its answer, and everything else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Standard output.
    pub out: PathBuf,
    /// Standard error.
    pub err: PathBuf,
}

impl Said {
    /// Where `run` says it.
    pub fn of(home: &Home, run: &RunId) -> Self {
        let dir = dir(home, run);
        Self { out: dir.join("output.txt"), err: dir.join("progress.txt") }
    }

    /// New files for it, for their owner alone.
    pub fn create(&self, home: &Home, run: &RunId) -> Result<(File, File), Trouble> {
        let dir = make(home, run)?;
        let new = |path: &Path| OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let both = || -> io::Result<(File, File)> { Ok((new(&self.out)?, new(&self.err)?)) };
        both().map_err(|error| unusable(&dir, &error))
    }

    /// Take them away, of a run that never was.
    pub fn remove(&self) {
        for path in [&self.out, &self.err] {
            let _ = fs::remove_file(path);
        }
        if let Some(dir) = self.out.parent() {
            let _ = fs::remove_dir(dir);
        }
    }
}

/// A run that somebody ordered over a door other than the command line.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    /// The script's name.
    pub title: &'a str,
    /// The script.
    pub source: &'a str,
    /// Its arguments.
    pub args: &'a Json,
}

/// Where what was ordered lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ordered {
    /// The script's file.
    pub script: PathBuf,
    /// The file of its arguments.
    pub args: PathBuf,
    /// Where its report is to go.
    pub out: PathBuf,
}

/// Leave what was ordered in the run's directory, for the process that will drive it. None: it goes on with a run whose record
/// has all of it.
pub fn leave_order(home: &Home, run: &RunId, order: Option<Order<'_>>) -> Result<Ordered, Trouble> {
    let dir = make(home, run)?;
    let title = order.map_or("script", |order| order.title);
    let left = Ordered { script: dir.join(format!("{title}.js")), args: dir.join(ORDER), out: dir.join("report") };
    let new = |path: &Path, text: &str| -> io::Result<()> {
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(text.as_bytes())
    };
    let write = || -> io::Result<()> {
        new(&left.args, order.map_or("{}", |order| order.args.as_str()))?;
        order.map_or(Ok(()), |order| new(&left.script, order.source))
    };
    write().map_err(|error| unusable(&dir, &error))?;
    Ok(left)
}

/// Whether `run` was ordered in this way.
pub fn was_ordered(home: &Home, run: &RunId) -> bool {
    dir(home, run).join(ORDER).exists()
}

/// Take an order away, of a run that never was.
pub fn remove_order(home: &Home, run: &RunId) {
    let _ = fs::remove_dir_all(dir(home, run));
}

fn dir(home: &Home, run: &RunId) -> PathBuf {
    home.state().join("runs").join(run.as_str())
}

fn make(home: &Home, run: &RunId) -> Result<PathBuf, Trouble> {
    home.create()?;
    let dir = dir(home, run);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(|error| unusable(&dir, &error))?;
    Ok(dir)
}

fn unusable(dir: &Path, error: &io::Error) -> Trouble {
    let next = "make it a directory that you own and can write, or set VESPIARY_HOME to another one";
    Trouble::failed(format!("{} cannot be used", dir.display()), error, next)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever watches a run looks again and again whether it lives, and holds its lock for that moment.
    #[test]
    fn a_glance_keeps_nobody_from_driving_a_run() {
        let temp = tempfile::tempdir().unwrap();
        let home = Home::in_dir(temp.path());
        let run: RunId = "r".parse().unwrap();
        let path = make(&home, &run).unwrap().join(LOCK);
        let looking = File::create(&path).unwrap();
        flock(&looking, FlockOperation::NonBlockingLockShared).unwrap();
        let live = std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(BETWEEN_GLANCES * 2);
                drop(looking);
            });
            Live::begin(&home, &run).unwrap()
        });
        assert!(is_live(&home, &run));
        assert!(Live::take(&home, &run).unwrap().is_none(), "who drives it keeps it");
        drop(live);
        assert!(!is_live(&home, &run));
    }
}
