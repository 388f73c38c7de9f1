//! Runs one workflow from its source to its recorded end: check, start, then answers in and requests out until the script
//! returns. The driver decides nothing about permission; it hands every request to the dispatcher.

use crate::changes::Changed;
pub use crate::jobs::{AgentFailure, Planned};
use crate::jobs::{Ended, Ground, Jobs};
use crate::stop::{Stop, Urgency};
use crate::watch::{Progress, Watch};
use serde::Deserialize;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use vespiary_kernel::account::Resource;
use vespiary_kernel::call::{Ending, Failure};
use vespiary_kernel::dispatch::{Dispatcher, Session};
use vespiary_kernel::event::{Event, Payload, RunError, RunStatus};
use vespiary_kernel::ids::{Digest, PluginName, RunId};
use vespiary_kernel::json::Json;
use vespiary_kernel::model::ModelName;
use vespiary_kernel::principal::Principal;
use vespiary_kernel::quota::LimitHit;
use vespiary_kernel::script::{Action, Budget, Completion, ErrorKind, Request, ScriptError, State, Turn};
use vespiary_kernel::worktree::Worktrees;

/// Failures of agents kept in the report; all of them are in the ledger.
const FAILURES_KEPT: usize = 50;

/// The longest script, bytes. People write some kilobytes; an engine reads far more than it could ever need.
pub const SCRIPT_BYTES_MAX: u64 = 4 << 20;

/// The longest log line and phase title that are kept, bytes.
const LINE_BYTES_MAX: usize = 16 << 10;
const TITLE_BYTES_MAX: usize = 200;

/// A script, and what it is run with.
#[derive(Debug, Clone)]
pub struct Workflow {
    /// For people: usually the file's name.
    pub title: String,
    /// The JavaScript.
    pub source: String,
    /// The script's `args`.
    pub args: Json,
    /// The program's version, for the record.
    pub version: String,
    /// What the program notes for whoever goes on with the run; its own business.
    pub settings: Json,
    /// The run that this one goes on from.
    pub resumes: Option<RunId>,
}

/// How a fleet is run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Agents that run at the same time.
    pub agents_at_once: usize,
    /// Tools that the script itself has called and that run at the same time.
    pub tools_at_once: usize,
    /// Who keeps what isolated agents write. None: no agent can be isolated.
    pub worktrees: Option<Arc<dyn Worktrees>>,
    /// The model that agents without a component ask, where they name none. None: there is no provider.
    pub model: Option<ModelName>,
    /// The script's `budget.total`, tokens. None: it was given none, whatever the run's limit is.
    pub budget_tokens: Option<u64>,
    /// What the runs that this one goes on from have spent of that.
    pub spent_before: u64,
    /// How long the run may take before nothing new is started.
    pub time_max: Option<Duration>,
    /// Run nothing but the script, on what is known already, and say what would run.
    pub planning: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            agents_at_once: 64,
            tools_at_once: 64,
            worktrees: None,
            model: None,
            budget_tokens: None,
            spent_before: 0,
            time_max: None,
            planning: false,
        }
    }
}

/// How a run ended.
#[derive(Debug, Clone)]
pub struct RunReport {
    /// The status, as recorded.
    pub status: RunStatus,
    /// What the script returned.
    pub value: Option<Json>,
    /// Why it failed, when it did.
    pub error: Option<RunError>,
    /// The script's `meta`; `null` when it never passed the check.
    pub meta: Json,
    /// Agents started.
    pub agents: u64,
    /// Agents that gave no answer, those that were refused included.
    pub agents_failed: u64,
    /// The first of those, with their causes.
    pub failures: Vec<AgentFailure>,
    /// Calls dispatched.
    pub calls: u64,
    /// What isolated agents changed; none where they changed nothing. Nothing of it is in the project.
    pub changed: Option<Changed>,
    /// Agents and tool calls in the order in which it was clear what becomes of them. Only kept when planning.
    pub planned: Vec<Planned>,
    /// Agents and tool calls whose answers were known.
    pub reused: u64,
}

/// Run `workflow` as `who`, on the engine plugin `engine`. Always ends with a record, also after a stop.
pub async fn drive(
    dispatcher: &Arc<Dispatcher>,
    who: &Principal,
    engine: &PluginName,
    workflow: &Workflow,
    settings: Settings,
    watch: Arc<dyn Watch>,
    stop: &Stop,
) -> RunReport {
    let started = Event::RunStarted {
        version: workflow.version.clone(),
        title: workflow.title.clone(),
        script: Some(Digest::of(workflow.source.as_bytes())),
        args: workflow.args.clone(),
        root: who.run().root().display().to_string(),
        grant: who.grant().clone(),
    };
    let ground = Arc::new(Ground {
        dispatcher: Arc::clone(dispatcher),
        who: who.clone(),
        watch,
        worktrees: settings.worktrees.clone(),
        gathered: Mutex::default(),
        model: settings.model.clone(),
        budget_tokens: settings.budget_tokens,
        stop: stop.clone(),
        planning: settings.planning,
    });
    let prepared = Event::RunPrepared {
        source: Payload::Value(Json::of(&workflow.source).unwrap_or_else(|_| Json::null())),
        settings: workflow.settings.clone(),
        resumes: workflow.resumes.clone(),
    };
    let clock = settings.time_max.map(|time_max| {
        let stop = stop.clone();
        tokio::spawn(async move {
            tokio::time::sleep(time_max).await;
            stop.late();
        })
    });
    let mut tally = Tally::default();
    let log = dispatcher.log();
    let begun = log.append(who.run().id(), started).and_then(|()| log.append(who.run().id(), prepared));
    let end = match begun {
        Err(error) => Err(RunError::Engine(Failure::Unrecorded(error.to_string()))),
        Ok(()) => session(&ground, engine, workflow, settings, stop, &mut tally).await,
    };
    if let Some(clock) = clock {
        clock.abort();
    }
    let changed = ground.merge_changes();
    let (status, value, error) = match end {
        Ok(value) if stop.is_late() => (RunStatus::OutOfBudget, Some(value), None),
        Ok(value) if stop.urgency() > Urgency::None => (RunStatus::Stopped, Some(value), None),
        Ok(value) if tally.out_of_budget => (RunStatus::OutOfBudget, Some(value), None),
        Ok(value) if tally.agents_failed > 0 => (RunStatus::Degraded, Some(value), None),
        Ok(value) => (RunStatus::Completed, Some(value), None),
        Err(error) if stop.is_late() => (RunStatus::OutOfBudget, None, Some(error)),
        Err(error) if stop.urgency() > Urgency::None => (RunStatus::Stopped, None, Some(error)),
        Err(error @ RunError::Script(_)) if tally.out_of_budget => (RunStatus::OutOfBudget, None, Some(error)),
        Err(error) => (RunStatus::Failed, None, Some(error)),
    };
    let (mut status, mut error) = (status, error);
    let ended = Event::RunEnded { status, value: value.clone().map(Payload::Value), error: error.clone() };
    let log = dispatcher.log();
    let recorded = match log.append(who.run().id(), ended) {
        Ok(()) => log.flushed().await,
        Err(refused) => Err(refused),
    };
    // A run whose end is not on disk is not reported as one that ended well.
    if let Err(refused) = recorded {
        status = RunStatus::Failed;
        error = Some(RunError::Engine(Failure::Unrecorded(refused.to_string())));
    }
    RunReport {
        status,
        value,
        error,
        meta: tally.meta,
        agents: who.run().agents(),
        agents_failed: tally.agents_failed,
        failures: tally.failures,
        calls: who.run().calls(),
        changed,
        planned: tally.planned,
        reused: tally.reused,
    }
}

/// What is counted on the way.
struct Tally {
    meta: Json,
    agents_failed: u64,
    failures: Vec<AgentFailure>,
    out_of_budget: bool,
    planned: Vec<Planned>,
    reused: u64,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            meta: Json::null(),
            agents_failed: 0,
            failures: Vec::new(),
            out_of_budget: false,
            planned: Vec::new(),
            reused: 0,
        }
    }
}

/// Open the engine, run the script in it, and close it whatever happens.
async fn session(
    ground: &Arc<Ground>,
    engine: &PluginName,
    workflow: &Workflow,
    settings: Settings,
    stop: &Stop,
    tally: &mut Tally,
) -> Result<Json, RunError> {
    let opened = ground.dispatcher.open_session(&ground.who, engine).await;
    let mut session = opened.map_err(|outcome| {
        RunError::Engine(outcome.into_result().err().unwrap_or_else(|| Failure::Host("the engine did not open".into())))
    })?;
    let mut jobs = Jobs::new(Arc::clone(ground), settings.agents_at_once, settings.tools_at_once);
    let end = tokio::select! {
        biased;
        () = stop.reached(Urgency::Firm) => Err(RunError::Engine(Failure::Cancelled)),
        end = turns(ground, &mut session, workflow, &settings, stop, &mut jobs, tally) => end,
    };
    // A script may return, or fail, while agents it no longer waits for still run.
    jobs.end_all().await;
    let ending = match &end {
        Ok(value) => Ending::Done(value.clone()),
        Err(RunError::Engine(failure)) => Ending::Failed(failure.clone()),
        Err(RunError::Script(error)) => Ending::Failed(Failure::Failed(error.to_string())),
        Err(RunError::Other(why)) => Ending::Failed(Failure::Host(why.clone())),
    };
    session.close(ending);
    end
}

/// The loop: requests out, answers in.
async fn turns(
    ground: &Ground,
    session: &mut Session,
    workflow: &Workflow,
    settings: &Settings,
    stop: &Stop,
    jobs: &mut Jobs,
    tally: &mut Tally,
) -> Result<Json, RunError> {
    let used = workflow.source.len() as u64;
    if used > SCRIPT_BYTES_MAX {
        let hit = LimitHit { quota: "script-bytes".into(), limit: SCRIPT_BYTES_MAX, used };
        return Err(RunError::Engine(Failure::Limit(hit)));
    }
    let meta = session.check(&workflow.source).await.map_err(RunError::Engine)?.map_err(RunError::Script)?;
    announce(ground, &meta, &workflow.title);
    tally.meta = meta;
    // What is only held for requests under way is not spent.
    let spent = || settings.spent_before + ground.who.run().account().settled(Resource::Tokens);
    let budget = Budget { total: ground.budget_tokens, spent: spent() };
    let mut turn = session.start(&workflow.source, &workflow.args, budget).await.map_err(RunError::Engine)?;
    loop {
        let Turn { requests, state } = turn;
        let mut completions = accept(ground, jobs, requests, tally);
        match state {
            State::Done(value) => return Ok(value),
            State::Failed(error) => return Err(RunError::Script(error)),
            State::Waiting => {}
        }
        let stopping = stop.urgency() >= Urgency::Gentle;
        if stopping {
            completions.extend(jobs.abandon_waiting());
        } else {
            jobs.start();
        }
        if completions.is_empty() {
            if jobs.is_idle() {
                // All that is known has been told: the rest of the script waits for what would run.
                if settings.planning && tally.planned.iter().any(|job| job.reused.is_none()) {
                    return Ok(Json::null());
                }
                return Err(RunError::Script(stalled()));
            }
            tokio::select! {
                ended = jobs.ended() => {
                    for job in ended.transpose().map_err(RunError::Other)?.unwrap_or_default() {
                        // Nothing may happen that is not recorded, so the run ends here.
                        if let Some(why) = job.unrecorded {
                            return Err(RunError::Engine(Failure::Unrecorded(why)));
                        }
                        completions.extend(tally.count(job, settings.planning));
                    }
                }
                // Asked while everybody is busy: what waits is given up now, not when the next agent happens to end.
                () = stop.reached(Urgency::Gentle), if !stopping => completions.extend(jobs.abandon_waiting()),
            }
            if !stopping {
                jobs.start();
            }
        }
        turn = match completions.is_empty() {
            true => Turn { requests: Vec::new(), state: State::Waiting },
            false => session.step(completions, spent()).await.map_err(RunError::Engine)?,
        };
    }
}

/// Take the script's requests in their order. Gives the answers that need no waiting: refusals. A refused agent counts as
/// failed: a script may catch the exception, and then the run is no whole one all the same.
fn accept(ground: &Ground, jobs: &mut Jobs, requests: Vec<Request>, tally: &mut Tally) -> Vec<Completion> {
    let mut refusals = Vec::new();
    for Request { id, action } in requests {
        let accepted = match action {
            Action::Phase(mut title) => {
                cut(&mut title, TITLE_BYTES_MAX);
                ground.watch.see(Progress::Phase(&title));
                ground.record(Event::Phase { title });
                Ok(())
            }
            Action::Log(mut text) => {
                cut(&mut text, LINE_BYTES_MAX);
                ground.watch.see(Progress::Log(&text));
                ground.record(Event::Log { text });
                Ok(())
            }
            Action::Verdict { mut claim, verdict, votes } => {
                cut(&mut claim, LINE_BYTES_MAX);
                ground.record(Event::ClaimJudged { claim, verdict, votes: Payload::Value(votes) });
                Ok(())
            }
            Action::Agent { prompt, options, status } => {
                let accepted = ground.accept_agent(id, &prompt, &options, status);
                tally.agents_failed += u64::from(accepted.is_err());
                accepted.map(|job| jobs.add_agent(job))
            }
            Action::Tool { name, arguments } => ground.accept_tool(id, &name, arguments).map(|job| jobs.add_tool(job)),
        };
        if let Err(rejection) = accepted {
            refusals.push(Completion { id, settlement: Err(rejection) });
        }
    }
    refusals
}

/// A script's words are kept, but not without bound.
fn cut(text: &mut String, bytes_max: usize) {
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max));
        text.push('…');
    }
}

impl Tally {
    fn count(&mut self, job: Ended, planning: bool) -> Option<Completion> {
        self.reused += u64::from(job.planned.reused.is_some());
        if planning {
            self.planned.push(job.planned);
            return job.completion;
        }
        self.out_of_budget |= job.out_of_budget;
        if let Some(failure) = job.failure {
            self.agents_failed += 1;
            if self.failures.len() < FAILURES_KEPT {
                self.failures.push(failure);
            }
        }
        job.completion
    }
}

fn announce(ground: &Ground, meta: &Json, title: &str) {
    #[derive(Deserialize)]
    struct Meta {
        name: Option<String>,
        #[serde(default)]
        phases: Vec<Phase>,
    }
    #[derive(Deserialize)]
    struct Phase {
        title: String,
    }
    let meta = meta.read().unwrap_or(Meta { name: None, phases: Vec::new() });
    let phases: Vec<String> = meta.phases.into_iter().map(|phase| phase.title).collect();
    ground.watch.see(Progress::Checked { name: meta.name.as_deref().unwrap_or(title), phases: &phases });
}

fn stalled() -> ScriptError {
    let message = "the script waits, and nothing is under way that could answer it".into();
    ScriptError { kind: ErrorKind::Stalled, message, line: 0, column: 0, stack: String::new() }
}
