//! The tools against git itself: same order, same states, patches that apply.

#![allow(clippy::disallowed_methods, reason = "repositories for tests are made on the disk, by git")]

mod bounds;
mod hostile;
mod ranges;
mod withheld;

use super::{diff, log, show, status};
use crate::fixture::{Fixture, call};
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn strings(value: &Value, key: &str) -> Vec<String> {
    value.as_array().unwrap().iter().map(|entry| entry[key].as_str().unwrap().to_owned()).collect()
}

/// What `git status --porcelain` would print for this answer.
fn porcelain(status: &Value) -> BTreeSet<String> {
    let letter = |status: &Value| match status.as_str().unwrap() {
        "added" => 'A',
        "modified" => 'M',
        "deleted" => 'D',
        "type_changed" => 'T',
        "renamed" => 'R',
        other => panic!("{other}"),
    };
    let mut lines = BTreeSet::new();
    for file in status["staged"].as_array().unwrap() {
        lines.insert(format!("{}. {}", letter(&file["status"]), file["path"].as_str().unwrap()));
    }
    for file in status["unstaged"].as_array().unwrap() {
        lines.insert(format!(".{} {}", letter(&file["status"]), file["path"].as_str().unwrap()));
    }
    for file in status["conflicted"].as_array().unwrap() {
        lines.insert(format!("u {}", file["path"].as_str().unwrap()));
    }
    for path in status["untracked"].as_array().unwrap() {
        lines.insert(format!("? {}", path.as_str().unwrap()));
    }
    lines
}

/// The same from git.
fn porcelain_of_git(fixture: &Fixture, args: &[&str]) -> BTreeSet<String> {
    let args = [&["status", "--porcelain=v2", "-z", "-M100%"], args].concat();
    let text = fixture.git(&args);
    let mut records = text.split('\0').filter(|record| !record.is_empty());
    let mut lines = BTreeSet::new();
    while let Some(record) = records.next() {
        let fields: Vec<&str> = record.splitn(9, ' ').collect();
        match fields[0] {
            "1" | "2" => {
                let path = if fields[0] == "1" { fields[8] } else { fields[8].split_once(' ').unwrap().1 };
                let (staged, unstaged) = fields[1].split_at(1);
                if fields[0] == "2" {
                    records.next();
                }
                if staged != "." {
                    lines.insert(format!("{staged}. {path}"));
                }
                if unstaged != "." {
                    lines.insert(format!(".{unstaged} {path}"));
                }
            }
            "u" => {
                lines.insert(format!("u {}", record.splitn(11, ' ').last().unwrap()));
            }
            "?" => {
                lines.insert(format!("? {}", &record[2..]));
            }
            other => panic!("{other}"),
        }
    }
    lines
}

fn messy() -> Fixture {
    let mut fixture = Fixture::new();
    for name in ["same", "staged", "unstaged", "both", "gone", "gone staged", "moved", "sub/deep/kept", "tolink"] {
        fixture.write(name, format!("{name}\nsecond line\nthird\n"));
    }
    fixture.write("empty", "");
    fixture.write(".gitignore", "*.log\n/build/\n!keep.log\nsub/only\n");
    fixture.write("sub/.gitignore", "*.tmp\n!deep/\n");
    fixture.write("build/tracked", "in an ignored directory");
    fixture.git(&["add", "-f", "build/tracked"]);
    fixture.commit("start");
    fixture.write("staged", "staged\n");
    fixture.write("both", "first\n");
    std::fs::remove_file(fixture.path("gone staged")).unwrap();
    fixture.git(&["mv", "moved", "moved here"]);
    fixture.write("new", "new\n");
    fixture.write("ä ö", "umlauts\n");
    fixture.git(&["add", "-A"]);
    fixture.write("both", "second\n");
    fixture.write("unstaged", "unstaged\nsecond LINE\nthird");
    fixture.write("build/tracked", "changed");
    fixture.write("empty", "no more");
    std::fs::remove_file(fixture.path("gone")).unwrap();
    std::fs::remove_file(fixture.path("tolink")).unwrap();
    std::os::unix::fs::symlink("same", fixture.path("tolink")).unwrap();
    for untracked in [
        "a.log",
        "keep.log",
        "build/other",
        "dir/x",
        "dir/y.log",
        "logs/z.log",
        "sub/a.tmp",
        "sub/only",
        "sub/deep/b.tmp",
        "sub/more/c",
    ] {
        fixture.write(untracked, "untracked");
    }
    fixture
}

#[test]
fn status_is_that_of_git() {
    let mut fixture = messy();
    let check = |fixture: &Fixture| {
        let ours = call::<status::status>(json!({})).unwrap();
        assert_eq!(porcelain(&ours), porcelain_of_git(fixture, &[]));
        assert_eq!(ours["skipped"], json!([]));
        let ours = call::<status::status>(json!({"untracked": "files"})).unwrap();
        assert_eq!(porcelain(&ours), porcelain_of_git(fixture, &["-uall"]));
        let ours = call::<status::status>(json!({"untracked": "none", "paths": ["sub", "both"]})).unwrap();
        assert_eq!(porcelain(&ours), porcelain_of_git(fixture, &["-uno", "--", "sub", "both"]));
    };
    check(&fixture);
    for version in ["3", "4", "2"] {
        fixture.git(&["update-index", "--index-version", version]);
        check(&fixture);
    }
    fixture.git(&["add", "-N", "dir/x"]);
    check(&fixture);
    fixture.commit("all");
    check(&fixture);
    assert_eq!(call::<status::status>(json!({})).unwrap()["clean"], json!(true));
}

#[test]
fn status_sees_conflicts_and_a_detached_head() {
    let mut fixture = Fixture::new();
    fixture.write("both", "base\n");
    fixture.write("theirs gone", "base\n");
    fixture.write("ours gone", "base\n");
    let base = fixture.commit("base");
    fixture.git(&["checkout", "-q", "-b", "other"]);
    fixture.write("both", "other\n");
    fixture.write("added", "other\n");
    fixture.write("ours gone", "other\n");
    fixture.git(&["rm", "-q", "theirs gone"]);
    fixture.commit("other");
    fixture.git(&["checkout", "-q", "main"]);
    fixture.write("both", "main\n");
    fixture.write("added", "main\n");
    fixture.write("theirs gone", "main\n");
    fixture.git(&["rm", "-q", "ours gone"]);
    fixture.commit("main");
    fixture.git(&["merge", "-q", "other"]);
    let ours = call::<status::status>(json!({})).unwrap();
    assert_eq!(porcelain(&ours), porcelain_of_git(&fixture, &[]));
    assert_eq!(strings(&ours["conflicted"], "path"), ["added", "both", "ours gone", "theirs gone"]);
    assert_eq!(
        strings(&ours["conflicted"], "kind"),
        ["both_added", "both_modified", "deleted_by_us", "deleted_by_them"]
    );
    assert_eq!((&ours["branch"], &ours["in_progress"]), (&json!("main"), &json!(["merge"])));
    fixture.git(&["checkout", "-q", "-f", &base]);
    let ours = call::<status::status>(json!({"path": "."})).unwrap();
    assert_eq!((&ours["branch"], &ours["detached"], &ours["head"]), (&Value::Null, &json!(true), &json!(base)));
}

#[test]
fn a_file_whose_time_alone_changed_is_the_same() {
    let mut fixture = Fixture::new();
    fixture.write("a", "one");
    fixture.commit("one");
    std::fs::File::options()
        .write(true)
        .open(fixture.path("a"))
        .unwrap()
        .set_modified(std::time::SystemTime::now())
        .unwrap();
    assert_eq!(call::<status::status>(json!({})).unwrap()["clean"], json!(true));
    // Same size and changed at once: only the content tells.
    fixture.write("a", "two");
    assert_eq!(strings(&call::<status::status>(json!({})).unwrap()["unstaged"], "path"), ["a"]);
}

fn branchy() -> Fixture {
    let mut fixture = Fixture::new();
    fixture.write("a", "0\n");
    fixture.write("dir/b", "0\n");
    fixture.commit("root");
    for round in 0..6 {
        fixture.git(&["checkout", "-q", "-b", &format!("topic{round}"), "HEAD~0"]);
        for step in 0..3 {
            fixture.write(&format!("topic{round}"), format!("{step}"));
            if step == 1 {
                fixture.write("dir/b", format!("{round}"));
            }
            fixture.commit(&format!("topic {round}.{step}\n\nWhy:\nbecause"));
        }
        fixture.git(&["checkout", "-q", "main"]);
        fixture.write("a", format!("{round}"));
        fixture.commit("main");
        // Equal times must keep git's order too.
        fixture.git(&["merge", "-q", "--no-ff", "-X", "theirs", "-m", "merge", &format!("topic{round}")]);
    }
    fixture
}

#[test]
fn log_is_in_the_order_of_git() {
    let fixture = branchy();
    for (arguments, args) in [
        (json!({"limit": 100}), vec!["log"]),
        (json!({"limit": 4, "skip": 3}), vec!["log", "-4", "--skip=3"]),
        (json!({"limit": 100, "rev": "topic3~1"}), vec!["log", "topic3~1"]),
        (json!({"limit": 100, "rev": "main^2^"}), vec!["log", "main^2^"]),
        (json!({"limit": 100, "rev": "topic2..main"}), vec!["log", "topic2..main"]),
        (json!({"limit": 100, "paths": ["dir"]}), vec!["log", "--", "dir"]),
        (json!({"limit": 100, "paths": ["dir/b", "topic4"]}), vec!["log", "--", "dir/b", "topic4"]),
        (json!({"limit": 100, "paths": ["a"]}), vec!["log", "--", "a"]),
        (
            json!({"limit": 100, "since": "1700000600", "until": "2023-11-14T22:30:20Z"}),
            vec!["log", "--since=1700000600", "--until=2023-11-14T22:30:20Z"],
        ),
        (json!({"limit": 100, "author": "ADA@"}), vec!["log", "--author=ada@"]),
        (json!({"limit": 100, "author": "nobody"}), vec!["log", "--author=nobody"]),
    ] {
        let ours = call::<log::log>(arguments.clone()).unwrap();
        let theirs = fixture.git(&[&args[..1], &["--format=%H"], &args[1..]].concat());
        assert_eq!(strings(&ours["commits"], "id"), theirs.lines().collect::<Vec<_>>(), "{arguments}");
        let theirs = fixture.git(&[&args[..1], &["--format=%s|%an|%ae|%aI|%ct"], &args[1..]].concat());
        let told = ours["commits"].as_array().unwrap().iter().map(|commit| {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let author = &commit["author"];
            let (name, email, time) = (text(&author["name"]), text(&author["email"]), text(&author["time"]));
            format!("{}|{name}|{email}|{time}|{}", text(&commit["subject"]), commit["committer"]["seconds"])
        });
        assert_eq!(told.collect::<Vec<_>>(), theirs.lines().collect::<Vec<_>>(), "{arguments}");
    }
    assert_eq!(call::<log::log>(json!({"limit": 1})).unwrap()["more"], json!(true));
}

#[test]
fn revisions_are_those_of_git() {
    let mut fixture = branchy();
    fixture.git(&["tag", "-a", "v1", "-m", "tagged", "main~2"]);
    fixture.git(&["tag", "light", "topic1"]);
    fixture.git(&["update-ref", "refs/remotes/origin/feature", "topic5"]);
    fixture.git(&["symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/feature"]);
    let abbreviated = fixture.git(&["rev-parse", "--short=8", "main~4"]).trim().to_owned();
    let revisions = [
        "HEAD",
        "@",
        "main",
        "heads/main",
        "refs/heads/main",
        "v1",
        "v1^{}",
        "v1^{commit}",
        "v1~1",
        "v1^{tree}",
        "light",
        "origin/feature",
        "origin",
        "HEAD^",
        "HEAD^2",
        "HEAD^0",
        "HEAD~2^2~1",
        "main~~",
        &abbreviated,
        "main:dir/b",
        "main:dir",
        "main:",
    ];
    for packed in [false, true] {
        if packed {
            fixture.git(&["pack-refs", "--all"]);
        }
        for revision in revisions {
            let ours = call::<show::show>(json!({"rev": revision, "stat": true})).unwrap();
            assert_eq!(ours["id"], fixture.git(&["rev-parse", revision]).trim(), "{revision}");
        }
    }
    for (revision, why) in [
        ("nowhere", "names nothing"),
        ("deadbeef", "names nothing"),
        ("HEAD~500", "no parent"),
        ("HEAD^9", "no parent"),
        ("main:no/such", "no path"),
        ("HEAD@{1}", "not supported"),
        ("HEAD^{blob}", "commit or tree"),
        ("HEAD^{", "brace"),
        ("HEAD~99999999999999999999", "too large"),
        ("../config", "names nothing"),
        ("HEAD^x", "must follow"),
        (":dir/b", "nothing stands before the colon"),
        (":0:dir/b", "nothing stands before the colon"),
        ("0000000000000000000000000000000000000001", "missing"),
    ] {
        let said = call::<show::show>(json!({"rev": revision})).unwrap_err().to_string();
        assert!(said.contains(why), "{revision}: {said}");
    }
    fixture.commit("keeps the fixture in use");
}

/// Our patch, applied by git to the old state, gives the new one.
fn applies(fixture: &Fixture, arguments: Value, from: &str, to: &str) -> Value {
    let ours = call::<diff::diff>(arguments).unwrap();
    let patch = ours["patch"].as_str().unwrap();
    fixture.git(&["read-tree", from]);
    if !patch.is_empty() {
        fixture.git_bytes(&["apply", "--cached", "-"], patch.as_bytes());
    }
    assert_eq!(fixture.git(&["write-tree"]), fixture.git(&["rev-parse", &format!("{to}^{{tree}}")]));
    ours
}

#[test]
fn patches_apply_and_counts_are_those_of_git() {
    let mut fixture = Fixture::new();
    let lines = |change: &dyn Fn(usize) -> Option<String>| {
        (0..200).filter_map(change).map(|line| line + "\n").collect::<String>()
    };
    fixture.write("long", lines(&|line| Some(format!("line {line}"))));
    fixture.write("no newline", "one\ntwo");
    fixture.write("gains newline", "one\ntwo");
    fixture.write("gone", "going\n");
    fixture.write("emptied", "text\n");
    fixture.write("moved", "moved as it is\n");
    fixture.write("tolink", "same");
    fixture.write("crlf", "a\r\nb\r\n");
    fixture.write("quote \"\t", "x\n");
    fixture.commit("old");
    fixture.write(
        "long",
        lines(&|line| match line {
            3 | 9 => Some(format!("changed {line}")),
            50 => None,
            100 => Some("line 100\ninserted\ninserted".to_owned()),
            _ => Some(format!("line {line}")),
        }),
    );
    fixture.write("no newline", "one\nTWO");
    fixture.write("gains newline", "one\ntwo\n");
    fixture.write("emptied", "");
    fixture.write("new/file", "hello\n");
    fixture.write("new/empty", "");
    fixture.write("new/ä b", "umlauts\n");
    fixture.write("crlf", "a\r\nc\r\n");
    fixture.write("quote \"\t", "y\n");
    for gone in ["gone", "tolink"] {
        std::fs::remove_file(fixture.path(gone)).unwrap();
    }
    std::os::unix::fs::symlink("same", fixture.path("tolink")).unwrap();
    fixture.git(&["mv", "moved", "renamed"]);
    let new = fixture.commit("new");
    fixture.git(&["update-index", "--chmod=+x", "long"]);
    fixture.git(&["commit", "-q", "-m", "mode"]);
    for context in [0, 1, 3, 200] {
        let arguments = json!({"from": "HEAD~1^", "to": &new, "context": context});
        if context == 0 {
            // git takes such a patch only when told to.
            let patch = call::<diff::diff>(arguments).unwrap()["patch"].as_str().unwrap().to_owned();
            fixture.git(&["read-tree", "HEAD~1^"]);
            fixture.git_bytes(&["apply", "--cached", "--unidiff-zero", "-"], patch.as_bytes());
            assert_eq!(fixture.git(&["write-tree"]), fixture.git(&["rev-parse", "HEAD~1^{tree}"]));
        } else {
            applies(&fixture, arguments, "HEAD~1^", &new);
        }
    }
    applies(&fixture, json!({"from": &new, "to": "HEAD"}), &new, "HEAD");
    let ours = applies(&fixture, json!({"from": "HEAD", "to": "HEAD~2"}), "HEAD", "HEAD~2");
    let theirs = fixture.git(&["diff", "-M100%", "--numstat", "-z", "HEAD", "HEAD~2"]);
    let mut counts: Vec<(String, String)> = Vec::new();
    let mut fields = theirs.split('\0').filter(|field| !field.is_empty());
    while let Some(field) = fields.next() {
        let (additions, rest) = field.split_once('\t').unwrap();
        let (deletions, path) = rest.split_once('\t').unwrap();
        let count = format!("{additions}\t{deletions}");
        let path = if path.is_empty() { fields.nth(1).unwrap() } else { path };
        counts.push((path.to_owned(), count));
    }
    for (path, count) in counts {
        // A link that became a file of the same content is two entries here, and to git one that lost no line.
        if path == "tolink" {
            continue;
        }
        let of_path = ours["files"].as_array().unwrap().iter().filter(|file| file["path"] == path.as_str());
        let (additions, deletions) = of_path.fold((0, 0), |sum, file| {
            (sum.0 + file["additions"].as_u64().unwrap(), sum.1 + file["deletions"].as_u64().unwrap())
        });
        assert_eq!(format!("{additions}\t{deletions}"), count, "{path}");
    }
}

#[test]
fn diffs_of_index_and_worktree_apply() {
    let fixture = messy();
    std::fs::remove_file(fixture.path("tolink")).unwrap();
    fixture.write("tolink", "a file again\n");
    let staged = fixture.git(&["write-tree"]).trim().to_owned();
    let unstaged = call::<diff::diff>(json!({})).unwrap();
    let from_head = call::<diff::diff>(json!({"from": "HEAD"})).unwrap();
    let staged_patch = call::<diff::diff>(json!({"staged": true})).unwrap();
    fixture.git(&["add", "-u"]);
    let standing = fixture.git(&["write-tree"]).trim().to_owned();
    for (ours, from, to) in [
        (unstaged, staged.as_str(), standing.as_str()),
        (from_head, "HEAD", &standing),
        (staged_patch, "HEAD", &staged),
    ] {
        fixture.git(&["read-tree", from]);
        fixture.git_bytes(&["apply", "--cached", "-"], ours["patch"].as_str().unwrap().as_bytes());
        assert_eq!(fixture.git(&["write-tree"]).trim(), to, "{from} to {to}");
    }
}

#[test]
fn binary_and_large_files_are_named_and_left_out() {
    let mut fixture = Fixture::new();
    fixture.write("text", "a\n");
    fixture.commit("old");
    fixture.write("binary", b"\0\x01");
    fixture.write("large", "x\n".repeat(3 << 20));
    fixture.write("latin", b"caf\xe9\n");
    fixture.commit("new");
    let ours = call::<show::show>(json!({"rev": "HEAD"})).unwrap();
    let files = &ours["diff"]["files"];
    assert_eq!(strings(files, "path"), ["binary", "large", "latin"]);
    assert_eq!((&files[0]["binary"], &files[1]["too_large"]), (&json!(true), &json!(true)));
    assert_eq!((&files[0]["additions"], &files[2]["additions"]), (&Value::Null, &json!(1)));
    assert_eq!(ours["diff"]["lossy"], json!(true));
    let blob = call::<show::show>(json!({"rev": "HEAD", "path": "latin"})).unwrap();
    assert_eq!(
        (&blob["kind"], &blob["encoding"], &blob["text"]),
        (&json!("blob"), &json!("utf-8-lossy"), &json!("caf\u{fffd}\n"))
    );
    let blob = call::<show::show>(json!({"rev": "HEAD:large", "max_bytes": 5})).unwrap();
    assert_eq!((&blob["size"], &blob["text"], &blob["truncated"]), (&json!(6 << 20), &json!("x\nx\nx"), &json!(true)));
    let small = call::<diff::diff>(json!({"from": "HEAD~1", "to": "HEAD", "max_patch_bytes": 10})).unwrap();
    assert_eq!((&small["patch"], &small["truncated"], &small["files_changed"]), (&json!(""), &json!(true), &json!(3)));
}

#[test]
fn tags_and_trees_are_shown() {
    let mut fixture = Fixture::new();
    fixture.write("dir/file", "x");
    fixture.commit("Summer\n\nbody");
    fixture.git(&["tag", "-a", "v1", "-m", "the first"]);
    let tag = call::<show::show>(json!({"rev": "v1"})).unwrap();
    assert_eq!((&tag["kind"], &tag["name"], &tag["message"]), (&json!("tag"), &json!("v1"), &json!("the first\n")));
    assert_eq!(tag["tagger"]["email"], "bob@example.org");
    let tree = call::<show::show>(json!({"rev": "v1:"})).unwrap();
    assert_eq!((&tree["kind"], &tree["entries"][0]["mode"]), (&json!("tree"), &json!("040000")));
    let commit = call::<show::show>(json!({"rev": "HEAD"})).unwrap();
    assert_eq!((&commit["commit"]["subject"], &commit["commit"]["body"]), (&json!("Summer"), &json!("body\n")));
    assert_eq!(commit["diff"]["files"][0]["status"], "added");
}

#[test]
fn names_and_messages_in_latin_1_are_those_of_git() {
    let mut fixture = Fixture::new();
    fixture.commit("one");
    let tree = fixture.git(&["rev-parse", "HEAD^{tree}"]);
    let person = b"\xc4da <ada@example.org> 1700000000 +0000\n";
    let raw = [
        &b"tree "[..],
        tree.as_bytes(),
        b"author ",
        person,
        b"committer ",
        person,
        b"encoding ISO-8859-1\n\nGr\xfc\xdfe\n\n\xe4 body\n",
    ];
    let id = fixture.git_bytes(&["hash-object", "-t", "commit", "-w", "--stdin"], &raw.concat());
    let id = std::str::from_utf8(&id).unwrap().trim();
    let ours = call::<log::log>(json!({"rev": id, "limit": 1, "author": "äda"})).unwrap()["commits"][0].clone();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let told = format!("{}|{}|{}", text(&ours["author"]["name"]), text(&ours["subject"]), text(&ours["body"]));
    assert_eq!(told, fixture.git(&["log", "-1", "--format=%an|%s|%b", id]).strip_suffix('\n').unwrap());
    assert_eq!((&ours["encoding"], &ours["lossy"]), (&json!("ISO-8859-1"), &json!(false)));
}

#[test]
fn clones_linked_trees_bare_and_nested_repositories_open() {
    let mut fixture = Fixture::new();
    for message in ["one", "two", "three"] {
        fixture.write("a/b", message);
        fixture.commit(message);
    }
    let url = format!("file://{}", fixture.path(".").display());
    fixture.git(&["clone", "-q", "--depth", "2", &url, "shallow"]);
    let ours = call::<log::log>(json!({"path": "shallow"})).unwrap();
    assert_eq!(
        (strings(&ours["commits"], "subject"), &ours["shallow"]),
        (vec!["three".into(), "two".into()], &json!(true))
    );
    assert!(
        call::<show::show>(json!({"repo": "shallow", "rev": "HEAD~2"})).unwrap_err().to_string().contains("shallow")
    );
    fixture.git(&["clone", "-q", "--bare", ".", "bare.git"]);
    assert_eq!(strings(&call::<log::log>(json!({"path": "bare.git"})).unwrap()["commits"], "subject").len(), 3);
    assert!(call::<status::status>(json!({"path": "bare.git"})).unwrap_err().to_string().contains("bare"));
    fixture.git(&["worktree", "add", "-q", "linked", "HEAD~1"]);
    let linked = call::<status::status>(json!({"path": "linked"})).unwrap();
    assert_eq!(
        (&linked["clean"], &linked["detached"], &linked["root"]),
        (&json!(true), &json!(true), &json!("linked"))
    );
    assert_eq!(
        strings(&call::<log::log>(json!({"path": "linked", "rev": "main"})).unwrap()["commits"], "subject").len(),
        3
    );
    assert_eq!(call::<log::log>(json!({"path": "a"})).unwrap()["root"], ".");
    fixture.git(&["clone", "-q", "--shared", ".", "borrower"]);
    assert_eq!(strings(&call::<log::log>(json!({"path": "borrower"})).unwrap()["commits"], "subject").len(), 3);
    fixture.git(&["submodule", "--quiet", "add", "./bare.git", "sub"]);
    fixture.commit("with a submodule");
    let clean = call::<status::status>(json!({"untracked": "none"})).unwrap();
    assert_eq!((&clean["unstaged"], &clean["staged"]), (&json!([]), &json!([])));
    std::fs::write(fixture.path(".git/modules/sub/HEAD"), fixture.git(&["rev-parse", "main~2"])).unwrap();
    let moved = call::<status::status>(json!({"untracked": "none"})).unwrap();
    assert_eq!(strings(&moved["unstaged"], "path"), ["sub"]);
    assert!(call::<diff::diff>(json!({})).unwrap()["patch"].as_str().unwrap().contains("+Subproject commit "));
}

#[test]
fn what_is_no_repository_or_not_supported_says_so() {
    let fixture = Fixture::bare_dir();
    // Below the temporary directory nothing is a repository, and above it nothing is looked at.
    let said = call::<log::log>(json!({})).unwrap_err();
    assert!(matches!(said, vespiary_sdk::Error::NotFound(_)), "{said}");
    fixture.git(&["init", "-q", "-b", "main", "empty"]);
    assert!(call::<log::log>(json!({"path": "empty"})).unwrap_err().to_string().contains("no commit yet"));
    let empty = call::<status::status>(json!({"path": "empty"})).unwrap();
    assert_eq!((&empty["branch"], &empty["head"], &empty["clean"]), (&json!("main"), &Value::Null, &json!(true)));
    fixture.git(&["init", "-q", "--object-format=sha256", "wide"]);
    assert!(call::<log::log>(json!({"path": "wide"})).unwrap_err().to_string().contains("only SHA-1"));
    // The configuration that would say so is hidden from a cell.
    std::fs::write(fixture.path("wide/f"), "f").unwrap();
    fixture.git(&["-C", "wide", "add", "f"]);
    fixture.git(&["-C", "wide", "commit", "-q", "-m", "wide"]);
    std::fs::remove_file(fixture.path("wide/.git/config")).unwrap();
    for said in [
        call::<status::status>(json!({"path": "wide"})).unwrap_err(),
        call::<diff::diff>(json!({"path": "wide"})).unwrap_err(),
        call::<log::log>(json!({"path": "wide"})).unwrap_err(),
    ] {
        assert!(said.to_string().contains("only SHA-1"), "{said}");
    }
    fixture.write("stray/.git", "gitdir: /nowhere/at/all\n");
    assert!(call::<log::log>(json!({"path": "stray"})).unwrap_err().to_string().contains("/nowhere/at/all"));
    assert!(call::<log::log>(json!({"path": "../x"})).is_err());
}

#[test]
fn a_sparse_index_stands_for_its_files() {
    let mut fixture = Fixture::new();
    for name in ["in/a", "out/b", "out/deep/c", "top"] {
        fixture.write(name, "one\n");
    }
    fixture.commit("one");
    fixture.git(&["sparse-checkout", "set", "--cone", "--sparse-index", "in"]);
    fixture.write("in/a", "two\n");
    assert!(!fixture.path("out/b").exists());
    let ours = call::<status::status>(json!({})).unwrap();
    assert_eq!(porcelain(&ours), porcelain_of_git(&fixture, &[]));
    for arguments in [json!({}), json!({"from": "HEAD"}), json!({"from": "HEAD", "paths": ["in"]})] {
        assert_eq!(strings(&call::<diff::diff>(arguments).unwrap()["files"], "path"), ["in/a"]);
    }
    let staged = call::<diff::diff>(json!({"from": "HEAD", "staged": true, "paths": ["out/deep"]})).unwrap();
    assert_eq!(staged["files"], json!([]));
}
