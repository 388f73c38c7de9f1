//! One script from its source to its return, in an engine of its own: check, start, then answers in and requests out. The run's
//! own script and those it calls with `workflow()` go through the same loop.

use crate::activity::{Activity, Token};
use crate::brief::{TITLE_BYTES_MAX, cut};
use crate::drive::SCRIPT_BYTES_MAX;
use crate::jobs::Ground;
use crate::lanes::Jobs;
use crate::options::reject;
use crate::stop::Urgency;
use crate::watch::Progress;
use serde::Deserialize;
use std::sync::Arc;
use vespiary_kernel::account::Resource;
use vespiary_kernel::call::{Ending, Failure};
use vespiary_kernel::dispatch::Session;
use vespiary_kernel::event::{Event, Payload, RunError};
use vespiary_kernel::ids::Digest;
use vespiary_kernel::json::Json;
use vespiary_kernel::quota::LimitHit;
use vespiary_kernel::script::{Action, Budget, Completion, ErrorKind, Request, ScriptError, State, Turn};

/// The longest log line that is kept, bytes.
const LINE_BYTES_MAX: usize = 16 << 10;

/// Where a script stands in its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// The run's own.
    Run,
    /// Called by it.
    Called,
}

/// Why a script did not return.
#[derive(Debug)]
pub(crate) enum Halt {
    /// It failed, or was ended.
    Failed(RunError),
    /// Nothing in the run gets on until a person decides.
    Awaiting,
}

impl From<RunError> for Halt {
    fn from(error: RunError) -> Self {
        Self::Failed(error)
    }
}

/// What says of a script that it gets on by itself: held while it computes, and while agents or tools of it wait for room, since those
/// hold nothing yet; let go while it only waits for what has begun.
#[derive(Debug)]
pub(crate) struct Pulse {
    activity: Arc<Activity>,
    token: Option<Token>,
}

impl Pulse {
    pub(crate) fn new(activity: &Arc<Activity>, token: Option<Token>) -> Self {
        Self { activity: Arc::clone(activity), token }
    }

    /// To be handed on when the script has ended.
    pub(crate) fn into_token(self) -> Option<Token> {
        self.token
    }
}

/// A script to be run.
#[derive(Debug)]
pub(crate) struct Script<'a> {
    pub(crate) title: &'a str,
    pub(crate) source: &'a str,
    pub(crate) args: &'a Json,
    pub(crate) depth: Depth,
}

/// What a script came to.
#[derive(Debug)]
pub(crate) struct Ran {
    /// Its `meta`, where it passed the check.
    pub(crate) meta: Option<Json>,
    pub(crate) end: Result<Json, Halt>,
    /// It was only planned, and waits for what would run: `end` says nothing.
    pub(crate) cut: bool,
}

/// Open the engine, run the script in it, and close it whatever happens. `over` resolves when nobody waits for the script any
/// more.
pub(crate) async fn run(
    ground: &Arc<Ground>,
    script: Script<'_>,
    pulse: &mut Pulse,
    over: impl Future<Output = ()>,
) -> Ran {
    let (mut meta, mut cut) = (None, false);
    let opened = ground.dispatcher.open_session(&ground.who, &ground.engine).await;
    let mut session = match opened {
        Ok(session) => session,
        Err(outcome) => {
            let failure = outcome.into_result().err();
            let failure = failure.unwrap_or_else(|| Failure::Host("the engine did not open".into()));
            return Ran { meta, end: Err(RunError::Engine(failure).into()), cut };
        }
    };
    let mut jobs = Jobs::new(Arc::clone(ground), script.depth);
    let end = tokio::select! {
        biased;
        () = ground.stop.reached(Urgency::Firm) => Err(RunError::Engine(Failure::Cancelled).into()),
        () = over => Err(RunError::Engine(Failure::Cancelled).into()),
        end = turns(ground, &mut session, &script, &mut jobs, pulse, &mut meta, &mut cut) => end,
    };
    // A script may return, or fail, while agents it no longer waits for still run.
    jobs.end_all().await;
    let ending = match &end {
        Ok(value) => Ending::Done(value.clone()),
        Err(Halt::Awaiting) => Ending::Failed(Failure::Cancelled),
        Err(Halt::Failed(RunError::Engine(failure))) => Ending::Failed(failure.clone()),
        Err(Halt::Failed(RunError::Script(error))) => Ending::Failed(Failure::Failed(error.to_string())),
        Err(Halt::Failed(RunError::Other(why))) => Ending::Failed(Failure::Host(why.clone())),
    };
    session.close(ending);
    Ran { meta, end, cut }
}

/// The loop: requests out, answers in.
async fn turns(
    ground: &Ground,
    session: &mut Session,
    script: &Script<'_>,
    jobs: &mut Jobs,
    pulse: &mut Pulse,
    meta: &mut Option<Json>,
    cut: &mut bool,
) -> Result<Json, Halt> {
    // Jobs of this script that would run.
    let mut would_run = false;
    let used = script.source.len() as u64;
    if used > SCRIPT_BYTES_MAX {
        let hit = LimitHit { quota: "script-bytes".into(), limit: SCRIPT_BYTES_MAX, used };
        return Err(RunError::Engine(Failure::Limit(hit)).into());
    }
    let checked = session.check(script.source).await.map_err(RunError::Engine)?.map_err(RunError::Script)?;
    ground.phases.add(&ground.who, &checked).map_err(RunError::Script)?;
    announce(ground, &checked, script)?;
    *meta = Some(checked);
    // What is only held for requests under way is not spent.
    let spent = || ground.spent_before + ground.who.run().account().settled(Resource::Tokens);
    let budget = Budget { total: ground.budget_tokens, spent: spent() };
    let mut turn = session.start(script.source, script.args, budget).await.map_err(RunError::Engine)?;
    loop {
        let Turn { requests, state } = turn;
        let mut completions = accept(ground, jobs, requests);
        match state {
            State::Done(value) => return Ok(value),
            State::Failed(error) => return Err(RunError::Script(error).into()),
            State::Waiting => {}
        }
        let stopping = ground.stop.urgency() >= Urgency::Gentle;
        if stopping {
            completions.extend(jobs.abandon_waiting());
        } else {
            jobs.start();
        }
        if completions.is_empty() {
            if jobs.is_idle() && would_run {
                // All that is known has been told: the rest of the script waits for what would run.
                *cut = true;
                return Ok(Json::null());
            }
            if jobs.is_idle() {
                return Err(RunError::Script(stalled(jobs.missing_labels())).into());
            }
            // What waits for room gets on by itself: whoever has the room now leaves it. Of workflows that is not so, since a script may
            // keep its place while it waits for a person.
            if !jobs.waits_for_room() {
                pulse.token = None;
            }
            let ended = tokio::select! {
                ended = jobs.ended() => ended.map_err(RunError::Other)?,
                // Asked while everybody is busy: what waits is given up now, not when the next agent happens to end.
                () = ground.stop.reached(Urgency::Gentle), if !stopping => {
                    completions.extend(jobs.abandon_waiting());
                    Vec::new()
                }
                // What was called ends with the run's own script.
                () = pulse.activity.over(), if script.depth == Depth::Run => return Err(Halt::Awaiting),
            };
            match pulse.activity.begin() {
                Some(token) => pulse.token = Some(token),
                None if script.depth == Depth::Run => return Err(Halt::Awaiting),
                None => std::future::pending().await,
            }
            for job in ended {
                // Nothing may happen that is not recorded, so the run ends here.
                if let Some(why) = job.unrecorded {
                    return Err(RunError::Engine(Failure::Unrecorded(why)).into());
                }
                let told = ground.tally.count(job, ground.planning);
                would_run |= told.is_none();
                completions.extend(told);
            }
            if ground.tally.out_of_budget() {
                jobs.prune();
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

/// Take the script's requests in their order. Gives the answers that need no waiting: refusals, and what is known already. A refused agent counts as
/// failed: a script may catch the exception, and then the run is no whole one all the same.
fn accept(ground: &Ground, jobs: &mut Jobs, requests: Vec<Request>) -> Vec<Completion> {
    let mut answers = Vec::new();
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
                let accepted = jobs.ask_agent(id, &prompt, &options, status);
                if accepted.is_err() {
                    ground.tally.refused();
                }
                accepted
            }
            Action::Tool { name, arguments } => ground.accept_tool(id, &name, arguments).map(|job| jobs.add_tool(job)),
            Action::Gate(options) => match jobs.ask_gate(id, &options) {
                Ok(None) => Ok(()),
                Ok(Some(decision)) => {
                    answers.push(Completion { id, settlement: Ok(decision) });
                    Ok(())
                }
                Err(rejection) => Err(rejection),
            },
            Action::Workflow { name, args } => match jobs.depth() {
                Depth::Run => ground.accept_workflow(id, name, args).map(|job| jobs.add_workflow(job)),
                Depth::Called => Err(reject(
                    "nested",
                    "workflow() was called in a workflow that was itself called with workflow(); only a run's own script \
                     may call others, so return to it what the next one needs",
                )),
            },
        };
        if let Err(rejection) = accepted {
            answers.push(Completion { id, settlement: Err(rejection) });
        }
    }
    answers
}

/// Tell of a script that has passed the check. A run's own is in the record already.
fn announce(ground: &Ground, meta: &Json, script: &Script<'_>) -> Result<(), RunError> {
    if script.depth == Depth::Called {
        // Like any call, a script may make this one often, and with much.
        let room = ground.who.account().take(Resource::ArgumentBytes, script.args.len_bytes());
        room.map_err(|hit| RunError::Engine(Failure::Limit(hit)))?;
        ground.watch.see(Progress::WorkflowStarted(script.title));
        let started = Event::WorkflowStarted {
            name: script.title.to_owned(),
            script: Digest::of(script.source.as_bytes()),
            args: Payload::Value(script.args.clone()),
        };
        let recorded = ground.dispatcher.log().append(ground.who.run().id(), started);
        return recorded.map_err(|error| RunError::Engine(Failure::Unrecorded(error.to_string())));
    }
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
    ground.watch.see(Progress::Checked { name: meta.name.as_deref().unwrap_or(script.title), phases: &phases });
    Ok(())
}

fn stalled(missing: Option<String>) -> ScriptError {
    let message = match missing {
        None => "the script waits, and nothing is under way that could answer it".into(),
        Some(labels) => format!(
            "agents wait (deps) for {labels}, and no agent with such a label was asked for; give one that label, or take \
             it out of deps"
        ),
    };
    ScriptError { kind: ErrorKind::Stalled, message, line: 0, column: 0, stack: String::new() }
}
