//! Laws of change sets and their merging, over small trees in which everything that can clash does.

use super::merge::{Clash, Merge, Merged};
use super::*;
use crate::ids::AgentId;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

type Tree = BTreeMap<TreePath, Node>;
type Blobs = BTreeMap<Digest, Arc<[u8]>>;

fn path(text: &str) -> TreePath {
    text.parse().unwrap()
}

fn file(content: &str, blobs: &mut Blobs) -> Node {
    let digest = Digest::of(content.as_bytes());
    blobs.insert(digest, content.as_bytes().into());
    Node::File { digest, bytes: content.len() as u64, executable: false }
}

/// From one tree to another.
fn between(from: &Tree, to: &Tree) -> ChangeSet {
    let paths: std::collections::BTreeSet<_> = from.keys().chain(to.keys()).collect();
    let changes = paths
        .into_iter()
        .filter_map(|path| Some((path.clone(), Change::new(from.get(path).cloned(), to.get(path).cloned())?)));
    ChangeSet::new(changes.collect()).unwrap()
}

/// The tree after a set was applied to the one it was made for.
fn applied(tree: &Tree, set: &ChangeSet) -> Tree {
    let mut tree = tree.clone();
    for (path, change) in set {
        assert_eq!(tree.get(path), change.before(), "{path} was another");
        match change.after() {
            Some(node) => tree.insert(path.clone(), node.clone()),
            None => tree.remove(path),
        };
    }
    for path in tree.keys() {
        for above in path.above() {
            assert_eq!(tree.get(above), Some(&Node::Directory), "{path} hangs in the air");
        }
    }
    tree
}

const TEXTS: &[&str] =
    &["", "1\n2\n3\n4\n5\n6\n7\n", "1\nx\n3\n4\n5\n6\n7\n", "1\n2\n3\n4\n5\ny\n7\n", "z\n2\n3\n4\n5\n6\n7", "1\0"];

fn blobs() -> Blobs {
    let mut blobs = Blobs::new();
    TEXTS.iter().for_each(|text| drop(file(text, &mut blobs)));
    blobs
}

fn any_node() -> impl Strategy<Value = Node> {
    prop_oneof![
        3 => Just(Node::Directory),
        6 => (0..TEXTS.len(), any::<bool>()).prop_map(|(n, x)| match file(TEXTS[n], &mut Blobs::new()) {
            Node::File { digest, bytes, .. } => Node::File { digest, bytes, executable: x },
            other => other,
        }),
        1 => "[ab]".prop_map(|target| Node::Link { target }),
    ]
}

/// Whatever is drawn, with what hangs in the air taken out.
fn any_tree() -> impl Strategy<Value = Tree> {
    btree_map("[ab](/[ab]){0,2}".prop_map(|p| path(&p)), any_node(), 0..8).prop_map(|drawn| {
        let stands = |path: &TreePath| path.above().all(|above| drawn.get(above) == Some(&Node::Directory));
        drawn.iter().filter(|(path, _)| stands(path)).map(|(p, n)| (p.clone(), n.clone())).collect()
    })
}

/// A tree that shares most of another.
fn like(base: Tree) -> impl Strategy<Value = Tree> {
    let n = base.len();
    (any_tree(), vec(0..4u8, n)).prop_map(move |(new, kept)| {
        let mut tree: Tree =
            base.iter().zip(&kept).filter(|(_, kept)| **kept > 0).map(|((p, n), _)| (p.clone(), n.clone())).collect();
        tree.extend(new.into_iter().take(2));
        let all = tree.clone();
        tree.retain(|path, _| path.above().all(|above| all.get(above) == Some(&Node::Directory)));
        tree
    })
}

fn any_sides() -> impl Strategy<Value = (Tree, Vec<ChangeSet>)> {
    any_tree().prop_flat_map(|base| {
        let sides = vec(like(base.clone()), 1..5);
        (Just(base), sides).prop_map(|(base, sides)| {
            let sets = sides.iter().map(|side| between(&base, side)).collect();
            (base, sets)
        })
    })
}

fn merged<'a>(sides: impl IntoIterator<Item = (u32, &'a ChangeSet)>) -> Merged {
    let mut merge = Merge::default();
    sides.into_iter().for_each(|(agent, set)| merge.add(AgentId(agent), set));
    merge.resolve(&blobs())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn what_comes_out_fits_the_tree_it_was_made_for((base, sets) in any_sides()) {
        let merged = merged((1..).zip(&sets));
        applied(&base, &merged.changes);
        for conflict in &merged.conflicts { prop_assert!(merged.changes.at(conflict.path.as_str()).is_none()); }
    }

    #[test]
    fn neither_order_nor_grouping_matters((_, sets) in any_sides(), at in 0..5usize) {
        let numbered: Vec<(u32, &ChangeSet)> = (1..).zip(&sets).collect();
        let once = merged(numbered.iter().copied());
        prop_assert_eq!(&merged(numbered.iter().rev().copied()), &once);
        let (left, right) = numbered.split_at(at.min(numbered.len()));
        let gather = |part: &[(u32, &ChangeSet)]| {
            let mut merge = Merge::default();
            part.iter().for_each(|(agent, set)| merge.add(AgentId(*agent), set));
            merge
        };
        let (mut one, mut other) = (gather(left), gather(right));
        let (first, second) = (one.clone(), other.clone());
        one.absorb(&second);
        other.absorb(&first);
        other.absorb(&first);
        prop_assert_eq!(&one, &other);
        prop_assert_eq!(one.resolve(&blobs()), once);
    }

    #[test]
    fn nothing_is_lost((_, sets) in any_sides()) {
        let merged = merged((1..).zip(&sets));
        for (agent, set) in (1..).map(AgentId).zip(&sets) {
            for (path, change) in set {
                let conflict = merged.conflicts.iter().find(|conflict| conflict.path == *path);
                let sides = conflict.map(|conflict| &conflict.sides[..]).unwrap_or_default();
                let kept = sides.iter().any(|side| side.change == *change && side.agents.contains(&agent));
                let there = merged.changes.at(path.as_str()).and_then(Change::after) == change.after();
                // Otherwise it was joined with others: each line it added is in what came out.
                let joined = || {
                    let text = |node: Option<&Node>| {
                        let digest = node.and_then(Node::digest).copied()?;
                        let bytes = merged.contents.get(&digest).cloned().or_else(|| blobs().get(&digest).cloned())?;
                        String::from_utf8(bytes.to_vec()).ok()
                    };
                    let out = merged.changes.at(path.as_str()).map_or(change.before(), Change::after);
                    let (old, new, out) = (text(change.before()), text(change.after()), text(out));
                    let (Some(old), Some(new), Some(out)) = (old, new, out) else { return false };
                    new.lines().filter(|line| !old.lines().any(|o| o == *line)).all(|line| out.lines().any(|o| o == line))
                };
                prop_assert!(kept || there || joined(), "{} of {} is gone: {:?}", path, agent, change);
            }
        }
    }

    #[test]
    fn alone_or_of_one_mind_there_is_no_conflict((_, sets) in any_sides()) {
        let set = &sets[0];
        for merged in [merged([(1, set)]), merged([(1, set), (2, set), (3, set)])] {
            prop_assert_eq!(&merged.changes, set);
            prop_assert!(merged.conflicts.is_empty());
        }
    }

    #[test]
    fn sets_are_written_and_read_back((_, sets) in any_sides()) {
        for set in sets { prop_assert_eq!(set.to_json().read::<ChangeSet>().unwrap(), set); }
    }

    #[test]
    fn a_part_fits_too((base, sets) in any_sides(), left in vec("[ab](/[ab]){0,2}", 0..3)) {
        for set in sets {
            let whole = set.len();
            let (kept, out) = set.split(|path, _| !left.iter().any(|l| l == path.as_str()));
            applied(&base, &kept);
            prop_assert_eq!(kept.len() + out.len(), whole);
        }
    }
}

fn two(base: &[(&str, Node)], ours: &[(&str, Node)], theirs: &[(&str, Node)], blobs: &Blobs) -> Merged {
    let tree = |nodes: &[(&str, Node)]| nodes.iter().map(|(p, n)| (path(p), n.clone())).collect::<Tree>();
    let mut merge = Merge::default();
    merge.add(AgentId(1), &between(&tree(base), &tree(ours)));
    merge.add(AgentId(2), &between(&tree(base), &tree(theirs)));
    merge.resolve(blobs)
}

#[test]
fn each_sort_of_clash_is_told_by_its_name() {
    let mut blobs = Blobs::new();
    let mut f = |text: &str| file(text, &mut blobs);
    let (old, ours, theirs, bin, bin2) = (f("a\nb\n"), f("x\nb\n"), f("y\nb\n"), f("\0"), f("\0\0"));
    let run = match old.clone() {
        Node::File { digest, bytes, .. } => Node::File { digest, bytes, executable: true },
        other => other,
    };
    let (dir, link) = (Node::Directory, |to: &str| Node::Link { target: to.into() });
    let clash = |base: &[(&str, Node)], a: &[(&str, Node)], b: &[(&str, Node)]| {
        let merged = two(base, a, b, &blobs);
        let kinds: Vec<_> = merged.conflicts.iter().map(|c| (c.path.as_str().to_owned(), c.kind)).collect();
        assert!(merged.conflicts.iter().all(|c| !c.sides.is_empty()));
        kinds
    };
    let p = |n: &Node| vec![("p", n.clone())];
    let at_p = |kind| vec![("p".to_owned(), kind)];
    assert_eq!(clash(&p(&old), &p(&ours), &p(&theirs)), at_p(Clash::Lines));
    assert_eq!(clash(&p(&old), &p(&ours), &[]), at_p(Clash::Removed));
    assert_eq!(clash(&[], &p(&ours), &p(&theirs)), at_p(Clash::Added));
    assert_eq!(clash(&[], &p(&old), &p(&run)), at_p(Clash::Mode));
    assert_eq!(clash(&[], &p(&dir), &p(&ours)), at_p(Clash::Sort));
    assert_eq!(clash(&[], &p(&link("a")), &p(&link("b"))), at_p(Clash::Link));
    assert_eq!(clash(&p(&old), &p(&bin), &p(&bin2)), at_p(Clash::Content));
    let emptied_and_filled = clash(&p(&dir), &[], &[("p", dir.clone()), ("p/new", ours.clone())]);
    assert_eq!(emptied_and_filled, [("p".into(), Clash::Surroundings), ("p/new".into(), Clash::Surroundings)]);
    assert_eq!(clash(&p(&old), &p(&run), &p(&ours)), [], "a mode and a content stand side by side");
}

#[test]
fn an_executable_edited_by_another_keeps_both() {
    let mut blobs = Blobs::new();
    let (old, new) = (file("a\nb\n", &mut blobs), file("a\nc\n", &mut blobs));
    let Node::File { digest, bytes, .. } = old.clone() else { panic!() };
    let run = Node::File { digest, bytes, executable: true };
    let merged = two(&[("p", old)], &[("p", run)], &[("p", new.clone())], &blobs);
    let Some(Node::File { digest, executable: true, .. }) = merged.changes.at("p").and_then(Change::after) else {
        panic!()
    };
    assert_eq!(Some(digest), new.digest());
}

#[test]
fn those_who_began_elsewhere_are_not_joined() {
    let mut blobs = Blobs::new();
    let (old, moved, new) = (file("a\n", &mut blobs), file("b\n", &mut blobs), file("c\n", &mut blobs));
    let set = |from: &Node| between(&Tree::from([(path("p"), from.clone())]), &Tree::from([(path("p"), new.clone())]));
    let mut merge = Merge::default();
    merge.add(AgentId(1), &set(&old));
    merge.add(AgentId(2), &set(&moved));
    assert_eq!(merge.resolve(&blobs).conflicts[0].kind, Clash::Base);
}

#[test]
fn a_forbidden_path_is_kept_and_never_agreed_on() {
    let set = between(&Tree::new(), &Tree::from([(path("d"), Node::Directory), (path("d/x"), Node::Directory)]));
    let mut merge = Merge::default();
    for (path, change) in &set {
        merge.forbid(AgentId(7), path, change);
    }
    let merged = merge.resolve(&blobs());
    assert!(merged.changes.is_empty());
    assert!(merged.conflicts.iter().all(|c| c.kind == Clash::Forbidden && c.sides[0].agents.contains(&AgentId(7))));
}

#[test]
fn no_written_form_leads_out() {
    for bad in ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a/", "./a", ".", "..", "a\u{0}b", &"x/".repeat(3_000)]
    {
        assert!(bad.parse::<TreePath>().is_err(), "{bad:?}");
        let text = serde_json::json!({ bad: { "after": "directory" } }).to_string();
        assert!(serde_json::from_str::<ChangeSet>(&text).is_err(), "{text}");
    }
    for (at, target, fine) in
        [("a", "b", true), ("a/b", "../c", true), ("a", "../b", false), ("a", "/etc", false), ("a/b", "../../c", false)]
    {
        let text = serde_json::json!({ at: { "after": { "link": { "target": target } } } }).to_string();
        assert_eq!(serde_json::from_str::<ChangeSet>(&text).is_ok(), fine, "{text}");
    }
    let below_a_link = r#"{"a":{"after":{"link":{"target":"b"}}},"a/x":{"after":"directory"}}"#;
    assert!(serde_json::from_str::<ChangeSet>(below_a_link).unwrap_err().to_string().contains("a/x"));
    assert!(serde_json::from_str::<ChangeSet>(r#"{"a":{"before":"directory","after":"directory"}}"#).is_err());
}

#[test]
fn a_patch_says_what_changed_and_lets_no_name_pretend() {
    let mut blobs = Blobs::new();
    let (old, new) =
        (file("1\n2\n3\n4\n5\n6\n7\n8\n9\n", &mut blobs), file("1\n2\n3\n4\nfive\n6\n7\n8\n9", &mut blobs));
    let bin = file("\0\u{1}", &mut blobs);
    let from = Tree::from([(path("a b"), old.clone()), (path("gone"), Node::Directory)]);
    let to = Tree::from([
        (path("a b"), new),
        (path("bin"), bin.clone()),
        (path("in\n+++ b/etc"), Node::Link { target: "bin".into() }),
        (path("made"), Node::Directory),
    ]);
    let patch = patch::render(&between(&from, &to), &blobs);
    let expected = format!(
        "diff --git \"a/a b\" \"b/a b\"\n--- \"a/a b\"\n+++ \"b/a b\"\n@@ -2,8 +2,8 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n-9\n+9\n\\ No newline at end of file\n\
         diff --git a/bin b/bin\nnew file mode 100644\n# from nothing\n# to   sha256:{}, 2 bytes\nBinary files a/bin and b/bin differ\n\
         # directory removed: gone\n\
         diff --git \"a/in\\012+++ b/etc\" \"b/in\\012+++ b/etc\"\nnew file mode 120000\n--- /dev/null\n+++ \"b/in\\012+++ b/etc\"\n@@ -0,0 +1,1 @@\n+bin\n\\ No newline at end of file\n\
         # directory made: made\n",
        bin.digest().unwrap()
    );
    assert_eq!(patch, expected);
}

/// Each of many files may hold the same text, which is kept once; the patch tells it each time.
#[test]
fn a_patch_that_grows_too_long_says_so_and_stops_git() {
    let mut blobs = Blobs::new();
    let text = file(&"line\n".repeat(100), &mut blobs);
    let mut to: Tree = (0..50).map(|n| (path(&format!("f{n:02}")), text.clone())).collect();
    to.insert(path("f00.d"), Node::Directory);
    let set = between(&Tree::new(), &to);
    let whole = patch::within(usize::MAX, &set, &blobs);
    assert_eq!(whole, patch::render(&set, &blobs));
    let cut = patch::within(2_000, &set, &blobs);
    let told = cut.matches("\n+++ ").count();
    assert!(cut.len() < 3_000 && (2..5).contains(&told), "{cut}");
    let untold = cut.split_once(&format!("diff --git a/f{told:02} b/f{told:02}\n")).unwrap().1;
    let more = 50 - told;
    assert_eq!(
        untold,
        format!(
            "new file mode 100644\nBinary files a/f{told:02} and b/f{told:02} differ\n\
             # {more} more changes are only in the change set: the patch would be too long\n"
        )
    );
}
