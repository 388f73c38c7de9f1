//! What is recorded of what a cell saw, and when the record says that it does not hold everything.

use super::super::backing::{Entry, Opening, Stat};
use super::*;
use std::ffi::OsString;
use std::fs::File;
use vespiary_kernel::observed::{Observation, Observed, ReadSet};

fn state<'a>(set: &'a ReadSet, path: &str) -> Option<&'a Observed> {
    set.observations.iter().find(|one| one.path == path).map(|Observation { state, .. }| state)
}

fn digest(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_string()
}

#[test]
fn contents_listings_links_and_absences_are_recorded_once_each() {
    let mut bed = Bed::with(&["read:."]).holding(&["a", "d/b", ".env"]);
    symlink("d", bed.root.join("l")).unwrap();
    bed.read("a").unwrap();
    bed.read("a").unwrap();
    bed.read("l/b").unwrap();
    bed.read("none").unwrap_err();
    bed.read(".env").unwrap_err();
    bed.names("d");
    bed.files.stat_at(&bed.dir, "d/b", Last::Follow).unwrap();
    let set = bed.files.observations();
    assert!(set.complete);
    let paths: Vec<_> = set.observations.iter().map(|one| one.path.as_str()).collect();
    assert_eq!(paths, ["a", "d", "d/b", "l", "none"], "what is hidden leaves no trace");
    let Some(Observed::File { bytes: 12, read: true, content: Some(content) }) = state(&set, "a") else { panic!() };
    assert_eq!(content.to_string(), digest(b"content of a"));
    assert!(matches!(state(&set, "d"), Some(Observed::Directory { listing: Some(_) })));
    assert!(matches!(state(&set, "l"), Some(Observed::Link { target: Some(target) }) if target == "d"));
    assert_eq!(state(&set, "none"), Some(&Observed::Absent));
    assert!(bed.files.observations().observations.is_empty());
}

#[test]
fn a_part_that_was_read_stands_for_the_whole() {
    let mut bed = Bed::with(&["read:."]);
    let content = vec![7; 3 << 20];
    std::fs::write(bed.root.join("big"), &content).unwrap();
    let mut file = bed.file("big", READ).unwrap();
    bed.files.read(&mut file, 10, 5).unwrap();
    let set = bed.files.observations();
    let Some(Observed::File { content: Some(found), .. }) = state(&set, "big") else { panic!() };
    assert_eq!(found.to_string(), digest(&content));
}

#[test]
fn what_the_cell_wrote_itself_is_no_observation() {
    let mut bed = Bed::with(&["write:."]).holding(&["kept", "moved/x", "replaced"]);
    bed.write("new", "x").unwrap();
    bed.read("new").unwrap();
    bed.write("replaced", "y").unwrap();
    bed.read("replaced").unwrap();
    bed.files.rename((&bed.dir, "moved"), (&bed.dir, "away")).unwrap();
    bed.read("away/x").unwrap();
    let mut kept = bed.file("kept", WRITE).unwrap();
    bed.files.write(&mut kept, b"C", 0).unwrap();
    bed.read("kept").unwrap();
    let set = bed.files.observations();
    assert_eq!(state(&set, "new"), Some(&Observed::Absent), "that nothing was there decided something");
    assert!(matches!(state(&set, "replaced"), Some(Observed::File { content: None, .. })));
    assert_eq!(state(&set, "away/x"), None);
    let Some(Observed::File { content: Some(before), .. }) = state(&set, "kept") else { panic!() };
    assert_eq!(before.to_string(), digest(b"content of kept"), "as it was before");
}

#[test]
fn a_file_that_changes_under_the_call_makes_the_record_partial() {
    let mut bed = Bed::with(&["read:."]).holding(&["a"]);
    bed.read("a").unwrap();
    std::fs::write(bed.root.join("a"), "CONTENT of a").unwrap();
    bed.read("a").unwrap();
    assert!(!bed.files.observations().complete);
}

#[test]
fn off_means_nothing() {
    let mut bed = Setting { recording: Recording::Off, ..Setting::of(&["read:."]) }.bed().holding(&["a"]);
    bed.read("a").unwrap();
    assert_eq!(bed.files.observations(), ReadSet::default());
}

/// A directory in which nothing can be done with the path `bad`, for a reason that nobody can see.
#[derive(Debug)]
struct Failing {
    below: Box<dyn Backing>,
    errno: Errno,
}

impl Failing {
    fn is_fine(&self, path: &str) -> io::Result<()> {
        if path == "bad" { Err(self.errno.into()) } else { Ok(()) }
    }
}

impl Backing for Failing {
    fn stat(&self, path: &str) -> io::Result<Stat> {
        self.is_fine(path).and_then(|()| self.below.stat(path))
    }

    fn open(&self, path: &str, opening: Opening) -> io::Result<File> {
        self.is_fine(path).and_then(|()| self.below.open(path, opening))
    }

    fn list(&self, path: &str) -> io::Result<Vec<Entry>> {
        self.is_fine(path).and_then(|()| self.below.list(path))
    }

    fn make_dir(&self, path: &str) -> io::Result<()> {
        self.below.make_dir(path)
    }

    fn remove_file(&self, path: &str) -> io::Result<()> {
        self.below.remove_file(path)
    }

    fn remove_dir(&self, path: &str) -> io::Result<()> {
        self.below.remove_dir(path)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.below.rename(from, to)
    }

    fn make_link(&self, target: &str, path: &str) -> io::Result<()> {
        self.below.make_link(target, path)
    }

    fn read_link(&self, path: &str) -> io::Result<OsString> {
        self.is_fine(path).and_then(|()| self.below.read_link(path))
    }

    fn set_times(&self, path: &str, times: Times) -> io::Result<()> {
        self.below.set_times(path, times)
    }
}

/// A bed whose directory is `Failing`.
fn failing(errno: Errno) -> Bed {
    let mut bed = Bed::with(&["read:."]).holding(&["a"]);
    let plain = Plain::new(OwnedFd::from(File::open(&bed.root).unwrap()));
    let granted: [Capability; 1] = ["read:.".parse().unwrap()];
    let rules = Rules::new(None, rule_paths(&granted), []);
    bed.dir.tree = Arc::new(Tree::new(Box::new(Failing { below: Box::new(plain), errno }), rules));
    bed
}

#[test]
fn an_error_that_nothing_recorded_explains_makes_the_record_partial() {
    type Look = fn(&mut Files, &DirHandle) -> io::Result<()>;
    let looks: [(&str, Look); 8] = [
        ("open", |files, dir| files.open_at(dir, "bad", Last::Keep, READ).map(drop)),
        ("open as a directory", |files, dir| {
            files.open_at(dir, "bad", Last::Follow, Wanted { directory: true, ..READ }).map(drop)
        }),
        ("stat", |files, dir| files.stat_at(dir, "bad", Last::Follow).map(drop)),
        ("list", |files, dir| files.list_at(dir, "bad").map(drop)),
        ("list what is open", |files, dir| files.list(&DirHandle { path: "bad".into(), ..dir.clone() }).map(drop)),
        ("read a link", |files, dir| files.read_link(dir, "bad").map(drop)),
        ("go through", |files, dir| files.stat_at(dir, "bad/../a", Last::Follow).map(drop)),
        ("go to", |files, dir| files.open_at(dir, "x/../bad", Last::Follow, READ).map(drop)),
    ];
    for errno in [Errno::ACCESS, Errno::MFILE, Errno::NFILE, Errno::IO, Errno::NOTDIR, Errno::LOOP] {
        for (what, look) in looks {
            let mut bed = failing(errno).holding(&["x/"]);
            let told = Errno::from_io_error(&look(&mut bed.files, &bed.dir).unwrap_err());
            assert_eq!(told, Some(errno), "{what}");
            assert!(!bed.files.observations().complete, "{what}: {errno}");
            // The next call's record is its own.
            bed.files.stat_at(&bed.dir, "a", Last::Follow).unwrap();
            assert!(bed.files.observations().complete);
        }
    }
    let mut bed = Bed::with(&["read:."]);
    assert_eq!(errno(bed.read(&"n".repeat(256))), Errno::NAMETOOLONG);
    assert!(!bed.files.observations().complete, "how long a name may be differs from one file system to the next");
    let mut bed = Setting { quota: Quota { open_files_max: 0, ..Quota::default() }, ..Setting::of(&["read:."]) }.bed();
    assert_eq!(errno(bed.read("a")), Errno::DQUOT);
    assert!(!bed.files.observations().complete, "with more left it would have been another answer");
}

#[test]
fn a_file_that_could_not_be_read_is_not_taken_for_one_that_was() {
    if rustix::process::geteuid().is_root() {
        // Nothing is refused to root.
        return;
    }
    use std::os::unix::fs::PermissionsExt;
    let mut bed = Bed::with(&["read:."]).holding(&["b.txt"]);
    std::fs::set_permissions(bed.root.join("b.txt"), std::fs::Permissions::from_mode(0o000)).unwrap();
    assert_eq!(errno(bed.read("b.txt")), Errno::ACCESS);
    assert!(!bed.files.observations().complete);
}

#[test]
fn an_error_that_is_decided_or_explained_leaves_the_record_whole() {
    let long = "n/".repeat(3_000);
    let mut bed = Setting { denied: &["read:private"], ..Setting::of(&["read:.", "read:src/**/*.rs"]) }
        .bed()
        .holding(&["a", "d/b", ".env", "private/x"]);
    symlink("a", bed.root.join("link")).unwrap();
    symlink("circle", bed.root.join("circle")).unwrap();
    symlink("/etc", bed.root.join("away")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(bed.root.join("socket")).unwrap();
    for (path, expected) in [
        ("none", Errno::NOENT),
        (".env", Errno::NOENT),
        ("private/x", Errno::PERM),
        ("../secret", Errno::PERM),
        ("/etc", Errno::PERM),
        ("", Errno::NOENT),
        ("a\0", Errno::INVAL),
        (&long, Errno::NAMETOOLONG),
        ("a/", Errno::NOTDIR),
        ("a/x", Errno::NOTDIR),
        ("a/../d", Errno::NOTDIR),
        ("circle", Errno::LOOP),
        ("away", Errno::PERM),
        ("socket", Errno::NXIO),
    ] {
        assert_eq!(errno(bed.read(path)), expected, "{path}");
    }
    assert_eq!(errno(bed.files.open_at(&bed.dir, "link", Last::Keep, READ)), Errno::LOOP);
    assert_eq!(errno(bed.files.read_link(&bed.dir, "d/b")), Errno::INVAL);
    assert_eq!(errno(bed.files.list_at(&bed.dir, "a")), Errno::NOTDIR);
    assert_eq!(errno(bed.open("a", WRITE)), Errno::PERM);
    let set = bed.files.observations();
    assert!(set.complete, "{set:?}");
    let paths: Vec<_> = set.observations.iter().map(|one| one.path.as_str()).collect();
    assert_eq!(paths, ["a", "away", "circle", "d/b", "link", "none", "socket"]);
    assert_eq!(state(&set, "a"), Some(&Observed::File { bytes: 12, read: false, content: None }));
    assert_eq!(state(&set, "link"), Some(&Observed::Link { target: None }));
    assert_eq!(state(&set, "socket"), Some(&Observed::Special));
}

#[test]
fn a_directory_that_was_left_again_is_in_the_record() {
    let mut bed = Bed::with(&["read:."]).holding(&["a", "d/b/"]);
    bed.read("d/b/../../a").unwrap();
    let set = bed.files.observations();
    let paths: Vec<_> = set.observations.iter().map(|one| one.path.as_str()).collect();
    assert!(set.complete && paths == ["a", "d", "d/b"], "were it a link, this would lead elsewhere: {paths:?}");
}

#[test]
fn what_is_on_the_way_and_no_directory_is_recorded_as_absent() {
    let mut bed = Bed::with(&["read:src/**/*.rs"]).holding(&["src/a.c"]);
    assert_eq!(errno(bed.read("src/a.c")), Errno::NOENT);
    assert_eq!(errno(bed.files.stat_at(&bed.dir, "src/a.c", Last::Follow)), Errno::NOENT);
    assert_eq!(errno(bed.files.list_at(&bed.dir, "src/a.c")), Errno::NOENT);
    let set = bed.files.observations();
    assert_eq!((set.complete, state(&set, "src/a.c")), (true, Some(&Observed::Absent)));
}
