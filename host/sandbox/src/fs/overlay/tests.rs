//! The layer against a plain copy of the same tree: after any storm of operations both show the same, the tree below is what it
//! was, and the change set turns the one into the other.
#![allow(clippy::disallowed_methods, reason = "tests set the disk up and look at it")]

use super::*;
use crate::fs::plain::Plain;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tempfile::TempDir;
use vespiary_kernel::change::Contents;

const READ: Opening = Opening::READ;
const WRITE: Opening = Opening { read: true, write: true, make: Make::Never, content: Content::Kept };
const EMPTYING: Opening = Opening { read: false, write: true, make: Make::Never, content: Content::Unneeded };
const NEW: Opening = Opening { read: false, write: true, make: Make::New, content: Content::Kept };

fn plain(path: &Path) -> Box<dyn Backing> {
    let fd = rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    Box::new(Plain::new(fd))
}

struct Ground {
    lower: TempDir,
    copy: TempDir,
    _store: TempDir,
    overlay: Overlay,
}

/// The same tree twice: below a layer, and as it is.
fn ground(limits: LayerLimits) -> Ground {
    let (lower, copy, store) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for root in [lower.path(), copy.path()] {
        for dir in ["a/a", "a/b", "b", "c/a/b"] {
            std::fs::create_dir_all(root.join(dir)).unwrap();
        }
        for (file, text) in [("a/a/a", "one"), ("a/c", "two\n"), ("b/a", ""), ("c/a/b/c", "deep"), ("c/c", "three")] {
            std::fs::write(root.join(file), text).unwrap();
        }
        std::fs::set_permissions(root.join("c/c"), std::fs::Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink("a/c", root.join("d")).unwrap();
        std::os::unix::fs::symlink("../b", root.join("a/d")).unwrap();
    }
    let fd = rustix::fs::open(store.path(), OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
    let overlay = Overlay::new(plain(lower.path()), fd, limits).unwrap();
    Ground { lower, copy, _store: store, overlay }
}

/// All that a tree shows: kind, content, executable or not.
fn shown(tree: &dyn Backing) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut dirs = vec![".".to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in tree.list(&dir).unwrap() {
            let name = entry.name.into_string().unwrap();
            let path = if dir == "." { name } else { format!("{dir}/{name}") };
            assert_eq!(tree.stat(&path).unwrap().kind, entry.kind, "{path}");
            let what = match entry.kind {
                Kind::Dir => {
                    dirs.push(path.clone());
                    "dir".to_owned()
                }
                Kind::Link => format!("link {}", tree.read_link(&path).unwrap().into_string().unwrap()),
                Kind::File => format!("file {:?}", read(tree, &path).unwrap()),
                other => format!("{other:?}"),
            };
            assert!(all.insert(path, what).is_none(), "an entry stands there twice");
        }
    }
    all
}

/// The same of a real directory, with modes and times: what must not change.
fn exactly(root: &Path) -> Vec<(String, u64, u32, Option<i64>, String)> {
    let mut all = Vec::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir).unwrap().map(Result::unwrap) {
            let (path, found) = (entry.path(), entry.metadata().unwrap());
            let content = if found.is_dir() {
                dirs.push(path.clone());
                String::new()
            } else if found.is_symlink() {
                std::fs::read_link(&path).unwrap().display().to_string()
            } else {
                std::fs::read_to_string(&path).unwrap()
            };
            let modified = found.mtime() * 1_000_000_000 + found.mtime_nsec();
            all.push((path.display().to_string(), found.ino(), found.mode(), Some(modified), content));
        }
    }
    all.sort();
    all
}

fn read(tree: &dyn Backing, path: &str) -> io::Result<String> {
    let mut text = String::new();
    let mut file = tree.open(path, READ)?;
    if !file.metadata()?.is_file() {
        return Err(Errno::ISDIR.into());
    }
    file.read_to_string(&mut text)?;
    Ok(text)
}

#[derive(Debug, Clone)]
enum Op {
    Make(String, String),
    Append(String, String),
    Overwrite(String, String),
    Read(String),
    Stat(String),
    List(String),
    MakeDir(String),
    RemoveFile(String),
    RemoveDir(String),
    Rename(String, String),
    Link(String, String),
    Touch(String),
}

fn any_path() -> impl Strategy<Value = String> {
    "[abcd](/[abcd]){0,3}"
}

fn any_op() -> impl Strategy<Value = Op> {
    let text = || "[xyz]{0,3}";
    prop_oneof![
        3 => (any_path(), text()).prop_map(|(p, t)| Op::Make(p, t)),
        2 => (any_path(), text()).prop_map(|(p, t)| Op::Append(p, t)),
        2 => (any_path(), text()).prop_map(|(p, t)| Op::Overwrite(p, t)),
        1 => any_path().prop_map(Op::Read),
        1 => any_path().prop_map(Op::Stat),
        1 => any_path().prop_map(Op::List),
        3 => any_path().prop_map(Op::MakeDir),
        4 => any_path().prop_map(Op::RemoveFile),
        4 => any_path().prop_map(Op::RemoveDir),
        5 => (any_path(), any_path()).prop_map(|(p, q)| Op::Rename(p, q)),
        2 => ("[ab]", any_path()).prop_map(|(t, p)| Op::Link(t, p)),
        1 => any_path().prop_map(Op::Touch),
    ]
}

/// Do it, and say how it went as a guest would be told.
fn done(tree: &dyn Backing, op: &Op) -> Result<String, i32> {
    let write = |path: &str, opening: Opening, text: &str| -> io::Result<String> {
        let mut file = tree.open(path, opening)?;
        if opening.content == Content::Unneeded {
            file.set_len(0)?;
        }
        if opening == WRITE {
            io::Seek::seek(&mut file, io::SeekFrom::End(0))?;
        }
        file.write_all(text.as_bytes())?;
        Ok(String::new())
    };
    let told = match op {
        Op::Make(path, text) => write(path, NEW, text),
        Op::Append(path, text) => write(path, WRITE, text),
        Op::Overwrite(path, text) => write(path, EMPTYING, text),
        Op::Read(path) => read(tree, path),
        Op::Stat(path) => tree.stat(path).map(|stat| {
            // What a directory weighs, and how many names it has, each file system decides for itself.
            if stat.kind == Kind::Dir { "dir".into() } else { format!("{:?} {} {}", stat.kind, stat.bytes, stat.names) }
        }),
        Op::List(path) => tree.list(path).map(|entries| {
            let mut entries: Vec<_> = entries.into_iter().map(|e| format!("{:?} {:?}", e.name, e.kind)).collect();
            entries.sort();
            entries.join(",")
        }),
        Op::MakeDir(path) => tree.make_dir(path).map(|()| String::new()),
        Op::RemoveFile(path) => tree.remove_file(path).map(|()| String::new()),
        Op::RemoveDir(path) => tree.remove_dir(path).map(|()| String::new()),
        Op::Rename(from, to) => tree.rename(from, to).map(|()| String::new()),
        Op::Link(target, path) => tree.make_link(target, path).map(|()| String::new()),
        Op::Touch(path) => {
            let then = Some(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000));
            tree.set_times(path, Times { accessed: None, modified: then })
                .and_then(|()| Ok(format!("{}", tree.stat(path)?.modified == then)))
        }
    };
    told.map_err(|error| error.raw_os_error().unwrap_or(-1))
}

/// What only the layer refuses: renaming a directory from below, and a link to where it would lead out.
fn only_here(overlay: &Overlay, op: &Op) -> bool {
    let Op::Rename(from, to) = op else { return false };
    let Err(errno) = done(overlay, op) else { panic!("it was refused a moment ago") };
    let kind = overlay.stat(from).map(|stat| stat.kind);
    match Errno::from_raw_os_error(errno) {
        Errno::XDEV => kind.is_ok_and(|kind| kind == Kind::Dir),
        Errno::PERM => kind.is_ok_and(|kind| match kind {
            Kind::Link => !stays_inside(to, overlay.read_link(from).unwrap().to_str().unwrap()),
            kind => kind == Kind::Dir,
        }),
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_layer_shows_what_a_plain_copy_shows_and_leaves_the_tree_below_alone(ops in vec(any_op(), 1..60)) {
        let ground = ground(LayerLimits::default());
        let (copy, before) = (plain(ground.copy.path()), exactly(ground.lower.path()));
        for op in &ops {
            let (here, there) = (done(&ground.overlay, op), Err(0));
            let there = if here.is_err() && only_here(&ground.overlay, op) { there } else { done(&*copy, op) };
            if there != Err(0) { prop_assert_eq!(&here, &there, "{:?} of {:?}", op, ops); }
        }
        prop_assert_eq!(shown(&ground.overlay), shown(&*copy));
        prop_assert_eq!(exactly(ground.lower.path()), before);
        // The change set makes the tree below into what the layer shows.
        let taken = ground.overlay.outcome().unwrap();
        let mut nodes = shown(&*plain(ground.lower.path()));
        for (path, change) in &taken.changes {
            let told = |node: &Node| match node {
                Node::Directory => "dir".to_owned(),
                Node::Link { target } => format!("link {target}"),
                Node::File { digest, .. } => {
                    format!("file {:?}", String::from_utf8(taken.content(digest).unwrap().to_vec()).unwrap())
                }
            };
            prop_assert_eq!(nodes.get(path.as_str()).cloned(), change.before().map(told), "{} was another", path);
            match change.after() {
                Some(node) => nodes.insert(path.to_string(), told(node)),
                None => nodes.remove(path.as_str()),
            };
        }
        prop_assert_eq!(nodes, shown(&*copy));
    }
}

#[test]
fn names_that_other_overlays_give_a_meaning_have_none_here() {
    let ground = ground(LayerLimits::default());
    let names = [".wh.a", ".wh..wh..opq", ".wh..wh.plnk", "c0", "c1", "empty", "a/.wh.c"];
    for name in names {
        ground.overlay.open(name, NEW).unwrap().write_all(name.as_bytes()).unwrap();
    }
    assert!(ground.overlay.stat("a/c").is_ok() && ground.overlay.stat("a/a/a").is_ok());
    for name in names {
        assert_eq!(read(&ground.overlay, name).unwrap(), name);
    }
    assert_eq!(ground.overlay.outcome().unwrap().changes.len(), names.len());
}

#[test]
fn copies_are_bounded_one_by_one_and_together() {
    let ground = ground(LayerLimits { file_bytes_max: 4, bytes_max: 6, paths_max: 5, ..LayerLimits::default() });
    assert_eq!(errno(ground.overlay.open("c/c", WRITE)), Some(Errno::FBIG));
    ground.overlay.open("a/c", WRITE).unwrap();
    assert_eq!(errno(ground.overlay.open("a/a/a", WRITE)), Some(Errno::NOSPC));
    for name in ["1", "2", "3", "4"] {
        ground.overlay.open(name, NEW).unwrap();
    }
    assert_eq!(errno(ground.overlay.open("5", NEW)), Some(Errno::NOSPC));
    assert_eq!(ground.overlay.remove_file("a/a/a").unwrap_err().raw_os_error(), Some(Errno::NOSPC.raw_os_error()));
    ground.overlay.open("1", WRITE).unwrap().write_all(b"12345").unwrap();
    assert_eq!(ground.overlay.outcome().unwrap_err().raw_os_error(), Some(Errno::FBIG.raw_os_error()));
}

#[test]
fn names_and_links_are_bounded_in_memory_however_they_come_and_go() {
    let ground = ground(LayerLimits { names_bytes_max: 100, ..LayerLimits::default() });
    let (overlay, long) = (&ground.overlay, "n".repeat(45));
    overlay.make_dir("dir").unwrap();
    overlay.open("dir/1", NEW).unwrap();
    overlay.make_link(&long, "link").unwrap();
    assert_eq!(errno(overlay.open(&long, NEW)), Some(Errno::NOSPC));
    overlay.remove_file("link").unwrap();
    overlay.open(&long, NEW).unwrap();
    assert_eq!(errno(overlay.rename("dir", &"d".repeat(44))), Some(Errno::NOSPC));
    overlay.rename("dir", &"d".repeat(15)).unwrap();
    overlay.rename(&long, "short").unwrap();
    overlay.rename(&"d".repeat(15), "dir").unwrap();
    overlay.remove_file("dir/1").unwrap();
    overlay.remove_dir("dir").unwrap();
    overlay.remove_file("short").unwrap();
    assert_eq!(overlay.layer().names_bytes(), 0, "what is forgotten takes nothing");
    overlay.remove_file("a/c").unwrap();
    overlay.make_link(&long, "a/c").unwrap();
    overlay.remove_file("a/c").unwrap();
    assert_eq!(overlay.layer().names_bytes(), "a/c".len(), "that it was there is remembered");
}

#[test]
fn a_base_is_what_the_agent_met_and_not_what_came_later() {
    let ground = ground(LayerLimits::default());
    ground.overlay.open("a/c", WRITE).unwrap().write_all(b"mine").unwrap();
    std::fs::write(ground.lower.path().join("a/c"), "somebody else's").unwrap();
    let taken = ground.overlay.outcome().unwrap();
    let change = taken.changes.at("a/c").unwrap();
    let Some(Node::File { digest, .. }) = change.before() else { panic!() };
    assert_eq!(*digest, Digest::of(b"two\n"));
    assert!(taken.bases.is_empty(), "what is not there any more is not passed off as what was");
}

/// What somebody saves at `path` below while the agent is at work: a new file in the place of the old one, as editors do.
fn save(ground: &Ground, path: &str, text: &str) {
    let beside = ground.lower.path().join("beside");
    std::fs::write(&beside, text).unwrap();
    std::fs::rename(beside, ground.lower.path().join(path)).unwrap();
}

fn errno<T: std::fmt::Debug>(result: io::Result<T>) -> Option<Errno> {
    result.unwrap_err().raw_os_error().map(Errno::from_raw_os_error)
}

type Verb = fn(&Overlay) -> io::Result<()>;

#[test]
fn what_somebody_saved_since_it_was_read_is_not_replaced_unseen() {
    let verbs: [Verb; 7] = [
        |overlay| overlay.open("a/c", EMPTYING).map(drop),
        |overlay| overlay.open("a/c", WRITE).map(drop),
        |overlay| overlay.remove_file("a/c"),
        |overlay| overlay.rename("a/c", "elsewhere"),
        |overlay| overlay.rename("c/c", "a/c"),
        |overlay| overlay.rename("a/c", "c/c"),
        |overlay| overlay.set_times("a/c", Times::default()),
    ];
    for (n, verb) in verbs.into_iter().enumerate() {
        for in_place in [false, true] {
            let ground = ground(LayerLimits::default());
            let overlay = &ground.overlay;
            assert_eq!(read(overlay, "a/c").unwrap(), "two\n");
            match in_place {
                true => std::fs::write(ground.lower.path().join("a/c"), "saved").unwrap(),
                false => save(&ground, "a/c", "saved"),
            }
            assert_eq!(errno(verb(overlay)), Some(Errno::BUSY), "{n}");
            assert_eq!(errno(verb(overlay)), Some(Errno::BUSY), "asking again does not help: {n}");
            assert_eq!(shown(overlay), shown(&*plain(ground.lower.path())), "nothing came of it: {n}");
            assert_eq!(read(overlay, "a/c").unwrap(), "saved");
            verb(overlay).unwrap();
            if let Ok(mut file) = overlay.open("a/c", EMPTYING) {
                file.write_all(b"mine").unwrap();
            }
            let taken = overlay.outcome().unwrap();
            let Some(Node::File { digest, .. }) = taken.changes.at("a/c").unwrap().before() else { panic!() };
            assert_eq!(*digest, Digest::of(b"saved"), "{n}");
        }
    }
}

/// One call of the agent reads, another happens to read later, and the next one writes what was made from the first.
#[test]
fn the_version_that_was_read_first_counts_until_the_agent_is_told() {
    let ground = ground(LayerLimits::default());
    let overlay = &ground.overlay;
    read(overlay, "a/c").unwrap();
    save(&ground, "a/c", "saved");
    read(overlay, "a/c").unwrap();
    assert_eq!(errno(overlay.open("a/c", EMPTYING)), Some(Errno::BUSY));
    read(overlay, "a/c").unwrap();
    save(&ground, "a/c", "saved again");
    assert_eq!(errno(overlay.open("a/c", EMPTYING)), Some(Errno::BUSY));
    read(overlay, "a/c").unwrap();
    overlay.open("a/c", EMPTYING).unwrap();
    // From here on it is the agent's own, and what is saved shows when it is applied.
    save(&ground, "a/c", "saved too late");
    read(overlay, "a/c").unwrap();
    overlay.remove_file("a/c").unwrap();
    assert!(overlay.outcome().unwrap().changes.at("a/c").unwrap().before().is_some());
}

#[test]
fn what_came_or_went_since_the_agent_looked_is_not_undone_unseen() {
    let ground = ground(LayerLimits::default());
    let overlay = &ground.overlay;
    assert_eq!(errno(read(overlay, "notes")), Some(Errno::NOENT));
    save(&ground, "notes", "somebody's");
    assert_eq!(errno(overlay.open("notes", EMPTYING)), Some(Errno::BUSY));
    assert_eq!(read(overlay, "notes").unwrap(), "somebody's");
    overlay.open("notes", EMPTYING).unwrap();

    let verbs: [Verb; 4] = [
        |overlay| overlay.open("a/c", NEW).map(drop),
        |overlay| overlay.make_dir("a/c"),
        |overlay| overlay.make_link("d", "a/c"),
        |overlay| overlay.rename("c/c", "a/c"),
    ];
    read(overlay, "a/c").unwrap();
    std::fs::remove_file(ground.lower.path().join("a/c")).unwrap();
    for verb in verbs {
        assert_eq!(errno(verb(overlay)), Some(Errno::BUSY));
    }
    assert_eq!(errno(read(overlay, "a/c")), Some(Errno::NOENT));
    for verb in verbs {
        verb(overlay).unwrap();
        overlay.remove_file("a/c").or_else(|_| overlay.remove_dir("a/c")).unwrap();
    }

    assert_eq!(overlay.read_link("d").unwrap(), "a/c");
    std::fs::remove_file(ground.lower.path().join("d")).unwrap();
    std::os::unix::fs::symlink("b", ground.lower.path().join("d")).unwrap();
    assert_eq!(errno(overlay.remove_file("d")), Some(Errno::BUSY));
    assert_eq!(errno(overlay.rename("d", "e")), Some(Errno::BUSY));
    assert_eq!(overlay.read_link("d").unwrap(), "b");
    overlay.remove_file("d").unwrap();
    // What the agent removed itself it may make again.
    read(overlay, "b/a").unwrap();
    overlay.remove_file("b/a").unwrap();
    overlay.open("b/a", NEW).unwrap();
}

#[test]
fn what_was_read_and_forgotten_is_not_replaced_unseen_either() {
    let ground = ground(LayerLimits { reads_bytes_max: 400, ..LayerLimits::default() });
    let overlay = &ground.overlay;
    for path in ["a/c", "a/a/a", "b/a", "c/c"] {
        read(overlay, path).unwrap();
    }
    save(&ground, "a/c", "saved");
    assert_eq!(errno(overlay.open("a/c", EMPTYING)), Some(Errno::BUSY));
    read(overlay, "a/c").unwrap();
    overlay.open("a/c", EMPTYING).unwrap();
    overlay.open("new", NEW).unwrap();
}

/// An agent pays nothing for what it removes.
#[test]
fn earlier_contents_are_bounded_together_and_those_that_merging_needs_come_first() {
    let ground = ground(LayerLimits { bytes_max: 40, ..LayerLimits::default() });
    for n in 0..9 {
        std::fs::write(ground.lower.path().join(format!("b/{n}")), format!("content {n}\n")).unwrap();
        ground.overlay.remove_file(&format!("b/{n}")).unwrap();
    }
    // The patch tells them as often as there are files.
    for n in 0..9 {
        std::fs::write(ground.lower.path().join(format!("c/{n}")), "alike\n").unwrap();
        ground.overlay.remove_file(&format!("c/{n}")).unwrap();
    }
    let mut mine = ground.overlay.open("c/c", EMPTYING).unwrap();
    mine.set_len(0).and_then(|()| mine.write_all(b"mine")).unwrap();
    let taken = ground.overlay.outcome().unwrap();
    assert_eq!(taken.changes.len(), 19);
    assert_eq!(taken.bases.values().map(|base| base.len()).sum::<usize>(), 5 + 3 * 10);
    assert!(taken.bases.contains_key(&Digest::of(b"three")) && !taken.bases.contains_key(&Digest::of(b"alike\n")));
    let patch = vespiary_kernel::change::patch::render(&taken.changes, &taken);
    assert_eq!(patch.matches("Binary files").count(), 15);
}

#[test]
fn what_was_written_back_is_no_change_and_modes_are_kept() {
    let ground = ground(LayerLimits::default());
    ground.overlay.open("c/c", WRITE).unwrap().write_all(b"three").unwrap();
    ground.overlay.open("made", NEW).unwrap();
    ground.overlay.remove_file("made").unwrap();
    ground.overlay.set_times("a", Times::default()).unwrap();
    assert!(ground.overlay.outcome().unwrap().changes.is_empty());
    ground.overlay.open("c/c", WRITE).unwrap().write_all(b"other").unwrap();
    let taken = ground.overlay.outcome().unwrap();
    assert!(matches!(taken.changes.at("c/c").unwrap().after(), Some(Node::File { executable: true, .. })));
}

#[test]
fn special_files_and_links_below_are_looked_at_and_no_more() {
    let ground = ground(LayerLimits::default());
    let mode = Mode::from_raw_mode(0o600);
    let pipe = ground.lower.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", ground.lower.path().join("away")).unwrap();
    let overlay = &ground.overlay;
    assert_eq!(overlay.stat("pipe").unwrap().kind, Kind::Other);
    for refused in [
        overlay.remove_file("pipe"),
        overlay.rename("pipe", "x"),
        overlay.rename("a/c", "pipe"),
        overlay.open("pipe", WRITE).map(drop),
        overlay.rename("away", "x"),
    ] {
        assert_eq!(errno(refused), Some(Errno::PERM));
    }
    for refused in
        [overlay.open("away", READ).map(drop), overlay.open("d/x", READ).map(drop), overlay.open("d", WRITE).map(drop)]
    {
        assert_eq!(errno(refused), Some(Errno::LOOP));
    }
}
