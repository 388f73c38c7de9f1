//! Repositories for tests, made by the real `git`, and corrupt ones made by hand. What must never live here: assertions.

#![allow(clippy::disallowed_methods, reason = "repositories for tests are made on the disk, by git")]

use flate2::{Compress, Compression, FlushCompress};
use gix_hash::ObjectId;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;
use vespiary_sdk::tool::Tool;

/// A repository in a temporary directory, which is the project root of this thread.
pub(crate) struct Fixture {
    dir: TempDir,
    commits: u64,
}

impl Fixture {
    /// An empty repository on `main`.
    pub(crate) fn new() -> Self {
        let fixture = Self::bare_dir();
        fixture.git(&["init", "-q", "-b", "main"]);
        fixture
    }

    /// No repository yet.
    pub(crate) fn bare_dir() -> Self {
        let dir = tempfile::tempdir().unwrap();
        vespiary_sdk::fs::set_root(dir.path());
        Self { dir, commits: 0 }
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    pub(crate) fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub(crate) fn git(&self, args: &[&str]) -> String {
        String::from_utf8(self.git_bytes(args, &[])).unwrap()
    }

    /// Runs git with nothing of the machine's own configuration, and gives what it prints.
    pub(crate) fn git_bytes(&self, args: &[&str], input: &[u8]) -> Vec<u8> {
        let input_file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&input_file, input).unwrap();
        let time = format!("{} +0130", 1_700_000_000 + self.commits * 60);
        let output = Command::new("git")
            .args(["-c", "core.fileMode=false", "-c", "protocol.file.allow=always", "-c", "gc.auto=0"])
            .args(args)
            .current_dir(self.dir.path())
            .stdin(fs::File::open(&input_file).unwrap())
            .env("HOME", self.dir.path())
            .env("XDG_CONFIG_HOME", self.dir.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_AUTHOR_NAME", "Ada")
            .env("GIT_AUTHOR_EMAIL", "ada@example.org")
            .env("GIT_AUTHOR_DATE", &time)
            .env("GIT_COMMITTER_NAME", "Bob")
            .env("GIT_COMMITTER_EMAIL", "bob@example.org")
            .env("GIT_COMMITTER_DATE", &time)
            .env_remove("GIT_DIR")
            .env_remove("GIT_WORK_TREE")
            .env_remove("GIT_INDEX_FILE")
            .output()
            .expect("these tests need the git program");
        let tolerated = args.first() == Some(&"merge");
        assert!(output.status.success() || tolerated, "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// Commits everything, each commit a minute after the last.
    pub(crate) fn commit(&mut self, message: &str) -> String {
        self.git(&["add", "-A"]);
        self.commits += 1;
        self.git(&["commit", "-q", "--allow-empty", "-m", message]);
        self.git(&["rev-parse", "HEAD"]).trim().to_owned()
    }

    /// The only file in a directory whose name ends so.
    pub(crate) fn file(&self, dir: &str, end: &str) -> PathBuf {
        let mut files = fs::read_dir(self.path(dir)).unwrap().map(|entry| entry.unwrap().path());
        files.find(|path| path.to_string_lossy().ends_with(end)).unwrap()
    }

    /// Changes a file that git made read-only.
    pub(crate) fn overwrite(path: &PathBuf, content: &[u8]) {
        fs::remove_file(path).unwrap();
        fs::write(path, content).unwrap();
    }
}

/// Calls a tool as the host would.
pub(crate) fn call<T: Tool>(arguments: serde_json::Value) -> vespiary_sdk::Result<serde_json::Value> {
    T::ENTRY.call(&arguments.to_string()).map(|value| serde_json::from_str(&value).unwrap())
}

/// One entry of a pack made by hand.
pub(crate) struct Packed {
    /// What the index calls it.
    pub(crate) id: ObjectId,
    /// 1 to 4 for whole objects, 6 and 7 for deltas.
    pub(crate) code: u8,
    /// The size it claims.
    pub(crate) size: u64,
    /// What stands between header and data: the base of a delta.
    pub(crate) base: Vec<u8>,
    /// What is compressed.
    pub(crate) data: Vec<u8>,
}

/// Writes a pack and its index, honest or not, into a repository.
pub(crate) fn write_pack(fixture: &Fixture, entries: &[Packed]) {
    let mut pack = [&b"PACK\0\0\0\x02"[..], &(entries.len() as u32).to_be_bytes()].concat();
    let mut places = Vec::new();
    for entry in entries {
        places.push((entry.id, pack.len() as u32));
        let mut size = entry.size >> 4;
        pack.push(entry.code << 4 | (entry.size & 15) as u8 | if size > 0 { 0x80 } else { 0 });
        while size > 0 {
            pack.push((size & 0x7f) as u8 | if size > 0x7f { 0x80 } else { 0 });
            size >>= 7;
        }
        pack.extend_from_slice(&entry.base);
        pack.extend_from_slice(&deflated(&entry.data));
    }
    pack.extend_from_slice(&[0; 20]);
    places.sort_unstable();
    let mut index = vec![0xff, b't', b'O', b'c', 0, 0, 0, 2];
    for byte in 0..=255_u8 {
        let count = places.iter().filter(|(id, _)| id.as_slice()[0] <= byte).count() as u32;
        index.extend_from_slice(&count.to_be_bytes());
    }
    places.iter().for_each(|(id, _)| index.extend_from_slice(id.as_slice()));
    places.iter().for_each(|_| index.extend_from_slice(&[0; 4]));
    places.iter().for_each(|(_, offset)| index.extend_from_slice(&offset.to_be_bytes()));
    index.extend_from_slice(&[0; 40]);
    fixture.write(".git/objects/pack/pack-hand.pack", pack);
    fixture.write(".git/objects/pack/pack-hand.idx", index);
}

/// A zlib stream.
pub(crate) fn deflated(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len() + data.len() / 100 + 64);
    Compress::new(Compression::best(), true).compress_vec(data, &mut out, FlushCompress::Finish).unwrap();
    out
}
