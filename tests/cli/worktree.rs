//! Isolated agents from the script to the project: what they change is kept apart, brought together, shown, and written when a
//! person says so, whole or not at all.

use super::{Place, Said, component, files_below};
use serde_json::{Value, json};
use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

pub(super) const WRITER: &str = "name = 'writer'\nversion = '1'\nkind = 'agent'\ndescription = 'd'\n\
                      [[needs]]\ncapability = 'tool:*'\nreason = 'r'\n\
                      [[needs]]\ncapability = 'read:.'\nreason = 'r'\n\
                      [[needs]]\ncapability = 'write:.'\nreason = 'r'\n";

fn lines(changed: &[(usize, &str)]) -> String {
    let line = |n: usize| {
        changed.iter().find(|(at, _)| *at == n).map_or(format!("line {n}\n"), |(_, text)| format!("{text}\n"))
    };
    (1..=20).map(line).collect()
}

fn edit(path: &str, old: &str, new: &str) -> Value {
    json!({ "tool": "files.edit", "arguments": { "path": path, "old": old, "new": new } })
}

fn write(path: &str, text: &str) -> Value {
    json!({ "tool": "files.write", "arguments": { "path": path, "text": text, "create_dirs": true } })
}

/// One isolated agent for each list of calls; one whose prompt is `fail` fails after them.
fn run(place: &Place, agents: &[(&str, Vec<Value>)], args: &[&str]) -> Said {
    let plugin = place.plugin(&component("tests/guests/built/writer-agent.wasm"), WRITER);
    let agents: Vec<Value> = agents.iter().map(|(prompt, calls)| json!({ "prompt": prompt, "calls": calls })).collect();
    let script = place.script(&format!(
        "const agents = {}\n\
         return await parallel(agents.map(a => () =>\n\
           agent(a.prompt, {{ agentType: 'writer', isolation: 'worktree', context: {{ calls: a.calls }} }})))\n",
        Value::from(agents)
    ));
    let fixed = ["--allow", "write:.", "--json", "--plugin", plugin.to_str().unwrap()];
    place.run(&script, &fixed.iter().chain(args).copied().collect::<Vec<_>>())
}

/// A project with one file of twenty lines.
fn place() -> Place {
    let place = Place::new();
    place.file("src/a.txt", lines(&[]));
    place.file("b.txt", "b\n");
    place
}

fn content(place: &Place, path: &str) -> String {
    fs::read_to_string(place.project().join(path)).unwrap()
}

#[test]
fn nothing_changes_until_it_is_applied_and_then_all_of_it_does() {
    let place = place();
    let before = files_below(&place.project()).unwrap();
    let ran = run(
        &place,
        &[
            ("go", vec![edit("src/a.txt", "line 2\n", "TWO\n")]),
            ("go", vec![edit("src/a.txt", "line 19\n", "NINETEEN\n"), write("new dir/ä.txt", "new\n")]),
            ("go", vec![edit("src/a.txt", "line 2\n", "TWO\n")]),
        ],
        &[],
    )
    .exits(0)
    .json("vespiary.run/1");
    assert_eq!(files_below(&place.project()).unwrap(), before);
    let paths: Vec<_> = ran["changes"]["paths"].as_array().unwrap().iter().map(|p| (&p["path"], &p["what"])).collect();
    assert_eq!(json!(paths), json!([["new dir", "made"], ["new dir/ä.txt", "added"], ["src/a.txt", "changed"]]));
    assert_eq!((&ran["changes"]["applied"], &ran["changes"]["conflicts"]), (&json!(false), &json!([])));
    let report = fs::read_to_string(place.path("out/report.md")).unwrap();
    assert!(report.contains("Changes by isolated agents") && report.contains("- changed `src/a.txt`"), "{report}");
    assert!(fs::read_to_string(place.path("out/report.html")).unwrap().contains("runs apply"));
    let shown = place.vespiary(&["runs", "show", "last", "--verify", "--json"]).exits(0).json("vespiary.run-record/1");
    assert_eq!((&shown["verified"]["intact"], &shown["changes"]["files"]), (&json!(true), &json!(3)));

    let dry = place.vespiary(&["runs", "apply", "last", "--dry-run", "--json"]).exits(0).json("vespiary.apply/1");
    assert_eq!(dry["outcome"], "dry-run");
    assert_eq!(files_below(&place.project()).unwrap(), before);

    // git makes the same of the patch as `runs apply` makes of the change set.
    let patch = place.vespiary(&["runs", "show", "last", "--patch"]).exits(0).stdout;
    let copy = place.path("copy");
    fs::create_dir_all(copy.join("src")).unwrap();
    fs::write(copy.join("src/a.txt"), lines(&[])).unwrap();
    let mut git = Command::new("git")
        .args(["apply", "-"])
        .env("GIT_CEILING_DIRECTORIES", copy.parent().unwrap())
        .current_dir(&copy)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    git.stdin.take().unwrap().write_all(&patch).unwrap();
    assert!(git.wait().unwrap().success(), "{}", String::from_utf8_lossy(&patch));

    place.vespiary(&["runs", "apply", "last"]).exits(0);
    assert_eq!(content(&place, "src/a.txt"), lines(&[(2, "TWO"), (19, "NINETEEN")]));
    assert_eq!(content(&place, "new dir/ä.txt"), "new\n");
    for path in ["src/a.txt", "new dir/ä.txt"] {
        assert_eq!(fs::read_to_string(copy.join(path)).unwrap(), content(&place, path));
    }
    assert_eq!(files_below(&place.project()).unwrap().len(), 3, "nothing else is left behind");
    place.vespiary(&["runs", "apply", "last"]).exits(0);
    let left: Vec<_> =
        fs::read_dir(place.path("home/state/worktrees")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["lock"], "no layer outlives its run");
}

#[test]
fn overlaps_are_conflicts_and_the_rest_can_be_applied() {
    let place = place();
    let ran = run(
        &place,
        &[
            ("go", vec![edit("src/a.txt", "line 5\n", "five\n"), write("c.txt", "c")]),
            ("go", vec![edit("src/a.txt", "line 5\n", "cinq\n")]),
        ],
        &["--apply"],
    )
    .exits(1)
    .json("vespiary.run/1");
    let conflicts = ran["changes"]["conflicts"].as_array().unwrap();
    assert_eq!(
        (conflicts.len(), &conflicts[0]["path"], &conflicts[0]["kind"]),
        (1, &json!("src/a.txt"), &json!("lines"))
    );
    assert_eq!(conflicts[0]["sides"].as_array().unwrap().len(), 2, "both sides are kept");
    assert_eq!((ran["changes"]["applied"].clone(), content(&place, "src/a.txt")), (json!(false), lines(&[])));
    let refused = place.vespiary(&["runs", "apply", "last"]).exits(1);
    assert!(refused.out().contains("lines        src/a.txt"), "{}", refused.out());
    assert!(!place.project().join("c.txt").exists());
    place.vespiary(&["runs", "apply", "last", "--except-conflicts"]).exits(0);
    assert_eq!((content(&place, "src/a.txt"), content(&place, "c.txt")), (lines(&[]), "c".into()));
}

#[test]
fn a_project_that_moved_on_is_not_overwritten() {
    let place = place();
    run(&place, &[("go", vec![edit("src/a.txt", "line 5\n", "five\n"), write("c.txt", "c")])], &[]).exits(0);
    place.file("src/a.txt", "mine\n");
    let refused = place.vespiary(&["runs", "apply", "last", "--json"]).exits(1).json("vespiary.apply/1");
    assert_eq!((&refused["outcome"], &refused["differs"][0]["path"]), (&json!("differs"), &json!("src/a.txt")));
    assert_eq!(content(&place, "src/a.txt"), "mine\n");
    assert!(!place.project().join("c.txt").exists(), "all of it or nothing");
    place.file("src/a.txt", lines(&[]));
    place.vespiary(&["runs", "apply", "last"]).exits(0);
    assert_eq!(content(&place, "src/a.txt"), lines(&[(5, "five")]));
}

/// Before anything has moved nothing is half-way, and nobody is kept from the directory.
#[test]
fn an_apply_that_fails_before_it_writes_is_in_nobodys_way() {
    let place = place();
    let one = run(&place, &[("x", vec![write("one.txt", "1")])], &[]).exits(0).json("vespiary.run/1");
    let other = run(&place, &[("x", vec![write("two.txt", "2")])], &[]).exits(0).json("vespiary.run/1");
    let (one, other) = (one["run"].as_str().unwrap(), other["run"].as_str().unwrap());
    // What would be written has nowhere to wait.
    let in_the_way = place.file(format!(".vespiary-apply-{one}"), "");
    place.vespiary(&["runs", "apply", one]).exits(1).complains(&["cannot be applied"]);
    place
        .vespiary(&["runs", "apply", one, "--abandon"])
        .exits(2)
        .complains(&["no apply of its changes was interrupted"]);
    place.vespiary(&["runs", "apply", other]).exits(0);
    fs::remove_file(in_the_way).unwrap();
    place.vespiary(&["runs", "apply", one]).exits(0);
    assert_eq!((content(&place, "one.txt"), content(&place, "two.txt")), ("1".into(), "2".into()));
}

#[test]
fn an_apply_that_cannot_be_finished_can_be_given_up() {
    let place = place();
    let changes = vec![write("one.txt", "1"), edit("b.txt", "b", "c")];
    let one = run(&place, &[("x", changes)], &[]).exits(0).json("vespiary.run/1");
    let other = run(&place, &[("x", vec![write("two.txt", "2")])], &[]).exits(0).json("vespiary.run/1");
    let (one, other) = (one["run"].as_str().unwrap(), other["run"].as_str().unwrap());
    // As a kill between two of its steps leaves it; then somebody edits what was still to come.
    let applies = place.home().join("state/applies");
    fs::create_dir_all(&applies).unwrap();
    fs::write(applies.join(one), fs::canonicalize(place.project()).unwrap().to_str().unwrap()).unwrap();
    place.file(format!(".vespiary-apply-{one}/0"), "c\n");
    place.file("one.txt", "1");
    place.file("b.txt", "mine\n");
    place.vespiary(&["runs", "apply", other]).exits(1).complains(&["half-way into this directory", "--abandon"]);
    let said = place.vespiary(&["runs", "apply", one]).exits(1);
    assert!(
        said.out().contains("not finished: an apply was interrupted") && said.out().contains("--abandon"),
        "{}",
        said.out()
    );
    let given_up = place.vespiary(&["runs", "apply", one, "--abandon", "--json"]).exits(0).json("vespiary.apply/1");
    assert_eq!(
        (&given_up["outcome"], &given_up["changes"]),
        (&json!("abandoned"), &json!([{ "path": "one.txt", "what": "added" }]))
    );
    assert!(!place.project().join(format!(".vespiary-apply-{one}")).exists());
    assert_eq!(
        (content(&place, "b.txt"), content(&place, "one.txt")),
        ("mine\n".into(), "1".into()),
        "nothing else is touched"
    );
    place.vespiary(&["runs", "apply", other]).exits(0);
}

#[test]
fn a_whole_run_can_apply_itself_and_a_degraded_one_does_not() {
    let place = place();
    let calls = || vec![write("c.txt", "c")];
    let failing = [("go", vec![write("d.txt", "d")]), ("fail", calls())];
    let ran = run(&place, &failing, &["--apply"]).exits(6).json("vespiary.run/1");
    let paths: Vec<_> = ran["changes"]["paths"].as_array().unwrap().iter().map(|path| &path["path"]).collect();
    assert_eq!(paths, ["d.txt"], "what a failed agent changed does not count");
    assert!(!place.project().join("d.txt").exists());
    let shown = place.vespiary(&["runs", "show", "last", "--events", "--json"]).exits(0).json("vespiary.run-record/1");
    let events = shown["record"].as_array().unwrap();
    let kept = events.iter().filter(|e| e["event"]["agent-changed"]["counted"] == false).count();
    assert_eq!(kept, 1, "and is kept all the same");

    let ran = run(&place, &[("go", calls())], &["--apply"]).exits(0).json("vespiary.run/1");
    assert_eq!((ran["changes"]["applied"].clone(), content(&place, "c.txt")), (json!(true), "c".into()));
}

#[test]
fn what_has_no_changes_says_so() {
    let place = place();
    let script = place.script("return 1\n");
    place.run(&script, &[]).exits(0);
    place.vespiary(&["runs", "apply", "last"]).exits(2).complains(&["no changes to apply", "runs list"]);
    assert!(place.vespiary(&["runs", "show", "last", "--patch"]).exits(0).stdout.is_empty());
}
