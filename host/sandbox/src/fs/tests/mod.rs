//! The files of a cell against real directories: what is confined, hidden, counted and recorded; then the same sequences on
//! Wasmtime's own implementation; then a racing neighbour.
#![allow(clippy::disallowed_methods, reason = "tests set the disk up and look at it")]

mod batch;
mod differential;
mod race;
mod record;

use super::backing::{Backing, Near, Times};
use super::handle::{DirHandle, FileHandle, Files, Granted, Handle, Preopen};
use super::open::Wanted;
use super::overlay::{LayerLimits, Overlay};
use super::plain::Plain;
use super::seen::{Recording, Seen};
use super::tree::{Last, Tree};
use crate::scope::rule_paths;
use rustix::io::Errno;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vespiary_kernel::account::Account;
use vespiary_kernel::capability::Capability;
use vespiary_kernel::quota::Quota;
use vespiary_kernel::sight::Rules;

/// A project directory, and a cell's files in it.
pub(super) struct Bed {
    _temp: tempfile::TempDir,
    pub(super) outside: PathBuf,
    pub(super) root: PathBuf,
    pub(super) files: Files,
    pub(super) dir: DirHandle,
}

/// What a bed differs in.
pub(super) struct Setting<'a> {
    pub(super) granted: &'a [&'a str],
    pub(super) denied: &'a [&'a str],
    pub(super) quota: Quota,
    pub(super) recording: Recording,
    pub(super) name_by_name: bool,
}

impl Setting<'_> {
    pub(super) fn of<'a>(granted: &'a [&'a str]) -> Setting<'a> {
        let quota = Quota::default();
        Setting { granted, denied: &[], quota, recording: Recording::Contents, name_by_name: false }
    }

    pub(super) fn bed(self) -> Bed {
        let temp = tempfile::tempdir().unwrap();
        let outside = temp.path().to_owned();
        let root = outside.join("root");
        std::fs::create_dir(&root).unwrap();
        std::fs::write(outside.join("secret"), "outside").unwrap();
        let opened = OwnedFd::from(std::fs::File::open(&root).unwrap());
        let plain = if self.name_by_name { Plain::name_by_name(opened) } else { Plain::new(opened) };
        let parse = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<Capability>>();
        let (granted, denied) = (parse(self.granted), parse(self.denied));
        let rules = Rules::new(None, rule_paths(&granted), rule_paths(&denied));
        let tree = Arc::new(Tree::new(Box::new(plain), rules));
        let preopen = Preopen { name: ".".into(), tree: Arc::clone(&tree), path: ".".into(), is_dir: true };
        let granted = Arc::new(Granted { preopens: vec![preopen] });
        let files = Files::new(granted, &Account::alone(&self.quota), &self.quota, Seen::new(self.recording, None));
        let dir = DirHandle { tree, path: ".".into(), mutate: true };
        Bed { _temp: temp, outside, root, files, dir }
    }
}

pub(super) const READ: Wanted = Wanted::READ;
pub(super) const WRITE: Wanted = Wanted { write: true, ..READ };
pub(super) const CREATE: Wanted = Wanted { create: true, ..WRITE };
pub(super) const TRUNCATE: Wanted = Wanted { truncate: true, ..WRITE };

impl Bed {
    pub(super) fn with(granted: &[&str]) -> Self {
        Setting::of(granted).bed()
    }

    /// Files and directories (which end in a slash) below the root.
    pub(super) fn holding(self, paths: &[&str]) -> Self {
        for path in paths {
            let at = self.root.join(path);
            if path.ends_with('/') {
                std::fs::create_dir_all(at).unwrap();
            } else {
                std::fs::create_dir_all(at.parent().unwrap()).unwrap();
                std::fs::write(at, format!("content of {path}")).unwrap();
            }
        }
        self
    }

    pub(super) fn open(&mut self, path: &str, wanted: Wanted) -> io::Result<Handle> {
        self.files.open_at(&self.dir, path, Last::Follow, wanted)
    }

    pub(super) fn file(&mut self, path: &str, wanted: Wanted) -> io::Result<FileHandle> {
        match self.open(path, wanted)? {
            Handle::File(file) => Ok(file),
            Handle::Dir(_) => Err(Errno::ISDIR.into()),
        }
    }

    pub(super) fn read(&mut self, path: &str) -> io::Result<String> {
        let mut file = self.file(path, READ)?;
        let (bytes, _) = self.files.read(&mut file, u64::MAX, 0)?;
        Ok(String::from_utf8(bytes).unwrap())
    }

    pub(super) fn write(&mut self, path: &str, text: &str) -> io::Result<u64> {
        let mut file = self.file(path, Wanted { create: true, ..TRUNCATE })?;
        self.files.write(&mut file, text.as_bytes(), 0)
    }

    pub(super) fn names(&mut self, path: &str) -> Vec<String> {
        let Handle::Dir(dir) = self.open(path, Wanted { directory: true, ..READ }).unwrap() else { panic!() };
        let mut names: Vec<_> =
            self.files.list(&dir).unwrap().into_iter().map(|entry| entry.name.into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// The errors of everything that could be done to `path`: looking, then changing.
    pub(super) fn tried(&mut self, path: &str) -> (Vec<Errno>, Vec<Errno>) {
        let Self { files, dir, .. } = self;
        let errno = |result: io::Result<()>| Errno::from_io_error(&result.expect_err(path)).unwrap();
        let looks = vec![
            errno(files.open_at(dir, path, Last::Follow, READ).map(drop)),
            errno(files.open_at(dir, path, Last::Keep, READ).map(drop)),
            errno(files.stat_at(dir, path, Last::Follow).map(drop)),
            errno(files.stat_at(dir, path, Last::Keep).map(drop)),
            errno(files.read_link(dir, path).map(drop)),
        ];
        let exclusive = Wanted { exclusive: true, ..CREATE };
        let changes = vec![
            errno(files.open_at(dir, path, Last::Follow, WRITE).map(drop)),
            errno(files.open_at(dir, path, Last::Follow, CREATE).map(drop)),
            errno(files.open_at(dir, path, Last::Follow, exclusive).map(drop)),
            errno(files.open_at(dir, path, Last::Follow, TRUNCATE).map(drop)),
            errno(files.make_dir(dir, path)),
            errno(files.remove_file(dir, path)),
            errno(files.remove_dir(dir, path)),
            errno(files.rename((dir, path), (dir, "moved-away"))),
            errno(files.rename((dir, "other"), (dir, path))),
            errno(files.make_link(dir, "other", path)),
            errno(files.set_times_at(dir, path, Last::Keep, Times::default())),
        ];
        (looks, changes)
    }
}

/// A path that is hidden for its names, and too long for that to be looked at.
pub(super) fn hidden_and_long() -> String {
    format!("{}config", ".git/modules/".repeat(400))
}

fn only(errno: Errno, tried: &[Errno], what: &str) {
    assert!(tried.iter().all(|one| *one == errno), "{what}: {tried:?}");
}

fn errno<T>(result: io::Result<T>) -> Errno {
    Errno::from_io_error(&result.err().expect("it fails")).unwrap()
}

fn fifo(path: &Path) {
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
}

#[test]
fn no_path_leads_out_however_it_is_resolved() {
    for name_by_name in [false, true] {
        let mut bed = Setting { name_by_name, ..Setting::of(&["write:."]) }.bed().holding(&["sub/file", "other"]);
        symlink("../secret", bed.root.join("up")).unwrap();
        symlink("/etc/passwd", bed.root.join("away")).unwrap();
        symlink("sub/../../secret", bed.root.join("round")).unwrap();
        symlink("up", bed.root.join("chain")).unwrap();
        symlink("..", bed.root.join("above")).unwrap();
        for path in [
            "../secret",
            "sub/../../secret",
            "/etc/passwd",
            "up",
            "away",
            "round",
            "chain",
            "above/secret",
            "..",
            "sub/../..",
        ] {
            assert_eq!(errno(bed.read(path)), Errno::PERM, "{path}");
            assert_eq!(errno(bed.write(path, "x")), Errno::PERM, "{path}");
        }
        assert_eq!(std::fs::read_to_string(bed.outside.join("secret")).unwrap(), "outside");
        assert_eq!(errno(bed.files.read_link(&bed.dir, "away")), Errno::PERM, "an absolute target is not told");
        assert_eq!(bed.files.read_link(&bed.dir, "up").unwrap(), "../secret");
    }
}

#[test]
fn links_inside_are_followed_and_their_loops_end() {
    for name_by_name in [false, true] {
        let mut bed = Setting { name_by_name, ..Setting::of(&["write:."]) }.bed().holding(&["a/b/c", "other"]);
        symlink("b", bed.root.join("a/l")).unwrap();
        symlink("../a/./l/../l/c", bed.root.join("a/m")).unwrap();
        symlink("loop", bed.root.join("loop")).unwrap();
        symlink("made", bed.root.join("dangling")).unwrap();
        for path in ["a/l/c", "a/m", "a/l/../b/c", "a/b/../l/./c", "a//l///c"] {
            assert_eq!(bed.read(path).unwrap(), "content of a/b/c", "{path}");
        }
        assert_eq!(errno(bed.read("loop")), Errno::LOOP);
        assert_eq!(errno(bed.read("loop/x")), Errno::LOOP);
        bed.write("dangling", "through the link").unwrap();
        assert_eq!(bed.read("made").unwrap(), "through the link");
        assert_eq!(errno(bed.files.open_at(&bed.dir, "a/m", Last::Keep, READ)), Errno::LOOP);
        for n in 0..45 {
            symlink(format!("n{}", n + 1), bed.root.join(format!("n{n}"))).unwrap();
        }
        symlink("other", bed.root.join("n45")).unwrap();
        assert_eq!((bed.read("n10").is_ok(), errno(bed.read("n0"))), (true, Errno::LOOP));
    }
}

#[test]
fn a_fifo_a_socket_and_a_device_are_refused_at_once() {
    let mut bed = Bed::with(&["write:."]);
    fifo(&bed.root.join("fifo"));
    symlink("fifo", bed.root.join("link")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(bed.root.join("socket")).unwrap();
    for name in ["fifo", "link", "socket"] {
        for wanted in [READ, WRITE, CREATE, TRUNCATE] {
            let refused = bed.open(name, wanted).err().map(|error| super::code::code(&error));
            assert_eq!(
                refused,
                Some(wasmtime_wasi::p2::bindings::filesystem::types::ErrorCode::NotPermitted),
                "{name}"
            );
        }
    }
}

#[test]
fn what_is_hidden_is_absent_to_look_at_and_not_to_be_changed() {
    for hidden in [".env", "sub/.ENV", ".git/config", "sub/id_rsa", "x.pem", ".aws/credentials", ".ssh/work"] {
        for exists in [true, false] {
            let mut bed = Bed::with(&["write:."]).holding(&["other", "sub/visible"]);
            if exists {
                bed = bed.holding(&[hidden]);
            }
            for path in [hidden.to_owned(), format!("./{hidden}"), format!("{hidden}/"), format!("sub/../{hidden}")] {
                let (looks, changes) = bed.tried(&path);
                only(Errno::NOENT, &looks, &path);
                // A path that climbs is looked through before it is judged; that it leads nowhere is all it tells.
                let changes: Vec<_> = changes.into_iter().filter(|errno| *errno != Errno::NOENT).collect();
                only(Errno::PERM, &changes, &path);
            }
            let dir = hidden.rsplit_once('/').map_or(".", |(dir, _)| dir);
            if exists {
                assert!(!bed.names(dir).iter().any(|name| hidden.ends_with(name.as_str())), "{hidden} is listed");
            }
        }
    }
}

#[test]
fn a_directory_is_made_through_no_link_that_leads_nowhere() {
    let mut bed = Bed::with(&["write:."]).holding(&["sub/file"]);
    symlink("none", bed.root.join("link")).unwrap();
    for path in ["link", "link/", "sub/../link", "sub/../link/"] {
        assert_eq!(errno(bed.files.make_dir(&bed.dir, path)), Errno::EXIST, "{path}");
        assert_eq!(errno(bed.files.make_link(&bed.dir, "sub", path)), Errno::EXIST, "{path}");
    }
    assert!(!bed.root.join("none").exists());
}

#[test]
fn a_link_to_what_is_hidden_is_hidden_too() {
    let mut bed = Bed::with(&["write:."]).holding(&[".env", "other", "dir/.env", ".git/config"]);
    symlink(".env", bed.root.join("plain")).unwrap();
    symlink("plain", bed.root.join("chained")).unwrap();
    symlink("dir", bed.root.join("way")).unwrap();
    symlink(".git", bed.root.join("repository")).unwrap();
    for path in ["plain", "chained", "way/.env", "repository/config"] {
        assert_eq!(errno(bed.read(path)), Errno::NOENT, "{path}");
        assert!(matches!(errno(bed.write(path, "x")), Errno::PERM | Errno::NOENT), "{path}");
        assert_eq!(errno(bed.files.stat_at(&bed.dir, path, Last::Follow)), Errno::NOENT, "{path}");
    }
    assert_eq!(errno(bed.write("repository/hooks", "x")), Errno::PERM);
}

#[test]
fn nothing_hidden_is_shown_by_moving() {
    let mut bed =
        Setting { denied: &["read:conf/private"], ..Setting::of(&["write:.", "read:shown/.env"]) }.bed().holding(&[
            ".docker/config.json",
            ".git/config",
            "conf/private/x",
            "other",
            "hide/.env",
            "free/x",
            ".ssh/k",
            ".kube/config",
            ".config/gh/hosts.yml",
        ]);
    for (from, to) in [
        (".docker", "docker"),
        (".git", "git"),
        (".ssh", "ssh"),
        (".kube", "kube"),
        (".config", "configuration"),
        (".config/gh", "gh"),
        ("conf", "conf2"),
        ("hide", "shown"),
        ("other", ".env"),
        ("free", ".git"),
        ("free", "conf"),
        ("hide/.env", "seen"),
    ] {
        assert_eq!(errno(bed.files.rename((&bed.dir, from), (&bed.dir, to))), Errno::PERM, "{from} -> {to}");
    }
    bed.files.rename((&bed.dir, "free"), (&bed.dir, "freed")).unwrap();
    bed.files.rename((&bed.dir, "hide"), (&bed.dir, "hidden")).unwrap();
    assert_eq!(errno(bed.read("hidden/.env")), Errno::NOENT);
}

#[test]
fn denied_holes_are_reached_neither_by_name_nor_by_link() {
    let mut bed = Setting { denied: &["read:private", "write:docs"], ..Setting::of(&["write:."]) }.bed().holding(&[
        "private/x",
        "docs/x",
        "other",
    ]);
    symlink("private", bed.root.join("way")).unwrap();
    symlink("private/x", bed.root.join("direct")).unwrap();
    for path in ["private", "private/x", "private/none", "way/x", "way/none", "direct", "other/../private/x"] {
        let expected = if path.starts_with("other") { Errno::NOTDIR } else { Errno::PERM };
        assert_eq!(errno(bed.read(path)), expected, "{path}");
    }
    assert_eq!(bed.names("."), ["direct", "docs", "other", "way"]);
    assert_eq!(bed.read("docs/x").unwrap(), "content of docs/x");
    assert_eq!(errno(bed.write("docs/x", "y")), Errno::PERM);
}

#[test]
fn globs_show_what_they_match_and_the_way() {
    let mut bed = Bed::with(&["read:src/**/*.rs"]).holding(&[
        "src/a.rs",
        "src/a.c",
        "src/b/c.rs",
        "src/d/",
        "src-private/x.rs",
        "x.rs",
    ]);
    symlink("../x.rs", bed.root.join("src/link.rs")).unwrap();
    symlink("b", bed.root.join("src/way")).unwrap();
    assert_eq!(bed.names("."), ["src"]);
    assert_eq!(bed.names("src"), ["a.rs", "b", "d", "link.rs"]);
    assert_eq!(bed.read("src/b/c.rs").unwrap(), "content of src/b/c.rs");
    for path in ["src/a.c", "src/none.c", "src/way/c.rs"] {
        assert!(errno(bed.read(path)) == Errno::NOENT || path == "src/way/c.rs", "{path}");
    }
    for path in ["x.rs", "src/link.rs", "src-private/x.rs", "src-private/none"] {
        assert_eq!(errno(bed.read(path)), Errno::PERM, "{path}");
    }
}

#[test]
fn a_second_name_forbids_writing_and_none_is_made() {
    let mut bed = Bed::with(&["write:."]).holding(&["own"]);
    std::fs::hard_link(bed.outside.join("secret"), bed.root.join("shared")).unwrap();
    for wanted in [WRITE, CREATE, TRUNCATE] {
        assert_eq!(errno(bed.open("shared", wanted)), Errno::PERM);
    }
    assert_eq!(bed.read("shared").unwrap(), "outside");
    assert_eq!(std::fs::read_to_string(bed.outside.join("secret")).unwrap(), "outside", "it was not emptied either");
    for target in ["/etc/passwd", "../secret", "sub/../../secret", ""] {
        assert!(bed.files.make_link(&bed.dir, target, "made").is_err(), "{target:?}");
    }
    bed.files.make_link(&bed.dir, "own", "made").unwrap();
}

#[test]
fn writing_and_making_and_holding_are_counted() {
    let quota = Quota { bytes_written_max: 100, files_written_max: 3, open_files_max: 2, ..Quota::default() };
    let mut bed = Setting { quota, ..Setting::of(&["write:."]) }.bed();
    bed.write("a", &"x".repeat(60)).unwrap();
    assert_eq!(errno(bed.write("a", &"x".repeat(41))), Errno::DQUOT, "emptying a file returns nothing");
    let mut file = bed.file("a", WRITE).unwrap();
    assert_eq!(errno(bed.files.set_size(&mut file, 1 << 40)), Errno::DQUOT);
    assert_eq!(errno(bed.files.write(&mut file, b"x", 1 << 40)), Errno::DQUOT, "a gap counts");
    bed.files.set_size(&mut file, 40).unwrap();
    assert_eq!(errno(bed.files.set_size(&mut file, 41)), Errno::DQUOT);
    assert_eq!(bed.files.refusal().unwrap().quota, "bytes-written");
    drop(file);
    bed.files.make_dir(&bed.dir, "d").unwrap();
    assert!(bed.files.make_dir(&bed.dir, "d").is_err() && bed.files.make_dir(&bed.dir, "none/d").is_err());
    bed.files.make_link(&bed.dir, "a", "l").unwrap();
    assert_eq!(errno(bed.file("b", CREATE)), Errno::DQUOT);
    assert!(!bed.root.join("b").exists(), "what is refused is not made");
    bed.files.remove_file(&bed.dir, "l").unwrap();
    assert_eq!(errno(bed.files.make_dir(&bed.dir, "e")), Errno::DQUOT, "removing returns nothing");
    let held: Vec<_> = (0..2).map(|_| bed.file("a", READ).unwrap()).collect();
    assert_eq!(errno(bed.file("a", READ)), Errno::DQUOT);
    drop(held);
    bed.file("a", READ).unwrap();
}

#[test]
fn odd_names_are_refused_or_taken_as_they_are() {
    let mut bed = Bed::with(&["write:."]).holding(&["file"]);
    assert_eq!(errno(bed.read("a\0b")), Errno::INVAL);
    assert_eq!(errno(bed.read("")), Errno::NOENT);
    assert_eq!(errno(bed.read(&"n".repeat(256))), Errno::NAMETOOLONG);
    assert_eq!(errno(bed.read(&"n/".repeat(3_000))), Errno::NAMETOOLONG);
    assert_eq!(errno(bed.read("file/")), Errno::NOTDIR);
    assert_eq!(errno(bed.read("file/.")), Errno::NOTDIR);
    assert_eq!(errno(bed.read("file/x")), Errno::NOTDIR);
    bed.write("..\\secret", "a name like another").unwrap();
    assert!(bed.root.join("..\\secret").exists());
    let odd = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"odd\xff");
    std::fs::write(bed.root.join(odd), "").unwrap();
    symlink(odd, bed.root.join("to-odd")).unwrap();
    assert_eq!(errno(bed.files.read_link(&bed.dir, "to-odd")), Errno::ILSEQ);
    let entries = bed.files.list(&bed.dir.clone()).unwrap();
    assert!(entries.iter().any(|entry| entry.name == odd));
}

#[test]
fn what_is_too_long_is_not_judged() {
    let mut bed = Bed::with(&["write:."]).holding(&["other", "d/"]);
    // Longer than the system takes at a time, with what is written or with the directory it is taken from.
    for path in [hidden_and_long(), format!("x/../{}", hidden_and_long()), "./".repeat(2_048)] {
        let (looks, changes) = bed.tried(&path);
        only(Errno::NAMETOOLONG, &looks, "looked at");
        only(Errno::NAMETOOLONG, &changes, "changed");
        assert_eq!(errno(bed.files.list_at(&bed.dir, &path)), Errno::NAMETOOLONG);
    }
    let deep = "d/".repeat(1_000);
    bed.dir.path = deep.trim_end_matches('/').into();
    assert_eq!(errno(bed.read(&format!("{}x", "e/".repeat(1_047)))), Errno::NOENT, "4,095 bytes");
    assert_eq!(errno(bed.read(&format!("{}xy", "e/".repeat(1_047)))), Errno::NAMETOOLONG, "4,096 bytes");
    bed.dir.path = ".".into();
    assert_eq!(errno(bed.files.make_link(&bed.dir, &"d/../".repeat(820), "made")), Errno::NAMETOOLONG);
    bed.files.make_link(&bed.dir, &"d/../".repeat(180), "made").unwrap();
}

#[test]
fn a_path_does_not_grow_without_bound_by_its_links() {
    let mut bed = Bed::with(&["write:."]).holding(&["other", "d/"]);
    for n in 0..9 {
        symlink(format!("l{}{}", n + 1, "/x".repeat(450)), bed.root.join(format!("l{n}"))).unwrap();
    }
    symlink("d", bed.root.join("l9")).unwrap();
    assert_eq!(errno(bed.read("l5")), Errno::NOENT, "3,600 bytes of names that lead nowhere");
    assert_eq!(errno(bed.read("l0")), Errno::NAMETOOLONG);
    // What was gone through does not count.
    for n in 0..9 {
        symlink(format!("{}r{}", "d/../".repeat(180), n + 1), bed.root.join(format!("r{n}"))).unwrap();
    }
    symlink("other", bed.root.join("r9")).unwrap();
    assert_eq!(bed.read("r0").unwrap(), "content of other");
}

#[test]
fn a_link_is_not_moved_to_where_it_leads_out() {
    for name_by_name in [false, true] {
        let mut bed = Setting { name_by_name, ..Setting::of(&["write:."]) }.bed().holding(&["sub/deep/x", "other"]);
        symlink("/etc", bed.root.join("absolute")).unwrap();
        bed.files.make_link(&bed.dir, "../secret", "sub/made").unwrap();
        bed.files.make_link(&bed.dir, "../../other", "sub/deep/made").unwrap();
        symlink("sub", bed.root.join("way")).unwrap();
        for (from, to) in [
            ("sub/made", "made"),
            ("way/made", "made"),
            ("sub/made", "sub/../made"),
            ("sub/deep/made", "sub/up"),
            ("sub/deep/made", "up"),
            ("absolute", "moved"),
        ] {
            assert_eq!(errno(bed.files.rename((&bed.dir, from), (&bed.dir, to))), Errno::PERM, "{from} -> {to}");
            assert!(std::fs::symlink_metadata(bed.root.join(to)).is_err(), "{from} -> {to}");
        }
        for (from, to) in [("sub/made", "sub/deep/lower"), ("sub/deep/lower", "sub/again"), ("way", "sub/deep/way")] {
            bed.files.rename((&bed.dir, from), (&bed.dir, to)).unwrap();
        }
        assert_eq!(bed.files.read_link(&bed.dir, "sub/again").unwrap(), "../secret");
    }
}

/// What is opened for writing in a worktree is copied, without its content where it is to be emptied.
#[test]
fn a_refused_open_empties_no_file_in_a_worktree() {
    let mut bed = Bed::with(&["write:."]).holding(&["notes.txt", "d/"]);
    symlink("notes.txt", bed.root.join("link")).unwrap();
    let open = |dir: &Path| OwnedFd::from(std::fs::File::open(dir).unwrap());
    let store = tempfile::tempdir().unwrap();
    let lower = Box::new(Plain::new(open(&bed.root)));
    let layer = Overlay::new(lower, open(store.path()), LayerLimits::default()).unwrap();
    let granted: [Capability; 1] = ["write:.".parse().unwrap()];
    let rules = Rules::new(None, rule_paths(&granted), []);
    bed.dir.tree = Arc::new(Tree::new(Box::new(layer), rules));
    let directory = Wanted { directory: true, ..WRITE };
    for (path, wanted, expected) in [
        ("notes.txt/", TRUNCATE, Errno::NOTDIR),
        ("notes.txt/.", TRUNCATE, Errno::NOTDIR),
        ("d/../notes.txt/", TRUNCATE, Errno::NOTDIR),
        ("link/", TRUNCATE, Errno::NOTDIR),
        ("notes.txt/", Wanted { read: false, ..TRUNCATE }, Errno::NOTDIR),
        ("notes.txt/", WRITE, Errno::NOTDIR),
        ("notes.txt", directory, Errno::NOTDIR),
        ("notes.txt/", Wanted { create: true, ..TRUNCATE }, Errno::ISDIR),
        ("d/", TRUNCATE, Errno::ISDIR),
        ("d", TRUNCATE, Errno::ISDIR),
        ("d", directory, Errno::ISDIR),
        ("none/", TRUNCATE, Errno::NOENT),
    ] {
        assert_eq!(errno(bed.open(path, wanted)), expected, "{path} {wanted:?}");
        let copies = std::fs::read_dir(store.path())
            .unwrap()
            .filter(|entry| entry.as_ref().is_ok_and(|entry| entry.metadata().unwrap().is_file()));
        assert_eq!(copies.count(), 0, "{path} {wanted:?}: it was copied");
        assert_eq!(bed.read("notes.txt").unwrap(), "content of notes.txt", "{path} {wanted:?}");
    }
    bed.write("notes.txt", "over").unwrap();
    assert_eq!(bed.read("notes.txt").unwrap(), "over");
}

#[test]
fn a_read_says_at_once_where_the_file_ends() {
    let mut bed = Bed::with(&["read:."]).holding(&["f"]);
    let mut file = bed.file("f", READ).unwrap();
    assert_eq!(bed.files.read(&mut file, 1 << 40, 0).unwrap(), (b"content of f".to_vec(), true));
    assert_eq!(bed.files.read(&mut file, 7, 0).unwrap(), (b"content".to_vec(), false));
    assert_eq!(bed.files.read(&mut file, 100, 1 << 40).unwrap(), (Vec::new(), true));
    std::fs::write(bed.root.join("f"), vec![b'x'; 3 << 20]).unwrap();
    let (grown, ended) = bed.files.read(&mut file, u64::MAX, 0).unwrap();
    assert!(!ended && grown.len() >= 13, "a file that grew is not cut off: {}", grown.len());
}

/// The backing of every test is the trait the overlay implements too.
#[test]
fn neighbours_are_looked_at_as_each_alone() {
    for name_by_name in [false, true] {
        let bed =
            Setting { name_by_name, ..Setting::of(&["read:."]) }.bed().holding(&["a/b/one", "a/b/two", "a/c", "d"]);
        symlink("a", bed.root.join("link")).unwrap();
        let backing = &*bed.dir.tree.backing;
        let mut near = Near::default();
        let paths =
            ["a/b/one", "a/b/two", "a/b/none", "a/b/one", "a/c", ".", "d", "a/c/x", "link", "link/c", "none/x", "a/b"];
        for path in paths {
            let tell = |error: io::Error| error.raw_os_error();
            assert_eq!(backing.stat_near(path, &mut near).map_err(tell), backing.stat(path).map_err(tell), "{path}");
        }
        assert_eq!(errno(backing.stat_near("link/c", &mut near)), Errno::LOOP);
        // What changes between two looks shows, though the directory stayed open.
        backing.stat_near("a/b/one", &mut near).unwrap();
        std::fs::write(bed.root.join("a/b/two"), "longer than it was before").unwrap();
        assert_eq!(backing.stat_near("a/b/two", &mut near).unwrap().bytes, 25);
    }
}

#[test]
fn the_plain_directory_keeps_its_promises() {
    for name_by_name in [false, true] {
        let bed = Setting { name_by_name, ..Setting::of(&["write:."]) }.bed().holding(&["d/f", "e/"]);
        symlink("d", bed.root.join("l")).unwrap();
        let backing: &dyn Backing = &*bed.dir.tree.backing;
        let opening = super::backing::Opening::READ;
        for path in ["l/f", "l"] {
            assert_eq!(errno(backing.open(path, opening)), Errno::LOOP, "{path} {name_by_name}");
        }
        assert_eq!(errno(backing.stat("l/f")), Errno::LOOP);
        assert_eq!(errno(backing.list("l")), Errno::LOOP);
        assert_eq!(errno(backing.rename("d/f", "l/g")), Errno::LOOP);
        assert_eq!(errno(backing.make_dir("l/g")), Errno::LOOP);
        assert_eq!(errno(backing.stat("d/f/g")), Errno::NOTDIR);
        assert_eq!(errno(backing.remove_dir("d")), Errno::NOTEMPTY);
        assert_eq!(backing.read_link("l").unwrap(), "d");
        assert_eq!(backing.list(".").unwrap().len(), 3);
    }
}
