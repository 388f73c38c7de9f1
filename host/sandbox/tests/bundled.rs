//! Bundled plugins as they ship: the file plugin in a real directory, what a granted tree lets through and what it does
//! not; and the script engine, step by step.

use crate::nest::{Guests, Nest, ROOM, failure, value};
use std::path::Path;
use std::sync::Arc;
use vespiary_kernel::call::{Failure, Outcome};
use vespiary_kernel::json::Json;
use vespiary_kernel::script::{Action, Budget, Completion, State};
use vespiary_sandbox::SandboxConfig;
use vespiary_sandbox::describe::Description;

const NEEDS: &str = "[[needs]]\ncapability='read:.'\nreason='r'\n\
    [[needs]]\ncapability='write:.'\nreason='r'\ntools=['write','edit']\n";

fn built(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../plugins/built/{name}.wasm"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}; run `cargo xtask guests`", path.display()))
}

fn files() -> Guests {
    Guests::default().with("files", "tools", built("files"), NEEDS)
}

/// Compiled once for all these tests, and for their next run.
fn nest(guests: Guests) -> Nest {
    let cache_dir = Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("code"));
    Nest::built(SandboxConfig { cache_dir, ..SandboxConfig::new(ROOM, Arc::new(guests)) })
}

/// A project with a file, a way out, and a FIFO nobody writes to; and a directory beside it.
fn project() -> (tempfile::TempDir, Nest) {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("root");
    std::fs::create_dir_all(root.join("src")).unwrap();
    std::fs::create_dir(root.join("out")).unwrap();
    std::fs::write(root.join("src/a.txt"), "one\ntwo\n").unwrap();
    std::fs::write(temp.path().join("secret"), "secret").unwrap();
    std::os::unix::fs::symlink("../../secret", root.join("src/link")).unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, root.join("src/fifo"), rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let nest = nest(files()).at(&root);
    (temp, nest)
}

async fn call(nest: &Nest, tool: &str, arguments: &str, grant: &[&str]) -> Outcome {
    let grant = [grant, &["tool:*"]].concat();
    nest.call_with(&format!("files.{tool}"), arguments, &grant).await
}

#[tokio::test]
async fn what_was_granted_is_readable_and_nothing_beside_it() {
    let (_temp, nest) = project();
    let read = |path: &'static str, grant: &'static [&'static str]| {
        let nest = nest.clone();
        async move { call(&nest, "read", &format!(r#"{{"path":"{path}"}}"#), grant).await }
    };
    assert!(value(&read("src/a.txt", &["read:."]).await).contains("one\\ntwo\\n"));
    assert!(value(&read("src/a.txt", &["read:src"]).await).contains("one\\ntwo\\n"));
    for path in ["src/link", "../secret", "/etc/passwd", "src/../../secret"] {
        failure(&read(path, &["read:."]).await);
    }
    failure(&read("src/a.txt", &["read:out"]).await);
    let started = std::time::Instant::now();
    failure(&read("src/fifo", &["read:."]).await);
    assert!(started.elapsed().as_secs() < 5, "a FIFO does not hold the thread");
}

#[tokio::test]
async fn writing_needs_its_own_grant_and_stays_in_it() {
    let (temp, nest) = project();
    let write = |path: &'static str, grant: &'static [&'static str]| {
        let nest = nest.clone();
        async move { call(&nest, "write", &format!(r#"{{"path":"{path}","text":"new"}}"#), grant).await }
    };
    let refused = write("out/b.txt", &["read:."]).await;
    assert!(matches!(failure(&refused), Failure::Denied(denial) if denial.needed.contains("write")), "{refused:?}");
    value(&write("out/b.txt", &["read:.", "write:out"]).await);
    assert_eq!(std::fs::read(temp.path().join("root/out/b.txt")).unwrap(), b"new");
    failure(&write("src/a.txt", &["read:.", "write:out"]).await);
    failure(&write("src/link", &["write:."]).await);
    assert_eq!(std::fs::read(temp.path().join("root/src/a.txt")).unwrap(), b"one\ntwo\n");
    assert_eq!(std::fs::read(temp.path().join("secret")).unwrap(), b"secret");
}

#[tokio::test]
async fn it_describes_its_tools() {
    let guests = files();
    let plugin = guests.plugin("files");
    let Description::Tools(tools) = nest(guests).sandbox.describe(&plugin).await.unwrap() else { panic!() };
    let names: Vec<_> = tools.iter().map(|tool| tool.name.as_str()).collect();
    assert!(names.contains(&"files.read") && names.contains(&"files.write"), "{names:?}");
    for tool in &tools {
        let schema: serde_json::Value = tool.input_schema.read().unwrap();
        assert_eq!(schema["type"], "object", "{}", tool.name);
    }
}

#[tokio::test]
async fn a_script_asks_waits_and_returns() {
    let nest = nest(Guests::default().with("engine", "engine", built("engine"), ""));
    let source = "export const meta = { name: 'n', description: 'd' };\n\
        const found = await parallel([1, 2, 3].map((n) => () => agent(`look ${n}`)));\n\
        return { found, args };\n";
    let mut session = nest.session("engine").await;
    let meta = session.check(source).await.unwrap().expect("the source is sound");
    assert!(meta.as_str().contains("\"n\""), "{meta}");
    let wrong = session.check("export const meta = {").await.unwrap().unwrap_err();
    assert!(wrong.line > 0, "{wrong:?}");
    let turn = nest.session("engine").await.start(source, &Json::null(), Budget::default()).await.unwrap();
    assert!(matches!(turn.state, State::Waiting));
    let mut session = nest.session("engine").await;
    let turn = session.start(source, &Json::parse("[7]").unwrap(), Budget::default()).await.unwrap();
    let ids: Vec<u64> = turn.requests.iter().map(|request| request.id).collect();
    assert!(turn.requests.iter().all(|request| matches!(&request.action, Action::Agent { .. })) && ids.len() == 3);
    let answer = |id: u64| Completion { id, settlement: Ok(Json::parse(id.to_string()).unwrap()) };
    let turn = session.step(ids.iter().rev().copied().map(answer).collect(), 0).await.unwrap();
    let State::Done(value) = turn.state else { panic!("{:?}", turn.state) };
    let value: serde_json::Value = value.read().unwrap();
    assert_eq!((&value["found"], &value["args"]), (&serde_json::json!(ids), &serde_json::json!([7])));
}

#[tokio::test]
async fn an_endless_script_ends_with_the_processor_time() {
    let quota = "[quota]\ncpu-time-ms-max = 200";
    let nest = nest(Guests::default().with("engine", "engine", built("engine"), quota));
    let source = "export const meta = { name: 'n', description: 'd' };\nfor (;;) {}\n";
    let failure = nest.session("engine").await.start(source, &Json::null(), Budget::default()).await.unwrap_err();
    assert!(matches!(&failure, Failure::Limit(hit) if hit.quota == "cpu-time-ms"), "{failure}");
}
