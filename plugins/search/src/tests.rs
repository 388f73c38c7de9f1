//! Searches over real directories.

use super::*;
use serde_json::json;
use vespiary_sdk::fs::{create_dir_all, set_root, write};
use vespiary_sdk::{Error, Result};

fn tree(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    set_root(root.path());
    for (path, content) in files {
        if let Some((dir, _)) = path.rsplit_once('/') {
            create_dir_all(dir).unwrap();
        }
        write(path, content).unwrap();
    }
    root
}

fn search(args: serde_json::Value) -> Result<Found> {
    grep(serde_json::from_value(args).unwrap())
}

fn places(found: &Found) -> Vec<(&str, u64, u64)> {
    found.matches.iter().map(|hit| (hit.path.as_str(), hit.line, hit.column)).collect()
}

#[test]
fn matches_come_with_place_and_context() {
    let _root =
        tree(&[("a.txt", b"one\ntwo needle\nthree\n"), ("b/c.txt", "ä needle needle".as_bytes()), ("d", b"none\n")]);
    let found = search(json!({ "pattern": "ne{2}dle", "before": 1, "after": 3 })).unwrap();
    assert_eq!(places(&found), [("a.txt", 2, 5), ("b/c.txt", 1, 3)]);
    let hit = &found.matches[0];
    assert_eq!(
        (hit.text.as_str(), &hit.before[..], &hit.after[..]),
        ("two needle", &["one".into()][..], &["three".into()][..])
    );
    assert_eq!((found.files_searched, found.bytes_searched), (3, 21 + 16 + 5));
    assert_eq!((found.skipped.len(), found.truncated), (0, false));
}

#[test]
fn context_of_neighbouring_matches_is_whole() {
    let _root = tree(&[("a", b"x1\nx2\nx3\n")]);
    let found = search(json!({ "pattern": "x", "before": 1, "after": 1 })).unwrap();
    let context: Vec<_> = found.matches.iter().map(|hit| (hit.before.concat(), hit.after.concat())).collect();
    assert_eq!(context, [("".into(), "x2".into()), ("x1".into(), "x3".into()), ("x2".into(), "".into())]);
}

#[test]
fn case_and_fixed_text() {
    let _root = tree(&[("a", b"Foo.bar\nfooxbar\n")]);
    let lines = |args| places(&search(args).unwrap()).iter().map(|place| place.1).collect::<Vec<_>>();
    assert_eq!(lines(json!({ "pattern": "foo.bar" })), [2]);
    assert_eq!(lines(json!({ "pattern": "foo.bar", "case": "insensitive" })), [1, 2]);
    assert_eq!(lines(json!({ "pattern": "foo.bar", "case": "smart" })), [1, 2]);
    assert_eq!(lines(json!({ "pattern": "Foo.bar", "case": "smart" })), [1]);
    assert_eq!(lines(json!({ "pattern": "o.b", "fixed": true })), [1]);
}

#[test]
fn what_cannot_be_searched_is_listed() {
    let root = tree(&[("bin", b"needle\0"), ("big", &[b'x'; 200]), ("ok", b"needle")]);
    std::os::unix::fs::symlink("ok", root.path().join("link")).unwrap();
    let found = search(json!({ "pattern": "needle", "max_file_bytes": 100 })).unwrap();
    assert_eq!(places(&found), [("ok", 1, 1)]);
    let skipped: Vec<_> =
        found.skipped.iter().map(|skipped| (skipped.path.as_str(), skipped.reason.as_str())).collect();
    let link = "a symbolic link; links are not followed";
    assert_eq!(skipped, [("big", "larger than 100 bytes"), ("bin", "binary: NUL at byte 6"), ("link", link)]);
    assert_eq!(found.files_searched, 1);
}

#[test]
fn rules_and_globs_choose_files() {
    let files: [(&str, &[u8]); 5] =
        [(".gitignore", b"*.log\n"), ("a.log", b"x"), ("a.rs", b"x"), (".b.rs", b"x"), ("target/c.rs", b"x")];
    let _root = tree(&files);
    let paths = |args| search(args).unwrap().matches.into_iter().map(|hit| hit.path).collect::<Vec<_>>();
    assert_eq!(paths(json!({ "pattern": "x" })), ["a.rs", "target/c.rs"]);
    assert_eq!(paths(json!({ "pattern": "x", "hidden": true })), [".b.rs", "a.rs", "target/c.rs"]);
    assert_eq!(paths(json!({ "pattern": "x", "ignore": false, "globs": ["*.log"] })), ["a.log"]);
    assert_eq!(paths(json!({ "pattern": "x", "globs": ["*.rs", "!target"] })), ["a.rs"]);
    assert_eq!(paths(json!({ "pattern": "x", "paths": ["a.log", "target", "target/c.rs"] })), ["a.log", "target/c.rs"]);
}

#[test]
fn empty_matches_are_one_a_line() {
    let _root = tree(&[("a", b"x\n\ny\n"), ("b", b"x\ny"), ("empty", b"")]);
    let everywhere = [("a", 1, 1), ("a", 2, 1), ("a", 3, 1), ("b", 1, 1), ("b", 2, 1)];
    for pattern in ["", "^", "z*"] {
        assert_eq!(places(&search(json!({ "pattern": pattern })).unwrap()), everywhere, "{pattern:?}");
    }
    assert_eq!(places(&search(json!({ "pattern": "^$" })).unwrap()), [("a", 2, 1)]);
    assert_eq!(places(&search(json!({ "pattern": "\\s" })).unwrap()), []);
}

#[test]
fn a_late_nul_takes_the_file_back() {
    let mut late = b"needle\n".to_vec();
    late.extend(std::iter::repeat_n(b'x', 70_000));
    late.extend(b"\nneedle\0\n");
    let _root = tree(&[("late", &late)]);
    let found = search(json!({ "pattern": "needle" })).unwrap();
    assert_eq!((found.matches.len(), found.files_searched), (0, 0));
    assert_eq!(found.skipped[0].reason, "binary: NUL at byte 70014");
}

#[test]
fn a_limit_cuts_the_answer_and_says_so() {
    let _root = tree(&[("a", b"x\nx\n"), ("b", b"x\n")]);
    let exact = search(json!({ "pattern": "x", "max_matches": 3 })).unwrap();
    assert_eq!((exact.matches.len(), exact.truncated), (3, false));
    let cut = search(json!({ "pattern": "x", "max_matches": 2 })).unwrap();
    assert_eq!((cut.matches.len(), cut.truncated), (2, true));
}

#[test]
fn an_answer_stays_below_what_a_call_may_return() {
    let _root = tree(&[("a", &b"x\n".repeat(200_000)), ("b", b"x")]);
    let cut = search(json!({ "pattern": "x", "max_matches": 1_000_000 })).unwrap();
    assert!(cut.truncated && cut.matches.len() < 200_000);
    let answer = serde_json::to_vec(&cut).unwrap().len();
    assert!((2 << 20..8 << 20).contains(&answer), "{answer} bytes");
}

/// In JSON a control character is six bytes.
#[test]
fn a_log_full_of_control_characters_cuts_the_answer_and_loses_no_match() {
    let line = [b"x".as_slice(), &[1; 1900], b"\n"].concat();
    let _root = tree(&[("log", &line.repeat(1000)), ("z", b"x")]);
    for args in [json!({ "pattern": "x" }), json!({ "pattern": "x", "before": 50, "after": 50 })] {
        let cut = search(args).unwrap();
        assert!(cut.truncated && cut.matches.len() > 5, "{}", cut.matches.len());
        let answer = serde_json::to_vec(&cut).unwrap().len();
        assert!((4 << 20..6 << 20).contains(&answer), "{answer} bytes");
    }
}

#[test]
fn what_is_passed_over_is_counted_past_a_size() {
    let root = tree(&[("z", b"x")]);
    let deep = format!("{}/", "\u{1}".repeat(240)).repeat(6);
    create_dir_all(&deep).unwrap();
    for number in 0..1000 {
        std::os::unix::fs::symlink("z", root.path().join(format!("{deep}{number}"))).unwrap();
    }
    let found = search(json!({ "pattern": "x" })).unwrap();
    assert_eq!((found.skipped.len() as u64 + found.skipped_more, found.matches.len()), (1000, 1));
    assert!(serde_json::to_vec(&found).unwrap().len() < 2 << 20);
}

#[test]
fn what_is_passed_over_is_counted_past_a_limit() {
    let root = tree(&[("z", b"x")]);
    for number in 0..2003 {
        std::os::unix::fs::symlink("z", root.path().join(number.to_string())).unwrap();
    }
    let found = search(json!({ "pattern": "x" })).unwrap();
    assert_eq!((found.skipped.len(), found.skipped_more), (2000, 3));
    assert_eq!((found.matches.len(), found.truncated), (1, false));
}

#[test]
fn a_file_that_turns_out_to_be_binary_gives_no_match() {
    let mut late = b"needle\n".to_vec();
    late.extend(b"text\n".repeat(20_000));
    late.extend(b"needle \0\n");
    let _root = tree(&[("late", &late), ("z", b"needle")]);
    let found = search(json!({ "pattern": "needle" })).unwrap();
    assert_eq!(places(&found), [("z", 1, 1)]);
    assert!(found.skipped[0].reason.starts_with("binary: NUL at byte 100"), "{}", found.skipped[0].reason);
}

#[test]
fn both_kinds_of_line_ends_end_a_line() {
    let _root = tree(&[("dos", b"one\r\ntwo\r\n\r\n"), ("unix", b"one\ntwo\n")]);
    let found = |pattern: &str| {
        let found = search(json!({ "pattern": pattern })).unwrap();
        found.matches.into_iter().map(|hit| (hit.path, hit.line, hit.text)).collect::<Vec<_>>()
    };
    assert_eq!(found("^o.e$"), [("dos".into(), 1, "one".into()), ("unix".into(), 1, "one".into())]);
    assert_eq!(found("two\\r"), [("dos".into(), 2, "two".into())]);
    assert_eq!(found("^$"), [("dos".into(), 3, String::new())]);
}

#[test]
fn words_and_case_follow_unicode() {
    let _root = tree(&[("a", "ÄRGER δοκιμή\n".as_bytes())]);
    assert_eq!(places(&search(json!({ "pattern": "ärger", "case": "smart" })).unwrap()), [("a", 1, 1)]);
    assert_eq!(places(&search(json!({ "pattern": r"\b\p{Greek}+\b" })).unwrap()), [("a", 1, 7)]);
}

#[test]
fn text_in_utf_16_and_behind_a_mark_is_found() {
    let mut wide = vec![0xff, 0xfe];
    wide.extend("é\nneedle\n".encode_utf16().flat_map(u16::to_le_bytes));
    let _root = tree(&[("marked", b"\xef\xbb\xbfneedle"), ("wide", &wide), ("latin", b"caf\xe9 needle")]);
    let found = search(json!({ "pattern": "^needle| needle", "after": 1 })).unwrap();
    assert_eq!(places(&found), [("latin", 1, 5), ("marked", 1, 1), ("wide", 2, 1)]);
    assert_eq!(found.matches[0].text, "caf\u{fffd} needle");
}

#[test]
fn bad_arguments_say_what_and_why() {
    let _root = tree(&[("a", b"")]);
    let why = |args| match search(args).unwrap_err() {
        Error::InvalidArguments(why) => why,
        other => panic!("{other:?}"),
    };
    assert!(why(json!({ "pattern": "(" })).contains("unclosed group"));
    assert!(why(json!({ "pattern": "a\\nb" })).contains("pattern"));
    assert!(why(json!({ "pattern": "((a{1000}){1000}){9}" })).contains("size limit"));
    assert!(why(json!({ "pattern": "a", "globs": ["a{"] })).starts_with("glob \"a{\""));
    assert!(why(json!({ "pattern": "a", "paths": [] })).starts_with("paths is empty"));
    assert!(why(json!({ "pattern": "a", "before": 51 })).contains("50 lines"));
    assert!(why(json!({ "pattern": "a", "paths": ["../x"] })).contains("`..`"));
    assert!(matches!(search(json!({ "pattern": "a", "paths": ["no"] })), Err(Error::NotFound(_))));
    let found = search(json!({ "pattern": "a", "paths": ["no", "a"] })).unwrap();
    assert_eq!((found.files_searched, found.skipped[0].path.as_str()), (1, "no"));
}

/// The search looks at a file as a whole; what it finds must be what looking at one line after the other finds.
#[test]
fn a_whole_file_is_searched_as_its_lines_are() {
    use grep_matcher::Matcher;
    let mut state = 7u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let patterns =
        ["a", "a+b?", "^a", "b$", "^$", "^\\s*$", "a*", "\\s", "[^a]b", "\\bab\\b", "a|^b", "\\W+$", "é", "(?s)a.b"];
    for round in 0..280 {
        let text: String = (0..random(24)).map(|_| ["a", "b", "\n", "\r\n", "\r", " ", "é"][random(7)]).collect();
        let pattern = patterns[round % patterns.len()];
        let matcher = crate::pattern::matcher(pattern, false, Case::Sensitive).unwrap();
        let by_line: Vec<u64> = text
            .split_inclusive('\n')
            .zip(1..)
            .filter(|(line, _)| {
                // Behind a line's end there is no line, whatever an empty match says.
                let place = matcher.find(line.as_bytes()).unwrap();
                place.is_some_and(|place| place.start() < line.len() || !line.ends_with('\n'))
            })
            .map(|(_, number)| number)
            .collect();
        let _root = tree(&[("f", text.as_bytes())]);
        let found = search(json!({ "pattern": pattern })).unwrap();
        let whole: Vec<u64> = found.matches.iter().map(|hit| hit.line).collect();
        assert_eq!(whole, by_line, "{pattern:?} in {text:?}");
    }
}
