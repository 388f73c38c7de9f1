//! What a run keeps on disk while its process lives: a lock that says so, and a place where somebody at another terminal can ask it to
//! stop. Both lie in the state directory, which is the owner's alone. No process is signalled, so none can be mistaken for another
//! that took its number.
#![allow(
    clippy::disallowed_methods,
    reason = "this file is meant to touch the file system: it keeps the files of live runs"
)]

use crate::exit::Trouble;
use crate::paths::Home;
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::NamedTempFile;
use vespiary_fleet::stop::Urgency;
use vespiary_kernel::ids::RunId;

const LOCK: &str = "lock";
const STOP: &str = "stop";
/// What is asked for, as it is written.
const GENTLY: &str = "gently";
const NOW: &str = "now";

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
        let dir = make(home, run)?;
        let lock = || -> io::Result<File> {
            let mut file =
                OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(dir.join(LOCK))?;
            flock(&file, FlockOperation::NonBlockingLockExclusive)?;
            // For people who look; nothing here relies on it.
            file.set_len(0)?;
            writeln!(file, "{}", std::process::id())?;
            Ok(file)
        };
        let lock = lock().map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => Trouble::usage(
                format!("{run} cannot be started"),
                "another process drives it",
                format!("follow it with `vespiary runs watch {run}`"),
            ),
            _ => unusable(&dir, &error),
        })?;
        // What was asked of an earlier process is not asked of this one.
        let _ = fs::remove_file(dir.join(STOP));
        Ok(Self { dir, _lock: lock })
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
        let _ = fs::remove_file(self.dir.join(STOP));
        let _ = fs::remove_file(self.dir.join(LOCK));
        // What a detached run said stays.
        let _ = fs::remove_dir(&self.dir);
    }
}

/// Whether a process drives `run`.
pub fn is_live(home: &Home, run: &RunId) -> bool {
    let Ok(file) = File::open(dir(home, run).join(LOCK)) else { return false };
    flock(&file, FlockOperation::NonBlockingLockShared).is_err_and(|errno| errno == rustix::io::Errno::WOULDBLOCK)
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
