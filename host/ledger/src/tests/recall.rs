//! What is remembered of earlier runs, and what is not.

use super::*;
use crate::reader::Reader;
use crate::recall::Recollection;
use std::sync::Arc;
use vespiary_kernel::ports::Recall as _;
use vespiary_kernel::quota::LimitHit;
use vespiary_kernel::reuse::{Doubt, Origin, Past};

fn agent(agent: u32, isolated: bool) -> Event {
    Event::AgentStarted {
        agent: AgentId(agent),
        parent: AgentId::ROOT,
        label: "a".into(),
        phase: None,
        agent_type: "worker".into(),
        grant: Grant::none(),
        isolated,
    }
}

fn asked(call: u64, agent: u32) -> Event {
    Event::CallIntended {
        call: CallId(call),
        agent: AgentId(agent),
        tool: "worker.run".parse().unwrap(),
        arguments: Payload::Value(Json::null()),
    }
}

fn key() -> Digest {
    Digest::of(b"the same call")
}

fn answered(call: u64, text: &str) -> Event {
    match call_ended(call, Ok(Json::of(&text).unwrap()), Vec::new()) {
        mut event @ Event::CallEnded { .. } => {
            if let Event::CallEnded { key: of, .. } = &mut event {
                *of = Some(key());
            }
            event
        }
        other => panic!("{other:?}"),
    }
}

fn over(agent: u32, failure: Option<Failure>) -> Event {
    Event::AgentEnded { agent: AgentId(agent), failure }
}

/// A run of the workflow `w` with these events, and nothing after them.
fn recorded(events: Vec<Event>) -> (TempDir, Ledger, RunId) {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(&dir.path().join("l")).unwrap();
    let run: RunId = "r".parse().unwrap();
    ledger.append(&run, started("w")).unwrap();
    events.into_iter().for_each(|event| ledger.append(&run, event).unwrap());
    ledger.close().unwrap();
    (dir, ledger, run)
}

/// What is remembered under the key by a run that goes on from, or only follows, one with these events.
fn remembered(events: Vec<Event>) -> [Vec<String>; 2] {
    let (_dir, ledger, run) = recorded(events);
    let texts = |resumed: &[RunId], earlier: &[RunId]| {
        let all = Recollection::read(ledger.reader().unwrap(), "w", resumed, earlier, Doubt::Ask).unwrap();
        (0..all.count(&key())).map(|nth| all.past(&key(), nth).unwrap().value.read().unwrap()).collect()
    };
    [texts(std::slice::from_ref(&run), &[]), texts(&[], std::slice::from_ref(&run))]
}

#[test]
fn only_the_attempt_that_was_taken_is_an_agents_answer() {
    // The first answer had not the shape that was asked for, so the agent was run again. Given once more, it would not have it either,
    // and what an earlier run answered is not used up: it would be given for ever.
    let twice = || vec![agent(1, false), asked(1, 1), answered(1, "unfit"), asked(2, 1), answered(2, "fit")];
    let ended = |failure| twice().into_iter().chain([over(1, failure)]).collect();
    assert_eq!(remembered(ended(None)), [vec!["fit"], vec!["fit"]]);
    assert_eq!(remembered(ended(Some(Failure::Failed("unfit, too".into())))), [vec![""; 0], vec![]]);
    // Killed before it was said how it ended: whoever goes on may have it, once; nobody else.
    assert_eq!(remembered(twice()), [vec!["fit"], vec![]]);
}

#[test]
fn what_was_written_in_a_worktree_that_is_gone_is_no_answer() {
    let events = || vec![agent(1, true), asked(1, 1), answered(1, "done")];
    assert_eq!(remembered(events()), [vec![""; 0], vec![]]);
    assert_eq!(remembered(events().into_iter().chain([over(1, None)]).collect())[0], ["done"]);
}

/// An isolated agent, killed or stopped while it was at work, whose second call under `scope` had ended.
fn unfinished(scope: &[&str], stopped: bool) -> Vec<Event> {
    let admitted = |call| Event::CallAdmitted {
        call: CallId(call),
        component: Digest::of(b"a component"),
        scope: Grant::of_run(scope.iter().map(|held| held.parse().unwrap())),
        except: Vec::new(),
        key: Some(key()),
        isolated: true,
    };
    let events = [agent(1, true), asked(1, 1), admitted(1), asked(2, 1), admitted(2), answered(2, "it acted")];
    events.into_iter().chain(stopped.then(|| over(1, Some(Failure::Cancelled)))).collect()
}

/// The worktree is gone with all that was written there. The world outside is as the agent left it.
#[test]
fn what_an_isolated_agent_did_outside_its_worktree_is_done() {
    for stopped in [false, true] {
        for outside in [&["exec:sh", "net:*:*"][..], &["mcp:tracker.create_issue"], &["net:POST api.example.com"]] {
            assert_eq!(remembered(unfinished(outside, stopped)), [vec!["it acted"], vec![]], "{outside:?}");
        }
        // A program that can neither write nor reach the network has changed nothing.
        for inside in ["write:.", "net:GET api.example.com", "exec:sh"] {
            assert_eq!(remembered(unfinished(&[inside], stopped)), [vec![""; 0], vec![]], "{inside}");
        }
    }
}

/// A run that goes on, and ends badly, is gone on with in its turn: what it took over was not admitted a second time.
#[test]
fn what_was_done_outside_is_done_however_often_it_is_gone_on_from() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(&dir.path().join("l")).unwrap();
    let (one, two): (RunId, RunId) = ("one".parse().unwrap(), "two".parse().unwrap());
    let mut again = answered(2, "it acted");
    if let Event::CallEnded { reused, .. } = &mut again {
        *reused = Some(Origin { run: one.clone(), call: CallId(2) });
    }
    let changed = Event::AgentChanged {
        agent: AgentId(1),
        changes: Payload::Value(Json::parse(r#"{"a.txt":{"after":"directory"}}"#).unwrap()),
        files: 1,
        counted: true,
        artifacts: Vec::new(),
    };
    let second = [agent(1, true), asked(1, 1), asked(2, 1), again, answered(1, "ended"), changed, over(1, None)];
    for (run, events) in [(&one, unfinished(&["mcp:tracker.create_issue"], false)), (&two, second.into())] {
        ledger.append(run, started("w")).unwrap();
        events.into_iter().for_each(|event| ledger.append(run, event).unwrap());
    }
    ledger.close().unwrap();
    let all = Recollection::read(ledger.reader().unwrap(), "w", &[two, one], &[], Doubt::Ask).unwrap();
    let found: Vec<Past> = (0..all.count(&key())).filter_map(|nth| all.past(&key(), nth)).collect();
    let acted = found.iter().find(|past| past.value.read::<String>().unwrap() == "it acted").unwrap();
    assert!(acted.changes.is_empty(), "what the agent wrote is not what this call did");
}

/// An agent that came to its end has lost nothing, and nobody is asked about what it did.
#[test]
fn what_a_finished_agent_did_is_not_in_doubt() {
    let both = ["net:POST api.example.com", "write:."];
    for end in [None, Some(Failure::Failed("badly".into()))] {
        let events = unfinished(&both, false).into_iter().chain([over(1, end)]).collect();
        assert_eq!(doubted(events).0, [0u64; 0]);
    }
}

/// The calls that a run which goes on from these events is asked about, and how many it knows the answers of.
fn doubted(events: Vec<Event>) -> (Vec<u64>, usize) {
    let (_dir, ledger, run) = recorded(events);
    let all = Recollection::read(ledger.reader().unwrap(), "w", &[run], &[], Doubt::Ask).unwrap();
    let told = std::iter::from_fn(|| all.take_interrupted(&key())).map(|origin| origin.call.0).collect();
    (told, all.count(&key()))
}

#[test]
fn what_acted_outside_and_wrote_into_a_lost_worktree_is_in_doubt() {
    let both = ["net:POST api.example.com", "write:."];
    assert_eq!(doubted(unfinished(&both, false)), (vec![2], 0));
    // Whether it did, nobody knows, whatever it could write.
    let cut = |scope: &[&str]| doubted(unfinished(scope, false).into_iter().take(5).collect());
    assert_eq!(cut(&both), (vec![2], 0));
    assert_eq!(cut(&["exec:sh", "net:*:*"]), (vec![2], 0));
    assert_eq!(cut(&["write:."]), (vec![], 0), "what was half written is gone with the worktree");
}

/// A long answer is a blob beside the record, and as long in memory.
#[test]
fn what_is_read_ahead_is_bounded_by_how_long_the_answers_are() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(&dir.path().join("l")).unwrap();
    let run: RunId = "r".parse().unwrap();
    ledger.append(&run, started("w")).unwrap();
    let long = "long ".repeat(20_000);
    for call in 1..=30 {
        ledger.append(&run, asked(call, 0)).unwrap();
        ledger.append(&run, answered(call, &long)).unwrap();
    }
    ledger.close().unwrap();
    let all = Recollection::read(ledger.reader().unwrap(), "w", &[], &[run], Doubt::Ask).unwrap();
    all.read_until(1_000_000, &Default::default());
    assert_eq!(all.ready_count(), 10, "each of them is a hundred thousand bytes long");
    assert_eq!(
        all.past(&key(), 29).unwrap().value.read::<String>().unwrap(),
        long,
        "the rest is read when it is wanted"
    );
}

#[test]
fn an_answer_rests_on_what_agents_of_its_agent_did() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(&dir.path().join("l")).unwrap();
    let run: RunId = "r".parse().unwrap();
    let below = |of: u32, parent: u32| match agent(of, false) {
        Event::AgentStarted { agent, label, phase, agent_type, grant, isolated, .. } => {
            Event::AgentStarted { agent, parent: AgentId(parent), label, phase, agent_type, grant, isolated }
        }
        other => panic!("{other:?}"),
    };
    let plain = |call| call_ended(call, Ok(Json::null()), Vec::new());
    // The first agent's call is 1. It calls a tool (2) and starts an agent (3), which calls one (4) and starts another (5), which calls
    // one (6) as well.
    let events = [
        vec![started("w"), agent(1, false), asked(1, 1), asked(2, 1), plain(2)],
        vec![below(2, 1), asked(3, 2), asked(4, 2), plain(4)],
        vec![below(3, 2), asked(5, 3), asked(6, 3), plain(6), plain(5), over(3, None)],
        vec![plain(3), over(2, None), answered(1, "done"), over(1, None)],
    ];
    events.concat().into_iter().for_each(|event| ledger.append(&run, event).unwrap());
    ledger.close().unwrap();
    let all = Recollection::read(ledger.reader().unwrap(), "w", &[], std::slice::from_ref(&run), Doubt::Ask).unwrap();
    let past = all.past(&key(), 0).unwrap();
    let nested: Vec<_> = past.nested.iter().map(|one| (one.origin.call.0, one.within.map(|call| call.0))).collect();
    assert_eq!(nested, [(2, None), (3, None), (4, Some(3)), (5, Some(3)), (6, Some(5))]);
}

#[test]
fn tools_that_were_called_once_among_many_are_not_the_usual_ones() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(&dir.path().join("l")).unwrap();
    let runs: [RunId; 2] = ["a", "b"].map(|run| run.parse().unwrap());
    let call = |call, tool: &str| match asked(call, 1) {
        Event::CallIntended { call, agent, arguments, .. } => {
            Event::CallIntended { call, agent, tool: tool.parse().unwrap(), arguments }
        }
        other => panic!("{other:?}"),
    };
    let usual = |runs: &[RunId]| -> Vec<String> {
        let all = Recollection::read(ledger.reader().unwrap(), "w", &[], runs, Doubt::Ask).unwrap();
        all.usual_tools().into_iter().map(ToString::to_string).collect()
    };
    let few = [call(1, "deps.run"), call(2, "files.read"), call(3, "files.read")];
    [started("w")].into_iter().chain(few).for_each(|event| ledger.append(&runs[0], event).unwrap());
    let many = (1..=40).map(|number| call(number, if number % 4 == 0 { "files.read" } else { "secrets.run" }));
    [started("w")].into_iter().chain(many).for_each(|event| ledger.append(&runs[1], event).unwrap());
    ledger.close().unwrap();
    assert_eq!(usual(&runs[..1]), ["files.read", "deps.run"]);
    assert_eq!(usual(&runs), ["secrets.run", "files.read"]);
}

#[test]
fn an_answer_stands_for_one_call_of_a_run_that_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(&dir.path().join("l")).unwrap();
    let run: RunId = "r".parse().unwrap();
    for event in [started("w"), agent(1, false), asked(1, 1), answered(1, "once"), over(1, None)] {
        ledger.append(&run, event).unwrap();
    }
    ledger.close().unwrap();
    let read = |resumed: &[RunId], earlier: &[RunId]| {
        Recollection::read(ledger.reader().unwrap(), "w", resumed, earlier, Doubt::Ask).unwrap()
    };
    let of_it = read(std::slice::from_ref(&run), &[]);
    let past = of_it.past(&key(), 0).unwrap();
    assert_eq!(past.origin, Origin { run: run.clone(), call: CallId(1) });
    assert!(of_it.take(&past) && !of_it.take(&past) && of_it.past(&key(), 0).is_none());
    let after_it = read(&[], std::slice::from_ref(&run));
    let past = after_it.past(&key(), 0).unwrap();
    assert!(after_it.take(&past) && after_it.take(&past) && after_it.past(&key(), 0).is_some());
}

#[test]
fn what_an_answer_rests_on_comes_back_from_the_calls_themselves_and_from_the_list_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("l");
    let [ran, took_over]: [RunId; 2] = ["ran", "took-over"].map(|run| run.parse().unwrap());
    let reads = r#"{"observations":[{"path":"a","state":{"kind":"absent"}}],"complete":true}"#;
    let below = |call| {
        let mut event = call_ended(call, Ok(Json::of(&"x".repeat(5_000)).unwrap()), Vec::new());
        if let Event::CallEnded { component, scope, reads: saw, .. } = &mut event {
            (*component, *scope) = (Some(Digest::of(b"c")), Some(Grant::none()));
            *saw = Some(Payload::Value(Json::parse(reads).unwrap()));
        }
        event
    };
    let record = |run: &RunId, events: Vec<Event>| {
        let ledger = Ledger::open(&path).unwrap();
        [started("w")].into_iter().chain(events).for_each(|event| ledger.append(run, event).unwrap());
        ledger.close().unwrap();
    };
    record(&ran, vec![agent(1, false), asked(1, 1), asked(2, 1), below(2), answered(1, "done"), over(1, None)]);
    let past = |run: &RunId, ahead: bool| -> Past {
        let reader = Reader::open(&path).unwrap();
        let all = Recollection::read(reader, "w", &[], std::slice::from_ref(run), Doubt::Ask).unwrap();
        let all = Arc::new(all);
        let reading = ahead.then(|| all.read_ahead(|| ()));
        std::thread::sleep(std::time::Duration::from_millis(if ahead { 50 } else { 0 }));
        let past = all.past(&key(), 0).unwrap();
        drop(reading);
        // Asked again, it is there again, and the same.
        assert_eq!(Json::of(&all.past(&key(), 0).unwrap().nested).unwrap(), Json::of(&past.nested).unwrap());
        past
    };
    let first = past(&ran, false);
    let [below] = &first.nested[..] else { panic!("{first:?}") };
    assert_eq!(below.origin, Origin { run: ran.clone(), call: CallId(2) });
    assert_eq!((below.component, below.reads.as_ref().unwrap().complete), (Some(Digest::of(b"c")), true));
    // The blob is that record's; another one only says which value it was.
    assert!(matches!(below.value, Some(Payload::Digest { bytes: 5_002, .. })), "{:?}", below.value);
    let mut again = answered(1, "done");
    if let Event::CallEnded { reused, rests_on, .. } = &mut again {
        *reused = Some(first.origin.clone());
        *rests_on = Some(Payload::Value(Json::of(&first.nested).unwrap()));
    }
    record(&took_over, vec![agent(1, false), asked(1, 1), again, over(1, None)]);
    for ahead in [false, true] {
        let second = past(&took_over, ahead);
        assert_eq!(second.origin, first.origin);
        assert_eq!(Json::of(&second.nested).unwrap(), Json::of(&first.nested).unwrap());
    }
}

#[test]
fn an_answer_stands_though_of_a_call_it_was_refused_only_the_digest_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(&dir.path().join("l")).unwrap();
    let run: RunId = "r".parse().unwrap();
    let mut refused = asked(2, 1);
    if let Event::CallIntended { arguments, .. } = &mut refused {
        *arguments = Payload::Digest { digest: Digest::of(b"long"), bytes: 7 << 20 };
    }
    let hit = LimitHit { quota: "agent-argument-bytes".into(), limit: 1, used: 7 << 20 };
    let below = call_ended(2, Err(Failure::Limit(hit)), Vec::new());
    for event in [started("w"), agent(1, false), asked(1, 1), refused, below, answered(1, "done"), over(1, None)] {
        ledger.append(&run, event).unwrap();
    }
    ledger.close().unwrap();
    let reader = ledger.reader().unwrap();
    let all = Recollection::read(reader, "w", std::slice::from_ref(&run), &[], Doubt::Ask).unwrap();
    let past = all.past(&key(), 0).unwrap();
    assert_eq!(past.value.read::<String>().unwrap(), "done");
    assert_eq!((past.nested.len(), past.nested[0].component), (1, None));
}
