//! The tools, natively, over real directories.
#![allow(clippy::disallowed_methods, reason = "tests set up the tree they look at")]

use crate::listing::{Entry, GlobArgs, Kind, ListArgs, Listing, measure};
use crate::reading::{Encoding, ReadArgs, StatArgs};
use crate::writing::{EditArgs, WriteArgs};
use crate::{edit, glob, list, read, stat, write};
use std::fs;
use tempfile::TempDir;
use vespiary_sdk::Error;

fn tree(files: &[(&str, &[u8])]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    vespiary_sdk::fs::set_root(dir.path());
    dir
}

fn listing(args: &str) -> Vec<String> {
    let args: ListArgs = from(args);
    list(args).unwrap().entries.into_iter().map(|entry| entry.path).collect()
}

fn from<T: serde::de::DeserializeOwned>(args: &str) -> T {
    serde_json::from_str(args).unwrap()
}

fn lines(path: &str, first: u64, last: u64) -> ReadArgs {
    ReadArgs { path: path.into(), start_line: Some(first), end_line: Some(last), ..ReadArgs::default() }
}

#[test]
fn a_tree_is_listed_without_what_is_ignored_or_hidden() {
    let _dir = tree(&[(".gitignore", b"out/\n"), ("out/x", b""), ("src/a.rs", b"abc"), ("src/.b", b""), ("c", b"")]);
    assert_eq!(listing("{}"), ["c", "src"]);
    assert_eq!(listing(r#"{"recursive":true}"#), ["c", "src", "src/a.rs"]);
    assert_eq!(listing(r#"{"recursive":true,"depth":1}"#), ["c", "src"]);
    assert_eq!(listing(r#"{"depth":2}"#), ["c", "src", "src/a.rs"]);
    assert!(list(from::<ListArgs>(r#"{"depth":0}"#)).is_err());
    assert_eq!(listing(r#"{"recursive":true,"hidden":true,"path":"src"}"#), ["src/.b", "src/a.rs"]);
    assert!(listing(r#"{"recursive":true,"ignore":false}"#).contains(&"out/x".into()));
    let entry = &list(from::<ListArgs>(r#"{"path":"src"}"#)).unwrap().entries[0];
    assert_eq!((entry.kind, entry.size), (Kind::File, Some(3)));
}

#[test]
fn bare_paths_by_kind_are_the_same_entries() {
    let dir = tree(&[("a/b", b""), ("a/c/d", b""), ("e", b"")]);
    std::os::unix::fs::symlink("e", dir.path().join("l")).unwrap();
    let listing = list(from::<ListArgs>(r#"{"recursive":true,"by_kind":true}"#)).unwrap();
    assert!(listing.entries.is_empty() && !listing.truncated);
    let by_kind = listing.by_kind.unwrap();
    assert_eq!(
        (by_kind.files, by_kind.dirs),
        (vec!["a/b".into(), "a/c/d".into(), "e".into()], vec!["a".into(), "a/c".into()])
    );
    assert_eq!((by_kind.symlinks, by_kind.others.len()), (vec!["l".to_owned()], 0));
    assert!(list(from::<ListArgs>(r#"{"by_kind":true,"limit":2}"#)).unwrap().truncated);
    assert_eq!(list(from::<ListArgs>("{}")).unwrap().by_kind, None);
}

#[test]
fn the_limit_says_that_it_cut() {
    let _dir = tree(&[("a", b""), ("b", b""), ("c", b"")]);
    let cut = list(from::<ListArgs>(r#"{"limit":2}"#)).unwrap();
    assert!(cut.entries.len() == 2 && cut.truncated);
    assert!(!list(from::<ListArgs>(r#"{"limit":3}"#)).unwrap().truncated);
}

#[cfg(unix)]
#[test]
fn names_that_are_no_text_are_reported_and_end_nothing() {
    use std::os::unix::ffi::OsStrExt;
    let dir = tree(&[("a", b""), ("z", b"")]);
    fs::write(dir.path().join(std::ffi::OsStr::from_bytes(b"\xff\xfe")), b"").unwrap();
    std::os::unix::fs::symlink(".", dir.path().join("loop")).unwrap();
    let found = list(from::<ListArgs>(r#"{"recursive":true}"#)).unwrap();
    assert_eq!(found.entries.iter().map(|e| e.path.as_str()).collect::<Vec<_>>(), ["a", "loop", "z"]);
    assert_eq!(found.skipped.len(), 1, "{:?}", found.skipped);
}

#[test]
fn what_is_gone_when_sizes_are_asked_for_is_left_out_and_what_is_no_file_is_told() {
    let _dir = tree(&[("a", b"1"), ("now-a-dir/x", b""), ("z", b"22")]);
    let entry = |path: &str| Entry { path: path.into(), kind: Kind::File, size: None };
    let entries = ["a", "gone", "not-asked-for", "now-a-dir", "z"].map(entry);
    let mut listing = Listing { entries: entries.into(), ..Listing::default() };
    measure(&mut listing, &[0, 1, 3, 4], 0);
    let shown: Vec<_> = listing.entries.iter().map(|entry| (entry.path.as_str(), entry.size)).collect();
    assert_eq!(shown, [("a", Some(1)), ("not-asked-for", None), ("z", Some(2))]);
    let skipped: Vec<_> = listing.skipped.iter().map(|skipped| skipped.path.as_str()).collect();
    assert_eq!(skipped, ["now-a-dir"]);
}

#[test]
fn what_is_excluded_is_left_out_with_all_that_is_below() {
    let _dir =
        tree(&[("a/x", b"1"), ("a/out/x", b""), ("out/deep/x", b""), ("b/out", b""), ("outer/x", b"22"), ("x", b"")]);
    let found = list(from::<ListArgs>(r#"{"recursive":true,"exclude":["out","none"]}"#)).unwrap();
    let shown: Vec<_> = found.entries.iter().map(|entry| (entry.path.as_str(), entry.size)).collect();
    let dir = None;
    let expected = [("a", dir), ("a/x", Some(1)), ("b", dir), ("outer", dir), ("outer/x", Some(2)), ("x", Some(0))];
    assert_eq!(shown, expected);
    assert!(found.skipped.is_empty());
    let start = list(from::<ListArgs>(r#"{"path":"out","recursive":true,"exclude":["out"]}"#)).unwrap();
    assert_eq!(start.entries.len(), 2, "what was asked for by name is listed");
}

#[test]
fn patterns_match_names_anywhere_and_paths_from_the_start() {
    let _dir = tree(&[("Cargo.lock", b""), ("a/Cargo.lock", b""), ("a/b/x.rs", b""), ("x.rs", b"")]);
    let found =
        |args: &str| glob(from::<GlobArgs>(args)).unwrap().entries.into_iter().map(|e| e.path).collect::<Vec<_>>();
    assert_eq!(found(r#"{"patterns":["Cargo.lock"]}"#), ["Cargo.lock", "a/Cargo.lock"]);
    assert_eq!(found(r#"{"patterns":["a/*/*.rs","*.none"]}"#), ["a/b/x.rs"]);
    assert_eq!(found(r#"{"patterns":["b/*.rs"],"path":"a"}"#), ["a/b/x.rs"]);
    assert_eq!(found(r#"{"patterns":["a/b/*.rs"]}"#), ["a/b/x.rs"]);
    assert_eq!(found(r#"{"patterns":["none/*.rs","none/x"]}"#), [""; 0]);
    assert_eq!(found(r#"{"patterns":["x.rs/a/*"]}"#), [""; 0]);
    assert_eq!(found(r#"{"patterns":["a/*"],"path":"./"}"#), ["a/Cargo.lock"]);
    assert!(matches!(glob(from::<GlobArgs>(r#"{"patterns":["a/*"],"path":"none"}"#)), Err(Error::NotFound(_))));
    assert!(
        matches!(glob(from::<GlobArgs>(r#"{"patterns":["a[b"]}"#)), Err(Error::InvalidArguments(why)) if why.contains("a[b"))
    );
    assert!(glob(from::<GlobArgs>(r#"{"patterns":[]}"#)).is_err());
}

#[test]
fn hidden_files_match_where_a_pattern_names_them() {
    let _dir = tree(&[(".github/ci.yml", b""), (".x/y.yml", b""), (".env.local", b""), ("a.yml", b"")]);
    let found =
        |args: &str| glob(from::<GlobArgs>(args)).unwrap().entries.into_iter().map(|e| e.path).collect::<Vec<_>>();
    assert_eq!(found(r#"{"patterns":["*.yml"]}"#), ["a.yml"]);
    assert_eq!(found(r#"{"patterns":[".github/**"]}"#), [".github/ci.yml"]);
    assert_eq!(found(r#"{"patterns":[".env*"]}"#), [".env.local"]);
    assert_eq!(found(r#"{"patterns":["{.github,a}/**"]}"#), [".github/ci.yml"]);
    assert_eq!(found(r#"{"patterns":["[.]github/**"]}"#), [".github/ci.yml"]);
    assert_eq!(found(r#"{"patterns":["*.yml"],"hidden":true}"#), [".github/ci.yml", ".x/y.yml", "a.yml"]);
}

#[test]
fn an_answer_stays_below_what_a_call_may_return() {
    let dir = tree(&[]);
    let deep = dir.path().join(format!("{}/", "n".repeat(230)).repeat(15));
    fs::create_dir_all(&deep).unwrap();
    for number in 0..1300 {
        fs::write(deep.join(number.to_string()), b"").unwrap();
    }
    let found = list(from::<ListArgs>(r#"{"recursive":true}"#)).unwrap();
    assert!(found.truncated);
    let answer = serde_json::to_vec(&found).unwrap().len();
    assert!((3 << 20..8 << 20).contains(&answer), "{answer} bytes");
}

/// In JSON a control character is six bytes.
#[test]
fn names_of_control_characters_and_none_that_are_text_leave_an_answer() {
    use std::os::unix::ffi::OsStrExt;
    let dir = tree(&[]);
    let deep = format!("{}/", "\u{1}".repeat(250)).repeat(12);
    fs::create_dir_all(dir.path().join(&deep)).unwrap();
    for number in 0..600 {
        fs::write(dir.path().join(format!("{deep}{number}")), b"").unwrap();
    }
    let answer = |args: &str| {
        let found = list(from::<ListArgs>(args)).unwrap();
        (found.truncated, found.skipped.len(), serde_json::to_vec(&found).unwrap().len())
    };
    let (truncated, _, len) = answer(r#"{"recursive":true}"#);
    assert!(truncated && (3 << 20..5 << 20).contains(&len), "{truncated} {len} bytes");
    for number in 0..600 {
        fs::remove_file(dir.path().join(format!("{deep}{number}"))).unwrap();
        let name = [b"\xff", number.to_string().as_bytes()].concat();
        fs::write(dir.path().join(&deep).join(std::ffi::OsStr::from_bytes(&name)), b"").unwrap();
    }
    let (truncated, skipped, len) = answer(r#"{"recursive":true}"#);
    assert!(truncated && skipped > 100 && len < 5 << 20, "{truncated} {skipped} {len} bytes");
}

/// What is remembered of a file is its content; a time that was told would be told again when it is another.
#[test]
fn what_tells_a_time_is_not_declared_deterministic() {
    let manifest = include_str!("../plugin.toml");
    let tools: Vec<(&str, bool)> = manifest
        .split("[tools.")
        .skip(1)
        .filter_map(|tool| Some((tool.split_once(']')?.0, tool.contains("deterministic = true"))))
        .collect();
    let expected = [("list", true), ("glob", true), ("stat", false), ("read", true), ("write", false), ("edit", false)];
    assert_eq!(tools, expected);
}

fn bytes(path: &str, offset: u64, length: u64) -> ReadArgs {
    ReadArgs { path: path.into(), offset, length: Some(length), ..ReadArgs::default() }
}

#[test]
fn ranges_side_by_side_give_every_character_once() {
    let text = "aé日🐝z日\u{feff}é";
    let _dir = tree(&[("t", text.as_bytes()), ("latin", b"\xe9t\xe9 \xe9\xa0\xa0\xa0\xa0 caf\xe9")]);
    for stride in 1..=9 {
        let mut joined = String::new();
        for offset in (0..text.len() as u64).step_by(stride) {
            let part = read(bytes("t", offset, stride as u64)).unwrap();
            assert_eq!((part.encoding, part.bytes), (Encoding::Utf8, part.text.len() as u64), "{part:?}");
            assert!(part.text.is_empty() || text[part.offset as usize..].starts_with(&part.text), "{part:?}");
            joined += &part.text;
        }
        assert_eq!(joined, text, "in steps of {stride}");
        // What is no UTF-8 is not dropped at the edges of ranges either.
        let sum: u64 = (0..14).step_by(stride).map(|at| read(bytes("latin", at, stride as u64)).unwrap().bytes).sum();
        assert_eq!(sum, 14, "in steps of {stride}");
    }
}

#[test]
fn reading_on_from_where_a_range_stopped_gives_every_character_once() {
    let text = "aé日🐝z";
    let _dir = tree(&[("t", text.as_bytes())]);
    let (mut at, mut joined) = (0, String::new());
    while at < text.len() as u64 {
        let part = read(bytes("t", at, 2)).unwrap();
        assert_eq!(part.offset, at);
        joined += &part.text;
        at = part.offset + part.bytes;
    }
    assert_eq!(joined, text);
    assert_eq!(read(bytes("t", at, 2)).unwrap().text, "");
    assert!(matches!(read(bytes("t", at + 1, 2)), Err(Error::InvalidArguments(why)) if why.contains("has 11 bytes")));
}

#[test]
fn lines_are_counted_from_one_and_the_last_is_included() {
    let _dir = tree(&[("t", b"one\ntwo\nthree\nfour"), ("ended", b"one\ntwo\n"), ("e", b"")]);
    let part = read(lines("t", 2, 3)).unwrap();
    assert_eq!((part.text.as_str(), part.lines, part.offset, part.truncated), ("two\nthree\n", Some([2, 3]), 4, false));
    let rest = read(lines("t", 4, 99)).unwrap();
    assert_eq!((rest.text.as_str(), rest.lines, rest.truncated), ("four", Some([4, 4]), false));
    let why = |args| read(args).unwrap_err().to_string();
    assert!(why(lines("t", 9, 10)).ends_with("start_line 9 is past the end: t has 4 lines"));
    assert!(why(lines("ended", 3, 3)).ends_with("ended has 2 lines"));
    assert!(why(lines("e", 2, 3)).ends_with("e has 0 lines"));
    assert_eq!(read(lines("e", 1, 3)).unwrap().lines, None);
    assert!(why(lines("t", 3, 2)).contains("lines 3 to 2") && why(lines("t", 0, 2)).contains("count from 1"));
    let both = ReadArgs { offset: 1, ..lines("t", 1, 2) };
    assert!(why(both).contains("not both"));
}

/// A text in UTF-16, with its mark, in both orders.
fn wide(text: &str) -> [Vec<u8>; 2] {
    let units = || std::iter::once(0xfeff).chain(text.encode_utf16());
    [units().flat_map(u16::to_le_bytes).collect(), units().flat_map(u16::to_be_bytes).collect()]
}

#[test]
fn text_in_utf_16_is_read_in_ranges_and_lines_as_other_text_is() {
    let text = "aé\n日🐝\u{a0a}z\n🐝";
    for bytes_of_file in wide(text) {
        let _dir = tree(&[("t", &bytes_of_file)]);
        let size = bytes_of_file.len() as u64;
        for stride in 1..=9 {
            let mut joined = String::new();
            for offset in (0..size).step_by(stride) {
                let part = read(bytes("t", offset, stride as u64)).unwrap();
                assert_eq!(part.encoding, Encoding::Utf16, "{part:?}");
                assert_eq!(part.bytes, part.text.encode_utf16().count() as u64 * 2, "{part:?}");
                joined += &part.text;
            }
            assert_eq!(joined.strip_prefix('\u{feff}'), Some(text), "in steps of {stride}");
        }
        let part = read(lines("t", 2, 2)).unwrap();
        assert_eq!((part.text.as_str(), part.lines, part.offset, part.bytes), ("日🐝\u{a0a}z\n", Some([2, 2]), 8, 12));
        assert_eq!(read(lines("t", 3, 9)).unwrap().text, "🐝");
        assert!(read(lines("t", 4, 9)).unwrap_err().to_string().ends_with("t has 3 lines"));
    }
    let _dir =
        tree(&[("ended", &wide("one\ntwo\n")[0]), ("odd", b"\xff\xfea\0\n\0b"), ("utf-32", b"\xff\xfe\0\0a\0\0\0")]);
    assert!(read(lines("ended", 3, 3)).unwrap_err().to_string().ends_with("ended has 2 lines"));
    let odd = read(lines("odd", 1, 9)).unwrap();
    assert_eq!(
        (odd.encoding, odd.text.as_str(), odd.lines),
        (Encoding::Utf16Lossy, "\u{feff}a\n\u{fffd}", Some([1, 2]))
    );
    assert_eq!(read(bytes("utf-32", 0, 9)).unwrap().encoding, Encoding::Binary);
}

#[test]
fn a_long_file_of_utf_16_is_cut_to_whole_lines() {
    let _dir = tree(&[("t", &wide(&"0123456\n".repeat(100_000))[1]), ("long", &wide(&"🐝".repeat(400_000))[0])]);
    let part = read(lines("t", 1, 100_000)).unwrap();
    assert_eq!((part.lines, part.bytes, part.truncated), (Some([1, 65_535]), 65_535 * 16 + 2, true));
    let part = read(lines("t", 70_000, 70_000)).unwrap();
    assert_eq!((part.text.as_str(), part.offset), ("0123456\n", 69_999 * 16 + 2));
    let part = read(lines("long", 1, 1)).unwrap();
    assert_eq!((part.encoding, part.bytes % 4, part.truncated), (Encoding::Utf16, 2, true));
}

#[test]
fn a_file_that_is_larger_than_wanted_is_not_read() {
    let _dir = tree(&[("t", &b"0123456789"[..])]);
    let args = |most| ReadArgs { path: "t".into(), max_file_bytes: Some(most), ..ReadArgs::default() };
    let content = read(args(9)).unwrap();
    assert_eq!((content.encoding, content.size, content.bytes, &*content.text), (Encoding::TooLarge, 10, 0, ""));
    assert_eq!(read(args(10)).unwrap().text, "0123456789");
}

#[test]
fn a_long_file_is_cut_and_says_so() {
    let _dir = tree(&[("t", &b"0123456789abcde\n".repeat(100_000)), ("wide", "日".repeat(400_000).as_bytes())]);
    let part = read(ReadArgs { path: "t".into(), ..ReadArgs::default() }).unwrap();
    assert_eq!((part.bytes, part.size, part.truncated), (1 << 20, 1_600_000, true));
    let part = read(lines("t", 50_000, 100_000)).unwrap();
    assert_eq!((part.offset, part.bytes, part.lines), (49_999 * 16, 50_001 * 16, Some([50_000, 100_000])));
    assert!(!part.truncated);
    let part = read(lines("t", 2, 100_000)).unwrap();
    assert_eq!((part.bytes, part.lines, part.truncated), (1 << 20, Some([2, 65_537]), true));
    let part = read(lines("wide", 1, 1)).unwrap();
    assert_eq!((part.encoding, part.bytes % 3, part.truncated), (Encoding::Utf8, 0, true));
    assert!(read(bytes("t", 0, (1 << 20) + 1)).is_err());
}

#[test]
fn what_is_not_text_is_told_not_given() {
    let _dir = tree(&[("b", b"\x7fELF\0\0"), ("l", b"caf\xe9"), ("e", b"")]);
    let binary = read(ReadArgs { path: "b".into(), ..ReadArgs::default() }).unwrap();
    assert_eq!((binary.encoding, binary.text.as_str(), binary.size), (Encoding::Binary, "", 6));
    let within = read(bytes("b", 2, 1)).unwrap();
    assert_eq!((within.encoding, within.bytes), (Encoding::Binary, 0));
    let lossy = read(ReadArgs { path: "l".into(), ..ReadArgs::default() }).unwrap();
    assert_eq!((lossy.encoding, lossy.text.as_str(), lossy.bytes), (Encoding::Lossy, "caf\u{fffd}", 4));
    assert_eq!(read(ReadArgs { path: "e".into(), ..ReadArgs::default() }).unwrap().text, "");
}

#[test]
fn bad_places_are_told_apart() {
    let _dir = tree(&[("d/f", b"")]);
    assert!(matches!(read(ReadArgs { path: "none".into(), ..ReadArgs::default() }), Err(Error::NotFound(_))));
    assert!(matches!(
        read(ReadArgs { path: "../x".into(), ..ReadArgs::default() }),
        Err(Error::InvalidArguments(_) | Error::Denied(_))
    ));
    let why = read(ReadArgs { path: "d".into(), ..ReadArgs::default() }).unwrap_err().to_string();
    assert!(why.ends_with("d is a directory; list it with files.list"), "{why}");
    assert_eq!(stat(StatArgs { path: "./d/f".into() }).unwrap().path, "d/f");
}

#[test]
fn a_file_is_written_whole_or_not_at_all() {
    let dir = tree(&[("d/f", b"old")]);
    let args =
        |path: &str, overwrite| WriteArgs { path: path.into(), text: "new".into(), create_dirs: true, overwrite };
    assert!(matches!(write(args("d/f", false)), Err(Error::InvalidArguments(why)) if why.contains("exists")));
    assert_eq!(fs::read(dir.path().join("d/f")).unwrap(), b"old");
    let written = write(args("d/f", true)).unwrap();
    assert_eq!((written.bytes, written.created), (3, false));
    assert!(write(args("x/y/z", false)).unwrap().created);
    assert!(write(args("d", true)).is_err());
    assert_eq!(fs::read_dir(dir.path().join("d")).unwrap().count(), 1, "nothing is left beside the file");
}

#[test]
fn a_missing_directory_is_named() {
    let _dir = tree(&[]);
    let args = WriteArgs { path: "x/y".into(), text: String::new(), create_dirs: false, overwrite: true };
    let why = write(args).unwrap_err();
    assert_eq!(why, Error::not_found("the directory x does not exist; set create_dirs to create it"));
}

#[cfg(unix)]
#[test]
fn a_file_keeps_its_permissions() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tree(&[("run.sh", b"#!/bin/sh\n")]);
    let script = dir.path().join("run.sh");
    for mode in [0o755, 0o600] {
        fs::set_permissions(&script, fs::Permissions::from_mode(mode)).unwrap();
        write(from::<WriteArgs>(r##"{"path":"run.sh","text":"#!/bin/sh\nexit\n"}"##)).unwrap();
        edit(from::<EditArgs>(r#"{"path":"run.sh","old":"exit","new":"exit 1"}"#)).unwrap();
        assert_eq!(fs::metadata(&script).unwrap().permissions().mode() & 0o777, mode);
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside the file");
}

#[cfg(unix)]
#[test]
fn a_link_is_written_through() {
    let dir = tree(&[("real", b"old")]);
    std::os::unix::fs::symlink("real", dir.path().join("link")).unwrap();
    write(from::<WriteArgs>(r#"{"path":"link","text":"new"}"#)).unwrap();
    assert_eq!(fs::read(dir.path().join("real")).unwrap(), b"new");
    assert!(fs::symlink_metadata(dir.path().join("link")).unwrap().is_symlink());
}

#[test]
fn an_edit_happens_exactly_as_often_as_expected() {
    let content: &[u8] = b"a b\na c\ncaf\xe9\n";
    let dir = tree(&[("f", content)]);
    let args =
        |old: &str, count| EditArgs { path: "f".into(), old: old.into(), new: "XY".into(), expected_count: count };
    let why = |args| edit(args).unwrap_err().to_string();
    let twice = why(args("a ", 1));
    assert!(twice.contains("2 times in f, at lines 1, 2, expected 1"), "{twice}");
    let once = why(args("a b", 2));
    assert!(once.contains("once in f, at line 1, expected 2"), "{once}");
    assert!(why(args("zzz", 1)).contains("does not occur in f") && why(args("", 1)).contains("old is empty"));
    assert!(why(args("a", 500_001)).contains("expected_count is past 500000"));
    assert!(why(args("a", 0)).contains("expected_count is 0") && why(args("XY", 1)).contains("the same"));
    assert_eq!(fs::read(dir.path().join("f")).unwrap(), content, "a refused edit changes nothing");
    let edited = edit(args("a ", 2)).unwrap();
    assert_eq!((edited.lines, edited.bytes), (vec![1, 2], 13));
    assert_eq!(fs::read(dir.path().join("f")).unwrap(), b"XYb\nXYc\ncaf\xe9\n");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside the file");
}

#[test]
fn an_edit_that_nearly_fits_says_why_not() {
    let _dir =
        tree(&[("dos", b"one\r\ntwo\r\n"), ("unix", b"x\n  one\ntwo\n"), ("d/f", b""), ("wide", b"\xff\xfex\0")]);
    let why = |path: &str, old: &str| {
        edit(EditArgs { path: path.into(), old: old.into(), new: String::new(), expected_count: 1 }).unwrap_err()
    };
    assert!(why("dos", "one\ntwo").to_string().contains("write \\r\\n"));
    assert!(why("unix", "one\r\ntwo").to_string().contains("write \\n"));
    assert!(
        why("unix", "\tone\nTWO").to_string().contains("its first line, without the white space around it, does at 2;")
    );
    assert!(why("wide", "x").to_string().contains("wide is UTF-16"));
    assert!(why("d", "x").to_string().contains("d is a directory"));
    assert!(matches!(why("none", "x"), Error::NotFound(_)));
}
