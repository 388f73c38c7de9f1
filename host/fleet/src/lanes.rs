//! The jobs of one script: what waits, what runs, and one task for each. First in, first out within a lane; agents, tools and called
//! workflows have lanes of their own, so that none can starve another. All scripts of a run share the lanes' width.

use crate::activity::Token;
use crate::deps::{Held, Labels, Standing};
use crate::gates::Asked;
use crate::jobs::{AgentJob, Ended, Ground, ToolJob, Tried, told};
use crate::nested::WorkflowJob;
use crate::options::{AgentOptions, Priority, reject};
use crate::session::Depth;
use crate::watch::Progress;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinError, JoinSet};
use vespiary_kernel::call::Failure;
use vespiary_kernel::json::Json;
use vespiary_kernel::script::{Completion, Rejection};

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
        let written = options.len_bytes();
        let options = AgentOptions::parse(options, &self.ground.shapes)?;
        let (named, deps) = (options.named.clone(), options.deps.clone());
        self.labels.check(&named, &deps)?;
        match self.ground.accept_agent(request, prompt, options, written, status) {
            Ok(job) => {
                self.labels.ask(&named, &deps);
                self.ground.watch.see(Progress::AgentQueued);
                self.place_with_dependents(job);
                Ok(())
            }
            Err(rejection) => {
                // Whoever waits for it must hear that it will not come.
                let (failure, waited) = (Failure::Failed(rejection.message.clone()), self.held.waits_for(&named));
                self.labels.refuse(&named, &failure, waited);
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

    /// Take a request for a gate. Gives the decision where there is one already, or says what the script's `gate()` throws.
    pub(crate) fn ask_gate(&mut self, request: u64, options: &Json) -> Result<Option<Json>, Rejection> {
        match self.ground.accept_gate(request, options)? {
            Asked::Decided(decision) => return Ok(Some(decision)),
            Asked::Program(call, checked, weight) => {
                self.add_tool(ToolJob { request, call, gate: Some(checked), weight });
            }
            Asked::Person(job) => {
                let token = self.ground.activity.begin();
                self.running.spawn(Arc::clone(&self.ground).run_gate(job, token));
            }
        }
        Ok(None)
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
        let token = self.ground.activity.begin();
        self.running.spawn(within(slot, token, Arc::clone(&self.ground).run_agent(job)));
    }

    fn start_tool(&mut self, job: ToolJob, slot: OwnedSemaphorePermit) {
        let token = self.ground.activity.begin();
        self.running.spawn(within(slot, token, Arc::clone(&self.ground).run_tool(job)));
    }

    fn start_workflow(&mut self, job: WorkflowJob, slot: OwnedSemaphorePermit) {
        let (over, ground, token) = (self.over.subscribe(), Arc::clone(&self.ground), self.ground.activity.begin());
        self.called.spawn(async move {
            let ended = ground.run_workflow(job, over, token).await;
            drop(slot);
            ended
        });
    }

    /// The budget has refused somebody: what is left of it is for others than agents of low priority that have not started.
    pub(crate) fn prune(&mut self) {
        for job in std::mem::take(&mut self.agents.0[Priority::Low as usize]) {
            let why = "not started: its priority is low, and the run's budget is all but spent";
            let failure = Failure::Failed(why.into());
            self.labels.release(&job.named, &job.options.deps);
            self.labels.end(&job.named, Some(&failure));
            let ended = self.ground.end_unstarted(job, failure);
            let named = ended.named.clone();
            self.broken.push(ended);
            self.settle(&named);
        }
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

    /// Whether agents or tools wait for room.
    pub(crate) fn waits_for_room(&self) -> bool {
        !self.agents.is_empty() || !self.tools.is_empty()
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

/// Run a job in its slot, which is free again when the job has ended; its token is not, until the script has heard of it.
async fn within(slot: OwnedSemaphorePermit, token: Option<Token>, job: impl Future<Output = Ended>) -> Ended {
    let ended = job.await;
    drop(slot);
    Ended { _token: token, ..ended }
}

fn died(error: JoinError) -> String {
    format!("a task of the host died: {error}")
}
