//! What the ledger records. Events are facts in the past tense; a record is written as JSON, hashed and never changed, so a
//! variant may gain optional fields and is otherwise fixed.

use crate::call::{Artifact, Failure, Usage};
use crate::capability::Capability;
use crate::grant::Grant;
use crate::ids::{AgentId, CallId, Digest, RunId, ToolName};
use crate::json::Json;
use crate::program::ProgramName;
use crate::reuse::Origin;
use crate::script::{ScriptError, Verdict};
use serde::{Deserialize, Serialize};

/// One fact about a run: `{"phase":{"title":"scan"}}`. The name is outside, because JSON that must survive byte for byte
/// cannot pass through the buffer that a tag inside would need.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(clippy::large_enum_variant, reason = "most events are the large one; a box would cost each an allocation")]
pub enum Event {
    /// Always first.
    RunStarted {
        /// The program's version.
        version: String,
        /// What was asked for: the script's name, or the tool of a single call.
        title: String,
        /// SHA-256 of the script's source, where there is a script.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        script: Option<Digest>,
        /// The run's arguments.
        args: Json,
        /// The project directory.
        root: String,
        /// What the person granted.
        grant: Grant,
    },
    /// What it takes to go on with the run in another process. Follows the start of a workflow.
    RunPrepared {
        /// The script's source.
        source: Payload,
        /// What the program that started the run must be told to start it in the same way; its own business.
        settings: Json,
        /// The run that this one goes on from.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resumes: Option<RunId>,
    },
    /// The script had another workflow run as a part of this run.
    WorkflowStarted {
        /// What it is known by.
        name: String,
        /// SHA-256 of its source.
        script: Digest,
        /// Its arguments.
        args: Payload,
    },
    /// The script waits for a decision.
    GateOpened {
        /// SHA-256 of what is to be decided: `gate::Matter`.
        gate: Digest,
        /// What it is about, in the script's words.
        title: String,
        /// What is decided on, in canonical form.
        payload: Payload,
        /// Milliseconds since 1970 UTC past which it counts as denied.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_ms: Option<u64>,
        /// The program that decides; none where a person does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        check: Option<ProgramName>,
    },
    /// It was decided. The first such event is the one that holds. May stand after the run's end.
    GateDecided {
        /// Which.
        gate: Digest,
        /// Whether the script may go on.
        approved: bool,
        /// The user's name, `exec:PROGRAM`, or `expiry`.
        by: String,
        /// What they added.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<String>,
        /// Milliseconds since 1970 UTC.
        at_ms: u64,
    },
    /// The script entered a phase.
    Phase {
        /// Its title.
        title: String,
    },
    /// The script said something.
    Log {
        /// The line.
        text: String,
    },
    /// A claim was voted on.
    ClaimJudged {
        /// What was claimed, in the script's words.
        claim: String,
        /// What came of it.
        verdict: Verdict,
        /// What the voters said.
        votes: Payload,
    },
    /// An agent was given its grant.
    AgentStarted {
        /// Which.
        agent: AgentId,
        /// Who started it.
        parent: AgentId,
        /// For people.
        label: String,
        /// The phase it belongs to, where the script named one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        phase: Option<String>,
        /// The agent plugin.
        agent_type: String,
        /// What it holds.
        grant: Grant,
        /// Whether it works in a worktree of its own.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        isolated: bool,
    },
    /// An agent's task ended.
    AgentEnded {
        /// Which.
        agent: AgentId,
        /// Why it failed, when it did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failure: Option<Failure>,
    },
    /// An isolated agent came to its end having changed something in its worktree. Nothing of it is in the project.
    AgentChanged {
        /// Which.
        agent: AgentId,
        /// What it changed, as a change set.
        changes: Payload,
        /// How many paths.
        files: u64,
        /// Whether it is part of what the run comes to; what a failed agent changed is only kept.
        counted: bool,
        /// The patch, and every content that the change set names and that was not there before.
        artifacts: Vec<Artifact>,
    },
    /// What the isolated agents of the run changed, as one. Nothing of it is in the project.
    ChangesMerged {
        /// What can be applied, as a change set.
        changes: Payload,
        /// How many paths.
        files: u64,
        /// What cannot, because agents disagree: a list of conflicts.
        conflicts: Payload,
        /// How many paths.
        conflicting: u64,
        /// The patch, and every content that came out of joining others.
        artifacts: Vec<Artifact>,
    },
    /// Somebody asked for a call. Recorded before anything is decided.
    CallIntended {
        /// Which.
        call: CallId,
        /// Who asked.
        agent: AgentId,
        /// For what.
        tool: ToolName,
        /// With what; only its digest where the call was refused because no more arguments of the caller's are kept.
        arguments: Payload,
    },
    /// A call that can change something was allowed. On disk before the call runs.
    CallAdmitted {
        /// Which.
        call: CallId,
        /// The component that will run.
        component: Digest,
        /// What the cell will hold.
        scope: Grant,
        /// What is denied of it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        except: Vec<Capability>,
        /// What names equal calls; see `reuse::key`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<Digest>,
        /// Whether it changes a worktree only, of which nothing is left should the process die.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        isolated: bool,
    },
    /// A call ended, whatever way.
    CallEnded {
        /// Which.
        call: CallId,
        /// The component that ran; none when the call was refused before one was chosen.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        component: Option<Digest>,
        /// What the cell held; none when it never existed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scope: Option<Grant>,
        /// What was denied of it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        except: Vec<Capability>,
        /// The value, when there is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        value: Option<Payload>,
        /// The cause, when there is none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failure: Option<Failure>,
        /// What it saw of the files it was granted: an `observed::ReadSet`; none when it looked at none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reads: Option<Payload>,
        /// What it cost.
        usage: Usage,
        /// What it left.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        artifacts: Vec<Artifact>,
        /// What names equal calls, where its value was kept; see `reuse::key`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<Digest>,
        /// The earlier call whose answer this is. Nothing ran.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reused: Option<Origin>,
        /// The calls which that one had made, where it had made any: a list of `reuse::PastCall`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rests_on: Option<Payload>,
    },
    /// Last, but for decisions on gates that were open then; missing where the process was killed.
    RunEnded {
        /// How.
        status: RunStatus,
        /// What the script returned.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        value: Option<Payload>,
        /// Why it failed, when it did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<RunError>,
    },
}

/// What of an event may be long. One match for both, with no arm for the rest, so that no new event is forgotten where it is
/// stored, weighed, verified or sent.
macro_rules! contents {
    ($event:expr, $slice:ident, $none:expr) => {
        match $event {
            Event::CallIntended { arguments, .. } => (vec![arguments], $none),
            Event::ClaimJudged { votes, .. } => (vec![votes], $none),
            Event::RunPrepared { source, .. } => (vec![source], $none),
            Event::WorkflowStarted { args, .. } => (vec![args], $none),
            Event::GateOpened { payload, .. } => (vec![payload], $none),
            Event::RunEnded { value, .. } => (value.into_iter().collect(), $none),
            Event::CallEnded { value, reads, rests_on, artifacts, .. } => {
                (value.into_iter().chain(reads).chain(rests_on).collect(), artifacts.$slice())
            }
            Event::AgentChanged { changes, artifacts, .. } => (vec![changes], artifacts.$slice()),
            Event::ChangesMerged { changes, conflicts, artifacts, .. } => {
                (vec![changes, conflicts], artifacts.$slice())
            }
            Event::RunStarted { .. }
            | Event::GateDecided { .. }
            | Event::Phase { .. }
            | Event::Log { .. }
            | Event::AgentStarted { .. }
            | Event::AgentEnded { .. }
            | Event::CallAdmitted { .. } => (Vec::new(), $none),
        }
    };
}

impl Event {
    /// Its JSON and its files: what a ledger may keep as blobs.
    pub fn contents(&self) -> (Vec<&Payload>, &[Artifact]) {
        contents!(self, as_slice, &[])
    }

    /// The same, to be moved.
    pub fn contents_mut(&mut self) -> (Vec<&mut Payload>, &mut [Artifact]) {
        contents!(self, as_mut_slice, &mut [])
    }
}

/// JSON in a record: the value itself, or only what identifies it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Payload {
    /// The value, to be kept. The ledger may move a long one into a blob.
    Value(Json),
    /// The value is a blob in the same ledger.
    Blob {
        /// Its digest.
        digest: Digest,
        /// Its length.
        bytes: u64,
    },
    /// The value was not kept.
    Digest {
        /// SHA-256 of the JSON text.
        digest: Digest,
        /// Its length.
        bytes: u64,
    },
}

/// How a run stands or ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunStatus {
    /// Started and not yet ended; after a crash it stays so.
    Running,
    /// Every agent succeeded.
    Completed,
    /// The script returned, but some agents failed.
    Degraded,
    /// The script failed.
    Failed,
    /// A person stopped it.
    Stopped,
    /// It ended early, or agents of it did, because what the run may spend was spent.
    OutOfBudget,
    /// It can go no further until a person decides.
    AwaitingGate,
}

impl RunStatus {
    /// The word people and programs read.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Degraded => "degraded",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
            Self::OutOfBudget => "out-of-budget",
            Self::AwaitingGate => "awaiting-gate",
        }
    }
}

/// Why a run failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunError {
    /// The script's own error.
    Script(ScriptError),
    /// The engine's cell was ended, or never began.
    Engine(Failure),
    /// Anything else, in words.
    Other(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads_back(event: Event) {
        let text = Json::of(&event).unwrap();
        let back: Event = text.read().unwrap_or_else(|e| panic!("{text} does not read back: {e}"));
        assert_eq!(Json::of(&back).unwrap(), text);
    }

    #[test]
    fn every_shape_of_json_in_a_record_reads_back_as_it_was_written() {
        let value = Json::parse(r#"{ "n": 12345678901234567890.10, "deep": [[1e400]], "a": 1, "a": 2 }"#).unwrap();
        let grant = Grant::of_run(["read:.", "tool:files.*"].map(|t| t.parse::<Capability>().unwrap()));
        reads_back(Event::RunStarted {
            version: "1".into(),
            title: "t".into(),
            script: Some(Digest::of(b"s")),
            args: value.clone(),
            root: "/p".into(),
            grant,
        });
        let gate = Digest::of(b"g");
        let (title, payload) = ("t".to_owned(), Payload::Value(value.clone()));
        reads_back(Event::GateOpened {
            gate,
            title,
            payload,
            expires_ms: Some(7),
            check: Some("true".parse().unwrap()),
        });
        let decided = Event::GateDecided { gate, approved: true, by: "me".into(), note: Some("n".into()), at_ms: 1 };
        assert_eq!(Json::of(&decided).unwrap().as_str().matches("gate").count(), 2);
        reads_back(decided);
        reads_back(Event::CallIntended {
            call: CallId(1),
            agent: AgentId(2),
            tool: "files.read".parse().unwrap(),
            arguments: Payload::Value(value.clone()),
        });
        let artifact = Artifact {
            name: "changes.patch".into(),
            media_type: "text/x-diff".into(),
            digest: Digest::of(b"p"),
            bytes: 1,
            content: None,
        };
        reads_back(Event::ChangesMerged {
            changes: Payload::Value(Json::parse(r#"{"a":{"after":"directory"}}"#).unwrap()),
            files: 1,
            conflicts: Payload::Value(Json::parse("[]").unwrap()),
            conflicting: 0,
            artifacts: vec![artifact],
        });
        reads_back(Event::CallEnded {
            call: CallId(1),
            component: None,
            scope: Some(Grant::none()),
            except: Vec::new(),
            value: Some(Payload::Value(value)),
            failure: Some(Failure::Cancelled),
            reads: None,
            usage: Usage::default(),
            artifacts: Vec::new(),
            key: Some(Digest::of(b"k")),
            reused: Some(Origin { run: "r".parse().unwrap(), call: CallId(7) }),
            rests_on: Some(Payload::Value(Json::parse("[]").unwrap())),
        });
    }
}
