//! What a layer came to: its changes, the contents they need, and what was there before. Read once, when nobody writes any more.

use super::bases::{BASES_BYTES_MAX, bases};
use super::layer::Now;
use super::{Opening, Overlay};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Arc;
use vespiary_kernel::change::{Change, ChangeSet, Node, TreePath};
use vespiary_kernel::ids::Digest;
use vespiary_kernel::worktree::Taken;

impl Overlay {
    /// Everything that differs from what was below when it was first touched.
    ///
    /// Fails where the contents are more than the layer's limits, or where the tree below changed so much that no change set can
    /// tell the difference.
    pub(crate) fn outcome(&self) -> io::Result<Taken> {
        let layer = self.layer();
        let (mut changes, mut written, mut total) = (BTreeMap::new(), BTreeMap::new(), 0u64);
        for (path, base, now) in layer.all() {
            let after = match now {
                Now::Absent => None,
                Now::Dir { .. } => Some(Node::Directory),
                Now::Link { target, .. } => Some(Node::Link { target: target.to_string() }),
                Now::File { number, executable } => {
                    let content = self.content(*number)?;
                    let (digest, bytes) = (Digest::of(&content), content.len() as u64);
                    let node = Node::File { digest, bytes, executable: *executable };
                    if base != Some(&node) && written.insert(digest, Arc::from(content)).is_none() {
                        total = total.saturating_add(bytes);
                    }
                    Some(node)
                }
            };
            if total > self.0.limits.bytes_max {
                return Err(Errno::NOSPC.into());
            }
            if let Some(change) = Change::new(base.cloned(), after) {
                changes.insert(path.parse::<TreePath>().map_err(io::Error::other)?, change);
            }
        }
        let changes = ChangeSet::new(changes).map_err(io::Error::other)?;
        let bases = bases(self.lower(), &changes, self.0.limits.bytes_max.min(BASES_BYTES_MAX));
        Ok(Taken { changes, written, bases })
    }

    fn content(&self, number: u64) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        let max = self.0.limits.file_bytes_max;
        self.open_content(number, Opening::READ)?.take(max + 1).read_to_end(&mut content)?;
        if content.len() as u64 > max { Err(Errno::FBIG.into()) } else { Ok(content) }
    }
}
