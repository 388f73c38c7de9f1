//! What the door says to whoever holds little: who may start agents, and how much is kept of what is asked for before anything is
//! decided.

use super::*;
use crate::account::Limits;
use crate::policy::{Answer, Layer, LayerKind, Place, Rule};
use crate::pool::Capacity;
use crate::ports::{BoxFuture, LogError};
use std::borrow::Cow;
use std::sync::Mutex;

/// A record, and a host where nothing is installed, nothing runs, and everybody says yes.
#[derive(Default)]
struct Bare(Mutex<Vec<Event>>);

impl Log for Bare {
    fn append(&self, _: &RunId, event: Event) -> Result<(), LogError> {
        self.0.lock().unwrap().push(event);
        Ok(())
    }

    fn flushed(&self) -> BoxFuture<'_, Result<(), LogError>> {
        Box::pin(async { Ok(()) })
    }
}

impl Catalog for Bare {
    fn find(&self, _: &ToolName) -> Option<Arc<Plugin>> {
        None
    }

    fn component(&self, _: &Digest) -> Option<Cow<'static, [u8]>> {
        None
    }

    fn names(&self) -> Vec<String> {
        Vec::new()
    }
}

impl Approver for Bare {
    fn ask<'a>(&'a self, _: Asked<'a>) -> BoxFuture<'a, Answer> {
        Box::pin(async { Answer::Yes })
    }
}

impl Runner for Bare {
    fn run(&self, _: Admitted) -> BoxFuture<'_, Outcome> {
        Box::pin(async { Outcome::refused(Failure::Cancelled) })
    }

    fn open_script(&self, _: Admitted) -> BoxFuture<'_, Result<Box<dyn ScriptCell>, Outcome>> {
        Box::pin(async { Err(Outcome::refused(Failure::Cancelled)) })
    }
}

fn bare(policy: Policy) -> (Arc<Bare>, Arc<Dispatcher>) {
    let bare = Arc::<Bare>::default();
    let [log, catalog, runner, approver] = [(); 4].map(|()| Arc::clone(&bare));
    let pool = Pool::new(Capacity::of_places(1, 1, 1, 1));
    (bare, Dispatcher::new(log, catalog, policy, pool, runner, approver))
}

fn spawned(ask: &[&str], deny: &[&str]) -> Result<Principal, SpawnRefused> {
    let rule = |text: &&str| Rule {
        capability: text.parse().unwrap(),
        place: Place { source: "policy.toml".into(), line: 3 },
    };
    let layer = Layer {
        ask: ask.iter().map(rule).collect(),
        deny: deny.iter().map(rule).collect(),
        ..Layer::new(LayerKind::Administrator)
    };
    let (_, door) = bare(Policy::of_layers([layer]));
    let grant = Grant::of_run(["tool:*", "spawn:5"].map(|held| held.parse().unwrap()));
    let root = door.start("r".parse().unwrap(), "/p".into(), grant, RunLimits::default());
    door.spawn(&root, None, Isolation::Shared)
}

#[test]
fn an_agent_is_started_unless_a_rule_denies_or_asks() {
    assert!(spawned(&["tool:*", "write:."], &["read:private"]).is_ok());
    for (ask, deny, named) in [
        (&["spawn:1"][..], &[][..], "ask spawn:1 (policy.toml:3)"),
        (&["spawn:100"], &[], "ask spawn:100 (policy.toml:3)"),
        (&[], &["spawn:1"], "the policy on spawn"),
    ] {
        let refused = spawned(ask, deny).map(|agent| agent.agent());
        let Err(SpawnRefused::Denied(denial)) = refused else { panic!("{ask:?} {deny:?}: {refused:?}") };
        assert_eq!((denial.needed.as_str(), denial.rule.as_deref()), ("spawn:1", Some(named)));
    }
}

impl Bare {
    /// How many of the arguments on record are whole, the bytes of those, and how many are only a digest.
    fn kept(&self) -> (usize, u64, usize) {
        let (mut whole, mut bytes, mut digests) = (0, 0, 0);
        for event in self.0.lock().unwrap().iter() {
            match event {
                Event::CallIntended { arguments: Payload::Value(json), .. } => {
                    (whole, bytes) = (whole + 1, bytes + json.len_bytes());
                }
                Event::CallIntended { arguments: Payload::Digest { bytes: 1_002, .. }, .. } => digests += 1,
                Event::CallIntended { arguments, .. } => panic!("{arguments:?}"),
                _ => {}
            }
        }
        (whole, bytes, digests)
    }
}

fn door(run: u64, agent: u64) -> (Arc<Bare>, Arc<Dispatcher>, Principal) {
    let (bare, door) = bare(Policy::default());
    let limits = RunLimits {
        run: Limits::of_run().with(Resource::ArgumentBytes, run),
        agent: Limits::of_agent().with(Resource::ArgumentBytes, agent),
        ..RunLimits::default()
    };
    let who = door.start("r".parse().unwrap(), "/p".into(), Grant::of_run([Capability::Spawn(5)]), limits);
    (bare, door, who)
}

/// Ask for what is not there, with arguments of 1,002 bytes each; the limit that refused, where one did.
async fn ask(door: &Arc<Dispatcher>, who: &Principal) -> Option<(String, u64, u64)> {
    let arguments = Json::of(&"x".repeat(1_000)).unwrap();
    let outcome = door.dispatch(who, ToolCall { tool: "nope.x".parse().unwrap(), arguments, keep: Keep::Value }).await;
    assert!(outcome.call.is_some(), "whatever becomes of it, it is on record");
    match outcome.ending {
        Ending::Failed(Failure::NotFound(_)) => None,
        Ending::Failed(Failure::Limit(hit)) => Some((hit.quota, hit.limit, hit.used)),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn arguments_without_end_are_refused_and_only_their_digests_kept() {
    let (bare, door, who) = door(2_500, 2_500);
    for _ in 0..2 {
        assert_eq!(ask(&door, &who).await, None);
    }
    for _ in 0..60 {
        assert_eq!(ask(&door, &who).await, Some(("run-argument-bytes".into(), 2_500, 3_006)));
    }
    assert_eq!(bare.kept(), (2, 2_004, 60));
    let events = bare.0.lock().unwrap();
    let refused = |event: &&Event| matches!(event, Event::CallEnded { failure: Some(Failure::Limit(_)), .. });
    assert_eq!(events.iter().filter(refused).count(), 60, "each is on record with why");
}

#[tokio::test]
async fn an_agent_has_its_own_part_and_what_it_asks_for_from_its_cell_counts() {
    let (bare, door, who) = door(5_000, 1_500);
    let agent = door.spawn(&who, None, Isolation::Shared).unwrap();
    let inside = agent.within(Grant::none());
    assert_eq!(ask(&door, &inside).await, None);
    for asks in [&inside, &agent] {
        assert_eq!(ask(&door, asks).await, Some(("agent-argument-bytes".into(), 1_500, 2_004)));
    }
    let refused = door.refuse(
        &inside,
        &ToolCall {
            tool: "nope.x".parse().unwrap(),
            arguments: Json::of(&"x".repeat(1_000)).unwrap(),
            keep: Keep::Value,
        },
        Failure::Cancelled,
    );
    assert!(matches!(refused.ending, Ending::Failed(Failure::Limit(_))), "nor does it matter why it is refused");
    let other = door.spawn(&who, None, Isolation::Shared).unwrap();
    assert_eq!(ask(&door, &other).await, None, "another has what it had");
    assert_eq!(bare.kept(), (2, 2_004, 3));
    assert_eq!(who.account().used(Resource::ArgumentBytes), 2_004, "what is refused is not used");
}
