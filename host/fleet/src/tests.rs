//! The driver against an engine and a runner written in Rust, so that order, refusals and stops can be told exactly. The
//! real engine is driven in the end-to-end tests.

mod deps;
mod gates;
mod nested;
mod pending;

use crate::drive::{RunReport, Settings, Workflow, drive};
use crate::gatekeeper::Gatekeeper;
use crate::library::{Found, Library};
use crate::stop::Stop;
use crate::watch::Unwatched;
use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use vespiary_kernel::admit::Admitted;
use vespiary_kernel::call::{Ending, Failure, Outcome, Usage};
use vespiary_kernel::change::merge::Clash;
use vespiary_kernel::change::{Change, ChangeSet, Node};
use vespiary_kernel::dispatch::Dispatcher;
use vespiary_kernel::event::{Event, RunError, RunStatus};
use vespiary_kernel::gate::{Decision, Matter};
use vespiary_kernel::grant::Grant;
use vespiary_kernel::ids::{AgentId, Digest, RunId, ToolName};
use vespiary_kernel::json::Json;
use vespiary_kernel::plugin::{Manifest, Plugin, Trust};
use vespiary_kernel::policy::{Answer, Policy};
use vespiary_kernel::pool::{Capacity, Pool};
use vespiary_kernel::ports::{Approver, Asked, BoxFuture, Catalog, Log, LogError, Runner, ScriptCell};
use vespiary_kernel::principal::{Isolation, Principal, RunLimits};
use vespiary_kernel::script::{Action, Budget, Completion, Request, ScriptError, State, Turn};
use vespiary_kernel::worktree::{Taken, WorktreeError, Worktrees};

/// What the fake script does with each batch of answers.
type Script = Box<dyn FnMut(Vec<Completion>) -> Turn + Send>;

/// Asks for one batch after the other, each when all of the one before is answered; returns what `tell` says of each answer, sorted.
fn batches_told(batches: Vec<Vec<Request>>, tell: impl Fn(u64, Json) -> String + Send + 'static) -> Script {
    let mut batches: VecDeque<_> = batches.into();
    let (mut open, mut told) = (0, Vec::new());
    Box::new(move |completions| {
        for Completion { id, settlement } in completions {
            open -= 1;
            told.push(match settlement {
                Ok(value) => tell(id, value),
                Err(rejection) => format!("{id} threw {}: {}", rejection.code, rejection.message),
            });
        }
        let requests = if open == 0 { batches.pop_front().unwrap_or_default() } else { Vec::new() };
        open += requests.len();
        told.sort();
        let done = open == 0 && requests.is_empty();
        Turn { requests, state: if done { State::Done(Json::of(&told).unwrap()) } else { State::Waiting } }
    })
}

#[derive(Default)]
struct World {
    /// Events after which the record is full; 0: never.
    full_after: usize,
    /// What isolated agents change is more than the record takes.
    refuses_changes: bool,
    events: Mutex<Vec<Event>>,
    /// One for each engine, in the order in which they are opened.
    scripts: Mutex<VecDeque<Script>>,
    order: Mutex<Vec<String>>,
    desk: Mutex<Desk>,
    /// Agents and tools that run, and the most that did at once.
    busy: Mutex<(usize, usize)>,
    wrote: Mutex<BTreeMap<AgentId, (usize, String)>>,
}

impl Log for World {
    fn append(&self, _: &RunId, event: Event) -> Result<(), LogError> {
        let mut events = self.events.lock().unwrap();
        if self.full_after > 0 && events.len() >= self.full_after {
            return Err(LogError { what: "the disk is full".into(), remedy: "free some space".into() });
        }
        if self.refuses_changes && matches!(event, Event::AgentChanged { .. }) {
            return Err(LogError { what: "it is too large".into(), remedy: "split it".into() });
        }
        events.push(event);
        Ok(())
    }

    fn flushed(&self) -> BoxFuture<'_, Result<(), LogError>> {
        Box::pin(async { Ok(()) })
    }
}

impl Catalog for World {
    fn find(&self, tool: &ToolName) -> Option<Arc<Plugin>> {
        let kind = match tool.plugin() {
            "engine" => "engine",
            "worker" => "agent",
            "clock" => "tools",
            "exec" => "program",
            _ => return None,
        };
        let text = format!("name='{}'\nversion='1'\nkind='{kind}'\ndescription='d'\n", tool.plugin());
        Some(Arc::new(Plugin::new(Manifest::parse(&text).unwrap(), Digest::of(b"x"), Trust::Added).unwrap()))
    }

    fn component(&self, _: &Digest) -> Option<Cow<'static, [u8]>> {
        None
    }

    fn names(&self) -> Vec<String> {
        vec!["worker".into()]
    }
}

impl Approver for World {
    fn ask<'a>(&'a self, _: Asked<'a>) -> BoxFuture<'a, Answer> {
        Box::pin(async { Answer::Nobody("nobody is here".into()) })
    }
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").finish_non_exhaustive()
    }
}

impl Worktrees for World {
    fn bases(&self, _: &Path, _: &ChangeSet) -> BTreeMap<Digest, Arc<[u8]>> {
        BTreeMap::new()
    }

    /// An agent that was told to `write N:TEXT` has put TEXT into line N of a file.
    fn take(&self, _: &RunId, agent: AgentId) -> Result<Taken, WorktreeError> {
        let wrote = self.wrote.lock().unwrap().remove(&agent);
        let Some((line, text)) = wrote else { return Ok(Taken::default()) };
        if text == "lost" {
            return Err(WorktreeError { agent, why: "the disk is gone".into() });
        }
        let base: Vec<String> = (0..10).map(|n| format!("{n}\n")).collect();
        let mut new = base.clone();
        new[line] = format!("{text}\n");
        let file =
            |content: &[u8]| Node::File { digest: Digest::of(content), bytes: content.len() as u64, executable: false };
        let (old, new) = (base.concat().into_bytes(), new.concat().into_bytes());
        let change = Change::new(Some(file(&old)), Some(file(&new))).unwrap();
        let changes = ChangeSet::new([("f".parse().unwrap(), change)].into()).unwrap();
        let contents = |content: Vec<u8>| [(Digest::of(&content), content.into())].into();
        Ok(Taken { changes, written: contents(new), bases: contents(old) })
    }
}

impl Library for World {
    fn find(&self, name: &str) -> Result<Found, String> {
        match name {
            "nowhere" => Err("there is no workflow \"nowhere\"".into()),
            name => Ok(Found { name: name.into(), source: format!("source of {name}") }),
        }
    }
}

/// How gates are decided here.
#[derive(Default)]
struct Desk {
    distrusts: Option<String>,
    earlier: BTreeMap<Digest, Decision>,
    left: BTreeMap<Digest, Decision>,
    /// What the person at the terminal says, and after how long; none where there is no person.
    says: Option<(Duration, Decision)>,
    /// Titles that were brought before somebody.
    asked: Vec<String>,
}

impl Gatekeeper for World {
    fn distrusts(&self) -> Option<String> {
        self.desk.lock().unwrap().distrusts.clone()
    }

    fn decided(&self, gate: &Digest) -> Option<Decision> {
        self.desk.lock().unwrap().earlier.get(gate).cloned()
    }

    fn left(&self, gate: &Digest) -> Option<Decision> {
        self.desk.lock().unwrap().left.get(gate).cloned()
    }

    fn ask<'a>(&'a self, matter: &'a Matter) -> BoxFuture<'a, Option<Decision>> {
        Box::pin(async move {
            let says = {
                let mut desk = self.desk.lock().unwrap();
                desk.asked.push(matter.title().to_owned());
                desk.says.clone()
            };
            let (after, decision) = says?;
            tokio::time::sleep(after).await;
            Some(decision)
        })
    }
}

struct Hands(Arc<World>);

/// Somebody at work.
struct Busy<'a>(&'a World);

impl<'a> Busy<'a> {
    fn of(world: &'a World) -> Self {
        let mut busy = world.busy.lock().unwrap();
        *busy = (busy.0 + 1, busy.1.max(busy.0 + 1));
        Self(world)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.busy.lock().unwrap().0 -= 1;
    }
}

impl Runner for Hands {
    /// An agent or tool does what its prompt says: `ok N`, `fail`, `nap`, or `sleep`.
    fn run(&self, admitted: Admitted) -> BoxFuture<'_, Outcome> {
        Box::pin(async move {
            let task: serde_json::Value = admitted.arguments().read().unwrap();
            if let Some(program) = task["program"].as_str() {
                let status = i32::from(program != "true");
                let ran = serde_json::json!({ "status": status, "stdout": "", "stderr": "", "truncated": false,
                                              "stdout_bytes": 0, "stderr_bytes": 0 });
                return Outcome {
                    ending: Ending::Done(Json::of(&ran).unwrap()),
                    ..Outcome::refused(Failure::Cancelled)
                };
            }
            let prompt = task["prompt"].as_str().unwrap_or_default().to_owned();
            self.0.order.lock().unwrap().push(prompt.clone());
            if let Some((line, text)) = prompt.strip_prefix("write ").and_then(|told| told.split_once(':')) {
                assert_eq!(admitted.isolation(), Isolation::Worktree);
                self.0.wrote.lock().unwrap().insert(admitted.agent(), (line.parse().unwrap(), text.to_owned()));
            }
            let _busy = Busy::of(&self.0);
            if prompt.contains("nap") {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            if prompt.contains("sleep") {
                tokio::time::sleep(Duration::from_secs(3_600)).await;
            }
            let mut outcome = Outcome::refused(Failure::Failed("asked to".into()));
            if !prompt.contains("fail") {
                outcome.ending = Ending::Done(Json::of(&prompt).unwrap());
            }
            outcome
        })
    }

    fn open_script(&self, _: Admitted) -> BoxFuture<'_, Result<Box<dyn ScriptCell>, Outcome>> {
        let script = self.0.scripts.lock().unwrap().pop_front().expect("a script for each engine");
        Box::pin(async move { Ok(Box::new(Cell(script)) as Box<dyn ScriptCell>) })
    }
}

struct Cell(Script);

impl ScriptCell for Cell {
    fn check<'a>(&'a mut self, source: &'a str) -> BoxFuture<'a, Result<Result<Json, ScriptError>, Outcome>> {
        let meta = Json::of(&serde_json::json!({ "name": source, "description": "d" })).unwrap();
        Box::pin(async move { Ok(Ok(meta)) })
    }

    fn start<'a>(&'a mut self, _: &'a str, _: &'a Json, budget: Budget) -> BoxFuture<'a, Result<Turn, Outcome>> {
        self.step(Vec::new(), budget.spent)
    }

    fn step(&mut self, completions: Vec<Completion>, _: u64) -> BoxFuture<'_, Result<Turn, Outcome>> {
        let turn = (self.0)(completions);
        Box::pin(async move { Ok(turn) })
    }

    fn usage(&self) -> Usage {
        Usage::default()
    }
}

fn agent(id: u64, prompt: &str) -> Request {
    let isolated = prompt.starts_with("write");
    let options =
        if isolated { r#"{"agentType":"worker","isolation":"worktree"}"# } else { r#"{"agentType":"worker"}"# };
    let options = Json::parse(options).unwrap();
    Request { id, action: Action::Agent { prompt: prompt.into(), options, status: false } }
}

/// A script that asks for all of `prompts` at once and returns the answers by id.
fn all(prompts: Vec<String>) -> Script {
    let mut answers: Vec<String> = Vec::new();
    let mut begun = false;
    let wanted = prompts.len();
    Box::new(move |completions| {
        for Completion { id, settlement } in completions {
            let text = match settlement {
                Ok(value) => value.to_string(),
                Err(rejection) => format!("threw {}", rejection.code),
            };
            answers.push(format!("{id}={text}"));
        }
        let requests = if begun { Vec::new() } else { (1..).zip(&prompts).map(|(id, p)| agent(id, p)).collect() };
        begun = true;
        let state = if answers.len() == wanted {
            answers.sort();
            State::Done(Json::of(&answers).unwrap())
        } else {
            State::Waiting
        };
        Turn { requests, state }
    })
}

async fn run(script: Script, at_once: usize, limits: RunLimits, stop: &Stop) -> (RunReport, Arc<World>) {
    run_in(World::default(), vec![script], at_once, limits, stop).await
}

/// A dispatcher over that world, and who runs in it.
fn begun(world: &Arc<World>, limits: RunLimits) -> (Arc<Dispatcher>, Principal) {
    let capacity = Capacity::of_places(64, 2_000, 2, 2_000);
    let dispatcher = Dispatcher::new(
        world.clone(),
        world.clone(),
        Policy::default(),
        Pool::new(capacity),
        Arc::new(Hands(world.clone())),
        world.clone(),
    );
    let grant =
        Grant::of_run(["tool:*", "spawn:5000", "write:.", "exec:true", "exec:false"].map(|c| c.parse().unwrap()));
    let who = dispatcher.start("r".parse().unwrap(), "/".into(), grant, limits);
    (dispatcher, who)
}

async fn run_in(
    world: World,
    scripts: Vec<Script>,
    at_once: usize,
    limits: RunLimits,
    stop: &Stop,
) -> (RunReport, Arc<World>) {
    let world = Arc::new(World { scripts: Mutex::new(scripts.into()), ..world });
    let (dispatcher, who) = begun(&world, limits);
    let (title, source, version) = ("t".into(), "s".into(), "0".into());
    let workflow = Workflow { title, source, args: Json::null(), version, settings: Json::null(), resumes: None };
    let settings = Settings {
        agents_at_once: at_once,
        tools_at_once: 4,
        workflows: Some(world.clone()),
        gatekeeper: Some(world.clone()),
        worktrees: Some(world.clone()),
        ..Settings::default()
    };
    let engine = "engine".parse().unwrap();
    let report = drive(&dispatcher, &who, &engine, &workflow, settings, Arc::new(Unwatched), stop).await;
    (report, world)
}

fn answers(report: &RunReport) -> Vec<String> {
    report.value.as_ref().unwrap().read().unwrap()
}

#[tokio::test]
async fn a_failed_agent_is_null_and_the_run_is_never_called_completed() {
    let script = all(vec!["ok".into(), "fail".into()]);
    let (report, world) = run(script, 8, RunLimits::default(), &Stop::default()).await;
    assert_eq!(answers(&report), ["1=\"ok\"", "2=null"]);
    assert_eq!((report.status, report.agents, report.agents_failed), (RunStatus::Degraded, 2, 1));
    assert_eq!(report.failures[0].failure, Failure::Failed("asked to".into()));
    let events = world.events.lock().unwrap();
    assert!(matches!(events.first(), Some(Event::RunStarted { .. })));
    assert!(matches!(events.last(), Some(Event::RunEnded { status: RunStatus::Degraded, .. })));
    assert_eq!(events.iter().filter(|e| matches!(e, Event::AgentEnded { .. })).count(), 2);
}

#[tokio::test]
async fn one_at_a_time_is_first_in_first_out() {
    let prompts: Vec<String> = (0..200).map(|n| format!("ok {n}")).collect();
    let (report, world) = run(all(prompts.clone()), 1, RunLimits::default(), &Stop::default()).await;
    assert_eq!(report.status, RunStatus::Completed);
    assert_eq!(*world.order.lock().unwrap(), prompts);
}

#[tokio::test]
async fn past_the_cap_agent_throws_and_the_rest_go_on() {
    let limits = RunLimits { agents_max: 2, ..RunLimits::default() };
    let (report, _) = run(all(vec!["ok".into(); 4]), 8, limits, &Stop::default()).await;
    assert_eq!(answers(&report), ["1=\"ok\"", "2=\"ok\"", "3=threw limit", "4=threw limit"]);
    assert_eq!((report.status, report.agents, report.agents_failed), (RunStatus::Degraded, 2, 2));
}

#[tokio::test]
async fn a_thousand_at_once_all_answer() {
    let (report, _) = run(all(vec!["ok".into(); 1_000]), 1_000, RunLimits::default(), &Stop::default()).await;
    assert_eq!((answers(&report).len(), report.agents, report.agents_failed), (1_000, 1_000, 0));
}

#[tokio::test]
async fn an_unknown_agent_type_throws_and_names_what_there_is() {
    let mut asked = false;
    let script: Script = Box::new(move |completions| {
        if let Some(Completion { settlement, .. }) = completions.into_iter().next() {
            let message = settlement.unwrap_err().message;
            return Turn { requests: Vec::new(), state: State::Done(Json::of(&message).unwrap()) };
        }
        assert!(!std::mem::replace(&mut asked, true));
        let options = Json::parse(r#"{"agentType":"wrker"}"#).unwrap();
        let request = Request { id: 1, action: Action::Agent { prompt: String::new(), options, status: false } };
        Turn { requests: vec![request], state: State::Waiting }
    });
    let (report, _) = run(script, 8, RunLimits::default(), &Stop::default()).await;
    let message: String = report.value.unwrap().read().unwrap();
    assert!(message.contains("wrker") && message.contains("worker"), "{message}");
}

#[tokio::test]
async fn a_script_that_waits_for_nothing_is_stalled() {
    let script: Script = Box::new(|_| Turn { requests: Vec::new(), state: State::Waiting });
    let (report, _) = run(script, 8, RunLimits::default(), &Stop::default()).await;
    assert_eq!(report.status, RunStatus::Failed);
    assert!(matches!(report.error, Some(RunError::Script(e)) if e.message.contains("nothing is under way")));
}

#[tokio::test(start_paused = true)]
async fn a_gentle_stop_lets_the_running_finish_and_starts_nothing_new() {
    let stop = Stop::default();
    let asker = stop.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        asker.ask();
    });
    let (report, world) =
        run(all(vec!["sleep".into(), "ok".into(), "ok".into()]), 1, RunLimits::default(), &stop).await;
    assert_eq!(answers(&report), ["1=\"sleep\"", "2=null", "3=null"]);
    assert_eq!(report.status, RunStatus::Stopped);
    assert_eq!(*world.order.lock().unwrap(), ["sleep"]);
}

#[tokio::test(start_paused = true)]
async fn a_firm_stop_ends_the_cells_and_every_call_is_recorded_as_ended() {
    let stop = Stop::default();
    let asker = stop.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        asker.now();
    });
    let (report, world) = run(all(vec!["sleep".into(); 10]), 10, RunLimits::default(), &stop).await;
    assert_eq!((report.status, report.value), (RunStatus::Stopped, None));
    let events = world.events.lock().unwrap();
    let count = |test: fn(&Event) -> bool| events.iter().filter(|e| test(e)).count();
    assert_eq!(count(|e| matches!(e, Event::CallIntended { .. })), 11);
    assert_eq!(count(|e| matches!(e, Event::CallEnded { failure: Some(Failure::Cancelled), .. })), 11);
    assert_eq!(count(|e| matches!(e, Event::AgentStarted { .. })), 10);
    assert_eq!(count(|e| matches!(e, Event::AgentEnded { failure: Some(Failure::Cancelled), .. })), 10);
    assert!(matches!(events.last(), Some(Event::RunEnded { status: RunStatus::Stopped, .. })));
}

#[tokio::test]
async fn a_run_that_cannot_be_recorded_ends_and_is_never_called_completed() {
    for full_after in 1..12 {
        let world = World { full_after, ..World::default() };
        let script = all(vec!["ok".into(); 2]);
        let (report, _) = run_in(world, vec![script], 8, RunLimits::default(), &Stop::default()).await;
        let events_of_a_whole_run = 12;
        assert!(full_after < events_of_a_whole_run);
        assert_eq!(report.status, RunStatus::Failed, "after {full_after} events");
        assert!(matches!(report.error, Some(RunError::Engine(Failure::Unrecorded(_)))), "{:?}", report.error);
    }
}

#[tokio::test]
async fn what_isolated_agents_change_is_brought_together_and_what_clashes_is_told() {
    let prompts = ["write 1:one", "write 8:eight", "ok", "write 1:uno", "write 5:lost"].map(str::to_owned).to_vec();
    let (report, world) = run(all(prompts), 8, RunLimits::default(), &Stop::default()).await;
    assert_eq!(answers(&report)[4], "5=null", "an agent whose changes are lost has not done its work");
    let changed = report.changed.unwrap();
    assert!(changed.changes.is_empty(), "{changed:?}");
    assert_eq!((changed.conflicts[0].path.as_str(), changed.conflicts[0].kind), ("f", Clash::Lines));
    assert_eq!(changed.conflicts[0].sides.len(), 3);
    let events = world.events.lock().unwrap();
    assert_eq!(events.iter().filter(|e| matches!(e, Event::AgentChanged { counted: true, .. })).count(), 3);
    assert!(matches!(&events[events.len() - 2], Event::ChangesMerged { files: 0, conflicting: 1, .. }));
}

#[tokio::test]
async fn changes_that_are_not_in_the_record_count_for_nothing() {
    let world = World { refuses_changes: true, ..World::default() };
    let prompts = ["write 1:one", "ok"].map(str::to_owned).to_vec();
    let (report, world) = run_in(world, vec![all(prompts)], 8, RunLimits::default(), &Stop::default()).await;
    assert_eq!(report.status, RunStatus::Failed);
    let why = "it is too large";
    assert!(matches!(&report.error, Some(RunError::Engine(Failure::Unrecorded(told))) if told.contains(why)));
    assert!(report.changed.is_none(), "{:?}", report.changed);
    let events = world.events.lock().unwrap();
    assert!(matches!(events.last(), Some(Event::RunEnded { status: RunStatus::Failed, .. })));
}

#[tokio::test]
async fn changes_far_apart_become_one_file() {
    let prompts = ["write 1:one", "write 8:eight", "write 1:one"].map(str::to_owned).to_vec();
    let (report, world) = run(all(prompts), 8, RunLimits::default(), &Stop::default()).await;
    let changed = report.changed.unwrap();
    assert!(changed.conflicts.is_empty(), "{changed:?}");
    let expected = "0\none\n2\n3\n4\n5\n6\n7\neight\n9\n";
    let digest = Digest::of(expected.as_bytes());
    assert_eq!(changed.changes.at("f").unwrap().after().unwrap().digest(), Some(&digest));
    let events = world.events.lock().unwrap();
    let Event::ChangesMerged { artifacts, .. } = &events[events.len() - 2] else { panic!() };
    assert!(artifacts.iter().any(|a| a.digest == digest && a.content.as_deref() == Some(expected.as_bytes())));
    assert!(artifacts.iter().any(|a| a.name == "changes.patch"));
}

#[tokio::test(start_paused = true)]
async fn what_a_failed_or_stopped_agent_changed_is_kept_and_does_not_count() {
    let stop = Stop::default();
    let asker = stop.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        asker.now();
    });
    let prompts = ["write 1:fail", "write 2:sleep"].map(str::to_owned).to_vec();
    let (report, world) = run(all(prompts), 8, RunLimits::default(), &stop).await;
    assert!(report.changed.is_none());
    let events = world.events.lock().unwrap();
    let kept = |event: &Event| matches!(event, Event::AgentChanged { counted: false, files: 1, .. });
    assert_eq!(events.iter().filter(|event| kept(event)).count(), 2);
    for at in events.iter().enumerate().filter(|(_, event)| kept(event)).map(|(at, _)| at) {
        let Event::AgentChanged { agent, .. } = &events[at] else { panic!() };
        let ends = |event: &Event| matches!(event, Event::AgentEnded { agent: ended, .. } if ended == agent);
        assert!(events[at..].iter().any(ends), "it is recorded before the agent's end");
    }
    assert!(world.wrote.lock().unwrap().is_empty(), "no worktree is left");
}
