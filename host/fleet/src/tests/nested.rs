//! Workflows that a script calls.

use super::*;
use vespiary_kernel::account::{Limits, Resource};

fn call(id: u64, name: &str) -> Request {
    let args = Json::parse(r#"{"n":1}"#).unwrap();
    Request { id, action: Action::Workflow { name: name.into(), args } }
}

/// A script that asks for all of `requests` at once and returns the answers by id.
fn asks(requests: Vec<Request>) -> Script {
    let (mut answers, wanted) = (Vec::new(), requests.len());
    let mut requests = Some(requests);
    Box::new(move |completions| {
        for Completion { id, settlement } in completions {
            let text = match settlement {
                Ok(value) => value.to_string(),
                Err(rejection) => format!("threw {}: {}", rejection.code, rejection.message),
            };
            answers.push(format!("{id}={text}"));
        }
        answers.sort();
        let done = State::Done(Json::of(&answers).unwrap());
        Turn {
            requests: requests.take().unwrap_or_default(),
            state: if answers.len() == wanted { done } else { State::Waiting },
        }
    })
}

async fn play(scripts: Vec<Script>, at_once: usize) -> (RunReport, Arc<World>) {
    run_in(World::default(), scripts, at_once, RunLimits::default(), &Stop::default()).await
}

fn count(world: &World, test: fn(&Event) -> bool) -> usize {
    world.events.lock().unwrap().iter().filter(|event| test(event)).count()
}

#[tokio::test]
async fn a_called_workflow_gives_its_value_and_its_agents_are_the_runs() {
    let inner = asks(vec![agent(1, "ok a"), agent(2, "fail")]);
    let (report, world) = play(vec![asks(vec![call(1, "inner"), agent(2, "ok b")]), inner], 8).await;
    assert_eq!(answers(&report), [r#"1=["1=\"ok a\"","2=null"]"#, "2=\"ok b\""]);
    assert_eq!((report.status, report.agents, report.agents_failed), (RunStatus::Degraded, 3, 1));
    let events = world.events.lock().unwrap();
    let started = events.iter().find_map(|event| match event {
        Event::WorkflowStarted { name, script, .. } => Some((name.as_str(), *script)),
        _ => None,
    });
    assert_eq!(started, Some(("inner", Digest::of(b"source of inner"))));
}

#[tokio::test]
async fn only_the_runs_own_script_calls_others() {
    let (report, _) = play(vec![asks(vec![call(1, "inner")]), asks(vec![call(1, "again")])], 8).await;
    let said = answers(&report).join("");
    assert!(said.contains("threw nested") && said.contains("may call others"), "{said}");
}

#[tokio::test]
async fn a_failure_says_which_workflow_and_where() {
    let broken = ScriptError {
        kind: vespiary_kernel::script::ErrorKind::Thrown,
        message: "Error: boom".into(),
        line: 3,
        column: 5,
        stack: "at f".into(),
    };
    let failing: Script = Box::new(move |_| Turn { requests: vec![], state: State::Failed(broken.clone()) });
    let (report, _) = play(vec![asks(vec![call(1, "inner"), call(2, "nowhere")]), failing], 8).await;
    let said = answers(&report);
    assert_eq!(said[0], "1=threw failed: workflow inner failed: uncaught: Error: boom (line 3, column 5)");
    assert!(said[1].starts_with("2=threw not-found:") && said[1].contains("nowhere"), "{said:?}");
    assert_eq!(report.status, RunStatus::Completed, "a script may catch it");
}

#[tokio::test(start_paused = true)]
async fn all_scripts_share_the_width_of_the_run_and_none_waits_for_ever() {
    let naps = |from: u64| (from..from + 6).map(|id| agent(id, "nap")).collect::<Vec<_>>();
    let calls = (1..=10).map(|id| call(id, "inner")).chain(naps(11)).collect();
    let scripts = std::iter::once(asks(calls)).chain((0..10).map(|_| asks(naps(1)))).collect();
    let (report, world) = play(scripts, 3).await;
    assert_eq!((report.status, report.agents, answers(&report).len()), (RunStatus::Completed, 66, 16));
    assert_eq!(world.busy.lock().unwrap().1, 3, "no more ran at once than may, and as many");
}

/// Whoever was asked first and gets room last has begun nothing, and is no less under way: the run's own script has its turn first
/// here, since its loop is looked at after every single task.
#[test]
fn a_called_workflow_whose_agents_wait_for_room_is_not_over() {
    let one_by_one = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().start_paused(true).event_interval(1).build().unwrap()
    };
    let three = || asks((1..=3).map(|id| agent(id, "nap")).collect());
    let (report, _) = one_by_one().block_on(play(vec![asks(vec![agent(1, "nap"), call(2, "inner")]), three()], 1));
    assert_eq!((report.status, report.agents, report.agents_failed), (RunStatus::Completed, 4, 0), "{report:?}");
    // The same where what waits is a tool.
    let tool = |id| Request {
        id,
        action: Action::Tool { name: "clock.tick".into(), arguments: Json::parse(r#"{"prompt":"nap"}"#).unwrap() },
    };
    let tools = |from: u64| (from..from + 5).map(tool).collect::<Vec<_>>();
    let outer = asks(tools(1).into_iter().chain([call(9, "inner")]).collect());
    let (report, _) = one_by_one().block_on(play(vec![outer, asks(tools(1))], 1));
    assert_eq!((report.status, answers(&report).len()), (RunStatus::Completed, 6), "{report:?}");
}

#[tokio::test]
async fn what_a_script_hands_to_workflows_is_counted() {
    let limits = RunLimits { run: Limits::of_run().with(Resource::ArgumentBytes, 30), ..RunLimits::default() };
    // The arguments of one are 7 bytes; those of the engine's own session, `null`, are 4.
    let outer = asks((1..=4).map(|id| call(id, "inner")).collect());
    let scripts = std::iter::once(outer).chain((0..4).map(|_| asks(vec![agent(1, "ok")]))).collect();
    let (report, world) = run_in(World::default(), scripts, 8, limits, &Stop::default()).await;
    let said = answers(&report);
    assert!(said.iter().any(|told| told.contains("threw limit") && told.contains("run-argument-bytes")), "{said:?}");
    let begun = count(&world, |event| matches!(event, Event::WorkflowStarted { .. }));
    assert!(begun < 4, "what is refused is not recorded: {begun}");
}

#[tokio::test]
async fn a_script_that_returns_ends_the_workflows_it_called_and_what_is_theirs() {
    let mut begun = false;
    let hasty: Script = Box::new(move |completions| {
        let first = !std::mem::replace(&mut begun, true);
        let requests = if first { vec![call(1, "inner"), agent(2, "nap")] } else { Vec::new() };
        let state = if completions.is_empty() { State::Waiting } else { State::Done(Json::null()) };
        Turn { requests, state }
    });
    let (report, world) = play(vec![hasty, asks(vec![agent(1, "sleep"), agent(2, "sleep")])], 8).await;
    assert_eq!(report.status, RunStatus::Completed, "{:?}", report.error);
    assert_eq!(count(&world, |e| matches!(e, Event::CallIntended { .. })), 5);
    assert_eq!(count(&world, |e| matches!(e, Event::CallEnded { .. })), 5);
    assert_eq!(count(&world, |e| matches!(e, Event::AgentStarted { .. })), 3);
    assert_eq!(count(&world, |e| matches!(e, Event::AgentEnded { .. })), 3);
    assert!(matches!(world.events.lock().unwrap().last(), Some(Event::RunEnded { .. })), "its end is the last word");
}

#[tokio::test(start_paused = true)]
async fn stops_reach_called_workflows() {
    for firm in [false, true] {
        let stop = Stop::default();
        let asker = stop.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if firm {
                asker.now();
            } else {
                asker.ask();
            }
        });
        let scripts = vec![
            asks(vec![call(1, "inner"), call(2, "later")]),
            asks(vec![agent(1, "sleep"), agent(2, "ok"), agent(3, "ok")]),
        ];
        let (report, world) = run_in(World::default(), scripts, 1, RunLimits::default(), &stop).await;
        assert_eq!(report.status, RunStatus::Stopped);
        if !firm {
            let said = answers(&report);
            assert_eq!(said[0], r#"1=["1=\"sleep\"","2=null","3=null"]"#);
            assert!(said[1].starts_with("2=threw cancelled"), "{said:?}");
        }
        let (begun, ended) = (
            count(&world, |e| matches!(e, Event::CallIntended { .. })),
            count(&world, |e| matches!(e, Event::CallEnded { .. })),
        );
        assert_eq!((begun, ended), (3, 3));
    }
}
