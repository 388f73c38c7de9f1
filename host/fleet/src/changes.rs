//! What isolated agents change: taken at the end of each, recorded, and at the end of the run brought together. The result is a
//! value that a person may apply; no project is touched here.

use crate::jobs::Ground;
use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard, PoisonError};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::SemaphorePermit;
use vespiary_kernel::account::Resource;
use vespiary_kernel::call::{Artifact, Failure};
use vespiary_kernel::change::merge::{Conflict, Merge};
use vespiary_kernel::change::{Change, ChangeSet, Contents, Node, TreePath, patch};
use vespiary_kernel::event::{Event, Payload};
use vespiary_kernel::ids::Digest;
use vespiary_kernel::json::Json;
use vespiary_kernel::principal::{Isolation, Principal};
use vespiary_kernel::quota::{LimitHit, STORED_BYTES_MAX};
use vespiary_kernel::reuse::Origin;
use vespiary_kernel::scope::Scope;
use vespiary_kernel::sight::Sight;
use vespiary_kernel::worktree::Taken;

/// The longest content that is held in memory until the run ends: longer ones are not merged by lines anyway.
const TEXT_BYTES_MAX: usize = 4 << 20;

/// All contents that are held in memory until the run ends, bytes. Where agents write more than that, none are held, and what
/// several of them changed is a conflict: which agent ended first must not decide which texts can still be joined.
const TEXTS_BYTES_MAX: usize = 256 << 20;

/// Which paths were changed in which way, in memory until the run ends, bytes: paths can be long, and agents many.
const CHANGES_BYTES_MAX: u64 = 256 << 20;

/// What a change takes beside its path and what links say, bytes of memory.
const CHANGE_BYTES: usize = 200;

/// What the agents of a run have changed so far.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    merge: Merge,
    /// What the changes in `merge` take, each side's.
    changes_bytes: u64,
    texts: BTreeMap<Digest, Arc<[u8]>>,
    /// How long all texts are together, those not held included.
    bytes: usize,
}

impl Gathered {
    /// Whether there is room for `changes`, too.
    fn demand_room(&self, changes: &ChangeSet) -> Result<(), Failure> {
        let (limit, used) = (CHANGES_BYTES_MAX, self.changes_bytes.saturating_add(weight(changes)));
        let hit = || Failure::Limit(LimitHit { quota: "changes-bytes".into(), limit, used });
        if used > limit { Err(hit()) } else { Ok(()) }
    }

    fn hold(&mut self, digest: Digest, text: Arc<[u8]>) {
        if text.len() > TEXT_BYTES_MAX || self.texts.contains_key(&digest) {
            return;
        }
        self.bytes = self.bytes.saturating_add(text.len());
        if self.bytes > TEXTS_BYTES_MAX {
            self.texts.clear();
        } else {
            self.texts.insert(digest, text);
        }
    }
}

/// What a run's isolated agents came to together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changed {
    /// What can be applied.
    pub changes: ChangeSet,
    /// What cannot, because agents disagree.
    pub conflicts: Vec<Conflict>,
}

/// What a change set takes in memory, bytes.
fn weight(changes: &ChangeSet) -> u64 {
    let target = |node: Option<&Node>| match node {
        Some(Node::Link { target }) => target.len(),
        _ => 0,
    };
    let one = |(path, change): (&TreePath, &Change)| {
        CHANGE_BYTES + path.as_str().len() + target(change.before()) + target(change.after())
    };
    changes.iter().map(one).sum::<usize>() as u64
}

impl Ground {
    /// Take what an isolated agent changed, and record it. Where the agent did its work, it counts towards what the run comes
    /// to. One agent of the run at a time, since all that it wrote is in memory meanwhile.
    pub(crate) async fn keep_changes(&self, agent: &Principal, done: bool) -> Result<(), Failure> {
        let _turn = self.turn(agent).await;
        blocking(|| self.keep_changes_now(agent, done))
    }

    /// Take what `origin` changed in its worktree as what `agent` changes: its answer is that one's, too. The dispatcher has found
    /// the project to be what it was then. One agent of the run at a time.
    pub(crate) async fn keep_changes_again(&self, agent: &Principal, origin: &Origin) -> Result<(), Failure> {
        let _turn = self.turn(agent).await;
        blocking(|| self.keep_changes_again_now(agent, origin))
    }

    async fn turn(&self, agent: &Principal) -> Option<SemaphorePermit<'_>> {
        match agent.isolation() {
            Isolation::Worktree => self.keeping.acquire().await.ok(),
            _ => None,
        }
    }

    /// The same out of turn, for one who cannot wait. Blocks for as long as reading its files takes.
    pub(crate) fn keep_changes_now(&self, agent: &Principal, done: bool) -> Result<(), Failure> {
        let (Isolation::Worktree, Some(worktrees)) = (agent.isolation(), &self.worktrees) else { return Ok(()) };
        let taken =
            worktrees.take(agent.run().id(), agent.agent()).map_err(|error| Failure::Failed(error.to_string()))?;
        self.keep(agent, taken, done)
    }

    fn keep_changes_again_now(&self, agent: &Principal, origin: &Origin) -> Result<(), Failure> {
        let (Isolation::Worktree, Some(worktrees)) = (agent.isolation(), &self.worktrees) else { return Ok(()) };
        let recall = self.dispatcher.recall();
        let lost = || Failure::Failed(format!("what {origin} changed can no longer be read from the ledger"));
        let changes = recall.changes(origin).ok_or_else(lost)?;
        let (written, bases) = (recall.contents(&changes), worktrees.bases(agent.run().root(), &changes));
        let whole = changes.iter().all(|(_, change)| {
            let digest = change.after().and_then(Node::digest);
            digest.is_none_or(|digest| written.contains_key(digest) || bases.contains_key(digest))
        });
        if !whole {
            return Err(lost());
        }
        self.keep(agent, Taken { changes, written, bases }, true)
    }

    fn keep(&self, agent: &Principal, taken: Taken, done: bool) -> Result<(), Failure> {
        if taken.changes.is_empty() {
            return Ok(());
        }
        if done {
            self.gathered().demand_room(&taken.changes)?;
        }
        let patch = patch::render(&taken.changes, &taken).into_bytes();
        let lengths = || taken.written.values().map(|content| content.len()).chain([patch.len()]);
        storable(lengths())?;
        let bytes = lengths().sum::<usize>();
        agent.account().take(Resource::ArtifactBytes, bytes as u64).map_err(Failure::Limit)?;
        let mut artifacts = vec![of_patch(patch)];
        artifacts.extend(contents(&taken.changes, &taken.written));
        let changes = Payload::Value(taken.changes.to_json());
        let files = taken.changes.len() as u64;
        let changed = Event::AgentChanged { agent: agent.agent(), changes, files, counted: done, artifacts };
        // What counts is in the record: a ledger may refuse this one event, and take the next.
        let recorded = self.dispatcher.log().append(agent.run().id(), changed);
        recorded.map_err(|error| Failure::Unrecorded(error.to_string()))?;
        if !done {
            return Ok(());
        }
        let mut gathered = self.gathered();
        gathered.changes_bytes = gathered.changes_bytes.saturating_add(weight(&taken.changes));
        taken.written.into_iter().chain(taken.bases).for_each(|(digest, text)| gathered.hold(digest, text));
        // The cell was held to its scope at each write; this is the same rule once more, on what came out.
        let rules = Scope::whole(agent.grant().clone()).rules(None);
        let (allowed, forbidden) = taken.changes.split(|path, _| rules.sight(path.as_str()) == Sight::Write);
        gathered.merge.add(agent.agent(), &allowed);
        forbidden.iter().for_each(|(path, change)| gathered.merge.forbid(agent.agent(), path, change));
        Ok(())
    }

    fn gathered(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bring together and record what all agents changed; nothing where nobody changed anything.
    pub(crate) fn merge_changes(&self) -> Option<Changed> {
        let gathered = std::mem::take(&mut *self.gathered());
        if gathered.merge.is_empty() {
            return None;
        }
        let merged = gathered.merge.resolve(&gathered.texts);
        let known = |digest: &Digest| merged.contents.content(digest).or_else(|| gathered.texts.content(digest));
        let patch = patch::render(&merged.changes, &Lookup(known));
        let mut artifacts = vec![of_patch(patch.into_bytes())];
        artifacts.extend(contents(&merged.changes, &merged.contents));
        self.record(Event::ChangesMerged {
            changes: Payload::Value(merged.changes.to_json()),
            files: merged.changes.len() as u64,
            conflicts: Payload::Value(Json::of(&merged.conflicts).unwrap_or_else(|_| Json::null())),
            conflicting: merged.conflicts.len() as u64,
            artifacts,
        });
        Some(Changed { changes: merged.changes, conflicts: merged.conflicts })
    }
}

/// Do what blocks without keeping other tasks from their turn.
fn blocking<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

/// Whether a record can hold what is so long, each by itself.
fn storable(lengths: impl Iterator<Item = usize>) -> Result<(), Failure> {
    let (limit, used) = (STORED_BYTES_MAX, lengths.max().unwrap_or_default() as u64);
    let hit = || Failure::Limit(LimitHit { quota: "artifact-bytes".into(), limit, used });
    if used > limit { Err(hit()) } else { Ok(()) }
}

struct Lookup<F>(F);

impl<F: Fn(&Digest) -> Option<Arc<[u8]>>> Contents for Lookup<F> {
    fn content(&self, digest: &Digest) -> Option<Arc<[u8]>> {
        self.0(digest)
    }
}

fn of_patch(patch: Vec<u8>) -> Artifact {
    artifact("changes.patch", "text/x-diff", Digest::of(&patch), patch.into())
}

/// The contents that a change set names and `known` has, each under the name of the first file that has it.
fn contents(set: &ChangeSet, known: &BTreeMap<Digest, Arc<[u8]>>) -> Vec<Artifact> {
    let mut by_digest = BTreeMap::new();
    for (path, change) in set {
        if let Some(digest) = change.after().and_then(Node::digest)
            && let Some(content) = known.get(digest)
        {
            let name = path.as_str().rsplit('/').next().unwrap_or_default();
            by_digest.entry(*digest).or_insert_with(|| {
                artifact(&name.replace(char::is_control, "_"), "application/octet-stream", *digest, Arc::clone(content))
            });
        }
    }
    by_digest.into_values().collect()
}

fn artifact(name: &str, media_type: &str, digest: Digest, content: Arc<[u8]>) -> Artifact {
    let bytes = content.len() as u64;
    Artifact { name: name.into(), media_type: media_type.into(), digest, bytes, content: Some(content) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_longer_than_a_record_holds_is_refused_by_itself() {
        let most = STORED_BYTES_MAX as usize;
        storable([most, most, 0].into_iter()).unwrap();
        storable([].into_iter()).unwrap();
        let Err(Failure::Limit(hit)) = storable([1, most + 1].into_iter()) else { panic!("it cannot be recorded") };
        assert_eq!((hit.limit, hit.used), (STORED_BYTES_MAX, STORED_BYTES_MAX + 1));
    }

    #[test]
    fn paths_and_what_links_say_are_counted_over_all_agents() {
        let link = Node::Link { target: "b".repeat(1_000) };
        let change = Change::new(None, Some(link)).unwrap();
        let set = ChangeSet::new(BTreeMap::from([("a".repeat(100).parse().unwrap(), change)])).unwrap();
        assert_eq!(weight(&set), 1_100 + CHANGE_BYTES as u64);
        let mut gathered = Gathered { changes_bytes: CHANGES_BYTES_MAX - weight(&set), ..Gathered::default() };
        gathered.demand_room(&set).unwrap();
        gathered.changes_bytes += 1;
        let Err(Failure::Limit(hit)) = gathered.demand_room(&set) else { panic!("there is no room") };
        assert_eq!((hit.limit, hit.used), (CHANGES_BYTES_MAX, CHANGES_BYTES_MAX + 1));
    }

    #[test]
    fn whether_texts_are_held_does_not_depend_on_who_came_first() {
        let text: Arc<[u8]> = vec![0; TEXT_BYTES_MAX].into();
        let texts: Vec<(Digest, Arc<[u8]>)> =
            (0..80u32).map(|n| (Digest::of(&n.to_le_bytes()), Arc::clone(&text))).collect();
        for reversed in [false, true] {
            let mut gathered = Gathered::default();
            let mut order: Vec<_> = texts.iter().take(60).collect();
            if reversed {
                order.reverse();
            }
            order.iter().for_each(|(digest, text)| gathered.hold(*digest, Arc::clone(text)));
            order.iter().for_each(|(digest, text)| gathered.hold(*digest, Arc::clone(text)));
            assert_eq!(gathered.texts.len(), 60);
            texts.iter().for_each(|(digest, text)| gathered.hold(*digest, Arc::clone(text)));
            assert!(gathered.texts.is_empty());
        }
    }
}
