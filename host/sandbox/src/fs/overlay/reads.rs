//! In which version an agent read what is below: pure bookkeeping. A base that is taken later must be of that version; or what
//! somebody saved in between would be recorded as what the agent worked from, and replaced without a word.

use crate::fs::backing::{Kind, Stat};
use rustix::io::Errno;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// What a note costs beyond its path, bytes.
const NOTE_BYTES: usize = 192;

/// How far the clock of a file system may lag behind that of the host.
const LAG: Duration = Duration::from_secs(2);

/// What was read of each path.
#[derive(Debug)]
pub(super) struct Reads {
    noted: HashMap<Arc<str>, Noted>,
    /// The same paths, the one that was noted first in front.
    order: VecDeque<Arc<str>>,
    bytes: usize,
    bytes_max: usize,
    /// What changed last before this is in the version in which anybody read it.
    since: SystemTime,
    /// Whether a note was dropped. A path without one may have been read then.
    forgetful: bool,
}

#[derive(Debug)]
struct Noted {
    /// `None`: nothing was there.
    version: Option<Version>,
    /// The agent was told that there is another version by now. What it reads next is what it works from.
    told: bool,
}

/// A file or link at one moment: whoever writes to it or replaces it changes one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Version {
    kind: Kind,
    identity: (u64, u64),
    bytes: u64,
    modified: Option<SystemTime>,
    changed: Option<SystemTime>,
}

impl Version {
    fn of(stat: &Stat) -> Self {
        let Stat { kind, identity, bytes, modified, changed, .. } = *stat;
        Self { kind, identity, bytes, modified, changed }
    }
}

impl Reads {
    /// Nothing was read before `now`. Notes together are kept below `bytes_max`; the oldest go first.
    pub(super) fn new(bytes_max: usize, now: SystemTime) -> Self {
        Self {
            noted: HashMap::new(),
            order: VecDeque::new(),
            bytes: 0,
            bytes_max,
            since: now.checked_sub(LAG).unwrap_or(SystemTime::UNIX_EPOCH),
            forgetful: false,
        }
    }

    /// Whether a read of `path` is to be noted: it is the first, or the first since the agent was told to read again.
    pub(super) fn wants(&self, path: &str) -> bool {
        self.noted.get(path).is_none_or(|noted| noted.told)
    }

    /// The agent reads what is at `path`, or sees that nothing is. What it read first counts, until it is told to read again: another
    /// of its calls may have looked at the file since, and the one that writes know nothing of that.
    pub(super) fn note(&mut self, path: &str, found: Option<&Stat>) {
        let noted = Noted { version: found.map(Version::of), told: false };
        match self.noted.get_mut(path) {
            Some(old) if old.told => *old = noted,
            Some(_) => {}
            None => {
                let path: Arc<str> = path.into();
                self.bytes += path.len() + NOTE_BYTES;
                self.order.push_back(Arc::clone(&path));
                self.noted.insert(path, noted);
                while self.bytes > self.bytes_max
                    && let Some(oldest) = self.order.pop_front()
                {
                    self.bytes -= oldest.len() + NOTE_BYTES;
                    self.noted.remove(&oldest);
                    self.forgetful = true;
                }
            }
        }
    }

    /// Before what is at `path` is taken for what the agent found: that it is what it read, if it read it.
    ///
    /// # Errors
    /// `EBUSY` where it is another; what the agent reads next then counts.
    pub(super) fn demand_same(&mut self, path: &str, found: Option<&Stat>) -> io::Result<()> {
        let same = match self.noted.get_mut(path) {
            Some(noted) => {
                let same = noted.version == found.map(Version::of);
                noted.told |= !same;
                same
            }
            // It may have been read. Then it is the same if nobody has changed it since anything was. That something is gone does
            // not show; but then there is nothing that could be lost.
            None if self.forgetful => {
                found.is_none_or(|found| found.changed.is_some_and(|changed| changed < self.since))
            }
            None => true,
        };
        if same { Ok(()) } else { Err(Errno::BUSY.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(inode: u64, changed: SystemTime) -> Stat {
        let (accessed, modified, changed) = (None, Some(changed), Some(changed));
        Stat { kind: Kind::File, bytes: 1, names: 1, accessed, modified, changed, identity: (1, inode) }
    }

    #[test]
    fn notes_are_bounded_and_without_one_only_what_nobody_touched_is_the_same() {
        let now = SystemTime::now();
        let (old, new) = (file(1, now - Duration::from_secs(60)), file(2, now));
        let mut reads = Reads::new(1_000, now);
        assert!(reads.demand_same("unread", Some(&new)).is_ok(), "nothing was dropped, so it was not read");
        for n in 0..10_000 {
            reads.note(&format!("{n:05}"), Some(&old));
            assert!(reads.bytes <= 1_000 && reads.order.len() == reads.noted.len());
        }
        assert!(reads.demand_same("00000", Some(&old)).is_ok());
        assert!(reads.demand_same("00000", None).is_ok());
        assert!(reads.demand_same("00000", Some(&new)).is_err());
        assert!(reads.demand_same("00000", Some(&Stat { changed: None, ..old })).is_err());
        assert!(reads.wants("00000") && !reads.wants("09999"));
        reads.note("00000", Some(&new));
        assert!(reads.demand_same("00000", Some(&new)).is_ok());
        assert!(reads.demand_same("09999", Some(&file(3, now - Duration::from_secs(60)))).is_err());
    }

    #[test]
    fn when_a_file_was_read_is_no_part_of_its_version() {
        let now = SystemTime::now();
        let mut reads = Reads::new(1_000, now);
        reads.note("a", Some(&file(1, now)));
        assert!(reads.demand_same("a", Some(&Stat { accessed: Some(now), ..file(1, now) })).is_ok());
        let other = [
            Stat { bytes: 2, ..file(1, now) },
            Stat { kind: Kind::Link, ..file(1, now) },
            Stat { identity: (2, 1), ..file(1, now) },
            Stat { modified: None, ..file(1, now) },
            Stat { changed: None, ..file(1, now) },
        ];
        for other in other {
            assert!(reads.demand_same("a", Some(&other)).is_err());
        }
    }
}
