//! Reading what people name: files up to a size, directories that must be there. One of the few files here that touch the
//! file system; `paths` keeps our own directories, `report::write` writes reports. Nothing here knows what it reads.
#![allow(
    clippy::disallowed_methods,
    reason = "this file is meant to touch the file system: it reads what a person named"
)]

use rustix::fs::OFlags;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// The content of a file of at most `bytes_max` bytes. A longer one is an error, also where it grows or is a device. A pipe is read
/// where the shell made it (`/dev/stdin`, `/dev/fd/63`); anywhere else nobody may ever write to its other end.
pub fn read(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    if path.starts_with("/dev") || path.starts_with("/proc") {
        return bounded(File::open(path)?, bytes_max);
    }
    let file = File::options().read(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(path)?;
    if !file.metadata()?.is_file() {
        let what = if file.metadata()?.is_dir() { "is a directory" } else { "is a pipe, a socket or a device" };
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("it {what} and no file")));
    }
    bounded(file, bytes_max)
}

/// The same, as text.
pub fn read_text(path: &Path, bytes_max: u64) -> io::Result<String> {
    String::from_utf8(read(path, bytes_max)?)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.utf8_error()))
}

/// Whatever `source` gives, up to `bytes_max` bytes.
pub fn bounded(source: impl io::Read, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // One byte more than allowed tells too long from just long enough.
    source.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {bytes_max} bytes")));
    }
    Ok(bytes)
}

/// The absolute form of a directory that can be read.
pub fn directory(path: &Path) -> io::Result<PathBuf> {
    let path = path.canonicalize()?;
    fs::read_dir(&path)?;
    Ok(path)
}

/// Files in `dir` whose names end in `.extension`, sorted; none where there is no such directory.
pub fn files_with(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
    let mut paths: Vec<_> = entries.filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
    paths.sort();
    paths
}

/// How a file looks from outside: which it is, how long, and when it was last changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    inode: (u64, u64),
    bytes: u64,
    changed: (i64, i64),
}

/// Look at the file at `path`; none where there is none.
pub fn look(path: &Path) -> Option<Look> {
    let found = fs::metadata(path).ok()?;
    let (inode, changed) = ((found.dev(), found.ino()), (found.ctime(), found.ctime_nsec()));
    Some(Look { inode, bytes: found.len(), changed })
}

/// Put `text` into the file at `path`, whole or not at all, with the directories above it. A link stays one, and permissions stay.
pub fn replace(path: &Path, text: &str) -> io::Result<()> {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let dir = path.parent().ok_or(io::ErrorKind::NotADirectory)?;
    fs::create_dir_all(dir)?;
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(text.as_bytes())?;
    let mode = fs::metadata(&path).map(|found| found.permissions());
    file.as_file().set_permissions(mode.unwrap_or_else(|_| fs::Permissions::from_mode(0o644)))?;
    file.as_file().sync_all()?;
    file.persist(&path).map(drop).map_err(|error| error.error)
}

/// Remove a directory if there is nothing in it.
pub fn remove_if_empty(dir: &Path) {
    // It was made for something that did not happen; where it cannot be removed it does no harm.
    let _ = fs::remove_dir(dir);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_exact_and_holds_for_devices() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "1234").unwrap();
        assert_eq!(read(file.path(), 4).unwrap(), b"1234");
        assert_eq!(read(file.path(), 3).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert!(read(Path::new("/dev/zero"), 1_000).is_err());
    }

    #[test]
    fn what_is_no_file_holds_nobody_up() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("p");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
        assert!(read(&pipe, 4).unwrap_err().to_string().contains("a pipe"));
        assert!(read(dir.path(), 4).unwrap_err().to_string().contains("a directory"));
    }

    #[test]
    fn a_file_is_no_directory() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(directory(file.path()).is_err());
    }
}
