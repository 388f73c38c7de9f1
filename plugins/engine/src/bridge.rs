//! What a script asks for, on its way out. Knows the shapes of requests and answers, and nothing of QuickJS.

use std::collections::BTreeSet;

/// One thing the script asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Counts up from 1; phases and log lines are numbered too.
    pub id: u64,
    /// What was asked.
    pub action: Action,
}

/// The kinds of requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Start an agent; answered by a completion.
    Agent {
        /// What it is to do.
        prompt: String,
        /// Its options, a JSON object.
        options: String,
        /// Whether the answer says how it ended.
        status: bool,
    },
    /// Call a tool; answered by a completion.
    Tool {
        /// `plugin.tool`
        name: String,
        /// A JSON object.
        arguments: String,
    },
    /// Run another workflow as a part of this one; answered by a completion.
    Workflow {
        /// What it is known by.
        name: String,
        /// Its `args`, as JSON.
        args: String,
    },
    /// Have it decided whether to go on; the options, a JSON object. Answered by a completion.
    Gate(String),
    /// The script entered a phase. Not answered.
    Phase(String),
    /// The script logged a line. Not answered.
    Log(String),
    /// The script had a claim voted on. Not answered.
    Verdict {
        /// What was claimed.
        claim: String,
        /// What came of it.
        verdict: Verdict,
        /// What the voters said, as JSON.
        votes: String,
    },
}

impl Action {
    /// Whether a completion answers it.
    pub fn is_answered(&self) -> bool {
        match self {
            Self::Agent { .. } | Self::Tool { .. } | Self::Workflow { .. } | Self::Gate(_) => true,
            Self::Phase(_) | Self::Log(_) | Self::Verdict { .. } => false,
        }
    }
}

/// What comes of a vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Enough voters affirmed the claim.
    Verified,
    /// Enough denied it.
    Refuted,
    /// Neither.
    Unverified,
}

/// What models may cost the run, in tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Budget {
    /// None where there is no limit.
    pub total: Option<u64>,
    /// Spent so far.
    pub spent: u64,
}

/// The answer to one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// Which request.
    pub id: u64,
    /// What came of it.
    pub settlement: Settlement,
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    /// The value, as JSON.
    Resolved(String),
    /// An exception to throw inside the script.
    Rejected {
        /// The error's `code`.
        code: String,
        /// Its message.
        message: String,
        /// Its `detail`, as JSON.
        detail: String,
    },
}

/// Requests of the current turn, and which of all requests still wait for an answer.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    last_id: u64,
    requests: Vec<Request>,
    open: BTreeSet<u64>,
}

impl Outbox {
    /// Number a request and keep it for the end of the turn.
    pub(crate) fn emit(&mut self, action: Action) -> u64 {
        self.last_id += 1;
        if action.is_answered() {
            self.open.insert(self.last_id);
        }
        self.requests.push(Request { id: self.last_id, action });
        self.last_id
    }

    /// Mark a request as answered; `false` when no such request waits.
    pub(crate) fn answer(&mut self, id: u64) -> bool {
        self.open.remove(&id)
    }

    /// Whether any request waits for an answer.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.open.is_empty()
    }

    /// Hand out the requests of this turn.
    pub(crate) fn take(&mut self) -> Vec<Request> {
        std::mem::take(&mut self.requests)
    }
}
