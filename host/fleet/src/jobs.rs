//! The work a script has asked for: what waits, what runs, and one task for each. First in, first out within a lane; agents
//! and tools have lanes of their own, so that neither can starve the other.

use crate::options::{AgentOptions, invalid, reject};
use crate::watch::{Progress, Watch};
use serde::Serialize;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::task::JoinSet;
use vespiary_kernel::call::{Failure, Keep, ToolCall};
use vespiary_kernel::dispatch::Dispatcher;
use vespiary_kernel::event::Event;
use vespiary_kernel::ids::{AgentId, ToolName};
use vespiary_kernel::json::Json;
use vespiary_kernel::plugin::Kind;
use vespiary_kernel::principal::{Principal, SpawnRefused};
use vespiary_kernel::quota::LimitHit;
use vespiary_kernel::script::{Completion, Rejection};

/// What every job of a run needs.
pub(crate) struct Ground {
    pub(crate) dispatcher: Arc<Dispatcher>,
    pub(crate) who: Principal,
    pub(crate) watch: Arc<dyn Watch>,
}

/// One agent, accepted and not yet started.
pub(crate) struct AgentJob {
    request: u64,
    agent: Principal,
    options: AgentOptions,
    task: Json,
}

/// One tool call, accepted and not yet started.
pub(crate) struct ToolJob {
    request: u64,
    call: ToolCall,
}

/// A job that ended, with what the script is told and what the run counts.
pub(crate) struct Ended {
    pub(crate) completion: Completion,
    pub(crate) lane: Lane,
    pub(crate) failure: Option<AgentFailure>,
    /// Why nothing can be recorded any more, when that is what ended the job.
    pub(crate) unrecorded: Option<String>,
}

/// Which lane a job runs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    Agents,
    Tools,
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
}

impl Ground {
    /// Check an agent request and count it against the run. The error is thrown in the script.
    pub(crate) fn accept_agent(&self, request: u64, prompt: &str, options: &Json) -> Result<AgentJob, Rejection> {
        let mut options = AgentOptions::parse(options)?;
        let entry = ToolName::of_agent(&options.agent_type);
        let catalog = self.dispatcher.catalog();
        if catalog.find(&entry).is_none_or(|plugin| plugin.kind != Kind::Agent) {
            let known = catalog.names().join(", ");
            let message =
                format!("there is no agent type {:?}; the plugins here are {known}", options.agent_type.as_str());
            return Err(reject("not-found", message));
        }
        let agent = self.who.spawn(Some(&options.wanted(self.who.grant())?)).map_err(refused)?;
        if options.label.is_empty() {
            options.label = format!("{} {}", options.agent_type, agent.agent());
        }
        let schema = options.schema.as_ref().map(|(text, _)| text);
        let task = Json::of(&Task { prompt, context: &options.context, schema }).map_err(|e| invalid(e.to_string()))?;
        Ok(AgentJob { request, agent, options, task })
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
        let AgentJob { request, agent, options, task } = job;
        let id = agent.agent();
        // Made before the call, so that the call's own end is recorded first when both are dropped.
        let mut open = OpenAgent { ground: &self, agent: id, closed: false };
        self.record(Event::AgentStarted {
            agent: id,
            parent: self.who.agent(),
            label: options.label.clone(),
            phase: options.phase.clone(),
            agent_type: options.agent_type.to_string(),
            grant: agent.grant().clone(),
        });
        self.watch.see(Progress::AgentStarted { agent: id, label: &options.label });
        let call = ToolCall { tool: ToolName::of_agent(&options.agent_type), arguments: task, keep: Keep::Value };
        let dispatched = self.dispatcher.dispatch(&agent, call);
        let result = match options.timeout {
            None => dispatched.await.into_result(),
            Some(limit) => match tokio::time::timeout(limit, dispatched).await {
                Ok(outcome) => outcome.into_result(),
                Err(_) => Err(timed_out(limit)),
            },
        };
        let result = result.and_then(|answer| fits(answer, &options));
        let failure = result.as_ref().err().cloned();
        open.close(failure.clone());
        drop(open);
        self.watch.see(Progress::AgentEnded { agent: id, label: &options.label, failure: failure.as_ref() });
        let unrecorded = unrecorded(failure.as_ref());
        Ended {
            unrecorded,
            completion: Completion { id: request, settlement: Ok(result.unwrap_or_else(|_| Json::null())) },
            lane: Lane::Agents,
            failure: failure.map(|failure| AgentFailure { agent: id, label: options.label, failure }),
        }
    }

    async fn run_tool(self: Arc<Self>, job: ToolJob) -> Ended {
        let result = self.dispatcher.dispatch(&self.who, job.call).await.into_result();
        let unrecorded = unrecorded(result.as_ref().err());
        let settlement = result.map_err(|failure| Rejection {
            code: failure.cause().to_owned(),
            message: failure.to_string(),
            detail: Json::of(&failure).unwrap_or_else(|_| Json::null()),
        });
        Ended { completion: Completion { id: job.request, settlement }, lane: Lane::Tools, failure: None, unrecorded }
    }

    /// Note a fact that is not a call. A failing ledger refuses the next call, so the run cannot go on unrecorded.
    pub(crate) fn record(&self, event: Event) {
        let _ = self.dispatcher.log().append(self.who.run().id(), event);
    }
}

/// An agent that has been recorded as started and must be recorded as ended, also when its task is dropped.
struct OpenAgent<'a> {
    ground: &'a Ground,
    agent: AgentId,
    closed: bool,
}

impl OpenAgent<'_> {
    fn close(&mut self, failure: Option<Failure>) {
        self.closed = true;
        self.ground.record(Event::AgentEnded { agent: self.agent, failure });
    }
}

impl Drop for OpenAgent<'_> {
    fn drop(&mut self) {
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

struct Queue<J> {
    waiting: VecDeque<J>,
    running: usize,
    at_once: usize,
}

impl<J> Queue<J> {
    fn new(at_once: usize) -> Self {
        Self { waiting: VecDeque::new(), running: 0, at_once: at_once.max(1) }
    }

    fn next(&mut self) -> Option<J> {
        if self.running >= self.at_once {
            return None;
        }
        let job = self.waiting.pop_front()?;
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
        self.agents.waiting.push_back(job);
    }

    pub(crate) fn add_tool(&mut self, job: ToolJob) {
        self.tools.waiting.push_back(job);
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
        let agents =
            self.agents.waiting.drain(..).map(|job| Completion { id: job.request, settlement: Ok(Json::null()) });
        let stopped = || Err(reject("cancelled", "the run is being stopped"));
        let tools = self.tools.waiting.drain(..).map(|job| Completion { id: job.request, settlement: stopped() });
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
    let detail = Json::of(&failure).unwrap_or_else(|_| Json::null());
    Rejection { code: failure.cause().to_owned(), message: failure.to_string(), detail }
}

fn timed_out(limit: std::time::Duration) -> Failure {
    let ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
    Failure::Limit(LimitHit { quota: "agent-time-ms".into(), limit: ms, used: ms })
}

/// Whether an answer satisfies the schema the script gave.
fn fits(answer: Json, options: &AgentOptions) -> Result<Json, Failure> {
    let Some((_, schema)) = &options.schema else { return Ok(answer) };
    let value = answer.read().map_err(|e| Failure::Failed(e.to_string()))?;
    match schema.validate(&value) {
        Ok(()) => Ok(answer),
        Err(error) => Err(Failure::Failed(format!(
            "the answer does not satisfy the schema at {:?}: {error}",
            error.instance_path().to_string()
        ))),
    }
}
