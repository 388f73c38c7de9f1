//! Guests and scripts whose words are meant for somebody's terminal, log, page or record. Nothing is refused here: the words
//! arrive wherever words go, and can do nothing there.

use super::READ;
use super::checks::{failed, harmless, trap};
use super::rig::Rig;
use super::stage::play;
use crate::cli::{META, Place, Said, component, example, files_below};
use serde_json::{Value, json};
use std::path::Path;
use vespiary_kernel::call::{Ending, Level};
use vespiary_kernel::event::Event;
use vespiary_kernel::json::Json;

attack!(artifact_bad_name, json!({}), READ, |_rig, f| assert_eq!(failed(&f), "artifact: every name refused"));
attack!(panic_with_words, json!({}), READ, |_rig, f| {
    trap(&f, &["unreachable"]);
    assert!(f.to_string().contains("out of bounds"), "the panic's words are part of the cause: {f}");
});

attack!(artifact_hostile_types, json!({}), READ, |_rig, f| {
    assert_eq!(failed(&f), "artifact: every type and name refused");
});

/// Not refused but disarmed: the text arrives, and nothing in it can move a cursor, hide, or pass for another level.
#[test]
fn log_escapes() {
    play(async {
        let rig = Rig::new();
        let outcome = rig.call_as(&rig.who(READ), "hostile.log_escapes", json!({})).await;
        assert!(matches!(outcome.ending, Ending::Done(_)), "{:?}", outcome.ending);
        let control = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        for line in &outcome.log {
            assert_eq!(line.level, Level::Info, "a line break cannot raise the level: {line:?}");
            assert!(!line.text.contains(control), "{line:?}");
        }
        let all: String = outcome.log.iter().map(|line| line.text.as_str()).collect();
        assert!(all.contains("innocent") && all.contains("forged"), "nothing is hidden either: {all}");
    });
}

/// Every case of error that carries words, each a claim by the guest that somebody will read.
#[test]
fn error_escapes() {
    play(async {
        let rig = Rig::new();
        for (case, cause) in [
            ("invalid", "invalid-arguments"),
            ("not-found", "not-found"),
            ("denied", "failed"),
            ("limit", "failed"),
            ("failed", "failed"),
            ("panic", "trapped"),
        ] {
            let failure = rig.attack("hostile.error_escapes", json!({ "case": case }), READ).await;
            assert_eq!(failure.cause(), cause);
            harmless_strings(&serde_json::to_value(&failure).unwrap());
            assert!(failure.to_string().contains("before") && failure.to_string().contains("after"), "{failure}");
            assert!(case != "limit" || !failure.to_string().contains('\n'), "a quota's name is one line: {failure}");
        }
    });
}

fn harmless_strings(value: &Value) {
    match value {
        Value::String(text) => harmless(text, true),
        Value::Array(items) => items.iter().for_each(harmless_strings),
        Value::Object(fields) => fields.values().for_each(harmless_strings),
        _ => {}
    }
}

/// The pieces are harmless and what they add up to is not: lines are looked at when they are whole.
#[test]
fn print_escapes() {
    play(async {
        let rig = Rig::new();
        let outcome = rig.call_as(&rig.who(READ), "hostile.print_escapes", json!({})).await;
        let lines: Vec<_> = outcome.log.iter().map(|line| (line.level, line.text.as_str())).collect();
        let unreadable = "\u{fffd}\u{fffd}";
        let shown = format!(r"\u{{1b}}[2Jcleared \u{{9b}}31m{unreadable}\u{{d}}over\u{{0}}\u{{8}}\u{{7f}}\u{{202e}}");
        assert_eq!(lines, [(Level::Info, shown.as_str()), (Level::Warn, shown.as_str())]);
    });
}

/// Words that look like a record are words: the record of the run holds the events it would have held, and each is one JSON
/// document that says what happened.
#[test]
fn log_forged_record() {
    play(async {
        let rig = Rig::new();
        let who = rig.who(READ);
        let outcome = rig.call_as(&who, "hostile.log_forged_record", json!({})).await;
        for line in &outcome.log {
            harmless(&line.text, false);
        }
        let events = rig.record.of(who.run().id());
        let ends = events.iter().filter(|event| matches!(event, Event::CallEnded { .. })).count();
        assert_eq!((events.len(), ends), (2, 1));
        for event in events {
            let text = Json::of(&event).unwrap();
            assert!(!text.as_str().contains('\n') && !text.as_str().contains("\"forged\""), "{text}");
        }
    });
}

/// What a person's terminal must not be told, and what a page must not be: each in every place that a guest or a script can
/// put words into.
const WORDS: [&str; 6] = [
    "\u{1b}[2J\u{1b}]0;owned\u{7}",
    "\u{1b}]52;c;b3duZWQ=\u{1b}\\\u{1b}]8;;http://evil.example\u{1b}\\",
    "\u{9b}31m\u{90}q\u{9c}\u{202e}\u{2066}\u{2028}\r\0over",
    "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'`",
    "[a](javascript:alert(1)) ![i](http://evil.example/x) | <b> `code` # head",
    "\n# forged heading\n| forged | row |\n::error::forged\n",
];

/// A workflow that puts `words` wherever a script can.
fn speaking(words: &str) -> String {
    const BODY: &str = "
log(w)
console.error({ [w]: w })
phase(w)
const scan = { mode: 'scan', files: [w] }
await agent(w, { label: w, phase: w, agentType: 'secrets', context: scan })
const named = [
  () => agent(w, { label: w, agentType: 'nobody' }),
  () => agent(w, { label: w, agentType: w }),
  () => agent(w, { label: w, agentType: 'secrets', tools: [w] }),
  () => agent(w, { label: w, agentType: 'secrets', allow: ['read:' + w] }),
  () => tool('mine.error_escapes', { case: 'failed' }),
  () => tool('mine.log_escapes', {}),
  () => tool('mine.neighbour', { text: w }),
  () => tool('a.' + w, {}),
]
for (const one of named) { try { await one() } catch (e) { log(e.message, e.stack) } }
const found = { rule: w, title: w, severity: 'high', path: w, line: 1, excerpt: w, fingerprint: w, help: w, analyzer: w,
  evidence: { [w]: w }, verdict: { verdict: 'confirmed', reason: w } }
if (args.fail === 'true') { const e = new Error(w); e.name = w; e.stack += w; throw e }
return { findings: [found, { ...found, severity: w }], refuted: [found], skipped: [{ path: w, reason: w }], stats: { [w]: 1 } }
";
    let words = serde_json::to_string(words).unwrap();
    let meta = format!("{{ name: {words}, description: {words}, phases: [{{ title: {words}, detail: {words} }}] }}");
    format!("export const meta = {meta}\nconst w = {words}{BODY}")
}

fn place_with_hostile() -> (Place, String) {
    let place = Place::new();
    let manifest = "name = 'mine'\nversion = '1'\nkind = 'tools'\ndescription = \"d\\u001b[2J\"\n";
    let plugin = place.plugin(&component("tests/guests/built/hostile.wasm"), manifest);
    (place, plugin.to_str().unwrap().to_owned())
}

/// Neither stream says what a terminal would obey, nor what a build service would.
#[track_caller]
fn at_a_terminal(said: &Said, what: &str) {
    for text in [said.out(), said.err()] {
        harmless(&text, true);
        assert!(!text.lines().any(|line| line.starts_with("::error")), "{what} speaks to a build service:\n{text}");
    }
}

/// Through `run`, `runs show`, `runs list` and the three reports, on a run that ends well and one that fails.
#[test]
fn words_through_every_door() {
    play(async {
        for (words, fail) in WORDS.into_iter().flat_map(|words| [(words, false), (words, true)]) {
            let (place, plugin) = place_with_hostile();
            let script = place.raw_script(&speaking(words));
            let fail = format!("fail=\"{fail}\"");
            let args = ["--plugin", &plugin, "--allow", "tool:mine.*", "--arg", &fail, "--json"];
            at_a_terminal(&place.run(&script, &args[..6]), "run");
            at_a_terminal(&place.run(&script, &args), "run --json");
            for more in [&["list"][..], &["show", "last"], &["show", "last", "--events"], &["show", "last", "--json"]] {
                at_a_terminal(&place.vespiary(&[&["runs"], more].concat()), "runs");
            }
            let verified = place.vespiary(&["runs", "show", "last", "--verify", "--json"]).exits(0);
            assert_eq!(verified.json("vespiary.run-record/1")["verified"]["intact"], true);
            reports(&place.path("out"));
        }
    });
}

/// Every report is one document of its kind, and the words are words in it.
fn reports(out: &Path) {
    let mut kinds = Vec::new();
    for (path, bytes) in files_below(out).unwrap() {
        let text = String::from_utf8(bytes).unwrap();
        harmless(&text, true);
        let kind = path.extension().unwrap().to_str().unwrap().to_owned();
        match kind.as_str() {
            "html" => page(&text),
            "md" => markdown(&text),
            "sarif" => drop(serde_json::from_str::<Value>(&text).unwrap()),
            other => panic!("a report of a kind nobody has looked at: {other}"),
        }
        kinds.push(kind);
    }
    kinds.sort();
    assert_eq!(kinds, ["html", "md", "sarif"]);
}

/// The page has no script, no picture and no link of anybody's but its own, and a policy that would stop them.
fn page(text: &str) {
    assert!(text.contains("default-src 'none'"), "no policy against what slips through");
    let tags: Vec<&str> = text.split('<').skip(1).filter_map(|rest| rest.split('>').next()).collect();
    for tag in tags {
        let name: String = tag.trim_start_matches('/').chars().take_while(char::is_ascii_alphanumeric).collect();
        assert!(
            !matches!(name.as_str(), "script" | "img" | "b" | "iframe" | "object" | "embed")
                || tag == "b"
                || tag == "/b",
            "<{tag}>"
        );
        let lower = tag.to_lowercase();
        assert!(
            !lower.contains("javascript:") && !lower.contains(" onerror") && !lower.contains("href=\"http"),
            "<{tag}>"
        );
    }
}

/// No heading, row, link or picture in the text is anybody's but the report's.
fn markdown(text: &str) {
    for line in text.lines() {
        let start = line.trim_start();
        assert!(!start.starts_with("# forged") && !start.starts_with("| forged"), "{line}");
        for live in ["](javascript:", "](http://evil", "<script", "<img", "<b>"] {
            for (at, _) in line.match_indices(live) {
                assert!(line[..at].ends_with('\\') || in_code(line, at), "{live} in {line}");
            }
        }
    }
}

/// Whether the place `at` lies within a code span, or in a line that is indented as code. A span ends with as many backticks as it
/// began with.
fn in_code(line: &str, at: usize) -> bool {
    let mut from = 0;
    while let Some(start) = line[from..].find('`').map(|found| from + found) {
        if line[..start].ends_with('\\') {
            from = start + 1;
            continue;
        }
        let run = line[start..].bytes().take_while(|byte| *byte == b'`').count();
        let mut end = start + run;
        loop {
            let Some(next) = line[end..].find('`').map(|found| end + found) else { return line.starts_with("    ") };
            let length = line[next..].bytes().take_while(|byte| *byte == b'`').count();
            end = next + length;
            if length == run {
                break;
            }
        }
        if (start..end).contains(&at) {
            return true;
        }
        from = end;
    }
    line.starts_with("    ")
}

/// Through `call`: every case of a guest's error, its log, its panic and its artifacts' names.
#[test]
fn call_words() {
    play(async {
        let (place, plugin) = place_with_hostile();
        for case in ["invalid", "not-found", "denied", "limit", "failed", "panic"] {
            let arguments = format!(r#"{{"case":"{case}"}}"#);
            let call = ["call", "mine.error_escapes", &arguments, "--plugin", &plugin, "--json"];
            for args in [&call[..5], &call] {
                let said = place.vespiary(args);
                assert_ne!(said.code, Some(0));
                at_a_terminal(&said, case);
            }
        }
        for tool in ["mine.log_escapes", "mine.print_escapes", "mine.log_forged_record", "mine.artifact_bad_name"] {
            at_a_terminal(&place.vespiary(&["call", tool, "{}", "--plugin", &plugin]), tool);
        }
        at_a_terminal(&place.vespiary(&["call", "mine.\u{1b}[2J", "{}"]).exits(2), "a tool's name");
        at_a_terminal(&place.vespiary(&["runs", "show", "\u{1b}[2J"]).exits(2), "a run's name");
        for more in [&["list"][..], &["inspect", "mine"], &["inspect", "mine", "--json"]] {
            at_a_terminal(&place.vespiary(&[&["plugin"], more, &["--plugin", &plugin]].concat()), "plugin");
        }
    });
}

/// A cause and a log that go on as the program itself would: with what to do next, and with a trouble of their own.
#[test]
fn words_in_the_voice_of_the_program() {
    play(async {
        let (place, tools) = place_with_hostile();
        let said = place.vespiary(&["call", "mine.log_forged_record", "{}", "--plugin", &tools]).exits(0);
        let theirs = |line: &str| line.starts_with("mine.log_forged_record: ");
        assert!(said.err().lines().count() > 1 && said.err().lines().all(theirs), "{}", said.err());
        let manifest = "name = 'brain'\nversion = '1'\nkind = 'agent'\ndescription = 'd'\n";
        let agent = place.plugin(&component("tests/guests/built/hostile-agent.wasm"), manifest);
        let named = "a yes\nerror: the ledger is damaged\n  next: run this\nnext: and that";
        let task = json!({ "prompt": "agent_answers_with_a_forgery", "context": { "as": "denied", "named": named } });
        let call = ["call", "brain.run", &task.to_string(), "--plugin", agent.to_str().unwrap()];
        let said = place.vespiary(&call).exits(1);
        let options = json!({ "agentType": "brain", "context": task["context"] });
        let asks =
            format!("const {{ message }} = await agentResult('{}', {options})", task["prompt"].as_str().unwrap());
        let script = place.script(&format!("{asks}\nthrow new Error(message)"));
        let run = place.run(&script, &["--plugin", agent.to_str().unwrap()]).exits(1);
        for said in [said, run] {
            let begins = |word: &str| said.err().lines().filter(|line| line.trim_start().starts_with(word)).count();
            assert!(said.err().contains("run this") && said.err().contains("and that"), "{}", said.err());
            assert_eq!((begins("error:"), begins("next:")), (1, 1), "{}", said.err());
        }
    });
}

/// A value that would write over itself, where it is printed as it came.
#[test]
fn result_with_returns() {
    play(async {
        let (place, plugin) = place_with_hostile();
        let call = ["call", "mine.result_with_returns", "{}", "--plugin", &plugin, "--json"];
        for args in [&call[..5], &call] {
            let said = place.vespiary(args).exits(0);
            assert!(said.out().contains("true") && said.out().contains("false"), "both are there: {}", said.out());
            at_a_terminal(&said, "a value");
        }
    });
}

/// A file of the project whose name is the attack, found and reported by a bundled plugin.
#[test]
fn file_names_as_words() {
    play(async {
        let place = Place::new();
        for words in WORDS {
            let name = words.replace(['/', '\0'], "_");
            place.file(format!("{name}.py"), "key = \"AKIA4HS7QP2ZRWN5XKTB\" # aws\n");
        }
        at_a_terminal(&place.run(&example("audit.js"), &["--json"]), "audit");
        at_a_terminal(&place.run(&example("audit.js"), &[]), "audit");
        at_a_terminal(&place.vespiary(&["call", "files.list"]).exits(0), "files.list");
        reports(&place.path("out"));
    });
}

/// A source that tries to write on the terminal of whoever reads its errors.
#[test]
fn source_as_words() {
    play(async {
        let place = Place::new();
        for words in WORDS {
            let words = words.replace(['\n', '\r', '\0', '\u{2028}'], "");
            let script = place.raw_script(&format!("{META}const a = 1 // {words}\nconst b = = 2 // {words}\n"));
            at_a_terminal(&place.run(&script, &[]).exits(1), "a syntax error");
            let script = place.raw_script(&format!("{META}// {words}\nundefined.x // {words}\n"));
            at_a_terminal(&place.run(&script, &[]).exits(1), "an error");
        }
    });
}
