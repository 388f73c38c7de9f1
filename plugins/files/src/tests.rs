//! The tools, natively, over real directories.
#![allow(clippy::disallowed_methods, reason = "tests set up the tree they look at")]

use crate::listing::{GlobArgs, Kind, ListArgs};
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
    assert_eq!(listing(r#"{"recursive":true,"hidden":true,"path":"src"}"#), ["src/.b", "src/a.rs"]);
    assert!(listing(r#"{"recursive":true,"ignore":false}"#).contains(&"out/x".into()));
    let entry = &list(from::<ListArgs>(r#"{"path":"src"}"#)).unwrap().entries[0];
    assert_eq!((entry.kind, entry.size), (Kind::File, Some(3)));
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
fn patterns_match_names_anywhere_and_paths_from_the_start() {
    let _dir = tree(&[("Cargo.lock", b""), ("a/Cargo.lock", b""), ("a/b/x.rs", b""), ("x.rs", b"")]);
    let found =
        |args: &str| glob(from::<GlobArgs>(args)).unwrap().entries.into_iter().map(|e| e.path).collect::<Vec<_>>();
    assert_eq!(found(r#"{"patterns":["Cargo.lock"]}"#), ["Cargo.lock", "a/Cargo.lock"]);
    assert_eq!(found(r#"{"patterns":["a/*/*.rs","*.none"]}"#), ["a/b/x.rs"]);
    assert_eq!(found(r#"{"patterns":["b/*.rs"],"path":"a"}"#), ["a/b/x.rs"]);
    assert!(
        matches!(glob(from::<GlobArgs>(r#"{"patterns":["a[b"]}"#)), Err(Error::InvalidArguments(why)) if why.contains("a[b"))
    );
    assert!(glob(from::<GlobArgs>(r#"{"patterns":[]}"#)).is_err());
}

#[test]
fn a_range_of_bytes_never_cuts_a_character() {
    let text = "aé日🐝z";
    let _dir = tree(&[("t", text.as_bytes())]);
    let mut at = 0;
    let mut joined = String::new();
    while at < text.len() as u64 {
        let part = read(ReadArgs { path: "t".into(), offset: at, length: Some(5), ..ReadArgs::default() }).unwrap();
        assert_eq!((part.encoding, part.offset), (Encoding::Utf8, at), "{part:?}");
        joined += &part.text;
        at = part.offset + part.bytes;
        assert_eq!(part.truncated, at < text.len() as u64);
    }
    assert_eq!(joined, text);
}

#[test]
fn lines_are_counted_from_one_and_the_last_is_included() {
    let _dir = tree(&[("t", b"one\ntwo\nthree\nfour")]);
    let part = read(lines("t", 2, 3)).unwrap();
    assert_eq!((part.text.as_str(), part.lines, part.offset, part.truncated), ("two\nthree\n", Some([2, 3]), 4, true));
    let rest = read(lines("t", 4, 99)).unwrap();
    assert_eq!((rest.text.as_str(), rest.lines, rest.truncated), ("four", Some([4, 4]), false));
    assert!(matches!(read(lines("t", 9, 10)), Err(Error::InvalidArguments(why)) if why.contains("ends before line 9")));
    assert!(read(lines("t", 3, 2)).is_err() && read(lines("t", 0, 2)).is_err());
}

#[test]
fn a_long_file_is_cut_and_says_so() {
    let _dir = tree(&[("t", &b"0123456789abcde\n".repeat(100_000))]);
    let part = read(ReadArgs { path: "t".into(), ..ReadArgs::default() }).unwrap();
    assert_eq!((part.bytes, part.size, part.truncated), (1 << 20, 1_600_000, true));
    let part = read(lines("t", 50_000, 100_000)).unwrap();
    assert_eq!((part.offset, part.bytes, part.lines), (49_999 * 16, 50_001 * 16, Some([50_000, 100_000])));
}

#[test]
fn what_is_not_text_is_told_not_given() {
    let _dir = tree(&[("b", b"\x7fELF\0\0"), ("l", b"caf\xe9"), ("e", b"")]);
    let binary = read(ReadArgs { path: "b".into(), ..ReadArgs::default() }).unwrap();
    assert_eq!((binary.encoding, binary.text.as_str(), binary.size), (Encoding::Binary, "", 6));
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
    assert!(read(ReadArgs { path: "d".into(), ..ReadArgs::default() }).is_err());
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
fn an_edit_happens_exactly_as_often_as_expected() {
    let dir = tree(&[("f", b"a b\na c\n")]);
    let args =
        |old: &str, count| EditArgs { path: "f".into(), old: old.into(), new: "X".into(), expected_count: count };
    let why = match edit(args("a", 1)) {
        Err(Error::InvalidArguments(why)) => why,
        other => panic!("{other:?}"),
    };
    assert!(why.contains("2 times") && why.contains("lines 1, 2"), "{why}");
    assert!(edit(args("zzz", 1)).is_err() && edit(args("", 1)).is_err());
    assert_eq!(fs::read(dir.path().join("f")).unwrap(), b"a b\na c\n");
    assert_eq!(edit(args("a", 2)).unwrap().lines, [1, 2]);
    assert_eq!(fs::read(dir.path().join("f")).unwrap(), b"X b\nX c\n");
}
