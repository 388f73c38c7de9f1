//! `workflow(name, args)`: a saved workflow as a part of a run, its agents in the same record, and names that lead nowhere else.

use super::{META, Place};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

fn published(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("tests/workflows").join(name)
}

/// A project that knows `check-area` by name.
fn place() -> Place {
    let place = Place::new();
    place.file(".claude/workflows/check-area.js", fs::read(published("check-area.js")).unwrap());
    place
}

fn events<'a>(record: &'a Value, kind: &str) -> Vec<&'a Value> {
    let events = record["record"].as_array().unwrap().iter();
    events.filter_map(|event| event["event"].get(kind)).collect()
}

#[test]
fn a_saved_workflow_runs_as_a_part_and_its_agents_are_in_the_same_record() {
    let place = place();
    let said = place.run(&published("release.js"), &["--provider", "mock", "--json"]).exits(0);
    for line in ["workflow check-area", "3 of 3 areas"] {
        let shown = place.run(&published("release.js"), &["--provider", "mock"]).exits(0);
        assert!(shown.err().contains(line), "{}", shown.err());
    }
    let document = said.json("vespiary.run/1");
    assert_eq!(document["value"]["areas"], json!(["api", "storage", "docs"]));
    assert_eq!((&document["value"]["questions"], &document["agents"]), (&json!(9), &json!(10)), "{document}");
    let show = ["runs", "show", document["run"].as_str().unwrap(), "--events", "--verify", "--json"];
    let record = place.vespiary(&show).exits(0).json("vespiary.run-record/1");
    assert_eq!(record["verified"]["intact"], true);
    let called = events(&record, "workflow-started");
    assert_eq!(called.len(), 3);
    let (script, args) = (called[0]["script"].as_str().unwrap(), &called[0]["args"]["value"]);
    assert!(script.len() == 64 && args["depth"] == "quick", "{called:?}");
    assert!(events(&record, "phase").iter().any(|phase| phase["title"] == "Review"));
    assert_eq!(record["agents"], 10);
}

#[test]
fn more_than_there_are_places_for_are_queued() {
    let place = place();
    place.file(".vespiary/workflows/one.js", format!("{META}return [await agent('x'), await agent('y'), args]"));
    let body = "return (await parallel(Array.from({ length: 12 }, (_, n) => () => workflow('one', n)))).map(r => r[2])";
    let document = place.run(&place.script(body), &["--provider", "mock", "--json"]).exits(0).json("vespiary.run/1");
    assert_eq!((&document["value"], &document["agents"]), (&json!((0..12).collect::<Vec<_>>()), &json!(24)));
}

#[test]
fn what_goes_wrong_inside_is_told_outside_with_its_place() {
    let place = place();
    place.file(".claude/workflows/broken.js", format!("{META}const x = await agent('a')\nthrow new Error('boom')"));
    place.file(".claude/workflows/unsound.js", format!("{META}const x = = 1"));
    place.file(".claude/workflows/caller.js", format!("{META}return await workflow('broken')"));
    let body = "const tell = async (...a) => { try { return await workflow(...a) } catch (e) { return [e.code, e.message, e.detail?.line ?? null] } }\n\
                return [await tell('broken'), await tell('unsound'), await tell('caller'), await tell('absent')]";
    let document = place.run(&place.script(body), &["--provider", "mock", "--json"]).exits(0).json("vespiary.run/1");
    let value = &document["value"];
    assert_eq!((&value[0][0], &value[0][2]), (&json!("failed"), &json!(3)), "{value:#}");
    assert!(value[0][1].as_str().unwrap().contains("workflow broken failed: uncaught: Error: boom (line 3"), "{value}");
    assert!(value[1][1].as_str().unwrap().contains("syntax error") && value[1][2] == 2, "{value}");
    assert!(value[2][1].as_str().unwrap().contains("only a run's own script may call others"), "{value}");
    assert_eq!(value[3][0], "not-found");
    assert!(
        value[3][1].as_str().unwrap().contains("known by name: audit, broken, caller, check-area, unsound"),
        "{value}"
    );
    // Uncaught, it is the run's own failure.
    let said = place.run(&place.script("return await workflow('broken')"), &["--provider", "mock"]).exits(1);
    said.complains(&["workflow broken failed: uncaught: Error: boom", "script.js:2:"]);
}

#[test]
fn a_name_is_no_path() {
    let place = place();
    fs::write(place.path("outside.js"), format!("{META}return 'outside'")).unwrap();
    place.file("plain", format!("{META}return 'plain'"));
    place.file("plain.js", format!("{META}return 'plain'"));
    let outside = place.path("outside.js");
    let names = json!([
        "../outside",
        "../../outside",
        "./plain",
        "plain.js",
        "plain",
        "check-area.js",
        "check-area/",
        "\u{0}check-area",
        "check-area\u{0}",
        "-check",
        "\u{1b}[2Jx",
        "ｃheck-area",
        "",
        outside.to_str().unwrap(),
        "x".repeat(100_000),
    ]);
    let body = format!(
        "const said = []\nfor (const name of {names}) {{ try {{ said.push(await workflow(name)) }} catch (e) {{ said.push(e.code ?? e.name) }} }}\nreturn said"
    );
    let said = place.run(&place.script(&body), &["--json"]).exits(0).stays_harmless();
    let value = &said.json("vespiary.run/1")["value"];
    for (name, said) in names.as_array().unwrap().iter().zip(value.as_array().unwrap()) {
        assert!(said == "not-found" || (name == "" && said == "TypeError"), "{name}: {said}");
    }
}

#[test]
fn check_knows_which_names_there_are() {
    let place = place();
    place.file(".claude/workflows/caller.js", format!("{META}return await workflow('check-area')"));
    let check = |body: &str| {
        let script = place.script(body);
        let said = place.vespiary(&["check", script.to_str().unwrap(), "--json"]);
        said.json("vespiary.check/1")["findings"].clone()
    };
    assert_eq!(check("return await workflow('check-area', { area: 'x' })"), json!([]));
    let found = check("await workflow('chek-area')\nawait workflow('caller')\nawait workflow('../x')");
    let rules: Vec<_> = found.as_array().unwrap().iter().map(|f| (f["rule"].as_str().unwrap(), &f["line"])).collect();
    assert_eq!(
        rules,
        [("unknown-workflow", &json!(2)), ("nested-workflow", &json!(3)), ("unknown-workflow", &json!(4))]
    );
    assert!(found[0]["message"].as_str().unwrap().contains("known by name: audit, caller, check-area"), "{found:#}");
}
