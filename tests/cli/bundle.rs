//! `runs export` and `audit verify`: a run leaves as one file that anybody can check, and no change of it or of the ledger goes
//! unseen.

use super::{Place, Said, places};
use rusqlite::Connection;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

/// A place with one run in it: a long answer, an artifact-less tool, a phase, and words of the script.
fn with_a_run() -> (Place, String) {
    let place = Place::new();
    place.file("a.txt", "some words\n".repeat(900));
    let script = place.script(
        "phase('look')\nlog('in the record')\nconst a = await tool('files.read', { path: 'a.txt' })\nreturn a.text",
    );
    let run = place.run(&script, &["--json"]).exits(0).json("vespiary.run/1")["run"].as_str().unwrap().to_owned();
    (place, run)
}

fn verify(place: &Place, args: &[&str]) -> Said {
    place.vespiary(&[&["audit", "verify"], args].concat())
}

fn answer(place: &Place, args: &[&str], code: i32) -> Value {
    verify(place, &[args, &["--json"]].concat()).exits(code).json("vespiary.audit/1")
}

#[test]
fn a_run_leaves_as_one_file_and_is_checked_elsewhere() {
    let (place, run) = with_a_run();
    let export = ["runs", "export", &run, "--out", "b.tar", "--json"];
    let told = place.vespiary(&export).exits(0).json("vespiary.export/1");
    let (bundle, head) = (place.project().join("b.tar"), told["head"].as_str().unwrap());
    let bytes = fs::read(&bundle).unwrap();
    assert_eq!(
        (&told["run"], &told["bytes"], &told["ended"]),
        (&run.as_str().into(), &bytes.len().into(), &true.into())
    );
    assert_eq!(fs::metadata(&bundle).unwrap().permissions().mode() & 0o777, 0o600, "arguments and answers are in it");
    place.vespiary(&export).exits(0);
    assert!(fs::read(&bundle).unwrap() == bytes, "the same run gives the same bytes");
    // Any tar reads it.
    assert!(!places(&bytes, b"in the record").is_empty() && !places(&bytes, b"report/report.html").is_empty());

    let elsewhere = Place::new();
    fs::copy(&bundle, elsewhere.project().join("b.tar")).unwrap();
    let found = answer(&elsewhere, &["--bundle", "b.tar", "--head", head], 0);
    assert_eq!(
        (&found["ok"], &found["runs"][0]["intact"], &found["runs"][0]["run"]),
        (&true.into(), &true.into(), &run.as_str().into())
    );
    assert_eq!(found["runs"][0]["events"], told["events"]);
    assert!(!elsewhere.ledger().exists(), "nothing but the file is needed");
    let seal = told["seal"].as_str().unwrap();
    let found = answer(&elsewhere, &["--bundle", "b.tar", "--head", head, "--seal", seal], 0);
    assert_eq!(found["runs"][0]["seal"], seal);
    let said = verify(&elsewhere, &["--bundle", "b.tar", "--head", head, "--seal", head]).exits(1);
    assert!(said.out().contains("the file whose seal was kept"), "{}", said.out());
    let other = head.replace(|c: char| c.is_ascii_digit(), "a");
    let said = verify(&elsewhere, &["--bundle", "b.tar", "--head", &other]).exits(1);
    assert!(
        said.out().contains("CHANGED") && said.out().contains(&other) && said.out().contains(head),
        "{}",
        said.out()
    );
}

#[test]
fn whatever_is_changed_in_a_bundle_is_named() {
    let (place, run) = with_a_run();
    let told =
        place.vespiary(&["runs", "export", "last", "--out", "b.tar", "--json"]).exits(0).json("vespiary.export/1");
    let whole = fs::read(place.project().join("b.tar")).unwrap();
    let (changed, cut) = (place.path("changed.tar"), place.path("cut.tar"));
    let event = places(&whole, b"in the record")[0];
    let mut bytes = whole.clone();
    bytes[event] ^= 1;
    fs::write(&changed, &bytes).unwrap();
    let found = answer(&place, &["--bundle", changed.to_str().unwrap()], 1);
    let broken = &found["runs"][0]["broken"];
    assert!(broken["seq"].as_u64().unwrap() > 1 && broken["expected"].as_str().unwrap().len() == 64, "{found:#}");
    let said = verify(&place, &["--bundle", changed.to_str().unwrap()]).exits(1).stays_harmless();
    for part in ["CHANGED", &run, &format!("event {}", broken["seq"]), "expected ", "found "] {
        assert!(said.out().contains(part), "{part:?} is not in\n{}", said.out());
    }
    // Here and there through the whole file.
    for at in (0..whole.len()).step_by(whole.len() / 16) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        fs::write(&changed, &bytes).unwrap();
        verify(&place, &["--bundle", changed.to_str().unwrap()]).exits(1).stays_harmless();
    }
    fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    let said = verify(&place, &["--bundle", cut.to_str().unwrap()]).exits(1);
    assert!(said.out().contains("ends too early") || said.out().contains("ends at byte"), "{}", said.out());
    for (name, content) in [("empty", &b""[..]), ("words", b"no bundle at all"), ("zeros", &[0; 5_000])] {
        fs::write(&changed, content).unwrap();
        let said = verify(&place, &["--bundle", changed.to_str().unwrap()]).exits(1);
        assert!(said.out().contains("CHANGED"), "{name}: {}", said.out());
    }
    assert_eq!(told["blobs"], 2, "the tool's long answer and the script's, each once");
}

#[test]
fn whatever_is_changed_in_the_ledger_is_named() {
    let (place, run) = with_a_run();
    place.vespiary(&["call", "files.list"]).exits(0);
    let found = answer(&place, &[], 0);
    assert_eq!((found["runs"].as_array().unwrap().len(), &found["broken"]), (2, &serde_json::json!([])));
    assert!(verify(&place, &["--all"]).exits(0).out().contains("intact"));
    assert_eq!(answer(&place, &["last"], 0)["runs"][0]["intact"], true);

    let tries = [
        ("DROP TRIGGER events_stay_as_written; UPDATE events SET time_us = time_us + 1 WHERE key = (1 << 32) + 3", 3),
        ("UPDATE runs SET title = 'another' WHERE number = 1", 0),
        ("DROP TRIGGER blobs_stay_as_written; UPDATE blobs SET content = x'00'", 6),
    ];
    let pristine = fs::read(place.ledger()).unwrap();
    for (sql, seq) in tries {
        Connection::open(place.ledger()).unwrap().execute_batch(sql).unwrap();
        let found = answer(&place, &[], 1);
        let first = &found["runs"][0];
        assert_eq!((&first["run"], &first["intact"]), (&run.as_str().into(), &false.into()), "{sql}");
        let at = first["broken"]["seq"].as_u64().unwrap();
        assert!(at == seq || (seq == 6 && at > 0), "{sql}: {found:#}");
        assert_eq!(
            found["runs"][1]["intact"],
            seq != 6 || found["runs"][1]["blobs"] == 0,
            "the other run is as it was"
        );
        verify(&place, &[&run]).exits(1);
        // What does not hold is not sent out.
        if seq > 0 {
            place.vespiary(&["runs", "export", &run, "--out", "b.tar"]).exits(1).complains(&["was changed", "next: "]);
            assert!(!place.project().join("b.tar").exists());
        }
        for side in ["-wal", "-shm"] {
            let _ = fs::remove_file(format!("{}{side}", place.ledger().display()));
        }
        fs::write(place.ledger(), &pristine).unwrap();
    }
    Connection::open(place.ledger())
        .unwrap()
        .execute_batch("INSERT INTO events VALUES ((9 << 32) + 1, 0, '{}', x'00')")
        .unwrap();
    let found = answer(&place, &["--all"], 1);
    assert!(found["broken"][0]["what"].as_str().unwrap().contains("belongs to no run"), "{found:#}");
}

#[test]
fn what_makes_no_sense_is_said() {
    let (place, run) = with_a_run();
    verify(&place, &["--bundle", "nowhere.tar"])
        .exits(2)
        .complains(&["nowhere.tar cannot be read", "next: name a file"]);
    verify(&place, &["--all", &run]).exits(2);
    verify(&place, &["--head", &"a".repeat(64)]).exits(2);
    place
        .vespiary(&["runs", "export", "nobody", "--out", "b.tar"])
        .exits(2)
        .complains(&["there is no run nobody", "runs list"]);
    place
        .vespiary(&["runs", "export", &run, "--out", "none/b.tar"])
        .exits(1)
        .complains(&["cannot be written", "next: "]);
    place.vespiary(&["runs", "export", &run, "--out", "."]).exits(1).complains(&["cannot be written"]);
    place.vespiary(&["runs", "export", &run]).exits(2);
}
