//! Guests that attack the files of their cell: what is hidden or guarded, holes and globs, odd names, links, special files, and
//! the limits on what may be written. The guests are `tests/guests/fs`; each tries many ways, and all must be refused. Races
//! with a neighbour outside the cell are run beside the code, in `host/sandbox/src/fs/tests/race.rs`, and once here.

use super::checks::{failed, limit, trap};
use super::rig::{Guests, Rig, SECRET, all_guests, built, patient};
use super::stage::play;
use super::{READ, WRITE};
use serde_json::json;
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use vespiary_kernel::call::{Failure, Keep, ToolCall};
use vespiary_kernel::dispatch::Dispatcher;
use vespiary_kernel::event::{Event, Payload};
use vespiary_kernel::json::Json;
use vespiary_kernel::observed::{Observed, ReadSet};
use vespiary_kernel::plugin::Kind;
use vespiary_kernel::policy::{Answer, Policy};
use vespiary_kernel::pool::{Capacity, Pool};
use vespiary_kernel::ports::{Approver, Asked, BoxFuture};
use vespiary_kernel::principal::Isolation;

/// Limits on files small enough that a flood meets them at once.
const FILES: &str = "bytes-written-max = 65536\nfiles-written-max = 30\nopen-files-max = 8\n";

/// The guests of this threat.
pub fn guests(guests: &mut Guests) {
    let needs = "[[needs]]\ncapability = 'write:.'\nreason = 'bait'\noptional = true\n";
    guests.add_with("hostile-fs", Kind::Tools, needs, built("hostile-fs"), &format!("{}{FILES}", patient()));
    // The same, declared to write anywhere at all, so that the grant alone decides where it may.
    let anywhere = "[[needs]]\ncapability = 'write:/'\nreason = 'bait'\noptional = true\n";
    guests.add_with("planter", Kind::Tools, anywhere, built("hostile-fs"), &format!("{}{FILES}", patient()));
    let need = |capability: &str| format!("[[needs]]\ncapability = '{capability}'\nreason = 'bait'\noptional = true\n");
    let hidden = ["read:.env", "read:**/*", "read:**/id_rsa", "read:**/.git/config", "read:**/.aws/credentials"];
    let more = ["read:**/*.pem", "read:**/server.pem", "read:sub/.env", "write:**/.git/hooks"];
    let needs = hidden.iter().chain(&more).map(|capability| need(capability)).collect::<String>();
    guests.add("prying", Kind::Tools, &needs, built("files"));
}

/// What is laid out in the project for the attacks. Whatever must not be had says `SECRET`.
fn bait(rig: &Rig) -> UnixListener {
    let (project, outside) = (&rig.project, rig.outside.path());
    for dir in [
        ".git/hooks",
        ".git/info",
        ".kube",
        ".aws",
        ".ssh",
        "sub",
        "empty",
        "src/sub",
        "src-private",
        "private",
        "deep/private",
    ] {
        fs::create_dir_all(project.join(dir)).unwrap();
    }
    for secret in [
        ".env",
        "sub/.env",
        "id_rsa",
        "server.pem",
        ".git/config",
        ".aws/credentials",
        ".ssh/work",
        ".kube/config",
        "src/secret.txt",
        "src/lib.rsx",
        "src/lib.rs.txt",
        "src-private/lib.rs",
        "src.rs",
        "private/key",
        "deep/private/key",
    ] {
        fs::write(project.join(secret), SECRET).unwrap();
    }
    for plain in ["sub/visible", ".git/HEAD", "src/lib.rs"] {
        fs::write(project.join(plain), "to be seen").unwrap();
    }
    for (link, says) in [
        ("link-to-env", ".env"),
        ("link-to-link", "link-to-env"),
        ("link-to-sub", "sub"),
        ("link-to-git", ".git"),
        ("link-to-private", "private"),
        ("link-to-proc", "/proc/self"),
        ("link-to-root", "/"),
        ("link-to-fd", "/dev/fd/0"),
        ("link-to-pipe", "pipe"),
        ("link-to-device", "/dev/null"),
        ("circle", "circle"),
        ("src/link.rs", "../notes.txt"),
    ] {
        symlink(says, project.join(link)).unwrap();
    }
    for n in 0..45 {
        symlink(format!("chain-{}", n + 1), project.join(format!("chain-{n}"))).unwrap();
    }
    fs::write(project.join("chain-45"), "the end of the chain").unwrap();
    fs::hard_link(outside.join("secret.txt"), project.join("shared")).unwrap();
    fs::write(project.join(odd_name()), "").unwrap();
    UnixListener::bind(project.join("socket")).unwrap()
}

fn odd_name() -> &'static std::ffi::OsStr {
    std::os::unix::ffi::OsStrExt::from_bytes(b"odd\xff")
}

/// Whatever was attacked is as it was laid out.
fn unharmed(rig: &Rig) {
    let (project, outside) = (&rig.project, rig.outside.path());
    for secret in
        [".env", "sub/.env", "id_rsa", "server.pem", ".git/config", ".aws/credentials", ".ssh/work", "private/key"]
    {
        assert_eq!(fs::read_to_string(project.join(secret)).unwrap(), SECRET, "{secret}");
    }
    assert_eq!(fs::read_to_string(outside.join("secret.txt")).unwrap(), SECRET);
    assert_eq!(fs::read_to_string(project.join("notes.txt")).unwrap(), "a note inside");
    assert_eq!(fs::read_to_string(project.join(".git/HEAD")).unwrap(), "to be seen");
    let names = |dir: &std::path::Path| fs::read_dir(dir).unwrap().count();
    assert_eq!(names(outside), 2, "something was made outside");
    assert_eq!(
        (names(&project.join(".git")), names(&project.join(".git/hooks"))),
        (4, 0),
        "something was made in .git"
    );
    for made in ["seen", "stolen", "public", "shallow", ".npmrc", ".env.local", "new.pem", "sub/.git"] {
        assert!(fs::symlink_metadata(project.join(made)).is_err(), "{made} was made");
    }
}

/// Every way was refused, and with one of these words.
#[track_caller]
fn only(failure: &Failure, words: &[&str]) {
    let told = failed(failure);
    assert!(!told.contains("LOOT"), "{told}");
    for way in told.split("; ") {
        let word = way.rsplit(": ").next().unwrap();
        assert!(words.contains(&word), "{way} in: {told}");
    }
}

/// An attack by the tool of `hostile-fs` of the same name, over the bait.
macro_rules! siege {
    ($name:ident, $grant:expr, |$failure:ident| $check:expr) => {
        #[test]
        fn $name() {
            play(async {
                let rig = Rig::new();
                let _socket = bait(&rig);
                let $failure = rig.attack(concat!("hostile-fs.", stringify!($name)), json!({}), $grant).await;
                $check;
                unharmed(&rig);
            });
        }
    };
}

const ABSENT: &[&str] = &["no-entry", "not-permitted"];

siege!(hidden_by_name, WRITE, |f| only(&f, ABSENT));
siege!(case_tricks, WRITE, |f| only(&f, ABSENT));
siege!(hidden_by_spelling, WRITE, |f| only(&f, ABSENT));
siege!(hidden_by_link, WRITE, |f| only(&f, ABSENT));
siege!(hidden_by_listing, READ, |f| only(&f, &["no-entry"]));
siege!(hidden_by_directory_handle, WRITE, |f| only(&f, ABSENT));
siege!(hidden_by_moving, WRITE, |f| only(&f, &["not-permitted"]));
siege!(hidden_made, WRITE, |f| only(&f, &["not-permitted"]));
siege!(times_of_hidden, WRITE, |f| only(&f, &["not-permitted"]));
siege!(existence_oracle, WRITE, |f| assert_eq!(failed(&f), "nothing is told apart"));
siege!(batch_of_hidden, READ, |f| assert_eq!(failed(&f).split("; ").count(), 11, "{f}"));
siege!(hooks_planted, WRITE, |f| only(&f, &["not-permitted"]));
siege!(glob_edges, &["read:src/**/*.rs", "tool:*"], |f| only(&f, ABSENT));
siege!(sibling_of_a_file, &["read:notes.txt", "tool:*"], |f| only(&f, &["not-directory", "not-permitted"]));
siege!(encoded_dots, WRITE, |f| only(&f, &["no-entry"]));
siege!(backslashes, WRITE, |f| only(&f, &["no-entry"]));
siege!(doubled_slashes, WRITE, |f| only(&f, &["not-permitted", "is-directory"]));
siege!(nul_in_names, WRITE, |f| only(&f, &["invalid", "not-permitted"]));
siege!(long_names, READ, |f| only(&f, &["name-too-long", "not-permitted", "no-entry"]));
siege!(deep_paths, WRITE, |f| limit(&f, "files-written"));
siege!(odd_bytes_in_names, READ, |f| assert_eq!(failed(&f), "an end, 1 odd"));
siege!(slash_after_a_file, READ, |f| only(&f, &["not-directory", "not-permitted"]));
siege!(link_chains, WRITE, |f| only(&f, &["loop"]));
siege!(links_made_out, WRITE, |f| only(&f, ABSENT));
siege!(proc_links, WRITE, |f| only(&f, &["not-permitted"]));
siege!(second_names, WRITE, |f| only(&f, &["not-permitted"]));
siege!(special_files, WRITE, |f| only(&f, &["not-permitted"]));
siege!(reader_that_writes, READ, |f| only(&f, &["not-permitted"]));
siege!(set_size_bomb, WRITE, |f| limit(&f, "bytes-written"));
siege!(sparse_bomb, WRITE, |f| limit(&f, "bytes-written"));
siege!(stream_past_quota, WRITE, |f| limit(&f, "bytes-written"));
siege!(rewrite_flood, WRITE, |f| limit(&f, "bytes-written"));
siege!(append_flood, WRITE, |f| limit(&f, "bytes-written"));
siege!(file_flood, WRITE, |f| limit(&f, "files-written"));
siege!(directory_flood, WRITE, |f| limit(&f, "files-written"));
siege!(link_flood, WRITE, |f| limit(&f, "files-written"));
siege!(open_flood, READ, |f| limit(&f, "open-files"));
siege!(listing_flood, READ, |f| limit(&f, "open-handles"));
siege!(guessed_descriptors, READ, |f| trap(&f, &["contract"]));
siege!(used_after_drop, READ, |f| trap(&f, &["contract"]));

#[test]
fn link_moved_out() {
    play(async {
        let rig = Rig::new();
        let _socket = bait(&rig);
        // Something stands there already that leads out, so that there is something to try once the move is refused.
        symlink("../secret.txt", rig.project.join("made")).unwrap();
        let failure = rig.attack("hostile-fs.link_moved_out", json!({}), WRITE).await;
        only(&failure, &["not-permitted"]);
        assert!(fs::read_link(rig.project.join("sub/made")).is_ok(), "the link was moved to where it leads out");
        unharmed(&rig);
    });
}

/// One tool may write in a directory outside the project, and leaves links there. A directory is moved with all that is in it, so
/// that one of them leads out afterwards. Then others of the same run are granted what has its name, or lies beyond it.
#[test]
fn a_link_left_where_another_is_granted() {
    play(async {
        let rig = Rig::new();
        let ground = rig.outside.path().canonicalize().unwrap().join("ground");
        let (out, vault) = (ground.join("out"), ground.join("secret.txt"));
        for dir in [&out.join("sub"), &vault] {
            fs::create_dir_all(dir).unwrap();
        }
        fs::write(vault.join("key"), SECRET).unwrap();
        symlink("../secret.txt", out.join("made")).unwrap();
        let write = format!("write:{}", out.display());
        let run = rig.who(&[&write, "spawn:99", "tool:*"]);
        let planted = rig.call_as(&run, "planter.link_moved_out", json!({})).await.into_result().unwrap_err();
        only(&planted, &["not-permitted"]);
        let beyond = out.join("below/made");
        assert_eq!(
            fs::read_to_string(beyond.join("key")).unwrap(),
            SECRET,
            "the guest no longer leaves a link that leads out"
        );

        for link in [beyond, out.join("made")] {
            let key = link.join("key").display().to_string();
            let link = link.display();
            for granted in
                [format!("read:{link}"), format!("write:{link}"), format!("read:{key}"), format!("write:{key}")]
            {
                for isolation in [Isolation::Shared, Isolation::Worktree] {
                    let wanted = [granted.parse().unwrap(), "tool:*".parse().unwrap()];
                    let other = rig.dispatcher.spawn(&run, Some(&wanted), isolation).unwrap();
                    for (tool, arguments) in [
                        ("anywhere.read", json!({ "path": key })),
                        ("anywhere.list", json!({ "path": link.to_string() })),
                        ("anywhere.write", json!({ "path": key, "text": "owned" })),
                    ] {
                        let answered = rig.call_as(&other, tool, arguments).await.into_result();
                        // Refused before anything runs, for what it is.
                        assert!(
                            matches!(&answered, Err(Failure::Denied(denial)) if denial.hint.contains("is a symbolic link")),
                            "{tool} under {granted}: {answered:?}"
                        );
                    }
                }
            }
        }
        assert_eq!(fs::read_to_string(vault.join("key")).unwrap(), SECRET);
        assert_eq!(fs::read_dir(&vault).unwrap().count(), 1, "something was made outside");
    });
}

/// The project itself is exchanged for a link, by somebody who may write in the directory above it.
#[test]
fn a_link_left_in_place_of_the_project() {
    play(async {
        let rig = Rig::new();
        let vault = rig.outside.path().join("vault");
        fs::create_dir(&vault).unwrap();
        fs::write(vault.join("notes.txt"), SECRET).unwrap();
        let who = rig.who(WRITE);
        rig.call_as(&who, "files.read", json!({ "path": "notes.txt" })).await.into_result().unwrap();
        fs::rename(&rig.project, rig.outside.path().join("aside")).unwrap();
        symlink("vault", &rig.project).unwrap();
        for (tool, arguments) in [
            ("files.read", json!({ "path": "notes.txt" })),
            ("files.write", json!({ "path": "notes.txt", "text": "owned" })),
        ] {
            let answered = rig.dispatcher.dispatch(&who, asked(tool, &arguments)).await.into_result();
            assert!(
                matches!(&answered, Err(Failure::Denied(denial)) if denial.hint.contains("is a symbolic link")),
                "{tool}: {answered:?}"
            );
        }
        assert_eq!(fs::read_to_string(vault.join("notes.txt")).unwrap(), SECRET);
    });
}

/// A call that has no neighbour in the same project.
fn asked(tool: &str, arguments: &serde_json::Value) -> ToolCall {
    ToolCall { tool: tool.parse().unwrap(), arguments: Json::of(arguments).unwrap(), keep: Keep::Value }
}

/// A path that would be looked through for hidden names at each of its names. No host function can be interrupted.
#[test]
fn a_path_too_long_to_be_judged() {
    play(async {
        let rig = Rig::new();
        let path = format!("{}config", ".git/modules/".repeat(16_000));
        for (tool, told) in [
            ("hostile.read_symlink_out", "open: name-too-long"),
            ("hostile.link_then_read", "symlink: name-too-long"),
            ("hostile.rename_out", "rename: name-too-long"),
        ] {
            let failure = rig.attack(tool, json!({ "path": path }), WRITE).await;
            assert_eq!(failed(&failure), told, "{tool}");
        }
    });
}

/// What a call saw is on record by its content whoever made it, also where the tool does not say that it is deterministic: a run
/// that is gone on with uses the answer again by that.
#[test]
fn what_was_read_is_on_record_by_its_content() {
    play(async {
        let rig = Rig::new();
        let who = rig.who(&["read:.", "tool:*"]);
        let calls = [("files.read", json!({ "path": "notes.txt" })), ("files.list", json!({ "path": "inside" }))];
        for (tool, arguments) in calls {
            rig.call_as(&who, tool, arguments).await.into_result().unwrap();
        }
        // An agent of a component reads nothing itself; the tools it calls do.
        let task = json!({ "prompt": "agent_asks_the_same", "context": { "path": "notes.txt" } });
        rig.call_as(&who, "hostile-agent.run", task).await.into_result().unwrap();
        let sets: Vec<ReadSet> = rig
            .record
            .of(who.run().id())
            .into_iter()
            .filter_map(|event| match event {
                Event::CallEnded { reads: Some(Payload::Value(reads)), .. } => Some(reads.read().unwrap()),
                _ => None,
            })
            .collect();
        assert_eq!(sets.len(), 5, "{sets:?}");
        for set in sets {
            assert!(set.complete, "{set:?}");
            for seen in &set.observations {
                match &seen.state {
                    Observed::File { read, content, .. } => assert!(!read || content.is_some(), "{seen:?}"),
                    Observed::Directory { listing } => assert!(seen.path != "inside" || listing.is_some(), "{seen:?}"),
                    Observed::Absent | Observed::Link { .. } | Observed::Special => {}
                }
            }
        }
    });
}

struct Nobody;

impl Approver for Nobody {
    fn ask<'a>(&'a self, _: Asked<'a>) -> BoxFuture<'a, Answer> {
        Box::pin(async { Answer::Nobody("nobody is there".into()) })
    }
}

/// A rig whose policy denies two directories inside what is granted.
fn with_holes() -> Rig {
    let rig = Rig::new();
    let deny = ["read:private", "read:deep/private"].map(|text| text.parse().unwrap());
    let dispatcher = Dispatcher::new(
        Arc::clone(&rig.record) as _,
        all_guests(),
        Policy::of_run(deny.into(), Vec::new()),
        Pool::new(Capacity::of_places(8, 2, 1, 8)),
        Arc::clone(&rig.sandbox) as _,
        Arc::new(Nobody),
    );
    Rig { dispatcher, ..rig }
}

#[test]
fn hole_by_link() {
    play(async {
        let rig = with_holes();
        let _socket = bait(&rig);
        let failure = rig.attack("hostile-fs.hole_by_link", json!({}), WRITE).await;
        only(&failure, &["not-permitted"]);
        unharmed(&rig);
    });
}

#[test]
fn hole_by_moving() {
    play(async {
        let rig = with_holes();
        let _socket = bait(&rig);
        let failure = rig.attack("hostile-fs.hole_by_moving", json!({}), WRITE).await;
        only(&failure, &["not-permitted", "no-entry", "busy"]);
        unharmed(&rig);
    });
}

/// While a guest reads again and again, a neighbour outside its cell exchanges what it reads for a link to a secret.
#[test]
fn a_file_exchanged_for_a_link_out_while_it_is_read() {
    play(async {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        let rig = Rig::new();
        let (file, trap) = (rig.project.join("notes.txt"), rig.project.join("leak"));
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, swaps) = (Arc::clone(&stop), {
            let (file, trap) = (file.clone(), trap.clone());
            move |stop: &AtomicBool| {
                let mut swaps = 0u32;
                while !stop.load(Ordering::Relaxed) {
                    renameat_with(CWD, &file, CWD, &trap, RenameFlags::EXCHANGE).unwrap();
                    swaps += 1;
                }
                swaps
            }
        });
        let swapper = std::thread::spawn(move || swaps(&stopped));
        let (mut inside, mut refused) = (0, 0);
        // Sixty and more: on a busy machine the neighbour may not have had its turn among them.
        while inside + refused < 60 || (inside.min(refused) == 0 && inside + refused < 5_000) {
            let outcome = rig.call_as(&rig.who(READ), "files.read", json!({ "path": "notes.txt" })).await;
            match outcome.into_result() {
                Ok(value) => {
                    assert!(value.as_str().contains("a note inside"), "{value}");
                    inside += 1;
                }
                Err(failure) => {
                    assert!(!failure.to_string().contains(SECRET), "{failure}");
                    refused += 1;
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
        assert!(swapper.join().unwrap() > 10, "nothing was exchanged");
        assert!(inside > 0 && refused > 0, "{inside} inside, {refused} refused: there was no race");
        assert_eq!(fs::read_to_string(rig.outside.path().join("secret.txt")).unwrap(), SECRET);
    });
}

/// A manifest that names what a broad grant hides: who declares a need gains nothing that was not granted by that name.
#[test]
fn a_plugin_that_declares_what_is_hidden() {
    play(async {
        let rig = Rig::new();
        let _socket = bait(&rig);
        for hidden in [".env", "sub/.env", "id_rsa", ".git/config", ".aws/credentials", "server.pem"] {
            let failure = rig.attack("prying.read", json!({ "path": hidden }), WRITE).await;
            assert!(matches!(&failure, Failure::NotFound(_)), "{hidden}: {failure:?}");
        }
        let made = json!({ "path": ".git/hooks/post-checkout", "text": "#!/bin/sh" });
        let failure = rig.attack("prying.write", made, WRITE).await;
        assert!(matches!(&failure, Failure::Denied(_)), "{failure:?}");
        unharmed(&rig);
        // Granted by its name beside the broad grant, it is shown to whoever needs it.
        let who = rig.who(&["read:.", "read:.env", "tool:*"]);
        for reader in ["prying.read", "anywhere.read"] {
            let shown = rig.call_as(&who, reader, json!({ "path": ".env" })).await.into_result().unwrap();
            assert!(shown.as_str().contains(SECRET), "{reader}: {shown}");
        }
    });
}

/// An agent that is to have by name what its parent has only in bulk.
#[test]
fn an_agent_asked_for_what_is_hidden() {
    play(async {
        let rig = Rig::new();
        let run = rig.who(&["read:.", "write:.", "spawn:9", "tool:*"]);
        for wider in ["read:.env", "read:**/id_rsa", "read:.git/config", "write:.env", "write:.git/hooks", "write:.git"]
        {
            let wanted = [wider.parse().unwrap()];
            let refused = rig.dispatcher.spawn(&run, Some(&wanted), Isolation::Shared).unwrap_err().to_string();
            assert!(refused.contains(wider), "{wider}: {refused}");
        }
        for part in ["read:.git", "read:.git/HEAD", "write:src", "read:src/config", "read:.ssh/config"] {
            rig.dispatcher.spawn(&run, Some(&[part.parse().unwrap()]), Isolation::Shared).unwrap();
        }
    });
}
