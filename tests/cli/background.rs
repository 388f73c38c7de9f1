//! Runs without a terminal: started, followed and stopped from elsewhere.

use super::stop::{ENDLESS, SPINNER};
use super::{PATIENCE, Place, Running, component};
use rustix::process::{Pid, Signal, getsid, kill_process};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Instant;

/// A detached run, stopped when the test ends, however that is.
struct Detached<'a> {
    place: &'a Place,
    id: String,
}

impl<'a> Detached<'a> {
    fn start(place: &'a Place, script: &Path, args: &[&str]) -> Self {
        place.file("a.txt", "nothing in here\n");
        let said = place.run(script, &[&["--detach"], args].concat()).exits(0);
        let id = said.out().trim_end().to_owned();
        assert!(!id.contains(char::is_whitespace), "the id and nothing else: {id:?}");
        said.complains(&[&format!("runs watch {id}"), &format!("runs stop {id}")]);
        Self { place, id }
    }

    fn pid(&self) -> Option<Pid> {
        let text = fs::read_to_string(self.file("lock")).ok()?;
        Pid::from_raw(text.trim().parse().ok()?)
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.place.home().join("state/runs").join(&self.id).join(name)
    }

    fn until_says(&self, text: &str) {
        let begun = Instant::now();
        while !fs::read_to_string(self.file("progress.txt")).is_ok_and(|said| said.contains(text)) {
            assert!(begun.elapsed() < PATIENCE, "{:?}", fs::read_to_string(self.file("progress.txt")));
        }
    }
}

impl Drop for Detached<'_> {
    fn drop(&mut self) {
        // Only while it holds the lock is the number its own; an ended run has removed it.
        if let Some(pid) = self.pid() {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

#[test]
fn a_detached_run_goes_on_by_itself_and_can_be_followed_and_stopped() {
    let place = Place::new();
    let script = place.script(ENDLESS);
    let run = Detached::start(&place, &script, &["--agents", "100000"]);
    run.until_says("under way");
    let pid = run.pid().unwrap();
    assert_eq!(getsid(Some(pid)).unwrap(), pid, "it has a session of its own");
    for name in ["progress.txt", "output.txt", "lock"] {
        assert_eq!(fs::metadata(run.file(name)).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
    }

    let mut watching = Running::start(place.command_for_signals(&["runs", "watch", &run.id]));
    watching.until_says("under way");
    // Whoever stops watching stops nothing.
    watching.send(Signal::INT);
    let left = watching.wait();
    assert_eq!(
        left.code,
        None,
        "something else than the signal ended it: {}{}",
        left.out(),
        String::from_utf8_lossy(&left.stderr)
    );
    let listed = place.vespiary(&["runs", "list", "--json"]).exits(0).json("vespiary.runs/1");
    assert_eq!((&listed["runs"][0]["run"], &listed["runs"][0]["status"]), (&run.id.as_str().into(), &"running".into()));

    let watching = Running::start(place.command(&["runs", "watch", &run.id]));
    let asked = place.vespiary(&["runs", "stop", &run.id, "--json"]).exits(0).json("vespiary.run-stop/1");
    assert_eq!((&asked["run"], &asked["asked"]), (&run.id.as_str().into(), &"gently".into()));
    let said = watching.wait().exits(1).complains(&["under way"]);
    assert!(said.out().contains("stopped"), "{}", said.out());
    let record =
        place.vespiary(&["runs", "show", &run.id, "--verify", "--json"]).exits(0).json("vespiary.run-record/1");
    assert_eq!((&record["status"], &record["agents_failed"]), (&"stopped".into(), &0.into()));
    place.vespiary(&["runs", "stop", &run.id]).exits(2).complains(&["it has ended: stopped"]);
}

#[test]
fn a_run_that_does_not_stop_gently_is_ended() {
    let place = Place::new();
    let plugin = place.plugin(&component("tests/guests/built/hostile-agent.wasm"), SPINNER);
    let script =
        place.script("log('under way')\nreturn await agent('agent_spins', { agentType: 'spinner', context: {} })\n");
    let run = Detached::start(&place, &script, &["--plugin", plugin.to_str().unwrap()]);
    run.until_says("under way");
    let said = place.vespiary(&["runs", "stop", "last"]).exits(0);
    assert!(said.out().contains("agents that run may finish") && said.out().contains("--now"), "{}", said.out());
    run.until_says("asked to stop");
    place.vespiary(&["runs", "stop", &run.id, "--now"]).exits(0);
    let ended = place.vespiary(&["runs", "watch", &run.id, "--json"]).exits(1);
    assert_eq!(ended.json("vespiary.run-record/1")["status"], "stopped");
}

#[test]
fn a_short_run_is_followed_to_its_end_with_its_exit_code() {
    let place = Place::new();
    let script = place.script("phase('one')\nlog('hello')\nreturn 42");
    let run = Detached::start(&place, &script, &[]);
    let said = place.vespiary(&["runs", "watch", &run.id]).exits(0).complains(&["hello"]);
    assert!(said.out().contains("completed"), "{}", said.out());
    // Its answer and its report are where they would have been.
    let begun = Instant::now();
    while run.file("lock").exists() {
        assert!(begun.elapsed() < PATIENCE);
    }
    assert!(fs::read_to_string(run.file("output.txt")).unwrap().contains("completed"));
    assert!(place.path("out/report.md").is_file());

    let failing = place.script("throw new Error('no')");
    let told = place.run(&failing, &["--detach", "--json"]).exits(0).json("vespiary.run-detached/1");
    let id = told["run"].as_str().unwrap();
    place.vespiary(&["runs", "watch", id]).exits(1);
    assert!(Path::new(told["progress"].as_str().unwrap()).is_file());
}

#[test]
fn what_keeps_a_run_from_starting_is_said_at_once() {
    let place = Place::new();
    let missing = place.path("missing.js");
    place.run(&missing, &["--detach"]).exits(2).complains(&["missing.js cannot be read", "next: name a workflow"]);
    let error = place.run(&missing, &["--detach", "--json"]).exits(2).json("vespiary.error/1");
    assert_eq!(error["exit"], 2);
    assert!(fs::read_dir(place.home().join("state/runs")).unwrap().next().is_none(), "nothing is left of them");
    place.vespiary(&["runs", "watch", "nobody"]).exits(1).complains(&["there is no ledger"]);
    place.vespiary(&["call", "files.list"]).exits(0);
    place.vespiary(&["runs", "watch", "nobody"]).exits(2).complains(&["there is no run nobody"]);
    place.vespiary(&["runs", "stop", "nobody"]).exits(2).complains(&["there is no run nobody"]);
}

#[test]
fn a_run_whose_process_is_gone_is_not_waited_for() {
    let place = Place::new();
    let script = place.script(ENDLESS);
    let run = Detached::start(&place, &script, &["--agents", "100000"]);
    run.until_says("under way");
    let watching = Running::start(place.command(&["runs", "watch", &run.id]));
    kill_process(run.pid().unwrap(), Signal::KILL).unwrap();
    watching.wait().exits(1).complains(&[
        "has no end",
        "no process drives it any more",
        "next: what was recorded is kept",
    ]);
    place.vespiary(&["runs", "stop", &run.id]).exits(1).complains(&["cannot be stopped", "no process drives it"]);
    // A killed process leaves its lock's file behind, and nobody holds it: the number in it may be another's by now.
    fs::remove_file(run.file("lock")).unwrap();
}

#[test]
fn a_run_in_another_terminal_can_be_stopped_too() {
    let place = Place::new();
    place.file("a.txt", "nothing in here\n");
    let script = place.script(ENDLESS);
    let args = place.run_args(&script, &["--agents", "100000"]);
    let mut running = Running::start(place.command(&args.iter().map(String::as_str).collect::<Vec<_>>()));
    running.until_says("  under way\n");
    place.vespiary(&["runs", "stop", "last"]).exits(0);
    let said = running.wait().exits(1).complains(&["asked to stop"]);
    assert!(said.out().contains("stopped"), "{}", said.out());
    assert!(fs::read_dir(place.home().join("state/runs")).unwrap().next().is_none(), "nothing is left of it");
}
