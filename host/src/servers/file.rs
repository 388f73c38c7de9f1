//! The files of a project that are about MCP servers: read whole or not at all, and the lock written whole or not at all.
#![allow(clippy::disallowed_methods, reason = "this file is meant to touch the file system: it keeps the pins")]

use crate::disk;
use crate::exit::Trouble;
use crate::paths::Home;
use crate::policy::fault::Fault;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use tempfile::NamedTempFile;
use vespiary_mcp::lock::Lock;

/// The file that a project shares with other clients.
pub const SHARED: &str = ".mcp.json";
/// The project's own.
pub const OWN: &str = "vespiary.toml";
/// What is trusted.
pub const LOCK: &str = "vespiary.lock";

/// The longest configuration, and the longest lock, bytes.
const CONFIG_BYTES_MAX: u64 = 1 << 20;
const LOCK_BYTES_MAX: u64 = 64 << 20;

/// The text of a file, if it is there.
pub(super) fn text(path: &Path) -> io::Result<Option<String>> {
    match disk::read_text(path, CONFIG_BYTES_MAX) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// What is trusted in the project at `root`; nothing, where there is no lock.
pub(super) fn lock(root: &Path) -> Result<Lock, Fault> {
    let path = root.join(LOCK);
    let file = path.to_string_lossy().into_owned();
    let next = "restore it, or remove it and trust the servers again; until then none can be called";
    match disk::read_text(&path, LOCK_BYTES_MAX) {
        Ok(text) => Lock::parse(&text).map_err(|why| Fault::of_file(file, why, next)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Lock::default()),
        Err(error) => Err(Fault::of_file(file, format!("it cannot be read: {error}"), next)),
    }
}

/// Change what is trusted in the project at `root`, and nothing that somebody else has changed meanwhile: it is read when nobody else
/// can write it. A lock that cannot be read is not written, or what was in it would be lost.
pub fn change<T>(home: &Home, root: &Path, change: impl FnOnce(&mut Lock) -> T) -> Result<T, Trouble> {
    home.create()?;
    // Not in the project, where programs and servers can hold a lock for as long as they like.
    let alone = || -> io::Result<fs::File> {
        let lock = fs::File::create(home.state().join("pins.lock"))?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)?;
        Ok(lock)
    };
    let _alone =
        alone().map_err(|error| Trouble::failed("the pins cannot be changed", error, "look at the state directory"))?;
    let mut pins =
        lock(root).map_err(|fault| Trouble::usage("the pins cannot be changed", &fault, fault.next.clone()))?;
    let before = pins.clone();
    let told = change(&mut pins);
    if pins != before {
        write(&pins, root)?;
    }
    Ok(told)
}

fn write(lock: &Lock, root: &Path) -> Result<(), Trouble> {
    let path = root.join(LOCK);
    let put = || -> io::Result<()> {
        let text = lock.to_text().map_err(io::Error::other)?;
        let mut file = NamedTempFile::new_in(root)?;
        file.write_all(text.as_bytes())?;
        // It is under version control like everything around it.
        file.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
        file.as_file().sync_data()?;
        file.persist(&path).map_err(|error| error.error)?;
        Ok(())
    };
    put().map_err(|error| {
        Trouble::failed(format!("{} cannot be written", path.display()), error, "make the project's directory writable")
    })
}
