//! What goes wrong with a file, and that people are told what to do about it.
#![allow(clippy::disallowed_methods, reason = "these trials damage files on purpose")]

use super::*;
use crate::ledger::Limits;
use crate::reader::Reader;
use crate::store::{BUSY_MAX, FaultKind, LedgerError};
use crate::verify::Verdict;
use rusqlite::Connection;
use std::fs;
use std::time::{Duration, Instant};

fn open_error(path: &std::path::Path) -> LedgerError {
    match Ledger::open(path) {
        Ok(_) => panic!("{} was opened", path.display()),
        Err(error) => error,
    }
}

/// Says what is wrong with which file, and something after it that helps.
fn explains(error: &LedgerError, kind: FaultKind, path: &std::path::Path) {
    assert_eq!(error.kind, kind, "{error}");
    assert!(error.what.contains(&path.display().to_string()), "{error}");
    assert!(error.remedy.len() > 15, "{error}");
}

#[test]
fn the_file_and_what_lies_beside_it_are_the_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let (_dir, path) = place();
    let ledger = Ledger::open(&path).unwrap();
    example(&ledger, "r1");
    flush(&ledger).unwrap();
    let mode = |p: &std::path::Path| fs::metadata(p).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    let files: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().map(|e| e.unwrap().path()).collect();
    assert!(files.len() >= 2, "the write-ahead log lies beside it: {files:?}");
    for file in files {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[test]
fn a_file_that_is_something_else_is_refused_and_left_as_it_is() {
    let (dir, _) = place();
    let path = dir.path().join("notes.txt");
    fs::write(&path, "these are my notes, not a database, and longer than any header would be\n".repeat(20)).unwrap();
    let before = fs::read(&path).unwrap();
    explains(&open_error(&path), FaultKind::NotALedger, &path);
    explains(&Reader::open(&path).unwrap_err(), FaultKind::NotALedger, &path);
    assert_eq!(fs::read(&path).unwrap(), before);

    let other = dir.path().join("bookmarks.db");
    Connection::open(&other).unwrap().execute_batch("CREATE TABLE bookmarks (url TEXT)").unwrap();
    let error = open_error(&other);
    explains(&error, FaultKind::NotALedger, &other);
    assert!(error.what.contains("another program"), "{error}");
    explains(&open_error(dir.path()), FaultKind::NotALedger, dir.path());
}

#[test]
fn a_newer_schema_is_refused() {
    let (_dir, path) = place();
    Ledger::open(&path).unwrap().close().unwrap();
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    for error in [open_error(&path), Reader::open(&path).unwrap_err()] {
        explains(&error, FaultKind::Newer, &path);
        assert!(error.what.contains("99") && error.remedy.contains("update vespiary"), "{error}");
    }
}

#[test]
fn a_damaged_file_is_told_from_a_foreign_one() {
    let (_dir, path) = place();
    let ledger = Ledger::open(&path).unwrap();
    example(&ledger, "r1");
    ledger.close().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    // Past the header: the schema's page itself.
    bytes[100..].fill(0xAA);
    fs::write(&path, bytes).unwrap();
    explains(&open_error(&path), FaultKind::Corrupt, &path);
    explains(&Reader::open(&path).unwrap_err(), FaultKind::Corrupt, &path);
}

#[test]
fn a_missing_ledger_is_not_created_by_reading() {
    let (_dir, path) = place();
    explains(&Reader::open(&path).unwrap_err(), FaultKind::Missing, &path);
    assert!(!path.exists());
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let (dir, _) = place();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = open_error(&file.join("ledger.db"));
    assert!(error.what.contains("file") && error.remedy.contains("VESPIARY_HOME"), "{error}");
    // Nobody can make files there, whoever they are.
    let error = open_error(std::path::Path::new("/proc/vespiary/ledger.db"));
    assert!(error.what.contains("/proc/vespiary") && error.remedy.contains("VESPIARY_HOME"), "{error}");
}

#[test]
fn a_ledger_that_can_only_be_read_is_refused_before_a_run_begins() {
    use std::os::unix::fs::PermissionsExt;
    let (_dir, path) = place();
    Ledger::open(&path).unwrap().close().unwrap();
    let directory = path.parent().unwrap();
    let set = |p: &std::path::Path, mode| fs::set_permissions(p, fs::Permissions::from_mode(mode)).unwrap();
    set(&path, 0o400);
    set(directory, 0o500);
    // Modes do not bind root; then both openings must simply work.
    let bound = fs::OpenOptions::new().write(true).open(&path).is_err();
    let (old, new) = (Ledger::open(&path), Ledger::open(&directory.join("new.db")));
    set(directory, 0o700);
    assert_eq!((old.is_err(), new.is_err()), (bound, bound));
    for error in [old.err(), new.err()].into_iter().flatten() {
        explains(&error, FaultKind::Permission, directory);
    }
}

#[test]
fn a_file_that_another_process_holds_ends_the_wait_and_then_everything_is_refused() {
    let (_dir, path) = place();
    let busy_max = Duration::from_millis(200);
    let ledger = Ledger::open_within(&path, &Limits { busy_max, ..Limits::default() }).unwrap();
    example(&ledger, "r1");
    flush(&ledger).unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let start = Instant::now();
    ledger.append(&id("r2"), started("t")).unwrap();
    let error = flush(&ledger).unwrap_err();
    assert!(start.elapsed() >= busy_max && start.elapsed() < BUSY_MAX, "{:?}", start.elapsed());
    assert!(error.what.contains("another process holds") && error.what.contains("ledger.db"), "{error}");
    assert_eq!(ledger.append(&id("r2"), intended(1, Json::null())).unwrap_err(), error);
    other.execute_batch("COMMIT").unwrap();
    assert_eq!(flush(&ledger).unwrap_err(), error, "a hole in the record is not closed by luck");
    assert_eq!(ledger.close().unwrap_err(), error);
    assert_eq!(Reader::open(&path).unwrap().runs(9).unwrap().len(), 1);
}

#[test]
fn what_no_ledger_holds_is_refused_by_itself_and_everybody_goes_on() {
    let (_dir, path) = place();
    let ledger = Ledger::open_within(&path, &Limits { part_bytes_max: 20_000, ..Limits::default() }).unwrap();
    example(&ledger, "r1");
    ledger.append(&id("r2"), started("t")).unwrap();
    let much = "x".repeat(20_001);
    let value = Json::of(&much).unwrap();
    let Event::RunStarted { version, title, script, root, grant, .. } = started("t") else { panic!() };
    for event in [
        call_ended(1, Ok(Json::null()), vec![artifact(b"small"), artifact(much.as_bytes())]),
        call_ended(1, Ok(value.clone()), vec![]),
        intended(1, value.clone()),
        Event::RunStarted { version, title, script, args: value, root, grant },
    ] {
        let error = ledger.append(&id("r2"), event).unwrap_err();
        assert!(error.what.contains("too many") && error.what.contains("20000 fit"), "{error}");
    }
    ledger.append(&id("r2"), call_ended(1, Ok(Json::null()), vec![artifact(&much.as_bytes()[1..])])).unwrap();
    ledger.append(&id("r2"), ended(RunStatus::Failed)).unwrap();
    ledger.close().unwrap();
    let reader = Reader::open(&path).unwrap();
    let wrong = reader.verify_all(|run, verdict| assert!(matches!(verdict, Verdict::Intact(_)), "{run} {verdict:?}"));
    assert_eq!(wrong.unwrap(), []);
    assert_eq!((reader.run(&id("r1")).unwrap().events, reader.run(&id("r2")).unwrap().events), (9, 3));
}

#[test]
fn a_full_disk_stops_everything_and_leaves_whole_groups() {
    let (_dir, path) = place();
    let ledger = Ledger::open_within(&path, &Limits { pages_max: Some(60), ..Limits::default() }).unwrap();
    example(&ledger, "r1");
    flush(&ledger).unwrap();
    ledger.append(&id("r2"), started("t")).unwrap();
    let mut flushed_events = 0;
    let error = loop {
        let noise = Json::of(&(0..300).map(|n| n * 7_919 + flushed_events).collect::<Vec<_>>()).unwrap();
        let step = ledger.append(&id("r2"), intended(flushed_events, noise)).and_then(|()| flush(&ledger));
        match step {
            Ok(()) => flushed_events += 1,
            Err(error) => break error,
        }
    };
    assert!(error.what.contains("no space") && error.remedy.contains("free space"), "{error}");
    assert!(flushed_events > 3, "the limit is meant to be met on the way");
    assert_eq!(ledger.append(&id("r3"), started("t")).unwrap_err(), error);
    assert_eq!(ledger.close().unwrap_err(), error);
    let reader = Reader::open(&path).unwrap();
    for run in ["r1", "r2"] {
        assert!(matches!(reader.verify(&id(run)).unwrap(), Verdict::Intact(_)), "{run}");
    }
    assert_eq!(reader.run(&id("r2")).unwrap().events, flushed_events + 1);
}
