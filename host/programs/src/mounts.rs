//! Bringing directories from the old root into the new one. Each comes by a descriptor that was opened without following a
//! link, so nothing can be swapped underneath, and with flags that say what may be done there.
#![allow(clippy::disallowed_methods, reason = "it makes mount points and reads the table of mounts")]

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, openat2};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount_bind_recursive, mount_remount};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

/// Where the old root lies while the new one is being laid out.
pub(crate) const OLD: &str = "/old";

/// What may be done below a mount. Executing set-id files as their owner is never among it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
    /// One of the harmless devices.
    Device,
}

/// Whose path it is that is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Links {
    /// The system's own: links lead where they lead, below the old root.
    Followed,
    /// Granted by somebody: it must be what it says, down to the last part.
    Refused,
}

/// Open `path` of the root `below` without touching what it is.
pub(crate) fn open(below: &str, path: &Path, links: Links) -> io::Result<OwnedFd> {
    let root = rustix::fs::open(below, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let relative = path.strip_prefix("/").unwrap_or(path);
    let relative = if relative.as_os_str().is_empty() { Path::new(".") } else { relative };
    let resolve = match links {
        Links::Followed => ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
        Links::Refused => ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
    };
    // An open that loses a race against a rename elsewhere is asked to be tried again.
    for _ in 0..32 {
        match openat2(&root, relative, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Err(Errno::AGAIN) => {}
            opened => return Ok(opened?),
        }
    }
    Err(Errno::AGAIN.into())
}

/// Whether `file` is a directory.
pub(crate) fn is_dir(file: impl AsFd) -> io::Result<bool> {
    Ok(FileType::from_raw_mode(fstat(file)?.st_mode).is_dir())
}

/// Mount what `source` is at `target` of the new root, and everything mounted below it.
pub(crate) fn bind(source: &OwnedFd, target: &Path, access: Access) -> io::Result<()> {
    point(target, is_dir(source)?)?;
    mount_bind_recursive(format!("{OLD}/proc/self/fd/{}", source.as_raw_fd()), target)?;
    restrict(target, access)
}

/// Something to mount upon.
fn point(target: &Path, dir: bool) -> io::Result<()> {
    if target.symlink_metadata().is_ok() {
        return Ok(());
    }
    if dir {
        return fs::create_dir_all(target);
    }
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::File::create_new(target).map(drop)
}

/// Take from the mount at `target`, and from all below it, what `access` does not include. What the host itself had taken
/// stays taken.
pub(crate) fn restrict(target: &Path, access: Access) -> io::Result<()> {
    let wanted = MountFlags::BIND
        | MountFlags::NOSUID
        | match access {
            Access::Read => MountFlags::RDONLY | MountFlags::NODEV,
            Access::Write => MountFlags::NODEV,
            Access::Device => MountFlags::RDONLY | MountFlags::NOEXEC,
        };
    let mut found = false;
    for (at, had) in table()?.into_iter().filter(|(at, _)| at.starts_with(target)) {
        mount_remount(&at, wanted | had, "")?;
        found |= at == target;
    }
    // A mount that the table does not show was not restricted, and must not stay.
    if found { Ok(()) } else { Err(io::Error::other("the mount is missing from the kernel's table")) }
}

/// Every mount of the present root, with the flags that must not be lost.
fn table() -> io::Result<Vec<(PathBuf, MountFlags)>> {
    let table = fs::read(format!("{OLD}/proc/self/mountinfo"))?;
    Ok(table.split(|byte| *byte == b'\n').filter_map(row).collect())
}

/// One row: `36 35 98:0 /root /mount/point rw,noatime ...`.
fn row(line: &[u8]) -> Option<(PathBuf, MountFlags)> {
    let mut fields = line.split(|byte| *byte == b' ');
    let at = unescaped(fields.nth(4)?);
    let flags = str::from_utf8(fields.next()?).ok()?.split(',').fold(MountFlags::empty(), |flags, name| {
        flags
            | match name {
                "ro" => MountFlags::RDONLY,
                "nosuid" => MountFlags::NOSUID,
                "nodev" => MountFlags::NODEV,
                "noexec" => MountFlags::NOEXEC,
                _ => MountFlags::empty(),
            }
    });
    Some((PathBuf::from(at), flags))
}

/// The kernel writes blanks and backslashes in its table as `\040`.
fn unescaped(text: &[u8]) -> OsString {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let [first, after @ ..] = rest {
        let octal =
            after.get(..3).and_then(|o| std::str::from_utf8(o).ok()).and_then(|o| u8::from_str_radix(o, 8).ok());
        match (first, octal) {
            (b'\\', Some(byte)) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_the_table_is_read_with_its_flags() {
        let (at, flags) = row(br"36 35 98:0 /a /mnt/with\040blank ro,nosuid,relatime - ext4 /dev/x rw").unwrap();
        assert_eq!(at, Path::new("/mnt/with blank"));
        assert_eq!(flags, MountFlags::RDONLY | MountFlags::NOSUID);
        assert_eq!(unescaped(br"a\134b\0"), r"a\b\0");
        assert_eq!(unescaped(b"caf\xe9").as_encoded_bytes(), b"caf\xe9");
        assert!(row(b"36 35").is_none());
    }

    #[test]
    fn a_link_is_followed_for_the_system_and_refused_for_a_grant() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().to_str().unwrap();
        std::fs::create_dir(temp.path().join("real")).unwrap();
        std::os::unix::fs::symlink("real", temp.path().join("link")).unwrap();
        std::os::unix::fs::symlink("/etc", temp.path().join("out")).unwrap();
        assert!(is_dir(open(root, Path::new("/link"), Links::Followed).unwrap()).unwrap());
        for bad in ["/link", "/link/x", "/out", "/out/passwd", "/../x"] {
            assert!(open(root, Path::new(bad), Links::Refused).is_err(), "{bad}");
        }
        assert!(open(root, Path::new("/out/passwd"), Links::Followed).is_err(), "a link led out of its root");
    }
}
