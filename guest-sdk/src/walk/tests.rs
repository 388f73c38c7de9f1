//! Walks over real directories.

use super::*;
use crate::fs::{create_dir_all, set_root, write};

/// A tree of files, each holding its own path; missing directories are made.
fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
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

fn paths(start: &str, options: Options) -> Vec<String> {
    let walked = walk(start, options).unwrap();
    let entries = walked.map(|step| match step {
        Step::Entry(entry) => entry.path,
        Step::Skipped(skipped) => panic!("skipped {}: {}", skipped.path, skipped.reason),
    });
    entries.collect()
}

fn skipped(start: &str) -> Vec<Skipped> {
    let walked = walk(start, Options::default()).unwrap();
    let steps = walked.filter_map(|step| match step {
        Step::Entry(_) => None,
        Step::Skipped(skipped) => Some(skipped),
    });
    steps.collect()
}

#[test]
fn entries_come_sorted_and_directories_before_their_content() {
    let _root = tree(&[("b/z", ""), ("b/a/q", ""), ("a", ""), ("c", "")]);
    assert_eq!(paths(".", Options::default()), ["a", "b", "b/a", "b/a/q", "b/z", "c"]);
    assert_eq!(paths("b", Options::default()), ["b/a", "b/a/q", "b/z"]);
    assert_eq!(paths("b/z", Options::default()), ["b/z"]);
    let shallow = Options { depth_max: Some(1), ..Options::default() };
    assert_eq!(paths(".", shallow), ["a", "b", "c"]);
}

#[test]
fn a_pruned_directory_is_not_entered() {
    let _root = tree(&[("a/x", ""), ("b/y", "")]);
    let mut walked = walk(".", Options::default()).unwrap();
    let mut seen = Vec::new();
    while let Some(Step::Entry(entry)) = walked.next() {
        if entry.path == "a" {
            walked.prune();
        }
        seen.push(entry.path);
    }
    assert_eq!(seen, ["a", "b", "b/y"]);
}

#[test]
fn hidden_names_are_visited_when_asked_and_git_is_never_entered() {
    let _root = tree(&[(".env", ""), (".git/config", ""), (".github/ci", ""), ("a", "")]);
    assert_eq!(paths(".", Options::default()), ["a"]);
    let hidden = Options { hidden: true, ..Options::default() };
    assert_eq!(paths(".", hidden), [".env", ".git", ".github", ".github/ci", "a"]);
}

#[test]
fn deeper_rules_win_and_whole_directories_are_pruned() {
    let _root = tree(&[
        (".gitignore", "*.log\n/target/\n"),
        ("a/.gitignore", "!keep.log\n"),
        ("a/keep.log", ""),
        ("a/drop.log", ""),
        ("target/x", ""),
        ("a/target/y", ""),
    ]);
    assert_eq!(paths(".", Options::default()), ["a", "a/keep.log", "a/target", "a/target/y"]);
    let all = Options { ignore: false, ..Options::default() };
    assert_eq!(paths(".", all).len(), 7);
}

#[test]
fn rules_above_the_start_hold() {
    let _root = tree(&[(".gitignore", "*.log\na/*.txt\n"), ("a/b.log", ""), ("a/b.txt", ""), ("a/c", "")]);
    assert_eq!(paths("a", Options::default()), ["a/c"]);
}

#[test]
fn own_rules_beat_gits() {
    let _root = tree(&[(".ignore", "!b\n.x\n!.y\n"), (".gitignore", "b\n"), ("b", ""), (".x", ""), (".y", "")]);
    assert_eq!(paths(".", Options::default()), [".y", "b"]);
}

#[test]
fn gits_rules_end_at_a_repository() {
    let _root = tree(&[(".gitignore", "*.o\n"), ("inner/.git/HEAD", ""), ("inner/a.o", ""), ("b.o", "")]);
    assert_eq!(paths(".", Options::default()), ["inner", "inner/a.o"]);
}

#[test]
fn a_bad_rule_is_reported_and_the_others_hold() {
    let _root = tree(&[(".ignore", "a[z-a]\nb\n"), (".gitignore", "a[z-a]\n"), ("b", ""), ("c", "")]);
    let skipped = skipped(".");
    // To Git such a rule is one that nothing fits.
    assert_eq!(skipped.len(), 1);
    assert_eq!(skipped[0].path, ".ignore");
    assert!(skipped[0].reason.starts_with("line 1 is no ignore rule"), "{}", skipped[0].reason);
}

#[test]
fn links_are_entries_and_loops_do_not_matter() {
    let root = tree(&[("a/b", "")]);
    std::os::unix::fs::symlink("..", root.path().join("a/up")).unwrap();
    assert_eq!(paths(".", Options::default()), ["a", "a/b", "a/up"]);
}

#[test]
fn odd_names_are_reported_and_end_nothing() {
    use std::os::unix::ffi::OsStrExt;
    let root = tree(&[("a", ""), ("d/b", "")]);
    let odd = root.path().join("d").join(std::ffi::OsStr::from_bytes(b"odd\xff"));
    #[allow(clippy::disallowed_methods, reason = "the SDK itself cannot make such a name")]
    std::fs::write(odd, "").unwrap();
    let skipped = skipped(".");
    assert_eq!(skipped.len(), 1);
    assert_eq!(skipped[0].path, "d");
    assert!(skipped[0].reason.contains("not UTF-8"), "{}", skipped[0].reason);
}

#[test]
fn a_missing_start_is_an_error() {
    let _root = tree(&[]);
    assert_eq!(walk("no", Options::default()).unwrap_err().kind(), io::ErrorKind::NotFound);
}

#[test]
fn entries_are_read_through_their_directory() {
    let _root = tree(&[("a/b", "content")]);
    let mut bytes = Vec::new();
    for step in walk(".", Options::default()).unwrap() {
        if let Step::Entry(entry) = step
            && entry.file_type.is_file()
        {
            assert_eq!(entry.read_whole(&mut bytes, 100).unwrap(), Size::Whole);
            assert_eq!(entry.metadata().unwrap().len(), 7);
        }
    }
    assert_eq!(bytes, b"content");
}
