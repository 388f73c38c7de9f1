//! Attacks on worktrees: by an agent that wants out of its layer, into another's, or into the project, and by a record that
//! was written to be applied.

use super::WRITE;
use super::checks::failed;
use super::rig::{Guests, Rig, SECRET, built};
use super::stage::play;
use serde_json::json;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use vespiary::apply::Target;
use vespiary_kernel::call::{Artifact, Ending, Failure};
use vespiary_kernel::change::merge::{Clash, Merge};
use vespiary_kernel::change::{Change, ChangeSet, Node};
use vespiary_kernel::event::{Event, Payload, RunStatus};
use vespiary_kernel::grant::Grant;
use vespiary_kernel::ids::{AgentId, Digest, RunId};
use vespiary_kernel::json::Json;
use vespiary_kernel::plugin::Kind;
use vespiary_kernel::ports::Log as _;
use vespiary_kernel::principal::{Isolation, Principal};
use vespiary_kernel::worktree::Taken;
use vespiary_ledger::ledger::Ledger;

/// `files`, declared to write anywhere at all, so that the grant alone decides where it may.
pub fn guests(guests: &mut Guests) {
    let need = |capability: &str| format!("[[needs]]\ncapability = '{capability}'\nreason = 'bait'\noptional = true\n");
    let needs = ["read:.", "write:.", "read:/", "write:/"].map(need).concat();
    guests.add("anywhere", Kind::Tools, &needs, built("files"));
}

/// Isolated agents of one run.
fn isolated<const N: usize>(rig: &Rig, grant: &[&str]) -> [Principal; N] {
    let held: Vec<&str> = grant.iter().copied().chain(["spawn:9"]).collect();
    let (run, wanted) = (rig.who(&held), grant.iter().map(|c| c.parse().unwrap()).collect::<Vec<_>>());
    std::array::from_fn(|_| rig.dispatcher.spawn(&run, Some(&wanted), Isolation::Worktree).unwrap())
}

async fn does(rig: &Rig, who: &Principal, tool: &str, arguments: serde_json::Value) -> Result<Json, Failure> {
    match rig.call_as(who, tool, arguments).await.ending {
        Ending::Done(value) => {
            assert!(!value.as_str().contains(SECRET), "{tool} got out: {value}");
            Ok(value)
        }
        Ending::Failed(failure) => {
            assert!(!failure.to_string().contains(SECRET), "{tool} leaked through its error: {failure}");
            Err(failure)
        }
    }
}

fn taken(rig: &Rig, who: &Principal) -> Taken {
    rig.sandbox.worktrees().unwrap().take(who.run().id(), who.agent()).unwrap()
}

/// The project as it stands: what no isolated agent may change.
fn all(dir: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        let content = match kind {
            kind if kind.is_file() => fs::read_to_string(&path).unwrap(),
            kind if kind.is_symlink() => format!("{:?}", fs::read_link(&path).unwrap()),
            kind => format!("{kind:?}"),
        };
        found.push((path.display().to_string(), content));
        if kind.is_dir() {
            found.extend(all(&path));
        }
    }
    found.sort();
    found
}

#[test]
fn an_agent_sees_its_own_writes_and_nobody_else_does() {
    play(async {
        let rig = Rig::new();
        let before = all(&rig.project);
        let [one, two] = isolated(&rig, WRITE);
        does(&rig, &one, "files.write", json!({ "path": "mine", "text": "one" })).await.unwrap();
        does(&rig, &one, "files.write", json!({ "path": "notes.txt", "text": "over" })).await.unwrap();
        let own = does(&rig, &one, "files.read", json!({ "path": "mine" })).await.unwrap();
        assert!(own.as_str().contains("one"), "its next call meets what the last one left: {own}");
        for other in [&two, &rig.who(WRITE)] {
            let looked = does(&rig, other, "files.read", json!({ "path": "mine" })).await;
            assert!(matches!(looked, Err(Failure::NotFound(_) | Failure::Failed(_))), "{looked:?}");
            let notes = does(&rig, other, "files.read", json!({ "path": "notes.txt" })).await.unwrap();
            assert!(notes.as_str().contains("a note inside"), "{notes}");
        }
        assert_eq!(all(&rig.project), before);
        let changes = taken(&rig, &one).changes;
        assert_eq!(changes.iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>(), ["mine", "notes.txt"]);
        assert!(taken(&rig, &two).changes.is_empty());
    });
}

#[test]
fn no_way_leads_out_of_a_layer() {
    play(async {
        let rig = Rig::new();
        let before = all(&rig.project);
        let [agent] = isolated(&rig, WRITE);
        for (attack, arguments) in [
            ("link_then_read", json!({ "path": "../secret.txt" })),
            ("hardlink_out", json!({ "path": "secret.txt" })),
            ("rename_out", json!({ "path": "notes.txt" })),
            ("read_dotdot", json!({ "path": "secret.txt" })),
            ("read_symlink_out", json!({ "path": "leak" })),
            ("read_absolute", json!({ "path": "/etc/passwd" })),
            ("open_fifo", json!({ "path": "pipe" })),
        ] {
            let refused = does(&rig, &agent, &format!("hostile.{attack}"), arguments).await.unwrap_err();
            assert!(!failed(&refused).is_empty(), "{attack}");
        }
        for path in ["leak", "leak-dir/x", "pipe", "../x", ".git/hooks/pre-commit", ".env", "sub/.ssh/authorized_keys"]
        {
            let arguments = json!({ "path": path, "text": "owned", "create_dirs": true });
            let refused = does(&rig, &agent, "files.write", arguments).await;
            assert!(refused.is_err(), "{path}: {refused:?}");
        }
        assert_eq!(all(&rig.project), before);
        assert_eq!(fs::read_to_string(rig.outside.path().join("secret.txt")).unwrap(), SECRET);
        let changes = taken(&rig, &agent).changes;
        for (path, change) in &changes {
            assert!(!path.as_str().starts_with('.') && !path.as_str().contains("/."), "{path}");
            assert!(!matches!(change.after(), Some(Node::Link { .. })), "{path}: {change:?}");
        }
    });
}

#[test]
fn markers_of_other_overlays_mean_nothing() {
    play(async {
        let rig = Rig::new();
        let [agent] = isolated(&rig, WRITE);
        for name in [".wh.notes.txt", ".wh..wh..opq", "inside/.wh..wh..opq", "empty", "c1", "c2"] {
            does(&rig, &agent, "files.write", json!({ "path": name, "text": name })).await.unwrap();
        }
        let notes = does(&rig, &agent, "files.read", json!({ "path": "notes.txt" })).await.unwrap();
        assert!(notes.as_str().contains("a note inside"), "{notes}");
        let taken = taken(&rig, &agent);
        assert_eq!(taken.changes.len(), 6);
        assert!(taken.changes.iter().all(|(_, change)| change.before().is_none()));
    });
}

#[test]
fn what_is_too_large_to_be_copied_is_refused_and_stays() {
    play(async {
        let rig = Rig::new();
        let big = rig.project.join("big");
        fs::File::create(&big).unwrap().set_len(65 << 20).unwrap();
        let [agent] = isolated(&rig, WRITE);
        let refused = does(&rig, &agent, "files.write", json!({ "path": "big", "text": "small" })).await;
        assert!(refused.is_err(), "{refused:?}");
        assert_eq!(fs::metadata(&big).unwrap().len(), 65 << 20);
        does(&rig, &agent, "files.write", json!({ "path": "small", "text": "x" })).await.unwrap();
        let changes = taken(&rig, &agent).changes;
        assert!(changes.at("big").is_none() && changes.at("small").is_some(), "the layer goes on after a refusal");
    });
}

#[test]
fn an_absolute_grant_has_no_layer_and_is_only_read() {
    play(async {
        let rig = Rig::new();
        let elsewhere = tempfile::tempdir().unwrap();
        let dir = elsewhere.path().canonicalize().unwrap();
        fs::write(dir.join("x"), "was").unwrap();
        let (write, target) = (format!("write:{}", dir.display()), format!("{}/x", dir.display()));
        let grant = [WRITE, &[&*write]].concat();
        let (read, owned) = (json!({ "path": target }), json!({ "path": target, "text": "owned" }));
        let [agent] = isolated(&rig, &grant);
        let seen = does(&rig, &agent, "anywhere.read", read).await.unwrap();
        assert!(seen.as_str().contains("was"), "{seen}");
        let refused = does(&rig, &agent, "anywhere.write", owned.clone()).await;
        assert!(refused.is_err(), "{refused:?}");
        assert_eq!(fs::read_to_string(dir.join("x")).unwrap(), "was");
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1, "no draft either");
        assert!(taken(&rig, &agent).changes.is_empty());
        // Somebody who is not isolated and holds the same may: it is isolation that stopped the agent.
        does(&rig, &rig.who(&grant), "anywhere.write", owned).await.unwrap();
        assert_eq!(fs::read_to_string(dir.join("x")).unwrap(), "owned");
    });
}

#[test]
fn an_agent_that_was_granted_one_directory_changes_no_other() {
    play(async {
        let rig = Rig::new();
        fs::create_dir_all(rig.project.join("out")).unwrap();
        let [agent] = isolated(&rig, &["read:.", "write:out", "tool:*"]);
        does(&rig, &agent, "files.write", json!({ "path": "out/x", "text": "x" })).await.unwrap();
        for path in ["notes.txt", "outer", "out/../notes.txt", "inside/x"] {
            let refused = does(&rig, &agent, "files.write", json!({ "path": path, "text": "owned" })).await;
            assert!(refused.is_err(), "{path}: {refused:?}");
        }
        let changes = taken(&rig, &agent).changes;
        assert_eq!(changes.iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>(), ["out/x"]);
    });
}

#[test]
fn a_storm_of_conflicts_loses_nothing_and_ends_soon() {
    play(async {
        let file = |content: &str| {
            let digest = Digest::of(content.as_bytes());
            (
                digest,
                Arc::from(content.as_bytes()),
                Node::File { digest, bytes: content.len() as u64, executable: false },
            )
        };
        // Lines that repeat are what makes a careless comparison slow.
        let base = "same\n".repeat(4_000);
        let (old_digest, old, old_node) = file(&base);
        let mut contents = std::collections::BTreeMap::from([(old_digest, old)]);
        let mut merge = Merge::default();
        for agent in 1..=300u32 {
            let (digest, content, node) =
                file(&format!("{}{agent}\n{}", "same\n".repeat(agent as usize), "same\n".repeat(3_000)));
            contents.insert(digest, content);
            let change = Change::new(Some(old_node.clone()), Some(node)).unwrap();
            let set =
                ChangeSet::new((0..5).map(|n| (format!("f{n}").parse().unwrap(), change.clone())).collect()).unwrap();
            merge.add(AgentId(agent), &set);
        }
        let begun = std::time::Instant::now();
        let merged = merge.resolve(&contents);
        assert!(begun.elapsed().as_secs() < 60, "{:?}", begun.elapsed());
        assert!(merged.changes.is_empty());
        assert_eq!(merged.conflicts.len(), 5);
        for conflict in &merged.conflicts {
            assert_eq!((conflict.kind, conflict.sides.len()), (Clash::Lines, 300));
        }
    });
}

/// A record that holds together in every link, and says what its author liked.
fn record(home: &Path, run: &str, project: &Path, changes: &str, grant: &[&str], artifacts: Vec<Artifact>) {
    fs::create_dir_all(home.join("state")).unwrap();
    let ledger = Ledger::open(&home.join("state/ledger.sqlite")).unwrap();
    let run: RunId = run.parse().unwrap();
    let json = |text: &str| Payload::Value(Json::parse(text.to_owned()).unwrap());
    let append = |event| ledger.append(&run, event).unwrap();
    append(Event::RunStarted {
        version: "0".into(),
        title: "forged".into(),
        script: None,
        args: Json::null(),
        root: project.display().to_string(),
        grant: Grant::of_run(grant.iter().map(|c| c.parse().unwrap())),
    });
    let conflicts = json("[]");
    append(Event::ChangesMerged { changes: json(changes), files: 1, conflicts, conflicting: 0, artifacts });
    append(Event::RunEnded { status: RunStatus::Completed, value: None, error: None });
    ledger.close().unwrap();
}

/// Apply the run `forged`, which must fail; what was said.
fn not_applied(home: &Path) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vespiary"));
    let said = command.args(["runs", "apply", "forged"]).env("VESPIARY_HOME", home).output().unwrap();
    assert!(!said.status.success(), "it was applied: {}", String::from_utf8_lossy(&said.stdout));
    String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned()
}

fn forged(home: &Path, project: &Path, changes: &str, grant: &[&str]) -> String {
    record(home, "forged", project, changes, grant, Vec::new());
    not_applied(home)
}

#[test]
fn a_forged_record_is_not_applied() {
    play(async {
        let made = |path: &str| json!({ path: { "after": "directory" } }).to_string();
        let link =
            |path: &str, target: &str| json!({ path: { "after": { "link": { "target": target } } } }).to_string();
        for (changes, why) in [
            (made("../escaped"), "no path inside a tree"),
            (made("/tmp/escaped"), "no path inside a tree"),
            (made("a/../../escaped"), "no path inside a tree"),
            (link("a", "../secret"), "does not stay inside"),
            (link("a", "/etc"), "does not stay inside"),
            (made(".git/hooks"), "was not granted"),
            (made(".env"), "was not granted"),
            (
                json!({ "l": { "after": { "link": { "target": "x" } } }, "l/y": { "after": "directory" } }).to_string(),
                "no directory",
            ),
        ] {
            let temp = tempfile::tempdir().unwrap();
            let project = temp.path().join("project");
            fs::create_dir(&project).unwrap();
            let said = forged(&temp.path().join("home"), &project, &changes, &["read:.", "write:."]);
            assert!(said.contains(why), "{changes}: {said}");
            assert!(fs::read_dir(&project).unwrap().next().is_none() && !temp.path().join("escaped").exists());
        }
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir(temp.path().join("project")).unwrap();
        let said =
            forged(&temp.path().join("home"), &temp.path().join("project"), &made("src"), &["read:.", "write:out"]);
        assert!(said.contains("was not granted"), "{said}");
    });
}

#[test]
fn a_link_swapped_in_before_applying_is_not_followed() {
    play(async {
        let temp = tempfile::tempdir().unwrap();
        let (project, outside) = (temp.path().join("project"), temp.path().join("outside"));
        fs::create_dir(&project).unwrap();
        fs::create_dir(&outside).unwrap();
        std::os::unix::fs::symlink(&outside, project.join("out")).unwrap();
        let changes = json!({ "out/made": { "after": "directory" } }).to_string();
        let said = forged(&temp.path().join("home"), &project, &changes, &["read:.", "write:out"]);
        assert!(said.contains("symbolic link"), "{said}");
        assert!(fs::read_dir(&outside).unwrap().next().is_none());
    });
}

/// Words changed in the file of the ledger after the run, so that they name another place that was granted as well.
#[test]
fn a_changed_record_is_not_applied() {
    play(async {
        let temp = tempfile::tempdir().unwrap();
        let (home, project) = (temp.path().join("home"), temp.path().join("project"));
        fs::create_dir(&project).unwrap();
        let changes = json!({ "one": { "after": "directory" } }).to_string();
        record(&home, "forged", &project, &changes, &["read:.", "write:."], Vec::new());
        let ledger = rusqlite::Connection::open(home.join("state/ledger.sqlite")).unwrap();
        ledger.execute_batch("DROP TRIGGER events_stay_as_written").unwrap();
        let changed = ledger.execute("UPDATE events SET body = replace(body, '\"one\"', '\"two\"')", []);
        assert!(changed.unwrap() > 0);
        drop(ledger);
        let said = not_applied(&home);
        assert!(said.contains("cannot be trusted"), "{said}");
        assert!(fs::read_dir(&project).unwrap().next().is_none());
    });
}

/// A record that names the content of another run by its digest: whoever knows a digest does not know the content.
#[test]
fn a_content_of_another_run_is_not_applied() {
    play(async {
        let temp = tempfile::tempdir().unwrap();
        let (home, project) = (temp.path().join("home"), temp.path().join("project"));
        fs::create_dir(&project).unwrap();
        let (digest, bytes) = (Digest::of(SECRET.as_bytes()), SECRET.len() as u64);
        let content = Some(SECRET.as_bytes().into());
        let kept = Artifact { name: "a".into(), media_type: "text/plain".into(), digest, bytes, content };
        record(&home, "other", &project, "{}", &["read:."], vec![kept]);
        let node = serde_json::to_value(Node::File { digest, bytes, executable: false }).unwrap();
        let changes = json!({ "stolen": { "after": node } }).to_string();
        let said = forged(&home, &project, &changes, &["read:.", "write:."]);
        assert!(said.contains("was not kept"), "{said}");
        assert!(!project.join("stolen").exists());
    });
}

/// A neighbour writes to a path after it was looked at, while the contents are laid down beside it.
#[test]
fn a_path_changed_while_it_is_applied_is_left_alone() {
    play(async {
        let temp = tempfile::tempdir().unwrap();
        let place = temp.path().join("a");
        let node = Node::File { digest: Digest::of(b"new"), bytes: 3, executable: false };
        let set: ChangeSet = serde_json::from_value(json!({ "a": { "after": node } })).unwrap();
        let target = Target::open(temp.path(), "race").unwrap();
        assert!(target.differences(&set, false).unwrap().is_empty());
        let neighbour = |_: &Digest| {
            fs::write(&place, "a neighbour's").unwrap();
            Ok(b"new".to_vec())
        };
        let error = target.apply(&set, neighbour).unwrap_err();
        assert!(error.to_string().contains("changed meanwhile"), "{error}");
        assert_eq!(fs::read_to_string(&place).unwrap(), "a neighbour's");
    });
}
