//! What scripts have asked for and have no answer to: all of it takes of the same room.

use super::*;
use crate::jobs::{Ground, Slots};
use crate::lanes::Jobs;
use crate::pending::{PENDING_BYTES_MAX, Pending};
use crate::session::Depth;
use crate::shape::Shapes;
use serde_json::json;
use tokio::sync::Semaphore;

fn ground() -> Arc<Ground> {
    let world = Arc::new(World::default());
    let (dispatcher, who) = begun(&world, RunLimits::default());
    Arc::new(Ground {
        dispatcher,
        who,
        engine: "engine".parse().unwrap(),
        watch: Arc::new(Unwatched),
        slots: Slots::of(&Settings::default()),
        tally: crate::tally::Tally::default(),
        activity: Arc::default(),
        gates: crate::gates::Gates::default(),
        phases: crate::phases::Phases::default(),
        pending: Pending::default(),
        shapes: Shapes::of_run(),
        gatekeeper: Some(world.clone()),
        library: Some(world),
        worktrees: None,
        gathered: Mutex::default(),
        keeping: Semaphore::new(1),
        model: None,
        budget_tokens: None,
        spent_before: 0,
        stop: Stop::default(),
        planning: false,
    })
}

#[tokio::test]
async fn whatever_is_asked_for_takes_of_the_same_room_until_it_is_answered() {
    const WORDS: usize = 20 << 10;
    let ground = ground();
    let mut jobs = Jobs::new(Arc::clone(&ground), Depth::Run);
    let words = "x".repeat(WORDS);
    let of = |value: serde_json::Value| Json::of(&value).unwrap();
    let (told, held) = (of(json!(words)), of(json!({ "agentType": "worker", "label": "a", "deps": ["late"] })));
    let (queued, gate) = (of(json!({ "agentType": "worker" })), of(json!({ "title": "Go?", "payload": words })));
    let check = of(json!({ "title": "Go?", "payload": words, "check": { "program": "true" } }));

    let all_but_little = ground.pending.take(PENDING_BYTES_MAX - WORDS as u64).unwrap();
    let refused = [
        jobs.ask_agent(1, &words, &held, false).unwrap_err(),
        jobs.ask_agent(2, &words, &queued, false).unwrap_err(),
        ground.accept_tool(3, "clock.tick", told.clone()).map(drop).unwrap_err(),
        ground.accept_workflow(4, "inner".into(), told.clone()).map(drop).unwrap_err(),
        jobs.ask_gate(5, &gate).map(drop).unwrap_err(),
        jobs.ask_gate(6, &check).map(drop).unwrap_err(),
    ];
    for rejection in refused {
        let named = rejection.code == "limit" && rejection.message.contains("run-pending-bytes");
        assert!(named, "{rejection:?}");
    }
    assert!(ground.gates.open().is_empty(), "nobody is asked for what is refused");
    assert_eq!(ground.who.run().agents(), 0, "and nobody is counted");
    drop(all_but_little);

    jobs.ask_agent(1, &words, &held, false).unwrap();
    jobs.ask_agent(2, &words, &queued, false).unwrap();
    jobs.add_tool(ground.accept_tool(3, "clock.tick", told.clone()).unwrap());
    jobs.add_workflow(ground.accept_workflow(4, "inner".into(), told).unwrap());
    // The same gate once more is one more that waits.
    for id in 5..15 {
        jobs.ask_gate(id, &gate).unwrap();
    }
    jobs.ask_gate(15, &check).unwrap();
    let waiting = 15 * WORDS as u64;
    assert!(ground.pending.take(PENDING_BYTES_MAX - waiting).is_err(), "all of it is counted");
    jobs.end_all().await;
    assert_eq!(jobs.abandon_waiting().len(), 5);
    ground.pending.take(PENDING_BYTES_MAX - waiting).expect("what nobody waits for makes room");
}
