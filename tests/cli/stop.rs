//! How a run ends before its end: Ctrl-C, Ctrl-C again, a request to terminate, and `kill -9`. What was recorded stays, the
//! record says how it ended, and its chain holds.

use super::{Place, Running, component};
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::path::Path;

/// Agents without end, each soon done: it goes on until somebody stops it, and then returns what it has.
pub(super) const ENDLESS: &str = "
let done = 0
for (;;) {
  const answers = await parallel(Array.from({ length: 32 }, () => () =>
    agent('x', { agentType: 'secrets', context: { mode: 'scan', files: ['a.txt'] } })))
  done += answers.filter(Boolean).length
  if (done <= 32) log('under way')
  if (answers.includes(null)) return { done }
}
";

/// An agent that never ends by itself. Its limits are beyond the patience of this suite.
pub(super) const SPINNER: &str = "name = 'spinner'\nversion = '1'\nkind = 'agent'\ndescription = 'd'\n\
                       [quota]\ncpu-time-ms-max = 3600000\nwall-time-ms-max = 3600000\n\
                       [[needs]]\ncapability = 'tool:*'\nreason = 'r'\n";

/// `vespiary run`, started, and seen at work.
fn started(place: &Place, script: &Path, args: &[&str]) -> Running {
    place.file("a.txt", "nothing in here\n");
    let args = place.run_args(script, args);
    let mut running = Running::start(place.command_for_signals(&args.iter().map(String::as_str).collect::<Vec<_>>()));
    running.until_says("  under way\n");
    running
}

fn endless(place: &Place) -> Running {
    let script = place.script(ENDLESS);
    started(place, &script, &["--agents", "100000"])
}

/// Two agents that spin; the run can only be ended from outside.
fn spinning(place: &Place) -> Running {
    let plugin = place.plugin(&component("tests/guests/built/hostile-agent.wasm"), SPINNER);
    let script = place.script(
        "const spin = () => agent('agent_spins', { agentType: 'spinner', context: {} })\n\
         const both = [spin(), spin()]\nlog('under way')\nreturn await Promise.all(both)\n",
    );
    started(place, &script, &["--plugin", plugin.to_str().unwrap()])
}

/// The only run of `place`, its record found intact.
#[track_caller]
fn recorded(place: &Place) -> Value {
    let list = place.vespiary(&["runs", "list", "--json"]).exits(0).json("vespiary.runs/1");
    assert_eq!(list["runs"].as_array().unwrap().len(), 1, "{list:#}");
    let show = ["runs", "show", "last", "--verify", "--events", "--json"];
    let record = place.vespiary(&show).exits(0).json("vespiary.run-record/1");
    assert_eq!(record["verified"]["intact"], true, "{}", record["verified"]);
    record
}

/// How the recorded calls ended, against how many were begun.
fn calls(record: &Value) -> (usize, usize) {
    let events = record["record"].as_array().unwrap();
    let of = |kind: &str| events.iter().filter(|event| event["event"].to_string().contains(kind)).count();
    (of("call-intended"), of("call-ended"))
}

#[test]
fn ctrl_c_lets_agents_finish_and_keeps_what_there_is() {
    let place = Place::new();
    let running = endless(&place);
    // Others can look at the ledger meanwhile, and write to it.
    let list = place.vespiary(&["runs", "list", "--json"]).exits(0).json("vespiary.runs/1");
    assert_eq!(list["runs"][0]["status"], "running");
    running.send(Signal::INT);
    let said = running.wait().exits(1).complains(&["stopping: agents that run may finish"]);
    assert!(said.out().contains("stopped"), "{}", said.out());

    let report = fs::read_to_string(place.path("out/report.md")).unwrap();
    assert!(report.contains("stopped"), "{report}");
    for name in ["report.html", "findings.sarif"] {
        assert!(place.path("out").join(name).is_file());
    }
    let record = recorded(&place);
    assert_eq!((&record["status"], &record["verified"]["ended"]), (&"stopped".into(), &true.into()));
    // The script returned by itself, after agents that had run to their end.
    let events = record["record"].as_array().unwrap();
    let end = &events.last().unwrap()["event"];
    let done = end.to_string();
    assert!(done.contains("\"done\":"), "{done}");
    assert_eq!(record["agents_failed"], 0);
}

#[test]
fn ctrl_c_again_ends_every_cell() {
    let place = Place::new();
    let mut running = spinning(&place);
    running.send(Signal::INT);
    running.until_says("stopping: agents that run may finish");
    running.send(Signal::INT);
    let said = running.wait().exits(1).complains(&["ending every cell"]);
    assert!(said.out().contains("stopped"), "{}", said.out());
    assert!(place.path("out/report.md").is_file());
    let record = recorded(&place);
    assert_eq!((&record["status"], &record["verified"]["ended"]), (&"stopped".into(), &true.into()));
    let (begun, ended) = calls(&record);
    assert!(begun >= 1 && begun == ended, "{begun} calls were begun and {ended} ended");
}

#[test]
fn ctrl_c_ends_a_single_call() {
    let place = Place::new();
    let plugin = place.plugin(&component("tests/guests/built/hostile-agent.wasm"), SPINNER);
    let task = r#"{"prompt": "agent_spins", "context": {}}"#;
    let call = ["call", "spinner.run", task, "--plugin", plugin.to_str().unwrap()];
    let running = Running::start(place.command_for_signals(&call));
    // It is recorded before it runs, so from then on there is something to stop. Until the ledger is made, none can be read.
    let is_recorded = || {
        let listed = place.vespiary(&["runs", "list", "--json"]);
        listed.code == Some(0) && listed.json("vespiary.runs/1")["runs"] != serde_json::json!([])
    };
    while !is_recorded() {}
    running.send(Signal::INT);
    running.wait().exits(1).complains(&["spinner.run gave no value", "cancelled", "next: start it again"]);
    let record = recorded(&place);
    assert_eq!((&record["status"], &record["calls_failed"]), (&"stopped".into(), &1.into()));
    assert_eq!(record["verified"]["ended"], true);
}

#[test]
fn a_request_to_terminate_ends_every_cell() {
    let place = Place::new();
    let running = spinning(&place);
    running.send(Signal::TERM);
    running.wait().exits(1);
    assert!(place.path("out/report.md").is_file());
    assert_eq!(recorded(&place)["status"], "stopped");
}

#[test]
fn kill_9_leaves_no_effect_unrecorded() {
    let place = Place::new();
    let script = place.script(
        "for (let n = 0; ; n++) {\n  await tool('files.write', { path: `out/${n}.txt`, text: '' })\n  \
         if (n === 20) log('under way')\n}\n",
    );
    fs::create_dir(place.project().join("out")).unwrap();
    let running = started(&place, &script, &["--allow", "write:out"]);
    running.send(Signal::KILL);
    assert_eq!(running.wait().code, None, "a signal ended it");

    let record = recorded(&place);
    assert_eq!((&record["status"], &record["verified"]["ended"]), (&"running".into(), &false.into()));
    let events = record["record"].to_string();
    let names =
        fs::read_dir(place.project().join("out")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    // A file that is being written lies beside its place, whole, until it is moved there.
    let (under_way, written): (Vec<_>, Vec<_>) = names.partition(|name| name.starts_with(".vespiary-"));
    assert!(under_way.len() <= 1, "the script writes one file after the other: {under_way:?}");
    assert!(written.len() > 20);
    for name in written {
        assert!(events.contains(&format!("out/{name}")), "{name} was written, and the record does not say so");
    }
    let said = place.vespiary(&["runs", "show", "last", "--verify"]).exits(0);
    assert!(said.out().contains("the run has no end"), "{}", said.out());
    // The next run goes into the same ledger.
    place.vespiary(&["call", "files.list"]).exits(0);
    let list = place.vespiary(&["runs", "list", "--json"]).exits(0).json("vespiary.runs/1");
    assert_eq!(list["runs"].as_array().unwrap().len(), 2);
}
