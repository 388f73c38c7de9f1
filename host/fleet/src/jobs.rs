//! The work a script has asked for: what waits, what runs, and one task for each. First in, first out within a lane; agents
//! and tools have lanes of their own, so that neither can starve the other.

use crate::changes::Gathered;
use crate::options::{AgentOptions, Brain, Priority, invalid, reject};
use crate::shape::Shape;
use crate::stop::{Stop, Urgency};
use crate::watch::{Progress, Watch};
use serde::Serialize;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use tokio::task::JoinSet;
use vespiary_kernel::call::{Failure, Keep, ToolCall, Usage};
use vespiary_kernel::dispatch::Dispatcher;
use vespiary_kernel::event::Event;
use vespiary_kernel::ids::{AgentId, ToolName};
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
    pub(crate) watch: Arc<dyn Watch>,
    /// Who keeps what isolated agents write; none where nobody does.
    pub(crate) worktrees: Option<Arc<dyn Worktrees>>,
    pub(crate) gathered: Mutex<Gathered>,
    /// The model that is asked where an agent names none; none where there is no provider.
    pub(crate) model: Option<ModelName>,
    /// The script's `budget.total`, tokens.
    pub(crate) budget_tokens: Option<u64>,
    pub(crate) stop: Stop,
    /// Nothing runs: what would is only counted.
    pub(crate) planning: bool,
}

/// One agent, accepted and not yet started.
pub(crate) struct AgentJob {
    request: u64,
    agent: Principal,
    options: AgentOptions,
    task: Json,
    /// Whether the script is told how it ended, where it would get the answer or `null`.
    status: bool,
}

/// One tool call, accepted and not yet started.
pub(crate) struct ToolJob {
    request: u64,
    call: ToolCall,
}

/// A job that ended, with what the script is told and what the run counts.
pub(crate) struct Ended {
    /// None for one that only would have run: the script waits for it, and for whatever follows from it.
    pub(crate) completion: Option<Completion>,
    /// What a plan says of it.
    pub(crate) planned: Planned,
    pub(crate) lane: Lane,
    pub(crate) failure: Option<AgentFailure>,
    /// Why nothing can be recorded any more, when that is what ended the job.
    pub(crate) unrecorded: Option<String>,
    /// Whether it ended because the run may spend no more.
    pub(crate) out_of_budget: bool,
}

/// Which lane a job runs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    Agents,
    Tools,
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
    /// Check an agent request and count it against the run. The error is thrown in the script.
    pub(crate) fn accept_agent(
        &self,
        request: u64,
        prompt: &str,
        options: &Json,
        status: bool,
    ) -> Result<AgentJob, Rejection> {
        let mut options = AgentOptions::parse(options)?;
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
        let agent = {
            let wanted = options.wanted(self.who.grant())?;
            self.dispatcher
                .spawn_within(&self.who, Some(&wanted), options.isolation, &options.spending)
                .map_err(refused)?
        };
        if options.label.is_empty() {
            options.label = format!("{} {}", options.kind(), agent.agent());
        }
        let schema = options.schema.as_ref().map(Shape::text);
        let effort = options.effort.as_deref().filter(|_| model.is_some());
        let task = Task { prompt, context: &options.context, schema, model, effort };
        let task = Json::of(&task).map_err(|e| invalid(e.to_string()))?;
        Ok(AgentJob { request, agent, options, task, status })
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
        Ok(ToolJob { request, call: ToolCall { tool, arguments, keep: Keep::Value } })
    }

    async fn run_agent(self: Arc<Self>, job: AgentJob) -> Ended {
        let AgentJob { request, agent, options, task, status } = job;
        let id = agent.agent();
        // Made before the call, so that the call's own end is recorded first when both are dropped.
        let mut open = OpenAgent { ground: &self, agent: &agent, kept: false, closed: false };
        self.record(Event::AgentStarted {
            agent: id,
            parent: self.who.agent(),
            label: options.label.clone(),
            phase: options.phase.clone(),
            agent_type: options.kind().to_owned(),
            grant: agent.grant().clone(),
            isolated: options.isolation == Isolation::Worktree,
        });
        self.watch.see(Progress::AgentStarted { agent: id, label: &options.label });
        let mut tried = Tried::default();
        let worked = self.attempts(&agent, &options, &task, &mut tried);
        let result = match options.timeout {
            None => worked.await,
            Some(limit) => tokio::time::timeout(limit, worked).await.unwrap_or_else(|_| Err(timed_out(limit))),
        };
        // An agent whose changes cannot be kept has not done its work, whatever it answered.
        let kept = match &tried.reused {
            Some(origin) => self.keep_changes_again(&agent, origin),
            None => self.keep_changes(&agent, result.is_ok()),
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
            planned,
            lane: Lane::Agents,
            failure: failure.map(|failure| AgentFailure { agent: id, label, failure }),
            out_of_budget,
        }
    }

    /// A plan gives the script what is known, and nothing else.
    fn told_unless_planned(&self, completion: Completion, planned: &Planned) -> Option<Completion> {
        (!self.planning || planned.reused.is_some()).then_some(completion)
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
            self.keep_changes(agent, false)?;
            tokio::time::sleep(backoff).await;
            backoff *= 2;
        }
    }

    async fn run_tool(self: Arc<Self>, job: ToolJob) -> Ended {
        let label = job.call.tool.to_string();
        let outcome = self.dispatcher.dispatch(&self.who, job.call).await;
        let planned = Planned { label, agent_type: None, reused: outcome.reused.clone() };
        let result = outcome.into_result();
        let unrecorded = unrecorded(result.as_ref().err());
        let out_of_budget = result.as_ref().err().is_some_and(is_out_of_budget);
        let completion = Completion { id: job.request, settlement: result.map_err(|failure| thrown(&failure)) };
        let completion = self.told_unless_planned(completion, &planned);
        Ended { completion, planned, lane: Lane::Tools, failure: None, unrecorded, out_of_budget }
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
            let _ = self.ground.keep_changes(self.agent, false);
        }
        if !self.closed {
            self.close(Some(Failure::Cancelled));
        }
    }
}

/// All jobs of one run.
pub(crate) struct Jobs {
    ground: Arc<Ground>,
    running: JoinSet<Ended>,
    agents: Queue<AgentJob>,
    tools: Queue<ToolJob>,
}

/// What waits, in the order of its priority and within one in the order in which it came.
struct Queue<J> {
    waiting: [VecDeque<J>; 3],
    running: usize,
    at_once: usize,
}

impl<J> Queue<J> {
    fn new(at_once: usize) -> Self {
        Self { waiting: Default::default(), running: 0, at_once: at_once.max(1) }
    }

    fn add(&mut self, job: J, priority: Priority) {
        self.waiting[priority as usize].push_back(job);
    }

    fn drain(&mut self) -> impl Iterator<Item = J> {
        self.waiting.iter_mut().rev().flat_map(|waiting| waiting.drain(..))
    }

    fn next(&mut self) -> Option<J> {
        if self.running >= self.at_once {
            return None;
        }
        let job = self.waiting.iter_mut().rev().find_map(VecDeque::pop_front)?;
        self.running += 1;
        Some(job)
    }
}

impl Jobs {
    pub(crate) fn new(ground: Arc<Ground>, agents_at_once: usize, tools_at_once: usize) -> Self {
        let (agents, tools) = (Queue::new(agents_at_once), Queue::new(tools_at_once));
        Self { ground, running: JoinSet::new(), agents, tools }
    }

    pub(crate) fn add_agent(&mut self, job: AgentJob) {
        self.ground.watch.see(Progress::AgentQueued);
        let priority = job.options.priority;
        self.agents.add(job, priority);
    }

    pub(crate) fn add_tool(&mut self, job: ToolJob) {
        self.tools.add(job, Priority::Normal);
    }

    /// Start whatever has room.
    pub(crate) fn start(&mut self) {
        while let Some(job) = self.agents.next() {
            self.running.spawn(Arc::clone(&self.ground).run_agent(job));
        }
        while let Some(job) = self.tools.next() {
            self.running.spawn(Arc::clone(&self.ground).run_tool(job));
        }
    }

    /// Give up what has not started: the script sees `null` for agents and an exception for tools.
    pub(crate) fn abandon_waiting(&mut self) -> Vec<Completion> {
        let given_up = |job: AgentJob| {
            let null = if job.status {
                told(&Err(Failure::Cancelled), job.agent.agent(), &Tried::default())
            } else {
                Json::null()
            };
            Completion { id: job.request, settlement: Ok(null) }
        };
        let agents = self.agents.drain().map(given_up);
        let stopped = || Err(reject("cancelled", "the run is being stopped"));
        let tools = self.tools.drain().map(|job| Completion { id: job.request, settlement: stopped() });
        agents.chain(tools).collect()
    }

    /// End every cell. Their calls are recorded as cancelled.
    pub(crate) async fn end_all(&mut self) {
        self.running.shutdown().await;
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.running.is_empty()
    }

    /// Wait until at least one job has ended, and take all that have. `None` when nothing runs.
    pub(crate) async fn ended(&mut self) -> Option<Result<Vec<Ended>, String>> {
        let first = self.running.join_next().await?;
        let mut ended = Vec::new();
        let mut next = Some(first);
        while let Some(joined) = next {
            match joined {
                Ok(job) => {
                    match job.lane {
                        Lane::Agents => self.agents.running -= 1,
                        Lane::Tools => self.tools.running -= 1,
                    }
                    ended.push(job);
                }
                Err(error) => return Some(Err(format!("a task of the host died: {error}"))),
            }
            next = self.running.try_join_next();
        }
        Some(Ok(ended))
    }
}

fn unrecorded(failure: Option<&Failure>) -> Option<String> {
    match failure {
        Some(Failure::Unrecorded(why)) => Some(why.clone()),
        _ => None,
    }
}

fn refused(refusal: SpawnRefused) -> Rejection {
    let failure = match refusal {
        SpawnRefused::Denied(denial) => Failure::Denied(denial),
        SpawnRefused::Limit(hit) => Failure::Limit(hit),
    };
    thrown(&failure)
}

/// The exception that tells a script of a failure.
fn thrown(failure: &Failure) -> Rejection {
    let detail = Json::of(failure).unwrap_or_else(|_| Json::null());
    let code = if is_out_of_budget(failure) { "over-budget" } else { failure.cause() };
    Rejection { code: code.to_owned(), message: failure.to_string(), detail }
}

/// How an agent's work went.
#[derive(Default)]
struct Tried {
    attempts: u32,
    usage: Usage,
    /// The finished call whose answer the last attempt was given.
    reused: Option<Origin>,
}

fn told(result: &Result<Json, Failure>, agent: AgentId, tried: &Tried) -> Json {
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
    let spent = ["run-tokens", "run-input-tokens", "run-output-tokens", "run-usd-micros", "run-tool-calls"];
    matches!(failure, Failure::Limit(hit) if spent.contains(&hit.quota.as_str()))
}

/// Whether running the same again can end otherwise. What was refused, or was more than a pool holds, is so again.
fn may_end_otherwise(failure: &Failure) -> bool {
    match failure {
        Failure::Failed(_) | Failure::Trapped(_) | Failure::Host(_) | Failure::NotFound(_) => true,
        Failure::Limit(hit) => !hit.quota.starts_with("run-") && !hit.quota.starts_with("agent-"),
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
