//! Attacks, each run as it stands in `tests/guests` and each refused with the cause its file names, while a neighbour's call
//! completes.

mod rig;

use rig::{Rig, SECRET};
use serde_json::json;
use vespiary_kernel::call::{Ending, Failure, Level};

const READ: &[&str] = &["read:.", "tool:*"];
const WRITE: &[&str] = &["read:.", "write:.", "tool:*"];
const AGENT: &[&str] = &["read:.", "tool:files.read", "tool:hostile-agent.run", "tool:hostile.neighbour"];

/// Attacks written as text; `rig` makes a plugin of each, named with dashes.
const WRITTEN: &[&str] = &[
    "table_growth",
    "call_itself",
    "start_loop",
    "huge_memory",
    "many_memories",
    "lying_pointer",
    "lying_length",
    "bad_utf8",
    "lying_realloc",
    "bad_variant",
    "sockets",
    "http",
    "other_world",
];

fn failed(failure: &Failure) -> &str {
    match failure {
        Failure::Failed(why) => why,
        other => panic!("expected the guest to be told, got {other:?}"),
    }
}

#[track_caller]
fn limit(failure: &Failure, quota: &str) {
    match failure {
        Failure::Limit(hit) => assert_eq!(hit.quota, quota, "{hit}"),
        other => panic!("expected the limit {quota}, got {other:?}"),
    }
}

#[track_caller]
fn trap(failure: &Failure, kinds: &[&str]) {
    match failure {
        Failure::Trapped(trap) => assert!(kinds.contains(&trap.kind.as_str()), "{trap:?}"),
        other => panic!("expected a trap of {kinds:?}, got {other:?}"),
    }
}

#[track_caller]
fn unrunnable(failure: &Failure, part: &str) {
    match failure {
        Failure::Unrunnable(why) => assert!(why.contains(part), "{why}"),
        other => panic!("expected the component to be refused, got {other:?}"),
    }
}

/// An attack by a compiled guest of the same name.
macro_rules! attack {
    ($name:ident, $arguments:expr, $grant:expr, |$rig:ident, $failure:ident| $check:expr) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            let $rig = Rig::new();
            let $failure = $rig.attack(concat!("hostile.", stringify!($name)), $arguments, $grant).await;
            $check;
        }
    };
}

attack!(read_dotdot, json!({ "path": "secret.txt" }), READ, |_rig, f| assert_eq!(failed(&f), "open: not-permitted"));
attack!(read_absolute, json!({ "path": "/etc/passwd" }), READ, |_rig, f| assert_eq!(failed(&f), "open: not-permitted"));
attack!(read_symlink_out, json!({ "path": "leak" }), READ, |_rig, f| assert_eq!(failed(&f), "open: not-permitted"));
attack!(read_proc, json!({}), READ, |_rig, f| assert!(failed(&f).starts_with("open: "), "{f}"));
attack!(link_then_read, json!({ "path": "../secret.txt" }), WRITE, |rig, f| {
    assert!(failed(&f).ends_with("not-permitted"), "{f}");
    assert!(rig.outside.path().join("secret.txt").exists());
});
attack!(hardlink_out, json!({ "path": "secret.txt" }), WRITE, |rig, f| {
    assert_eq!(failed(&f), "link: not-permitted");
    assert!(!rig.project.join("stolen").exists());
});
attack!(rename_out, json!({ "path": "notes.txt" }), WRITE, |rig, f| {
    assert_eq!(failed(&f), "rename: not-permitted");
    assert!(rig.project.join("notes.txt").exists() && !rig.outside.path().join("notes.txt").exists());
});
attack!(write_readonly, json!({ "path": "notes.txt" }), READ, |rig, f| {
    assert!(matches!(failed(&f), "open: not-permitted" | "open: read-only"), "{f}");
    assert_eq!(std::fs::read_to_string(rig.project.join("notes.txt")).unwrap(), "a note inside");
    assert!(!rig.project.join("created").exists() && !rig.project.join("made").exists());
});
attack!(delete_readonly, json!({ "path": "notes.txt" }), READ, |rig, f| {
    assert!(matches!(failed(&f), "unlink: not-permitted" | "unlink: read-only"), "{f}");
    assert!(rig.project.join("notes.txt").exists());
});
attack!(open_fifo, json!({ "path": "pipe" }), READ, |_rig, f| assert!(failed(&f).starts_with("open: "), "{f}"));
attack!(open_many_files, json!({ "path": "notes.txt" }), READ, |_rig, f| {
    assert!(matches!(f, Failure::Limit(_) | Failure::Failed(_) | Failure::Trapped(_)), "{f:?}");
    let held = std::fs::read_dir("/proc/self/fd").unwrap().count();
    assert!(held < 500, "{held} descriptors are still open");
});
attack!(environment, json!({}), READ, |_rig, f| assert_eq!(failed(&f), "environment: empty"));
attack!(standard_input, json!({}), READ, |_rig, f| assert_eq!(failed(&f), "stdin: closed"));
attack!(endless_loop, json!({}), READ, |_rig, f| limit(&f, "cpu-time-ms"));
attack!(endless_sleep, json!({}), READ, |_rig, f| limit(&f, "wall-time-ms"));
attack!(memory_growth, json!({}), READ, |_rig, f| limit(&f, "memory-bytes"));
attack!(deep_recursion, json!({}), READ, |_rig, f| {
    // The compiler keeps big frames on a stack of its own, in linear memory; whichever stack ends first.
    trap(&f, &["stack-overflow", "out-of-bounds"]);
});
attack!(huge_result, json!({}), READ, |_rig, f| {
    // The guest itself may run out of memory while it builds the answer; both are walls.
    match &f {
        Failure::Limit(hit) => assert!(matches!(hit.quota.as_str(), "result-bytes" | "memory-bytes"), "{hit}"),
        other => panic!("{other:?}"),
    }
});
attack!(invalid_json_result, json!({}), READ, |_rig, f| trap(&f, &["contract"]));
attack!(log_flood, json!({}), READ, |_rig, f| limit(&f, "log-bytes"));
attack!(stdout_flood, json!({}), READ, |_rig, f| {
    assert!(matches!(&f, Failure::Limit(hit) if hit.quota == "log-bytes") || failed(&f) == "stdout: closed", "{f:?}");
});
attack!(progress_flood, json!({}), READ, |_rig, f| limit(&f, "log-bytes"));
attack!(artifact_flood, json!({}), READ, |_rig, f| {
    assert!(f.to_string().contains("artifact-bytes"), "{f:?}");
});
attack!(artifact_bad_name, json!({}), READ, |_rig, f| assert_eq!(failed(&f), "artifact: every name refused"));
attack!(panic_with_words, json!({}), READ, |_rig, f| {
    trap(&f, &["unreachable"]);
    assert!(f.to_string().contains("out of bounds"), "the panic's words are part of the cause: {f}");
});

/// Not refused but disarmed: the text arrives, and nothing in it can move a cursor, hide, or pass for another level.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_escapes() {
    let rig = Rig::new();
    let outcome = rig.call_as(&rig.who(READ), "hostile.log_escapes", json!({})).await;
    assert!(matches!(outcome.ending, Ending::Done(_)), "{:?}", outcome.ending);
    let control = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    for line in &outcome.log {
        assert_eq!(line.level, Level::Info, "a line break cannot raise the level: {line:?}");
        assert!(!line.text.contains(control), "{line:?}");
    }
    let all: String = outcome.log.iter().map(|line| line.text.as_str()).collect();
    assert!(all.contains("innocent") && all.contains("forged"), "nothing is hidden either: {all}");
}

/// The well-behaved one, alone: what every other test relies on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neighbour() {
    let rig = Rig::new();
    let outcome = rig.call_as(&rig.who(READ), "hostile.neighbour", json!({ "text": "hello" })).await;
    assert!(matches!(outcome.ending, Ending::Done(value) if value.as_str() == "\"hello\""));
    let (intended, ended) = rig.record.calls();
    assert_eq!((intended, ended), (6, 6));
}

/// Attacks by a guest written as text, named with dashes in the catalog.
macro_rules! written {
    ($name:ident, |$failure:ident| $check:expr) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            let tool = format!("{}.anything", stringify!($name).replace('_', "-"));
            let $failure = Rig::new().attack(&tool, json!({}), READ).await;
            $check;
        }
    };
}

written!(table_growth, |f| limit(&f, "table-elements"));
written!(call_itself, |f| trap(&f, &["stack-overflow"]));
written!(start_loop, |f| limit(&f, "cpu-time-ms"));
written!(huge_memory, |f| assert!(matches!(f, Failure::Unrunnable(_) | Failure::Limit(_)), "{f:?}"));
written!(many_memories, |f| assert!(matches!(f, Failure::Unrunnable(_) | Failure::Limit(_)), "{f:?}"));
written!(lying_pointer, |f| trap(&f, &["out-of-bounds", "contract"]));
written!(lying_length, |f| assert!(matches!(f, Failure::Limit(_) | Failure::Trapped(_)), "{f:?}"));
written!(bad_utf8, |f| trap(&f, &["contract"]));
written!(lying_realloc, |f| trap(&f, &["out-of-bounds", "contract"]));
written!(bad_variant, |f| trap(&f, &["contract"]));
written!(sockets, |f| unrunnable(&f, "wasi:sockets"));
written!(http, |f| unrunnable(&f, "wasi:http"));
written!(other_world, |f| unrunnable(&f, "tool-plugin"));
written!(truncated, |f| assert!(matches!(f, Failure::Unrunnable(_)), "{f:?}"));
written!(bent, |f| assert!(matches!(f, Failure::Unrunnable(_)), "{f:?}"));
written!(core, |f| unrunnable(&f, "core WebAssembly module"));
written!(noise, |f| unrunnable(&f, "not WebAssembly"));
written!(empty, |f| unrunnable(&f, "not WebAssembly"));
written!(oversized, |f| unrunnable(&f, "at most"));

/// What a hostile agent's requests came back with, one line each.
async fn agent(rig: &Rig, attack: &str) -> Result<Vec<String>, Failure> {
    let task = json!({ "prompt": attack, "context": { "path": "notes.txt" } });
    rig.call_as(&rig.who(AGENT), "hostile-agent.run", task).await.into_result().map(|value| value.read().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agent_calls_ungranted_tool() {
    let told = agent(&Rig::new(), "agent_calls_ungranted_tool").await.unwrap();
    assert!(told[0].starts_with("refused") && told[0].contains("search"), "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agent_widens_grant() {
    let rig = Rig::new();
    let told = agent(&rig, "agent_widens_grant").await.unwrap();
    assert!(told[0].starts_with("refused") && told[0].contains("tool:files.write"), "{told:?}");
    assert_eq!(std::fs::read_to_string(rig.project.join("notes.txt")).unwrap(), "a note inside");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agent_starts_agent() {
    let told = agent(&Rig::new(), "agent_starts_agent").await.unwrap();
    assert!(told[0].starts_with("refused") && told[0].contains("spawn:1"), "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agent_forged_names() {
    let told = agent(&Rig::new(), "agent_forged_names").await.unwrap();
    assert_eq!(told.len(), 5);
    assert!(told.iter().all(|line| line.starts_with("refused")), "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agent_request_flood() {
    let rig = Rig::new();
    limit(&agent(&rig, "agent_request_flood").await.unwrap_err(), "tool-calls");
    let (intended, ended) = rig.record.calls();
    assert_eq!(intended, ended, "every request that was let through has its end in the record");
    assert_eq!(intended, 500 + 1 + 5, "the limit's worth of calls, the agent and its neighbour");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agent_looks_for_files() {
    assert_eq!(agent(&Rig::new(), "agent_looks_for_files").await.unwrap(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agent_spins() {
    limit(&agent(&Rig::new(), "agent_spins").await.unwrap_err(), "cpu-time-ms");
}

/// A denial is the same with and without a file to find: refusals tell nothing about what lies outside.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_tell_nothing_about_what_exists() {
    let rig = Rig::new();
    let there = rig.attack("hostile.read_absolute", json!({ "path": "/etc/passwd" }), READ).await;
    let nowhere = rig.attack("hostile.read_absolute", json!({ "path": "/etc/no-such-file" }), READ).await;
    assert_eq!(there, nowhere);
}

/// A tool granted one directory meets a link to another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_granted_directory_that_is_a_link_out_is_not_opened() {
    let rig = Rig::new();
    let grant = &["read:leak-dir", "tool:*"];
    let failure = rig.attack("hostile.read_symlink_out", json!({ "path": "secret.txt" }), grant).await;
    assert!(!failure.to_string().contains(SECRET), "{failure}");
}

/// The machine is as it was: a cell that was ended leaves no thread and no descriptor behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_left_behind() {
    let rig = Rig::new();
    let count = |dir: &str| std::fs::read_dir(dir).unwrap().count();
    rig.attack("hostile.memory_growth", json!({}), READ).await;
    let (threads, files) = (count("/proc/self/task"), count("/proc/self/fd"));
    for tool in ["endless_loop", "memory_growth", "huge_result", "panic_with_words", "artifact_flood"] {
        rig.attack(&format!("hostile.{tool}"), json!({}), READ).await;
    }
    // Other tests run in this process; they hold a bounded number of both.
    assert!(count("/proc/self/task") <= threads + 64, "threads grew");
    assert!(count("/proc/self/fd") <= files + 200, "descriptors grew");
}

/// Every guest has its test: a file that nobody runs is no wall.
#[test]
fn every_guest_is_run() {
    let own = concat!(include_str!("mod.rs"), include_str!("../guests/src/lib.rs"));
    let tests = include_str!("mod.rs");
    let guests = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/guests");
    for (dir, list) in [("src/attacks", own), ("wat", tests)] {
        for entry in std::fs::read_dir(guests.join(dir)).unwrap() {
            let name = entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned();
            let run = [format!("attack!({name},"), format!("written!({name},"), format!("async fn {name}()")];
            assert!(run.iter().any(|test| tests.contains(test.as_str())), "{dir}/{name} has no test of its name");
            assert!(list.contains(&name), "{dir}/{name} is not listed");
        }
    }
}
