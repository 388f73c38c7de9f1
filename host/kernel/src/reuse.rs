//! When the outcome of an earlier call stands for a new one: what names equal calls, and what is known of the earlier one. Whoever
//! remembers calls (`ports::Recall`) only tells; the dispatcher decides. Nothing here is trusted to be still true: the policy is
//! asked again, and what was read is looked at again.

use crate::call::{Artifact, Failure};
use crate::capability::Capability;
use crate::change::ChangeSet;
use crate::event::Payload;
use crate::grant::Grant;
use crate::ids::{CallId, Digest, RunId, ToolName};
use crate::json::Json;
use crate::observed::ReadSet;
use crate::principal::Isolation;
use crate::scope::Scope;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fmt;

/// A call of any run.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Origin {
    /// The run.
    pub run: RunId,
    /// The call in it.
    pub call: CallId,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of run {}", self.call, self.run)
    }
}

/// What an earlier run is to this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bond {
    /// This one goes on from it: what was finished there is finished.
    Resumed,
    /// It was another run over the same project. Only what is sure to come out the same again counts.
    Earlier,
}

/// A call that ended with an answer.
#[derive(Debug, Clone)]
pub struct Past {
    /// Which.
    pub origin: Origin,
    /// What its run is to this one.
    pub bond: Bond,
    /// What it answered.
    pub value: Json,
    /// What it left; the contents are where they were.
    pub artifacts: Vec<Artifact>,
    /// What it saw of files.
    pub reads: Option<ReadSet>,
    /// The calls it made itself, in their order.
    pub nested: Vec<PastCall>,
    /// What it changed in its own worktree, where its agent had one.
    pub changes: ChangeSet,
}

/// A call that another one made. Written into the record of each run that takes the other one over.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PastCall {
    /// Which.
    pub origin: Origin,
    /// The call of the agent that made it, where that was not the other one itself but an agent that it started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<CallId>,
    /// For what.
    pub tool: ToolName,
    /// With what.
    pub arguments: Json,
    /// The component that ran; none when none was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<Digest>,
    /// What its cell held; none when it never existed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Grant>,
    /// What was denied of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<Capability>,
    /// What identifies its value, where it gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Payload>,
    /// Why it gave none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// What it saw of files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reads: Option<ReadSet>,
}

/// What to do about a call that may have had its effect, and nobody knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// Ask a person.
    Ask,
    /// Make it again.
    Redo,
    /// Do not make it: it fails.
    Skip,
}

/// What names a call: equal for two that would be the same in everything that is known before they run.
pub fn key(tool: &ToolName, component: &Digest, arguments: &Json, scope: &Scope, isolation: Isolation) -> Digest {
    let mut hash = Sha256::new();
    // Each part ends with its length, so that no two lists of parts give the same bytes.
    let mut part = |bytes: &[u8]| {
        hash.update(bytes);
        hash.update((bytes.len() as u64).to_le_bytes());
    };
    part(b"vespiary call 1");
    part(tool.as_str().as_bytes());
    part(component.as_bytes());
    part(arguments.as_str().as_bytes());
    part(scope.to_string().as_bytes());
    part(if isolation == Isolation::Worktree { b"worktree" } else { b"shared" });
    Digest::from_bytes(hash.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_differs_gives_another_key() {
        let tool = |name: &str| name.parse::<ToolName>().unwrap();
        let scope = |text: &str| Scope::whole(Grant::of_run([text.parse::<Capability>().unwrap()]));
        let json = |text: &str| Json::parse(text).unwrap();
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        let shared = Isolation::Shared;
        let keys = [
            key(&tool("files.read"), &a, &json("{}"), &scope("read:."), shared),
            key(&tool("files.list"), &a, &json("{}"), &scope("read:."), shared),
            key(&tool("files.read"), &b, &json("{}"), &scope("read:."), shared),
            key(&tool("files.read"), &a, &json("[]"), &scope("read:."), shared),
            key(&tool("files.read"), &a, &json("{}"), &scope("read:src"), shared),
            key(&tool("files.read"), &a, &json("{}"), &scope("read:."), Isolation::Worktree),
        ];
        for (at, one) in keys.iter().enumerate() {
            assert!(keys[..at].iter().all(|other| other != one), "{at}");
        }
        assert_eq!(keys[0], key(&tool("files.read"), &a, &json("{}"), &scope("read:."), shared));
    }
}
