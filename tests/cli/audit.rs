//! The bundled audit on a planted tree: it finds what was planted, names what it could not look at, keeps the secret to
//! itself, and leaves a record that shows when it is changed.

use super::{Place, Said, assert_harmless, example, files_below, places};
use rustix::fs::{CWD, Mode, mkfifoat};
use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

/// A directory that cannot be listed. It can be again when this goes, so that the tree can be removed.
struct Unreadable(std::path::PathBuf);

impl Drop for Unreadable {
    fn drop(&mut self) {
        let _ = fs::set_permissions(&self.0, fs::Permissions::from_mode(0o700));
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Put together here, so that no scanner takes this file for a leak.
pub(super) fn secret() -> String {
    ["nQvW8x", "T3bK5m", "R7pZ1c", "Y9dF4g", "H6jL2s", "A0eU8iXoBt"].concat()
}

/// One of everything an audit may meet.
fn planted() -> (Place, Unreadable) {
    let place = Place::new();
    place.file("src/config.py", format!("import os\n\naws_{}_key = '{}'\n", "secret_access", secret()));
    // A file that would clear the reader's screen, if its name reached it.
    place.file("src/wipe\u{1b}[2J\u{202e}.py", format!("token = '{}{}'\n", ["gl", "pat-"].concat(), &secret()[..20]));
    place.file("web/package-lock.json", LOCK);
    place.file("osv/TEST-2026-1.json", ADVISORY);
    place.file(Path::new("odd").join(OsStr::from_bytes(b"caf\xe9.txt")), "x");
    place.file("odd/image.bin", (0..=255u8).cycle().take(5_000).collect::<Vec<_>>());
    symlink("../odd", place.project().join("odd/loop")).unwrap();
    symlink("self", place.project().join("odd/self")).unwrap();
    mkfifoat(CWD, place.project().join("odd/pipe"), Mode::RUSR | Mode::WUSR).unwrap();
    // Four gigabytes that take no room.
    fs::File::create(place.project().join("odd/sparse.img")).unwrap().set_len(4 << 30).unwrap();
    place.file("closed/inside.txt", "x");
    let closed = place.project().join("closed");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    (place, Unreadable(closed))
}

const LOCK: &str = r#"{
  "name": "web",
  "lockfileVersion": 3,
  "packages": {
    "": { "name": "web" },
    "node_modules/victim-lib": {
      "version": "1.2.3",
      "integrity": "sha512-AAAA"
    }
  }
}
"#;

const ADVISORY: &str = r#"{
  "id": "TEST-2026-1",
  "summary": "Everything is wrong with it",
  "affected": [{
    "package": { "ecosystem": "npm", "name": "victim-lib" },
    "ranges": [{ "type": "SEMVER", "events": [{ "introduced": "0" }, { "fixed": "1.2.4" }] }]
  }],
  "database_specific": { "severity": "HIGH" }
}
"#;

fn audit(place: &Place, args: &[&str]) -> Said {
    let all = [&["--arg", "advisories=osv"], args].concat();
    place.run(&example("audit.js"), &all).exits(0)
}

fn finding<'a>(answer: &'a Value, rule: &str) -> &'a Value {
    let findings = answer["value"]["findings"].as_array().unwrap();
    findings.iter().find(|finding| finding["rule"] == rule).unwrap_or_else(|| panic!("no {rule} in {findings:#?}"))
}

#[test]
fn what_was_planted_is_found_and_what_was_not_examined_is_named() {
    let (place, _closed) = planted();
    let answer = audit(&place, &["--json"]).json("vespiary.run/1");
    assert_eq!((&answer["status"], &answer["agents_failed"]), (&"completed".into(), &0.into()));

    let key = finding(&answer, "aws-secret-access-key");
    assert_eq!((&key["path"], &key["line"]), (&"src/config.py".into(), &3.into()));
    let token = finding(&answer, "gitlab-token");
    assert_eq!((&token["path"], &token["line"]), (&"src/wipe\u{1b}[2J\u{202e}.py".into(), &1.into()));
    let dependency = finding(&answer, "vulnerable-dependency");
    assert_eq!((&dependency["path"], &dependency["line"]), (&"web/package-lock.json".into(), &6.into()));
    assert_eq!(dependency["evidence"]["advisory"], "TEST-2026-1");
    assert_eq!(dependency["evidence"]["fixed_in"], "1.2.4");
    for finding in [key, token, dependency] {
        assert_eq!(finding["verdict"]["verdict"], "confirmed", "{finding}");
    }

    let skipped = answer["value"]["skipped"].as_array().unwrap();
    let skips = |path: &str, reason: &str| {
        skipped.iter().any(|skip| skip["path"] == path && skip["reason"].as_str().unwrap().contains(reason))
    };
    for (path, reason) in [
        ("odd", "not UTF-8"),
        ("odd/image.bin", "binary"),
        ("odd/loop", "symbolic link"),
        ("odd/self", "symbolic link"),
        ("odd/pipe", "pipe"),
        ("odd/sparse.img", "larger than"),
    ] {
        assert!(skips(path, reason), "{path} is not named as {reason:?} in {skipped:#?}");
    }
    // Nothing is closed to root.
    if !is_root() {
        assert!(skips("closed", ""), "{skipped:#?}");
    }
}

/// Without them nothing is known to be wrong, and nobody may take that for good news.
#[test]
fn advisories_that_cannot_be_read_are_among_what_was_not_examined() {
    let (place, _closed) = planted();
    place.file("osv/TEST-2026-1.json", "{ \"id\": 7 }");
    let answer = audit(&place, &["--json"]).json("vespiary.run/1");
    let told = &answer["value"]["advisories"];
    assert_eq!((&told["given"], &told["records"], &told["unreadable"]), (&true.into(), &1.into(), &1.into()), "{told}");
    let skipped = answer["value"]["skipped"].as_array().unwrap();
    assert!(skipped.iter().any(|skip| skip["path"] == "osv"), "{skipped:#?}");
    // A member that says nothing is no fault.
    place.file("osv/TEST-2026-1.json", ADVISORY.replace("\"affected\"", "\"aliases\": null,\n  \"affected\""));
    let answer = audit(&place, &["--json"]).json("vespiary.run/1");
    assert_eq!(answer["value"]["advisories"]["unreadable"], 0);
    finding(&answer, "vulnerable-dependency");
}

#[test]
fn requirements_in_a_directory_of_theirs_are_read() {
    let place = Place::new();
    place.file("requirements/base.txt", "victim-lib==1.2.3\n");
    place.file("osv/TEST-2026-1.json", ADVISORY.replace("npm", "PyPI").replace("SEMVER", "ECOSYSTEM"));
    let answer = audit(&place, &["--json"]).json("vespiary.run/1");
    assert_eq!(finding(&answer, "vulnerable-dependency")["path"], "requirements/base.txt");
}

/// 40 directories of 9 files, and two that one agent does not come to the end of.
fn wide() -> Place {
    let place = Place::new();
    for n in 0..360 {
        place.file(format!("src/d{:02}/f{}.txt", n / 9, n % 9), format!("file {n}\n"));
    }
    for name in ["long/a.txt", "long/b.txt"] {
        place.file(name, "words and words\n".repeat(300_000));
    }
    place
}

#[test]
fn a_change_concerns_those_who_read_it_and_nobody_else() {
    let place = wide();
    let run = || place.run(&example("audit.js"), &["--json"]).exits(0).json("vespiary.run/1");
    // The listing, and all agents but as many.
    let all_but = |of: &Value, agents: u64| of["agents"].as_u64().unwrap() + 1 - agents;
    let first = run();
    assert_eq!((&first["reused"], &first["status"]), (&0.into(), &"completed".into()));
    let stats = &first["value"]["stats"];
    assert_eq!((&stats["files_listed"], &stats["files_examined"]), (&362.into(), &362.into()));
    assert!(stats["bytes_examined"].as_u64().unwrap() > 2 * 16 * 300_000, "{stats}");
    assert!(first["agents"].as_u64() > stats["shards"].as_u64(), "what is too much for one goes to others: {stats}");
    assert_eq!(run()["reused"], all_but(&first, 0));

    place.file("src/d17/f3.txt", "longer than it was before\n");
    let changed = run();
    assert_eq!((&changed["agents"], changed["reused"].as_u64()), (&first["agents"], Some(all_but(&changed, 1))));

    // One more: the listing is another one, and so are the files of one agent, or of two where they are too many for one now.
    place.file("src/d17/f3b.txt", "new\n");
    let more = run();
    assert_eq!(more["value"]["stats"]["files_examined"], 363);
    assert!(more["reused"].as_u64().unwrap() + 3 >= all_but(&more, 0), "{} of {}", more["reused"], more["agents"]);
}

#[test]
fn what_there_are_no_agents_left_for_is_named() {
    let place = wide();
    let audit = |agents: u64| place.run(&example("audit.js"), &["--json", "--fresh", "--agents", &agents.to_string()]);
    let enough = audit(1_000).exits(0).json("vespiary.run/1")["agents"].as_u64().unwrap();
    let few = audit(enough - 1).json("vespiary.run/1");
    assert!(few["status"] != "completed", "{few:#}");
    let skipped = few["value"]["skipped"].as_array().unwrap();
    assert!(skipped.iter().any(|skip| skip["reason"].as_str().unwrap().contains("no answer")), "{skipped:#?}");
}

#[test]
fn the_secret_is_in_no_output_and_not_in_the_ledger() {
    let (place, _closed) = planted();
    let said = audit(&place, &[]);
    assert!(said.out().contains("src/config.py:3"), "it was found, {}", said.out());
    let mut everything = files_below(&place.path("out")).unwrap();
    everything.extend(files_below(&place.home().join("state")).unwrap());
    everything.push(("standard output".into(), said.stdout.clone()));
    everything.push(("standard error".into(), said.stderr.clone()));
    assert!(everything.iter().any(|(path, _)| path.ends_with("ledger.sqlite")));
    // Twelve characters in a row would be too many already.
    for piece in [&secret()[..12], &secret()[14..26], &secret()[28..]] {
        for (path, content) in &everything {
            assert!(places(content, piece.as_bytes()).is_empty(), "{} holds a piece of it", path.display());
        }
    }
}

#[test]
fn a_hostile_file_name_reaches_no_terminal() {
    let (place, _closed) = planted();
    let said = audit(&place, &[]).stays_harmless();
    assert!(said.out().contains("src/wipe\\u{1b}[2J\\u{202e}.py:1"), "{}", said.out());
    audit(&place, &["--json"]).stays_harmless();
    // Reports are read with `cat`, too.
    for name in ["report.md", "report.html", "findings.sarif"] {
        assert_harmless(&fs::read_to_string(place.path("out").join(name)).unwrap());
    }
    place.vespiary(&["runs", "show", "last", "--events"]).exits(0).stays_harmless();
    place.vespiary(&["runs", "show", "last", "--events", "--json"]).exits(0).stays_harmless();
}

#[test]
fn the_reports_are_what_other_programs_expect() {
    let (place, _closed) = planted();
    audit(&place, &["--quiet"]);
    let read = |name: &str| fs::read_to_string(place.path("out").join(name)).unwrap();

    let markdown = read("report.md");
    assert!(markdown.contains("`src/config.py:3") && markdown.contains("TEST-2026-1"), "{markdown}");

    let sarif: Value = serde_json::from_str(&read("findings.sarif")).unwrap();
    assert_eq!(sarif["version"], "2.1.0");
    let results = sarif["runs"][0]["results"].as_array().unwrap();
    let location = |result: &Value| result["locations"][0]["physicalLocation"].clone();
    let places: Vec<_> = results.iter().map(location).collect();
    assert!(
        places.iter().any(|at| { at["artifactLocation"]["uri"] == "src/config.py" && at["region"]["startLine"] == 3 })
    );
    for at in &places {
        let uri = at["artifactLocation"]["uri"].as_str().unwrap();
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.~/%".contains(c);
        assert!(!uri.starts_with('/') && uri.chars().all(allowed), "{uri}");
    }

    let html = read("report.html");
    assert!(html.contains("src/config.py") && html.contains("TEST-2026-1"));
    assert_eq!(loads(&html), Vec::<&str>::new(), "the report is to be whole without a network");
    assert!(!html.contains("<script src") && !html.contains("<link") && !html.contains("@import"));
}

/// Addresses a browser would go to for this page, its own parts excepted.
fn loads(html: &str) -> Vec<&str> {
    let opens = ["src=\"", "src='", "href=\"", "href='", "srcset=\"", "action=\"", "url("];
    let addresses = opens.iter().flat_map(|open| {
        html.match_indices(open).map(|(at, _)| html[at + open.len()..].split(['"', '\'', ')', '>']).next().unwrap())
    });
    addresses.filter(|address| !address.starts_with('#') && !address.starts_with("data:")).collect()
}

#[test]
fn a_changed_byte_in_the_ledger_shows_and_is_placed() {
    let (place, _closed) = planted();
    let run = audit(&place, &["--json"]).json("vespiary.run/1")["run"].as_str().unwrap().to_owned();
    let verify = ["runs", "show", &run, "--verify", "--json"];
    let before = place.vespiary(&verify).exits(0).json("vespiary.run-record/1");
    assert_eq!((&before["verified"]["intact"], &before["verified"]["ended"]), (&true.into(), &true.into()));

    // A log line of the workflow, which stands in one event alone.
    let recorded = place.vespiary(&["runs", "show", &run, "--events", "--json"]).exits(0).json("vespiary.run-record/1");
    let events = recorded["record"].as_array().unwrap();
    let said = |event: &&Value| event["event"]["log"]["text"].as_str().is_some_and(|text| text.contains(" shards, "));
    let line = events.iter().find(said).unwrap();
    let (needle, seq) = (line["event"]["log"]["text"].as_str().unwrap(), &line["seq"]);
    let mut ledger = fs::read(place.ledger()).unwrap();
    // SQLite may have left older copies of the page behind; the one that counts is among them.
    let found = places(&ledger, needle.as_bytes());
    assert!(!found.is_empty(), "the record was not written back into the ledger's file");
    found.iter().for_each(|at| ledger[at + 1] ^= 1);
    fs::write(place.ledger(), ledger).unwrap();

    let after = place.vespiary(&verify).exits(1).json("vespiary.run-record/1");
    assert_eq!((&after["verified"]["intact"], &after["verified"]["seq"]), (&false.into(), seq));
    let said = place.vespiary(&["runs", "show", &run, "--verify"]).exits(1);
    assert!(said.out().contains("CHANGED") && said.out().contains(&format!("event {seq}")), "{}", said.out());
}
