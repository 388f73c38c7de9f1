//! How a run is followed while it goes: facts, told once, in order. Never a channel back into the run.

use vespiary_kernel::call::Failure;
use vespiary_kernel::gate::Decision;
use vespiary_kernel::ids::{AgentId, Digest};

/// Something that happened in a run.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Progress<'a> {
    /// The script's `meta`, checked, with the titles of the phases it announces.
    Checked {
        /// The workflow's name.
        name: &'a str,
        /// Phases announced, in order; may be empty.
        phases: &'a [String],
    },
    /// The script entered a phase.
    Phase(&'a str),
    /// The script logged a line. Not yet neutralized for a terminal.
    Log(&'a str),
    /// Another workflow runs as a part of this one; its name.
    WorkflowStarted(&'a str),
    /// Something waits for a person's decision.
    GateOpened {
        /// What the decision is bound to.
        gate: Digest,
        /// What it is about. Not yet neutralized for a terminal.
        title: &'a str,
    },
    /// It was decided.
    GateDecided {
        /// What it is about. Not yet neutralized for a terminal.
        title: &'a str,
        /// How, and by whom.
        decision: &'a Decision,
    },
    /// An agent waits for its turn.
    AgentQueued,
    /// An agent runs.
    AgentStarted {
        /// Which.
        agent: AgentId,
        /// For people.
        label: &'a str,
    },
    /// An agent ended.
    AgentEnded {
        /// Which.
        agent: AgentId,
        /// For people.
        label: &'a str,
        /// Why it failed, when it did.
        failure: Option<&'a Failure>,
    },
}

/// Follows a run. Called on the run's own tasks: return at once, and never block.
pub trait Watch: Send + Sync {
    /// Something happened.
    fn see(&self, progress: Progress<'_>);
}

/// Follows nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unwatched;

impl Watch for Unwatched {
    fn see(&self, _: Progress<'_>) {}
}
