//! Programs through the one door: recorded, judged, admitted, run.

use crate::rig::{Rig, SECRET};
use std::borrow::Cow;
use std::sync::{Arc, Mutex};
use vespiary_kernel::call::{Ending, Failure, Keep, Outcome, ToolCall};
use vespiary_kernel::dispatch::Dispatcher;
use vespiary_kernel::event::Event;
use vespiary_kernel::grant::Grant;
use vespiary_kernel::ids::{Digest, RunId, ToolName};
use vespiary_kernel::json::Json;
use vespiary_kernel::plugin::{Manifest, Plugin, Trust};
use vespiary_kernel::policy::{Answer, Policy};
use vespiary_kernel::pool::{Capacity, Pool};
use vespiary_kernel::ports::{Approver, Asked, BoxFuture, Catalog, Log, LogError};
use vespiary_kernel::principal::RunLimits;
use vespiary_kernel::program::{ProgramResult, ProgramStatus};

#[derive(Default)]
struct Record(Mutex<Vec<Event>>);

impl Log for Record {
    fn append(&self, _: &RunId, event: Event) -> Result<(), LogError> {
        self.0.lock().unwrap().push(event);
        Ok(())
    }

    fn flushed(&self) -> BoxFuture<'_, Result<(), LogError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

struct Shelf(Arc<Plugin>);

impl Catalog for Shelf {
    fn find(&self, tool: &ToolName) -> Option<Arc<Plugin>> {
        (tool.plugin() == self.0.name.as_str()).then(|| Arc::clone(&self.0))
    }

    fn component(&self, _: &Digest) -> Option<Cow<'static, [u8]>> {
        None
    }

    fn names(&self) -> Vec<String> {
        vec!["exec".into()]
    }
}

struct Nobody;

impl Approver for Nobody {
    fn ask<'a>(&'a self, _: Asked<'a>) -> BoxFuture<'a, Answer> {
        Box::pin(async { Answer::Nobody("nobody is there".into()) })
    }
}

/// Call `exec.run` over the rig's project, holding `grant`, under rules that deny `deny`.
async fn call(rig: &Rig, grant: &[&str], deny: &[&str], arguments: serde_json::Value) -> (Outcome, Arc<Record>) {
    let caps = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>();
    let manifest = Manifest::parse(vespiary_programs::MANIFEST).unwrap();
    let digest = Digest::of(vespiary_programs::MANIFEST.as_bytes());
    let plugin = Plugin::new(manifest, digest, Trust::Bundled).unwrap();
    let record = Arc::new(Record::default());
    let dispatcher = Dispatcher::new(
        record.clone(),
        Arc::new(Shelf(Arc::new(plugin))),
        Policy::of_run(caps(deny), vec![]),
        Pool::new(Capacity::of_places(2, 1, 1, 2)),
        Arc::new(rig.programs.clone()),
        Arc::new(Nobody),
    );
    let who = dispatcher.start(
        "door".parse().unwrap(),
        rig.project.clone(),
        Grant::of_run(caps(grant)),
        RunLimits::default(),
    );
    let call =
        ToolCall { tool: "exec.run".parse().unwrap(), arguments: Json::of(&arguments).unwrap(), keep: Keep::Value };
    (dispatcher.dispatch(&who, call).await, record)
}

#[track_caller]
fn result(outcome: &Outcome) -> ProgramResult {
    match &outcome.ending {
        Ending::Done(json) => json.read().unwrap(),
        Ending::Failed(failure) => panic!("{failure}"),
    }
}

fn cat(path: &str) -> serde_json::Value {
    serde_json::json!({ "program": "cat", "args": [path] })
}

#[tokio::test]
async fn a_granted_program_runs_and_is_recorded_before_and_after() {
    let rig = Rig::new();
    let (outcome, record) = call(&rig, &["tool:exec.*", "exec:cat", "read:."], &[], cat("notes.txt")).await;
    let said = result(&outcome);
    assert_eq!((said.status, said.stdout.as_str()), (ProgramStatus::Exited(0), "a note inside"));
    assert!(outcome.usage.cpu_us > 0 && outcome.usage.wall_us > 0, "{:?}", outcome.usage);
    let events = record.0.lock().unwrap();
    let kinds: Vec<_> = events
        .iter()
        .map(|event| match event {
            Event::CallIntended { .. } => "intended",
            Event::CallAdmitted { .. } => "admitted",
            Event::CallEnded { .. } => "ended",
            _ => "other",
        })
        .collect();
    assert_eq!(kinds, ["intended", "admitted", "ended"]);
}

#[tokio::test]
async fn a_program_that_was_not_granted_does_not_run() {
    let rig = Rig::new();
    for grant in [
        &["tool:exec.*", "read:."][..],
        &["tool:exec.*", "exec:ca", "read:."],
        &["tool:exec.*", "exec:/usr/bin/cat", "read:."],
        &["exec:cat", "read:."],
    ] {
        let (outcome, record) = call(&rig, grant, &[], cat("notes.txt")).await;
        let Ending::Failed(Failure::Denied(denial)) = &outcome.ending else {
            panic!("{grant:?}: {:?}", outcome.ending)
        };
        assert!(denial.needed.contains("exec"), "{denial}");
        assert!(!record.0.lock().unwrap().iter().any(|event| matches!(event, Event::CallAdmitted { .. })));
    }
    let (outcome, _) = call(&rig, &["tool:exec.*", "exec:cat", "read:."], &["exec:cat"], cat("notes.txt")).await;
    assert!(matches!(outcome.ending, Ending::Failed(Failure::Denied(_))), "{:?}", outcome.ending);
}

#[tokio::test]
async fn arguments_do_not_widen_what_was_granted() {
    let rig = Rig::new();
    let held = &["tool:exec.*", "exec:cat", "exec:sh", "read:."];
    for bad in [
        serde_json::json!({ "program": "cat", "dir": "../" }),
        serde_json::json!({ "program": "cat", "dir": "/etc" }),
        serde_json::json!({ "program": "cat", "network": true }),
        serde_json::json!({ "program": "./cat" }),
        serde_json::json!({ "program": "cat", "args": ["a\0b"] }),
    ] {
        let (outcome, _) = call(&rig, held, &[], bad.clone()).await;
        assert!(matches!(outcome.ending, Ending::Failed(Failure::InvalidArguments(_))), "{bad}: {:?}", outcome.ending);
    }
    // A directory that is a link out of the project is not followed: what it leads to is not there.
    let (outcome, _) =
        call(&rig, held, &[], serde_json::json!({ "program": "cat", "dir": "leak-dir", "args": ["secret.txt"] })).await;
    match &outcome.ending {
        Ending::Failed(Failure::Failed(why)) => assert!(why.contains("cannot start in"), "{why}"),
        _ => {
            let said = result(&outcome);
            assert!(said.status != ProgramStatus::Exited(0) && !said.stdout.contains(SECRET), "{said:?}");
        }
    }
}

#[tokio::test]
async fn holes_and_hidden_files_are_closed_for_programs_too() {
    let rig = Rig::new();
    for (file, text) in [(".env", "TOKEN=hidden"), ("private.txt", "hidden"), ("inside/server.key", "hidden")] {
        std::fs::write(rig.project.join(file), text).unwrap();
    }
    std::fs::create_dir_all(rig.project.join(".git/hooks")).unwrap();
    let held = &["tool:exec.*", "exec:cat", "exec:sh", "write:."];
    for file in [".env", "private.txt", "inside/server.key", "inside/../.env"] {
        let (outcome, _) = call(&rig, held, &["read:private.txt"], cat(file)).await;
        let said = result(&outcome);
        assert!(said.status == ProgramStatus::Exited(1) && !said.stdout.contains("hidden"), "{file}: {said:?}");
    }
    let script = "echo x > made && ! echo x > .git/hooks/pre-commit && ! mv .git moved && ! echo x > notes.txt";
    let arguments = serde_json::json!({ "program": "sh", "args": ["-c", script] });
    let (outcome, _) = call(&rig, held, &["write:notes.txt"], arguments).await;
    assert_eq!(result(&outcome).status, ProgramStatus::Exited(0), "{outcome:?}");
    assert!(rig.project.join("made").exists() && !rig.project.join(".git/hooks/pre-commit").exists());
    assert_eq!(std::fs::read_to_string(rig.project.join("notes.txt")).unwrap(), "a note inside");
}

#[tokio::test]
async fn a_partial_network_is_none_and_the_environment_is_empty() {
    let rig = Rig::new();
    let held = &["tool:exec.*", "exec:sh", "read:.", "net:example.com", "net:*:*"];
    let script = "env | sort; wc -l < /proc/net/dev";
    let (outcome, _) = call(&rig, held, &[], serde_json::json!({ "program": "sh", "args": ["-c", script] })).await;
    let said = result(&outcome).stdout;
    let names: Vec<_> = said.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    // PWD and its like the shell sets for itself.
    assert!(
        names
            .iter()
            .all(|name| matches!(*name, "HOME" | "LANG" | "PATH" | "PWD" | "TMPDIR" | "OLDPWD" | "SHLVL" | "_")),
        "{said}"
    );
    assert_eq!(said.lines().last(), Some("3"), "there is a network: {said}");
}

#[tokio::test]
async fn a_run_that_is_ended_keeps_what_it_had_said() {
    let rig = Rig::new();
    let arguments =
        serde_json::json!({ "program": "sh", "args": ["-c", "printf 'begun \\033[31m\\n'; kill -XCPU $$"] });
    let (outcome, _) = call(&rig, &["tool:exec.*", "exec:sh", "read:."], &[], arguments).await;
    let Ending::Failed(Failure::Limit(hit)) = &outcome.ending else { panic!("{:?}", outcome.ending) };
    assert_eq!(hit.quota, "cpu-time-ms");
    assert_eq!(outcome.log[0].text, "begun \\u{1b}[31m");
}

#[tokio::test]
async fn a_program_that_is_given_no_files_runs_in_its_own_directory() {
    let rig = Rig::new();
    let arguments = serde_json::json!({ "program": "sh", "args": ["-c", "pwd; cat > x; cat x"], "stdin": "words" });
    let (outcome, _) = call(&rig, &["tool:exec.*", "exec:sh"], &[], arguments).await;
    assert_eq!(result(&outcome).stdout, "/tmp\nwords");
    assert!(!rig.project.join("x").exists());
}
