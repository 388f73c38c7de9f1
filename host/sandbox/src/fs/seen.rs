//! What a cell saw: the record behind `vespiary_kernel::observed`. A path counts as it was before the cell itself changed it;
//! what the cell wrote and read back is no observation. Never a content, only its digest.

use super::backing::{Entry, Kind, Stat};
use super::handle::OpenFile;
use crate::known::Known;
use std::collections::hash_map;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use vespiary_kernel::observed::{ContentDigest, Observation, Observed, ReadSet};
use vespiary_kernel::sight::Rules;

/// What the record may hold: path bytes, and what an entry costs beyond them.
const RECORD_BYTES_MAX: usize = 16 << 20;
const ENTRY_BYTES: usize = 96;

/// The largest content that is hashed although not all of it was read. A guest pays for a byte; what the host reads for it must
/// not be without bound.
const HASH_BYTES_MAX: u64 = 64 << 20;

/// How much is recorded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Recording {
    /// Nothing.
    Off,
    /// Which paths, and what was there: contents and listings by their digests.
    #[default]
    Contents,
}

/// The record of one cell.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    recording: Recording,
    /// Where contents that were read are remembered.
    known: Option<Arc<Known>>,
    paths: HashMap<Box<str>, Observed>,
    bytes: usize,
    /// Paths the cell changed, and directories it moved or removed with everything below.
    changed: HashSet<Box<str>>,
    moved: Vec<Box<str>>,
    /// Something was seen that is not in the record, or changed while the cell looked.
    partial: bool,
}

impl Seen {
    pub(crate) fn new(recording: Recording, known: Option<Arc<Known>>) -> Self {
        Self { recording, known, ..Self::default() }
    }

    /// The record, sorted; nothing is left behind.
    pub(crate) fn take(&mut self) -> ReadSet {
        let mut observations: Vec<_> = std::mem::take(&mut self.paths)
            .into_iter()
            .map(|(path, state)| Observation { path: path.into(), state })
            .collect();
        observations.sort_unstable_by(|one, other| one.path.cmp(&other.path));
        let complete = self.recording == Recording::Contents && !self.partial;
        *self = Self::new(self.recording, self.known.take());
        ReadSet { observations, complete }
    }

    /// Something is there.
    pub(crate) fn found(&mut self, rules: &Rules, path: &str, stat: &Stat) {
        self.note(rules, path, || match stat.kind {
            Kind::File => Observed::File { bytes: stat.bytes, read: false, content: None },
            Kind::Dir => Observed::Directory { listing: None },
            Kind::Link => Observed::Link { target: None },
            Kind::BlockDevice | Kind::CharDevice | Kind::Other => Observed::Special,
        });
    }

    /// Nothing is there, or nothing that the cell may see.
    pub(crate) fn absent(&mut self, rules: &Rules, path: &str) {
        self.note(rules, path, || Observed::Absent);
    }

    /// A directory was gone through.
    pub(crate) fn passed(&mut self, rules: &Rules, path: &str) {
        self.note(rules, path, || Observed::Directory { listing: None });
    }

    /// The cell was told something that no entry of the record explains.
    pub(crate) fn missed(&mut self) {
        self.partial = true;
    }

    /// Nothing was there before the cell made it.
    pub(crate) fn made(&mut self, rules: &Rules, path: &str) {
        self.note(rules, path, || Observed::Absent);
        self.change(rules, path);
    }

    /// A link's text was read or followed.
    pub(crate) fn link(&mut self, rules: &Rules, path: &str, target: &str) {
        self.note(rules, path, || Observed::Link { target: Some(target.to_owned()) });
    }

    /// A directory was listed, and these entries were shown.
    pub(crate) fn listed(&mut self, rules: &Rules, path: &str, entries: &[Entry]) {
        self.note(rules, path, || Observed::Directory { listing: Some(listing_digest(entries)) });
    }

    /// Some of the content of an open file was read; `whole` is all of it, where it came in one piece.
    pub(crate) fn content(&mut self, open: &OpenFile, whole: Option<&[u8]>) {
        let OpenFile { file, path, .. } = open;
        let rules = &open.tree.rules;
        if self.recording == Recording::Off || self.is_own(&rules.text(path)) {
            return;
        }
        // Of a file that is open for writing, this cell may write the next moment.
        let known = self.known.as_deref().filter(|_| !open.write);
        let again = |whole: &[u8]| {
            let still = known.filter(|_| whole.len() as u64 == open.bytes)?;
            still.still(file, &open.glimpse)
        };
        let mut is_news = true;
        let hashed = match whole {
            Some(whole) => {
                let digest = again(whole).inspect(|_| is_news = false);
                Ok((whole.len() as u64, digest.or_else(|| Some(self::digest(blake3::hash(whole))))))
            }
            None => hash_file(file),
        };
        match hashed {
            Ok((bytes, content)) => {
                self.partial |= content.is_none();
                if let (Some(known), Some(content), true) = (known, content, is_news) {
                    known.learn(file, &open.glimpse, content);
                }
                self.note(rules, path, || Observed::File { bytes, read: true, content });
            }
            Err(_) => self.partial = true,
        }
    }

    /// The cell is about to change, or has just made, what is at `path`; the listing that shows it changes, too.
    pub(crate) fn change(&mut self, rules: &Rules, path: &str) {
        if self.recording == Recording::Off {
            return;
        }
        let text = rules.text(path);
        let above = text.rsplit_once('/').map_or(".", |(above, _)| above);
        for path in [above, &*text] {
            if self.bytes < RECORD_BYTES_MAX && !self.changed.contains(path) {
                self.bytes += path.len() + ENTRY_BYTES;
                self.changed.insert(path.into());
            }
        }
        self.partial |= self.bytes >= RECORD_BYTES_MAX;
    }

    /// The cell has moved or removed a directory with all that is below it.
    pub(crate) fn change_all_below(&mut self, rules: &Rules, path: &str) {
        self.change(rules, path);
        if self.recording != Recording::Off && self.bytes < RECORD_BYTES_MAX {
            let text = rules.text(path);
            self.bytes += text.len() + ENTRY_BYTES;
            self.moved.push(Box::from(&*text));
        }
    }

    fn is_own(&self, text: &str) -> bool {
        !self.changed.is_empty()
            && (self.changed.contains(text)
                || self.moved.iter().any(|dir| text.strip_prefix(&**dir).is_some_and(|rest| rest.starts_with('/'))))
    }

    fn note(&mut self, rules: &Rules, path: &str, state: impl FnOnce() -> Observed) {
        if self.recording == Recording::Off {
            return;
        }
        let text = rules.text(path);
        if self.is_own(&text) {
            return;
        }
        if let Some(known) = self.paths.get_mut(&*text) {
            self.partial |= !known.refine(state());
            return;
        }
        let cost = text.len() + ENTRY_BYTES;
        if self.bytes + cost > RECORD_BYTES_MAX {
            self.partial = true;
            return;
        }
        self.bytes += cost;
        if let hash_map::Entry::Vacant(place) = self.paths.entry(Box::from(&*text)) {
            place.insert(state());
        }
    }
}

/// The digest of names and kinds, whatever order they came in.
pub(crate) fn listing_digest(entries: &[Entry]) -> ContentDigest {
    use std::os::unix::ffi::OsStrExt;
    let mut sorted: Vec<_> = entries.iter().map(|entry| (entry.name.as_bytes(), entry.kind)).collect();
    sorted.sort_unstable();
    let mut hasher = blake3::Hasher::new();
    for (name, kind) in sorted {
        let kind = match kind {
            Kind::File => b"f",
            Kind::Dir => b"d",
            Kind::Link => b"l",
            Kind::BlockDevice | Kind::CharDevice | Kind::Other => b"o",
        };
        // No name holds `/`, so nothing else gives the same bytes.
        hasher.update(name).update(b"/").update(kind);
    }
    digest(hasher.finalize())
}

/// Length and digest of a whole file; no digest where it is too long to be hashed for a part.
pub(crate) fn hash_file(file: &File) -> io::Result<(u64, Option<ContentDigest>)> {
    let bytes = file.metadata()?.len();
    if bytes > HASH_BYTES_MAX {
        return Ok((bytes, None));
    }
    let (mut hasher, mut at, mut buffer) = (blake3::Hasher::new(), 0, vec![0; 64 << 10]);
    loop {
        match file.read_at(&mut buffer, at)? {
            0 => return Ok((at, Some(digest(hasher.finalize())))),
            n => {
                hasher.update(&buffer[..n]);
                at += n as u64;
                if at > HASH_BYTES_MAX {
                    return Ok((at, None));
                }
            }
        }
    }
}

fn digest(hash: blake3::Hash) -> ContentDigest {
    ContentDigest(*hash.as_bytes())
}
