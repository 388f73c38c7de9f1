//! Which files of the project no agent read: what a report on a project says nothing about. What agents read is in the record; what
//! there is to read is looked up when the run ends, or already while one begins that can change nothing, under the grant of the run. Names only; no file is opened.

use ignore::WalkBuilder;
use serde::Deserialize;
use std::collections::HashSet;
use std::path::Path;
use vespiary_kernel::event::{Event, Payload};
use vespiary_kernel::grant::Grant;
use vespiary_kernel::ids::AgentId;
use vespiary_kernel::json::Json;
use vespiary_kernel::scope::Scope;
use vespiary_kernel::sight::Sight;

/// Entries that are looked at; a tree with more is not counted to its end.
const ENTRIES_MAX: usize = 500_000;

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

impl Reading {
    /// One more event; `value` finds what was moved out of it.
    pub fn add(&mut self, event: &Event, agent_of: Option<AgentId>, value: impl Fn(&Payload) -> Option<Json>) {
        let Event::CallEnded { reads, rests_on, .. } = event else { return };
        if agent_of.is_none_or(|agent| agent == AgentId::ROOT) {
            return;
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
        let own: Option<Reads> = reads.as_ref().and_then(&value).and_then(|json| json.read().ok());
        let rested: Option<Vec<Rested>> = rests_on.as_ref().and_then(&value).and_then(|json| json.read().ok());
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

/// The files of a project that could be read, sorted.
#[derive(Debug, Default)]
pub struct Files {
    paths: Vec<String>,
    partial: bool,
}

impl Files {
    /// Those below `root` that `grant` shows and that version control does not ignore.
    pub fn below(root: &Path, grant: &Grant) -> Self {
        let rules = Scope::whole(grant.clone()).rules(None);
        let walk = WalkBuilder::new(root)
            .hidden(false)
            .require_git(false)
            .parents(false)
            .git_global(false)
            .follow_links(false)
            .sort_by_file_name(Ord::cmp)
            .filter_entry(|entry| entry.file_name() != ".git")
            .build();
        let mut found = Self::default();
        for (looked_at, entry) in walk.enumerate() {
            if looked_at == ENTRIES_MAX {
                found.partial = true;
                break;
            }
            // What cannot be listed could not be read either.
            let Ok(entry) = entry else { continue };
            let below = entry.path().strip_prefix(root).ok().and_then(Path::to_str);
            let (Some(path), true) = (below, entry.file_type().is_some_and(|kind| kind.is_file())) else { continue };
            if rules.sight(path) >= Sight::Read {
                found.paths.push(path.to_owned());
            }
        }
        found
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests make their own files")]
mod tests {
    use super::*;
    use vespiary_kernel::call::Usage;
    use vespiary_kernel::ids::CallId;
    use vespiary_kernel::observed::{Observation, Observed, ReadSet};

    fn read(path: &str, read: bool) -> Event {
        let state = Observed::File { bytes: 1, read, content: None };
        let reads = ReadSet { observations: vec![Observation { path: path.into(), state }], complete: false };
        Event::CallEnded {
            call: CallId(1),
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

    #[test]
    fn what_no_agent_read_is_named_and_what_nobody_could_is_not() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["read.txt", "looked-at.txt", "by-the-script.txt", "built.o", ".env", "denied/x"] {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).and_then(|()| std::fs::write(path, "x")).unwrap();
        }
        std::fs::write(dir.path().join(".gitignore"), "*.o\n").unwrap();
        let mut reading = Reading::default();
        let value = |payload: &Payload| match payload {
            Payload::Value(json) => Some(json.clone()),
            _ => None,
        };
        reading.add(&read("read.txt", true), Some(AgentId(1)), value);
        reading.add(&read("looked-at.txt", false), Some(AgentId(1)), value);
        reading.add(&read("by-the-script.txt", true), Some(AgentId::ROOT), value);
        let grant = Grant::of_run(["read:*.txt", "read:.gitignore"].map(|text| text.parse().unwrap()));
        let there = Files::below(dir.path(), &grant);
        let coverage = reading.coverage(&there).unwrap();
        assert_eq!((coverage.files, coverage.unread, coverage.partial), (4, 3, false), "{coverage:?}");
        assert_eq!(coverage.named, [".gitignore", "by-the-script.txt", "looked-at.txt"]);
        assert_eq!(Reading::default().coverage(&there), None);
    }
}
