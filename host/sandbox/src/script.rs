//! The cell of a workflow script: one store that lives from the script's start to its end, worked on in steps. Between steps
//! it holds its memory and nothing else. All steps draw on one allowance of processor time; waiting between them is free.

use crate::Sandbox;
use crate::bindings::script::ScriptEngine;
use crate::bindings::script::exports::vespiary::plugin::script as wit;
use crate::cell::Cell;
use crate::components::Ready;
use crate::ending;
use crate::engine::Ticker;
use crate::report::Report;
use crate::run::within;
use crate::text;
use crate::walls::Clock;
use std::sync::Arc;
use vespiary_kernel::admit::Admitted;
use vespiary_kernel::call::{Ending, Failure, Outcome, Usage};
use vespiary_kernel::json::Json;
use vespiary_kernel::pool::Lease;
use vespiary_kernel::ports::{BoxFuture, ScriptCell};
use vespiary_kernel::quota::Quota;
use vespiary_kernel::script::{Action, Budget, Completion, ErrorKind, Request, ScriptError, State, Turn, Verdict};
use wasmtime::Store;

/// What is wrong with a source that the engine's stack is too short for.
const TOO_DEEP: &str = "the script is nested too deeply to be read: some 500 calls, brackets or operators inside each other are \
                        too many; put parts of it into variables or functions";

/// A live engine. The order of the fields is the order in which they are dropped: the memory before the lease.
struct LiveScript {
    store: Store<Cell>,
    guest: ScriptEngine,
    clock: Arc<Clock>,
    quota: Quota,
    dead: Option<Outcome>,
    /// The script may outlive the sandbox that opened it; without the tick no limit on time would hold.
    _ticker: Arc<Ticker>,
    lease: Lease,
}

impl Sandbox {
    pub(crate) async fn open_engine(&self, admitted: Admitted) -> Result<Box<dyn ScriptCell>, Outcome> {
        let plugin = Arc::clone(admitted.plugin());
        let entry = self.components.find(&plugin, &self.imports).await.map_err(Outcome::refused)?;
        let pre = match entry.get() {
            Ok(Ready::Engine(pre)) => pre,
            Ok(_) => return Err(Outcome::refused(Failure::Unrunnable("it does not run scripts".into()))),
            Err(failure) => return Err(Outcome::refused(failure)),
        };
        let quota = *admitted.quota();
        let (cell, mut lease) = self.imports.of_script(admitted);
        let mut store = cell.into_store(&self.engine);
        let clock = Arc::clone(&store.data().walls.clock);
        match within(&clock, &quota, pre.instantiate_async(&mut store)).await {
            Ok(guest) => {
                lease.park();
                Ok(Box::new(LiveScript {
                    store,
                    guest,
                    clock,
                    quota,
                    dead: None,
                    _ticker: Arc::clone(&self.ticker),
                    lease,
                }))
            }
            Err(stopped) => {
                let cell = store.into_data();
                let failure = stopped.cause(&cell, &quota);
                Err(cell.into_outcome(Ending::Failed(failure)))
            }
        }
    }
}

/// What each entry into the guest has in common: a living cell, a place to run, the walls, and an answer that is checked.
/// Until the answer is there the cell counts as dead: a step whose future is dropped half-way leaves the guest in the middle
/// of something, and nobody may enter it again. A macro, because a closure's future cannot be named as `Send`.
macro_rules! enter {
    ($cell:ident, |$guest:ident, $store:ident| $call:expr, $read:expr) => {{
        $cell.begin().await?;
        let ($guest, $store) = ($cell.guest.vespiary_plugin_script(), &mut $cell.store);
        let ended = within(&$cell.clock, &$cell.quota, $call).await;
        let read = ended.map_err(|stopped| stopped.cause($cell.store.data(), &$cell.quota)).and_then($read);
        $cell.end(read)
    }};
}

impl LiveScript {
    async fn begin(&mut self) -> Result<(), Outcome> {
        match &self.dead {
            Some(outcome) => Err(outcome.clone()),
            None => {
                self.lease.resume().await;
                self.dead = Some(Outcome::refused(Failure::Cancelled));
                Ok(())
            }
        }
    }

    #[expect(clippy::result_large_err, reason = "the port's own error, made once in a script's life")]
    fn end<R>(&mut self, ended: Result<R, Failure>) -> Result<R, Outcome> {
        self.lease.park();
        match ended {
            Ok(answer) => {
                self.dead = None;
                Ok(answer)
            }
            Err(failure) => {
                let usage = self.usage();
                let (log, artifacts) = self.store.data_mut().report.take();
                let outcome = Outcome { usage, artifacts, log, ..Outcome::refused(failure) };
                self.dead = Some(outcome.clone());
                Err(outcome)
            }
        }
    }
}

impl ScriptCell for LiveScript {
    fn check<'a>(&'a mut self, source: &'a str) -> BoxFuture<'a, Result<Result<Json, ScriptError>, Outcome>> {
        Box::pin(async move {
            let checked = enter!(self, |guest, store| guest.call_check(store, source), |answer| match answer {
                Ok(meta) => Ok(Ok(ending::json(meta, "the script's meta")?)),
                Err(error) => Ok(Err(script_error(error))),
            });
            // Nothing of the script has run: it is what is written that goes deeper than the parser's stack.
            match checked {
                Err(outcome) => match too_deep(&outcome) {
                    Some(error) => Ok(Err(error)),
                    None => Err(outcome),
                },
                checked => checked,
            }
        })
    }

    fn start<'a>(
        &'a mut self,
        source: &'a str,
        args: &'a Json,
        budget: Budget,
    ) -> BoxFuture<'a, Result<Turn, Outcome>> {
        Box::pin(async move {
            let args = args.as_str().to_owned();
            let budget = wit::Budget { total: budget.total, spent: budget.spent };
            enter!(self, |guest, store| guest.call_start(store, source, &args, budget), |said| turn(
                said,
                &self.store.data().report
            ))
        })
    }

    fn step(&mut self, completions: Vec<Completion>, spent: u64) -> BoxFuture<'_, Result<Turn, Outcome>> {
        Box::pin(async move {
            let completions: Vec<_> = completions.into_iter().map(completion).collect();
            enter!(self, |guest, store| guest.call_step(store, &completions, spent), |said| turn(
                said,
                &self.store.data().report
            ))
        })
    }

    fn usage(&self) -> Usage {
        self.store.data().usage(self.clock.wall())
    }
}

fn completion(completion: Completion) -> wit::Completion {
    let settlement = match completion.settlement {
        Ok(value) => wit::Settlement::Resolved(value.as_str().to_owned()),
        Err(rejection) => wit::Settlement::Rejected(wit::Rejection {
            code: rejection.code,
            message: rejection.message,
            detail: rejection.detail.as_str().to_owned(),
        }),
    };
    wit::Completion { id: completion.id, settlement }
}

/// A turn of the guest, every piece of JSON in it checked, and its words counted: they go into the record, of this turn and of
/// every other.
fn turn(turn: wit::Turn, report: &Report) -> Result<Turn, Failure> {
    for request in &turn.requests {
        match &request.action {
            wit::Action::Phase(words) | wit::Action::Log(words) => report.count(words).map_err(Failure::Limit)?,
            wit::Action::Verdict(note) => {
                report.count(&note.claim).and_then(|()| report.count(&note.votes)).map_err(Failure::Limit)?;
            }
            wit::Action::Agent(_) | wit::Action::Tool(_) | wit::Action::Workflow(_) | wit::Action::Gate(_) => {}
        }
    }
    let requests = turn.requests.into_iter().map(request).collect::<Result<_, _>>()?;
    let state = match turn.state {
        wit::State::Waiting => State::Waiting,
        wit::State::Done(value) => State::Done(ending::json(value, "what the script returned")?),
        wit::State::Failed(error) => State::Failed(script_error(error)),
    };
    Ok(Turn { requests, state })
}

fn request(request: wit::Request) -> Result<Request, Failure> {
    let action = match request.action {
        wit::Action::Agent(agent) => {
            let options = ending::json(agent.options, "an agent's options")?;
            Action::Agent { prompt: agent.prompt, options, status: agent.status }
        }
        wit::Action::Tool(tool) => {
            Action::Tool { name: tool.name, arguments: ending::json(tool.arguments, "a tool's arguments")? }
        }
        wit::Action::Workflow(workflow) => {
            Action::Workflow { name: workflow.name, args: ending::json(workflow.args, "a workflow's args")? }
        }
        wit::Action::Gate(options) => Action::Gate(ending::json(options, "a gate's options")?),
        wit::Action::Phase(title) => Action::Phase(text::line(title)),
        wit::Action::Log(line) => Action::Log(text::cause(line)),
        wit::Action::Verdict(note) => {
            let verdict = match note.verdict {
                wit::Verdict::Verified => Verdict::Verified,
                wit::Verdict::Refuted => Verdict::Refuted,
                wit::Verdict::Unverified => Verdict::Unverified,
            };
            let votes = ending::json(note.votes, "the votes on a claim")?;
            Action::Verdict { claim: text::cause(note.claim), verdict, votes }
        }
    };
    Ok(Request { id: request.id, action })
}

/// The fault of a source that the engine cannot read through, if that is how its cell ended. The cell stays dead.
fn too_deep(outcome: &Outcome) -> Option<ScriptError> {
    let Ending::Failed(Failure::Trapped(trap)) = &outcome.ending else { return None };
    (trap.kind == ending::STACK_OVERFLOW).then(|| ScriptError {
        kind: ErrorKind::Syntax,
        message: TOO_DEEP.into(),
        line: 0,
        column: 0,
        stack: String::new(),
    })
}

fn script_error(error: wit::ScriptError) -> ScriptError {
    let kind = match error.kind {
        wit::ErrorKind::Syntax => ErrorKind::Syntax,
        wit::ErrorKind::Meta => ErrorKind::Meta,
        wit::ErrorKind::Thrown => ErrorKind::Thrown,
        wit::ErrorKind::Stalled => ErrorKind::Stalled,
    };
    let (message, stack) = (text::cause(error.message), text::cause(error.stack));
    ScriptError { kind, message, line: error.line, column: error.column, stack }
}
