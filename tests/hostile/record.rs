//! Attacks on the record: on the file that holds it, on the chain in it, and on the rule that what is not recorded does not
//! run. All but the last go through the program, as somebody would who looks for traces.

use super::rig::Rig;
use super::stage::play;
use crate::cli::{Place, component};
use rusqlite::Connection;
use serde_json::json;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use vespiary_kernel::call::{Failure, Keep, ToolCall};
use vespiary_kernel::event::Event;
use vespiary_kernel::ids::RunId;
use vespiary_kernel::json::Json;
use vespiary_kernel::ports::{BoxFuture, Log, LogError};

/// A place whose ledger holds one run of a script, with two calls, and one of a call.
fn recorded() -> Place {
    let place = Place::new();
    place.file("a.txt", "hello");
    let script =
        place.script("log('begun')\nawait tool('files.read', { path: 'a.txt' })\nreturn await tool('files.list', {})");
    place.run(&script, &["--quiet"]).exits(0);
    place.vespiary(&["call", "files.read", r#"{"path": "a.txt"}"#]).exits(0);
    place
}

/// Open the ledger as a forger would: past the triggers that stop mistakes.
fn forger(place: &Place) -> Connection {
    let forger = Connection::open(place.ledger()).unwrap();
    for trigger in ["events_stay_as_written", "events_stay", "blobs_stay_as_written", "blobs_stay"] {
        forger.execute_batch(&format!("DROP TRIGGER {trigger}")).unwrap();
    }
    forger
}

/// The runs in the ledger, the script's first.
fn runs(place: &Place) -> Vec<String> {
    let listed = place.vespiary(&["runs", "list", "--json"]).exits(0).json("vespiary.runs/1");
    let mut runs: Vec<String> =
        listed["runs"].as_array().unwrap().iter().map(|run| run["run"].as_str().unwrap().to_owned()).collect();
    runs.reverse();
    runs
}

/// Whatever was changed in the first run is seen, and named; the other run is still whole.
fn seen(sql: &str) {
    let place = recorded();
    forger(&place).execute_batch(sql).unwrap();
    let runs = runs(&place);
    let said = place.vespiary(&["runs", "show", &runs[0], "--verify"]).exits(1);
    assert!(said.out().contains("CHANGED"), "{sql}: {}", said.out());
    let told = place.vespiary(&["runs", "show", &runs[0], "--verify", "--json"]).exits(1).json("vespiary.run-record/1");
    assert_eq!(told["verified"]["intact"], false, "{sql}");
    place.vespiary(&["runs", "show", &runs[1], "--verify"]).exits(0);
}

#[test]
fn record_with_changed_words() {
    play(async {
        seen("UPDATE events SET body = replace(body, 'begun', 'ended') WHERE key >> 32 = 1");
    });
}

#[test]
fn record_with_changed_times() {
    play(async { seen("UPDATE events SET time_us = time_us - 3600000000 WHERE key >> 32 = 1") });
}

#[test]
fn record_without_a_call() {
    play(async { seen("DELETE FROM events WHERE key >> 32 = 1 AND body LIKE '%files.read%'") });
}

#[test]
fn record_in_another_order() {
    play(async {
        seen(
            "UPDATE events SET key = -1 WHERE key = (1 << 32) + 3; UPDATE events SET key = (1 << 32) + 3 WHERE key = (1 << 32) + 4; \
             UPDATE events SET key = (1 << 32) + 4 WHERE key = -1",
        );
    });
}

#[test]
fn record_of_another_run() {
    play(async {
        // An event of the second run in the place of the first run's at the same number: sound by itself, and foreign.
        seen(
            "UPDATE events SET body = (SELECT body FROM events WHERE key = (2 << 32) + 2), hash = (SELECT hash FROM events WHERE \
             key = (2 << 32) + 2), time_us = (SELECT time_us FROM events WHERE key = (2 << 32) + 2) WHERE key = (1 << 32) + 2",
        );
    });
}

#[test]
fn record_cut_off() {
    play(async {
        seen("DELETE FROM events WHERE key = (SELECT max(key) FROM events WHERE key >> 32 = 1)");
    });
}

#[test]
fn record_with_a_better_end() {
    play(async { seen("UPDATE runs SET status = 'failed', calls = calls + 1 WHERE number = 1") });
}

#[test]
fn record_appended_to() {
    play(async {
        seen(
            "INSERT INTO events SELECT max(key) + 1, max(time_us) + 1, '{\"log\":{\"text\":\"forged\"}}', randomblob(32) FROM events \
             WHERE key >> 32 = 1; UPDATE runs SET events = events + 1 WHERE number = 1",
        );
    });
}

#[test]
fn record_of_no_events() {
    play(async { seen("UPDATE events SET body = '[]' WHERE key >> 32 = 1") });
}

#[test]
fn record_of_bytes() {
    play(async { seen("UPDATE events SET body = CAST(x'fffe00' AS TEXT) WHERE key = (1 << 32) + 2") });
}

/// A trigger that swallows what is written: the program must notice that nothing was recorded, and run nothing.
#[test]
fn ledger_that_forgets() {
    play(async {
        for table in ["events", "runs"] {
            let place = recorded();
            let swallow = format!("CREATE TRIGGER forget BEFORE INSERT ON {table} BEGIN SELECT RAISE(IGNORE); END");
            Connection::open(place.ledger()).unwrap().execute_batch(&swallow).unwrap();
            let write = ["call", "files.write", r#"{"path": "made.txt", "text": "x"}"#, "--allow", "write:."];
            let said = place.vespiary(&write);
            assert_ne!(said.code, Some(0), "{table}: {}", said.out());
            assert!(!place.project().join("made.txt").exists(), "it ran without a record");
        }
    });
}

/// A ledger that is something else is named as such, at once, and is not written.
fn not_a_ledger(make: impl Fn(&Path), part: &str) {
    let place = Place::new();
    fs::create_dir_all(place.ledger().parent().unwrap()).unwrap();
    make(&place.ledger());
    for args in [&["call", "files.list"][..], &["runs", "list"], &["runs", "show", "last"]] {
        place.vespiary(args).exits(1).complains(&["ledger.sqlite", part, "next: "]);
    }
}

#[test]
fn ledger_is_a_directory() {
    play(async { not_a_ledger(|path| fs::create_dir(path).unwrap(), "not a Vespiary ledger") });
}

#[test]
fn ledger_is_a_pipe() {
    play(async {
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        not_a_ledger(|path| rustix::fs::mkfifoat(rustix::fs::CWD, path, mode).unwrap(), "not a Vespiary ledger");
    });
}

#[test]
fn ledger_is_a_device() {
    play(async { not_a_ledger(|path| symlink("/dev/zero", path).unwrap(), "not a Vespiary ledger") });
}

#[test]
fn ledger_is_another_file() {
    play(async {
        let victim = tempfile::NamedTempFile::new().unwrap();
        fs::write(victim.path(), "precious words").unwrap();
        not_a_ledger(|path| symlink(victim.path(), path).unwrap(), "not a Vespiary ledger");
        assert_eq!(fs::read_to_string(victim.path()).unwrap(), "precious words");
    });
}

#[test]
fn ledger_of_another_program() {
    play(async {
        let make = |path: &Path| {
            Connection::open(path)
                .unwrap()
                .execute_batch("CREATE TABLE diary (day); INSERT INTO diary VALUES (1)")
                .unwrap();
        };
        not_a_ledger(make, "another program");
    });
}

#[test]
fn ledger_from_the_future() {
    play(async {
        let place = recorded();
        Connection::open(place.ledger()).unwrap().pragma_update(None, "user_version", 9_999).unwrap();
        place.vespiary(&["call", "files.list"]).exits(1).complains(&["schema 9999", "next: "]);
    });
}

/// Sixteen mebibytes of arguments and as much of an answer. They are recorded whole, and the chain holds.
#[test]
fn record_of_a_huge_call() {
    play(async {
        let place = Place::new();
        let manifest = "name = 'mine'\nversion = '1'\nkind = 'tools'\ndescription = 'd'\n[quota]\nresult-bytes-max = 33554432\n\
                        memory-bytes-max = 268435456\n";
        let plugin = place.plugin(&component("tests/guests/built/hostile.wasm"), manifest);
        let text = "\\u001b\\n\"}{\"".replace('"', "\\\"").repeat(1 << 20);
        let arguments = place.file("arguments.json", format!("{{\"text\":\"{text}\"}}"));
        let at = format!("@{}", arguments.to_str().unwrap());
        let call = ["call", "mine.neighbour", &at, "--plugin", plugin.to_str().unwrap(), "--json"];
        place.vespiary(&call).exits(0);
        place.vespiary(&["runs", "show", "last", "--verify"]).exits(0);
    });
}

/// A log that takes some events and then no more, and remembers what it took.
struct Full {
    room: AtomicUsize,
    taken: Mutex<Vec<Event>>,
    /// Whether nothing of it ever comes to the disk.
    stuck: bool,
}

impl Full {
    fn with_room_for(room: usize) -> Arc<Self> {
        Arc::new(Self { room: AtomicUsize::new(room), taken: Mutex::default(), stuck: false })
    }
}

impl Log for Full {
    fn append(&self, _: &RunId, event: Event) -> Result<(), LogError> {
        let room = self.room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |room| room.checked_sub(1));
        room.map_err(|_| full())?;
        self.taken.lock().unwrap().push(event);
        Ok(())
    }

    fn flushed(&self) -> BoxFuture<'_, Result<(), LogError>> {
        Box::pin(async { if self.stuck { Err(full()) } else { Ok(()) } })
    }
}

fn full() -> LogError {
    LogError { what: "the disk is full".into(), remedy: "free some space".into() }
}

/// No record, no run: a call that cannot be recorded as intended or as admitted leaves nothing behind, and one whose end
/// cannot be recorded is not reported as one that ended well.
#[test]
fn call_without_a_record() {
    play(async {
        for (room, runs) in [(0, false), (1, false), (2, true)] {
            let log = Full::with_room_for(room);
            let rig = Rig::logging_to(log.clone());
            let who = rig.who(&["read:.", "write:.", "tool:files.write"]);
            let arguments = Json::of(&json!({ "path": "made.txt", "text": "x" })).unwrap();
            let call = ToolCall { tool: "files.write".parse().unwrap(), arguments, keep: Keep::Value };
            let failure = rig.dispatcher.dispatch(&who, call).await.into_result().unwrap_err();
            assert!(matches!(&failure, Failure::Unrecorded(why) if why.contains("disk is full")), "{failure:?}");
            assert_eq!(rig.project.join("made.txt").exists(), runs, "with room for {room} events");
            assert_eq!(log.taken.lock().unwrap().len(), room);
        }
    });
}

/// The same for a call that changes nothing: it is not run first and refused afterwards.
#[test]
fn read_without_a_record() {
    play(async {
        for (room, runs) in [(0, false), (1, true)] {
            let rig = Rig::logging_to(Full::with_room_for(room));
            let arguments = Json::of(&json!({ "path": "notes.txt" })).unwrap();
            let call = ToolCall { tool: "files.read".parse().unwrap(), arguments, keep: Keep::Value };
            let outcome = rig.dispatcher.dispatch(&rig.who(&["read:.", "tool:files.read"]), call).await;
            assert_eq!(outcome.usage.memory_bytes_peak > 0, runs, "with room for {room} events");
            let failure = outcome.into_result().unwrap_err();
            assert!(matches!(&failure, Failure::Unrecorded(why) if why.contains("disk is full")), "{failure:?}");
        }
    });
}

/// Taken is not written: what can change something waits until its record is on the disk.
#[test]
fn record_that_never_comes_to_the_disk() {
    play(async {
        let log = Full { room: AtomicUsize::new(9), taken: Mutex::default(), stuck: true };
        let rig = Rig::logging_to(Arc::new(log));
        let arguments = Json::of(&json!({ "path": "made.txt", "text": "x" })).unwrap();
        let call = ToolCall { tool: "files.write".parse().unwrap(), arguments, keep: Keep::Value };
        let who = rig.who(&["read:.", "write:.", "tool:files.write"]);
        let failure = rig.dispatcher.dispatch(&who, call).await.into_result().unwrap_err();
        assert!(matches!(&failure, Failure::Unrecorded(why) if why.contains("disk is full")), "{failure:?}");
        assert!(!rig.project.join("made.txt").exists());
    });
}
