//! The work a script has asked for: what waits, what runs, and one task for each. First in, first out within a lane; agents,
//! tools and called workflows have lanes of their own, so that none can starve another. All scripts of a run share the lanes'
//! width.

use crate::changes::Gathered;
use crate::deps::{Held, Labels, Standing};
use crate::drive::Settings;
use crate::library::Library;
use crate::nested::WorkflowJob;
use crate::options::{AgentOptions, Brain, Priority, invalid, reject};
use crate::session::Depth;
use crate::shape::Shape;
use crate::stop::{Stop, Urgency};
use crate::tally::Tally;
use crate::watch::{Progress, Watch};
use serde::Serialize;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinError, JoinSet};
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
    /// Where called workflows are; none where there are none.
    pub(crate) library: Option<Arc<dyn Library>>,
    /// Who keeps what isolated agents write; none where nobody does.
    pub(crate) worktrees: Option<Arc<dyn Worktrees>>,
    pub(crate) gathered: Mutex<Gathered>,
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
    agents: Arc<Semaphore>,
    tools: Arc<Semaphore>,
    workflows: Arc<Semaphore>,
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
    request: u64,
    agent: Principal,
    /// The label the script gave, by which others may wait for it; empty where it gave none.
    named: String,
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
    /// What a plan says of it; none of a workflow, whose own jobs it tells.
    pub(crate) planned: Option<Planned>,
    pub(crate) failure: Option<AgentFailure>,
    /// The label that the script gave the agent that ended; empty where it gave none, and for other jobs.
    pub(crate) named: String,
    /// Why nothing can be recorded any more, when that is what ended the job.
    pub(crate) unrecorded: Option<String>,
    /// Whether it ended because the run may spend no more.
    pub(crate) out_of_budget: bool,
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
        mut options: AgentOptions,
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
        let agent = {
            let wanted = options.wanted(self.who.grant())?;
            self.dispatcher
                .spawn_within(&self.who, Some(&wanted), options.isolation, &options.spending)
                .map_err(refused)?
        };
        let named = options.label.clone();
        if options.label.is_empty() {
            options.label = format!("{} {}", options.kind(), agent.agent());
        }
        let schema = options.schema.as_ref().map(Shape::text);
        let effort = options.effort.as_deref().filter(|_| model.is_some());
        let task = Task { prompt, context: &options.context, schema, model, effort };
        let task = Json::of(&task).map_err(|e| invalid(e.to_string()))?;
        Ok(AgentJob { request, agent, named, options, task, status })
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
        let AgentJob { request, agent, named, options, task, status } = job;
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
            planned: Some(planned),
            named,
            failure: failure.map(|failure| AgentFailure { agent: id, label, failure }),
            out_of_budget,
        }
    }

    /// A plan gives the script what is known, and nothing else.
    fn told_unless_planned(&self, completion: Completion, planned: &Planned) -> Option<Completion> {
        (!self.planning || planned.reused.is_some()).then_some(completion)
    }

    /// End an agent that never starts, because of what it depends on.
    fn end_unstarted(&self, job: AgentJob, failure: Failure) -> Ended {
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
        Ended { completion, planned: Some(planned), named: String::new(), failure: None, unrecorded, out_of_budget }
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

/// All jobs of one script.
pub(crate) struct Jobs {
    ground: Arc<Ground>,
    depth: Depth,
    running: JoinSet<Ended>,
    /// Scripts are not torn down like other jobs: they end what is theirs first.
    called: JoinSet<Ended>,
    over: watch::Sender<bool>,
    agents: Queue<AgentJob>,
    tools: Queue<ToolJob>,
    workflows: Queue<WorkflowJob>,
    labels: Labels,
    /// Agents that wait for others.
    held: Held<AgentJob>,
    /// Agents that will never start, for the loop to hear of.
    broken: Vec<Ended>,
}

/// What waits, in the order of its priority and within one in the order in which it came.
struct Queue<J>([VecDeque<J>; 3]);

impl<J> Queue<J> {
    fn new() -> Self {
        Self(Default::default())
    }

    fn add(&mut self, job: J, priority: Priority) {
        self.0[priority as usize].push_back(job);
    }

    fn drain(&mut self) -> impl Iterator<Item = J> {
        self.0.iter_mut().rev().flat_map(|waiting| waiting.drain(..))
    }

    fn next(&mut self) -> Option<J> {
        self.0.iter_mut().rev().find_map(VecDeque::pop_front)
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(VecDeque::is_empty)
    }

    /// What is next, with a slot for it, if there is one at once.
    fn ready(&mut self, slots: &Arc<Semaphore>) -> Option<(J, OwnedSemaphorePermit)> {
        if self.is_empty() {
            return None;
        }
        let slot = Arc::clone(slots).try_acquire_owned().ok()?;
        self.next().map(|job| (job, slot))
    }
}

impl Jobs {
    pub(crate) fn new(ground: Arc<Ground>, depth: Depth) -> Self {
        Self {
            ground,
            depth,
            running: JoinSet::new(),
            called: JoinSet::new(),
            over: watch::Sender::new(false),
            agents: Queue::new(),
            tools: Queue::new(),
            workflows: Queue::new(),
            labels: Labels::default(),
            held: Held::default(),
            broken: Vec::new(),
        }
    }

    /// Where the script stands whose jobs these are.
    pub(crate) fn depth(&self) -> Depth {
        self.depth
    }

    /// Take an agent request, or say what the script's `agent()` throws.
    pub(crate) fn ask_agent(
        &mut self,
        request: u64,
        prompt: &str,
        options: &Json,
        status: bool,
    ) -> Result<(), Rejection> {
        let options = AgentOptions::parse(options)?;
        let (named, deps) = (options.label.clone(), options.deps.clone());
        self.labels.check(&named, &deps)?;
        self.labels.ask(&named, &deps);
        match self.ground.accept_agent(request, prompt, options, status) {
            Ok(job) => {
                self.ground.watch.see(Progress::AgentQueued);
                self.place_with_dependents(job);
                Ok(())
            }
            Err(rejection) => {
                // Whoever waits for it must hear that it will not come.
                self.labels.release(&named, &deps);
                self.labels.end(&named, Some(&Failure::Failed(rejection.message.clone())));
                self.settle(&named);
                Err(rejection)
            }
        }
    }

    fn place_with_dependents(&mut self, job: AgentJob) {
        if let Some(ended) = self.place(job) {
            self.settle(&ended);
        }
    }

    /// Put an agent where it belongs: with those that may start, with those that wait for others, or with those that never
    /// will. Gives the label of one that thereby ended.
    fn place(&mut self, job: AgentJob) -> Option<String> {
        match self.labels.standing(&job.options.deps) {
            Standing::Ready => {
                let priority = job.options.priority;
                self.agents.add(job, priority);
                None
            }
            Standing::Waits(label) => {
                self.held.add(job, label);
                None
            }
            Standing::Broken(failure) => {
                self.labels.release(&job.named, &job.options.deps);
                self.labels.end_broken(&job.named, &job.options.deps);
                let ended = self.ground.end_unstarted(job, failure);
                let named = ended.named.clone();
                self.broken.push(ended);
                Some(named)
            }
        }
    }

    /// Something happened to the agents called `label`: those that waited for them are placed anew, and so on. A list of what
    /// is left to do, and no recursion: a script may put any number in a row.
    fn settle(&mut self, label: &str) {
        let mut left = vec![label.to_owned()];
        while let Some(label) = left.pop() {
            for job in self.held.take(&label) {
                left.extend(self.place(job));
            }
        }
    }

    pub(crate) fn add_tool(&mut self, job: ToolJob) {
        self.tools.add(job, Priority::Normal);
    }

    pub(crate) fn add_workflow(&mut self, job: WorkflowJob) {
        self.workflows.add(job, Priority::Normal);
    }

    /// Start whatever has room.
    pub(crate) fn start(&mut self) {
        while let Some((job, slot)) = self.agents.ready(&self.ground.slots.agents) {
            self.start_agent(job, slot);
        }
        while let Some((job, slot)) = self.tools.ready(&self.ground.slots.tools) {
            self.start_tool(job, slot);
        }
        while let Some((job, slot)) = self.workflows.ready(&self.ground.slots.workflows) {
            self.start_workflow(job, slot);
        }
    }

    fn start_agent(&mut self, job: AgentJob, slot: OwnedSemaphorePermit) {
        // Another with a label that it waits for may have been asked for while it was in the queue.
        if self.labels.standing(&job.options.deps) != Standing::Ready {
            drop(slot);
            return self.place_with_dependents(job);
        }
        self.labels.release(&job.named, &job.options.deps);
        self.running.spawn(within(slot, Arc::clone(&self.ground).run_agent(job)));
    }

    fn start_tool(&mut self, job: ToolJob, slot: OwnedSemaphorePermit) {
        self.running.spawn(within(slot, Arc::clone(&self.ground).run_tool(job)));
    }

    fn start_workflow(&mut self, job: WorkflowJob, slot: OwnedSemaphorePermit) {
        let over = self.over.subscribe();
        self.called.spawn(within(slot, Arc::clone(&self.ground).run_workflow(job, over)));
    }

    /// Give up what has not started: the script sees `null` for agents and an exception for tools and workflows.
    pub(crate) fn abandon_waiting(&mut self) -> Vec<Completion> {
        let given_up = |job: AgentJob| {
            let null = if job.status {
                told(&Err(Failure::Cancelled), job.agent.agent(), &Tried::default())
            } else {
                Json::null()
            };
            Completion { id: job.request, settlement: Ok(null) }
        };
        let stopped = |id| Completion { id, settlement: Err(reject("cancelled", "the run is being stopped")) };
        let agents: Vec<_> = self.agents.drain().chain(self.held.drain()).map(given_up).collect();
        let tools = self.tools.drain().map(|job| stopped(job.request));
        agents.into_iter().chain(tools).chain(self.workflows.drain().map(|job| stopped(job.request))).collect()
    }

    /// End every cell. Their calls are recorded as cancelled.
    pub(crate) async fn end_all(&mut self) {
        self.over.send_replace(true);
        self.running.shutdown().await;
        while self.called.join_next().await.is_some() {}
    }

    /// Labels that agents wait for although no agent has them.
    pub(crate) fn missing_labels(&self) -> Option<String> {
        self.held.missing(&self.labels)
    }

    /// Whether nothing is under way, and nothing waits for room. Agents that wait for others may be left.
    pub(crate) fn is_idle(&self) -> bool {
        let waiting = [self.agents.is_empty(), self.tools.is_empty(), self.workflows.is_empty()];
        self.broken.is_empty()
            && self.running.is_empty()
            && self.called.is_empty()
            && waiting.into_iter().all(|none| none)
    }

    /// Wait until at least one job has ended, and take all that have. Meanwhile, what waits for room that another script of the
    /// run has is started when there is some.
    pub(crate) async fn ended(&mut self) -> Result<Vec<Ended>, String> {
        if !self.broken.is_empty() {
            return Ok(std::mem::take(&mut self.broken));
        }
        let slots = &self.ground.slots;
        let (agents, tools, workflows) =
            (Arc::clone(&slots.agents), Arc::clone(&slots.tools), Arc::clone(&slots.workflows));
        let first = loop {
            tokio::select! {
                Some(joined) = self.running.join_next() => break joined,
                Some(joined) = self.called.join_next() => break joined,
                Ok(slot) = Arc::clone(&agents).acquire_owned(), if !self.agents.is_empty() => {
                    if let Some(job) = self.agents.next() {
                        self.start_agent(job, slot);
                    }
                }
                Ok(slot) = Arc::clone(&tools).acquire_owned(), if !self.tools.is_empty() => {
                    if let Some(job) = self.tools.next() {
                        self.start_tool(job, slot);
                    }
                }
                Ok(slot) = Arc::clone(&workflows).acquire_owned(), if !self.workflows.is_empty() => {
                    if let Some(job) = self.workflows.next() {
                        self.start_workflow(job, slot);
                    }
                }
                else => return Ok(Vec::new()),
            }
        };
        let mut ended = Vec::new();
        let mut next = Some(first);
        while let Some(joined) = next {
            let job = joined.map_err(died)?;
            if !job.named.is_empty() {
                self.labels.end(&job.named, job.failure.as_ref().map(|failed| &failed.failure));
                self.settle(&job.named);
            }
            ended.push(job);
            next = self.running.try_join_next().or_else(|| self.called.try_join_next());
        }
        ended.append(&mut self.broken);
        Ok(ended)
    }
}

/// Run a job in its slot, which is free again when the job has ended.
async fn within(slot: OwnedSemaphorePermit, job: impl Future<Output = Ended>) -> Ended {
    let ended = job.await;
    drop(slot);
    ended
}

fn died(error: JoinError) -> String {
    format!("a task of the host died: {error}")
}

pub(crate) fn unrecorded(failure: Option<&Failure>) -> Option<String> {
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
pub(crate) fn thrown(failure: &Failure) -> Rejection {
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
