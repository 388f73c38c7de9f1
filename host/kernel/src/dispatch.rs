//! The only door from a `ToolCall` to an `Outcome`: record, find, judge, recall, lease, admit, run, record. Whoever can call a tool
//! holds a `Dispatcher` and a `Principal`; there is no other way, for people, scripts or agents.

mod nested;
mod recall;

pub use nested::Nested;

use crate::account::{Account, Ceiling, Resource};
use crate::admit::{Admitted, Parts};
use crate::call::{Ending, Failure, Keep, Outcome, ToolCall, Usage};
use crate::capability::Capability;
use crate::event::{Event, Payload};
use crate::grant::Grant;
use crate::ids::{CallId, Digest, PluginName, RunId, ToolName};
use crate::json::Json;
use crate::mcp::McpArguments;
use crate::model::ModelArguments;
use crate::plugin::{Kind, Need, Plugin};
use crate::policy::{Case, Denial, Policy, Verdict};
use crate::pool::{Berth, Pool};
use crate::ports::{Approver, Asked, Catalog, Log, NoRecall, Recall, Runner, ScriptCell};
use crate::principal::{Isolation, Principal, RunLimits, SpawnRefused};
use crate::program::ProgramArguments;
use crate::reuse::{self, Past};
use crate::scope::Scope;
use crate::script::{Budget, Completion, ScriptError, Turn};
use recall::{Judged, rests_on};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// The door.
pub struct Dispatcher {
    log: Arc<dyn Log>,
    catalog: Arc<dyn Catalog>,
    policy: Policy,
    pool: Pool,
    runner: Arc<dyn Runner>,
    approver: Arc<dyn Approver>,
    recall: Arc<dyn Recall>,
}

impl fmt::Debug for Dispatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dispatcher").field("policy", &self.policy).finish_non_exhaustive()
    }
}

impl Dispatcher {
    /// A door in front of `runner`, behind which every call runs.
    pub fn new(
        log: Arc<dyn Log>,
        catalog: Arc<dyn Catalog>,
        policy: Policy,
        pool: Pool,
        runner: Arc<dyn Runner>,
        approver: Arc<dyn Approver>,
    ) -> Arc<Self> {
        Self::recalling(log, catalog, policy, pool, runner, approver, Arc::new(NoRecall))
    }

    /// The same, where a call that `recall` knows to be finished need not run again.
    pub fn recalling(
        log: Arc<dyn Log>,
        catalog: Arc<dyn Catalog>,
        policy: Policy,
        pool: Pool,
        runner: Arc<dyn Runner>,
        approver: Arc<dyn Approver>,
        recall: Arc<dyn Recall>,
    ) -> Arc<Self> {
        Arc::new(Self { log, catalog, policy, pool, runner, approver, recall })
    }

    /// What is known of earlier calls.
    pub fn recall(&self) -> &Arc<dyn Recall> {
        &self.recall
    }

    /// What can be called.
    pub fn catalog(&self) -> &Arc<dyn Catalog> {
        &self.catalog
    }

    /// The record; for events that are not calls.
    pub fn log(&self) -> &Arc<dyn Log> {
        &self.log
    }

    /// The rules.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The person who starts a run over the project at `root` with `grant`, under the policy's ceilings: the only source of
    /// authority in the run.
    pub fn start(&self, id: RunId, root: PathBuf, grant: Grant, limits: RunLimits) -> Principal {
        let (agent, run) = self.policy.limits(limits.agent, limits.run);
        let agents_max = self.policy.agents_max(limits.agents_max);
        Principal::of_run(id, root, grant, RunLimits { agents_max, agent, run })
    }

    /// A new agent of `who` that holds exactly `wanted`, or, when it names nothing, all that `who` holds but the right to start
    /// agents. `who` must hold `spawn:1` or more, and the policy must leave it. That is no call, so nobody is asked.
    pub fn spawn(
        &self,
        who: &Principal,
        wanted: Option<&[Capability]>,
        isolation: Isolation,
    ) -> Result<Principal, SpawnRefused> {
        self.spawn_within(who, wanted, isolation, &Ceiling::default())
    }

    /// The same for an agent that may use no more than `most`.
    pub fn spawn_within(
        &self,
        who: &Principal,
        wanted: Option<&[Capability]>,
        isolation: Isolation,
        most: &Ceiling,
    ) -> Result<Principal, SpawnRefused> {
        let one = Capability::Spawn(1);
        if !who.grant().covers(&one) {
            return Err(SpawnRefused::Denied(Denial::missing(&one, who.grant())));
        }
        if let Some(denial) = self.policy.refuses_spawn(who.grant()) {
            return Err(SpawnRefused::Denied(denial));
        }
        let grant = match wanted {
            Some(wanted) => who.grant().attenuate(wanted).map_err(SpawnRefused::Denied)?,
            None => who.grant().without_spawn(),
        };
        who.child(grant, isolation, most)
    }

    /// Take one call through the door. Every end is an outcome, and every outcome is recorded; dropping the future ends the
    /// cell and records the call as cancelled.
    pub async fn dispatch(self: &Arc<Self>, who: &Principal, call: ToolCall) -> Outcome {
        let keep = call.keep;
        let mut open = match self.open(who, &call) {
            Ok(open) => open,
            Err(refused) => return refused,
        };
        let outcome = match self.admit(who, &mut open, &call, Want::Call).await {
            Ok(Step::Run(admitted)) => {
                let (account, scope) = (Arc::clone(admitted.account()), admitted.scope().clone());
                let mut outcome = self.runner.run(admitted).await;
                outcome.usage = outcome.usage.with(&account);
                if let Ending::Failed(Failure::Denied(denial)) = &mut outcome.ending {
                    name_the_hole(denial, &scope);
                }
                outcome
            }
            Ok(Step::Recalled(past)) => match rests_on(&past) {
                Ok(calls) => {
                    open.rests_on = calls;
                    recalled(past)
                }
                Err(failure) => Outcome::refused(failure),
            },
            Err(failure) => Outcome::refused(failure),
        };
        open.close(outcome, keep)
    }

    /// Open the engine plugin `engine` as a session of its own: one recorded call that lasts until the session is closed.
    pub async fn open_session(self: &Arc<Self>, who: &Principal, engine: &PluginName) -> Result<Session, Outcome> {
        let call = ToolCall { tool: ToolName::of_agent(engine), arguments: Json::null(), keep: Keep::Digest };
        let mut open = self.open(who, &call)?;
        let opened = match self.admit(who, &mut open, &call, Want::Session).await {
            Ok(Step::Run(admitted)) => self.runner.open_script(admitted).await,
            // A session has no key.
            Ok(Step::Recalled(past)) => Err(recalled(past)),
            Err(failure) => Err(Outcome::refused(failure)),
        };
        match opened {
            Ok(cell) => Ok(Session { cell, open }),
            Err(outcome) => Err(open.close(outcome, Keep::Digest)),
        }
    }

    /// Record that `who` asked for `call`, and was refused before it could be judged.
    fn refuse(&self, who: &Principal, call: &ToolCall, failure: Failure) -> Outcome {
        match self.open(who, call) {
            Ok(open) => open.close(Outcome::refused(failure), call.keep),
            Err(refused) => refused,
        }
    }

    /// Step 1: a record, or nothing happens. Whoever asks may hold nothing at all, so what they have kept of them is counted: past
    /// the limit a call is refused, and of its arguments only the digest is recorded.
    #[allow(clippy::result_large_err, reason = "the caller hands it on as its own outcome")]
    fn open(&self, who: &Principal, call: &ToolCall) -> Result<OpenCall, Outcome> {
        let id = who.next_call().map_err(|hit| Outcome::refused(Failure::Limit(hit)))?;
        let room = who.account().take(Resource::ArgumentBytes, call.arguments.len_bytes());
        let keep = if room.is_ok() { Keep::Value } else { Keep::Digest };
        let intent = Event::CallIntended {
            call: id,
            agent: who.agent(),
            tool: call.tool.clone(),
            arguments: payload(&call.arguments, keep),
        };
        let recorded = self.log.append(who.run().id(), intent);
        recorded.map_err(|e| Outcome::refused(Failure::Unrecorded(e.to_string())))?;
        let open = OpenCall {
            log: Arc::clone(&self.log),
            who: who.clone(),
            call: id,
            decided: None,
            key: None,
            rests_on: None,
            closed: false,
        };
        match room {
            Ok(()) => Ok(open),
            Err(hit) => Err(open.close(Outcome::refused(Failure::Limit(hit)), keep)),
        }
    }

    /// Steps 2 to 6.
    async fn admit(
        self: &Arc<Self>,
        who: &Principal,
        open: &mut OpenCall,
        call: &ToolCall,
        want: Want,
    ) -> Result<Step, Failure> {
        let plugin = self.catalog.find(&call.tool).ok_or_else(|| self.unknown(&call.tool))?;
        if (plugin.kind == Kind::Engine) != (want == Want::Session) {
            return Err(Failure::NotFound(format!(
                "{} is not a tool: {} runs workflow scripts",
                call.tool, plugin.name
            )));
        }
        if !plugin.kind.is_component() && call.tool.local() != ToolName::AGENT_ENTRY {
            return Err(Failure::NotFound(format!("{} is part of the host; its only tool is {0}.run", plugin.name)));
        }
        if plugin.kind == Kind::Agent && call.tool.local() != ToolName::AGENT_ENTRY {
            return Err(Failure::NotFound(format!(
                "{} is an agent; its only tool is {}.run",
                plugin.name, plugin.name
            )));
        }
        // An agent below an agent is somebody of its own, and asks as such.
        if plugin.kind == Kind::Agent && who.is_inside() {
            return Err(Failure::Denied(Denial::missing(&Capability::Spawn(1), who.grant())));
        }
        let extra = needs_of_call(&plugin, &call.arguments, who.grant())?;
        let scope = self.judge(who, &call.tool, &call.arguments, &plugin, &extra).await?;
        open.decided = Some((plugin.digest, scope.clone()));
        // What an agent does in its own worktree is only worth anything together; and what it can have again for nothing need not
        // be kept. What it does outside is done.
        let lasting = match who.isolation() {
            Isolation::Shared => scope.has_effects(),
            Isolation::Worktree => scope.has_effects_outside(),
        };
        let kept = call.keep == Keep::Value || who.is_inside() && lasting;
        if want == Want::Call && kept {
            let key = reuse::key(&call.tool, &plugin.digest, &call.arguments, &scope, who.isolation());
            open.key = Some(key);
            let (tool, arguments) = (&call.tool, &call.arguments);
            let judged = Judged { who, tool, arguments, plugin: &plugin, scope: &scope, key: &key };
            if let Some(past) = self.recalled(judged) {
                return Ok(Step::Recalled(past));
            }
            self.settle_doubt(judged).await?;
        }
        let quota = self.policy.quota(&plugin.quota);
        let account = Account::of_call(who.account(), &quota);
        if let Some(hit) = account.spent(Resource::CpuTime) {
            return Err(Failure::Limit(hit));
        }
        if scope.has_effects() {
            let admitted = Event::CallAdmitted {
                call: open.call,
                component: plugin.digest,
                scope: scope.grant().clone(),
                except: scope.holes().to_vec(),
                key: open.key,
                isolated: who.isolation() == Isolation::Worktree,
            };
            self.log.append(who.run().id(), admitted).map_err(|e| Failure::Unrecorded(e.to_string()))?;
            self.log.flushed().await.map_err(|e| Failure::Unrecorded(e.to_string()))?;
        }
        let (berth, nested) = match plugin.kind {
            Kind::Tools | Kind::Program => (Berth::Tool, None),
            Kind::Engine => (Berth::Script, None),
            Kind::Model => (Berth::Model, None),
            Kind::Mcp => (Berth::Server, None),
            Kind::Agent => (
                Berth::Agent(who.nesting()),
                Some(Nested::new(self, who.within(scope.grant().clone()), Arc::clone(&account))),
            ),
        };
        let memory_bytes = if matches!(berth, Berth::Model | Berth::Server) { 0 } else { quota.memory_bytes_max };
        let lease = self.pool.lease(who.run().id(), berth, memory_bytes).await.map_err(Failure::Limit)?;
        let (local, arguments) = (call.tool.local(), call.arguments.clone());
        Ok(Step::Run(Admitted::seal(Parts {
            call: open.call,
            who,
            plugin,
            local,
            arguments,
            scope,
            quota,
            account,
            lease,
            nested,
        })))
    }

    async fn judge(
        &self,
        who: &Principal,
        tool: &ToolName,
        arguments: &Json,
        plugin: &Plugin,
        extra: &[Need],
    ) -> Result<Scope, Failure> {
        // The engine is how a script runs at all; it holds nothing, so there is nothing to judge.
        if plugin.kind == Kind::Engine {
            return Ok(Scope::none());
        }
        match self.policy.judge(Case { tool, grant: who.grant(), plugin, extra }) {
            Verdict::Allow(scope) => Ok(scope),
            Verdict::Deny(denial) => Err(Failure::Denied(denial)),
            Verdict::Ask(question, scope) => {
                let asked = Asked { run: who.run().id(), agent: who.agent(), arguments, question: &question };
                match question.denial(self.approver.ask(asked).await, who.grant()) {
                    Some(denial) => Err(Failure::Denied(denial)),
                    None => Ok(scope),
                }
            }
        }
    }

    fn unknown(&self, tool: &ToolName) -> Failure {
        let names = self.catalog.names().join(", ");
        Failure::NotFound(format!("no plugin named {:?} for {tool}; there are {names}", tool.plugin()))
    }
}

/// What becomes of a call that was allowed.
#[allow(clippy::large_enum_variant, reason = "it lives for a moment, and nearly always is the large one")]
enum Step {
    Run(Admitted),
    Recalled(Past),
}

/// Where a rule denies what was missing, no grant would help: say so in place of the guest's advice.
fn name_the_hole(denial: &mut Denial, scope: &Scope) {
    let Ok(needed) = denial.needed.parse::<Capability>() else { return };
    if let Some(hole) = scope.holes().iter().find(|hole| hole.takes_all_of(&needed)) {
        denial.hint = "a rule denies it, whatever is granted; `vespiary policy show` says where it stands".into();
        denial.rule = Some(format!("deny {hole}"));
    }
}

/// The outcome of a call for which `past` stands.
fn recalled(past: Past) -> Outcome {
    Outcome {
        ending: Ending::Done(past.value),
        artifacts: past.artifacts,
        reads: past.reads.unwrap_or_default(),
        reused: Some(past.origin),
        ..Outcome::refused(Failure::Cancelled)
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
    decided: Option<(Digest, Scope)>,
    /// What names equal calls, once it is known; whoever is asked again then needs the value.
    key: Option<Digest>,
    /// What the earlier call rests on whose answer this one is given.
    rests_on: Option<Payload>,
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
        let keep = if self.key.is_some() { Keep::Value } else { keep };
        let (value, failure) = match &outcome.ending {
            Ending::Done(value) => (Some(payload(value, keep)), None),
            Ending::Failed(failure) => (None, Some(failure.clone())),
        };
        let artifacts = outcome.artifacts.clone();
        let except = scope.as_ref().map(|scope| scope.holes().to_vec()).unwrap_or_default();
        let scope = scope.map(|scope| scope.grant().clone());
        let usage = outcome.usage;
        let reads = match outcome.reads.observations.is_empty() {
            true => None,
            // Every part of a read set has a form in JSON.
            false => Json::of(&outcome.reads).ok().map(Payload::Value),
        };
        let (call, key, reused, rests_on) = (self.call, self.key, outcome.reused.clone(), self.rests_on.take());
        self.log.append(
            self.who.run().id(),
            Event::CallEnded {
                call,
                component,
                scope,
                except,
                value,
                failure,
                reads,
                usage,
                artifacts,
                key,
                reused,
                rests_on,
            },
        )
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

/// What a call needs because of what it asks for: the program to run, which may see the variables that its caller may; the model
/// to ask; the tool of an MCP server.
///
/// # Errors
/// Arguments by which that cannot be told.
pub fn needs_of_call(plugin: &Plugin, arguments: &Json, grant: &Grant) -> Result<Vec<Need>, Failure> {
    let need =
        |capability, reason: &str, optional| Need { capability, reason: reason.into(), tools: Vec::new(), optional };
    match plugin.kind {
        Kind::Tools | Kind::Agent | Kind::Engine => Ok(Vec::new()),
        Kind::Program => {
            let arguments = ProgramArguments::read(arguments).map_err(Failure::InvalidArguments)?;
            let variables = grant.iter().filter(|held| matches!(held, Capability::Env(_)));
            let program = need(Capability::Exec(arguments.program().clone()), "the program to run", false);
            Ok([program].into_iter().chain(variables.map(|held| need(held.clone(), "passed on", true))).collect())
        }
        Kind::Model => {
            let arguments = ModelArguments::read(arguments).map_err(Failure::InvalidArguments)?;
            Ok(vec![need(Capability::Model(arguments.model.pattern().clone()), "the model to ask", false)])
        }
        Kind::Mcp => {
            let asked = McpArguments::read(arguments).map_err(Failure::InvalidArguments)?;
            let tool = asked.pattern(&plugin.name).map_err(Failure::InvalidArguments)?;
            Ok(tool.into_iter().map(|tool| need(Capability::Mcp(tool), "the server's tool to call", false)).collect())
        }
    }
}

fn payload(value: &Json, keep: Keep) -> Payload {
    match keep {
        Keep::Value => Payload::Value(value.clone()),
        Keep::Digest => Payload::Digest { digest: Digest::of(value.as_str().as_bytes()), bytes: value.len_bytes() },
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
    pub async fn start(&mut self, source: &str, args: &Json, budget: Budget) -> Result<Turn, Failure> {
        self.cell.start(source, args, budget).await.map_err(cause)
    }

    /// Hand in answers, with the tokens that models have cost the run by now, and run on.
    pub async fn step(&mut self, completions: Vec<Completion>, spent: u64) -> Result<Turn, Failure> {
        self.cell.step(completions, spent).await.map_err(cause)
    }

    /// Record the session's end. The value itself belongs to the run, so only its digest is kept here.
    pub fn close(self, ending: Ending) -> Outcome {
        let usage: Usage = self.cell.usage();
        let outcome = Outcome { ending, usage, ..Outcome::refused(Failure::Cancelled) };
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

#[cfg(test)]
mod tests;
