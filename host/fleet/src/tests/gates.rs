//! Gates: who decides them, what a decision is bound to, and when a run ends because of one.

use super::*;
use serde_json::{Value, json};

fn gate(id: u64, options: Value) -> Request {
    Request { id, action: Action::Gate(Json::of(&options).unwrap()) }
}

fn digest(title: &str, payload: Value) -> Digest {
    Matter::new(title, &Json::of(&payload).unwrap()).unwrap().digest()
}

fn yes(by: &str) -> Decision {
    Decision { approved: true, by: by.into(), note: Some("seen".into()), at_ms: 0 }
}

fn batches(requests: Vec<Vec<Request>>) -> Script {
    batches_told(requests, |id, value| format!("{id}={value}"))
}

async fn play(desk: Desk, scripts: Vec<Script>) -> (RunReport, Arc<World>) {
    let world = World { desk: Mutex::new(desk), ..World::default() };
    run_in(world, scripts, 8, RunLimits::default(), &Stop::default()).await
}

fn decisions(world: &World) -> Vec<(Digest, bool, String)> {
    let events = world.events.lock().unwrap();
    let decided = events.iter().filter_map(|event| match event {
        Event::GateDecided { gate, approved, by, .. } => Some((*gate, *approved, by.clone())),
        _ => None,
    });
    decided.collect()
}

#[tokio::test(start_paused = true)]
async fn the_person_at_the_terminal_decides_and_it_is_recorded() {
    let desk = Desk { says: Some((Duration::from_secs(3_600), yes("ann"))), ..Desk::default() };
    let (report, world) =
        play(desk, vec![batches(vec![vec![gate(1, json!({ "title": "Go?", "payload": [1] }))]])]).await;
    let said = answers(&report);
    assert_eq!(said, [r#"1={"approved":true,"by":"ann","at":"1970-01-01T00:00:00.000Z","note":"seen"}"#]);
    assert_eq!((report.status, report.gates.len()), (RunStatus::Completed, 0));
    assert_eq!(decisions(&world), [(digest("Go?", json!([1])), true, "ann".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn what_is_left_elsewhere_is_taken_up_while_others_work() {
    let of = digest("Go?", Value::Null);
    let desk = Desk { left: [(of, Decision { approved: false, ..yes("bob") })].into(), ..Desk::default() };
    let asked = vec![agent(1, "nap"), gate(2, json!({ "title": "Go?" }))];
    let (report, world) = play(desk, vec![batches(vec![asked])]).await;
    assert!(answers(&report)[1].contains(r#""approved":false,"by":"bob""#), "{:?}", answers(&report));
    assert_eq!(decisions(&world), [(of, false, "bob".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_waits_for_nothing_but_gates_ends_when_the_rest_is_done() {
    let asked = vec![gate(1, json!({ "title": "Go?" })), agent(2, "nap"), agent(3, "nap")];
    let (report, world) = play(Desk::default(), vec![batches(vec![asked])]).await;
    assert_eq!((report.status, report.value, report.error), (RunStatus::AwaitingGate, None, None));
    assert_eq!(report.gates.iter().map(|gate| gate.title.as_str()).collect::<Vec<_>>(), ["Go?"]);
    let events = world.events.lock().unwrap();
    let ended = events.iter().filter(|event| matches!(event, Event::AgentEnded { failure: None, .. })).count();
    assert_eq!(ended, 2, "what could still be done was done");
    assert!(matches!(events.last(), Some(Event::RunEnded { status: RunStatus::AwaitingGate, .. })));
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_room_is_done_first_and_a_place_that_a_gate_keeps_is_not_waited_for() {
    let call = |id| Request { id, action: Action::Workflow { name: "inner".into(), args: Json::null() } };
    // The second workflow waits for the place of the first, which waits for a person.
    let outer = batches(vec![vec![call(1), call(2), agent(3, "nap"), agent(4, "nap"), agent(5, "nap")]]);
    let inner = batches(vec![vec![gate(1, json!({ "title": "Go?" })), agent(2, "nap"), agent(3, "nap")]]);
    let world = World::default();
    let (report, world) = run_in(world, vec![outer, inner], 1, RunLimits::default(), &Stop::default()).await;
    assert_eq!((report.status, report.agents), (RunStatus::AwaitingGate, 5), "{:?}", report.error);
    let events = world.events.lock().unwrap();
    let ended = events.iter().filter(|event| matches!(event, Event::AgentEnded { failure: None, .. })).count();
    assert_eq!(ended, 5, "what could still be done was done");
}

#[tokio::test(start_paused = true)]
async fn called_workflows_wait_and_go_on_with_the_rest_of_the_run() {
    let call = |id| Request { id, action: Action::Workflow { name: "inner".into(), args: Json::null() } };
    let scripts = |inner: Vec<Vec<Request>>| vec![batches(vec![vec![call(1), agent(2, "nap")]]), batches(inner)];
    let asks = || vec![vec![gate(1, json!({ "title": "Go?" }))], vec![agent(1, "nap")]];
    let (report, _) = play(Desk::default(), scripts(asks())).await;
    assert_eq!(report.status, RunStatus::AwaitingGate, "{:?}", report.error);
    let desk = Desk { left: [(digest("Go?", Value::Null), yes("bob"))].into(), ..Desk::default() };
    let (report, _) = play(desk, scripts(asks())).await;
    assert_eq!((report.status, report.agents), (RunStatus::Completed, 2), "{:?}", report.error);
}

#[tokio::test(start_paused = true)]
async fn the_same_asked_twice_is_decided_once_and_anything_else_anew() {
    let desk = Desk { says: Some((Duration::from_secs(1), yes("ann"))), ..Desk::default() };
    let same = |id| gate(id, json!({ "title": "Go?", "payload": { "a": 1, "b": 2 } }));
    let other = gate(3, json!({ "title": "Go?", "payload": { "a": 1, "b": 3 } }));
    let (report, world) = play(desk, vec![batches(vec![vec![same(1), same(2), other], vec![same(4)]])]).await;
    assert_eq!((report.status, answers(&report).len()), (RunStatus::Completed, 4));
    assert_eq!(world.desk.lock().unwrap().asked.len(), 2);
    assert_eq!(decisions(&world).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_earlier_decision_holds_for_exactly_what_it_was_made_on() {
    let earlier = |desk: Desk| Desk { earlier: [(digest("Go?", json!({ "v": 1 })), yes("ann"))].into(), ..desk };
    let ask = |payload: Value| batches(vec![vec![gate(1, json!({ "title": "Go?", "payload": payload }))]]);
    let (report, world) = play(earlier(Desk::default()), vec![ask(json!({ "v": 1 }))]).await;
    assert_eq!((report.status, world.desk.lock().unwrap().asked.len()), (RunStatus::Completed, 0));
    assert_eq!(decisions(&world).len(), 1, "it is in this record, too");
    let (report, _) = play(earlier(Desk::default()), vec![ask(json!({ "v": 2 }))]).await;
    assert_eq!(report.status, RunStatus::AwaitingGate);
}

#[tokio::test(start_paused = true)]
async fn past_its_time_a_gate_counts_as_denied() {
    let desk = Desk { says: Some((Duration::from_secs(60), yes("ann"))), ..Desk::default() };
    let (report, _) =
        play(desk, vec![batches(vec![vec![gate(1, json!({ "title": "Go?", "expiresIn": 5_000 }))]])]).await;
    assert!(answers(&report)[0].contains(r#""approved":false,"by":"expiry""#), "{:?}", answers(&report));
}

#[tokio::test(start_paused = true)]
async fn a_gentle_stop_gives_gates_up() {
    let stop = Stop::default();
    let asker = stop.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        asker.ask();
    });
    let says = Some((Duration::from_secs(3_600), yes("ann")));
    let world = World { desk: Mutex::new(Desk { says, ..Desk::default() }), ..World::default() };
    let script = batches(vec![vec![gate(1, json!({ "title": "Go?" }))]]);
    let (report, world) = run_in(world, vec![script], 8, RunLimits::default(), &stop).await;
    assert!(answers(&report)[0].starts_with("1 threw cancelled"), "{:?}", answers(&report));
    assert_eq!((report.status, decisions(&world).len()), (RunStatus::Stopped, 0));
}

#[tokio::test(start_paused = true)]
async fn a_program_decides_by_its_status_and_never_for_a_person() {
    let check = |id, program: &str| gate(id, json!({ "title": "Tests", "check": { "program": program } }));
    let asked = vec![check(1, "true"), check(2, "false"), check(3, "ls"), check(4, "no such")];
    let (report, world) = play(Desk::default(), vec![batches(vec![asked])]).await;
    let said = answers(&report);
    assert!(said[0].contains(r#""approved":true,"by":"exec:true""#), "{said:?}");
    assert!(said[1].contains(r#""approved":false,"by":"exec:false""#), "{said:?}");
    assert!(said[2].starts_with("3 threw denied") && said[2].contains("exec:ls"), "{said:?}");
    assert!(said[3].starts_with("4 threw invalid-arguments"), "{said:?}");
    let person = digest("Tests", Value::Null);
    assert!(decisions(&world).iter().all(|(gate, ..)| *gate != person));
    assert_eq!(decisions(&world).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn floods_and_what_nobody_can_judge_are_refused() {
    let many = (0..40).map(|n| gate(n + 1, json!({ "title": "Go?", "payload": n })));
    let long = json!({ "title": "Go?", "payload": "x".repeat(70_000) });
    let odd = [long, json!({ "title": "" }), json!({ "title": "x".repeat(501) }), json!({ "title": 1 }), json!([])];
    let odd = (100..).zip(odd).map(|(id, options)| gate(id, options));
    let asked: Vec<_> = odd.chain(many).collect();
    let desk = Desk { says: Some((Duration::from_secs(1), yes("ann"))), ..Desk::default() };
    let (report, _) = play(desk, vec![batches(vec![asked])]).await;
    let said = answers(&report);
    assert_eq!(said.iter().filter(|told| told.contains("threw limit") && told.contains("gates-open")).count(), 8);
    assert!(said.iter().any(|told| told.starts_with("100 threw limit") && told.contains("gate-payload-bytes")));
    assert_eq!(said.iter().filter(|told| told.contains("threw invalid-arguments")).count(), 3, "{said:?}");
    // One after the other, they still come to an end.
    let rounds = (0..300).map(|n| vec![gate(n + 1, json!({ "title": "Go?", "payload": n }))]).collect();
    let desk = Desk { says: Some((Duration::from_secs(1), yes("ann"))), ..Desk::default() };
    let (report, _) = play(desk, vec![batches(rounds)]).await;
    let any = answers(&report).iter().filter(|told| told.contains("threw limit")).count();
    assert_eq!(any, 44, "{:?}", answers(&report)[0]);
}

#[tokio::test(start_paused = true)]
async fn gates_that_programs_decide_are_counted_with_the_others() {
    let check = |id| vec![gate(id, json!({ "title": "Tests", "check": { "program": "true" } }))];
    let (report, _) = play(Desk::default(), vec![batches((1..=300).map(check).collect())]).await;
    let said = answers(&report);
    let refused: Vec<_> = said.iter().filter(|told| told.contains("threw limit")).collect();
    assert_eq!(refused.len(), 300 - 256, "{said:?}");
    assert!(refused[0].starts_with("257 ") && refused[0].contains("gates is limited to 256"), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn where_decisions_could_be_forged_no_gate_opens() {
    let desk = Desk { distrusts: Some("the run holds write:/".into()), ..Desk::default() };
    let (report, world) = play(desk, vec![batches(vec![vec![gate(1, json!({ "title": "Go?" }))]])]).await;
    assert!(answers(&report)[0].contains("threw denied") && answers(&report)[0].contains("write:/"));
    assert!(!world.events.lock().unwrap().iter().any(|event| matches!(event, Event::GateOpened { .. })));
}
