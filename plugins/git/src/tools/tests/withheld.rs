//! Files that a broad grant hides: told by their names, their content only to who names them. A cell does not see them, so
//! here they are removed.

use super::{applies, call, diff, show, status, strings};
use crate::fixture::Fixture;
use serde_json::{Value, json};
use std::fs;

const HIDDEN: [&str; 5] = [".env", ".ssh/id_rsa", "deploy/.env.local", "deploy/x.key/inner", "server.pem"];

/// A repository in which hidden files are committed, as a cell sees its working tree.
fn seen_from_a_cell() -> Fixture {
    let mut fixture = Fixture::new();
    for path in HIDDEN {
        fixture.write(path, "SECRET=one\n");
    }
    for path in ["a.txt", ".env.example", ".ssh/config", "deploy/plain"] {
        fixture.write(path, "one\n");
    }
    fixture.commit("all");
    hide(&fixture);
    fixture
}

fn hide(fixture: &Fixture) {
    for path in [".env", ".ssh/id_rsa", "deploy/.env.local", "server.pem"] {
        fs::remove_file(fixture.path(path)).unwrap();
    }
    fs::remove_dir_all(fixture.path("deploy/x.key")).unwrap();
}

fn patch(answer: &Value) -> &str {
    answer["patch"].as_str().unwrap()
}

#[test]
fn what_is_not_shown_is_not_told_as_deleted() {
    let fixture = seen_from_a_cell();
    let told = call::<status::status>(json!({})).unwrap();
    assert_eq!((&told["clean"], &told["unstaged"]), (&json!(true), &json!([])));
    assert_eq!(strings(&told["skipped"], "path"), HIDDEN);
    let reason = told["skipped"][1]["reason"].as_str().unwrap();
    assert!(reason.starts_with("not shown to this call") && reason.ends_with("read:.ssh/id_rsa"), "{reason}");
    for arguments in [json!({}), json!({"from": "HEAD"}), json!({"paths": HIDDEN}), json!({"stat": true})] {
        let told = call::<diff::diff>(arguments.clone()).unwrap();
        assert_eq!((&told["files"], &told["files_changed"]), (&json!([]), &json!(0)), "{arguments}");
        assert!(!told.to_string().contains("SECRET"), "{arguments}: {told}");
        assert_eq!(strings(&told["skipped"], "path"), HIDDEN, "{arguments}");
    }
    // What may be seen and is gone, is gone, and so is what was below it.
    fs::remove_file(fixture.path("a.txt")).unwrap();
    fs::remove_dir_all(fixture.path("deploy")).unwrap();
    let told = call::<status::status>(json!({})).unwrap();
    let gone = ["a.txt", "deploy/.env.local", "deploy/plain", "deploy/x.key/inner"];
    assert_eq!(strings(&told["unstaged"], "path"), gone);
    let told = call::<diff::diff>(json!({})).unwrap();
    assert_eq!(strings(&told["files"], "path"), gone);
    assert!(patch(&told).contains("-one") && !patch(&told).contains("SECRET"), "{told}");
}

#[test]
fn a_staged_secret_is_no_change_of_a_file_that_is_not_seen() {
    let fixture = seen_from_a_cell();
    fixture.write(".env", "SECRET=two\n");
    fixture.git(&["add", ".env"]);
    fs::remove_file(fixture.path(".env")).unwrap();
    assert_eq!(call::<diff::diff>(json!({"from": "HEAD"})).unwrap()["files"], json!([]));
    assert_eq!(strings(&call::<status::status>(json!({})).unwrap()["staged"], "path"), [".env"]);
    let staged = call::<diff::diff>(json!({"staged": true})).unwrap();
    let file = &staged["files"][0];
    assert_eq!((&file["path"], &file["hidden"], &file["additions"]), (&json!(".env"), &json!(true), &json!(1)));
    assert_eq!((patch(&staged), &staged["truncated"]), ("", &json!(false)));
    let named = call::<diff::diff>(json!({"staged": true, "paths": [".env"]})).unwrap();
    assert_eq!(named["files"][0]["hidden"], json!(false));
    assert!(patch(&named).contains("-SECRET=one\n+SECRET=two\n"));
}

#[test]
fn committed_secrets_are_shown_to_who_names_them() {
    let mut fixture = seen_from_a_cell();
    fixture.git(&["checkout", "-q", "."]);
    fixture.write("deploy/.env.local", "SECRET=two\n");
    fixture.write("a.txt", "two\n");
    fixture.git(&["mv", "server.pem", "server.txt"]);
    fixture.commit("changed");
    for answer in [
        call::<show::show>(json!({"rev": "HEAD"})).unwrap()["diff"].clone(),
        call::<diff::diff>(json!({"from": "HEAD~1", "to": "HEAD"})).unwrap(),
        call::<diff::diff>(json!({"from": "HEAD~1", "to": "HEAD", "paths": ["deploy", "a.txt"]})).unwrap(),
        call::<show::show>(json!({"rev": "HEAD~1"})).unwrap()["diff"].clone(),
    ] {
        assert!(patch(&answer).contains("+one") || patch(&answer).contains("+two"), "{answer}");
        assert!(!patch(&answer).contains("SECRET") && !patch(&answer).contains(".env.local"), "{answer}");
        let files = answer["files"].as_array().unwrap();
        let hidden = |path: &str| files.iter().find(|file| file["path"] == path).map(|file| file["hidden"].clone());
        assert_eq!((hidden("deploy/.env.local"), hidden("a.txt")), (Some(json!(true)), Some(json!(false))));
        assert_ne!(hidden(".env.example"), Some(json!(true)));
    }
    let renamed = call::<diff::diff>(json!({"from": "HEAD~1", "to": "HEAD"})).unwrap();
    assert_eq!(
        (&renamed["files"][2]["old_path"], &renamed["files"][2]["hidden"]),
        (&json!("server.pem"), &json!(true))
    );
    let paths = ["deploy/.env.local", "server.pem", "server.txt", "a.txt"];
    let named = json!({"from": "HEAD~1", "to": "HEAD", "paths": paths});
    let named = applies(&fixture, named, "HEAD~1", "HEAD");
    assert!(patch(&named).contains("+SECRET=two") && patch(&named).contains("rename from server.pem"));
    for arguments in [json!({"rev": "HEAD:deploy/.env.local"}), json!({"rev": "HEAD", "path": "deploy/.env.local"})] {
        assert_eq!(call::<show::show>(arguments).unwrap()["text"], "SECRET=two\n");
    }
}
