//! Where the layers of isolated agents are: one directory a process, owner-only and outside of every project, one layer in it
//! for each agent, all gone at the end. What a process left that died is removed by the next one.
#![allow(clippy::disallowed_methods, reason = "this is where the directories of layers are made and removed")]

use crate::fs::overlay::{LayerLimits, Overlay};
use crate::fs::plain::{Plain, open_without_links};
use crate::recheck;
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use vespiary_kernel::change::ChangeSet;
use vespiary_kernel::ids::{AgentId, Digest, RunId};
use vespiary_kernel::worktree::{Taken, WorktreeError, Worktrees};

/// Held for a moment by whoever makes or removes a process's directory.
const GATE: &str = "lock";

/// The layers of one process.
#[derive(Debug)]
pub(crate) struct Layers {
    own: PathBuf,
    limits: LayerLimits,
    layers: Mutex<Open>,
    /// Locked as long as this process lives: that is how others know it does.
    _alive: File,
}

#[derive(Debug, Default)]
struct Open {
    by_agent: HashMap<(RunId, AgentId), (u64, Overlay)>,
    made: u64,
}

impl Layers {
    /// A directory of this process's own below `dir`, which is made where it is missing. Removes what dead processes left.
    pub(crate) fn open(dir: &Path, limits: LayerLimits) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let found = fs::symlink_metadata(dir)?;
        let foreign = found.uid() != rustix::process::geteuid().as_raw() || found.mode() & 0o022 != 0;
        if !found.is_dir() || foreign {
            let why = format!("{} must be a directory that nobody but you can write", dir.display());
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
        }
        let gate = lock_file(&dir.join(GATE))?;
        rustix::fs::flock(&gate, FlockOperation::LockExclusive)?;
        sweep(dir)?;
        let (own, alive) = claim(dir)?;
        Ok(Self { own, limits, layers: Mutex::default(), _alive: alive })
    }

    /// The layer of an agent above the project at `root`; made when it is first asked for.
    pub(crate) fn of(&self, run: &RunId, agent: AgentId, root: &Path) -> io::Result<Overlay> {
        let mut layers = self.layers();
        if let Some((_, layer)) = layers.by_agent.get(&(run.clone(), agent)) {
            return Ok(layer.clone());
        }
        // Kept for all calls of the agent, so it must be what was granted, and not what a link in its place leads to.
        let below = Plain::new(open_without_links(root)?);
        let number = layers.made;
        layers.made += 1;
        let store = self.store(number);
        fs::DirBuilder::new().mode(0o700).create(&store)?;
        let layer = Overlay::new(Box::new(below), open_dir(&store)?, self.limits)?;
        layers.by_agent.insert((run.clone(), agent), (number, layer.clone()));
        Ok(layer)
    }

    fn store(&self, number: u64) -> PathBuf {
        self.own.join(number.to_string())
    }

    // Poisoned only between two steps of `of`, each of which leaves the map sound.
    fn layers(&self) -> MutexGuard<'_, Open> {
        self.layers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Worktrees for Layers {
    fn take(&self, run: &RunId, agent: AgentId) -> Result<Taken, WorktreeError> {
        let Some((number, layer)) = self.layers().by_agent.remove(&(run.clone(), agent)) else {
            return Ok(Taken::default());
        };
        let taken = layer.outcome().map_err(|error| WorktreeError { agent, why: in_words(&error) });
        // What cannot be removed now goes with the directory of the process.
        let _ = fs::remove_dir_all(self.store(number));
        taken
    }

    fn bases(&self, root: &Path, changes: &ChangeSet) -> BTreeMap<Digest, Arc<[u8]>> {
        recheck::bases(root, changes)
    }
}

fn in_words(error: &io::Error) -> String {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::FBIG) => "a file in it is larger than a change set may hold".into(),
        Some(Errno::NOSPC) => "there is more in it than a change set may hold".into(),
        _ => error.to_string(),
    }
}

impl Drop for Layers {
    fn drop(&mut self) {
        // Where this fails the next process does it: the lock goes with this one.
        let _ = fs::remove_dir_all(&self.own);
        let _ = fs::remove_file(lock_of(&self.own));
    }
}

fn open_dir(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

fn lock_file(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?))
}

fn lock_of(own: &Path) -> PathBuf {
    own.with_extension("lock")
}

/// A new directory and its lock, held. To be called inside the gate.
fn claim(dir: &Path) -> io::Result<(PathBuf, File)> {
    for number in 0u32.. {
        let own = dir.join(format!("{}-{number}", std::process::id()));
        match fs::DirBuilder::new().mode(0o700).create(&own) {
            Ok(()) => {
                let alive = lock_file(&lock_of(&own))?;
                rustix::fs::flock(&alive, FlockOperation::NonBlockingLockExclusive)?;
                return Ok((own, alive));
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(Errno::NOSPC.into())
}

/// Remove the directories of processes that are dead. To be called inside the gate.
fn sweep(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let own = entry?.path();
        let ours = own.file_name().and_then(|name| name.to_str()).is_some_and(is_claimed_name);
        if !ours || !fs::symlink_metadata(&own).is_ok_and(|found| found.is_dir()) {
            continue;
        }
        let lock = lock_file(&lock_of(&own))?;
        if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            fs::remove_dir_all(&own)?;
            fs::remove_file(lock_of(&own))?;
        }
    }
    Ok(())
}

/// `PID-NUMBER`, as `claim` makes them; nothing else in the directory is touched.
fn is_claimed_name(name: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    name.split_once('-').is_some_and(|(process, number)| digits(process) && digits(number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::backing::{Backing, Content, Make, Opening};
    use std::io::Write;

    const NEW: Opening = Opening { read: false, write: true, make: Make::New, content: Content::Kept };

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn each_agent_of_each_run_has_one_layer_and_sees_no_other() {
        let (home, project) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let layers = Layers::open(&home.path().join("w"), LayerLimits::default()).unwrap();
        let (one, two): (RunId, RunId) = ("r1".parse().unwrap(), "r2".parse().unwrap());
        let layer = |run, agent| layers.of(run, AgentId(agent), project.path()).unwrap();
        layer(&one, 1).open("mine", NEW).unwrap().write_all(b"x").unwrap();
        assert!(layer(&one, 1).stat("mine").is_ok(), "the next call of the agent meets what the last one left");
        assert!(layer(&one, 2).stat("mine").is_err() && layer(&two, 1).stat("mine").is_err());
        assert_eq!(layers.take(&one, AgentId(1)).unwrap().changes.len(), 1);
        assert!(layers.take(&one, AgentId(1)).unwrap().changes.is_empty(), "it was taken");
        assert_eq!(names(project.path()), Vec::<String>::new());
    }

    /// What one call of an agent read, another one writes.
    #[test]
    fn a_layer_remembers_what_earlier_calls_of_its_agent_read() {
        let (home, project) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let layers = Layers::open(&home.path().join("w"), LayerLimits::default()).unwrap();
        let run: RunId = "r".parse().unwrap();
        let layer = |agent| layers.of(&run, AgentId(agent), project.path()).unwrap();
        let emptying = Opening { content: Content::Unneeded, make: Make::Never, ..NEW };
        fs::write(project.path().join("a.txt"), "one").unwrap();
        layer(1).open("a.txt", Opening::READ).unwrap();
        fs::write(project.path().join("a.txt"), "saved by somebody").unwrap();
        let refused = layer(1).open("a.txt", emptying).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(Errno::BUSY.raw_os_error()));
        layer(2).open("a.txt", emptying).unwrap();
        layer(1).open("a.txt", Opening::READ).unwrap();
        layer(1).open("a.txt", emptying).unwrap();
        let before = |agent| layers.take(&run, AgentId(agent)).unwrap().changes.at("a.txt").unwrap().before().cloned();
        assert_eq!(before(1).unwrap().digest(), Some(&Digest::of(b"saved by somebody")));
    }

    #[test]
    fn a_layer_lies_over_no_link() {
        let (home, beside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let layers = Layers::open(&home.path().join("w"), LayerLimits::default()).unwrap();
        let (run, project): (RunId, _) = ("r".parse().unwrap(), beside.path().canonicalize().unwrap().join("project"));
        std::os::unix::fs::symlink("/etc", &project).unwrap();
        let refused = layers.of(&run, AgentId(1), &project).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(Errno::LOOP.raw_os_error()));
        fs::remove_file(&project).unwrap();
        fs::create_dir(&project).unwrap();
        layers.of(&run, AgentId(1), &project).unwrap();
    }

    #[test]
    fn nothing_is_left_at_the_end_and_what_the_dead_left_goes_too() {
        let (home, project) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let dir = home.path().join("w");
        let living = Layers::open(&dir, LayerLimits::default()).unwrap();
        living.of(&"r".parse().unwrap(), AgentId(1), project.path()).unwrap();
        // What a killed process leaves: a directory whose lock nobody holds.
        fs::create_dir_all(dir.join("999999-0/0/empty")).unwrap();
        fs::write(dir.join("999999-0.lock"), "").unwrap();
        fs::create_dir_all(dir.join("precious")).unwrap();
        let other = Layers::open(&dir, LayerLimits::default()).unwrap();
        assert!(!dir.join("999999-0").exists() && !dir.join("999999-0.lock").exists());
        assert!(living.own.join("0").exists(), "the living keep theirs");
        drop((living, other));
        assert_eq!(names(&dir), ["lock", "precious"]);
    }

    #[test]
    fn a_place_that_others_can_write_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let home = tempfile::tempdir().unwrap();
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(Layers::open(home.path(), LayerLimits::default()).is_err());
        let link = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(home.path(), link.path().join("w")).unwrap();
        assert!(Layers::open(&link.path().join("w"), LayerLimits::default()).is_err());
    }
}
