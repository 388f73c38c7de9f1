//! Agents that wait for others.

use super::*;
use serde_json::json;

fn labelled(id: u64, prompt: &str, label: &str, deps: &[&str]) -> Request {
    let options = json!({ "agentType": "worker", "label": label, "deps": deps });
    Request { id, action: Action::Agent { prompt: prompt.into(), options: Json::of(&options).unwrap(), status: true } }
}

/// Gives status and message by id.
fn batches(requests: Vec<Vec<Request>>) -> Script {
    batches_told(requests, |id, value| {
        let status: serde_json::Value = value.read().unwrap();
        format!("{id} {} {}", status["status"].as_str().unwrap(), status["message"].as_str().unwrap_or(""))
    })
}

async fn play(requests: Vec<Vec<Request>>, at_once: usize) -> (RunReport, Arc<World>) {
    run(batches(requests), at_once, RunLimits::default(), &Stop::default()).await
}

#[tokio::test(start_paused = true)]
async fn an_agent_starts_when_all_with_its_labels_have_ended() {
    for at_once in [1, 8] {
        let asked = vec![
            labelled(1, "last", "z", &["b", "c"]),
            labelled(2, "nap c", "c", &["a"]),
            labelled(3, "nap b", "b", &["a"]),
            labelled(4, "nap a1", "a", &[]),
            labelled(5, "a2", "a", &[]),
        ];
        let (report, world) = play(vec![asked], at_once).await;
        assert_eq!(report.status, RunStatus::Completed, "{:?}", report.error);
        let order = world.order.lock().unwrap();
        assert_eq!(order[..2], ["nap a1", "a2"]);
        assert_eq!(order[2..], ["nap c", "nap b", "last"], "in the order in which they were asked for");
    }
}

#[tokio::test]
async fn what_was_asked_for_later_is_waited_for_too_while_it_can_be() {
    // `late` fills the one slot while `b` is in the queue, ready; then another `a` is asked for.
    let asked = vec![labelled(1, "a1", "a", &[]), labelled(2, "b", "b", &["a"]), labelled(3, "a2", "a", &[])];
    let (report, world) = play(vec![asked, vec![labelled(4, "c", "c", &["a", "b"])]], 1).await;
    assert_eq!(report.status, RunStatus::Completed);
    assert_eq!(*world.order.lock().unwrap(), ["a1", "a2", "b", "c"]);
}

#[tokio::test]
async fn what_depends_on_a_failure_fails_with_its_name_and_is_recorded() {
    let asked = vec![
        labelled(1, "fail", "a", &[]),
        labelled(2, "b", "b", &["a"]),
        labelled(3, "c", "c", &["b"]),
        labelled(4, "d", "d", &[]),
    ];
    let (report, world) = play(vec![asked], 8).await;
    let said = answers(&report);
    assert!(
        said[1].starts_with("2 failed") && said[1].contains("it depends on \"a\", which gave no answer"),
        "{said:?}"
    );
    assert!(said[2].starts_with("3 failed") && said[2].contains("since \"a\" gave none"), "{said:?}");
    assert!(said[3].starts_with("4 ok"));
    assert_eq!((report.status, report.agents_failed), (RunStatus::Degraded, 3));
    let events = world.events.lock().unwrap();
    assert_eq!(events.iter().filter(|e| matches!(e, Event::AgentStarted { .. })).count(), 4);
    assert_eq!(events.iter().filter(|e| matches!(e, Event::AgentEnded { failure: Some(_), .. })).count(), 3);
}

#[tokio::test]
async fn a_long_row_behind_a_failure_is_ended_whole() {
    let name = |n: u64| n.to_string();
    let mut asked: Vec<_> = (1..2_000).map(|n| labelled(n + 1, "x", &name(n), &[&name(n - 1)])).collect();
    asked.push(labelled(1, "fail", "0", &[]));
    let limits = RunLimits { agents_max: 2_000, ..RunLimits::default() };
    let (report, _) = run(batches(vec![asked]), 8, limits, &Stop::default()).await;
    assert_eq!((report.agents_failed, answers(&report).len()), (2_000, 2_000));
}

#[tokio::test]
async fn the_call_that_closes_a_circle_throws() {
    let asked = vec![labelled(1, "a", "a", &["b"]), labelled(2, "b", "b", &["a"]), labelled(3, "b", "b", &[])];
    let (report, world) = play(vec![asked], 8).await;
    let said = answers(&report);
    assert!(
        said[1].starts_with("2 threw invalid-arguments")
            && said[1].contains("\"b\" waits for \"a\", which waits for \"b\""),
        "{said:?}"
    );
    assert_eq!(*world.order.lock().unwrap(), ["b", "a"]);
    assert!(said[0].starts_with("1 ok") && said[2].starts_with("3 ok"), "{said:?}");
}

#[tokio::test]
async fn a_label_that_nobody_has_stalls_by_name() {
    let (report, _) = play(vec![vec![labelled(1, "a", "a", &["nobody"]), labelled(2, "b", "b", &[])]], 8).await;
    let Some(RunError::Script(error)) = report.error else { panic!("{report:?}") };
    assert!(error.message.contains("\"nobody\"") && error.message.contains("deps"), "{error:?}");
    // One that was refused is no riddle to those that wait for it.
    let limits = RunLimits { agents_max: 1, ..RunLimits::default() };
    let asked = vec![labelled(1, "a", "a", &["b"]), labelled(2, "b", "b", &[])];
    let (report, _) = run(batches(vec![asked]), 8, limits, &Stop::default()).await;
    let said = answers(&report);
    assert!(said[0].starts_with("1 failed") && said[1].starts_with("2 threw limit"), "{said:?}");
}

#[tokio::test(start_paused = true)]
async fn a_gentle_stop_gives_up_what_waits_for_others() {
    let stop = Stop::default();
    let asker = stop.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        asker.ask();
    });
    let asked = vec![labelled(1, "sleep", "a", &[]), labelled(2, "b", "b", &["a"])];
    let (report, world) = run(batches(vec![asked]), 8, RunLimits::default(), &stop).await;
    let said = answers(&report);
    assert!(said[0].starts_with("1 ok") && said[1].starts_with("2 stopped"), "{said:?}");
    assert_eq!(*world.order.lock().unwrap(), ["sleep"]);
}

#[tokio::test]
async fn a_long_label_is_recorded_in_brief_and_waited_for_in_full() {
    let long = |end: &str| "x".repeat(100_000) + end;
    let asked = vec![
        labelled(1, "second", "", &[&long("a")]),
        labelled(2, "first", &long("a"), &[]),
        labelled(3, "fail", &long("b"), &[]),
        labelled(4, "never", "", &[&long("b")]),
    ];
    let (report, world) = play(vec![asked], 8).await;
    let said = answers(&report);
    assert!(said[0].starts_with("1 ok") && said[3].starts_with("4 failed") && said[3].len() < 2_000, "{said:?}");
    let order = world.order.lock().unwrap();
    let at = |prompt: &str| order.iter().position(|done| done == prompt);
    assert!(at("first") < at("second") && at("never").is_none(), "{order:?}");
    for event in world.events.lock().unwrap().iter() {
        if let Event::AgentStarted { label, .. } = event {
            assert!(label.len() < 210, "{} bytes", label.len());
        }
    }
}
