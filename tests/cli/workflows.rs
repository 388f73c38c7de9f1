//! Workflows by name: where they are looked for, which one is taken, and that a name leads nowhere else.

use super::{META, Place};
use std::fs;
use std::os::unix::fs::symlink;

const AUTHOR: &str =
    "export const meta = { name: 'review', description: 'Reviews \\u001b[2Jit.', whenToUse: 'before a merge' }\n";

#[test]
fn a_workflow_runs_by_name_and_says_where_it_was_found() {
    let place = Place::new();
    place.file(".claude/workflows/review.js", format!("{AUTHOR}return args.n + 1"));
    let out = place.path("out");
    let run = ["run", "review", "--arg", "n=1", "--out", out.to_str().unwrap()];
    let said = place.vespiary(&run).exits(0).complains(&["review is .claude/workflows/review.js"]);
    assert!(said.out().contains("completed"), "{}", said.out());
    let answer = place.vespiary(&[&run[..], &["--json"]].concat()).exits(0).json("vespiary.run/1");
    assert_eq!((&answer["value"], &answer["script"]), (&2.into(), &".claude/workflows/review.js".into()));

    // The project's own comes before it, the user's after it.
    place.file(".vespiary/workflows/review.js", format!("{META}return 'own'"));
    let answer = place.vespiary(&[&run[..], &["--json"]].concat()).exits(0).json("vespiary.run/1");
    assert_eq!(answer["value"], "own");
    let users = place.home().join("config/workflows");
    fs::create_dir_all(&users).unwrap();
    fs::write(users.join("mine.js"), format!("{META}return 'mine'")).unwrap();
    let mine = ["run", "mine", "--out", out.to_str().unwrap(), "--json"];
    assert_eq!(place.vespiary(&mine).exits(0).json("vespiary.run/1")["value"], "mine");
    // An error in it is shown with its file.
    place.file(".vespiary/workflows/review.js", format!("{META}const b = = 2"));
    place.vespiary(&run).exits(1).complains(&[".vespiary/workflows/review.js failed", "review.js:2:"]);
}

#[test]
fn what_can_be_run_is_listed_and_what_is_broken_is_told() {
    let place = Place::new();
    let none = place.vespiary(&["workflows"]).exits(0);
    assert!(none.out().contains("(built in)/audit.js") && none.out().contains(".claude/workflows"), "{}", none.out());
    place.file(".vespiary/workflows/review.js", AUTHOR);
    place.file(".claude/workflows/review.js", META);
    place.file(".claude/workflows/broken.js", "const x = 1");
    place.file(".claude/workflows/not a name.js", META);
    let listed = place.vespiary(&["workflows", "--json"]).exits(0).stays_harmless().json("vespiary.workflows/1");
    let workflows = listed["workflows"].as_array().unwrap();
    assert_eq!(workflows.iter().map(|w| &w["name"]).collect::<Vec<_>>(), ["audit", "broken", "review"]);
    let workflows = &workflows[1..];
    assert!(workflows[0]["error"].as_str().unwrap().contains("must be the first statement"), "{listed:#}");
    assert_eq!(workflows[0]["description"], serde_json::Value::Null);
    assert_eq!(workflows[1]["when_to_use"], "before a merge");
    assert_eq!(workflows[1]["hides"], serde_json::json!([".claude/workflows/review.js"]));
    let said = place.vespiary(&["workflows"]).exits(0).stays_harmless();
    for part in ["review", "Reviews", ".vespiary/workflows/review.js", "broken: meta", "is also in"] {
        assert!(said.out().contains(part), "{part:?} is not in\n{}", said.out());
    }
    // Nothing was run.
    let runs = place.vespiary(&["runs", "list", "--json"]).exits(0).json("vespiary.runs/1");
    assert_eq!(runs["runs"], serde_json::json!([]));
}

#[test]
fn an_unknown_name_says_which_are_known() {
    let place = Place::new();
    place
        .vespiary(&["run", "reveiw"])
        .exits(2)
        .complains(&["there is no workflow named \"reveiw\"", "name a workflow: audit"]);
    place.file(".claude/workflows/review.js", AUTHOR);
    place
        .vespiary(&["run", "reveiw"])
        .exits(2)
        .complains(&["no reveiw.js in .vespiary/workflows", "next: name a workflow: audit, review"]);
}

#[test]
fn a_name_leads_nowhere_else() {
    let place = Place::new();
    fs::write(place.path("outside.js"), format!("{META}return 'outside'")).unwrap();
    place.file(".vespiary/workflows/inside.js", META);
    symlink("../../../outside.js", place.project().join(".vespiary/workflows/out.js")).unwrap();
    place.vespiary(&["run", "out"]).exits(2).complains(&[
        "out.js cannot be read",
        "a link leads out",
        "next: copy the file",
    ]);
    symlink("/dev/zero", place.project().join(".vespiary/workflows/zero.js")).unwrap();
    place.vespiary(&["run", "zero"]).exits(2).complains(&["zero.js cannot be read"]);
    // A name has no dots and no slashes: these are paths, from where one stands.
    place
        .vespiary(&["run", "../workflows/inside"])
        .exits(2)
        .complains(&["../workflows/inside cannot be read", "No such file"]);
    // A file without an ending is still found.
    place.file("plain", format!("{META}return 'plain'"));
    let out = place.path("out");
    let answer =
        place.vespiary(&["run", "plain", "--out", out.to_str().unwrap(), "--json"]).exits(0).json("vespiary.run/1");
    assert_eq!(answer["value"], "plain");
}
