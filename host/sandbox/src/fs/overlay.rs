//! A layer above a tree: what an isolated agent writes goes into files of our own, what it removes is only noted, and the tree
//! below is never touched. What differs comes out as a change set.
//!
//! Only contents are on disk, in numbered files of one flat directory that is nobody else's. Names, directories, links and
//! absences are in memory, so no name a guest chooses can mean anything here, and nothing has to survive the process: a layer
//! whose process has died is of no use to anybody and is removed by the next one.
//!
//! Where it differs from a plain directory:
//!
//! - A directory of the tree below cannot be renamed (`EXDEV`, as with overlayfs): that would be a copy of all that is in it,
//!   hidden files too. One that the agent made can.
//! - A file that was open for reading when its path is first written keeps showing what is below.
//! - What changed below since the agent read it cannot be changed, removed or replaced before the agent reads it again (`EBUSY`).
//! - Times of a directory do not move when its entries change.
//! - A FIFO, socket or device below can be looked at and neither removed, renamed nor replaced.
//! - A link cannot be moved to where it would lead out of the tree.

pub(crate) mod bases;
mod layer;
mod outcome;
mod reads;
#[cfg(test)]
mod tests;

use super::backing::{Backing, Content, Entry, Kind, Make, Opening, Stat, Times};
use super::plain::stat_file;
use layer::{Found, Layer, Now};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use vespiary_kernel::change::{Node, TreePath, is_below, stays_inside};
use vespiary_kernel::ids::Digest;

/// What one layer may hold. What guests write is counted where they write it; this bounds what the host copies for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LayerLimits {
    /// The largest file that is copied, hashed or handed out, bytes.
    pub(crate) file_bytes_max: u64,
    /// All copies together, and all contents that are handed out, bytes.
    pub(crate) bytes_max: u64,
    /// Paths that are known to differ, or to be gone.
    pub(crate) paths_max: usize,
    /// Those paths, and what links say, together, bytes of memory.
    pub(crate) names_bytes_max: usize,
    /// What is remembered of what was read, bytes of memory.
    pub(crate) reads_bytes_max: usize,
}

impl Default for LayerLimits {
    fn default() -> Self {
        Self {
            file_bytes_max: 64 << 20,
            bytes_max: 256 << 20,
            paths_max: 100_000,
            names_bytes_max: 16 << 20,
            reads_bytes_max: 16 << 20,
        }
    }
}

/// A tree below, and what one agent made of it. Cloning shares it.
#[derive(Debug, Clone)]
pub(crate) struct Overlay(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    lower: Box<dyn Backing>,
    /// Where contents are.
    store: OwnedFd,
    limits: LayerLimits,
    layer: Mutex<Layer>,
}

/// A directory with nothing in it: what is handed out when a directory is opened that has no other file of its own.
const EMPTY: &str = "empty";

impl Overlay {
    /// A layer above `lower` that keeps its contents in the directory `store`, which must be empty and nobody else's.
    pub(crate) fn new(lower: Box<dyn Backing>, store: OwnedFd, limits: LayerLimits) -> io::Result<Self> {
        rustix::fs::mkdirat(&store, EMPTY, Mode::RWXU)?;
        let device = rustix::fs::fstat(&store)?.st_dev;
        let layer = Mutex::new(Layer::new(device, limits.reads_bytes_max));
        Ok(Self(Arc::new(Shared { lower, store, limits, layer })))
    }

    // A lock is poisoned when a call panicked half-way; each step below leaves a layer that is sound.
    fn layer(&self) -> MutexGuard<'_, Layer> {
        self.0.layer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lower(&self) -> &dyn Backing {
        &*self.0.lower
    }

    /// What is at `path`, as the agent sees it.
    fn find(&self, layer: &Layer, path: &str) -> io::Result<Found> {
        match layer.find(path)? {
            Some(now) => Ok(Found::Layer(now.clone())),
            None => Ok(Found::Lower(self.lower().stat(path)?)),
        }
    }

    /// Before something is put at `path`: that nothing is there, and that a directory is above.
    fn demand_room(&self, layer: &mut Layer, path: &str) -> io::Result<()> {
        match self.find(layer, path) {
            Ok(_) => return Err(Errno::EXIST.into()),
            Err(error) if is_missing(&error) => self.demand_still_missing(layer, path)?,
            Err(error) => return Err(error),
        }
        self.demand_dir_above(layer, path)?;
        self.demand_entry(layer, path)
    }

    /// Before something is put where the agent finds nothing: that it never read what somebody else has removed since.
    fn demand_still_missing(&self, layer: &mut Layer, path: &str) -> io::Result<()> {
        // Where the layer is the reason, it was the agent that removed it.
        if layer.find(path).is_ok() { layer.reads.demand_same(path, None) } else { Ok(()) }
    }

    fn demand_dir_above(&self, layer: &Layer, path: &str) -> io::Result<()> {
        let Some((above, _)) = path.rsplit_once('/') else { return Ok(()) };
        match self.find(layer, above)?.kind() {
            Kind::Dir => Ok(()),
            Kind::Link => Err(Errno::LOOP.into()),
            _ => Err(Errno::NOTDIR.into()),
        }
    }

    /// Whether the layer may come to know another path, and whether that path can stand in a change set.
    fn demand_entry(&self, layer: &Layer, path: &str) -> io::Result<()> {
        if path.parse::<TreePath>().is_err() {
            return Err(Errno::NAMETOOLONG.into());
        }
        let LayerLimits { paths_max, names_bytes_max, .. } = self.0.limits;
        let full = layer.len() >= paths_max || layer.names_bytes() + path.len() > names_bytes_max;
        if full { Err(Errno::NOSPC.into()) } else { Ok(()) }
    }

    /// A new file for content.
    fn make_content(&self, layer: &mut Layer) -> io::Result<(u64, File)> {
        let number = layer.number();
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok((
            number,
            File::from(rustix::fs::openat(&self.0.store, content_name(number), flags, Mode::RUSR | Mode::WUSR)?),
        ))
    }

    fn open_content(&self, number: u64, opening: Opening) -> io::Result<File> {
        let access = match (opening.read, opening.write) {
            (_, false) => OFlags::RDONLY,
            (true, true) => OFlags::RDWR,
            (false, true) => OFlags::WRONLY,
        };
        let flags = access | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(File::from(rustix::fs::openat(&self.0.store, content_name(number), flags, Mode::empty())?))
    }

    fn drop_content(&self, number: u64) {
        // What cannot be removed now goes with the whole store.
        let _ = rustix::fs::unlinkat(&self.0.store, content_name(number), AtFlags::empty());
    }

    /// The file at `path` below, open, with what is known of it.
    fn open_lower(&self, path: &str) -> io::Result<(File, std::fs::Metadata)> {
        let file = self.lower().open(path, Opening::READ)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(Errno::PERM.into());
        }
        if metadata.len() > self.0.limits.file_bytes_max {
            return Err(Errno::FBIG.into());
        }
        Ok((file, metadata))
    }

    /// Read the open file `file`, which is at `path` below, into `sink`, and say what it held: that is what the agent found there.
    fn read_lower(&self, layer: &mut Layer, path: &str, file: &File, sink: &mut dyn Write) -> io::Result<Node> {
        layer.reads.demand_same(path, Some(&stat_file(file)?))?;
        let (mut hasher, mut bytes, mut buffer) = (Sha256::new(), 0u64, vec![0; 64 << 10]);
        // Somebody may be writing to it; what is read is what counts, and never more than the limit.
        let mut reading = file.take(self.0.limits.file_bytes_max + 1);
        loop {
            let n = reading.read(&mut buffer)?;
            if n == 0 {
                break;
            }
            bytes += n as u64;
            if bytes > self.0.limits.file_bytes_max {
                return Err(Errno::FBIG.into());
            }
            hasher.update(&buffer[..n]);
            sink.write_all(&buffer[..n])?;
        }
        // Somebody may have written to it after it was looked at.
        layer.reads.demand_same(path, Some(&stat_file(file)?))?;
        let digest = Digest::from_bytes(hasher.finalize().into());
        Ok(Node::File { digest, bytes, executable: file.metadata()?.mode() & 0o100 != 0 })
    }

    /// What is at `path` below, as a change set tells it, and as the agent found it.
    fn base(&self, layer: &mut Layer, path: &str, kind: Kind) -> io::Result<Node> {
        match kind {
            // What is in it was read by names of its own.
            Kind::Dir => Ok(Node::Directory),
            Kind::Link => {
                let target = self.lower().read_link(path)?.into_string().map_err(|_| Errno::PERM)?;
                layer.reads.demand_same(path, Some(&self.lower().stat(path)?))?;
                Ok(Node::Link { target })
            }
            Kind::File => {
                let (file, _) = self.open_lower(path)?;
                self.read_lower(layer, path, &file, &mut io::sink())
            }
            Kind::BlockDevice | Kind::CharDevice | Kind::Other => Err(Errno::PERM.into()),
        }
    }

    /// Copy the file at `path` below into the layer, and open it there. Where the caller empties it next, only its length is copied:
    /// nothing may fail in between, so it is in the layer once it is open.
    fn copy_file(&self, layer: &mut Layer, path: &str, opening: Opening) -> io::Result<File> {
        self.demand_entry(layer, path)?;
        let (lower, metadata) = self.open_lower(path)?;
        let bytes = metadata.len();
        layer.may_copy(bytes, self.0.limits.bytes_max)?;
        let (number, mut file) = self.make_content(layer)?;
        let copied = match opening.content {
            Content::Kept => self.read_lower(layer, path, &lower, &mut file),
            Content::Unneeded => self.read_lower(layer, path, &lower, &mut io::sink()).and_then(|node| {
                file.set_len(bytes)?;
                Ok(node)
            }),
        };
        let copied = copied.and_then(|node| {
            let times = Times { accessed: metadata.accessed().ok(), modified: metadata.modified().ok() };
            rustix::fs::futimens(&file, &super::plain::timestamps(times))?;
            Ok((node, self.open_content(number, opening)?))
        });
        let (node, opened) = copied.inspect_err(|_| self.drop_content(number))?;
        let executable = matches!(node, Node::File { executable: true, .. });
        layer.copied(bytes);
        layer.put(path, Some(node), Now::File { number, executable });
        Ok(opened)
    }

    /// Bring what is at `path` below into the layer, whatever it is, except for a directory with all that is in it.
    fn copy_up(&self, layer: &mut Layer, path: &str, stat: &Stat) -> io::Result<()> {
        match stat.kind {
            Kind::File => self.copy_file(layer, path, Opening::READ).map(drop),
            kind => {
                self.demand_entry(layer, path)?;
                let base = self.base(layer, path, kind)?;
                let times = Times { accessed: stat.accessed, modified: stat.modified };
                let now = match &base {
                    Node::Link { target } => Now::Link { target: target.as_str().into(), times, id: layer.number() },
                    _ => Now::Dir { opaque: false, times, id: layer.number() },
                };
                layer.put(path, Some(base), now);
                Ok(())
            }
        }
    }

    /// The entries of the directory at `path`, which `found` is.
    fn entries(&self, layer: &Layer, path: &str, found: &Found) -> io::Result<Vec<Entry>> {
        let shows_lower = match found {
            Found::Lower(_) => true,
            Found::Layer(Now::Dir { opaque, .. }) => !opaque && layer.shows_lower(path),
            Found::Layer(_) => return Err(Errno::NOTDIR.into()),
        };
        let mut entries = match if shows_lower { self.lower().list(path) } else { Ok(Vec::new()) } {
            // Somebody removed it below the layer, which knows it as a directory.
            Err(error) if matches!(found, Found::Layer(_)) && error.kind() == io::ErrorKind::NotFound => Vec::new(),
            listed => listed?,
        };
        let stem = if path == "." { String::new() } else { format!("{path}/") };
        if layer.knows_below(&stem) {
            entries.retain(|entry| match entry.name.to_str() {
                Some(name) => !layer.knows(&format!("{stem}{name}")),
                None => true,
            });
            entries.extend(layer.children(&stem).map(|(name, kind)| Entry { name: OsString::from(name), kind }));
        }
        Ok(entries)
    }

    /// Before what is at `path` goes or is replaced: note what was there below, if the layer does not know yet.
    fn note_base(&self, layer: &mut Layer, path: &str, found: &Found) -> io::Result<()> {
        if let Found::Lower(stat) = found {
            self.demand_entry(layer, path)?;
            let base = self.base(layer, path, stat.kind)?;
            layer.put(path, Some(base), Now::Absent);
        }
        Ok(())
    }

    /// Open what is at `path` below for reading, and note in which version the agent reads it.
    fn open_to_read(&self, layer: &mut Layer, path: &str, opening: Opening, kind: Kind) -> io::Result<File> {
        let file = self.lower().open(path, opening)?;
        // What is no file is not read: the caller refuses it, or lists it.
        if kind == Kind::File && layer.reads.wants(path) {
            let stat = stat_file(&file)?;
            if stat.kind == Kind::File {
                layer.reads.note(path, Some(&stat));
            }
        }
        Ok(file)
    }

    fn discard(&self, removed: Option<Now>) {
        if let Some(Now::File { number, .. }) = removed {
            self.drop_content(number);
        }
    }
}

fn is_missing(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::NOENT.raw_os_error())
}

fn content_name(number: u64) -> String {
    format!("c{number}")
}

impl Backing for Overlay {
    fn stat(&self, path: &str) -> io::Result<Stat> {
        let layer = self.layer();
        if path == "." {
            return Ok(layer.root_stat(self.lower().stat(path)?));
        }
        match self.find(&layer, path)? {
            Found::Lower(stat) => Ok(stat),
            Found::Layer(Now::File { number, .. }) => stat_file(&self.open_content(number, Opening::READ)?),
            Found::Layer(now) => Ok(layer.stat(&now)),
        }
    }

    fn open(&self, path: &str, opening: Opening) -> io::Result<File> {
        let mut layer = self.layer();
        if opening.make == Make::New {
            self.demand_room(&mut layer, path)?;
            let (number, file) = self.make_content(&mut layer)?;
            layer.put(path, None, Now::File { number, executable: false });
            return Ok(file);
        }
        if path == "." {
            return self.lower().open(path, opening);
        }
        let found = self.find(&layer, path).inspect_err(|error| {
            if !opening.write && is_missing(error) {
                layer.reads.note(path, None);
            }
        })?;
        match found {
            Found::Layer(Now::File { number, .. }) => self.open_content(number, opening),
            Found::Layer(Now::Link { .. }) => Err(Errno::LOOP.into()),
            Found::Layer(Now::Dir { .. }) if opening.write => Err(Errno::ISDIR.into()),
            Found::Layer(_) => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                Ok(File::from(rustix::fs::openat(&self.0.store, EMPTY, flags, Mode::empty())?))
            }
            Found::Lower(stat) if !opening.write => self.open_to_read(&mut layer, path, opening, stat.kind),
            Found::Lower(stat) => match stat.kind {
                Kind::File => self.copy_file(&mut layer, path, opening),
                Kind::Dir => Err(Errno::ISDIR.into()),
                Kind::Link => Err(Errno::LOOP.into()),
                Kind::BlockDevice | Kind::CharDevice | Kind::Other => Err(Errno::PERM.into()),
            },
        }
    }

    fn list(&self, path: &str) -> io::Result<Vec<Entry>> {
        let layer = self.layer();
        let found = if path == "." { Found::Lower(self.lower().stat(path)?) } else { self.find(&layer, path)? };
        match found.kind() {
            Kind::Dir => self.entries(&layer, path, &found),
            Kind::Link => Err(Errno::LOOP.into()),
            _ => Err(Errno::NOTDIR.into()),
        }
    }

    fn make_dir(&self, path: &str) -> io::Result<()> {
        let mut layer = self.layer();
        self.demand_room(&mut layer, path)?;
        let now = Now::Dir { opaque: true, times: layer::now(), id: layer.number() };
        layer.put(path, None, now);
        Ok(())
    }

    fn remove_file(&self, path: &str) -> io::Result<()> {
        let mut layer = self.layer();
        let found = self.find(&layer, path)?;
        if found.kind() == Kind::Dir {
            return Err(Errno::ISDIR.into());
        }
        self.note_base(&mut layer, path, &found)?;
        self.discard(layer.remove(path));
        Ok(())
    }

    fn remove_dir(&self, path: &str) -> io::Result<()> {
        let mut layer = self.layer();
        if path == "." {
            return Err(Errno::BUSY.into());
        }
        let found = self.find(&layer, path)?;
        if found.kind() != Kind::Dir {
            return Err(Errno::NOTDIR.into());
        }
        if !self.entries(&layer, path, &found)?.is_empty() {
            return Err(Errno::NOTEMPTY.into());
        }
        self.note_base(&mut layer, path, &found)?;
        layer.remove(path);
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut layer = self.layer();
        if from == "." || to == "." {
            return Err(Errno::BUSY.into());
        }
        self.demand_dir_above(&layer, from)?;
        self.demand_dir_above(&layer, to)?;
        let source = self.find(&layer, from)?;
        self.demand_entry(&layer, to)?;
        if is_below(to, from) {
            return Err(Errno::INVAL.into());
        }
        if is_below(from, to) {
            return Err(Errno::NOTEMPTY.into());
        }
        if from == to {
            return Ok(());
        }
        let target = match self.find(&layer, to) {
            Ok(found) => Some(found),
            Err(error) if is_missing(&error) => {
                self.demand_still_missing(&mut layer, to)?;
                None
            }
            Err(error) => return Err(error),
        };
        let is_dir = source.kind() == Kind::Dir;
        if let Some(target) = &target {
            match (is_dir, target.kind() == Kind::Dir) {
                (true, false) => return Err(Errno::NOTDIR.into()),
                (false, true) => return Err(Errno::ISDIR.into()),
                (true, true) if !self.entries(&layer, to, target)?.is_empty() => return Err(Errno::NOTEMPTY.into()),
                _ => {}
            }
        }
        match &source {
            Found::Lower(stat) if is_dir => {
                debug_assert_eq!(stat.kind, Kind::Dir);
                return Err(Errno::XDEV.into());
            }
            Found::Layer(Now::Dir { opaque: false, .. }) => return Err(Errno::XDEV.into()),
            Found::Lower(stat) => {
                if stat.kind == Kind::Link
                    && let Node::Link { target } = self.base(&mut layer, from, stat.kind)?
                    && !stays_inside(to, &target)
                {
                    return Err(Errno::PERM.into());
                }
                self.copy_up(&mut layer, from, stat)?;
            }
            Found::Layer(_) => {}
        }
        layer.may_move(from, to, self.0.limits.names_bytes_max)?;
        if let Some(target) = &target {
            self.note_base(&mut layer, to, target)?;
        }
        let replaced = layer.rename(from, to);
        self.discard(replaced);
        Ok(())
    }

    fn make_link(&self, target: &str, path: &str) -> io::Result<()> {
        let mut layer = self.layer();
        self.demand_room(&mut layer, path)?;
        if !stays_inside(path, target) {
            return Err(Errno::PERM.into());
        }
        let now = Now::Link { target: target.into(), times: layer::now(), id: layer.number() };
        layer.put(path, None, now);
        Ok(())
    }

    fn read_link(&self, path: &str) -> io::Result<OsString> {
        let mut layer = self.layer();
        if path == "." {
            return Err(Errno::INVAL.into());
        }
        match self.find(&layer, path)? {
            Found::Layer(Now::Link { target, .. }) => Ok(OsString::from(&*target)),
            Found::Layer(_) => Err(Errno::INVAL.into()),
            Found::Lower(stat) => {
                let target = self.lower().read_link(path)?;
                // Looked at before it was read: should it have been replaced in between, that shows later.
                layer.reads.note(path, Some(&stat));
                Ok(target)
            }
        }
    }

    fn set_times(&self, path: &str, times: Times) -> io::Result<()> {
        let mut layer = self.layer();
        if path == "." {
            layer.set_root_times(times);
            return Ok(());
        }
        if let Found::Lower(stat) = self.find(&layer, path)? {
            self.copy_up(&mut layer, path, &stat)?;
        }
        match layer.at_mut(path) {
            Some(Now::File { number, .. }) => {
                let name = content_name(*number);
                let times = super::plain::timestamps(times);
                Ok(rustix::fs::utimensat(self.0.store.as_fd(), name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
            }
            Some(Now::Link { times: own, .. } | Now::Dir { times: own, .. }) => {
                *own = layer::with(*own, times);
                Ok(())
            }
            Some(Now::Absent) | None => Err(Errno::NOENT.into()),
        }
    }
}
