//! What the door says before there is a call: who may start agents.

use super::*;
use crate::policy::{Answer, Layer, LayerKind, Place, Rule};
use crate::pool::Capacity;
use crate::ports::{BoxFuture, LogError};
use std::borrow::Cow;

/// A host where nothing is installed, nothing runs, and everybody says yes.
struct Empty;

impl Log for Empty {
    fn append(&self, _: &RunId, _: Event) -> Result<(), LogError> {
        Ok(())
    }

    fn flushed(&self) -> BoxFuture<'_, Result<(), LogError>> {
        Box::pin(async { Ok(()) })
    }
}

impl Catalog for Empty {
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

impl Approver for Empty {
    fn ask<'a>(&'a self, _: Asked<'a>) -> BoxFuture<'a, Answer> {
        Box::pin(async { Answer::Yes })
    }
}

impl Runner for Empty {
    fn run(&self, _: Admitted) -> BoxFuture<'_, Outcome> {
        Box::pin(async { Outcome::refused(Failure::Cancelled) })
    }

    fn open_script(&self, _: Admitted) -> BoxFuture<'_, Result<Box<dyn ScriptCell>, Outcome>> {
        Box::pin(async { Err(Outcome::refused(Failure::Cancelled)) })
    }
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
    let empty = Arc::new(Empty);
    let (log, catalog, runner, approver) =
        (Arc::clone(&empty), Arc::clone(&empty), Arc::clone(&empty), Arc::clone(&empty));
    let pool = Pool::new(Capacity::of_places(1, 1, 1, 1));
    let door = Dispatcher::new(log, catalog, Policy::of_layers([layer]), pool, runner, approver);
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
