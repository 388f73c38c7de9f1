//! Repositories made by an attacker: whatever stands in HEAD, the index, the references, the objects and the packs, the tools
//! answer or fail with words. Input, between `---`: HEAD, the index, packed-refs, config, a pack, its index, then objects, each
//! beginning with its kind (`commit`, `tree`, `blob`, `tag`); a line `HASHn` in anything is replaced by object n's hash.
#![no_main]

use flate2::Compression;
use flate2::write::ZlibEncoder;
use libfuzzer_sys::fuzz_target;
use sha1::{Digest, Sha1};
use std::cell::RefCell;
use std::fs;
use std::io::Write;
use std::path::Path;
use vespiary_fuzz::parts;
use vespiary_plugin_git::VespiaryToolPlugin;
use vespiary_sdk::__private::{ToolPlugin, dispatch};

thread_local! {
    static ROOT: RefCell<Option<tempfile::TempDir>> = const { RefCell::new(None) };
}

fuzz_target!(|data: &[u8]| {
    ROOT.with_borrow_mut(|slot| {
        let root = slot.get_or_insert_with(|| {
            let memory = Path::new("/dev/shm");
            if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
        });
        build(root.path(), &parts(data));
        vespiary_sdk::fs::set_root(root.path());
        for (tool, arguments) in [
            ("status", "{}"),
            ("log", r#"{"max_count":50}"#),
            ("log", r#"{"paths":["a"]}"#),
            ("show", r#"{"revision":"HEAD"}"#),
            ("show", r#"{"revision":"HEAD^{tree}"}"#),
            ("show", r#"{"revision":"HEAD~2:a"}"#),
            ("diff", r#"{"from":"HEAD~1","to":"HEAD"}"#),
            ("diff", "{}"),
        ] {
            let answer = dispatch(VespiaryToolPlugin::TOOLS, tool, arguments);
            match answer {
                Ok(text) => assert!(serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok(), "{tool} said {text}"),
                Err(error) => assert!(!error.to_string().is_empty()),
            }
        }
    });
});

fn build(root: &Path, parts: &[&[u8]]) {
    let git = root.join(".git");
    let _ = fs::remove_dir_all(&git);
    fs::create_dir_all(git.join("objects/pack")).unwrap();
    fs::create_dir_all(git.join("refs/heads")).unwrap();
    let mut hashes: Vec<String> = Vec::new();
    for object in parts.iter().skip(6).take(12) {
        hashes.push(store(&git, &replaced(object, &hashes)));
    }
    let part = |at: usize| parts.get(at).map(|part| replaced(part, &hashes)).unwrap_or_default();
    fs::write(git.join("HEAD"), part(0)).unwrap();
    let files = [
        (1, "index"),
        (2, "packed-refs"),
        (3, "config"),
        (4, "objects/pack/pack-0.pack"),
        (5, "objects/pack/pack-0.idx"),
    ];
    for (at, name) in files {
        if !part(at).is_empty() {
            fs::write(git.join(name), part(at)).unwrap();
        }
    }
    if let Some(last) = hashes.last() {
        fs::write(git.join("refs/heads/main"), format!("{last}\n")).unwrap();
    }
    fs::write(root.join("a"), "a file\n").unwrap();
}

/// Every `HASHn` as that object's hash.
fn replaced(part: &[u8], hashes: &[String]) -> Vec<u8> {
    let mut out = part.to_vec();
    for (number, hash) in hashes.iter().enumerate() {
        let name = format!("HASH{number}").into_bytes();
        while let Some(at) = out.windows(name.len()).position(|window| window == name) {
            out.splice(at..at + name.len(), hash.bytes());
        }
    }
    out
}

/// Keep a loose object under the hash of what it holds, whatever that is.
fn store(git: &Path, object: &[u8]) -> String {
    let (kind, body) = object.split_at(object.iter().position(|b| *b == b'\n').unwrap_or(object.len()));
    let body = body.strip_prefix(b"\n").unwrap_or(body);
    let mut whole = kind.to_vec();
    whole.extend_from_slice(format!(" {}\0", body.len()).as_bytes());
    whole.extend_from_slice(body);
    let hash: String = Sha1::digest(&whole).iter().map(|byte| format!("{byte:02x}")).collect();
    let dir = git.join("objects").join(&hash[..2]);
    fs::create_dir_all(&dir).unwrap();
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::none());
    packed.write_all(&whole).unwrap();
    fs::write(dir.join(&hash[2..]), packed.finish().unwrap()).unwrap();
    hash
}
