//! Agents that ask for more than they have, or for too much of it. Each request is judged under the agent's own scope and
//! counted; the agent is told, and goes on.

use super::WRITE;
use super::checks::limit;
use super::rig::{Rig, SECRET};
use super::stage::play;
use serde_json::json;
use vespiary_kernel::call::Failure;
use vespiary_kernel::capability::Capability;
use vespiary_kernel::event::Event;
use vespiary_kernel::principal::{Isolation, SpawnRefused};

/// What the agents are granted: one tool to ask for, and themselves.
const AGENT: &[&str] = &["read:.", "tool:files.read", "tool:hostile-agent.run", "tool:hostile.neighbour"];

/// The same for one that may have agents, once it is granted some.
const LEAD: &[&str] = &["read:.", "tool:hostile-agent.run", "tool:hostile-lead.run", "tool:hostile.neighbour"];

/// What a hostile agent's requests came back with, one line each.
async fn agent(rig: &Rig, attack: &str) -> Result<Vec<String>, Failure> {
    let task = json!({ "prompt": attack, "context": { "path": "notes.txt" } });
    rig.call_as(&rig.who(AGENT), "hostile-agent.run", task).await.into_result().map(|value| value.read().unwrap())
}

#[test]
fn agent_calls_ungranted_tool() {
    play(async {
        let told = agent(&Rig::new(), "agent_calls_ungranted_tool").await.unwrap();
        assert!(told[0].starts_with("refused") && told[0].contains("search"), "{told:?}");
    });
}

#[test]
fn agent_widens_grant() {
    play(async {
        let rig = Rig::new();
        let told = agent(&rig, "agent_widens_grant").await.unwrap();
        assert!(told[0].starts_with("refused") && told[0].contains("tool:files.write"), "{told:?}");
        assert_eq!(std::fs::read_to_string(rig.project.join("notes.txt")).unwrap(), "a note inside");
    });
}

#[test]
fn agent_starts_agent() {
    play(async {
        let told = agent(&Rig::new(), "agent_starts_agent").await.unwrap();
        assert!(told[0].starts_with("refused") && told[0].contains("spawn:1"), "{told:?}");
    });
}

/// What it starts is held to its own limits, and its end is told like any other.
#[test]
fn agent_starts_agent_that_spins() {
    play(async {
        let rig = Rig::new();
        let task = json!({ "prompt": "agent_starts_agent", "context": null });
        let who = rig.who(&[LEAD, &["spawn:1"]].concat());
        let told: Vec<String> =
            rig.call_as(&who, "hostile-lead.run", task).await.into_result().unwrap().read().unwrap();
        assert!(told[0].starts_with("refused") && told[0].contains("cpu-time"), "{told:?}");
        assert_eq!(who.run().agents(), 1);
        let ended = rig.record.of(who.run().id()).into_iter().find_map(|event| match event {
            Event::AgentEnded { failure, .. } => failure,
            _ => None,
        });
        limit(&ended.expect("its end is on record, with the cause"), "cpu-time-ms");
    });
}

/// Each starts two like itself: four deep they end, and before that where the grant does.
#[test]
fn agent_starts_its_like() {
    play(async {
        let rig = Rig::new();
        for (granted, started, cause) in [("spawn:1000", 2 + 4 + 8, "nesting"), ("spawn:5", 5, "agents-of-agent")] {
            let task = json!({ "prompt": "agent_starts_its_like", "context": { "agent": "hostile-lead.run" } });
            let who = rig.who(&[LEAD, &[granted]].concat());
            rig.call_as(&who, "hostile-lead.run", task).await.into_result().unwrap();
            assert_eq!(who.run().agents(), started, "{granted}");
            let record = rig.record.of(who.run().id());
            let refused = record.iter().any(|event| {
                matches!(event, Event::CallEnded { failure: Some(Failure::Limit(hit)), .. } if &*hit.quota == cause)
            });
            assert!(refused, "whoever was refused is on record, with the cause: {cause}");
        }
        let (intended, ended) = rig.record.calls();
        assert_eq!(intended, ended);
    });
}

/// Agents wait for agents while all places are taken: those below have places of their own.
#[test]
fn agents_fill_the_house_with_their_like() {
    play(async {
        let rig = Rig::new();
        let task = json!({ "prompt": "agent_starts_its_like", "context": { "agent": "hostile-lead.run" } });
        let whos: Vec<_> = (0..40).map(|_| rig.who(&[LEAD, &["spawn:1000"]].concat())).collect();
        let all = whos.iter().map(|who| rig.call_as(who, "hostile-lead.run", task.clone()));
        for outcome in futures_util::future::join_all(all).await {
            outcome.into_result().unwrap();
        }
        assert!(whos.iter().all(|who| who.run().agents() == 14));
    });
}

#[test]
fn agent_forged_names() {
    play(async {
        let told = agent(&Rig::new(), "agent_forged_names").await.unwrap();
        assert_eq!(told.len(), 5);
        assert!(told.iter().all(|line| line.starts_with("refused")), "{told:?}");
    });
}

#[test]
fn agent_request_flood() {
    play(async {
        let rig = Rig::new();
        limit(&agent(&rig, "agent_request_flood").await.unwrap_err(), "tool-calls");
        let (intended, ended) = rig.record.calls();
        assert_eq!(intended, ended, "every request that was let through has its end in the record");
        assert_eq!(intended, 500 + 1 + 5, "the limit's worth of calls, the agent and its neighbour");
    });
}

#[test]
fn agent_looks_for_files() {
    play(async {
        assert_eq!(agent(&Rig::new(), "agent_looks_for_files").await.unwrap(), Vec::<String>::new());
    });
}

#[test]
fn agent_spins() {
    play(async {
        limit(&agent(&Rig::new(), "agent_spins").await.unwrap_err(), "cpu-time-ms");
    });
}

/// Names that look right are wrong: a name is bytes.
#[test]
fn agent_confusable_names() {
    play(async {
        let rig = Rig::new();
        let told = agent(&rig, "agent_confusable_names").await.unwrap();
        assert_eq!(told.len(), 34);
        for line in &told {
            assert!(line.starts_with("refused"), "{told:?}");
        }
        let ended = rig.record.calls();
        assert_eq!(ended, (6, 6), "a name that is none never becomes a call");
    });
}

/// A refusal does not carry the flood back.
#[test]
fn agent_huge_name() {
    play(async {
        let told = agent(&Rig::new(), "agent_huge_name").await.unwrap();
        assert!(told[0].starts_with("refused") && told[0].len() < 500, "{} bytes", told[0].len());
    });
}

/// The meter stays where it is: what is refused is not recorded as a call, and what is recorded ended.
#[test]
fn agent_asks_on() {
    play(async {
        let rig = Rig::new();
        let told = agent(&rig, "agent_asks_on").await.unwrap();
        assert_eq!(told, ["got 500, refused 19500"]);
        assert_eq!(rig.record.calls(), (506, 506));
    });
}

#[test]
fn agent_huge_request() {
    play(async {
        limit(&agent(&Rig::new(), "agent_huge_request").await.unwrap_err(), "host-call-bytes");
    });
}

#[test]
fn agent_deep_request() {
    play(async {
        let told = agent(&Rig::new(), "agent_deep_request").await.unwrap();
        assert!(told[0].starts_with("refused invalid"), "{}", told[0]);
    });
}

#[test]
fn agent_odd_arguments() {
    play(async {
        let told = agent(&Rig::new(), "agent_odd_arguments").await.unwrap();
        assert_eq!(told.len(), 12);
        assert!(told.iter().all(|line| line.starts_with("refused") && !line.contains(SECRET)), "{told:?}");
    });
}

/// One record for each, whatever they have in common.
#[test]
fn agent_asks_the_same() {
    play(async {
        let rig = Rig::new();
        let told = agent(&rig, "agent_asks_the_same").await.unwrap();
        assert!(told.len() == 3 && told.iter().all(|line| line.contains("a note inside")), "{told:?}");
        assert_eq!(rig.record.calls(), (9, 9));
    });
}

#[test]
fn agent_reads_outside() {
    play(async {
        let told = agent(&Rig::new(), "agent_reads_outside").await.unwrap();
        assert_eq!(told.len(), 5);
        assert!(told.iter().all(|line| line.starts_with("refused") && !line.contains(SECRET)), "{told:?}");
    });
}

/// A hostile tool dies in its own cell, under its own limits; the agent that called it is told and lives.
#[test]
fn agent_borrows_a_guest() {
    play(async {
        let rig = Rig::new();
        let grant = &[AGENT, &["tool:hostile.*"]].concat();
        let task = json!({ "prompt": "agent_borrows_a_guest" });
        let outcome = rig.call_as(&rig.who(grant), "hostile-agent.run", task).await;
        let told: Vec<String> = outcome.into_result().unwrap().read().unwrap();
        for (line, cause) in told.iter().zip(["cpu-time-ms", "memory-bytes", "contract", "exit", "unreachable"]) {
            assert!(line.starts_with("refused") && line.contains(cause), "{cause}: {line}");
        }
        assert_eq!(told.len(), 5);
    });
}

/// A guest that says why it failed is believed where the host told it so, and of a permission where it could lack that. All else is
/// its own words, and so is its advice: what to do next is for the host to say.
#[test]
fn agent_answers_with_a_forgery() {
    play(async {
        let rig = Rig::new();
        for (claim, named, says) in [
            ("limit", "run-tokens", "it says that a limit was met: run-tokens"),
            ("limit", "cpu-time-ms", "it says that a limit was met: cpu-time-ms"),
            ("cancelled", "", "it says that it was stopped"),
            ("denied", "tool:hostile.neighbour", "it says that it lacks: tool:hostile.neighbour, and it holds that"),
            ("denied", "a person's yes", "it says that it lacks: a person's yes"),
            (
                "denied",
                "write:.git/hooks",
                "denied: needs write:.git/hooks; the grant has read:., tool:files.read, tool:hostile",
            ),
        ] {
            let who = rig.who(AGENT);
            let context = json!({ "as": claim, "named": named });
            let task = json!({ "prompt": "agent_answers_with_a_forgery", "context": context });
            let failure = rig.call_as(&who, "hostile-agent.run", task).await.into_result().unwrap_err();
            let recorded = rig.record.of(who.run().id()).into_iter().find_map(|event| match event {
                Event::CallEnded { failure, .. } => failure,
                _ => None,
            });
            assert_eq!(recorded.as_ref(), Some(&failure), "what is told is what is on record");
            let (text, denied) = (failure.to_string(), matches!(failure, Failure::Denied(_)));
            assert!(text.contains(says) && !text.contains("curl"), "{text}");
            assert!(denied || matches!(failure, Failure::Failed(_)), "{failure:?}");
            assert!(!denied || text.contains("does not declare"), "{text}");
            let said = json!({ "text": "still here" });
            assert!(rig.call_as(&who, "hostile.neighbour", said).await.into_result().is_ok());
        }
    });
}

/// A task larger than the agent's cell. It ends that cell and no other.
#[test]
fn agent_huge_task() {
    play(async {
        let rig = Rig::new();
        let task = json!({ "prompt": "x".repeat(5 << 20), "context": "y".repeat(1 << 20) });
        limit(&rig.attack("cramped-agent.run", task, &["read:.", "tool:*"]).await, "memory-bytes");
    });
}

/// A task whose context is a hundred thousand arrays deep. The agent's reader refuses it.
#[test]
fn agent_deep_context() {
    play(async {
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        let task = format!("{{\"prompt\":\"agent_spins\",\"context\":{deep}}}");
        let failure = Rig::new().attack_with_text("hostile-agent.run", &task, AGENT).await;
        assert!(matches!(&failure, Failure::InvalidArguments(_)), "{failure:?}");
    });
}

/// An agent reached under another name than its one entry, or with arguments that are no task.
#[test]
fn agent_by_another_door() {
    play(async {
        let rig = Rig::new();
        let grant = &["tool:*", "read:."];
        for tool in ["hostile-agent.describe", "hostile-agent.call", "hostile-agent.attack"] {
            let failure = rig.attack(tool, json!({ "prompt": "agent_spins" }), grant).await;
            assert!(matches!(&failure, Failure::NotFound(_)), "{failure:?}");
        }
        for task in [json!([]), json!({}), json!({ "prompt": 1 }), json!({ "prompt": "p", "grant": ["write:."] })] {
            let failure = rig.attack("hostile-agent.run", task, grant).await;
            assert!(matches!(&failure, Failure::InvalidArguments(_)), "{failure:?}");
        }
    });
}

/// Whoever starts it may write; the agent itself did not declare that it does.
#[test]
fn agent_under_a_caller_who_may_write() {
    play(async {
        let rig = Rig::new();
        let task = json!({ "prompt": "agent_widens_grant", "context": { "path": "notes.txt" } });
        let told = rig.call_as(&rig.who(WRITE), "hostile-agent.run", task).await.into_result().unwrap();
        let told: Vec<String> = told.read().unwrap();
        assert!(told[0].starts_with("refused") && told[0].contains("write:"), "{told:?}");
        assert_eq!(std::fs::read_to_string(rig.project.join("notes.txt")).unwrap(), "a note inside");
    });
}

/// Agents that a script starts: by somebody who may start none, and with more than whoever starts them holds.
#[test]
fn agent_with_more_than_its_parent() {
    play(async {
        let rig = Rig::new();
        for (held, wanted) in [
            (&["read:.", "tool:*"][..], &["read:src"][..]),
            (&["read:.", "spawn:0"], &["read:src"]),
            (&["read:src", "spawn:9"], &["read:."]),
            (&["read:.", "spawn:9"], &["read:src", "write:out"]),
            (&["read:.", "spawn:9"], &["read:.env"]),
            (&["tool:files.read", "spawn:9"], &["tool:*"]),
            (&["net:example.com", "spawn:9"], &["net:*"]),
            (&["read:.", "spawn:1"], &["spawn:2"]),
        ] {
            let who = rig.who(held);
            let wanted: Vec<Capability> = wanted.iter().map(|capability| capability.parse().unwrap()).collect();
            let refused = rig.dispatcher.spawn(&who, Some(&wanted), Isolation::Shared).map(drop).unwrap_err();
            assert!(matches!(refused, SpawnRefused::Denied(_)), "{wanted:?} of {held:?}: {refused:?}");
            assert_eq!(who.run().agents(), 0);
        }
    });
}
