//! Many change sets of one tree become one. What everybody did is gathered by path first and judged afterwards, all sides at
//! once, so the order in which agents ended makes no difference: gathering is a union, and judging a function of it. What
//! cannot stand side by side becomes a conflict that names every side; none of them is applied, and none is lost.

use super::{Change, ChangeSet, Contents, Node, TreePath, any_below, text};
use crate::ids::{AgentId, Digest};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Change sets on their way to becoming one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Merge {
    sides: BTreeMap<TreePath, BTreeMap<Change, BTreeSet<AgentId>>>,
    forbidden: BTreeSet<TreePath>,
}

/// What they came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Merged {
    /// Everything that can stand side by side.
    pub changes: ChangeSet,
    /// Everything else, sorted by path; no path is in both.
    pub conflicts: Vec<Conflict>,
    /// Contents that no side had and that came out of joining them.
    pub contents: BTreeMap<Digest, Arc<[u8]>>,
}

/// A path on which several agents disagree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conflict {
    /// Where.
    pub path: TreePath,
    /// In what.
    pub kind: Clash,
    /// Every distinct change, with those who made it.
    pub sides: Vec<Side>,
}

/// One of the changes that clash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Side {
    /// Who made it.
    pub agents: BTreeSet<AgentId>,
    /// What it was.
    pub change: Change,
}

/// What changes disagree in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Clash {
    /// The same or neighbouring lines of a text.
    Lines,
    /// The content of a file that is no text, or is too long to be compared by lines, or of which a version was not kept.
    Content,
    /// One removed what another changed.
    Removed,
    /// Each made something of its own where nothing was.
    Added,
    /// One sort of thing became another: a file, a link, a directory.
    Sort,
    /// Whether the file is executable.
    Mode,
    /// What a symbolic link says.
    Link,
    /// They began from different states: the tree changed while they worked.
    Base,
    /// What lies above or below is in conflict, or is no directory any more.
    Surroundings,
    /// Nobody may change this path through a change set.
    Forbidden,
}

impl Clash {
    /// The word people and programs read.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lines => "lines",
            Self::Content => "content",
            Self::Removed => "removed",
            Self::Added => "added",
            Self::Sort => "sort",
            Self::Mode => "mode",
            Self::Link => "link",
            Self::Base => "base",
            Self::Surroundings => "surroundings",
            Self::Forbidden => "forbidden",
        }
    }
}

impl Merge {
    /// Add what `agent` did. Adding the same twice is adding it once.
    pub fn add(&mut self, agent: AgentId, set: &ChangeSet) {
        for (path, change) in set {
            self.add_one(agent, path, change);
        }
    }

    /// Add what `agent` did at a path that no change set may touch: it is kept as a conflict and never applied.
    pub fn forbid(&mut self, agent: AgentId, path: &TreePath, change: &Change) {
        self.forbidden.insert(path.clone());
        self.add_one(agent, path, change);
    }

    fn add_one(&mut self, agent: AgentId, path: &TreePath, change: &Change) {
        self.sides.entry(path.clone()).or_default().entry(change.clone()).or_default().insert(agent);
    }

    /// Add all that another merge has gathered.
    pub fn absorb(&mut self, other: &Merge) {
        self.forbidden.extend(other.forbidden.iter().cloned());
        for (path, changes) in &other.sides {
            let own = self.sides.entry(path.clone()).or_default();
            for (change, agents) in changes {
                own.entry(change.clone()).or_default().extend(agents.iter().copied());
            }
        }
    }

    /// Whether nobody changed anything.
    pub fn is_empty(&self) -> bool {
        self.sides.is_empty()
    }

    /// Judge everything that was gathered. `contents` has the texts before and after; what it lacks cannot be joined line by line.
    pub fn resolve(&self, contents: &impl Contents) -> Merged {
        let mut agreed: BTreeMap<TreePath, Change> = BTreeMap::new();
        let mut clashes: BTreeMap<TreePath, Clash> = BTreeMap::new();
        let mut joined = BTreeMap::new();
        for (path, changes) in &self.sides {
            let changes: Vec<&Change> = changes.keys().collect();
            let end = if self.forbidden.contains(path) { Err(Clash::Forbidden) } else { one(&changes, contents) };
            match end {
                Ok(Joined { change, content }) => {
                    // Two edits may cancel each other out; then nothing is left to do.
                    if let Some(change) = change {
                        agreed.insert(path.clone(), change);
                    }
                    joined.extend(content);
                }
                Err(clash) => {
                    clashes.insert(path.clone(), clash);
                }
            }
        }
        self.withhold(&mut agreed, &mut clashes);
        let wanted: BTreeSet<&Digest> = agreed.values().filter_map(|c| c.after().and_then(Node::digest)).collect();
        let contents = joined.into_iter().filter(|(digest, _)| wanted.contains(digest)).collect();
        let conflicts = clashes.into_iter().map(|(path, kind)| self.conflict(path, kind)).collect();
        let changes = match ChangeSet::new(agreed) {
            Ok(changes) => changes,
            // `withhold` leaves only what fits together; were it wrong, nothing would be applied.
            Err(_) => return self.nothing_agreed(),
        };
        Merged { changes, conflicts, contents }
    }

    /// Take back what agrees by itself and does not fit with what lies above or below it. Each round looks at the state before
    /// it as a whole, so that no order matters, and takes something away, so that there is a last one.
    fn withhold(&self, agreed: &mut BTreeMap<TreePath, Change>, clashes: &mut BTreeMap<TreePath, Clash>) {
        loop {
            let mut wrong = BTreeSet::new();
            for (path, change) in agreed.iter() {
                if change.after().is_some() {
                    for above in path.above() {
                        match (agreed.get_key_value(above), clashes.contains_key(above)) {
                            (Some((_, over)), _) if over.after().is_some_and(Node::is_dir) => {}
                            // It would stand below what is no directory any more: neither can have its way.
                            (Some((above, _)), _) => wrong.extend([above.clone(), path.clone()]),
                            (None, true) if !self.was_dir(above) => wrong.extend([path.clone()]),
                            (None, _) => {}
                        }
                    }
                }
                if change.before().is_some_and(Node::is_dir) && any_below(clashes, path.as_str()) {
                    wrong.insert(path.clone());
                }
            }
            if wrong.is_empty() {
                return;
            }
            for path in wrong {
                agreed.remove(&path);
                clashes.insert(path, Clash::Surroundings);
            }
        }
    }

    /// Whether everybody found a directory at `path`.
    fn was_dir(&self, path: &str) -> bool {
        self.sides.get(path).is_some_and(|changes| changes.keys().all(|c| c.before().is_some_and(Node::is_dir)))
    }

    fn conflict(&self, path: TreePath, kind: Clash) -> Conflict {
        let sides = self.sides.get(&path).into_iter().flatten();
        let sides = sides.map(|(change, agents)| Side { agents: agents.clone(), change: change.clone() }).collect();
        Conflict { path, kind, sides }
    }

    fn nothing_agreed(&self) -> Merged {
        let conflicts = self.sides.keys().map(|path| self.conflict(path.clone(), Clash::Surroundings)).collect();
        Merged { conflicts, ..Merged::default() }
    }
}

/// What several changes of one path come to.
struct Joined {
    change: Option<Change>,
    /// A content that no side had.
    content: Option<(Digest, Arc<[u8]>)>,
}

fn one(changes: &[&Change], contents: &impl Contents) -> Result<Joined, Clash> {
    let Some((first, others)) = changes.split_first() else { return Ok(Joined { change: None, content: None }) };
    if others.is_empty() {
        return Ok(Joined { change: Some((*first).clone()), content: None });
    }
    let before = first.before();
    if others.iter().any(|change| change.before() != before) {
        return Err(Clash::Base);
    }
    let afters: Vec<&Node> = changes.iter().filter_map(|change| change.after()).collect();
    if afters.len() < changes.len() {
        return Err(Clash::Removed);
    }
    let all = |test: fn(&Node) -> bool| afters.iter().all(|node| test(node));
    if all(|node| matches!(node, Node::Link { .. })) {
        return Err(Clash::Link);
    }
    if !all(|node| matches!(node, Node::File { .. })) {
        return Err(Clash::Sort);
    }
    let distinct: BTreeSet<&Digest> = afters.iter().filter_map(|node| node.digest()).collect();
    let Some(Node::File { digest: old, executable: was_executable, .. }) = before else {
        return Err(match (before, distinct.len()) {
            (_, 1) => Clash::Mode,
            (None, _) => Clash::Added,
            (Some(_), _) => Clash::Sort,
        });
    };
    // There are two modes, so whoever changed it changed it to the same.
    let changed =
        afters.iter().any(|node| matches!(node, Node::File { executable, .. } if executable != was_executable));
    let executable = *was_executable != changed;
    let edits: Vec<&Digest> = distinct.into_iter().filter(|digest| *digest != old).collect();
    let (digest, content) = match edits[..] {
        [] => (*old, None),
        [only] => (*only, None),
        _ => {
            let content = joined(old, &edits, contents)?;
            (Digest::of(&content), Some(content))
        }
    };
    let bytes = match &content {
        Some(content) => content.len() as u64,
        None => length(&digest, before.into_iter().chain(afters)),
    };
    let after = Node::File { digest, bytes, executable };
    Ok(Joined { change: Change::new(before.cloned(), Some(after)), content: content.map(|content| (digest, content)) })
}

fn joined(old: &Digest, edits: &[&Digest], contents: &impl Contents) -> Result<Arc<[u8]>, Clash> {
    let base = contents.content(old).ok_or(Clash::Content)?;
    let sides: Vec<Arc<[u8]>> =
        edits.iter().map(|digest| contents.content(digest)).collect::<Option<_>>().ok_or(Clash::Content)?;
    let base = text::of(&base).ok_or(Clash::Content)?;
    let sides: Vec<&str> = sides.iter().map(|side| text::of(side)).collect::<Option<_>>().ok_or(Clash::Content)?;
    let merged = text::merged(base, &sides).ok_or(Clash::Lines)?;
    Ok(merged.into_bytes().into())
}

fn length<'a>(digest: &Digest, mut nodes: impl Iterator<Item = &'a Node>) -> u64 {
    let found = nodes.find_map(|node| match node {
        Node::File { digest: own, bytes, .. } if own == digest => Some(*bytes),
        _ => None,
    });
    found.unwrap_or(0)
}
