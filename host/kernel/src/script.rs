//! The protocol between a workflow script's engine and whoever drives it, as plain data. The sandbox carries it across the
//! cell's border, the fleet gives it meaning; the kernel only names it. Mirrors the `script` interface of `wit/`.

use crate::json::Json;
use serde::{Deserialize, Serialize};
use std::fmt;

/// One thing the script asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Counts up from 1 within a run.
    pub id: u64,
    /// What it is.
    pub action: Action,
}

/// What a script can ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Start an agent; answered.
    Agent {
        /// What to do.
        prompt: String,
        /// The options object as the script wrote it.
        options: Json,
        /// Whether the answer is an object that says how the agent ended, where it would be the value or `null`.
        status: bool,
    },
    /// Call a tool; answered.
    Tool {
        /// `plugin.tool`, as the script wrote it.
        name: String,
        /// Its arguments.
        arguments: Json,
    },
    /// Run another workflow as a part of this one; answered.
    Workflow {
        /// What it is known by, as the script wrote it.
        name: String,
        /// Its `args`.
        args: Json,
    },
    /// Have it decided whether to go on; the options object as the script wrote it. Answered.
    Gate(Json),
    /// A phase began; not answered.
    Phase(String),
    /// A line for the log; not answered.
    Log(String),
    /// A claim was voted on; not answered.
    Verdict {
        /// What was claimed, in the script's words.
        claim: String,
        /// What came of it.
        verdict: Verdict,
        /// What the voters said.
        votes: Json,
    },
}

/// What comes of voting on a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Enough voters affirmed it.
    Verified,
    /// Enough voters denied it.
    Refuted,
    /// Neither: voters disagreed, or did not answer.
    Unverified,
}

/// What models may cost the run, in tokens sent and received.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Budget {
    /// None where the run has no limit.
    pub total: Option<u64>,
    /// Spent so far.
    pub spent: u64,
}

/// The answer to one request.
#[derive(Debug, Clone)]
pub struct Completion {
    /// The request's id.
    pub id: u64,
    /// A value, or an exception to throw.
    pub settlement: Result<Json, Rejection>,
}

/// An exception to throw inside the script.
#[derive(Debug, Clone)]
pub struct Rejection {
    /// The Error's `code`.
    pub code: String,
    /// Its `message`.
    pub message: String,
    /// Its `detail`.
    pub detail: Json,
}

/// What happened since the engine was last asked.
#[derive(Debug, Clone)]
pub struct Turn {
    /// What the script asked for, in its order.
    pub requests: Vec<Request>,
    /// Where the script stands.
    pub state: State,
}

/// Where a script stands.
#[derive(Debug, Clone)]
pub enum State {
    /// It waits for completions.
    Waiting,
    /// It returned.
    Done(Json),
    /// It failed.
    Failed(ScriptError),
}

/// What went wrong in a script, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptError {
    /// What sort of error.
    pub kind: ErrorKind,
    /// What the engine said.
    pub message: String,
    /// From 1 in the source as given; 0 where unknown.
    pub line: u32,
    /// From 1; 0 where unknown.
    pub column: u32,
    /// Frames, one a line; may be empty.
    pub stack: String,
}

/// What sort of script error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// Not JavaScript.
    Syntax,
    /// `meta` is missing or not a pure literal.
    Meta,
    /// An uncaught exception.
    Thrown,
    /// It waits for what nothing will settle.
    Stalled,
}

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            ErrorKind::Syntax => "syntax error",
            ErrorKind::Meta => "meta",
            ErrorKind::Thrown => "uncaught",
            ErrorKind::Stalled => "stalled",
        };
        write!(f, "{what}: {}", self.message)?;
        if self.line > 0 {
            write!(f, " (line {}, column {})", self.line, self.column)?;
        }
        Ok(())
    }
}
