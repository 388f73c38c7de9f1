//! `vespiary check`: mistakes told with their place before anything is run, and nothing run while they are looked for.

use super::{META, Place, example};
use std::fs;

#[test]
fn mistakes_have_a_place_a_hint_and_an_exit_code() {
    let place = Place::new();
    let script = place.script(
        "const seed = Math.random()\nawait agent('x', { lable: 'a' })\nawait parallel(args.files.map(f => () => agent(f)))\n",
    );
    let script = script.to_str().unwrap();
    let said = place.vespiary(&["check", script]).exits(1);
    for part in [
        "script.js:2:14: error: Math.random() throws",
        "2 | const seed = Math.random()",
        "hint: pass a seed in through args",
        "script.js:3:20: error: agent() has no option `lable` [unknown-option]",
        "hint: write label",
        "script.js:4:42: warning: nothing here limits how many agents start",
        "2 errors, 1 warning",
    ] {
        assert!(said.out().contains(part), "{part:?} is not in\n{}", said.out());
    }
    let answer = place.vespiary(&["check", script, "--json"]).exits(1).json("vespiary.check/1");
    assert_eq!((&answer["ok"], &answer["errors"], &answer["warnings"]), (&false.into(), &2.into(), &1.into()));
    let first = &answer["findings"][0];
    assert_eq!((&first["rule"], &first["severity"]), (&"not-repeatable".into(), &"error".into()));
    assert_eq!((&first["line"], &first["column"]), (&2.into(), &14.into()));
    assert!(first["excerpt"].as_str().unwrap().contains('^'));
    let runs = place.vespiary(&["runs", "list", "--json"]).exits(0).json("vespiary.runs/1");
    assert_eq!(runs["runs"], serde_json::json!([]), "nothing is run by looking");
}

#[test]
fn warnings_fail_only_when_asked_to() {
    let place = Place::new();
    let body = "for (const d of ['a', 'b']) {\n  log(await agent(d))\n}\n";
    place.file(".claude/workflows/slow.js", format!("{META}{body}"));
    let said = place.vespiary(&["check", "slow"]).exits(0);
    assert!(
        said.out().contains(".claude/workflows/slow.js:3:13: warning:") && said.out().contains("1 warning"),
        "{}",
        said.out()
    );
    place.vespiary(&["check", "slow", "--strict"]).exits(1);
    let answer = place.vespiary(&["check", "slow", "--strict", "--json"]).exits(1).json("vespiary.check/1");
    assert_eq!((&answer["ok"], &answer["title"]), (&false.into(), &"slow".into()));
    place.vespiary(&["check", example("audit.js").to_str().unwrap(), "--strict"]).exits(0);
}

#[test]
fn the_engine_has_the_first_word() {
    let place = Place::new();
    for (source, rule, line) in [
        ("const x = 1\n".to_owned(), "meta", 1),
        (format!("{META}const b = = 2\nfetch('x')"), "syntax", 2),
        (format!("{META}import x from 'y'\n"), "syntax", 2),
        (format!("{META}f(("), "syntax", 2),
    ] {
        let script = place.raw_script(&source);
        let answer = place.vespiary(&["check", script.to_str().unwrap(), "--json"]).exits(1).json("vespiary.check/1");
        let first = &answer["findings"][0];
        assert_eq!((&first["rule"], &first["line"]), (&rule.into(), &line.into()), "{source}\n{answer:#}");
        assert!(answer["findings"].as_array().unwrap().iter().all(|f| f["rule"] != "unread"), "{answer:#}");
    }
    place.vespiary(&["check", "nowhere.js"]).exits(2).complains(&["nowhere.js cannot be read", "next: "]);
}

#[test]
fn a_hostile_script_is_only_text() {
    let place = Place::new();
    let hostile = place.raw_script(&format!("{META}agent('x', {{ '\u{1b}[2J\u{202e}': 1 }})\n"));
    place.vespiary(&["check", hostile.to_str().unwrap()]).exits(1).stays_harmless();
    place.vespiary(&["check", hostile.to_str().unwrap(), "--json"]).exits(1).stays_harmless();
    // Deep nesting of every sort ends in words, whoever gives up first.
    for piece in ["(", "[", "{", "!", "-", "a=>", "if(a)", "a?b:", "`${", "x**", "new "] {
        let deep = place.raw_script(&format!("{META}{}", piece.repeat(300_000 / piece.len())));
        let said = place.vespiary(&["check", deep.to_str().unwrap()]);
        assert_eq!(said.code, Some(1), "{piece}: {}", said.err());
    }
    let long = place.path("long.js");
    fs::write(&long, format!("{META}{}", " ".repeat(4 << 20))).unwrap();
    place
        .vespiary(&["check", long.to_str().unwrap()])
        .exits(2)
        .complains(&["larger than 4194304 bytes", "next: split it"]);
    let endless = place.raw_script(&format!("{META}for (;;) {{}}"));
    place.vespiary(&["check", endless.to_str().unwrap()]).exits(0);
}
