//! Contents that are known without being read: a file that is the same one, as long, and as old as when it was read last, holds what
//! it held then. Kept from run to run in the cache directory. Digests only, and never of a file that may change without showing it.

use crate::cache::Cache;
use crate::fs::backing::{Kind, Stat};
use crate::fs::plain::stat_file;
use std::collections::HashMap;
use std::fs::File;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use vespiary_kernel::observed::ContentDigest;

/// Its name in the cache directory.
const FILE: &str = "contents.known";

/// Contents remembered while a process lives, and from one to the next.
const KNOWN_MAX: usize = 200_000;
const KEPT_MAX: usize = 100_000;

/// Bytes of one entry in the file.
const ENTRY_BYTES: usize = 72;

/// File systems of this machine that note each change in the time of the last change, which nobody can set. Not among them: those
/// in memory, where writing through a mapping leaves no trace, and those of other machines, whose clocks and caches are their own.
const TRUSTED: [i64; 7] = [
    0xef53,      // ext2 to ext4
    0x5846_5342, // xfs
    0x9123_683e, // btrfs
    0xf2f5_2010, // f2fs
    0x2fc1_2fc1, // zfs
    0xca45_1a4e, // bcachefs
    0x794c_7630, // overlayfs, above one of the others
];

/// How long ago a file must have changed last for its times to tell of the next change.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settling {
    /// While a process lives: longer than the clock of any file system ticks.
    pub(crate) within: Duration,
    /// From one process to the next: longer than a page that is written through a mapping stays dirty. Until it is written out, only
    /// the first of the writes to it shows.
    pub(crate) beyond: Duration,
}

impl Default for Settling {
    fn default() -> Self {
        Self { within: Duration::from_secs(2), beyond: Duration::from_secs(60) }
    }
}

/// What is known.
#[derive(Debug, Default)]
pub(crate) struct Known {
    place: Option<Arc<Cache>>,
    settling: Settling,
    kept: OnceLock<HashMap<Version, ContentDigest>>,
    met: Mutex<Met>,
}

/// What this process met.
#[derive(Debug, Default)]
struct Met {
    contents: HashMap<Version, Content>,
    trusted: HashMap<u64, bool>,
    news: bool,
}

#[derive(Debug, Clone, Copy)]
struct Content {
    digest: ContentDigest,
    lasts: bool,
}

/// A file at one moment: whoever writes to it changes one of these. Times in nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Version {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: i64,
    changed: i64,
}

/// A file as it was before it was read, and when that was.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Glimpse {
    version: Option<Version>,
    at: i64,
}

impl Glimpse {
    /// What `stat` tells now.
    pub(crate) fn of(stat: &Stat) -> Self {
        Self { version: Version::of(stat), at: since_1970(SystemTime::now()).unwrap_or(i64::MIN) }
    }
}

impl Version {
    fn of(stat: &Stat) -> Option<Self> {
        let (device, inode) = stat.identity;
        let time = |time: Option<SystemTime>| since_1970(time?);
        (stat.kind == Kind::File).then_some(())?;
        let (modified, changed) = (time(stat.modified)?, time(stat.changed)?);
        Some(Self { device, inode, bytes: stat.bytes, modified, changed })
    }
}

impl Known {
    /// What is kept in `place`; nothing is kept where there is none.
    pub(crate) fn new(place: Option<Arc<Cache>>, settling: Settling) -> Self {
        Self { place, settling, ..Self::default() }
    }

    /// What the file that `stat` tells of holds, if that is known.
    pub(crate) fn content(&self, stat: &Stat) -> Option<ContentDigest> {
        let version = Version::of(stat)?;
        if let Some(met) = self.met().contents.get(&version) {
            return Some(met.digest);
        }
        let digest = *self.kept().get(&version)?;
        let mut met = self.met();
        if met.contents.len() < KNOWN_MAX {
            met.contents.insert(version, Content { digest, lasts: true });
        }
        Some(digest)
    }

    /// What `file` is known to hold, all of which was read after it was seen as `before`, so that it need not be hashed once more. What another
    /// process kept counts only where an answer was taken over because of it: a run that takes over nothing goes by what it reads itself.
    pub(crate) fn still(&self, file: &File, before: &Glimpse) -> Option<ContentDigest> {
        let version = before.version?;
        let digest = self.met().contents.get(&version)?.digest;
        let now = Version::of(&stat_file(file).ok()?)?;
        (now == version).then_some(digest)
    }

    /// All of `file` was read after it was seen as `before`, and `digest` is of what came.
    pub(crate) fn learn(&self, file: &File, before: &Glimpse, digest: ContentDigest) {
        let Some(version) = before.version else { return };
        let settled = |time: Duration| {
            let time = i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
            version.changed.checked_add(time).is_some_and(|then| then < before.at)
        };
        // Changed while it was read, or so little before that the change may go on unseen.
        let same = || stat_file(file).ok().and_then(|now| Version::of(&now)) == Some(version);
        if !settled(self.settling.within) || !same() {
            return;
        }
        let mut met = self.met();
        if met.contents.len() >= KNOWN_MAX {
            return;
        }
        let trusted = *met.trusted.entry(version.device).or_insert_with(|| is_trusted(file));
        let lasts = trusted && settled(self.settling.beyond);
        met.news |= lasts && self.kept.get().is_none_or(|kept| !kept.contains_key(&version));
        met.contents.insert(version, Content { digest, lasts });
    }

    /// Keep what was learnt, for the next process. What was not met for the longest goes first where it is too much.
    pub(crate) fn keep(&self) {
        let Some(place) = &self.place else { return };
        let mut bytes = Vec::new();
        {
            let mut met = self.met();
            if !std::mem::take(&mut met.news) {
                return;
            }
            let before = place.read_named(FILE).unwrap_or_default();
            let lasting = met.contents.iter().filter(|(_, met)| met.lasts).map(|(version, met)| (*version, met.digest));
            let older = entries(&before).filter(|(version, _)| !met.contents.contains_key(version));
            for (version, digest) in lasting.chain(older).take(KEPT_MAX) {
                put(&mut bytes, &version, &digest);
            }
        }
        // Lost, it costs the next run the reading.
        let _ = place.write_named(FILE, &bytes);
    }

    fn kept(&self) -> &HashMap<Version, ContentDigest> {
        self.kept.get_or_init(|| {
            let bytes = self.place.as_ref().and_then(|place| place.read_named(FILE)).unwrap_or_default();
            let mut kept = HashMap::with_capacity((bytes.len() / ENTRY_BYTES).min(KEPT_MAX));
            kept.extend(entries(&bytes).take(KEPT_MAX));
            kept
        })
    }

    // Every state in between is sound.
    fn met(&self) -> MutexGuard<'_, Met> {
        self.met.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_trusted(file: &File) -> bool {
    #[allow(clippy::unnecessary_cast, reason = "its width differs from machine to machine")]
    rustix::fs::fstatfs(file).is_ok_and(|system| TRUSTED.contains(&(system.f_type as i64)))
}

fn since_1970(time: SystemTime) -> Option<i64> {
    i64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_nanos()).ok()
}

fn put(bytes: &mut Vec<u8>, version: &Version, digest: &ContentDigest) {
    let Version { device, inode, bytes: length, modified, changed } = version;
    for number in [device, inode, length] {
        bytes.extend(number.to_le_bytes());
    }
    for time in [modified, changed] {
        bytes.extend(time.to_le_bytes());
    }
    bytes.extend(digest.0);
}

fn entries(bytes: &[u8]) -> impl Iterator<Item = (Version, ContentDigest)> {
    bytes.chunks_exact(ENTRY_BYTES).filter_map(|entry| {
        let (numbers, digest) = entry.split_at(ENTRY_BYTES - 32);
        let (numbers, _) = numbers.as_chunks::<8>();
        let [device, inode, bytes, modified, changed] = *numbers else { return None };
        let version = Version {
            device: u64::from_le_bytes(device),
            inode: u64::from_le_bytes(inode),
            bytes: u64::from_le_bytes(bytes),
            modified: i64::from_le_bytes(modified),
            changed: i64::from_le_bytes(changed),
        };
        Some((version, ContentDigest(digest.try_into().ok()?)))
    })
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests make their own files")]
mod tests {
    use super::*;
    use rustix::fs::{AtFlags, CWD};
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::{Path, PathBuf};
    use std::thread::sleep;
    use tempfile::TempDir;

    const TICK: Duration = Duration::from_millis(40);
    /// What a test can wait for.
    const SOON: Settling = Settling { within: TICK, beyond: TICK };

    fn digest(content: &[u8]) -> ContentDigest {
        ContentDigest(*blake3::hash(content).as_bytes())
    }

    /// A place on a file system that is trusted: that of this package, whatever the temporary directory lies on.
    fn dir() -> Option<TempDir> {
        let dir = tempfile::tempdir_in(std::env::current_exe().unwrap().parent().unwrap()).unwrap();
        is_trusted(&File::open(dir.path()).unwrap()).then_some(dir)
    }

    fn known(dir: &TempDir, settling: Settling) -> Known {
        let cache = Cache::open(&dir.path().join("cache"), &wasmtime::Engine::default()).unwrap();
        Known::new(Some(Arc::new(cache)), settling)
    }

    /// Read a file as a cell does.
    fn read(known: &Known, path: &Path) -> ContentDigest {
        let file = File::open(path).unwrap();
        let before = Glimpse::of(&stat_file(&file).unwrap());
        let digest = digest(&fs::read(path).unwrap());
        known.learn(&file, &before, digest);
        digest
    }

    fn stat(path: &Path) -> Stat {
        stat_file(&File::open(path).unwrap()).unwrap()
    }

    /// A file that has been read, in a process that is over.
    fn read_before(dir: &TempDir) -> (PathBuf, ContentDigest) {
        let path = dir.path().join("file");
        fs::write(&path, "one").unwrap();
        sleep(2 * TICK);
        let known = known(dir, SOON);
        let digest = read(&known, &path);
        known.keep();
        (path, digest)
    }

    #[test]
    fn what_did_not_change_is_known_to_the_next_process() {
        let Some(dir) = dir() else { return };
        let (path, digest) = read_before(&dir);
        let next = known(&dir, SOON);
        assert_eq!(next.content(&stat(&path)), Some(digest));
        // What that one learns is added.
        let other = dir.path().join("other");
        fs::write(&other, "two").unwrap();
        sleep(2 * TICK);
        let two = read(&next, &other);
        next.keep();
        let third = known(&dir, SOON);
        assert_eq!((third.content(&stat(&path)), third.content(&stat(&other))), (Some(digest), Some(two)));
    }

    #[test]
    fn what_is_read_again_is_known_unless_it_changed_on_the_way() {
        let Some(dir) = dir() else { return };
        let (path, digest) = read_before(&dir);
        let next = known(&dir, SOON);
        let (file, before) = (File::open(&path).unwrap(), Glimpse::of(&stat(&path)));
        assert_eq!(next.still(&file, &before), None, "it was another process that read it");
        read(&next, &path);
        assert_eq!(next.still(&file, &before), Some(digest));
        fs::write(&path, "two").unwrap();
        assert_eq!(next.still(&file, &before), None, "it changed after it was seen");
        assert_eq!(next.still(&file, &Glimpse::of(&stat(&path))), None, "nobody has read it as it is");
    }

    #[test]
    fn a_change_shows_whatever_its_author_does_to_hide_it() {
        type Change = fn(&Path);
        let changes: [(&str, Change); 6] = [
            ("another length", |path| fs::write(path, "longer").unwrap()),
            ("the same length", |path| fs::write(path, "two").unwrap()),
            ("the same length and time", |path| {
                let modified = fs::metadata(path).unwrap().modified().unwrap();
                fs::write(path, "two").unwrap();
                File::options().write(true).open(path).unwrap().set_modified(modified).unwrap();
            }),
            ("another file of the same length and time in its place", |path| {
                let modified = fs::metadata(path).unwrap().modified().unwrap();
                let other = path.with_extension("new");
                fs::write(&other, "two").unwrap();
                File::options().write(true).open(&other).unwrap().set_modified(modified).unwrap();
                fs::rename(&other, path).unwrap();
            }),
            ("another file behind a link", |path| {
                let other = path.with_extension("new");
                fs::write(&other, "two").unwrap();
                fs::remove_file(path).unwrap();
                symlink(&other, path).unwrap();
            }),
            ("a second name, through which it is written", |path| {
                let other = path.with_extension("new");
                fs::hard_link(path, &other).unwrap();
                fs::write(&other, "two").unwrap();
            }),
        ];
        for (what, change) in changes {
            let Some(dir) = dir() else { return };
            let (path, digest) = read_before(&dir);
            assert_eq!(known(&dir, SOON).content(&stat(&path)), Some(digest), "{what}: before");
            change(&path);
            assert_eq!(known(&dir, SOON).content(&stat(&path)), None, "{what}");
            // A link is no file, whatever it leads to.
            let link = rustix::fs::statat(CWD, &path, AtFlags::SYMLINK_NOFOLLOW).unwrap();
            if rustix::fs::FileType::from_raw_mode(link.st_mode) == rustix::fs::FileType::Symlink {
                let link = Stat { kind: Kind::Link, ..stat(&path) };
                assert_eq!(known(&dir, SOON).content(&link), None);
            }
        }
    }

    #[test]
    fn a_file_that_has_just_changed_is_not_remembered() {
        let Some(dir) = dir() else { return };
        let path = dir.path().join("file");
        fs::write(&path, "one").unwrap();
        let usual = known(&dir, Settling::default());
        read(&usual, &path);
        assert_eq!(usual.content(&stat(&path)), None, "it may change again in the same tick");
        // Settled for this process, and not yet for the next.
        sleep(2 * TICK);
        let within = Settling { within: TICK, ..Settling::default() };
        let this = known(&dir, within);
        let digest = read(&this, &path);
        assert_eq!(this.content(&stat(&path)), Some(digest));
        this.keep();
        assert_eq!(known(&dir, within).content(&stat(&path)), None);
    }

    #[test]
    fn a_file_that_changes_while_it_is_read_is_not_remembered() {
        let Some(dir) = dir() else { return };
        let path = dir.path().join("file");
        fs::write(&path, "one").unwrap();
        sleep(2 * TICK);
        let known = known(&dir, SOON);
        let file = File::open(&path).unwrap();
        let before = Glimpse::of(&stat_file(&file).unwrap());
        fs::write(&path, "two").unwrap();
        known.learn(&file, &before, digest(b"one"));
        sleep(2 * TICK);
        assert_eq!(known.content(&stat(&path)), None);
    }

    #[test]
    fn what_is_damaged_or_somebody_elses_is_not_believed() {
        let Some(dir) = dir() else { return };
        let (path, digest) = read_before(&dir);
        let file = dir.path().join("cache").join(FILE);
        let whole = fs::read(&file).unwrap();
        for at in [0, 20, whole.len() / 2, whole.len() - 1] {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            fs::write(&file, &changed).unwrap();
            assert_eq!(known(&dir, SOON).content(&stat(&path)), None, "byte {at} was changed");
            fs::write(&file, &whole[..at]).unwrap();
            assert_eq!(known(&dir, SOON).content(&stat(&path)), None, "cut at byte {at}");
        }
        fs::write(&file, &whole).unwrap();
        assert_eq!(known(&dir, SOON).content(&stat(&path)), Some(digest));
        // Only root can give a file away.
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&file, Some(12_345), None).unwrap();
            assert_eq!(known(&dir, SOON).content(&stat(&path)), None, "it belongs to another user");
        }
    }
}
