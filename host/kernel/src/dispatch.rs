//! The only door from a `ToolCall` to an `Outcome`: record, find, judge, lease, admit, run, record. Whoever can call a tool
//! holds a `Dispatcher` and a `Principal`; there is no other way, for people, scripts or agents.

use crate::admit::Admitted;
use crate::call::{Ending, Failure, Keep, Outcome, ToolCall, Usage};
use crate::capability::Capability;
use crate::event::{Event, Payload};
use crate::grant::Grant;
use crate::ids::{CallId, Digest, PluginName, ToolName};
use crate::json::Json;
use crate::plugin::{Kind, Plugin};
use crate::policy::{Denial, Policy, Verdict};
use crate::ports::{Approver, Catalog, Log, Runner, ScriptCell};
use crate::principal::Principal;
use crate::quota::{Berth, Lease, Meter, Pool};
use crate::script::{Completion, ScriptError, Turn};
use futures_util::StreamExt;
use std::fmt;
use std::sync::Arc;

/// How many of one agent's requests are under way at once. More would not be faster: its tools share one task.
const NESTED_AT_ONCE: usize = 8;

/// Requests an agent plugin may hand over in one `dispatch.call`, as `wit/` promises.
const NESTED_BATCH_MAX: usize = 1_024;

/// The door.
pub struct Dispatcher {
    log: Arc<dyn Log>,
    catalog: Arc<dyn Catalog>,
    policy: Policy,
    pool: Pool,
    runner: Arc<dyn Runner>,
    approver: Arc<dyn Approver>,
}

impl fmt::Debug for Dispatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dispatcher").field("policy", &self.policy).finish_non_exhaustive()
    }
}

impl Dispatcher {
    /// A door in front of `runner`.
    pub fn new(
        log: Arc<dyn Log>,
        catalog: Arc<dyn Catalog>,
        policy: Policy,
        pool: Pool,
        runner: Arc<dyn Runner>,
        approver: Arc<dyn Approver>,
    ) -> Arc<Self> {
        Arc::new(Self { log, catalog, policy, pool, runner, approver })
    }

    /// What can be called.
    pub fn catalog(&self) -> &Arc<dyn Catalog> {
        &self.catalog
    }

    /// The record; for events that are not calls.
    pub fn log(&self) -> &Arc<dyn Log> {
        &self.log
    }

    /// Take one call through the door. Every end is an outcome, and every outcome is recorded; dropping the future ends the
    /// cell and records the call as cancelled.
    pub async fn dispatch(self: &Arc<Self>, who: &Principal, call: ToolCall) -> Outcome {
        let keep = call.keep;
        let mut open = match self.open(who, &call) {
            Ok(open) => open,
            Err(failure) => return Outcome::refused(failure),
        };
        let outcome = match self.admit(who, &mut open, &call, Want::Call).await {
            Ok(admitted) => self.runner.run(admitted).await,
            Err(failure) => Outcome::refused(failure),
        };
        open.close(outcome, keep)
    }

    /// Open the engine plugin `engine` as a session of its own: one recorded call that lasts until the session is closed.
    pub async fn open_session(self: &Arc<Self>, who: &Principal, engine: &PluginName) -> Result<Session, Outcome> {
        let call = ToolCall { tool: ToolName::of_agent(engine), arguments: Json::null(), keep: Keep::Digest };
        let mut open = self.open(who, &call).map_err(Outcome::refused)?;
        let opened = match self.admit(who, &mut open, &call, Want::Session).await {
            Ok(admitted) => self.runner.open_script(admitted).await,
            Err(failure) => Err(Outcome::refused(failure)),
        };
        match opened {
            Ok(cell) => Ok(Session { cell, open }),
            Err(outcome) => Err(open.close(outcome, Keep::Digest)),
        }
    }

    /// Step 1: a record, or nothing happens.
    fn open(&self, who: &Principal, call: &ToolCall) -> Result<OpenCall, Failure> {
        let id = who.next_call().map_err(Failure::Limit)?;
        let intent = Event::CallIntended {
            call: id,
            agent: who.agent(),
            tool: call.tool.clone(),
            arguments: Payload::Value(call.arguments.clone()),
        };
        self.log.append(who.run().id(), intent).map_err(|e| Failure::Unrecorded(e.to_string()))?;
        Ok(OpenCall { log: Arc::clone(&self.log), who: who.clone(), call: id, decided: None, closed: false })
    }

    /// Steps 2 to 5.
    async fn admit(
        self: &Arc<Self>,
        who: &Principal,
        open: &mut OpenCall,
        call: &ToolCall,
        want: Want,
    ) -> Result<Admitted, Failure> {
        let plugin = self.catalog.find(&call.tool).ok_or_else(|| self.unknown(&call.tool))?;
        if (plugin.kind == Kind::Engine) != (want == Want::Session) {
            return Err(Failure::NotFound(format!(
                "{} is not a tool: {} runs workflow scripts",
                call.tool, plugin.name
            )));
        }
        if plugin.kind == Kind::Agent && call.tool.local() != ToolName::AGENT_ENTRY {
            return Err(Failure::NotFound(format!(
                "{} is an agent; its only tool is {}.run",
                plugin.name, plugin.name
            )));
        }
        if plugin.kind == Kind::Agent && who.is_inside() {
            let hint = "an agent cannot start agents; have the script start them".into();
            return Err(Failure::Denied(Denial { hint, ..Denial::missing(&Capability::Spawn(1), who.grant()) }));
        }
        let scope = self.judge(who, &call.tool, &plugin).await?;
        open.decided = Some((plugin.digest, scope.clone()));
        if scope.has_effects() {
            let admitted = Event::CallAdmitted { call: open.call, component: plugin.digest, scope: scope.clone() };
            self.log.append(who.run().id(), admitted).map_err(|e| Failure::Unrecorded(e.to_string()))?;
            self.log.flushed().await.map_err(|e| Failure::Unrecorded(e.to_string()))?;
        }
        let (berth, nested) = match plugin.kind {
            Kind::Tools => (Berth::Tool, None),
            Kind::Engine => (Berth::Script, None),
            Kind::Agent => (Berth::Agent, Some(Nested::new(self, who.within(scope.clone()), &plugin))),
        };
        let lease = self.pool.lease(berth).await;
        let root = who.run().root();
        Ok(Admitted::seal(open.call, plugin, call.tool.local(), call.arguments.clone(), scope, root, lease, nested))
    }

    async fn judge(&self, who: &Principal, tool: &ToolName, plugin: &Plugin) -> Result<Grant, Failure> {
        // The engine is how a script runs at all; it holds nothing, so there is nothing to judge.
        if plugin.kind == Kind::Engine {
            return Ok(Grant::none());
        }
        match self.policy.judge(tool, who.grant(), plugin) {
            Verdict::Allow(scope) => Ok(scope),
            Verdict::Deny(denial) => Err(Failure::Denied(denial)),
            Verdict::Ask(question, scope) => {
                if self.approver.ask(who.run().id(), &question).await {
                    return Ok(scope);
                }
                Err(Failure::Denied(Denial {
                    needed: match question.scope.iter().next() {
                        Some(_) => format!("a person's yes to {tool} with {}", question.scope),
                        None => format!("a person's yes to {tool}"),
                    },
                    held: who.grant().to_string(),
                    hint: "answer yes at a terminal, or run without the rule".into(),
                    rule: Some(format!("ask {}", question.rule)),
                }))
            }
        }
    }

    fn unknown(&self, tool: &ToolName) -> Failure {
        let names = self.catalog.names().join(", ");
        Failure::NotFound(format!("no plugin named {:?} for {tool}; there are {names}", tool.plugin()))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Want {
    Call,
    Session,
}

/// A call that has been recorded as intended and must be recorded as ended, also when its future is dropped half-way.
struct OpenCall {
    log: Arc<dyn Log>,
    who: Principal,
    call: CallId,
    decided: Option<(Digest, Grant)>,
    closed: bool,
}

impl OpenCall {
    fn close(mut self, mut outcome: Outcome, keep: Keep) -> Outcome {
        outcome.call = Some(self.call);
        if let Err(error) = self.record(&outcome, keep) {
            // What ran cannot be unrun, but a result that is not recorded is not handed on as one that is.
            outcome.ending = Ending::Failed(Failure::Unrecorded(error.to_string()));
        }
        outcome
    }

    fn record(&mut self, outcome: &Outcome, keep: Keep) -> Result<(), crate::ports::LogError> {
        self.closed = true;
        let (component, scope) = self.decided.take().unzip();
        let (value, failure) = match &outcome.ending {
            Ending::Done(value) => (Some(payload(value, keep)), None),
            Ending::Failed(failure) => (None, Some(failure.clone())),
        };
        let artifacts = outcome.artifacts.clone();
        let ended =
            Event::CallEnded { call: self.call, component, scope, value, failure, usage: outcome.usage, artifacts };
        self.log.append(self.who.run().id(), ended)
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        if !self.closed {
            // Nobody is left to hear of a failing ledger here; it has refused everything since, so nothing else runs either.
            let _ = self.record(&Outcome::refused(Failure::Cancelled), Keep::Digest);
        }
    }
}

fn payload(value: &Json, keep: Keep) -> Payload {
    match keep {
        Keep::Value => Payload::Value(value.clone()),
        Keep::Digest => Payload::Digest { digest: Digest::of(value.as_str().as_bytes()), bytes: value.len_bytes() },
    }
}

/// An agent plugin's way to the door: its own grant, and a count of its calls.
pub struct Nested {
    dispatcher: Arc<Dispatcher>,
    who: Principal,
    calls: Meter,
}

impl fmt::Debug for Nested {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nested").field("who", &self.who).field("calls", &self.calls).finish_non_exhaustive()
    }
}

impl Nested {
    fn new(dispatcher: &Arc<Dispatcher>, who: Principal, plugin: &Plugin) -> Self {
        let calls = Meter::new("tool-calls", plugin.quota.tool_calls_max);
        Self { dispatcher: Arc::clone(dispatcher), who, calls }
    }

    /// Calls made so far.
    pub fn calls(&self) -> u64 {
        self.calls.used()
    }

    /// Dispatch `requests`, each as a call of its own, and answer in their order. The agent's place to run is given back
    /// while it waits. Names and arguments come from a guest, as text.
    pub async fn call(&self, lease: &mut Lease, requests: Vec<(String, String)>) -> Vec<Outcome> {
        if requests.len() > NESTED_BATCH_MAX {
            let why = format!("{} requests in one call; at most {NESTED_BATCH_MAX} are allowed", requests.len());
            return requests.iter().map(|_| Outcome::refused(Failure::InvalidArguments(why.clone()))).collect();
        }
        lease.park();
        let outcomes = futures_util::stream::iter(requests)
            .map(|(tool, arguments)| self.one(tool, arguments))
            .buffered(NESTED_AT_ONCE)
            .collect()
            .await;
        lease.resume().await;
        outcomes
    }

    async fn one(&self, tool: String, arguments: String) -> Outcome {
        if let Err(hit) = self.calls.take(1) {
            return Outcome::refused(Failure::Limit(hit));
        }
        let invalid = |why: String| Outcome::refused(Failure::InvalidArguments(why));
        let tool = match tool.parse() {
            Ok(tool) => tool,
            Err(error) => return invalid(format!("{error}")),
        };
        let arguments = match Json::parse(arguments) {
            Ok(arguments) => arguments,
            Err(error) => return invalid(format!("the arguments of {tool} are {error}")),
        };
        // An agent that is run again asks again: keeping every file it read would double the tree in the ledger.
        let call = ToolCall { tool, arguments, keep: Keep::Digest };
        // An agent could reach itself through the door; the box ends the type's recursion, `admit` ends the agent's.
        Box::pin(self.dispatcher.dispatch(&self.who, call)).await
    }
}

/// An open script engine: one recorded call with many turns.
pub struct Session {
    cell: Box<dyn ScriptCell>,
    open: OpenCall,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("call", &self.open.call).finish_non_exhaustive()
    }
}

impl Session {
    /// Read `meta` and check the syntax, running nothing.
    pub async fn check(&mut self, source: &str) -> Result<Result<Json, ScriptError>, Failure> {
        self.cell.check(source).await.map_err(cause)
    }

    /// Run the script until it waits or ends.
    pub async fn start(&mut self, source: &str, args: &Json) -> Result<Turn, Failure> {
        self.cell.start(source, args).await.map_err(cause)
    }

    /// Hand in answers and run on.
    pub async fn step(&mut self, completions: Vec<Completion>) -> Result<Turn, Failure> {
        self.cell.step(completions).await.map_err(cause)
    }

    /// Record the session's end. The value itself belongs to the run, so only its digest is kept here.
    pub fn close(self, ending: Ending) -> Outcome {
        let usage: Usage = self.cell.usage();
        let outcome = Outcome { call: None, ending, usage, artifacts: Vec::new(), log: Vec::new() };
        drop(self.cell);
        self.open.close(outcome, Keep::Digest)
    }
}

fn cause(outcome: Outcome) -> Failure {
    match outcome.ending {
        Ending::Failed(failure) => failure,
        Ending::Done(_) => Failure::Host("the engine's cell ended without a cause".into()),
    }
}
