//! The tools of the server itself: what they are called, what they take, and what they do; what clients are told of them stands in `told`. They start runs, tell of them, and take
//! gates to a person. Whatever they start holds what the server was given, or less.

use crate::decide::{self, Wanted};
use crate::exit::Trouble;
use crate::gates;
use crate::live;
use crate::mcp::account::{self, Account, State};
use crate::mcp::launch::Order;
use crate::mcp::nest::Nest;
use crate::mcp::visit::Client;
use crate::mcp::voice::Voice;
use crate::workflows::{Shelves, is_name};
use rmcp::model::JsonObject;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use vespiary_fleet::drive::SCRIPT_BYTES_MAX;
use vespiary_fleet::library::Library;
use vespiary_kernel::capability::Capability;
use vespiary_kernel::grant::Grant;
use vespiary_kernel::ids::RunId;
use vespiary_kernel::json::Json;
use vespiary_kernel::policy::{Answer, Denial};

/// Their names, which no plugin's tool is given.
pub const NAMES: [&str; 6] = ["approve", "run_result", "run_status", "run_stop", "run_workflow", "spawn_subagents"];

/// Tasks for one call.
pub(super) const TASKS_MAX: usize = 1_000;

/// Capabilities in one list: before a run holds them, each is held against each other.
pub(super) const CAPABILITIES_MAX: usize = 256;

/// How long somebody waits for the run that was started for them; from then on they ask for it. A session of which nothing is heard
/// ends later than that: it would take the run with it.
pub const WAIT_TIME_MAX: Duration = Duration::from_secs(15 * 60);

/// The variable that says otherwise, in milliseconds. Only a build for development obeys it.
const WAIT_OVERRIDE: &str = "VESPIARY_MCP_WAIT_MS";

/// The script that gives tasks to agents.
const SPAWN: &str = include_str!("spawn.js");

/// One of them, with its arguments read.
#[derive(Debug)]
pub enum Own {
    /// Decide a gate.
    Approve(Approve),
    /// What a run came to.
    Result(Which),
    /// How a run stands.
    Status(Which),
    /// End a run.
    Stop(Stop),
    /// Start a workflow.
    Workflow(Box<Workflow>),
    /// Give tasks to agents.
    Spawn(Box<Spawn>),
}

/// A run by its id.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Which {
    run: RunId,
}

/// What `approve` takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approve {
    run: RunId,
    #[serde(default)]
    gate: Option<String>,
}

/// What `run_stop` takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stop {
    run: RunId,
    #[serde(default)]
    now: bool,
}

/// Lower limits for a run.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    agents: Option<u32>,
    tokens: Option<u64>,
    usd: Option<f64>,
    seconds: Option<u64>,
}

/// What `run_workflow` takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workflow {
    #[serde(default)]
    workflow: Option<String>,
    #[serde(default)]
    script: Option<String>,
    #[serde(default)]
    args: JsonObject,
    #[serde(default, deserialize_with = "few")]
    permissions: Option<Vec<Capability>>,
    #[serde(default)]
    limits: Limits,
}

/// What `spawn_subagents` takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spawn {
    tasks: Vec<Task>,
    #[serde(default, deserialize_with = "few")]
    permissions: Option<Vec<Capability>>,
    #[serde(default)]
    limits: Limits,
    #[serde(default = "yes")]
    wait: bool,
}

fn yes() -> bool {
    true
}

/// A list that is short enough to be weighed.
fn few<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<Capability>>, D::Error> {
    let listed = Option::<Vec<Capability>>::deserialize(deserializer)?;
    match listed.as_ref().map_or(0, Vec::len) {
        0..=CAPABILITIES_MAX => Ok(listed),
        many => {
            Err(D::Error::custom(format!("permissions: {many} capabilities; a list has at most {CAPABILITIES_MAX}")))
        }
    }
}

/// One task. Passed on to the script as it is; what it means there is checked there.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Task {
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    directory: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "few")]
    permissions: Option<Vec<Capability>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    isolation: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry: Option<Value>,
}

/// What a tool of the server gives: an object, or why there is none.
pub type Given = Result<Value, Trouble>;

impl Own {
    /// The tool of that name, given `arguments`. None: there is none.
    pub fn read(name: &str, arguments: JsonObject) -> Option<Result<Self, Trouble>> {
        fn of<T: DeserializeOwned>(name: &str, arguments: JsonObject) -> Result<T, Trouble> {
            serde_json::from_value(Value::Object(arguments)).map_err(|error| {
                Trouble::usage(format!("{name} cannot be called so"), error, "its input schema says what it takes")
            })
        }
        Some(match name {
            "approve" => of(name, arguments).map(Self::Approve),
            "run_result" => of(name, arguments).map(Self::Result),
            "run_status" => of(name, arguments).map(Self::Status),
            "run_stop" => of(name, arguments).map(Self::Stop),
            "run_workflow" => of(name, arguments).map(|read| Self::Workflow(Box::new(read))),
            "spawn_subagents" => of(name, arguments).map(|read| Self::Spawn(Box::new(read))),
            _ => return None,
        })
    }

    /// The run it would start. Blocks: workflows are looked up on disk, and what is asked for is held against what there is.
    ///
    /// # Errors
    /// It asks for more than the server was given, or for what there is not.
    pub fn order(&self, nest: &Nest) -> Result<Option<Order>, Trouble> {
        match self {
            Self::Workflow(asked) => asked.order(nest).map(Some),
            Self::Spawn(asked) => asked.order(nest).map(Some),
            _ => Ok(None),
        }
    }

    /// Whether whoever calls it waits for the run that it starts.
    pub fn waits(&self) -> bool {
        matches!(self, Self::Spawn(asked) if asked.wait)
    }

    /// Do it. `started`: the run that was started for it.
    ///
    /// # Errors
    /// What could not be done, and why.
    pub async fn give(self, nest: Arc<Nest>, client: Client, started: Option<Started>, voice: Voice) -> Given {
        if let Some(started) = started {
            return started.tell(self.waits(), &voice).await;
        }
        match self {
            Self::Status(Which { run }) => told(&nest, &run, false).await,
            Self::Result(Which { run }) => told(&nest, &run, true).await,
            Self::Stop(Stop { run, now }) => stop(&nest, run, now).await,
            Self::Approve(asked) => asked.decide(nest, client, voice).await,
            Self::Workflow(_) | Self::Spawn(_) => {
                Err(Trouble::failed("nothing was started", "no run was ordered", "report this as a defect"))
            }
        }
    }
}

/// A run that was started for a request. Dropped before whoever asked was told of it, it ends: nobody would wait for it, and nobody
/// knows its name.
#[derive(Debug)]
pub struct Started {
    nest: Arc<Nest>,
    run: RunId,
    told: bool,
}

impl Started {
    /// The run `run`, which is under way.
    pub fn new(nest: Arc<Nest>, run: RunId) -> Self {
        Self { nest, run, told: false }
    }

    /// Its id.
    pub fn run(&self) -> &RunId {
        &self.run
    }

    /// Whoever asked knows of it: it goes on without them.
    pub fn leave(mut self) {
        self.told = true;
    }

    /// How it stands; with `waits`, what it came to once it has ended, if that is soon enough.
    async fn tell(self, waits: bool, voice: &Voice) -> Given {
        let mut over = false;
        if waits {
            let waiting = tokio::time::timeout(wait_time_max(), account::wait(&self.nest, &self.run, voice));
            over = waiting.await.ok().transpose()?.is_some();
        }
        let given = told(&self.nest, &self.run, over).await?;
        self.leave();
        Ok(given)
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if !self.told && live::is_live(self.nest.home(), &self.run) {
            let _ = live::ask_to_stop(self.nest.home(), &self.run, true);
        }
    }
}

fn wait_time_max() -> Duration {
    let other = if cfg!(debug_assertions) { std::env::var(WAIT_OVERRIDE).ok() } else { None };
    other.and_then(|millis| millis.parse().ok()).map_or(WAIT_TIME_MAX, Duration::from_millis)
}

async fn told(nest: &Arc<Nest>, run: &RunId, result: bool) -> Given {
    let (nest, run) = (Arc::clone(nest), run.clone());
    blocking(move || {
        let reader = nest.reader()?;
        let account = Account::read(&nest, &reader, &run)?;
        if result { account.result(&reader) } else { Ok(account.status(&reader)) }
    })
    .await
}

/// End a run that was started over MCP.
///
/// # Errors
/// A person started it, or it goes on no more.
pub async fn stop(nest: &Arc<Nest>, run: RunId, now: bool) -> Given {
    let nest = Arc::clone(nest);
    blocking(move || {
        let reader = nest.reader()?;
        let account = Account::read(&nest, &reader, &run)?;
        let driven = &account.record.id;
        if !live::was_ordered(nest.home(), driven) {
            let next = format!("a person stops it with `vespiary runs stop {driven}`");
            return Err(Trouble::usage(format!("{run} is not yours to stop"), "a person started it", next));
        }
        if !account.live || matches!(account.state(), State::Ended(_)) {
            return Err(Trouble::usage(format!("{run} cannot be stopped"), "it goes on no more", "call run_result"));
        }
        live::ask_to_stop(nest.home(), driven, now)?;
        let what = if now {
            "every cell ends; what is recorded is kept"
        } else {
            "agents that run may finish, no new one starts"
        };
        Ok(json!({ "run": run, "asked": if now { "now" } else { "gently" }, "what": what }))
    })
    .await
}

/// Hand a person's decision to the run. `gate` is the gate's whole digest.
///
/// # Errors
/// There is no such gate, or it is decided already.
pub fn decided(nest: &Nest, run: &RunId, gate: &str, approved: bool, client: &Client) -> Given {
    let account = Account::read(nest, &nest.reader()?, run)?;
    let driven = account.record.id;
    // In a team, whoever the token names has decided, and not the user that the server runs as.
    let who = client.subject.clone().unwrap_or_else(gates::user);
    let by = format!("{who}, asked through {}", client.name);
    let decided = decide::decide(nest.home(), Wanted { run: &driven, gate: Some(gate), approved, note: None }, by)?;
    let goes_on_as = match decided.goes_on {
        true => driven,
        false => {
            let onward = nest.launch().resume(nest.home(), &driven)?;
            // Whoever asks from now on is told of the run that goes on.
            while live::is_live(nest.home(), &onward) && nest.reader()?.latest_of(&driven)? != onward {
                std::thread::sleep(live::GLANCE / 10);
            }
            onward
        }
    };
    Ok(json!({
        "run": run, "gate": gate, "approved": approved, "by": decided.decision.by, "at": decided.decision.at(),
        "goes_on_as": goes_on_as,
    }))
}

impl Approve {
    /// Take the gate to the person, and what they say to the run.
    async fn decide(self, nest: Arc<Nest>, client: Client, voice: Voice) -> Given {
        let Self { run, gate } = self;
        let (looked, asked) = (Arc::clone(&nest), run.clone());
        let (driven, matter, digest) = blocking(move || {
            let reader = looked.reader()?;
            let account = Account::read(&looked, &reader, &asked)?;
            let gate = decide::chosen(&account.record, gate.as_deref())?;
            Ok((account.record.id.clone(), account::matter(&reader, &gate)?, gate.digest.to_string()))
        })
        .await?;
        let text = crate::approve::gate_question(&driven, &matter);
        let approved = match voice.ask(text, "Approve exactly this", nest.ask_time_max()).await {
            Answer::Yes => true,
            Answer::No => false,
            Answer::Nobody(why) => {
                let next = format!(
                    "the person runs `vespiary runs approve {driven}` or `vespiary runs deny {driven}` at a terminal"
                );
                return Err(Trouble {
                    exit: crate::exit::Exit::AwaitingGate,
                    ..Trouble::usage("nobody has decided", why, next)
                });
            }
        };
        blocking(move || decided(&nest, &run, &digest, approved, &client)).await
    }
}

impl Workflow {
    fn order(&self, nest: &Nest) -> Result<Order, Trouble> {
        let wrong = |why: &str| {
            let next = "give workflow (a name) or script (JavaScript that begins with `export const meta`)";
            Trouble::usage("run_workflow cannot be called so", why, next)
        };
        let (title, source) = match (&self.workflow, &self.script) {
            (Some(name), None) => {
                let found = Library::find(&Shelves::of(nest.root(), nest.home()), name);
                let found =
                    found.map_err(|why| Trouble::usage("there is no such workflow", why, "give a script instead"))?;
                (found.name, found.source)
            }
            (None, Some(script)) if script.len() as u64 > SCRIPT_BYTES_MAX => {
                return Err(wrong("the script is too long"));
            }
            (None, Some(script)) => (title_of(script), script.clone()),
            (Some(_), Some(_)) => return Err(wrong("it names a workflow and brings a script")),
            (None, None) => return Err(wrong("it names no workflow and brings no script")),
        };
        order(nest, title, source, Value::Object(self.args.clone()), self.permissions.as_deref(), &self.limits)
    }
}

/// The name that a script gives itself where that can be a file's, for people who read the record.
fn title_of(script: &str) -> String {
    let named = script.split_once("name:").map(|(_, rest)| rest.trim_start());
    let quoted = named.and_then(|rest| rest.split(['\'', '"', '`']).nth(1));
    quoted.filter(|name| is_name(name)).unwrap_or("script").to_owned()
}

impl Spawn {
    fn order(&self, nest: &Nest) -> Result<Order, Trouble> {
        if !(1..=TASKS_MAX).contains(&self.tasks.len()) {
            let why = format!("it has {} tasks", self.tasks.len());
            return Err(Trouble::usage("spawn_subagents cannot be called so", why, format!("give 1 to {TASKS_MAX}")));
        }
        if let Some(at) = self.tasks.iter().position(|task| task.prompt.is_none() && task.agent.is_none()) {
            let why = format!("task {at} has neither a prompt nor an agent type");
            return Err(Trouble::usage("spawn_subagents cannot be called so", why, "give each task at least one"));
        }
        let args = json!({ "tasks": self.tasks });
        order(nest, "spawn_subagents".into(), SPAWN.into(), args, self.permissions.as_deref(), &self.limits)
    }
}

fn order(
    nest: &Nest,
    title: String,
    source: String,
    args: Value,
    permissions: Option<&[Capability]>,
    limits: &Limits,
) -> Result<Order, Trouble> {
    let grant = narrowed(nest.grant(), permissions).map_err(|denial| Trouble {
        exit: crate::exit::Exit::Denied,
        ..Trouble::usage("the run would hold more than this server was given", denial, ONLY_A_PERSON)
    })?;
    let bad =
        |error: &dyn std::fmt::Display| Trouble::usage("the run cannot be started", error, "correct the arguments");
    let usd_micros = match limits.usd {
        Some(usd) if !usd.is_finite() || usd < 0.0 => return Err(bad(&format!("limits.usd is {usd}"))),
        // A float to an integer saturates.
        usd => usd.map(|usd| (usd * 1e6).floor() as u64),
    };
    Ok(Order {
        title,
        source,
        args: Json::of(&args).map_err(|error| bad(&error))?,
        grant,
        agents: limits.agents,
        tokens: limits.tokens,
        usd_micros,
        time: limits.seconds.map(Duration::from_secs),
    })
}

/// Who can grant more.
pub const ONLY_A_PERSON: &str =
    "ask for less; only the person who started this server can grant it more, with --allow where it is started";

/// The grant of a run that is to hold `permissions` and no other directory, host or program. Its tools, models and agents are the
/// server's unless it names some.
fn narrowed(held: &Grant, permissions: Option<&[Capability]>) -> Result<Grant, Denial> {
    let Some(permissions) = permissions else { return Ok(held.clone()) };
    let kind = |capability: &Capability| match capability {
        Capability::Tool(_) => Some(0),
        Capability::Model(_) => Some(1),
        Capability::Spawn(_) => Some(2),
        _ => None,
    };
    let named: Vec<_> = permissions.iter().filter_map(kind).collect();
    let inherited = held.iter().filter(|held| kind(held).is_some_and(|kind| !named.contains(&kind)));
    let wanted: Vec<Capability> = permissions.iter().chain(inherited).cloned().collect();
    held.attenuate(&wanted)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Trouble> + Send + 'static) -> Result<T, Trouble> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|died| Trouble::failed("the server failed", died, "call again, and report it"))?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caps(texts: &[&str]) -> Vec<Capability> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn what_a_client_asks_for_only_narrows() {
        let held = Grant::of_run(caps(&["read:.", "write:out", "tool:*", "spawn:100"]));
        assert_eq!(narrowed(&held, None).unwrap(), held);
        let less = narrowed(&held, Some(&caps(&["read:src"]))).unwrap();
        assert_eq!(less.to_string(), "read:src, tool:*, spawn:100");
        let less = narrowed(&held, Some(&caps(&["read:src", "tool:files.*", "spawn:3"]))).unwrap();
        assert_eq!(less.to_string(), "read:src, tool:files.*, spawn:3");
        for more in
            [&["read:/etc"][..], &["write:."], &["net:*"], &["spawn:101"], &["exec:sh"], &["mcp:*"], &["env:HOME"]]
        {
            let denial = narrowed(&held, Some(&caps(more))).unwrap_err();
            assert!(denial.needed.contains(more[0]), "{denial}");
        }
    }

    #[test]
    fn arguments_that_mean_nothing_are_refused() {
        let read = |name: &str, text: &str| Own::read(name, serde_json::from_str(text).unwrap());
        assert!(read("no_such_tool", "{}").is_none());
        for (name, text) in [
            ("run_status", "{}"),
            ("run_status", r#"{"run":"../x"}"#),
            ("approve", r#"{"run":"r-1","approved":true}"#),
            ("spawn_subagents", r#"{"tasks":[{"prompt":"p","allow":["read:/"]}]}"#),
            ("run_workflow", r#"{"script":"x","apply":true}"#),
        ] {
            assert!(read(name, text).unwrap().is_err(), "{name} {text}");
        }
        assert!(read("approve", r#"{"run":"r-1"}"#).unwrap().is_ok());
    }

    /// To weigh a list takes the square of its length: one that is too long is refused before that.
    #[test]
    fn a_list_of_capabilities_is_short_enough_to_be_weighed() {
        let lists = |many: usize| {
            let permissions: Vec<String> = (0..many).map(|n| format!("read:src/a{n}")).collect();
            [
                ("run_workflow", json!({ "script": "x", "permissions": permissions })),
                ("spawn_subagents", json!({ "tasks": [{ "prompt": "p" }], "permissions": permissions })),
                ("spawn_subagents", json!({ "tasks": [{ "prompt": "p", "permissions": permissions }] })),
            ]
        };
        let read = |name: &str, arguments: Value| Own::read(name, arguments.as_object().cloned().unwrap()).unwrap();
        for (name, arguments) in lists(CAPABILITIES_MAX) {
            assert!(read(name, arguments).is_ok(), "{name}");
        }
        for (name, arguments) in lists(CAPABILITIES_MAX + 1) {
            let why = read(name, arguments).unwrap_err().why;
            assert!(why.contains("257 capabilities") && why.contains("at most 256"), "{name}: {why}");
        }
    }

    #[test]
    fn a_script_is_called_what_it_calls_itself_where_that_can_be_a_name() {
        assert_eq!(title_of("export const meta = { name: 'tidy-up', description: 'x' }"), "tidy-up");
        assert_eq!(title_of("export const meta = { name: '../../x' }"), "script");
        assert_eq!(title_of(""), "script");
    }
}
