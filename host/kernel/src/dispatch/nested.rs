//! What an agent plugin asks for while it runs: tools, each a call of its own under the agent's scope, and, where it was granted that,
//! agents below it.

use super::Dispatcher;
use crate::account::{Account, Resource};
use crate::call::{Ending, Failure, Keep, Outcome, ToolCall};
use crate::capability::Capability;
use crate::event::Event;
use crate::ids::ToolName;
use crate::json::Json;
use crate::plugin::{Kind, Plugin};
use crate::policy::Denial;
use crate::pool::Lease;
use crate::ports::Log;
use crate::principal::{Isolation, Principal};
use crate::quota::LimitHit;
use futures_util::StreamExt;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many of one agent's requests are under way at once. More would not be faster: its tools share one task.
const AT_ONCE: usize = 8;

/// Requests an agent plugin may hand over in one `dispatch.call`, as `wit/` promises.
const BATCH_MAX: usize = 1_024;

/// An agent plugin's way to the door: its own grant, and the account that counts its calls.
pub struct Nested {
    dispatcher: Arc<Dispatcher>,
    who: Principal,
    account: Arc<Account>,
}

impl fmt::Debug for Nested {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nested").field("who", &self.who).field("account", &self.account).finish_non_exhaustive()
    }
}

impl Nested {
    pub(super) fn new(dispatcher: &Arc<Dispatcher>, who: Principal, account: Arc<Account>) -> Self {
        Self { dispatcher: Arc::clone(dispatcher), who, account }
    }

    /// Dispatch `requests`, each as a call of its own, and answer in their order. The agent's place to run is given back
    /// while it waits. Names and arguments come from a guest, as text.
    ///
    /// The answers wait in memory that nobody has leased. Once they are more than `bytes_max`, requests that are not under way yet are
    /// answered with the limit and become no calls. An outcome holds what an agent is given of it and no more: no log, no read set,
    /// no content of an artifact.
    pub async fn call(&self, lease: &mut Lease, requests: Vec<(String, String)>, bytes_max: u64) -> Vec<Outcome> {
        if requests.len() > BATCH_MAX {
            let why = format!("{} requests in one call; at most {BATCH_MAX} are allowed", requests.len());
            return requests.iter().map(|_| Outcome::refused(Failure::InvalidArguments(why.clone()))).collect();
        }
        lease.park();
        let answers = &Answers { bytes: AtomicU64::new(0), bytes_max };
        let outcomes = futures_util::stream::iter(requests)
            .map(|(tool, arguments)| async move {
                match answers.room() {
                    // As with any limit that is met here, nothing was taken, and nothing is on record.
                    Err(hit) => Outcome::refused(Failure::Limit(hit)),
                    Ok(()) => answers.with(self.one(tool, arguments).await),
                }
            })
            .buffered(AT_ONCE)
            .collect()
            .await;
        lease.resume().await;
        outcomes
    }

    async fn one(&self, tool: String, arguments: String) -> Outcome {
        let read = || -> Result<ToolCall, String> {
            let tool: ToolName = tool.parse().map_err(|error| format!("{error}"))?;
            let arguments = Json::parse(arguments).map_err(|error| format!("the arguments of {tool} are {error}"))?;
            // An agent that is run again asks again: keeping every file it read would double the tree in the ledger.
            Ok(ToolCall { tool, arguments, keep: Keep::Digest })
        };
        let call = read();
        let is_agent =
            |call: &ToolCall| self.dispatcher.catalog.find(&call.tool).filter(|plugin| plugin.kind == Kind::Agent);
        let agent = call.as_ref().ok().and_then(is_agent).map(|plugin| (self.start(), plugin));
        // The call of an agent that was started is counted as its own, and so as this one's.
        if !matches!(agent, Some((Ok(_), _)))
            && let Err(hit) = self.account.take(Resource::ToolCalls, 1)
        {
            return Outcome::refused(Failure::Limit(hit));
        }
        match (call, agent) {
            (Err(why), _) => Outcome::refused(Failure::InvalidArguments(why)),
            (Ok(call), Some((Ok(agent), plugin))) => self.run(&agent, &plugin, call).await,
            (Ok(call), Some((Err(failure), _))) => self.dispatcher.refuse(&self.who, &call, failure),
            // The box ends the recursion of the type; that of agents ends with their depth.
            (Ok(call), None) => Box::pin(self.dispatcher.dispatch(&self.who, call)).await,
        }
    }

    /// A new agent, which holds what this one does; its own manifest narrows that.
    fn start(&self) -> Result<Principal, Failure> {
        if self.who.isolation() == Isolation::Worktree {
            let hint =
                "what agents of an agent write could not be told from its own; start it without isolation".into();
            return Err(Failure::Denied(Denial { hint, ..Denial::missing(&Capability::Spawn(1), self.who.grant()) }));
        }
        let all: Vec<Capability> = self.who.grant().iter().cloned().collect();
        Ok(self.dispatcher.spawn(&self.who, Some(&all), Isolation::Shared)?)
    }

    /// Have `agent` do what `call` asks of `plugin`. It is on record from its beginning to its end, however it ends.
    async fn run(&self, agent: &Principal, plugin: &Plugin, call: ToolCall) -> Outcome {
        let started = Event::AgentStarted {
            agent: agent.agent(),
            parent: self.who.agent(),
            label: format!("{} {}", plugin.name, agent.agent()),
            phase: None,
            agent_type: plugin.name.to_string(),
            grant: agent.grant().clone(),
            isolated: false,
        };
        let log = &self.dispatcher.log;
        if let Err(error) = log.append(agent.run().id(), started) {
            return Outcome::refused(Failure::Unrecorded(error.to_string()));
        }
        let mut open = OpenAgent { log: Arc::clone(log), agent: agent.clone(), ended: Some(Failure::Cancelled) };
        let outcome = Box::pin(self.dispatcher.dispatch(agent, call)).await;
        open.ended = match &outcome.ending {
            Ending::Done(_) => None,
            Ending::Failed(failure) => Some(failure.clone()),
        };
        outcome
    }
}

/// What the answers of one batch come to, bytes.
struct Answers {
    bytes: AtomicU64,
    bytes_max: u64,
}

/// What an answer costs beyond its texts, and an artifact in it.
const ANSWER_BYTES: u64 = 512;
const ARTIFACT_BYTES: u64 = 128;

impl Answers {
    /// Whether another may be waited for.
    fn room(&self) -> Result<(), LimitHit> {
        let (used, limit) = (self.bytes.load(Ordering::Relaxed), self.bytes_max);
        if used > limit { Err(LimitHit { quota: "host-call-bytes".into(), limit, used }) } else { Ok(()) }
    }

    /// One more. What an agent is not given of it is in the record by now, and goes.
    fn with(&self, outcome: Outcome) -> Outcome {
        let Outcome { call, ending, usage, mut artifacts, reused, .. } = outcome;
        artifacts.iter_mut().for_each(|artifact| artifact.content = None);
        let ending_bytes = match &ending {
            Ending::Done(value) => value.len_bytes(),
            Ending::Failed(failure) => failure.to_string().len() as u64,
        };
        let named = artifacts.iter().map(|a| (a.name.len() + a.media_type.len()) as u64 + ARTIFACT_BYTES).sum::<u64>();
        self.bytes.fetch_add(ending_bytes.saturating_add(named).saturating_add(ANSWER_BYTES), Ordering::Relaxed);
        Outcome { call, ending, usage, artifacts, reused, ..Outcome::refused(Failure::Cancelled) }
    }
}

/// An agent that was recorded as started and will be recorded as ended, also when nobody waits for it any more.
struct OpenAgent {
    log: Arc<dyn Log>,
    agent: Principal,
    /// Why it gave no answer.
    ended: Option<Failure>,
}

impl Drop for OpenAgent {
    fn drop(&mut self) {
        let ended = Event::AgentEnded { agent: self.agent.agent(), failure: self.ended.take() };
        // A ledger that refuses this refuses whatever comes next, and somebody hears of that.
        let _ = self.log.append(self.agent.run().id(), ended);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admit::Admitted;
    use crate::call::{Artifact, Level, LogLine, Usage};
    use crate::grant::Grant;
    use crate::ids::{AgentId, Digest, RunId};
    use crate::observed::{Observation, Observed, ReadSet};
    use crate::plugin::{Manifest, Trust};
    use crate::policy::{Answer, Policy};
    use crate::pool::{Capacity, Pool};
    use crate::ports::{Approver, Asked, BoxFuture, Catalog, LogError, Runner, ScriptCell};
    use crate::principal::RunLimits;
    use std::borrow::Cow;
    use std::sync::Mutex;
    use std::time::Duration;

    /// An agent `lead`, which may start others, an agent `worker`, which may not, and a tool. Whatever is asked of an agent is a list of
    /// calls, `[["lead.run", [...]], ...]`; it makes them and answers with how each ended.
    #[derive(Default)]
    struct World(Mutex<Vec<Event>>);

    impl Log for World {
        fn append(&self, _: &RunId, event: Event) -> Result<(), LogError> {
            self.0.lock().unwrap().push(event);
            Ok(())
        }

        fn flushed(&self) -> BoxFuture<'_, Result<(), LogError>> {
            Box::pin(async { Ok(()) })
        }
    }

    impl Catalog for World {
        fn find(&self, tool: &ToolName) -> Option<Arc<Plugin>> {
            let (kind, needs) = match tool.plugin() {
                "lead" => ("agent", &["tool:*", "spawn:50"][..]),
                "worker" => ("agent", &["tool:*"][..]),
                "clock" => ("tools", &[][..]),
                _ => return None,
            };
            let need = |need: &&str| format!("[[needs]]\ncapability = '{need}'\nreason = 'r'\noptional = true\n");
            let needs: String = needs.iter().map(need).collect();
            let text = format!("name='{}'\nversion='1'\nkind='{kind}'\ndescription='d'\n{needs}", tool.plugin());
            Some(Arc::new(Plugin::new(Manifest::parse(&text).unwrap(), Digest::of(b"x"), Trust::Added).unwrap()))
        }

        fn component(&self, _: &Digest) -> Option<Cow<'static, [u8]>> {
            None
        }

        fn names(&self) -> Vec<String> {
            Vec::new()
        }
    }

    impl Approver for World {
        fn ask<'a>(&'a self, _: Asked<'a>) -> BoxFuture<'a, Answer> {
            Box::pin(async { Answer::Nobody("nobody is here".into()) })
        }
    }

    impl Runner for World {
        fn run(&self, admitted: Admitted) -> BoxFuture<'_, Outcome> {
            Box::pin(async {
                let asked = admitted.arguments().read::<Vec<(String, serde_json::Value)>>().unwrap_or_default();
                if let Ok(bytes) = admitted.arguments().read::<usize>() {
                    return long(bytes);
                }
                let (mut lease, nested) = admitted.into_holds();
                let mut told = Vec::new();
                if let Some(nested) = nested {
                    let requests = asked.into_iter().map(|(tool, arguments)| (tool, arguments.to_string()));
                    for outcome in nested.call(&mut lease, requests.collect(), ANSWERS_BYTES_MAX).await {
                        assert!(outcome.log.is_empty() && outcome.reads.observations.is_empty());
                        assert!(outcome.artifacts.iter().all(|artifact| artifact.content.is_none()));
                        told.push(match outcome.ending {
                            Ending::Done(value) => value.read().unwrap(),
                            Ending::Failed(failure) => serde_json::Value::String(failure.to_string()),
                        });
                    }
                }
                let ending = Ending::Done(Json::of(&told).unwrap());
                Outcome { ending, usage: Usage::default(), ..Outcome::refused(Failure::Cancelled) }
            })
        }

        fn open_script(&self, _: Admitted) -> BoxFuture<'_, Result<Box<dyn ScriptCell>, Outcome>> {
            Box::pin(async { Err(Outcome::refused(Failure::Cancelled)) })
        }
    }

    /// What agents here are given in one batch, bytes.
    const ANSWERS_BYTES_MAX: u64 = 1_000_000;

    /// An answer of `bytes` bytes, with more beside it than is handed on.
    fn long(bytes: usize) -> Outcome {
        let content: Arc<[u8]> = vec![0; bytes].into();
        let (name, digest) = ("a".to_owned(), Digest::of(&content));
        let artifact = Artifact { name, media_type: "b/c".into(), digest, bytes: bytes as u64, content: Some(content) };
        let seen = Observation { path: "p".into(), state: Observed::Absent };
        Outcome {
            ending: Ending::Done(Json::of(&"x".repeat(bytes)).unwrap()),
            artifacts: vec![artifact],
            log: vec![LogLine { level: Level::Info, text: "l".into() }],
            reads: ReadSet { observations: vec![seen], complete: false },
            ..Outcome::refused(Failure::Cancelled)
        }
    }

    #[tokio::test]
    async fn the_answers_of_one_batch_are_bounded_and_what_is_under_way_ends() {
        for (bytes, fit) in [(95_000, 11), (2_000_000, 1), (10, 1_024)] {
            let (world, door) = door(Capacity::of_places(4, 4, 1, 1));
            let asked = serde_json::Value::from(vec![serde_json::json!(["clock.tick", bytes]); 1_024]);
            let told = told(&door, &["tool:*"], Isolation::Shared, &asked).await;
            let told: Vec<String> = serde_json::from_str(&told).unwrap();
            assert_eq!(told.len(), 1_024);
            let given = told.iter().take_while(|answer| answer.starts_with('x')).count();
            assert!((fit..=fit + AT_ONCE).contains(&given), "{given} of {bytes} bytes");
            let refusal = "limit reached: host-call-bytes is limited to 1000000; the call used ";
            assert!(told[given..].iter().all(|answer| answer.starts_with(refusal) || answer.starts_with("x")));
            let given = told.iter().filter(|answer| answer.starts_with('x')).count();
            let of_clock =
                |event: &&Event| matches!(event, Event::CallIntended { tool, .. } if tool.plugin() == "clock");
            assert_eq!(world.0.lock().unwrap().iter().filter(of_clock).count(), given, "the others were no calls");
        }
    }

    fn door(capacity: Capacity) -> (Arc<World>, Arc<Dispatcher>) {
        let world = Arc::<World>::default();
        let [log, catalog, runner, approver] = [(); 4].map(|()| Arc::clone(&world));
        (world, Dispatcher::new(log, catalog, Policy::default(), Pool::new(capacity), runner, approver))
    }

    /// What an agent answers that a script started with `held`.
    async fn told(door: &Arc<Dispatcher>, held: &[&str], isolation: Isolation, asked: &serde_json::Value) -> String {
        let grant = |held: &[&str]| Grant::of_run(held.iter().map(|held| held.parse().unwrap()));
        let root = door.start("r".parse().unwrap(), "/p".into(), grant(&["tool:*", "spawn:100"]), RunLimits::default());
        let wanted: Vec<_> = grant(held).iter().cloned().collect();
        let agent = door.spawn(&root, Some(&wanted), isolation).unwrap();
        let arguments = Json::of(asked).unwrap();
        let call = ToolCall { tool: "lead.run".parse().unwrap(), arguments, keep: Keep::Value };
        let answer = tokio::time::timeout(Duration::from_secs(60), door.dispatch(&agent, call)).await;
        assert_eq!(root.run().agents_of_agents() + 1, root.run().agents(), "the script started one");
        answer.expect("agents wait for each other").into_result().unwrap().to_string()
    }

    fn chain(depth: usize) -> serde_json::Value {
        (0..depth).fold(serde_json::json!([["clock.tick", {}]]), |below, _| serde_json::json!([["lead.run", below]]))
    }

    #[tokio::test(start_paused = true)]
    async fn agents_below_agents_lie_three_deep_at_most_and_each_is_on_record() {
        let (world, door) = door(Capacity::of_places(1, 4, 1, 1));
        let held = &["tool:*", "spawn:9"];
        assert_eq!(told(&door, held, Isolation::Shared, &chain(3)).await, "[[[[[]]]]]");
        world.0.lock().unwrap().clear();
        let deeper = told(&door, held, Isolation::Shared, &chain(4)).await;
        assert!(deeper.contains("nesting is limited to 3"), "{deeper}");
        let events = world.0.lock().unwrap();
        let mut open = Vec::new();
        let mut parents = Vec::new();
        for event in &*events {
            match event {
                Event::AgentStarted { agent, parent, .. } => {
                    open.push(*agent);
                    parents.push((parent.0, agent.0));
                }
                Event::AgentEnded { agent, failure: None } => assert_eq!(open.pop(), Some(*agent)),
                _ => {}
            }
        }
        assert_eq!(open, []);
        assert_eq!(parents, [(1, 2), (2, 3), (3, 4)]);
        let asked = |event: &&Event| matches!(event, Event::CallIntended { .. });
        let ended = |event: &&Event| matches!(event, Event::CallEnded { .. });
        assert_eq!(events.iter().filter(asked).count(), events.iter().filter(ended).count());
        // What was refused is on record, too, as the one's who asked.
        let refused = events.iter().any(|event| {
            matches!(event, Event::CallEnded { failure: Some(Failure::Limit(hit)), .. } if &*hit.quota == "nesting")
        });
        assert!(refused);
        let who = |event: &&Event| matches!(event, Event::CallIntended { agent, .. } if *agent == AgentId(4));
        assert_eq!(events.iter().filter(who).count(), 2, "its own call, and the one that was refused");
    }

    #[tokio::test]
    async fn an_agent_starts_no_more_than_it_was_granted_and_neither_do_those_below_it() {
        let (_, door) = door(Capacity::of_places(4, 4, 1, 4));
        let two = serde_json::json!([["lead.run", []], ["lead.run", []], ["lead.run", []]]);
        let direct = told(&door, &["tool:*", "spawn:2"], Isolation::Shared, &two).await;
        assert_eq!(direct.matches("agents-of-agent is limited to 2").count(), 1, "{direct}");
        let below =
            told(&door, &["tool:*", "spawn:2"], Isolation::Shared, &serde_json::json!([["lead.run", two]])).await;
        assert_eq!(below.matches("agents-of-agent is limited to 2").count(), 2, "{below}");
        for (held, isolation, asked, why) in [
            (&["tool:*"][..], Isolation::Shared, "lead.run", "spawn:1"),
            (&["tool:lead.run", "spawn:9"], Isolation::Shared, "worker.run", "tool:worker.run"),
            (&["tool:*", "spawn:9"], Isolation::Worktree, "worker.run", "without isolation"),
        ] {
            let refused = told(&door, held, isolation, &serde_json::json!([[asked, []]])).await;
            assert!(refused.contains(why), "{refused}");
        }
        // Its own manifest does not ask for it, so it has it not, whoever started it.
        let below = serde_json::json!([["worker.run", [["worker.run", []]]]]);
        let refused = told(&door, &["tool:*", "spawn:9"], Isolation::Shared, &below).await;
        assert!(refused.contains("spawn:1"), "{refused}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_house_full_of_agents_that_wait_for_agents_gets_on() {
        let (_, door) = door(Capacity::of_places(1, 4, 1, 1));
        let all = (0..20).map(|_| {
            let door = Arc::clone(&door);
            tokio::spawn(async move { told(&door, &["tool:*", "spawn:9"], Isolation::Shared, &chain(3)).await })
        });
        let ended = futures_util::future::join_all(all).await;
        assert!(ended.into_iter().all(|told| told.unwrap() == "[[[[[]]]]]"));
    }
}
