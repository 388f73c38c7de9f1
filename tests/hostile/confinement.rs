//! Guests that reach for what their grant does not hold: files outside of it, the right to write, the host's own process.

use super::checks::failed;
use super::rig::{Rig, SECRET, all_guests};
use super::stage::play;
use super::{READ, WRITE};
use crate::cli::{Place, Running, component};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;
use vespiary_kernel::call::Failure;
use vespiary_kernel::pool::Capacity;
use vespiary_sandbox::{Sandbox, SandboxConfig};

attack!(read_dotdot, json!({ "path": "secret.txt" }), READ, |_rig, f| assert_eq!(failed(&f), "open: not-permitted"));
attack!(read_absolute, json!({ "path": "/etc/passwd" }), READ, |_rig, f| assert_eq!(failed(&f), "open: not-permitted"));
attack!(read_symlink_out, json!({ "path": "leak" }), READ, |_rig, f| assert_eq!(failed(&f), "open: not-permitted"));
attack!(read_proc, json!({}), READ, |_rig, f| assert!(failed(&f).starts_with("open: "), "{f}"));
attack!(link_then_read, json!({ "path": "../secret.txt" }), WRITE, |rig, f| {
    assert!(failed(&f).ends_with("not-permitted"), "{f}");
    assert!(rig.outside.path().join("secret.txt").exists());
});
attack!(hardlink_out, json!({ "path": "secret.txt" }), WRITE, |rig, f| {
    assert_eq!(failed(&f), "link: not-permitted");
    assert!(!rig.project.join("stolen").exists());
});
attack!(rename_out, json!({ "path": "notes.txt" }), WRITE, |rig, f| {
    assert_eq!(failed(&f), "rename: not-permitted");
    assert!(rig.project.join("notes.txt").exists() && !rig.outside.path().join("notes.txt").exists());
});
attack!(write_readonly, json!({ "path": "notes.txt" }), READ, |rig, f| {
    assert!(matches!(failed(&f), "open: not-permitted" | "open: read-only"), "{f}");
    assert_eq!(std::fs::read_to_string(rig.project.join("notes.txt")).unwrap(), "a note inside");
    assert!(!rig.project.join("created").exists() && !rig.project.join("made").exists());
});
attack!(delete_readonly, json!({ "path": "notes.txt" }), READ, |rig, f| {
    assert!(matches!(failed(&f), "unlink: not-permitted" | "unlink: read-only"), "{f}");
    assert!(rig.project.join("notes.txt").exists());
});
attack!(open_fifo, json!({ "path": "pipe" }), READ, |_rig, f| assert!(failed(&f).starts_with("open: "), "{f}"));
attack!(environment, json!({}), READ, |_rig, f| assert_eq!(failed(&f), "environment: empty"));
attack!(standard_input, json!({}), READ, |_rig, f| assert_eq!(failed(&f), "stdin: closed"));
attack!(input_without_end, json!({}), READ, |_rig, f| assert_eq!(failed(&f), "stdin: closed"));
attack!(terminal, json!({}), READ, |_rig, f| assert_eq!(failed(&f), "terminal: none"));
attack!(unknown_flags, json!({ "path": "notes.txt" }), READ, |rig, f| {
    assert!(failed(&f).starts_with("open: "), "{f}");
    assert_eq!(std::fs::read_to_string(rig.project.join("notes.txt")).unwrap(), "a note inside");
});

/// A denial is the same with and without a file to find: refusals tell nothing about what lies outside.
#[test]
fn refusals_tell_nothing_about_what_exists() {
    play(async {
        let rig = Rig::new();
        let there = rig.attack("hostile.read_absolute", json!({ "path": "/etc/passwd" }), READ).await;
        let nowhere = rig.attack("hostile.read_absolute", json!({ "path": "/etc/no-such-file" }), READ).await;
        assert_eq!(there, nowhere);
    });
}

/// A tool granted one directory meets a link to another.
#[test]
fn a_granted_directory_that_is_a_link_out_is_not_opened() {
    play(async {
        let rig = Rig::new();
        let grant = &["read:leak-dir", "tool:*"];
        let failure = rig.attack("hostile.read_symlink_out", json!({ "path": "secret.txt" }), grant).await;
        assert!(!failure.to_string().contains(SECRET), "{failure}");
        // Refused for what it is, before anything runs, and not only by what stands behind that.
        assert!(matches!(&failure, Failure::Denied(denial) if denial.hint.contains("symbolic link")), "{failure:?}");
    });
}

/// Variables that this host would pass on to whoever is granted them.
#[test]
fn variables_of_the_host() {
    play(async {
        let variables = Arc::new(BTreeMap::from([("TOKEN".to_owned(), SECRET.to_owned())]));
        let config = SandboxConfig { variables, ..SandboxConfig::new(Capacity::of_places(8, 2, 2, 8), all_guests()) };
        let rig = Rig::on(Arc::new(Sandbox::new(config).unwrap()));
        // Granted to the caller is not enough: this plugin did not declare that it needs any.
        for grant in [READ, &["read:.", "tool:*", "env:TOKEN"]] {
            assert_eq!(failed(&rig.attack("hostile.environment", json!({}), grant).await), "environment: empty");
        }
    });
}

/// Words on the standard input of the host itself.
#[test]
fn input_of_the_host() {
    play(async {
        let place = Place::new();
        let manifest = "name = 'mine'\nversion = '1'\nkind = 'tools'\ndescription = 'd'\n";
        let plugin = place.plugin(&component("tests/guests/built/hostile.wasm"), manifest);
        let words = place.file("words", SECRET);
        let mut command = place.command(&["call", "mine.standard_input", "--plugin", plugin.to_str().unwrap()]);
        command.stdin(File::open(words).unwrap());
        let said = Running::start(command).wait();
        let all = format!("{}{}", said.out(), said.err());
        assert!(all.contains("stdin: closed") && !all.contains(SECRET), "{all}");
    });
}
