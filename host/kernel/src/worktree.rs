//! The port by which a run gets what its isolated agents changed. An agent whose isolation is `Worktree` writes into a layer of
//! its own above the project; who keeps those layers, and how, is the sandbox's business. Nothing here changes a project.

use crate::change::{ChangeSet, Contents};
use crate::ids::{AgentId, Digest, RunId};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// The layers of isolated agents, one for each `(run, agent)` that has made a call.
pub trait Worktrees: fmt::Debug + Send + Sync {
    /// What the agent changed, and the end of its layer: after this call it is gone, whatever is returned. An agent that never
    /// came to anything has changed nothing. To be asked when all of the agent's calls have ended. Reads files and blocks.
    fn take(&self, run: &RunId, agent: AgentId) -> Result<Taken, WorktreeError>;

    /// The texts that `changes` changes or removes in the project at `root`, as they are there: what a merge by lines needs beside
    /// what was written. Those that are no longer what they were before are left out. Reads files and blocks.
    fn bases(&self, root: &Path, changes: &ChangeSet) -> BTreeMap<Digest, Arc<[u8]>>;
}

/// What was taken out of a layer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Taken {
    /// What the agent changed.
    pub changes: ChangeSet,
    /// The contents that it wrote, by digest.
    pub written: BTreeMap<Digest, Arc<[u8]>>,
    /// Texts that it changed or removed, as they were; what cannot be compared by lines, or has changed since, is left out.
    pub bases: BTreeMap<Digest, Arc<[u8]>>,
}

impl Contents for Taken {
    fn content(&self, digest: &Digest) -> Option<Arc<[u8]>> {
        self.written.get(digest).or_else(|| self.bases.get(digest)).cloned()
    }
}

/// Why a layer gives no change set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the worktree of {agent} cannot be read: {why}")]
pub struct WorktreeError {
    /// Whose.
    pub agent: AgentId,
    /// What went wrong.
    pub why: String,
}
