//! Repositories made to harm: each is refused or answered, within bounds and without a panic.

use super::{call, diff, log, show, status};
use crate::fixture::Fixture;
use serde_json::json;

/// A tree with a name that leads out is refused by every tool that would use it.
#[test]
fn names_that_lead_out_are_errors() {
    let mut fixture = Fixture::new();
    fixture.write("a", "a");
    fixture.commit("good");
    for name in ["..", ".git", "a/b"] {
        let blob = fixture.git(&["rev-parse", "HEAD:a"]);
        let id = gix_hash::ObjectId::from_hex(blob.trim().as_bytes()).unwrap();
        let tree = [format!("100644 {name}\0").as_bytes(), id.as_slice()].concat();
        let tree = fixture.git_bytes(&["hash-object", "-t", "tree", "--literally", "-w", "--stdin"], &tree);
        let tree = String::from_utf8(tree).unwrap();
        let commit = fixture.git(&["commit-tree", "-m", "bad", tree.trim()]);
        let said = call::<show::show>(json!({"rev": commit.trim()})).unwrap_err().to_string();
        assert!(said.contains("which Git forbids"), "{said}");
        let said = call::<diff::diff>(json!({"from": commit.trim()})).unwrap_err().to_string();
        assert!(said.contains("which Git forbids"), "{said}");
    }
}

/// Commits and tags that no git would write: an answer or an error, never a panic.
#[test]
fn odd_commits_and_tags_are_answers_or_errors() {
    let mut fixture = Fixture::new();
    fixture.write("a", "a");
    let good = fixture.commit("good");
    let tree = fixture.git(&["rev-parse", "HEAD^{tree}"]).trim().to_owned();
    let (short, wide) = ("a".repeat(39), "a".repeat(64));
    let person = "A <a@b> 1 +0000";
    let commits = [
        format!("tree {tree}\nauthor {person}\ncommitter {person}\n\nfine"),
        format!("tree {tree}\nauthor A <a@b> 99999999999999999999 +9999\ncommitter <> -5 x\n\nodd times"),
        format!("tree {tree}\nauthor \ncommitter \n\n"),
        format!("tree {tree}\nparent {good}\nparent {good}\nauthor {person}\ncommitter {person}\n\ntwice"),
        format!("tree {good}\nauthor {person}\ncommitter {person}\n\nno tree"),
        format!("tree {tree}\nparent {tree}\nauthor {person}\ncommitter {person}\n\nno parent"),
        format!("tree {wide}\nauthor {person}\ncommitter {person}\n\nwide"),
        format!("tree {short}\nauthor {person}\ncommitter {person}\n\nshort"),
        format!("tree {tree}\nencoding latin1\nauthor {person}\ncommitter {person}\n"),
        "tree\n".to_owned(),
        String::new(),
        format!("tree {tree}\nauthor {person}\ncommitter {person}\ngpgsig a\n b\n c\nodd\n\n\n\n\n"),
    ];
    let mut answered = 0;
    for (kind, contents) in [
        ("commit", &commits[..]),
        (
            "tag",
            &[
                format!("object {good}\ntype commit\ntag x\ntagger {person}\n\nfine"),
                format!("object {good}\ntype tree\ntag x\n\nnot of that kind"),
                format!("object {wide}\ntype commit\ntag x\n\nwide"),
                format!("object {good}\ntype nothing\ntag x\n\n"),
                "object".to_owned(),
            ],
        ),
    ] {
        for content in contents {
            let id =
                fixture.git_bytes(&["hash-object", "-t", kind, "--literally", "-w", "--stdin"], content.as_bytes());
            let id = String::from_utf8(id).unwrap().trim().to_owned();
            for arguments in
                [json!({"rev": id}), json!({"rev": format!("{id}^{{}}")}), json!({"rev": format!("{id}~1")})]
            {
                answered += usize::from(call::<show::show>(arguments.clone()).is_ok());
                answered += usize::from(call::<log::log>(arguments.clone()).is_ok());
            }
        }
    }
    assert!(answered > 10, "the good ones are answered: {answered}");
}

/// Ten trees, each ten times in the next, are few bytes and ten billion files.
#[test]
fn a_tree_bomb_is_refused() {
    let mut fixture = Fixture::new();
    fixture.write("a", "boom");
    fixture.commit("start");
    let mut id = fixture.git(&["rev-parse", "HEAD:a"]).trim().to_owned();
    let mut kind = "100644 blob";
    for _ in 0..10 {
        let list: String = (0..10).map(|name| format!("{kind} {id}\tf{name}\n")).collect();
        id = String::from_utf8(fixture.git_bytes(&["mktree"], list.as_bytes())).unwrap().trim().to_owned();
        kind = "040000 tree";
    }
    let commit = fixture.git(&["commit-tree", "-m", "bomb", &id]);
    let said = call::<show::show>(json!({"rev": commit.trim(), "stat": true})).unwrap_err().to_string();
    assert!(said.contains("unfold"), "{said}");
}

/// Damage to the files that are no objects.
#[test]
fn damaged_references_and_index_are_errors() {
    let mut fixture = Fixture::new();
    fixture.write("a", "a");
    fixture.commit("one");
    let tools = || {
        let _ = call::<log::log>(json!({}));
        let _ = call::<status::status>(json!({}));
        let _ = call::<diff::diff>(json!({}));
    };
    for name in [".git/HEAD", ".git/refs/heads/main", ".git/index"] {
        let good = std::fs::read(fixture.path(name)).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0xff;
            fixture.write(name, bad);
            tools();
            fixture.write(name, &good[..at]);
            tools();
        }
        fixture.write(name, good);
    }
    fixture.write(".git/refs/heads/main", "ref: refs/heads/main\n");
    assert!(call::<log::log>(json!({})).unwrap_err().to_string().contains("leads through"));
    fixture.write(".git/HEAD", "ref: refs/../../../etc/passwd\n");
    assert!(call::<log::log>(json!({})).is_err());
}
