//! What somebody changed in a tree, as a value: each path with what was there and what is there now. Sets come from the
//! overlays of isolated agents, are merged (`merge`), shown (`patch`) and at last applied by the roof. Contents are only named
//! here, by digest. A set that could lead out of its tree cannot be built, however it was written down.

pub mod merge;
pub mod patch;
mod text;

#[cfg(test)]
mod tests;

use crate::ids::Digest;
use crate::json::Json;
use serde::{Deserialize, Serialize};
use std::borrow::Borrow;
use std::collections::{BTreeMap, btree_map};
use std::fmt;
use std::ops::Bound;
use std::str::FromStr;
use std::sync::Arc;

/// The longest path and link target, bytes; what Linux allows.
const PATH_BYTES_MAX: usize = 4_095;

/// The longest single name, bytes.
const NAME_BYTES_MAX: usize = 255;

/// A place in a tree: names joined by `/`, none of them empty, `.` or `..`. Never the root itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TreePath(Arc<str>);

/// What one path held, or holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Node {
    /// A regular file.
    File {
        /// SHA-256 of its content.
        digest: Digest,
        /// Its length.
        bytes: u64,
        /// Whether its owner may execute it; the one bit of its mode that is anybody else's business.
        executable: bool,
    },
    /// A symbolic link.
    Link {
        /// What it says.
        target: String,
    },
    /// A directory, whatever is in it.
    Directory,
}

/// What became of one path. What was there differs from what is there now.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Change {
    before: Option<Node>,
    after: Option<Node>,
}

/// The changes of somebody to a tree, by path. They fit each other: nothing is left below what is no directory any more.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<TreePath, Change>", into = "BTreeMap<TreePath, Change>")]
pub struct ChangeSet(BTreeMap<TreePath, Change>);

/// Where contents are looked up by what identifies them.
pub trait Contents {
    /// The bytes, or `None` where they were not kept.
    fn content(&self, digest: &Digest) -> Option<Arc<[u8]>>;
}

impl Contents for BTreeMap<Digest, Arc<[u8]>> {
    fn content(&self, digest: &Digest) -> Option<Arc<[u8]>> {
        self.get(digest).cloned()
    }
}

/// Why something is no change set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadChange {
    /// It names no place below the root of a tree.
    #[error("{0:?} is no path inside a tree: it must be names joined by '/', without '.', '..' and empty ones")]
    Path(String),
    /// A link that leads out of the tree, or nowhere.
    #[error("the link {path} says {target:?}, which does not stay inside the tree")]
    Link {
        /// Where it stands.
        path: TreePath,
        /// What it says.
        target: String,
    },
    /// What was there is what is there.
    #[error("a change that changes nothing")]
    Nothing,
    /// Two changes that cannot both be true.
    #[error("{0} lies below something that is no directory")]
    Below(TreePath),
}

impl TreePath {
    /// As text, `/` between the names.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The directories above, the nearest first; the root is left out.
    pub fn above(&self) -> impl Iterator<Item = &str> {
        self.0.rmatch_indices('/').map(|(at, _)| &self.0[..at])
    }
}

impl FromStr for TreePath {
    type Err = BadChange;

    fn from_str(text: &str) -> Result<Self, BadChange> {
        let sound = |name: &str| !matches!(name, "" | "." | "..") && name.len() <= NAME_BYTES_MAX;
        if text.len() > PATH_BYTES_MAX || text.contains('\0') || !text.split('/').all(sound) {
            return Err(BadChange::Path(text.chars().take(200).collect()));
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for TreePath {
    type Error = BadChange;
    fn try_from(text: String) -> Result<Self, BadChange> {
        text.parse()
    }
}

impl From<TreePath> for String {
    fn from(path: TreePath) -> String {
        path.0.as_ref().to_owned()
    }
}

impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for TreePath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Node {
    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        *self == Self::Directory
    }

    /// The content, of a file.
    pub fn digest(&self) -> Option<&Digest> {
        match self {
            Self::File { digest, .. } => Some(digest),
            Self::Link { .. } | Self::Directory => None,
        }
    }
}

impl Change {
    /// From what was there to what is there now; `None` where that is the same.
    pub fn new(before: Option<Node>, after: Option<Node>) -> Option<Self> {
        (before != after).then_some(Self { before, after })
    }

    /// What was there; `None`: nothing.
    pub fn before(&self) -> Option<&Node> {
        self.before.as_ref()
    }

    /// What is there now; `None`: nothing.
    pub fn after(&self) -> Option<&Node> {
        self.after.as_ref()
    }
}

/// How a change stands in a record.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<Node>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after: Option<Node>,
}

impl From<Change> for Written {
    fn from(Change { before, after }: Change) -> Self {
        Self { before, after }
    }
}

impl TryFrom<Written> for Change {
    type Error = BadChange;
    fn try_from(Written { before, after }: Written) -> Result<Self, BadChange> {
        Change::new(before, after).ok_or(BadChange::Nothing)
    }
}

impl ChangeSet {
    /// All of `changes` together. Fails where two of them cannot both be true, or where a link that is made leads out.
    pub fn new(changes: BTreeMap<TreePath, Change>) -> Result<Self, BadChange> {
        for (path, change) in &changes {
            if let Some(Node::Link { target }) = change.after()
                && !stays_inside(path.as_str(), target)
            {
                return Err(BadChange::Link { path: path.clone(), target: target.chars().take(200).collect() });
            }
            for above in path.above().filter_map(|above| changes.get(above)) {
                let lost =
                    |whole: Option<&Node>, part: Option<&Node>| whole.is_none_or(|n| !n.is_dir()) && part.is_some();
                if lost(above.before(), change.before()) || lost(above.after(), change.after()) {
                    return Err(BadChange::Below(path.clone()));
                }
            }
        }
        Ok(Self(changes))
    }

    /// How many paths it changes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each change, sorted by path.
    pub fn iter(&self) -> btree_map::Iter<'_, TreePath, Change> {
        self.0.iter()
    }

    /// The change to `path`.
    pub fn at(&self, path: &str) -> Option<&Change> {
        self.0.get(path)
    }

    /// What names the whole: SHA-256 of the set as the record holds it.
    pub fn digest(&self) -> Digest {
        Digest::of(self.to_json().as_str().as_bytes())
    }

    /// As the record holds it.
    pub fn to_json(&self) -> Json {
        // Strings, numbers and maps with text for keys: there is nothing in it that JSON does not have.
        Json::of(self).unwrap_or_else(|_| Json::null())
    }

    /// The part of it that `keep` wants, and the paths it does not want. What lies below a path that is left out, and would
    /// need it, is left out too.
    pub fn split(self, keep: impl Fn(&TreePath, &Change) -> bool) -> (Self, BTreeMap<TreePath, Change>) {
        let (mut kept, mut left): (BTreeMap<_, _>, BTreeMap<_, _>) = self.0.into_iter().partition(|(p, c)| keep(p, c));
        let needs = |path: &TreePath, left: &BTreeMap<TreePath, Change>| {
            let was_dir = |change: &Change| change.before().is_some_and(Node::is_dir);
            path.above().any(|above| left.get(above).is_some_and(|change| !was_dir(change)))
        };
        let follow: Vec<TreePath> = kept.keys().filter(|path| needs(path, &left)).cloned().collect();
        for path in follow {
            if let Some(change) = kept.remove(&path) {
                left.insert(path, change);
            }
        }
        // A directory goes when all below it goes; where part of that was left out, the directory stays as well.
        let emptied = |path: &TreePath, change: &Change| {
            change.before().is_some_and(Node::is_dir) && any_below(&left, path.as_str())
        };
        let stay: Vec<TreePath> = kept.iter().filter(|(p, c)| emptied(p, c)).map(|(p, _)| p.clone()).collect();
        for path in stay {
            if let Some(change) = kept.remove(&path) {
                left.insert(path, change);
            }
        }
        (Self(kept), left)
    }
}

impl<'a> IntoIterator for &'a ChangeSet {
    type Item = (&'a TreePath, &'a Change);
    type IntoIter = btree_map::Iter<'a, TreePath, Change>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl TryFrom<BTreeMap<TreePath, Change>> for ChangeSet {
    type Error = BadChange;
    fn try_from(changes: BTreeMap<TreePath, Change>) -> Result<Self, BadChange> {
        Self::new(changes)
    }
}

impl From<ChangeSet> for BTreeMap<TreePath, Change> {
    fn from(set: ChangeSet) -> Self {
        set.0
    }
}

/// Whether `path` lies below the directory `dir`.
pub fn is_below(path: &str, dir: &str) -> bool {
    path.strip_prefix(dir).is_some_and(|rest| rest.starts_with('/'))
}

/// Whether the map holds anything below the directory `dir`.
fn any_below<V>(map: &BTreeMap<TreePath, V>, dir: &str) -> bool {
    let start = format!("{dir}/");
    let first = map.range::<str, _>((Bound::Included(start.as_str()), Bound::Unbounded)).next();
    first.is_some_and(|(path, _)| path.as_str().starts_with(&start))
}

/// Whether a link at `path` that says `target` leads to a place inside the tree, as far as text can tell.
pub fn stays_inside(path: &str, target: &str) -> bool {
    if target.is_empty() || target.len() > PATH_BYTES_MAX || target.starts_with('/') || target.contains('\0') {
        return false;
    }
    let mut depth = path.split('/').count() - 1;
    for name in target.split('/') {
        depth = match (name, depth) {
            ("" | ".", depth) => depth,
            ("..", 0) => return false,
            ("..", depth) => depth - 1,
            (_, depth) => depth + 1,
        };
    }
    true
}
