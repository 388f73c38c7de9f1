//! Workflows that a script calls: each found by its name, run in an engine of its own as the same principal, and ended with the
//! script that called it. Its agents draw on the places, budgets and limits of the run.

use crate::activity::Token;
use crate::jobs::{Ended, Ground, thrown, unrecorded};
use crate::library::Found;
use crate::options::reject;
use crate::pending::Weight;
use crate::session::{self, Depth, Halt, Pulse, Script};
use std::sync::Arc;
use tokio::sync::watch;
use vespiary_kernel::call::Failure;
use vespiary_kernel::event::RunError;
use vespiary_kernel::json::Json;
use vespiary_kernel::script::{Completion, Rejection};

/// The longest name that is looked for, bytes; no workflow has a longer one.
const NAME_BYTES_MAX: usize = 256;

/// A workflow that was called, and not yet started.
#[derive(Debug)]
pub(crate) struct WorkflowJob {
    pub(crate) request: u64,
    name: String,
    args: Json,
    weight: Weight,
}

impl Ground {
    /// Check a request for a workflow. The error is thrown in the script.
    pub(crate) fn accept_workflow(&self, request: u64, name: String, args: Json) -> Result<WorkflowJob, Rejection> {
        if self.library.is_none() {
            return Err(reject(
                "unsupported",
                "workflow() needs a host that knows workflows by name; this one knows none",
            ));
        }
        if name.len() > NAME_BYTES_MAX {
            return Err(not_found(format!("a name of {} bytes is none of a workflow", name.len())));
        }
        let weight = self.pending.take(args.len_bytes())?;
        Ok(WorkflowJob { request, name, args, weight })
    }

    /// Run it to its end, or until `over` says that nobody waits for it any more.
    pub(crate) async fn run_workflow(
        self: Arc<Self>,
        job: WorkflowJob,
        mut over: watch::Receiver<bool>,
        token: Option<Token>,
    ) -> Ended {
        let WorkflowJob { request, name, args, weight: _weight } = job;
        let over = async move {
            // A sender that is gone was dropped with the script that called this one.
            let _ = over.wait_for(|over| *over).await;
        };
        let ended = |settlement, unrecorded, token| Ended {
            completion: Some(Completion { id: request, settlement }),
            planned: None,
            named: String::new(),
            failure: None,
            unrecorded,
            out_of_budget: false,
            _token: token,
        };
        let Found { name, source } = match self.find_workflow(name).await {
            Ok(found) => found,
            Err(rejection) => return ended(Err(rejection), None, token),
        };
        let script = Script { title: &name, source: &source, args: &args, depth: Depth::Called };
        let mut pulse = Pulse::new(&self.activity, token);
        let ran = session::run(&self, script, &mut pulse, over).await;
        let token = pulse.into_token();
        if ran.cut {
            return Ended { completion: None, ..ended(Ok(Json::null()), None, token) };
        }
        match ran.end {
            Ok(value) => ended(Ok(value), None, token),
            Err(Halt::Failed(error)) => ended(Err(self.told_of(&name, &error)), unrecorded_in(&error), token),
            Err(Halt::Awaiting) => ended(Err(reject("cancelled", "the run waits for a decision")), None, token),
        }
    }

    async fn find_workflow(&self, name: String) -> Result<Found, Rejection> {
        let library = self.library.clone().ok_or_else(|| not_found("there are no workflows".into()))?;
        let found = tokio::task::spawn_blocking(move || library.find(&name)).await;
        found.unwrap_or_else(|error| Err(error.to_string())).map_err(not_found)
    }

    /// The exception by which the calling script learns that `name` failed.
    fn told_of(&self, name: &str, error: &RunError) -> Rejection {
        match error {
            RunError::Script(error) => {
                let code = if self.tally.out_of_budget() { "over-budget" } else { "failed" };
                let detail = Json::of(error).unwrap_or_else(|_| Json::null());
                Rejection { code: code.into(), message: format!("workflow {name} failed: {error}"), detail }
            }
            RunError::Engine(failure) => {
                let told = thrown(failure);
                Rejection { message: format!("workflow {name} failed: {}", told.message), ..told }
            }
            RunError::Other(why) => reject("host", format!("workflow {name} failed: {why}")),
        }
    }
}

fn not_found(why: String) -> Rejection {
    reject("not-found", format!("workflow(): {why}"))
}

fn unrecorded_in(error: &RunError) -> Option<String> {
    match error {
        RunError::Engine(failure @ Failure::Unrecorded(_)) => unrecorded(Some(failure)),
        _ => None,
    }
}
