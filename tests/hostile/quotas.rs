//! Attacks by number: each call stays below its own limits, and together they would take the run's, or the machine. What one
//! call does alone is in `resources`; here are the pools that calls share, and what is spent before a call.

use super::checks::limit;
use super::rig::{Guests, Rig, all_guests, built};
use super::stage::play;
use super::{READ, WRITE};
use serde_json::{Value, json};
use std::sync::Arc;
use vespiary_kernel::account::{Limits, Resource};
use vespiary_kernel::call::{Ending, Failure, Keep, ToolCall};
use vespiary_kernel::dispatch::Dispatcher;
use vespiary_kernel::json::Json;
use vespiary_kernel::plugin::Kind;
use vespiary_kernel::policy::Policy;
use vespiary_kernel::pool::{Capacity, Pool};
use vespiary_kernel::principal::{Isolation, Principal, RunLimits};

const READS: &str = "[[needs]]\ncapability = 'read:.'\nreason = 'bait'\n";

/// The guests of this threat: known ones under limits that nobody would set.
pub fn guests(guests: &mut Guests) {
    let idle = "[quota]\nidle-time-ms-max = 100\nwall-time-ms-max = 60000\n";
    guests.add_with("idler", Kind::Tools, READS, built("hostile"), idle);
    guests.add_with("single", Kind::Tools, READS, built("files"), "[quota]\ninstances-max = 1\n");
}

fn within(resource: Resource, of_agent: u64, of_run: u64) -> RunLimits {
    RunLimits {
        agent: Limits::of_agent().with(resource, of_agent),
        run: Limits::of_run().with(resource, of_run),
        ..RunLimits::default()
    }
}

async fn call(rig: &Rig, who: &Principal, tool: &str, arguments: &Value) -> Ending {
    let (tool, arguments) = (tool.parse().unwrap(), Json::of(arguments).unwrap());
    rig.dispatcher.dispatch(who, ToolCall { tool, arguments, keep: Keep::Value }).await.ending
}

/// Deeds of agents of `who`, until one is refused; gives how many got through. With `Some`, all are that agent's, otherwise each
/// has an agent of its own.
async fn until_refused(
    rig: &Rig,
    who: &Principal,
    agent: Option<Principal>,
    tool: &str,
    deed: impl Fn(usize) -> Value,
) -> (usize, Failure) {
    for n in 0..50 {
        let fresh = || rig.dispatcher.spawn(who, None, Isolation::Shared).unwrap();
        let agent = agent.clone().unwrap_or_else(fresh);
        if let Ending::Failed(failure) = call(rig, &agent, tool, &deed(n)).await {
            return (n, failure);
        }
    }
    panic!("nothing stopped fifty calls");
}

const SPAWNS: &[&str] = &["read:.", "write:.", "tool:*", "spawn:100"];

/// Tries both pools of `resource`: agents that together take the run's, and an agent that takes its own.
macro_rules! pooled {
    ($name:ident, $resource:ident, $most:expr, $tool:expr, |$n:ident| $deed:expr, $through:expr, $quota:literal) => {
        #[test]
        fn $name() {
            play(async {
                let rig = Rig::new();
                let who = rig.who_within(SPAWNS, within(Resource::$resource, u64::MAX, $most));
                let (through, failure) = until_refused(&rig, &who, None, $tool, |$n| $deed).await;
                limit(&failure, concat!("run-", $quota));
                assert_eq!(through, $through, "{failure}");
                let rig = Rig::new();
                let who = rig.who_within(SPAWNS, within(Resource::$resource, $most, u64::MAX));
                let agent = || rig.dispatcher.spawn(&who, None, Isolation::Shared).unwrap();
                let (through, failure) = until_refused(&rig, &who, Some(agent()), $tool, |$n| $deed).await;
                limit(&failure, concat!("agent-", $quota));
                assert_eq!(through, $through, "{failure}");
                // Another agent has what it had, and the neighbour of the call notices nothing.
                let $n = 99;
                rig.call_as(&agent(), $tool, $deed).await.into_result().unwrap();
            });
        }
    };
}

pooled!(
    many_small_writes,
    BytesWritten,
    100_000,
    "files.write",
    |n| json!({ "path": format!("w{n}"), "text": "x".repeat(40_000), "overwrite": true }),
    2,
    "bytes-written"
);
pooled!(
    many_small_files,
    FilesWritten,
    3,
    "files.write",
    |n| json!({ "path": format!("f{n}"), "text": "", "overwrite": true }),
    3,
    "files-written"
);
// Whatever becomes of a call, its arguments would be kept.
pooled!(
    many_large_arguments,
    ArgumentBytes,
    100_000,
    "quiet.neighbour",
    |n| json!({ "text": format!("{n}{}", "x".repeat(40_000)) }),
    2,
    "argument-bytes"
);
pooled!(many_short_calls, ToolCalls, 4, "quiet.neighbour", |n| json!({ "text": n.to_string() }), 4, "tool-calls");

/// Loops that each end before their own limit, until the run has no time left.
#[test]
fn many_short_loops() {
    play(async {
        let rig = Rig::new();
        // Each loop meets its own limit of 300 ms first; the third or fourth finds less than that left.
        for (limits, quota) in [
            (within(Resource::CpuTime, u64::MAX, 1_000_000), "run-cpu-time-us"),
            (within(Resource::CpuTime, 1_000_000, u64::MAX), "agent-cpu-time-us"),
        ] {
            let who = rig.who_within(SPAWNS, limits);
            let agent = rig.dispatcher.spawn(&who, None, Isolation::Shared).unwrap();
            let mut hits = Vec::new();
            while hits.last().is_none_or(|hit: &String| hit != quota) {
                let outcome = rig.call_as(&agent, "hostile.endless_loop", json!({})).await;
                match outcome.ending {
                    Ending::Failed(Failure::Limit(hit)) => hits.push(hit.quota),
                    other => panic!("{other:?}"),
                }
                assert!(hits.len() < 10, "{hits:?}");
            }
            assert!(hits.len() >= 3 && hits.iter().rev().skip(1).all(|hit| hit == "cpu-time-ms"), "{hits:?}");
        }
    });
}

/// The guest is told, and what it had written is no artifact.
#[test]
fn many_small_artifacts() {
    play(async {
        let rig = Rig::new();
        for (limits, quota) in [
            (within(Resource::ArtifactBytes, u64::MAX, 100_000), "run-artifact-bytes"),
            (within(Resource::ArtifactBytes, 100_000, u64::MAX), "agent-artifact-bytes"),
        ] {
            let who = rig.who_within(SPAWNS, limits);
            let agent = rig.dispatcher.spawn(&who, None, Isolation::Shared).unwrap();
            let outcome = rig.call_as(&agent, "hostile.artifact_flood", json!({})).await;
            let Ending::Failed(failure) = outcome.ending else { panic!("{:?}", outcome.ending) };
            assert!(failure.to_string().contains(quota), "{failure:?}");
            let kept: u64 = outcome.artifacts.iter().map(|artifact| artifact.bytes).sum();
            assert!(kept <= 100_000, "{kept}");
        }
    });
}

/// A cell that asks for a little and waits for ever, over and over, would hold its place as long as it likes.
#[test]
fn waits_without_working() {
    play(async {
        let failure = Rig::new().attack("idler.endless_sleep", json!({}), READ).await;
        limit(&failure, "idle-time-ms");
    });
}

/// A component of more instances than its quota has.
#[test]
fn many_instances() {
    play(async {
        let failure = Rig::new().attack("single.read", json!({ "path": "notes.txt" }), READ).await;
        limit(&failure, "instances");
    });
}

/// More calls at once than may wait: those that find no place in the queue are told so, and the others are served.
#[test]
fn crowd_at_the_door() {
    play(async {
        let rig = Rig::new();
        let capacity = Capacity { queue_max: 5, ..Capacity::of_places(1, 1, 1, 1) };
        let dispatcher = Dispatcher::new(
            Arc::clone(&rig.record) as _,
            all_guests(),
            Policy::default(),
            Pool::new(capacity),
            Arc::clone(&rig.sandbox) as _,
            Arc::new(super::rig::Nobody),
        );
        let who = rig.who(WRITE);
        let mut crowd = tokio::task::JoinSet::new();
        // Somebody sleeps in the only place until its time is up.
        let (first, sleeper) = (Arc::clone(&dispatcher), who.clone());
        let slow = tokio::spawn(async move {
            let (tool, arguments) = ("hostile.endless_sleep".parse().unwrap(), Json::parse("{}").unwrap());
            first.dispatch(&sleeper, ToolCall { tool, arguments, keep: Keep::Value }).await
        });
        while rig.record.calls().0 == 0 {
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        for n in 0..40 {
            let (dispatcher, who) = (Arc::clone(&dispatcher), who.clone());
            let arguments = Json::of(&json!({ "text": n.to_string() })).unwrap();
            let call = ToolCall { tool: "quiet.neighbour".parse().unwrap(), arguments, keep: Keep::Value };
            crowd.spawn(async move { dispatcher.dispatch(&who, call).await });
        }
        let (mut served, mut refused) = (0, 0);
        for outcome in crowd.join_all().await {
            match outcome.ending {
                Ending::Done(_) => served += 1,
                Ending::Failed(failure) => {
                    limit(&failure, "queue-length");
                    refused += 1;
                }
            }
        }
        assert!(served >= 5 && refused >= 1, "{served} served, {refused} refused");
        match slow.await.unwrap().ending {
            Ending::Failed(failure) => limit(&failure, "wall-time-ms"),
            Ending::Done(value) => panic!("{value}"),
        }
        let (intended, ended) = rig.record.calls();
        assert_eq!(intended, ended);
    });
}
