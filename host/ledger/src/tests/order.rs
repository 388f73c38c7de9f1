//! Runs among each other: none can be taken out, put elsewhere or slipped in, and those of older programs still hold.

use super::*;
use crate::bundle;
use crate::chain;
use crate::reader::Reader;
use crate::verify::Verdict;
use rusqlite::{Connection, params};
use std::collections::BTreeMap;
use std::path::Path;

/// A ledger with three whole runs, and a connection that has removed the triggers, as a forger would.
fn three() -> (TempDir, PathBuf, Connection) {
    let (dir, path) = place();
    let ledger = Ledger::open(&path).unwrap();
    ["r1", "r2", "r3"].into_iter().for_each(|run| example(&ledger, run));
    ledger.close().unwrap();
    let forger = Connection::open(&path).unwrap();
    for trigger in ["events_stay_as_written", "events_stay", "runs_tell_what_stands_before"] {
        forger.execute_batch(&format!("DROP TRIGGER {trigger}")).unwrap();
    }
    (dir, path, forger)
}

/// What is wrong with the whole. Of each run by itself nothing is: no forger here recomputes a hash, and none needs to.
fn wrong(path: &Path) -> Vec<String> {
    let reader = Reader::open(path).unwrap();
    let wrong = reader.verify_all(|run, verdict| assert!(matches!(verdict, Verdict::Intact(_)), "{run}: {verdict:?}"));
    wrong.unwrap().iter().map(ToString::to_string).collect()
}

/// Give the run of the number `from` the number `to`, which must be free.
fn renumber(from: i64, to: i64) -> String {
    format!(
        "UPDATE events SET key = key + (({to} - {from}) << 32) WHERE key >> 32 = {from}; \
         UPDATE runs SET number = {to} WHERE number = {from};"
    )
}

fn remove(number: i64) -> String {
    format!("DELETE FROM events WHERE key >> 32 = {number}; DELETE FROM runs WHERE number = {number};")
}

#[test]
fn a_run_that_is_taken_out_or_put_elsewhere_is_missed() {
    let swapped = |one, other| [renumber(one, 99), renumber(other, one), renumber(99, other)].concat();
    for (sql, words) in [
        (remove(2) + &renumber(3, 2), &["before r3", "expected r2", "found r1"][..]),
        (remove(1) + &renumber(2, 1) + &renumber(3, 2), &["before r2", "expected r1", "found no run"]),
        (remove(1) + &remove(2) + &renumber(3, 1), &["before r3", "expected r2", "found no run"]),
        (swapped(2, 3), &["before r3", "expected r2", "found r1"]),
        (swapped(1, 2), &["before r2", "expected r1", "found no run"]),
        (remove(3) + &swapped(1, 2), &["before r2", "expected r1", "found no run"]),
    ] {
        let (_dir, path, forger) = three();
        assert_eq!(wrong(&path), [""; 0]);
        forger.execute_batch(&sql).unwrap();
        let wrong = wrong(&path);
        assert!(words.iter().all(|word| wrong[0].contains(word)), "{sql}: {wrong:?}");
    }
    // As `docs/records.md` says, of what was last nothing is left that could tell.
    let (_dir, path, forger) = three();
    forger.execute_batch(&remove(3)).unwrap();
    assert_eq!(wrong(&path), [""; 0]);
}

/// Begin a run as a program of schema 2 did.
fn begin_as_of_old(connection: &Connection, run: &str) -> rusqlite::Result<()> {
    let (body, genesis) = (Json::of(&started("s")).unwrap(), chain::genesis(&id(run)));
    let hash = chain::link(&id(run), 1, &genesis, 5_000, body.as_str().as_bytes());
    let insert = "INSERT INTO runs (id, title, status, started_ms, head) VALUES (?1, 's', 'running', 5, ?2)";
    connection.execute(insert, params![run, genesis.as_bytes()])?;
    let key = connection.last_insert_rowid() << 32 | 1;
    let insert = "INSERT INTO events (key, time_us, body, hash) VALUES (?1, 5000, ?2, ?3)";
    connection.execute(insert, params![key, body.as_str(), hash.as_bytes()])?;
    connection.execute("UPDATE runs SET events = 1, head = ?2 WHERE id = ?1", params![run, hash.as_bytes()])?;
    Ok(())
}

/// A ledger of two runs as a program of schema 2 left it, and its connection.
fn old() -> (TempDir, PathBuf, Connection) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.db");
    let connection = Connection::open(&path).unwrap();
    for sql in [include_str!("../schema/1.sql"), include_str!("../schema/2.sql")] {
        connection.execute_batch(sql).unwrap();
    }
    connection.pragma_update(None, "application_id", 0x5653_5059).unwrap();
    connection.pragma_update(None, "user_version", 2).unwrap();
    ["old1", "old2"].into_iter().for_each(|run| begin_as_of_old(&connection, run).unwrap());
    (dir, path, connection)
}

#[test]
fn what_an_older_program_left_is_read_verified_and_gone_on_with() {
    let (_dir, path, connection) = old();
    assert_eq!(wrong(&path), [""; 0], "also before anybody opens it for writing");
    let ledger = Ledger::open(&path).unwrap();
    // A run that was under way goes on; and the first new one stands behind an old one.
    ledger.append(&id("old1"), ended(RunStatus::Completed)).unwrap();
    example(&ledger, "new1");
    example(&ledger, "new2");
    ledger.close().unwrap();
    assert_eq!(wrong(&path), [""; 0]);
    for trigger in ["events_stay_as_written", "events_stay"] {
        connection.execute_batch(&format!("DROP TRIGGER {trigger}")).unwrap();
    }
    connection.execute_batch(&(remove(2) + &renumber(3, 2) + &renumber(4, 3))).unwrap();
    let wrong = wrong(&path);
    assert!(["before new1", "expected old2", "found old1"].iter().all(|word| wrong[0].contains(word)), "{wrong:?}");
}

#[test]
fn an_older_program_that_still_has_the_ledger_open_ends_what_it_began_and_begins_nothing() {
    let (_dir, path, connection) = old();
    let ledger = Ledger::open(&path).unwrap();
    example(&ledger, "new1");
    flush(&ledger).unwrap();
    let refused = connection.execute_batch("BEGIN").and_then(|()| begin_as_of_old(&connection, "late"));
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("newer version of vespiary"), "{refused}");
    connection.execute_batch("ROLLBACK").unwrap();
    connection.execute("UPDATE runs SET head = head, title = title WHERE id = 'old2'", []).unwrap();
    example(&ledger, "new2");
    ledger.close().unwrap();
    assert_eq!(wrong(&path), [""; 0]);
}

#[test]
fn a_run_that_says_nothing_of_the_one_before_it_is_told_from_an_old_one() {
    let (_dir, path, forger) = three();
    begin_as_of_old(&forger, "r4").unwrap();
    let wrong = wrong(&path);
    assert!(wrong[0].contains("r4 does not say"), "{wrong:?}");
}

#[test]
fn runs_that_several_processes_begin_at_once_stand_in_a_row() {
    let (_dir, path) = place();
    drop(Ledger::open(&path).unwrap());
    std::thread::scope(|scope| {
        for who in ["a", "b", "c"] {
            let path = &path;
            scope.spawn(move || {
                let ledger = Ledger::open(path).unwrap();
                for n in 0..30 {
                    ledger.append(&id(&format!("{who}{n}")), started("s")).unwrap();
                    // Some are begun in one group, and some in a group of their own.
                    if n % 3 == 0 {
                        flush(&ledger).unwrap();
                    }
                }
                ledger.close().unwrap();
            });
        }
    });
    assert_eq!(wrong(&path), [""; 0]);
    let runs: Vec<_> = Reader::open(&path).unwrap().runs(99).unwrap().into_iter().map(|run| run.id).collect();
    assert_eq!(runs.len(), 90);
}

/// The start says it in the text that is hashed, so it travels with the run, and is asked of nobody there.
#[test]
fn a_bundle_holds_what_stands_before_its_run_and_needs_it_not() {
    let (_dir, path, _forger) = three();
    let mut bytes = Vec::new();
    let reader = Reader::open(&path).unwrap();
    reader.export(&id("r3"), &BTreeMap::new(), &mut bytes).unwrap();
    let opened = bundle::verify(&bytes[..], Path::new("b.tar")).unwrap();
    assert!(matches!(opened.verdict, Verdict::Intact(_)), "{:?}", opened.verdict);
    let start = reader.events(&id("r2")).unwrap().next().unwrap().unwrap().hash;
    let named = format!(r#"\"after\":{{\"run\":\"r2\",\"first\":\"{start}\"}}"#);
    assert!(String::from_utf8_lossy(&bytes).contains(&named));
}
