//! What a run counts on its way, over all scripts that are part of it.

use crate::jobs::{AgentFailure, Ended, Planned};
use std::sync::{Mutex, PoisonError};
use vespiary_kernel::script::Completion;

/// Failures of agents kept in the report; all of them are in the ledger.
const FAILURES_KEPT: usize = 50;

/// The counts, shared by every script of a run.
#[derive(Debug, Default)]
pub(crate) struct Tally(Mutex<Counts>);

/// What was counted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counts {
    pub(crate) agents_failed: u64,
    pub(crate) failures: Vec<AgentFailure>,
    pub(crate) out_of_budget: bool,
    /// What a plan says of each; kept only for one.
    pub(crate) planned: Vec<Planned>,
    /// Jobs whose answers were known.
    pub(crate) reused: u64,
}

impl Tally {
    /// The counts so far.
    pub(crate) fn counts(&self) -> Counts {
        self.lock(|counts| counts.clone())
    }

    /// Whether something ended because the run may spend no more.
    pub(crate) fn out_of_budget(&self) -> bool {
        self.lock(|counts| counts.out_of_budget)
    }

    /// An agent was refused before it could start.
    pub(crate) fn refused(&self) {
        self.lock(|counts| counts.agents_failed += 1);
    }

    /// A job ended, or would run; what is left of it is what the script is told.
    pub(crate) fn count(&self, job: Ended, planning: bool) -> Option<Completion> {
        self.lock(|counts| {
            counts.reused += u64::from(job.planned.as_ref().is_some_and(|planned| planned.reused.is_some()));
            if planning {
                counts.planned.extend(job.planned);
                return;
            }
            counts.out_of_budget |= job.out_of_budget;
            if let Some(failure) = job.failure {
                counts.agents_failed += 1;
                if counts.failures.len() < FAILURES_KEPT {
                    counts.failures.push(failure);
                }
            }
        });
        job.completion
    }

    /// A poisoned lock only means that a thread died between two counts; the numbers are what they were.
    fn lock<R>(&self, f: impl FnOnce(&mut Counts) -> R) -> R {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
