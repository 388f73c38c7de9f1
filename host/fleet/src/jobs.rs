//! One job each: an agent, a tool call, and what becomes of them. Which waits for which stands elsewhere.

use crate::activity::{Activity, Token};
use crate::brief::{TITLE_BYTES_MAX, brief};
use crate::changes::Gathered;
use crate::drive::Settings;
use crate::gatekeeper::Gatekeeper;
use crate::gates::{Checked, Gates};
use crate::library::Library;
use crate::options::{AgentOptions, Brain, invalid, reject};
use crate::pending::{Pending, Weight};
use crate::phases::Phases;
use crate::shape::{Shape, Shapes};
use crate::stop::{Stop, Urgency};
use crate::tally::Tally;
use crate::watch::{Progress, Watch};
use serde::Serialize;
use std::sync::{Arc, Mutex};
use tokio::sync::Semaphore;
use vespiary_kernel::call::{Failure, Keep, ToolCall, Usage};
use vespiary_kernel::dispatch::Dispatcher;
use vespiary_kernel::event::Event;
use vespiary_kernel::ids::{AgentId, PluginName, ToolName};
use vespiary_kernel::json::Json;
use vespiary_kernel::model::ModelName;
use vespiary_kernel::plugin::Kind;
use vespiary_kernel::principal::{Isolation, Principal, SpawnRefused};
use vespiary_kernel::quota::LimitHit;
use vespiary_kernel::reuse::Origin;
use vespiary_kernel::script::{Completion, Rejection};
use vespiary_kernel::worktree::Worktrees;

/// What every job of a run needs.
pub(crate) struct Ground {
    pub(crate) dispatcher: Arc<Dispatcher>,
    pub(crate) who: Principal,
    /// The plugin that runs scripts.
    pub(crate) engine: PluginName,
    pub(crate) watch: Arc<dyn Watch>,
    pub(crate) slots: Slots,
    pub(crate) tally: Tally,
    pub(crate) activity: Arc<Activity>,
    pub(crate) gates: Gates,
    pub(crate) phases: Phases,
    /// What the run's scripts have asked for and have no answer to.
    pub(crate) pending: Pending,
    /// What their answers are judged by.
    pub(crate) shapes: Arc<Shapes>,
    /// Who brings gates before a person; none where nobody does.
    pub(crate) gatekeeper: Option<Arc<dyn Gatekeeper>>,
    /// Where called workflows are; none where there are none.
    pub(crate) library: Option<Arc<dyn Library>>,
    /// Who keeps what isolated agents write; none where nobody does.
    pub(crate) worktrees: Option<Arc<dyn Worktrees>>,
    pub(crate) gathered: Mutex<Gathered>,
    /// Held by the one agent whose changes are being taken.
    pub(crate) keeping: Semaphore,
    /// The model that is asked where an agent names none; none where there is no provider.
    pub(crate) model: Option<ModelName>,
    /// The script's `budget.total`, tokens.
    pub(crate) budget_tokens: Option<u64>,
    /// What the runs that this one goes on from have spent of it.
    pub(crate) spent_before: u64,
    pub(crate) stop: Stop,
    /// Nothing runs: what would is only counted.
    pub(crate) planning: bool,
}

/// How many of each sort may run at once, over all scripts of the run.
pub(crate) struct Slots {
    pub(crate) agents: Arc<Semaphore>,
    pub(crate) tools: Arc<Semaphore>,
    pub(crate) workflows: Arc<Semaphore>,
}

impl Slots {
    pub(crate) fn of(settings: &Settings) -> Self {
        let slots = |n: usize| Arc::new(Semaphore::new(n.clamp(1, Semaphore::MAX_PERMITS)));
        let Settings { agents_at_once, tools_at_once, workflows_at_once, .. } = settings;
        Self { agents: slots(*agents_at_once), tools: slots(*tools_at_once), workflows: slots(*workflows_at_once) }
    }
}

/// One agent, accepted and not yet started.
pub(crate) struct AgentJob {
    pub(crate) request: u64,
    pub(crate) agent: Principal,
    /// The label the script gave, by which others may wait for it; empty where it gave none.
    pub(crate) named: String,
    pub(crate) options: AgentOptions,
    pub(crate) task: Json,
    /// Whether the script is told how it ended, where it would get the answer or `null`.
    pub(crate) status: bool,
    /// What its words take of the room for what is pending.
    pub(crate) weight: Weight,
}

/// One tool call, accepted and not yet started.
pub(crate) struct ToolJob {
    pub(crate) request: u64,
    pub(crate) call: ToolCall,
    /// The gate that it decides, where it was asked for by one.
    pub(crate) gate: Option<Checked>,
    /// What its words take of the room for what is pending.
    pub(crate) weight: Weight,
}

/// A job that ended, with what the script is told and what the run counts.
pub(crate) struct Ended {
    /// None for one that only would have run: the script waits for it, and for whatever follows from it.
    pub(crate) completion: Option<Completion>,
    /// What a plan says of it; none of a workflow, whose own jobs it tells.
    pub(crate) planned: Option<Planned>,
    pub(crate) failure: Option<AgentFailure>,
    /// The label that the script gave the agent that ended; empty where it gave none, and for other jobs.
    pub(crate) named: String,
    /// Why nothing can be recorded any more, when that is what ended the job.
    pub(crate) unrecorded: Option<String>,
    /// Whether it ended because the run may spend no more.
    pub(crate) out_of_budget: bool,
    /// Keeps the run going until the script has heard of it.
    pub(crate) _token: Option<Token>,
}

/// A job as a plan names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// An agent's label, or the tool that the script itself calls.
    pub label: String,
    /// The agent's type or model; none for a tool.
    pub agent_type: Option<String>,
    /// The finished call whose answer it is given; none: it will run.
    pub reused: Option<Origin>,
}

/// An agent that gave no answer.
#[derive(Debug, Clone)]
pub struct AgentFailure {
    /// Which.
    pub agent: AgentId,
    /// For people.
    pub label: String,
    /// Why.
    pub failure: Failure,
}

#[derive(Serialize)]
struct Task<'a> {
    prompt: &'a str,
    context: &'a Json,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema: Option<&'a Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<ModelName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    effort: Option<&'a str>,
}

/// How an agent ended, as `agentResult()` tells it.
#[derive(Serialize)]
struct Status<'a> {
    status: &'static str,
    value: Option<&'a Json>,
    cause: Option<&'static str>,
    message: Option<String>,
    agent: AgentId,
    attempts: u32,
    usage: Usage,
}

impl Ground {
    /// Check an agent request and count it against the run. The error is thrown in the script. `written` is how long its options were.
    pub(crate) fn accept_agent(
        &self,
        request: u64,
        prompt: &str,
        mut options: AgentOptions,
        written: u64,
        status: bool,
    ) -> Result<AgentJob, Rejection> {
        let catalog = self.dispatcher.catalog();
        let model = match &options.brain {
            Brain::Model(named) => Some(self.model(named.as_deref())?),
            Brain::Component(name) => {
                if catalog.find(&options.entry()).is_none_or(|plugin| plugin.kind != Kind::Agent) {
                    let known = catalog.names().join(", ");
                    let message = format!("there is no agent type {:?}; the plugins here are {known}", name.as_str());
                    return Err(reject("not-found", message));
                }
                None
            }
        };
        if options.isolation == Isolation::Worktree && self.worktrees.is_none() {
            return Err(reject(
                "unsupported",
                "isolation: 'worktree' needs a host that keeps worktrees; this one has none",
            ));
        }
        let schema = options.schema.as_ref().map(Shape::text);
        let effort = options.effort.as_deref().filter(|_| model.is_some());
        let task = Task { prompt, context: &options.context, schema, model, effort };
        let task = Json::of(&task).map_err(|e| invalid(e.to_string()))?;
        // The context is in the task; all that is left of the options is no longer than they were without it.
        let rest = written.saturating_sub(options.context.len_bytes());
        options.context = Json::null();
        let weight = self.pending.take(task.len_bytes().saturating_add(rest))?;
        let agent = {
            let wanted = options.wanted(self.who.grant())?;
            let starter = self.phases.starter(options.phase.as_deref(), &self.who);
            self.dispatcher
                .spawn_within(&starter, Some(&wanted), options.isolation, &options.spending)
                .map_err(refused)?
        };
        let named = std::mem::take(&mut options.named);
        // Budgets go by the whole title; what is recorded is cut as the script's own `phase()` is.
        options.phase = options.phase.map(|title| brief(title, TITLE_BYTES_MAX));
        if options.label.is_empty() {
            options.label = format!("{} {}", options.kind(), agent.agent());
        }
        Ok(AgentJob { request, agent, named, options, task, status, weight })
    }

    /// The model that a script's word for one means: `PROVIDER/MODEL`, or a model of the provider in use.
    fn model(&self, named: Option<&str>) -> Result<ModelName, Rejection> {
        let Some(default) = &self.model else {
            let message = "agent() without agentType asks for a model, and no provider is in use; start the run with \
                           --provider, or name a component agent, for example { agentType: 'secrets' }";
            return Err(reject("no-provider", message));
        };
        match named {
            None => Ok(default.clone()),
            Some(named) => {
                let full =
                    if named.contains('/') { named.to_owned() } else { format!("{}/{named}", default.provider()) };
                full.parse().map_err(|error| invalid(format!("model: {error}")))
            }
        }
    }

    /// Check a tool request. The error is thrown in the script.
    pub(crate) fn accept_tool(&self, request: u64, name: &str, arguments: Json) -> Result<ToolJob, Rejection> {
        let tool: ToolName = name.parse().map_err(|e| invalid(format!("tool(): {e}")))?;
        let agent = self.dispatcher.catalog().find(&tool).is_some_and(|plugin| plugin.kind == Kind::Agent);
        if agent {
            return Err(invalid(format!(
                "{tool} is an agent; start it with agent(prompt, {{ agentType: '{}' }})",
                tool.plugin()
            )));
        }
        let weight = self.pending.take(arguments.len_bytes())?;
        Ok(ToolJob { request, call: ToolCall { tool, arguments, keep: Keep::Value }, gate: None, weight })
    }

    pub(crate) async fn run_agent(self: Arc<Self>, job: AgentJob) -> Ended {
        let AgentJob { request, agent, named, options, task, status, weight: _weight } = job;
        let id = agent.agent();
        // Made before the call, so that the call's own end is recorded first when both are dropped.
        let mut open = OpenAgent { ground: &self, agent: &agent, kept: false, closed: false };
        self.record(self.started(&agent, &options));
        self.watch.see(Progress::AgentStarted { agent: id, label: &options.label });
        let mut tried = Tried::default();
        let worked = self.attempts(&agent, &options, &task, &mut tried);
        let result = match options.timeout {
            None => worked.await,
            Some(limit) => tokio::time::timeout(limit, worked).await.unwrap_or_else(|_| Err(timed_out(limit))),
        };
        // An agent whose changes cannot be kept has not done its work, whatever it answered.
        let kept = match &tried.reused {
            Some(origin) => self.keep_changes_again(&agent, origin).await,
            None => self.keep_changes(&agent, result.is_ok()).await,
        };
        let result = match (kept, result) {
            (Err(lost), Ok(_)) => Err(lost),
            (_, result) => result,
        };
        open.kept = true;
        let failure = result.as_ref().err().cloned();
        open.close(failure.clone());
        drop(open);
        self.watch.see(Progress::AgentEnded { agent: id, label: &options.label, failure: failure.as_ref() });
        let out_of_budget = failure.as_ref().is_some_and(is_out_of_budget);
        let settlement = match (status, &result) {
            (true, _) => Ok(told(&result, id, &tried)),
            (false, Ok(answer)) => Ok(answer.clone()),
            (false, Err(failure)) if out_of_budget => Err(thrown(failure)),
            (false, Err(_)) => Ok(Json::null()),
        };
        let agent_type = Some(options.kind().to_owned());
        let label = options.label;
        let planned = Planned { label: label.clone(), agent_type, reused: tried.reused };
        Ended {
            unrecorded: unrecorded(failure.as_ref()),
            completion: self.told_unless_planned(Completion { id: request, settlement }, &planned),
            planned: Some(planned),
            named,
            failure: failure.map(|failure| AgentFailure { agent: id, label, failure }),
            out_of_budget,
            _token: None,
        }
    }

    /// A plan gives the script what is known, and nothing else.
    fn told_unless_planned(&self, completion: Completion, planned: &Planned) -> Option<Completion> {
        (!self.planning || planned.reused.is_some()).then_some(completion)
    }

    /// End an agent that never starts, because of what it depends on.
    pub(crate) fn end_unstarted(&self, job: AgentJob, failure: Failure) -> Ended {
        let AgentJob { request, agent, named, options, status, .. } = job;
        let id = agent.agent();
        self.record(self.started(&agent, &options));
        self.record(Event::AgentEnded { agent: id, failure: Some(failure.clone()) });
        self.watch.see(Progress::AgentStarted { agent: id, label: &options.label });
        self.watch.see(Progress::AgentEnded { agent: id, label: &options.label, failure: Some(&failure) });
        let null = if status { told(&Err(failure.clone()), id, &Tried::default()) } else { Json::null() };
        Ended {
            completion: Some(Completion { id: request, settlement: Ok(null) }),
            planned: None,
            named,
            failure: Some(AgentFailure { agent: id, label: options.label, failure }),
            unrecorded: None,
            out_of_budget: false,
            _token: self.activity.begin(),
        }
    }

    fn started(&self, agent: &Principal, options: &AgentOptions) -> Event {
        Event::AgentStarted {
            agent: agent.agent(),
            parent: self.who.agent(),
            label: options.label.clone(),
            phase: options.phase.clone(),
            agent_type: options.kind().to_owned(),
            grant: agent.grant().clone(),
            isolated: options.isolation == Isolation::Worktree,
        }
    }

    /// Run an agent until it answers as it should, fails in a way that running it again does not change, or has been run as
    /// often as it may be. Each time is a call of its own.
    async fn attempts(
        &self,
        agent: &Principal,
        options: &AgentOptions,
        task: &Json,
        tried: &mut Tried,
    ) -> Result<Json, Failure> {
        let mut backoff = options.retry.backoff;
        loop {
            tried.attempts += 1;
            let call = ToolCall { tool: options.entry(), arguments: task.clone(), keep: Keep::Value };
            let outcome = self.dispatcher.dispatch(agent, call).await;
            tried.usage = tried.usage.and(&outcome.usage);
            tried.reused.clone_from(&outcome.reused);
            let failure = match outcome.into_result().and_then(|answer| fits(answer, options)) {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let stopping = self.stop.urgency() > Urgency::None;
            // Of attempts that were made already, the one that was taken comes after those that were not.
            let again = tried.reused.is_some() || tried.attempts < options.retry.attempts;
            if !again || stopping || !may_end_otherwise(&failure) {
                return Err(failure);
            }
            if tried.reused.is_some() {
                continue;
            }
            // What it left half done is kept and not built upon.
            self.keep_changes(agent, false).await?;
            tokio::time::sleep(backoff).await;
            backoff *= 2;
        }
    }

    pub(crate) async fn run_tool(self: Arc<Self>, job: ToolJob) -> Ended {
        let ToolJob { request, call, gate, weight: _weight } = job;
        let label = call.tool.to_string();
        let outcome = self.dispatcher.dispatch(&self.who, call).await;
        let planned = Planned { label, agent_type: None, reused: outcome.reused.clone() };
        let result = outcome.into_result();
        let result = match &gate {
            // What a program would say is not known.
            Some(_) if self.planning => result,
            Some(checked) => self.judge_check(checked, result),
            None => result,
        };
        let unrecorded = unrecorded(result.as_ref().err());
        let out_of_budget = result.as_ref().err().is_some_and(is_out_of_budget);
        let completion = Completion { id: request, settlement: result.map_err(|failure| thrown(&failure)) };
        let completion = self.told_unless_planned(completion, &planned);
        let planned = Some(planned);
        Ended { completion, planned, named: String::new(), failure: None, unrecorded, out_of_budget, _token: None }
    }

    /// Note a fact that is not a call. A failing ledger refuses the next call, so the run cannot go on unrecorded.
    pub(crate) fn record(&self, event: Event) {
        let _ = self.dispatcher.log().append(self.who.run().id(), event);
    }
}

/// An agent that has been recorded as started and must be recorded as ended, also when its task is dropped.
struct OpenAgent<'a> {
    ground: &'a Ground,
    agent: &'a Principal,
    /// What it changed was taken.
    kept: bool,
    closed: bool,
}

impl OpenAgent<'_> {
    fn close(&mut self, failure: Option<Failure>) {
        self.closed = true;
        self.ground.record(Event::AgentEnded { agent: self.agent.agent(), failure });
    }
}

impl Drop for OpenAgent<'_> {
    fn drop(&mut self) {
        if !self.kept {
            // What it had come to is kept as far as it can be; nobody is left to hear that it cannot.
            let _ = self.ground.keep_changes_now(self.agent, false);
        }
        if !self.closed {
            self.close(Some(Failure::Cancelled));
        }
    }
}

pub(crate) fn unrecorded(failure: Option<&Failure>) -> Option<String> {
    match failure {
        Some(Failure::Unrecorded(why)) => Some(why.clone()),
        _ => None,
    }
}

fn refused(refusal: SpawnRefused) -> Rejection {
    thrown(&refusal.into())
}

/// The exception that tells a script of a failure.
pub(crate) fn thrown(failure: &Failure) -> Rejection {
    let detail = Json::of(failure).unwrap_or_else(|_| Json::null());
    let code = if is_out_of_budget(failure) { "over-budget" } else { failure.cause() };
    Rejection { code: code.to_owned(), message: failure.to_string(), detail }
}

/// How an agent's work went.
#[derive(Default)]
pub(crate) struct Tried {
    attempts: u32,
    usage: Usage,
    /// The finished call whose answer the last attempt was given.
    reused: Option<Origin>,
}

/// How an agent ended, for the script that asked.
pub(crate) fn told(result: &Result<Json, Failure>, agent: AgentId, tried: &Tried) -> Json {
    let failure = result.as_ref().err();
    let status = match failure {
        None => "ok",
        Some(Failure::Cancelled) => "stopped",
        Some(Failure::Denied(_)) => "refused",
        Some(_) => "failed",
    };
    let told = Status {
        status,
        value: result.as_ref().ok(),
        cause: failure.map(Failure::cause),
        message: failure.map(ToString::to_string),
        agent,
        attempts: tried.attempts,
        usage: tried.usage,
    };
    Json::of(&told).unwrap_or_else(|_| Json::null())
}

/// Whether the run itself may spend no more.
fn is_out_of_budget(failure: &Failure) -> bool {
    let spent = [
        "run-tokens",
        "run-input-tokens",
        "run-output-tokens",
        "run-usd-micros",
        "run-tool-calls",
        "phase-tokens",
        "phase-usd-micros",
    ];
    matches!(failure, Failure::Limit(hit) if spent.contains(&hit.quota.as_str()))
}

/// Whether running the same again can end otherwise. What was refused, or was more than a pool holds, is so again.
fn may_end_otherwise(failure: &Failure) -> bool {
    match failure {
        Failure::Failed(_) | Failure::Trapped(_) | Failure::Host(_) | Failure::NotFound(_) => true,
        Failure::Limit(hit) => !["run-", "phase-", "agent-"].iter().any(|whose| hit.quota.starts_with(whose)),
        Failure::Denied(_)
        | Failure::InvalidArguments(_)
        | Failure::Cancelled
        | Failure::Unrunnable(_)
        | Failure::Unrecorded(_) => false,
    }
}

fn timed_out(limit: std::time::Duration) -> Failure {
    let ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
    Failure::Limit(LimitHit { quota: "agent-time-ms".into(), limit: ms, used: ms })
}

/// The answer, if it has the shape the script gave.
fn fits(answer: Json, options: &AgentOptions) -> Result<Json, Failure> {
    match &options.schema {
        Some(shape) => shape.hold(answer),
        None => Ok(answer),
    }
}
