//! Whatever is changed behind the ledger's back, verifying names the place.

use super::*;
use crate::reader::Reader;
use crate::verify::Verdict;
use proptest::prelude::*;
use rusqlite::Connection;

/// A ledger with one example run, and a connection that has removed the triggers, as a forger would.
fn forged() -> (TempDir, PathBuf, Connection) {
    let (dir, path) = place();
    let ledger = Ledger::open(&path).unwrap();
    example(&ledger, "r1");
    ledger.close().unwrap();
    let forger = Connection::open(&path).unwrap();
    for trigger in ["events_stay_as_written", "events_stay", "blobs_stay_as_written", "blobs_stay"] {
        forger.execute_batch(&format!("DROP TRIGGER {trigger}")).unwrap();
    }
    (dir, path, forger)
}

fn verdict(path: &std::path::Path) -> Verdict {
    Reader::open(path).unwrap().verify(&id("r1")).unwrap()
}

fn broken_at(path: &std::path::Path) -> (u64, String) {
    match verdict(path) {
        Verdict::Broken(place) => (place.seq, place.to_string()),
        Verdict::Intact(intact) => panic!("the forgery went unseen: {intact:?}"),
    }
}

#[test]
fn the_forger_must_first_remove_the_triggers() {
    let (_dir, path) = place();
    let ledger = Ledger::open(&path).unwrap();
    example(&ledger, "r1");
    ledger.close().unwrap();
    let connection = Connection::open(&path).unwrap();
    for sql in [
        "UPDATE events SET body = '{}'",
        "DELETE FROM events",
        "UPDATE blobs SET content = x'00'",
        "DELETE FROM blobs WHERE number = 1",
    ] {
        let error = connection.execute_batch(sql).expect_err(sql).to_string();
        assert!(error.contains("append-only"), "{error}");
    }
    assert!(matches!(verdict(&path), Verdict::Intact(_)));
}

#[test]
fn rows_that_vanish_move_or_appear_are_named() {
    let swap = "UPDATE events SET key = -1 WHERE key & 4294967295 = 3; \
                UPDATE events SET key = key - 1 WHERE key & 4294967295 = 4; \
                UPDATE events SET key = (1 << 32) + 4 WHERE key = -1;";
    let copy = "INSERT INTO events SELECT key + 1, time_us, body, hash FROM events WHERE key & 4294967295 = 9";
    for (sql, seq, word) in [
        ("DELETE FROM events WHERE key & 4294967295 = 1", 1, "missing"),
        ("DELETE FROM events WHERE key & 4294967295 = 5", 5, "missing"),
        ("DELETE FROM events WHERE key & 4294967295 = 9", 0, "9 events"),
        ("DELETE FROM events", 0, "0 events ending"),
        (swap, 3, "recorded"),
        (copy, 10, "recorded"),
        ("UPDATE events SET time_us = time_us + 1 WHERE key & 4294967295 = 7", 7, "time"),
        ("UPDATE runs SET status = 'completed'", 0, "status"),
        ("UPDATE runs SET calls_failed = 0", 0, "counts"),
        ("UPDATE runs SET title = 'another'", 0, "title"),
        ("DELETE FROM blobs WHERE number = 1", 4, "blob"),
        ("UPDATE blobs SET content = x'20' WHERE number = 2", 5, "blob"),
    ] {
        let (_dir, path, forger) = forged();
        forger.execute_batch(sql).unwrap();
        let (at, text) = broken_at(&path);
        assert!(at == seq && text.contains(word), "{sql}: {text}");
    }
}

#[test]
fn a_run_cut_short_together_with_its_index_has_another_head() {
    let (_dir, path, forger) = forged();
    let whole = Reader::open(&path).unwrap().run(&id("r1")).unwrap().head;
    forger
        .execute_batch(
            "DELETE FROM events WHERE key & 4294967295 = 9; UPDATE runs SET events = 8, status = 'running', \
             ended_ms = NULL, head = (SELECT hash FROM events ORDER BY key DESC LIMIT 1)",
        )
        .unwrap();
    let Verdict::Intact(cut) = verdict(&path) else { panic!("a whole prefix is a chain") };
    assert!(!cut.ended && cut.head != whole, "only a head kept elsewhere can tell, and it does");
}

#[test]
fn every_changed_byte_of_every_row_is_seen() {
    let (_dir, path) = place();
    let ledger = Ledger::open(&path).unwrap();
    for run in ["r1", "r2"] {
        ledger.append(&id(run), started("s")).unwrap();
        ledger.append(&id(run), call_ended(1, Ok(Json::null()), vec![artifact(run.as_bytes())])).unwrap();
        ledger.append(&id(run), ended(RunStatus::Completed)).unwrap();
    }
    ledger.close().unwrap();
    let forger = Connection::open(&path).unwrap();
    for trigger in ["events_stay_as_written", "events_stay", "blobs_stay_as_written", "blobs_stay"] {
        forger.execute_batch(&format!("DROP TRIGGER {trigger}")).unwrap();
    }
    let reader = Reader::open(&path).unwrap();
    let holds = || {
        let mut intact = true;
        let wrong = reader.verify_all(|_, verdict| intact &= matches!(verdict, Verdict::Intact(_)));
        wrong.is_ok_and(|wrong| wrong.is_empty()) && intact
    };
    assert!(holds());
    let columns = [
        ("events", "key", &["key", "time_us"][..], &["body", "hash"][..]),
        (
            "runs",
            "number",
            &["number", "started_ms", "ended_ms", "agents", "agents_failed", "calls", "calls_failed", "events"],
            &["id", "title", "status", "head"],
        ),
        ("blobs", "number", &["number"], &["digest", "content"]),
    ];
    for (table, key, numbers, texts) in columns {
        let keys: Vec<i64> = {
            let mut statement = forger.prepare(&format!("SELECT {key} FROM {table}")).unwrap();
            statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
        };
        for row in keys {
            for column in numbers {
                let was: i64 = forger
                    .query_row(&format!("SELECT {column} FROM {table} WHERE {key} = ?1"), [row], |r| r.get(0))
                    .unwrap();
                for bit in [0, 1, 7, 31, 32, 47, 62] {
                    let set = |to: i64, at: i64| {
                        forger.execute(&format!("UPDATE {table} SET {column} = ?1 WHERE {key} = ?2"), [to, at])
                    };
                    let moved = if *column == key { was ^ (1 << bit) } else { row };
                    // A key that is taken cannot be given twice.
                    if set(was ^ (1 << bit), row).is_ok() {
                        assert!(!holds(), "{table}.{column} of {row}, bit {bit}");
                        set(was, moved).unwrap();
                    }
                }
            }
            for column in texts {
                let was: Vec<u8> = forger
                    .query_row(&format!("SELECT CAST({column} AS BLOB) FROM {table} WHERE {key} = ?1"), [row], |r| {
                        r.get(0)
                    })
                    .unwrap();
                let value = if ["body", "id", "title", "status"].contains(column) { "CAST(?1 AS TEXT)" } else { "?1" };
                let sql = format!("UPDATE {table} SET {column} = {value} WHERE {key} = ?2");
                for at in 0..was.len() {
                    let mut now = was.clone();
                    now[at] ^= 0x04;
                    forger.execute(&sql, rusqlite::params![now, row]).unwrap();
                    assert!(!holds(), "{table}.{column} of {row}, byte {at}");
                }
                forger.execute(&sql, rusqlite::params![was, row]).unwrap();
            }
        }
    }
    assert!(holds());
    // Rows that nothing asks for.
    for sql in [
        "INSERT INTO events VALUES ((9 << 32) + 1, 0, '{}', x'00')",
        "INSERT INTO blobs VALUES (3, x'00', x'00')",
        "INSERT INTO events VALUES ((1 << 32), 0, '{}', x'00')",
    ] {
        forger.execute_batch(sql).unwrap();
        assert!(!holds(), "{sql}");
        forger.execute_batch("DELETE FROM events WHERE body = '{}'; DELETE FROM blobs WHERE number = 3").unwrap();
        assert!(holds());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_changed_byte_is_found_where_it_is(seq in 1i64..=9, column in 0usize..2, place in 0usize..4_096, flip in 1u8..=255) {
        let (_dir, path, forger) = forged();
        let column = ["body", "hash"][column];
        let key = (1i64 << 32) + seq;
        let mut bytes: Vec<u8> = forger
            .query_row(&format!("SELECT CAST({column} AS BLOB) FROM events WHERE key = ?1"), [key], |row| row.get(0))
            .unwrap();
        let place = place % bytes.len();
        bytes[place] ^= flip;
        let value = if column == "body" { "CAST(?2 AS TEXT)" } else { "?2" };
        forger
            .execute(&format!("UPDATE events SET {column} = {value} WHERE key = ?1"), rusqlite::params![key, bytes])
            .unwrap();
        prop_assert_eq!(broken_at(&path).0, seq as u64);
    }
}
