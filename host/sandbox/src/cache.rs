//! Compiled code on disk, so that a component is compiled once per machine and not once per process. A file here is trusted
//! only after its digest was checked; whatever is wrong with one, the answer is to compile again. Beside it, in the same form, what
//! is known of contents. Nothing is mapped or run from this file: that is `precompiled`.

use crate::precompiled::{Intact, IntactFile};
use cap_std::ambient_authority;
use cap_std::fs::{Dir, DirBuilder, DirBuilderExt, MetadataExt, OpenOptions, OpenOptionsExt, PermissionsExt};
use rustix::fs::{MemfdFlags, OFlags, SealFlags, fcntl_add_seals, memfd_create};
use std::collections::hash_map::DefaultHasher;
use std::fs::File;
use std::hash::{Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use vespiary_kernel::ids::Digest;
use wasmtime::Engine;

/// First bytes of every file: what it is, and the layout that follows (32 bytes of BLAKE3, then the code).
const MAGIC: &[u8; 16] = b"vespiary cwasm 2";

const HEADER: usize = MAGIC.len() + 32;

/// The longest file that is read, bytes. Code is a few times the length of its component, which is limited itself; a longer
/// file is nothing that this program wrote, and reading it would cost the host its memory.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// How much of a file is copied at once, bytes: what stays near the processor.
const COPY_BYTES: usize = 256 << 10;

/// Files of other Wasmtimes have other names, so that two installed versions do not overwrite each other's.
const WASMTIME: &str = "48.0.8";

/// Why the cache is not used. Everything still works, each process compiles for itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("compiled code is not cached: {path}: {why}; {remedy}")]
pub struct CacheRefused {
    path: String,
    why: String,
    remedy: String,
}

/// An open cache directory that belongs to this user alone.
#[derive(Debug)]
pub(crate) struct Cache {
    dir: Dir,
    engine: u64,
}

impl Cache {
    /// Open the directory, creating it where it is missing. Refuses one that somebody else owns or can enter.
    pub(crate) fn open(path: &Path, engine: &Engine) -> Result<Self, CacheRefused> {
        let refuse = |why: String, remedy: &str| CacheRefused {
            path: path.display().to_string(),
            why,
            remedy: remedy.to_owned(),
        };
        let io = |error: io::Error| refuse(error.to_string(), "name a directory this user can create");
        let dir = open_or_create(path).map_err(io)?;
        // Asked of the open directory, not of its path: what was checked is what is used.
        let metadata = dir.dir_metadata().map_err(io)?;
        let (owner, me) = (metadata.uid(), rustix::process::geteuid().as_raw());
        if owner != me {
            return Err(refuse(format!("it belongs to user {owner}, not to {me}"), "name a directory of your own"));
        }
        let mode = metadata.permissions().mode() & 0o777;
        if mode != 0o700 {
            let why = format!("its mode is {mode:03o}, so others may enter or its owner may not");
            return Err(refuse(why, "run chmod 700 on it after making sure of its contents, or remove it"));
        }
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Ok(Self { dir, engine: hasher.finish() })
    }

    /// The file's contents when it exists and is whole. Everything else counts as absent.
    pub(crate) fn read(&self, component: &Digest) -> Option<Entry> {
        self.entry(&self.name(component))
    }

    /// The same in a file of its own that is in no directory and that nobody can change any more: mapped, it costs one copy and those
    /// pages that are used. None where this system has no such files.
    pub(crate) fn read_sealed(&self, component: &Digest) -> Option<Sealed> {
        self.sealed(&self.name(component)).ok().flatten().map(Sealed)
    }

    fn sealed(&self, name: &str) -> io::Result<Option<OwnedFd>> {
        let Some((file, _)) = self.own(name)? else { return Ok(None) };
        let mut source = file.take(FILE_BYTES_MAX);
        let mut header = [0; HEADER];
        source.read_exact(&mut header)?;
        let (magic, digest) = header.split_at(MAGIC.len());
        if magic != MAGIC {
            return Ok(None);
        }
        let memory = memfd_create("vespiary-code", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        let (mut copy, mut hasher) = (File::from(memory), sealer(name));
        let mut buffer = vec![0; COPY_BYTES];
        loop {
            match source.read(&mut buffer)? {
                0 => break,
                n => {
                    hasher.update(&buffer[..n]);
                    copy.write_all(&buffer[..n])?;
                }
            }
        }
        let seals = SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        fcntl_add_seals(&copy, seals)?;
        Ok((digest == hasher.finalize().as_bytes()).then(|| copy.into()))
    }

    /// The same of a file that is no compiled code: what this program notes for itself.
    pub(crate) fn read_named(&self, name: &str) -> Option<Vec<u8>> {
        let mut bytes = self.entry(name)?.0;
        bytes.drain(..HEADER);
        Some(bytes)
    }

    fn entry(&self, name: &str) -> Option<Entry> {
        let bytes = self.whole(name).ok().flatten()?;
        let (header, content) = bytes.split_at_checked(HEADER)?;
        let (magic, digest) = header.split_at(MAGIC.len());
        (magic == MAGIC && digest == seal(name, content)).then_some(Entry(bytes))
    }

    /// The file and its length, or none where it is no file of this user's, of a length that code can have. Opened without waiting: a pipe
    /// in its place, with nobody at the other end, would hold this thread for ever.
    fn own(&self, name: &str) -> io::Result<Option<(cap_std::fs::File, u64)>> {
        let at_once = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
        let file = self.dir.open_with(name, OpenOptions::new().read(true).custom_flags(at_once))?;
        let metadata = file.metadata()?;
        let own = metadata.uid() == rustix::process::geteuid().as_raw();
        let fits = metadata.is_file() && own && metadata.len() <= FILE_BYTES_MAX;
        Ok(fits.then(|| (file, metadata.len())))
    }

    /// All of it.
    fn whole(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let Some((file, length)) = self.own(name)? else { return Ok(None) };
        let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
        // It may be growing.
        file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    /// Keep compiled code. Readers see the old file or the new one, never half of one.
    pub(crate) fn write(&self, component: &Digest, code: &[u8]) -> io::Result<()> {
        self.write_named(&self.name(component), code)
    }

    /// The same of what is no compiled code.
    pub(crate) fn write_named(&self, name: &str, content: &[u8]) -> io::Result<()> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let draft = format!(".draft-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let written = self.draft(&draft, name, content).and_then(|()| self.dir.rename(&draft, &self.dir, name));
        if written.is_err() {
            // The draft may not exist, and a left-over one harms nobody.
            let _ = self.dir.remove_file(&draft);
        }
        written
    }

    fn draft(&self, draft: &str, name: &str, content: &[u8]) -> io::Result<()> {
        let mut file = self.dir.open_with(draft, OpenOptions::new().write(true).create_new(true).mode(0o600))?;
        file.write_all(MAGIC)?;
        file.write_all(&seal(name, content))?;
        file.write_all(content)
    }

    fn name(&self, component: &Digest) -> String {
        format!("{component}-{:016x}-{WASMTIME}.cwasm", self.engine)
    }
}

/// A whole file.
pub(crate) struct Entry(Vec<u8>);

impl Entry {
    /// The compiled code, with the cache's word that nobody changed it.
    pub(crate) fn code(&self) -> Intact<'_> {
        Intact::vouched_by_cache(&self.0[HEADER..])
    }
}

/// A whole file that nobody can change.
pub(crate) struct Sealed(OwnedFd);

impl Sealed {
    /// The compiled code, with the cache's word that it is what the file's digest says.
    pub(crate) fn code(&self) -> IntactFile<'_> {
        IntactFile::vouched_by_cache(&self.0)
    }
}

fn seal(name: &str, content: &[u8]) -> [u8; 32] {
    *sealer(name).update(content).finalize().as_bytes()
}

/// The name is part of what is sealed: a whole file under another component's name is not that component. BLAKE3, since each process
/// that loads code waits for this.
fn sealer(name: &str) -> blake3::Hasher {
    let mut hasher = blake3::Hasher::new();
    hasher.update(name.as_bytes()).update(&[0]);
    hasher
}

fn open_or_create(path: &Path) -> io::Result<Dir> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path names no directory of its own"));
    };
    let parent = if parent.as_os_str().is_empty() { PathBuf::from(".") } else { parent.to_owned() };
    Dir::create_ambient_dir_all(&parent, ambient_authority())?;
    let parent = Dir::open_ambient_dir(&parent, ambient_authority())?;
    match parent.create_dir_with(name, DirBuilder::new().mode(0o700)) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    // A link in the directory's place could point anywhere, also at a directory somebody else is about to fill.
    if parent.symlink_metadata(name)?.is_symlink() {
        return Err(io::Error::other("it is a symbolic link"));
    }
    parent.open_dir(name)
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests set the disk up")]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    fn only_file(dir: &Path) -> PathBuf {
        std::fs::read_dir(dir).unwrap().next().unwrap().unwrap().path()
    }

    #[test]
    fn a_directory_others_can_enter_is_refused_with_the_remedy() {
        let engine = Engine::default();
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("code");
        Cache::open(&path, &engine).expect("a missing directory is created");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        for bad in [0o755, 0o710, 0o707, 0o777] {
            mode(&path, bad);
            let refused = Cache::open(&path, &engine).unwrap_err().to_string();
            assert!(refused.contains(&format!("{bad:03o}")) && refused.contains("chmod 700"), "{refused}");
        }
        mode(&path, 0o700);
        Cache::open(&path, &engine).unwrap();
        std::os::unix::fs::symlink(&path, temp.path().join("link")).unwrap();
        assert!(Cache::open(&temp.path().join("link"), &engine).unwrap_err().to_string().contains("symbolic link"));
    }

    #[test]
    fn a_changed_byte_a_cut_and_a_renamed_file_are_noticed() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("code");
        let cache = Cache::open(&path, &Engine::default()).unwrap();
        let (one, other) = (Digest::of(b"one"), Digest::of(b"other"));
        assert!(cache.read(&one).is_none());
        cache.write(&one, b"machine code").unwrap();
        assert!(cache.read(&one).is_some());
        let file = only_file(&path);
        let whole = std::fs::read(&file).unwrap();
        let is_there = |component| cache.read(component).is_some() || cache.read_sealed(component).is_some();
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            std::fs::write(&file, &changed).unwrap();
            assert!(!is_there(&one), "a change at byte {at} went unnoticed");
            std::fs::write(&file, &whole[..at]).unwrap();
            assert!(!is_there(&one), "a cut at byte {at} went unnoticed");
        }
        std::fs::write(&file, &whole).unwrap();
        std::fs::rename(&file, path.join(cache.name(&other))).unwrap();
        assert!(!is_there(&other), "another component's code was taken for this one's");
    }

    #[test]
    fn what_was_found_whole_stays_so() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("code");
        let cache = Cache::open(&path, &Engine::default()).unwrap();
        let one = Digest::of(b"one");
        cache.write(&one, b"machine code").unwrap();
        let Sealed(sealed) = cache.read_sealed(&one).unwrap();
        // The file itself is cut and written over; the copy is not, not even by whoever reaches it.
        std::fs::write(only_file(&path), b"").unwrap();
        let by_name = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&sealed));
        let file = std::fs::File::options().read(true).write(true).open(&by_name).unwrap();
        assert!(std::os::unix::fs::FileExt::write_at(&file, b"x", 0).is_err());
        assert!(file.set_len(1).is_err() && file.set_len(100).is_err());
        assert_eq!(std::fs::read(&by_name).unwrap(), b"machine code");
    }
}
