//! What `--json` prints: one document a command, of the promised shape, on standard output and nothing else there.

use super::Place;
use serde_json::Value;

#[track_caller]
fn has(value: &Value, members: &[&str]) {
    for member in members {
        assert!(value.get(member).is_some(), "there is no {member} in {value:#}");
    }
}

fn hex_digest(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[test]
fn a_call() {
    let place = Place::new();
    place.file("a.txt", "one\ntwo\n");
    let said = place.vespiary(&["call", "files.read", r#"{"path": "a.txt"}"#, "--json"]).exits(0);
    assert_eq!(said.err(), "");
    let answer = said.json("vespiary.call/1");
    has(&answer, &["run", "call", "usage", "artifacts", "log"]);
    assert_eq!(
        (&answer["tool"], &answer["ok"], &answer["failure"]),
        (&"files.read".into(), &true.into(), &Value::Null)
    );
    assert_eq!(answer["value"]["text"], "one\ntwo\n");

    let call = ["call", "files.write", r#"{"path": "b", "text": ""}"#, "--json"];
    let denied = place.vespiary(&call).exits(3).json("vespiary.call/1");
    assert_eq!((&denied["ok"], &denied["value"]), (&false.into(), &Value::Null));
    assert_eq!(denied["failure"]["cause"], "denied");
    assert_eq!(denied["failure"]["detail"]["needed"], "write:.");
}

#[test]
fn an_error_before_anything_ran() {
    let place = Place::new();
    let error = place.vespiary(&["call", "flies.read", "--json"]).exits(2).json("vespiary.error/1");
    has(&error, &["what", "why", "next"]);
    assert_eq!(error["exit"], 2);
    let error = place.run(&place.path("none.js"), &["--json"]).exits(2).json("vespiary.error/1");
    assert!(error["what"].as_str().unwrap().contains("none.js"), "{error}");
}

#[test]
fn a_run() {
    let place = Place::new();
    let script = place.script("log('hello')\nreturn { answer: args.n + 1 }");
    let said = place.run(&script, &["--json", "--arg", "n=41"]).exits(0);
    assert_eq!(said.err(), "");
    let answer = said.json("vespiary.run/1");
    assert_eq!((&answer["status"], &answer["title"]), (&"completed".into(), &"test".into()));
    assert_eq!(
        (&answer["value"]["answer"], &answer["findings"], &answer["error"]),
        (&42.into(), &Value::Null, &Value::Null)
    );
    for report in ["html", "markdown", "sarif"] {
        assert!(std::path::Path::new(answer["report"][report].as_str().unwrap()).is_file());
    }
}

#[test]
fn a_run_that_fails_is_one_document_too() {
    let place = Place::new();
    let script = place.script("throw new Error('no luck')");
    let said = place.run(&script, &["--json"]).exits(1).complains(&["no luck", "script.js:2:", "next: "]);
    let answer = said.json("vespiary.run/1");
    assert_eq!(answer["status"], "failed");
    let error = answer["error"].as_str().unwrap();
    assert!(error.contains("no luck") && error.contains("line 2, column"), "{error}");
}

#[test]
fn plugins() {
    let place = Place::new();
    let list = place.vespiary(&["plugin", "list", "--json"]).exits(0).json("vespiary.plugins/1");
    let plugins = list["plugins"].as_array().unwrap();
    let names: Vec<_> = plugins.iter().map(|plugin| plugin["name"].as_str().unwrap()).collect();
    for name in ["deps", "files", "git", "search", "secrets"] {
        assert!(names.contains(&name), "{names:?}");
    }
    for plugin in plugins {
        has(plugin, &["version", "kind", "description"]);
        assert!(hex_digest(&plugin["sha256"]), "{plugin}");
    }

    let files = place.vespiary(&["plugin", "inspect", "files", "--json"]).exits(0).json("vespiary.plugin/1");
    has(&files, &["origin", "component_bytes", "needs", "quota", "imports", "tools"]);
    let write = files["needs"].as_array().unwrap().iter().find(|need| need["capability"] == "write:.").unwrap();
    assert!(!write["reason"].as_str().unwrap().is_empty());
    let tools = files["tools"].as_array().unwrap();
    let read = tools.iter().find(|tool| tool["name"] == "files.read").unwrap();
    assert_eq!(read["input_schema"]["properties"]["path"]["type"], "string", "{read:#}");
    has(read, &["description", "output_schema", "annotations"]);

    let agent = place.vespiary(&["plugin", "inspect", "secrets", "--json"]).exits(0).json("vespiary.plugin/1");
    has(&agent["agent"], &["summary", "context_schema", "output_schema"]);
    let error = place.vespiary(&["plugin", "inspect", "nobody", "--json"]).exits(2).json("vespiary.error/1");
    assert!(error["why"].as_str().unwrap().contains("files"), "{error}");
}

#[test]
fn runs() {
    let place = Place::new();
    let none = place.vespiary(&["runs", "list", "--json"]).exits(0).json("vespiary.runs/1");
    assert_eq!(none["runs"], serde_json::json!([]));
    let script = place.script("phase('one')\nawait tool('files.list')\nphase('two')\nreturn 1");
    let run = place.run(&script, &["--json"]).exits(0).json("vespiary.run/1")["run"].clone();
    place.vespiary(&["call", "files.list"]).exits(0);

    let list = place.vespiary(&["runs", "list", "--json"]).exits(0).json("vespiary.runs/1");
    let runs = list["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 2);
    // Newest first.
    assert_eq!((&runs[0]["title"], &runs[1]["run"]), (&"files.list".into(), &run));
    assert!(hex_digest(&runs[0]["head"]));
    let one = place.vespiary(&["runs", "list", "--limit", "1", "--json"]).exits(0).json("vespiary.runs/1");
    assert_eq!(one["runs"].as_array().unwrap().len(), 1);

    let show = ["runs", "show", run.as_str().unwrap(), "--json"];
    let record = place.vespiary(&show).exits(0).json("vespiary.run-record/1");
    assert_eq!(
        (&record["status"], &record["calls"], &record["calls_failed"]),
        (&"completed".into(), &2.into(), &0.into())
    );
    let phases: Vec<_> = record["phases"].as_array().unwrap().iter().map(|phase| &phase["title"]).collect();
    assert!(phases.contains(&&"one".into()) && phases.contains(&&"two".into()), "{phases:?}");
    has(&record, &["dir", "grant", "script", "tools", "components"]);
    assert!(record.get("record").is_none() && record.get("verified").is_none());

    let whole = place.vespiary(&[&show[..], &["--events", "--verify"]].concat()).exits(0).json("vespiary.run-record/1");
    let events = whole["record"].as_array().unwrap();
    assert_eq!((&whole["events"], &whole["verified"]["events"]), (&events.len().into(), &events.len().into()));
    for (event, seq) in events.iter().zip(1u64..) {
        assert_eq!(event["seq"], seq);
        assert!(hex_digest(&event["hash"]));
    }
    assert_eq!(whole["verified"]["head"], events.last().unwrap()["hash"]);
}

#[test]
fn doctor() {
    let place = Place::new();
    let answer = place.vespiary(&["doctor", "--json"]).exits(0).json("vespiary.doctor/1");
    assert_eq!(answer["ok"], true);
    let checks = answer["checks"].as_array().unwrap();
    for check in checks {
        has(check, &["name", "state", "found"]);
        assert!(["ok", "warn"].contains(&check["state"].as_str().unwrap()), "{check}");
    }
    assert!(checks.iter().any(|check| check["name"] == "cells" && check["state"] == "ok"), "{answer:#}");
}
