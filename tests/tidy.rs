//! The laws of the house, checked from the files themselves: who may depend on whom, where the world may be touched, and
//! that nothing is left half done. Each law says what to do when it is broken.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// All tracked-looking files below `dir` with one of `extensions`, relative to the root.
fn files(dir: &str, extensions: &[&str]) -> Vec<PathBuf> {
    fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            let name = entry.file_name();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() && name != "target" && !name.to_string_lossy().starts_with('.') {
                walk(&entry.path(), found);
            } else if kind.is_file() {
                found.push(entry.path());
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join(dir), &mut found);
    found.retain(|path| path.extension().is_some_and(|e| extensions.iter().any(|x| e == *x)));
    found.sort();
    assert!(!found.is_empty(), "nothing to check below {dir}");
    found.into_iter().map(|path| path.strip_prefix(root()).unwrap().to_owned()).collect()
}

fn rust_files() -> Vec<PathBuf> {
    ["host", "guest-sdk", "plugins", "tests"].iter().flat_map(|dir| files(dir, &["rs"])).collect()
}

fn text(path: &Path) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn is_test(path: &Path) -> bool {
    path.starts_with("tests")
        || path.ends_with("tests.rs")
        || path.components().any(|c| matches!(c.as_os_str().to_str(), Some("tests" | "benches" | "examples")))
}

/// The part of a file that ships: what stands before its unit tests, without comments.
fn shipped(path: &Path) -> String {
    let text = text(path);
    let code = text.split("\n#[cfg(test)]\n").next().unwrap();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// Report every breach at once.
fn assert_none(breaches: Vec<String>, remedy: &str) {
    assert!(breaches.is_empty(), "{}\n\n{remedy}", breaches.join("\n"));
}

fn dependencies(manifest: &str) -> Vec<String> {
    let manifest: toml::Table = text(Path::new(manifest)).parse().unwrap();
    let table = manifest.get("dependencies").and_then(|t| t.as_table()).cloned().unwrap_or_default();
    table.keys().cloned().collect()
}

#[test]
fn arrows_point_down() {
    let floors: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("host/kernel/Cargo.toml", &[] as &[&str]),
        ("host/sandbox/Cargo.toml", &["vespiary-kernel"]),
        ("host/ledger/Cargo.toml", &["vespiary-kernel"]),
        ("host/fleet/Cargo.toml", &["vespiary-kernel"]),
        ("host/egress/Cargo.toml", &["vespiary-kernel"]),
        ("host/programs/Cargo.toml", &["vespiary-kernel"]),
        ("host/mcp/Cargo.toml", &["vespiary-kernel"]),
        ("guest-sdk/Cargo.toml", &["vespiary-sdk-macros"]),
        ("guest-sdk/macros/Cargo.toml", &[]),
    ]);
    let mut breaches = Vec::new();
    for (manifest, allowed) in floors {
        for dependency in dependencies(manifest).iter().filter(|d| d.starts_with("vespiary")) {
            if !allowed.contains(&dependency.as_str()) {
                breaches.push(format!("{manifest} depends on {dependency}"));
            }
        }
    }
    for manifest in files("plugins", &["toml"]).into_iter().filter(|p| p.ends_with("Cargo.toml")) {
        for dependency in dependencies(manifest.to_str().unwrap()).iter().filter(|d| d.starts_with("vespiary")) {
            if dependency != "vespiary-sdk" {
                breaches.push(format!("{} depends on {dependency}", manifest.display()));
            }
        }
    }
    assert_none(
        breaches,
        "Pillars know the kernel, never each other; guests know the SDK. Move what is shared down, or wire it in the roof.",
    );
}

#[test]
fn heavy_dependencies_have_one_home() {
    let homes: &[(&str, &[&str])] = &[
        ("wasmtime", &["host/sandbox/Cargo.toml", "host/xtask/Cargo.toml"]),
        ("wasmtime-wasi", &["host/sandbox/Cargo.toml", "host/xtask/Cargo.toml"]),
        ("wasmtime-wasi-http", &["host/sandbox/Cargo.toml"]),
        ("cap-std", &["host/sandbox/Cargo.toml"]),
        ("reqwest", &["host/egress/Cargo.toml"]),
        ("rustls", &["host/egress/Cargo.toml"]),
        ("linux-keyutils", &["host/egress/Cargo.toml"]),
        ("rusqlite", &["host/ledger/Cargo.toml"]),
        // The client's side in the pillar, the server's in the roof.
        ("rmcp", &["host/mcp/Cargo.toml", "host/Cargo.toml"]),
        ("sse-stream", &["host/mcp/Cargo.toml"]),
        ("tar", &["host/ledger/Cargo.toml"]),
        ("rquickjs", &["plugins/engine/Cargo.toml"]),
        ("landlock", &["host/programs/Cargo.toml", "host/sandbox/Cargo.toml"]),
        ("seccompiler", &["host/programs/Cargo.toml", "host/sandbox/Cargo.toml"]),
        ("nix", &["host/programs/Cargo.toml"]),
        ("clap", &["host/Cargo.toml", "host/xtask/Cargo.toml"]),
    ];
    let mut breaches = Vec::new();
    for manifest in ["host", "guest-sdk", "plugins"].iter().flat_map(|dir| files(dir, &["toml"])) {
        if !manifest.ends_with("Cargo.toml") {
            continue;
        }
        let named = dependencies(manifest.to_str().unwrap());
        for (dependency, home) in homes {
            if named.iter().any(|d| d == dependency) && !home.iter().any(|h| manifest == Path::new(h)) {
                breaches.push(format!("{} depends on {dependency}", manifest.display()));
            }
        }
    }
    assert_none(breaches, "Put a trait into kernel/ports.rs and implement it in the pillar that owns the dependency.");
}

#[test]
fn the_kernel_does_no_io() {
    let banned = [
        "std::fs",
        "std::net",
        "std::process",
        "std::env",
        "std::thread",
        "SystemTime",
        "Instant::now",
        "tokio::fs",
        "tokio::net",
    ];
    let mut breaches = Vec::new();
    for path in files("host/kernel/src", &["rs"]) {
        let code = shipped(&path);
        breaches.extend(banned.iter().filter(|b| code.contains(**b)).map(|b| format!("{} names {b}", path.display())));
    }
    assert_none(breaches, "The kernel decides. Let a pillar act, behind a trait in kernel/ports.rs.");
}

#[test]
fn programs_are_started_in_few_rooms() {
    // The pillar that confines them; and those that start this very executable again: to have it killed when
    // it must be, to let a run outlive its terminal, and to see whether it serves.
    let rooms = [
        "host/programs/src/launch.rs",
        "host/programs/src/warden.rs",
        "host/programs/src/run.rs",
        "host/sandbox/src/compile.rs",
        "host/src/detach.rs",
        "host/src/commands/checkup.rs",
    ];
    let mut breaches = Vec::new();
    for path in files("host", &["rs"]).into_iter().filter(|path| !is_test(path) && !path.starts_with("host/xtask")) {
        if shipped(&path).contains("Command::new(") && !rooms.iter().any(|room| path == Path::new(room)) {
            breaches.push(path.display().to_string());
        }
    }
    assert_none(
        breaches,
        "A host program is a tool call: exec.run, under exec:PROGRAM. Only host/programs starts one.",
    );
}

#[test]
fn only_the_dispatcher_admits() {
    let mut breaches = Vec::new();
    for path in rust_files() {
        let home = path.ends_with("kernel/src/admit.rs")
            || path.ends_with("kernel/src/dispatch.rs")
            || path.starts_with("tests");
        if !home && shipped(&path).contains("Admitted::seal") {
            breaches.push(format!("{} seals an Admitted", path.display()));
        }
    }
    assert_none(
        breaches,
        "An Admitted proves that a call was recorded, judged and given a place. Go through Dispatcher::dispatch.",
    );
    assert!(text(Path::new("host/kernel/src/admit.rs")).contains("pub(crate) fn seal"), "the seal became public");
}

#[test]
fn unsafe_code_has_one_room() {
    // The script engine and the SDK's exports are guests: what they break, they break inside their cell.
    let rooms = ["host/sandbox/src/precompiled.rs"];
    let mut breaches = Vec::new();
    for path in files("host", &["rs"]).into_iter().filter(|path| !is_test(path)) {
        let code = shipped(&path);
        let found =
            ["unsafe {", "unsafe fn", "unsafe impl", "allow(unsafe_code"].iter().any(|word| code.contains(word));
        if found && !rooms.iter().any(|room| path == Path::new(room)) {
            breaches.push(path.display().to_string());
        }
    }
    assert_none(
        breaches,
        "unsafe stands in one named module, with its reason. Find a safe way, or argue for another room here.",
    );
}

#[test]
fn every_file_says_what_lives_in_it() {
    let breaches =
        rust_files().into_iter().filter(|path| !text(path).starts_with("//!")).map(|p| p.display().to_string());
    assert_none(breaches.collect(), "Open the file with `//!`: what lives here, and what must never.");
}

#[test]
fn files_stay_readable() {
    let mut breaches = Vec::new();
    for path in rust_files() {
        let lines = text(&path).lines().count();
        if lines > 700 {
            breaches.push(format!("{}: {lines} lines", path.display()));
        }
    }
    assert_none(breaches, "Split the file where its reasons to change part.");
}

#[test]
fn nothing_is_left_half_done() {
    // Written in pieces so that this file does not find itself.
    let words = [
        concat!("to", "do!("),
        concat!("unimple", "mented!("),
        concat!("FIX", "ME"),
        concat!(" XX", "X"),
        concat!("#[ig", "nore"),
    ];
    let mut breaches = Vec::new();
    for path in rust_files() {
        for (number, line) in text(&path).lines().enumerate() {
            if words.iter().any(|word| line.contains(word)) {
                breaches.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
            }
        }
    }
    assert_none(breaches, "Finish it, or take it out.");
}

#[test]
fn names_that_say_nothing_are_not_used() {
    let breaches = rust_files().into_iter().filter(|path| {
        !is_test(path)
            && path.file_stem().is_some_and(|s| {
                matches!(
                    s.to_str(),
                    Some("utils" | "util" | "helpers" | "helper" | "manager" | "misc" | "common" | "errors")
                )
            })
    });
    assert_none(
        breaches.map(|p| p.display().to_string()).collect(),
        "Name the file after the one thing that lives in it.",
    );
}

#[test]
fn the_top_level_stays_small() {
    let allowed = [
        "Cargo.toml",
        "Cargo.lock",
        "LICENSE",
        "README.md",
        "SECURITY.md",
        "clippy.toml",
        "rustfmt.toml",
        "deny.toml",
        "host",
        "guest-sdk",
        "plugins",
        "wit",
        "tests",
        "examples",
        "docs",
        "target",
        "vespiary-report",
    ];
    let mut breaches = Vec::new();
    for entry in fs::read_dir(root()).unwrap().map(Result::unwrap) {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') && !allowed.contains(&name.as_str()) {
            breaches.push(name);
        }
    }
    assert_none(breaches, "Everything has a room already; put it there.");
}
