//! Which files of the project no agent read: what a report on a project says nothing about. What agents read is in the record; which files
//! there are is looked up when the run ends, or already while one begins that can change nothing, under the grant of the run.

use super::there::Files;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::HashSet;
use vespiary_kernel::event::{Event, Payload};
use vespiary_kernel::ids::AgentId;
use vespiary_ledger::reader::Reader;

/// Unread files that are kept by name.
pub const NAMED_MAX: usize = 1_000;

/// How much of a project agents read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coverage {
    /// Files that could be read under the run's grant and that version control does not ignore.
    pub files: u64,
    /// Of these, those that no agent read any part of.
    pub unread: u64,
    /// The first of those, sorted.
    pub named: Vec<String>,
    /// Whether the tree was too large to be counted to its end.
    pub partial: bool,
}

/// What agents read, gathered from a run's events.
#[derive(Debug, Default)]
pub struct Reading(HashSet<String>);

/// Where to find what one call read.
#[derive(Debug)]
pub struct Found {
    own: Option<Payload>,
    rested: Option<Payload>,
}

impl Found {
    /// Of a call that `agent` made, where it has ended by `event`. What scripts read is not what agents read.
    pub fn of(event: &Event, agent: AgentId) -> Option<Self> {
        let Event::CallEnded { reads, rests_on, .. } = event else { return None };
        let read = agent != AgentId::ROOT && (reads.is_some() || rests_on.is_some());
        read.then(|| Self { own: reads.clone(), rested: rests_on.clone() })
    }
}

// Only what is asked is taken from the record: whether a path was read. The digests are most of it.
#[derive(Deserialize)]
struct Reads {
    observations: Vec<Seen>,
}

#[derive(Deserialize)]
struct Seen {
    path: String,
    state: State,
}

#[derive(Deserialize)]
struct State {
    #[serde(default)]
    read: bool,
}

// An earlier call that stands for one of this run has read for it.
#[derive(Deserialize)]
struct Rested {
    reads: Option<Reads>,
}

impl Reading {
    /// What one more call read, by its event and by the record that `reader` has open, where values were moved out of it. What cannot
    /// be read counts as unread.
    pub fn add(&mut self, found: &Found, reader: Option<&Reader>) {
        let own: Option<Reads> = found.own.as_ref().and_then(|own| whole(own, reader));
        let rested: Option<Vec<Rested>> = found.rested.as_ref().and_then(|rested| whole(rested, reader));
        let rested = rested.into_iter().flatten().filter_map(|call| call.reads);
        let seen = own.into_iter().chain(rested).flat_map(|reads| reads.observations);
        self.0.extend(seen.filter(|one| one.state.read).map(|one| one.path));
    }

    /// What of the files that there are they did not read. None where no agent read anything.
    pub fn coverage(self, there: &Files) -> Option<Coverage> {
        if self.0.is_empty() {
            return None;
        }
        let unread = || there.paths.iter().filter(|path| !self.0.contains(*path));
        Some(Coverage {
            files: there.paths.len() as u64,
            unread: unread().count() as u64,
            named: unread().take(NAMED_MAX).cloned().collect(),
            partial: there.partial,
        })
    }
}

fn whole<T: DeserializeOwned>(payload: &Payload, reader: Option<&Reader>) -> Option<T> {
    match (payload, reader) {
        (Payload::Value(value), _) => value.read().ok(),
        (moved, reader) => reader?.read(moved).ok()?,
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests make their own files")]
pub(super) mod tests {
    use super::*;
    use vespiary_kernel::call::Usage;
    use vespiary_kernel::grant::Grant;
    use vespiary_kernel::ids::CallId;
    use vespiary_kernel::json::Json;
    use vespiary_kernel::observed::{Observation, Observed, ReadSet};
    use vespiary_ledger::ledger::Ledger;

    /// A call that saw these files; of each, whether it read any of it.
    pub(in crate::report) fn ended(call: u64, files: impl IntoIterator<Item = (String, bool)>) -> Event {
        let seen = |(path, read)| Observation { path, state: Observed::File { bytes: 1, read, content: None } };
        let reads = ReadSet { observations: files.into_iter().map(seen).collect(), complete: false };
        Event::CallEnded {
            call: CallId(call),
            component: None,
            scope: None,
            except: Vec::new(),
            value: None,
            failure: None,
            reads: Some(Payload::Value(Json::of(&reads).unwrap())),
            usage: Usage::default(),
            artifacts: Vec::new(),
            key: None,
            reused: None,
            rests_on: None,
        }
    }

    fn read(path: &str, read: bool) -> Event {
        ended(1, [(path.to_owned(), read)])
    }

    #[test]
    fn what_no_agent_read_is_named_and_what_nobody_could_is_not() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["read.txt", "looked-at.txt", "by-the-script.txt", "built.o", ".env", "denied/x"] {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).and_then(|()| std::fs::write(path, "x")).unwrap();
        }
        std::fs::write(dir.path().join(".gitignore"), "*.o\n").unwrap();
        let ledger = Ledger::open(&dir.path().join("state/ledger.sqlite")).unwrap();
        let (mut reading, reader) = (Reading::default(), ledger.reader().unwrap());
        for (event, agent) in [
            (read("read.txt", true), AgentId(1)),
            (read("looked-at.txt", false), AgentId(1)),
            (read("by-the-script.txt", true), AgentId::ROOT),
        ] {
            Found::of(&event, agent).iter().for_each(|found| reading.add(found, Some(&reader)));
        }
        let grant = Grant::of_run(["read:*.txt", "read:.gitignore"].map(|text| text.parse().unwrap()));
        let there = Files::below(dir.path(), &grant);
        let coverage = reading.coverage(&there).unwrap();
        assert_eq!((coverage.files, coverage.unread, coverage.partial), (4, 3, false), "{coverage:?}");
        assert_eq!(coverage.named, [".gitignore", "by-the-script.txt", "looked-at.txt"]);
        assert_eq!(Reading::default().coverage(&there), None);
    }
}
