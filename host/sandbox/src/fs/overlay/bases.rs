//! What files held before they were changed: wanted for patches and for merges by lines, and left out where it would be much.

use crate::fs::backing::{Backing, Kind, Opening};
use crate::fs::plain::stat_file;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Read;
use std::sync::Arc;
use vespiary_kernel::change::{Change, ChangeSet, Node, TreePath};
use vespiary_kernel::ids::Digest;

/// The longest earlier content that is kept beside a change.
const BASE_BYTES_MAX: u64 = 4 << 20;

/// All earlier contents of one change set together, bytes. An agent pays nothing for removing a file, and all that it removed is held
/// in memory, and told in the patch, at once.
pub(crate) const BASES_BYTES_MAX: u64 = 64 << 20;

/// The earlier contents of files that `changes` changes, by digest, where `tree` still holds them. Those are left out that are long,
/// and those with which all would be more than `bytes_max`, counted once for each file since the patch tells them once for each;
/// removed files go first, as nothing is merged with what is gone.
pub(crate) fn bases(tree: &dyn Backing, changes: &ChangeSet, bytes_max: u64) -> BTreeMap<Digest, Arc<[u8]>> {
    let mut weights: HashMap<Digest, u64> = HashMap::new();
    for (_, bytes, digest) in changes.iter().filter_map(before) {
        let weight = weights.entry(digest).or_default();
        *weight = weight.saturating_add(bytes);
    }
    let (mut bases, mut left, mut refused) = (BTreeMap::new(), bytes_max, HashSet::new());
    for removed in [false, true] {
        for (path, change) in changes.iter().filter(|(_, change)| is_removal(change) == removed) {
            let Some((path, bytes, digest)) = before((path, change)) else { continue };
            if bases.contains_key(&digest) || refused.contains(&digest) {
                continue;
            }
            let weight = weights.get(&digest).copied().unwrap_or(u64::MAX);
            if weight > left {
                refused.insert(digest);
            } else if let Some(content) = held(tree, path, bytes, &digest) {
                left -= weight;
                bases.insert(digest, content);
            }
        }
    }
    bases
}

fn is_removal(change: &Change) -> bool {
    !matches!(change.after(), Some(Node::File { .. }))
}

/// Where a change was a file of no great length, how long that was and what it held.
fn before<'a>((path, change): (&'a TreePath, &Change)) -> Option<(&'a TreePath, u64, Digest)> {
    match change.before() {
        Some(Node::File { digest, bytes, .. }) if *bytes <= BASE_BYTES_MAX => Some((path, *bytes, *digest)),
        _ => None,
    }
}

/// What is at `path`, where it is `bytes` long and has that digest.
fn held(tree: &dyn Backing, path: &TreePath, bytes: u64, digest: &Digest) -> Option<Arc<[u8]>> {
    let file = tree.open(path.as_str(), Opening::READ).ok()?;
    let stat = stat_file(&file).ok()?;
    // What was a file a moment ago may be a pipe by now.
    if stat.kind != Kind::File || stat.bytes != bytes {
        return None;
    }
    let mut content = Vec::with_capacity(usize::try_from(bytes).ok()?);
    file.take(bytes).read_to_end(&mut content).ok()?;
    (Digest::of(&content) == *digest).then(|| content.into())
}
