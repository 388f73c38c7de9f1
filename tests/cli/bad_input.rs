//! What people get wrong, and what machines do to them: each ends with its exit code, and with words that say what is wrong,
//! why, and what to do next. Nothing ends in a panic or a silence.

use super::{Place, Running, Said, component, example};
use rustix::fs::{FlockOperation, fcntl_lock};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

/// The script fails; the excerpt shows `line` with a caret below.
#[track_caller]
fn fails_in_script(body: &str, exit: i32, parts: &[&str]) -> Said {
    let place = Place::new();
    let script = place.raw_script(body);
    place.run(&script, &["--quiet"]).exits(exit).complains(parts).complains(&["error: ", "script.js failed", "next: "])
}

/// The line of the caret in an excerpt.
fn caret(said: &Said) -> String {
    said.err().lines().find(|line| line.trim_end().ends_with("| ^") || line.ends_with('^')).unwrap().to_owned()
}

#[test]
fn a_script_that_is_not_there() {
    let place = Place::new();
    let missing = place.path("missing.js");
    place.run(&missing, &[]).exits(2).complains(&[
        "missing.js cannot be read",
        "No such file",
        "next: name a workflow",
    ]);
    assert!(!place.path("out").exists(), "nothing was run, so there is nothing to report");
}

#[test]
fn a_script_that_is_not_text() {
    let place = Place::new();
    let script = place.path("script.js");
    fs::write(&script, b"\xff\xfe\x00").unwrap();
    place.run(&script, &[]).exits(2).complains(&["cannot be read", "next: save it as UTF-8"]);
}

#[test]
fn a_syntax_error_has_a_place_and_costs_nothing() {
    let source = "export const meta = { name: 't', description: 'd' }\nconst a = 1\nconst b = = 2\n";
    let said =
        fails_in_script(source, 1, &["syntax error", "(line 3, column 11)", "script.js:3:11", "3 | const b = = 2"]);
    assert_eq!(caret(&said).find('^'), said.err().lines().find_map(|line| line.find("= 2")));
}

#[test]
fn meta_comes_first() {
    let source = "const x = 1\nexport const meta = { name: 't', description: 'd' }\n";
    fails_in_script(
        source,
        1,
        &["must be the first statement", "script.js:1:1", "1 | const x = 1", "begin the script with"],
    );
}

#[test]
fn an_error_in_a_script_shows_where() {
    let source = "export const meta = { name: 't', description: 'd' }\nfunction f(x) {\n  return x.y.z\n}\nf({})\n";
    let said =
        fails_in_script(source, 1, &["TypeError", "script.js:3:", "3 |   return x.y.z", "or catch the error in it"]);
    assert!(caret(&said).contains('^'));
}

#[test]
fn an_unknown_agent_type_lists_the_known_ones() {
    let source =
        "export const meta = { name: 't', description: 'd' }\nreturn await agent('x', { agentType: 'sercets' })\n";
    fails_in_script(source, 1, &["no agent type \"sercets\"", "secrets", "script.js:2:"]);
}

#[test]
fn an_agent_without_a_type_says_that_there_is_no_model() {
    let source = "export const meta = { name: 't', description: 'd' }\nreturn await agent('x')\n";
    fails_in_script(source, 1, &["no provider is in use", "--provider", "agentType: 'secrets'"]);
}

#[test]
fn a_script_that_waits_for_nothing_is_told_so() {
    let source = "export const meta = { name: 't', description: 'd' }\nawait new Promise(() => {})\n";
    fails_in_script(
        source,
        1,
        &["stalled", "no agent, tool call, workflow or gate is outstanding", "await only what agent()"],
    );
}

#[test]
fn an_error_of_a_script_cannot_write_on_the_terminal() {
    let source = "export const meta = { name: 't\\u001b[31m', description: 'd' }\nlog('\\u001b[2J\\u202e')\n\
                  throw new Error('\\u001b]0;owned\\u0007 \\u009b31m') // \u{1b}[2J\n";
    let place = Place::new();
    let script = place.raw_script(source);
    place.run(&script, &[]).exits(1).complains(&["owned", "script.js:3:"]).stays_harmless();
    place.run(&script, &["--json"]).exits(1).stays_harmless();
}

#[test]
fn the_project_must_be_a_directory() {
    let place = Place::new();
    let script = place.script("");
    let next = "next: name a directory that you can read with --dir PATH";
    place.run(&script, &["--dir", "nowhere"]).exits(2).complains(&["nowhere cannot be used", "No such file", next]);
    place.file("file", "");
    place.run(&script, &["--dir", "file"]).exits(2).complains(&["file cannot be used", "Not a directory", next]);
}

#[test]
fn the_report_must_have_a_place_before_anything_runs() {
    let place = Place::new();
    let script = place.script("");
    place.file("file", "");
    let said = place.vespiary(&["run", script.to_str().unwrap(), "--out", "file/out"]).exits(1);
    said.complains(&["the report cannot be written to file/out", "next: write elsewhere with --out DIR"]);
    let listed = place.vespiary(&["runs", "list", "--json"]).exits(0).json("vespiary.runs/1");
    assert_eq!(listed["runs"], serde_json::json!([]));
}

#[test]
fn a_capability_must_be_one() {
    let place = Place::new();
    let script = place.script("");
    place.run(&script, &["--allow", "nonsense"]).exits(2).complains(&["nonsense", "KIND:WHAT", "for example read:src"]);
    place.run(&script, &["--deny", "read:../up"]).exits(2).complains(&["read:../up", "'..' is not allowed"]);
}

#[test]
fn script_arguments_must_be_an_object() {
    let place = Place::new();
    let script = place.script("return args");
    place.run(&script, &["--args", "[1]"]).exits(2).complains(&["--args cannot be used", "next: give a JSON object"]);
    place.run(&script, &["--arg", "depth"]).exits(2).complains(&["\"depth\" is not K=V", "for example --arg depth=2"]);
}

#[test]
fn an_unknown_tool_is_answered_with_the_known_ones() {
    let place = Place::new();
    let said = place.vespiary(&["call", "flies.read"]).exits(2);
    said.complains(&["no plugin named \"flies\"", "files", "next: `vespiary plugin list`"]);
    let said = place.vespiary(&["call", "files.raed"]).exits(1);
    said.complains(&["no tool `raed`", "read", "vespiary plugin inspect"]);
    place.vespiary(&["call", "files"]).exits(2).complains(&["PLUGIN.TOOL"]);
}

#[test]
fn arguments_must_be_json_that_the_tool_understands() {
    let place = Place::new();
    let wrong = |arguments: &str| place.vespiary(&["call", "files.read", arguments]).exits(2);
    wrong("{path: 1}").complains(&["not JSON", "line 1 column 2", "next: give a JSON object"]);
    wrong("[]").complains(&["not an object"]);
    wrong("@nowhere.json").complains(&["nowhere.json", "No such file"]);
    wrong(r#"{"path": 1}"#).complains(&["invalid arguments", "expected a string", "shows the schema of the arguments"]);
    wrong(r#"{"pth": "a"}"#).complains(&["pth"]);
}

#[test]
fn a_denied_write_names_the_grant_that_allows_it() {
    let place = Place::new();
    fs::create_dir(place.project().join("out")).unwrap();
    let write = r#"{"path": "out/new.txt", "text": "hello"}"#;
    let denied = place.vespiary(&["call", "files.write", write]).exits(3);
    denied.complains(&["denied: needs write:.", "the grant has read:.", "next: grant it with --allow write:."]);
    assert!(!place.project().join("out/new.txt").exists());

    place.vespiary(&["call", "files.write", write, "--allow", "write:."]).exits(0);
    assert_eq!(fs::read_to_string(place.project().join("out/new.txt")).unwrap(), "hello");
    // A part of it is enough for what lies in that part, and for nothing else.
    fs::remove_file(place.project().join("out/new.txt")).unwrap();
    place.vespiary(&["call", "files.write", write, "--allow", "write:out"]).exits(0);
    assert!(place.project().join("out/new.txt").exists());
    let beside = r#"{"path": "new.txt", "text": "hello"}"#;
    assert_ne!(place.vespiary(&["call", "files.write", beside, "--allow", "write:out"]).code, Some(0));
    assert!(!place.project().join("new.txt").exists());
}

#[test]
fn deny_stands_above_every_grant() {
    let place = Place::new();
    place.file("a.txt", "hello");
    let call = ["call", "files.read", r#"{"path": "a.txt"}"#];
    place.vespiary(&call).exits(0);
    let denied = place.vespiary(&[&call[..], &["--allow", "read:.", "--deny", "read:."]].concat()).exits(3);
    assert!(!denied.out().contains("hello"));
    denied.complains(&["denied", "refused by the rule deny read:.", "next: "]);
    let only = place.vespiary(&[&call[..], &["--only"]].concat()).exits(3);
    only.complains(&["denied", "tool:files.read", "--allow"]);
}

#[test]
fn a_question_that_nobody_can_answer_is_a_no() {
    let place = Place::new();
    place.file("a.txt", "hello");
    let said = place.vespiary(&["call", "files.read", r#"{"path": "a.txt"}"#, "--ask", "read:."]).exits(3);
    assert!(!said.out().contains("hello"));
    said.complains(&[
        "needs a person's yes",
        "refused by the rule ask read:.",
        "next: nobody answered: there is no terminal; answer yes at a terminal",
    ]);
}

#[test]
fn a_ledger_that_is_something_else_is_left_alone() {
    let place = Place::new();
    fs::create_dir_all(place.ledger().parent().unwrap()).unwrap();
    fs::write(place.ledger(), "my diary").unwrap();
    for args in [&["call", "echo.echo"][..], &["runs", "list"], &["runs", "show", "last"]] {
        place.vespiary(args).exits(1).complains(&["ledger.sqlite is not a Vespiary ledger", "next: ", "aside"]);
    }
    assert_eq!(fs::read_to_string(place.ledger()).unwrap(), "my diary");
    let checks = place.vespiary(&["doctor", "--json"]).exits(1).json("vespiary.doctor/1");
    assert_eq!(checks["ok"], false);
}

#[test]
fn a_damaged_ledger_is_named_as_such() {
    let place = Place::new();
    place.vespiary(&["call", "files.list"]).exits(0);
    let mut bytes = fs::read(place.ledger()).unwrap();
    let end = bytes.len().min(8_192);
    bytes[100..end].iter_mut().for_each(|byte| *byte ^= 0x5a);
    fs::write(place.ledger(), bytes).unwrap();
    for args in [&["call", "files.list"][..], &["runs", "list"]] {
        place.vespiary(args).exits(1).complains(&["is damaged", "next: keep it as evidence", "mv "]);
    }
}

#[test]
fn a_ledger_held_by_another_process_is_waited_for_and_then_named() {
    let place = Place::new();
    place.vespiary(&["call", "files.list"]).exits(0);
    let held = fs::OpenOptions::new().read(true).write(true).open(place.ledger()).unwrap();
    fcntl_lock(&held, FlockOperation::NonBlockingLockExclusive).unwrap();
    let said = place.vespiary(&["call", "files.list"]).exits(1);
    said.complains(&["another process holds the ledger", "next: wait for it or stop it"]);
    drop(held);
    place.vespiary(&["call", "files.list"]).exits(0);
}

#[test]
fn damaged_compiled_code_is_not_run_but_made_anew() {
    let place = Place::cold();
    let call = |word: &str| {
        let said = place.vespiary(&["call", "echo.echo", &format!(r#"{{"text": "{word}"}}"#)]).exits(0);
        assert!(said.out().contains(word), "{}", said.out());
    };
    call("first");
    let compiled = || {
        let mut files = super::files_below(&place.cache()).unwrap();
        assert_eq!(files.len(), 1, "one component was compiled");
        files.pop().unwrap()
    };
    let (path, whole) = compiled();
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 0xff;
        bytes
    };
    let broken =
        [b"garbage".to_vec(), Vec::new(), whole[..whole.len() / 2].to_vec(), flipped(whole.len() / 2), flipped(0)];
    for bytes in broken {
        fs::write(&path, bytes).unwrap();
        call("again");
        assert!(compiled().1.len() >= whole.len(), "the file was not replaced");
    }
}

#[test]
fn a_home_that_cannot_be_used_is_named() {
    let place = Place::cold();
    fs::write(place.home(), "").unwrap();
    for args in [&["call", "echo.echo"][..], &["plugin", "inspect", "echo"]] {
        let said = place.vespiary(args).exits(1);
        said.complains(&["home/state cannot be used", "Not a directory", "set VESPIARY_HOME to another one"]);
    }
    fs::remove_file(place.home()).unwrap();

    // Root may write anywhere, except where nothing can be made.
    let mut command = place.command(&["call", "echo.echo"]);
    command.env("VESPIARY_HOME", "/proc/vespiary-test");
    Running::start(command).wait().exits(1).complains(&["/proc/vespiary-test", "set VESPIARY_HOME to another one"]);
    if !rustix::process::geteuid().is_root() {
        fs::create_dir(place.home()).unwrap();
        fs::set_permissions(place.home(), fs::Permissions::from_mode(0o500)).unwrap();
        let said = place.vespiary(&["call", "echo.echo"]).exits(1);
        said.complains(&["cannot be used", "Permission denied", "set VESPIARY_HOME"]);
        fs::set_permissions(place.home(), fs::Permissions::from_mode(0o700)).unwrap();
    }
}

const MANIFEST: &str = "name = 'mine'\nversion = '1'\nkind = 'tools'\ndescription = 'd'\n";

#[test]
fn a_plugin_must_be_a_component() {
    let place = Place::new();
    let load = |bytes: &[u8]| {
        fs::write(place.path("plugin.toml"), MANIFEST).unwrap();
        fs::write(place.path("plugin.wasm"), bytes).unwrap();
        place.vespiary(&["call", "mine.tool", "--plugin", place.path("plugin.wasm").to_str().unwrap()])
    };
    load(b"#!/bin/sh\n").exits(2).complains(&["cannot be loaded", "not WebAssembly", "next: name the .wasm file"]);
    load(b"\0asm\x01\0\0\0").exits(1).complains(&["a core WebAssembly module, not a component", "next: "]);
    load(b"\0asm\x0d\0\x01\0").exits(1).complains(&["not a component of the world", "next: rebuild the component"]);
    load(b"\0asm\x0d\0\x01\0garbage").exits(1).complains(&["the component cannot run", "next: "]);
    let said = place.vespiary(&["call", "mine.tool", "--plugin", "nowhere.wasm"]).exits(2);
    said.complains(&["nowhere.wasm cannot be loaded", "No such file", "next: name a WebAssembly component file"]);
}

#[test]
fn a_plugin_without_a_sound_manifest_is_refused() {
    let place = Place::new();
    let plugin = place.plugin(&component("plugins/built/echo.wasm"), "name = 'mine'\ncolour = 'red'\n");
    let load = || place.vespiary(&["call", "mine.echo", "--plugin", plugin.to_str().unwrap()]).exits(2);
    load().complains(&["plugin.toml was refused", "colour", "next: correct the manifest"]);
    fs::remove_file(place.path("plugin.toml")).unwrap();
    load().complains(&["has no manifest", "plugin.toml exists", "next: write one"]);
}

#[test]
fn a_bundled_name_cannot_be_taken() {
    let place = Place::new();
    let echo = component("plugins/built/echo.wasm");
    let plugin = place.plugin(&echo, &MANIFEST.replace("mine", "files"));
    let said = place.vespiary(&["call", "files.echo", "--plugin", plugin.to_str().unwrap()]).exits(2);
    said.complains(&["the plugin files cannot be added", "taken by a bundled plugin", "give it another name"]);
    // Under a name of its own it works.
    let plugin = place.plugin(&echo, MANIFEST);
    let said = place.vespiary(&["call", "mine.echo", r#"{"text": "hi"}"#, "--plugin", plugin.to_str().unwrap()]);
    assert!(said.exits(0).out().contains("hi"));
}

#[test]
fn a_run_that_is_not_recorded_cannot_be_shown() {
    let place = Place::new();
    place.vespiary(&["runs", "show", "last"]).exits(1).complains(&["no ledger", "next: run something first"]);
    place.vespiary(&["runs", "list"]).exits(0);
    place.vespiary(&["call", "files.list"]).exits(0);
    place.vespiary(&["runs", "show", "nobody"]).exits(2).complains(&["no run nobody", "`vespiary runs list` names"]);
}

#[test]
fn an_agent_that_fails_degrades_the_run() {
    let place = Place::new();
    let script = place.script(
        "const good = await agent('x', { agentType: 'secrets', context: { mode: 'scan', files: [] } })\n\
         const bad = await agent('x', { agentType: 'secrets', label: 'the bad one', context: { mode: 'nonsense' } })\n\
         return { good: good !== null, bad }\n",
    );
    let answer = place.run(&script, &["--json"]).exits(6).json("vespiary.run/1");
    assert_eq!((&answer["status"], &answer["agents_failed"]), (&"degraded".into(), &1.into()));
    assert_eq!(answer["value"], serde_json::json!({ "good": true, "bad": null }));
    assert_eq!(answer["failures"][0]["label"], "the bad one");
    let said = place.run(&script, &[]).exits(6);
    assert!(said.out().contains("degraded") && said.out().contains("the bad one"), "{}", said.out());
    assert!(fs::read_to_string(place.path("out/report.md")).unwrap().contains("the bad one"));
}

#[test]
fn the_agents_of_a_run_are_counted_against_its_limit() {
    let place = Place::new();
    let script = place.script(
        "const one = () => agent('x', { agentType: 'secrets', context: { mode: 'scan', files: [] } })\n\
         await one()\nawait one()\nawait one()\n",
    );
    place.run(&script, &["--agents", "2"]).exits(1).complains(&["agents is limited to 2", "script.js:2:"]);
    place.run(&script, &["--agents", "3"]).exits(0);
}

#[test]
fn hostile_text_in_a_file_reaches_no_terminal() {
    let place = Place::new();
    place.file("evil.txt", "one\u{1b}[2J\u{1b}]0;owned\u{7}\u{9b}31m\u{202e}two\rthree\n");
    for more in [&[][..], &["--json"]] {
        let call = ["call", "files.read", r#"{"path": "evil.txt"}"#];
        let said = place.vespiary(&[&call[..], more].concat()).exits(0).stays_harmless();
        // Made harmless, and still the same value.
        let value: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
        let text = value["text"].as_str().or(value["value"]["text"].as_str()).unwrap();
        assert!(text.starts_with("one\u{1b}[2J") && text.ends_with("two\rthree\n"), "{text:?}");
    }
    place.vespiary(&["call", "files.read", r#"{"path": "no\u001b[2J.txt"}"#]).exits(1).stays_harmless();
    let answer = place.run(&example("audit.js"), &["--json"]).exits(0).stays_harmless();
    answer.json("vespiary.run/1");
}
