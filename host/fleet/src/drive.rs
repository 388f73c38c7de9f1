//! Runs one workflow from its start to its recorded end, with everything that is part of it. The driver decides nothing about
//! permission; it hands every request to the dispatcher.

use crate::changes::Changed;
use crate::gatekeeper::Gatekeeper;
use crate::gates::{Gates, OpenGate};
pub use crate::jobs::{AgentFailure, Planned};
use crate::jobs::{Ground, Slots};
use crate::library::Library;
use crate::pending::Pending;
use crate::phases::Phases;
use crate::session::{self, Depth, Halt, Pulse, Script};
use crate::shape::Shapes;
use crate::stop::{Stop, Urgency};
use crate::tally::Tally;
use crate::watch::Watch;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Semaphore;
use vespiary_kernel::call::Failure;
use vespiary_kernel::dispatch::Dispatcher;
use vespiary_kernel::event::{Event, Payload, RunError, RunStatus};
use vespiary_kernel::ids::{Digest, PluginName, RunId};
use vespiary_kernel::json::Json;
use vespiary_kernel::model::ModelName;
use vespiary_kernel::principal::Principal;
use vespiary_kernel::worktree::Worktrees;

/// The longest script, bytes. People write some kilobytes; an engine reads far more than it could ever need.
pub const SCRIPT_BYTES_MAX: u64 = 4 << 20;

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
    /// Agents that run at the same time, those of called workflows included.
    pub agents_at_once: usize,
    /// Tools that scripts themselves have called and that run at the same time.
    pub tools_at_once: usize,
    /// Workflows that the script has called and that run at the same time. The pool must have a place for each, and one more.
    pub workflows_at_once: usize,
    /// Where the workflows are that a script calls by name. None: there are none.
    pub workflows: Option<Arc<dyn Library>>,
    /// Who brings gates before a person. None: nobody does, and `gate()` throws.
    pub gatekeeper: Option<Arc<dyn Gatekeeper>>,
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
            workflows_at_once: 1,
            workflows: None,
            gatekeeper: None,
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
    /// Gates that nobody has decided.
    pub gates: Vec<OpenGate>,
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
        engine: engine.clone(),
        watch,
        slots: Slots::of(&settings),
        tally: Tally::default(),
        activity: Arc::default(),
        gates: Gates::default(),
        phases: Phases::default(),
        pending: Pending::default(),
        shapes: Shapes::of_run(),
        gatekeeper: settings.gatekeeper,
        library: settings.workflows,
        worktrees: settings.worktrees,
        gathered: Mutex::default(),
        keeping: Semaphore::new(1),
        model: settings.model,
        budget_tokens: settings.budget_tokens,
        spent_before: settings.spent_before,
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
    let log = dispatcher.log();
    let begun = log.append(who.run().id(), started).and_then(|()| log.append(who.run().id(), prepared));
    let (meta, end) = match begun {
        Err(error) => (None, Err(RunError::Engine(Failure::Unrecorded(error.to_string())).into())),
        Ok(()) => {
            let Workflow { title, source, args, .. } = workflow;
            let script = Script { title, source, args, depth: Depth::Run };
            let mut pulse = Pulse::new(&ground.activity, ground.activity.begin());
            let session::Ran { meta, end, .. } =
                session::run(&ground, script, &mut pulse, std::future::pending()).await;
            (meta, end)
        }
    };
    if let Some(clock) = clock {
        clock.abort();
    }
    let changed = ground.merge_changes();
    let tally = ground.tally.counts();
    let (status, value, error) = match end {
        Ok(value) if stop.is_late() => (RunStatus::OutOfBudget, Some(value), None),
        Ok(value) if stop.urgency() > Urgency::None => (RunStatus::Stopped, Some(value), None),
        Ok(value) if tally.out_of_budget => (RunStatus::OutOfBudget, Some(value), None),
        Ok(value) if tally.agents_failed > 0 => (RunStatus::Degraded, Some(value), None),
        Ok(value) => (RunStatus::Completed, Some(value), None),
        Err(Halt::Awaiting) if stop.is_late() => (RunStatus::OutOfBudget, None, None),
        Err(Halt::Awaiting) if stop.urgency() > Urgency::None => (RunStatus::Stopped, None, None),
        Err(Halt::Awaiting) => (RunStatus::AwaitingGate, None, None),
        Err(Halt::Failed(error)) if stop.is_late() => (RunStatus::OutOfBudget, None, Some(error)),
        Err(Halt::Failed(error)) if stop.urgency() > Urgency::None => (RunStatus::Stopped, None, Some(error)),
        Err(Halt::Failed(error @ RunError::Script(_))) if tally.out_of_budget => {
            (RunStatus::OutOfBudget, None, Some(error))
        }
        Err(Halt::Failed(error)) => (RunStatus::Failed, None, Some(error)),
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
        meta: meta.unwrap_or_else(Json::null),
        agents: who.run().agents(),
        agents_failed: tally.agents_failed,
        failures: tally.failures,
        calls: who.run().calls(),
        changed,
        planned: tally.planned,
        reused: tally.reused,
        gates: ground.gates.open(),
    }
}
