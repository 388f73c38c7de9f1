//! The world a program sees: a root directory made for this one run, with the system's programs and libraries, what was
//! granted, and nothing else. What is not brought in does not exist: no home, no other project, no socket of any service,
//! no process but its own. It is the wall that Landlock cannot be: a mode, an owner or a time can be changed only where a
//! mount is writable, and what is hidden lies under a mount of its own.
#![allow(clippy::disallowed_methods, reason = "it lays out a root directory")]

use crate::confined::Refused;
use crate::launch::no_namespaces;
use crate::limits;
use crate::mounts::{Access, Links, OLD, bind, is_dir, open, restrict};
use crate::wire::Order;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, mount_remount, unmount};
use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

/// Programs and libraries. Where the system has a link, the world has the same link.
pub(crate) const SYSTEM: &[&str] = &["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];

/// What loaders, TLS libraries and clocks read. Not among it: who has an account here, what is configured, any key.
const SETTINGS: &[&str] = &[
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "alternatives",
    "ssl/certs",
    "ssl/openssl.cnf",
    "pki/tls/certs",
    "pki/tls/cert.pem",
    "pki/tls/openssl.cnf",
    "pki/ca-trust",
    "ca-certificates",
    "ca-certificates.conf",
    "localtime",
    "timezone",
    "os-release",
    "mime.types",
    "protocols",
    "services",
];

/// How names become addresses; only for who may use them.
const NAMES: &[&str] = &["resolv.conf", "hosts", "host.conf", "gai.conf"];

const DEVICES: &[&str] = &["null", "zero", "full", "random", "urandom"];

/// The private temporary directory, which is also the home. It is memory and ends with the run.
pub(crate) const TEMP: &str = "/tmp";

/// Places that no grant can bring in: they are the kernel's doors to other processes and to devices.
const NEVER: &[&str] = &["/proc", "/sys", "/dev", TEMP, OLD];

/// Whether a program can be given `path`.
///
/// # Errors
/// A sentence that says why not.
pub(crate) fn is_givable(path: &Path) -> Result<(), Refused> {
    let clean = path.is_absolute() && path.components().skip(1).all(|c| matches!(c, std::path::Component::Normal(_)));
    if !clean {
        return Err(Refused::Place(format!("{} is not an absolute path without '..'", path.display())));
    }
    if path == Path::new("/") {
        return Err(Refused::Place(
            "a program cannot be given the whole file system; grant the directories it needs".into(),
        ));
    }
    // The temporary directory is replaced, but what is granted below it is brought in.
    let never = |at: &&&str| path == Path::new(at) || (**at != TEMP && path.starts_with(at));
    match NEVER.iter().find(never) {
        Some(at) => Err(Refused::Place(format!(
            "a program cannot be given {}: {at} is its own in every run; grant another directory",
            path.display()
        ))),
        None => Ok(()),
    }
}

/// Lay out the world of `order` and enter it. Only for process 1 of new namespaces.
pub(crate) fn enter(order: &Order) -> Result<(), Refused> {
    let step = |what: &str| {
        let what = what.to_owned();
        move |error: io::Error| no_namespaces(&format!("{what} was refused ({error})"))
    };
    new_root().map_err(step("a new root directory"))?;
    temp(order).map_err(step("a temporary directory"))?;
    system(order).map_err(step("bringing in the system's programs"))?;
    settings(order).map_err(step("bringing in the system's settings"))?;
    devices().map_err(step("bringing in /dev/null"))?;
    fs::create_dir("/proc")
        .and_then(|()| {
            Ok(mount("proc", "/proc", "proc", MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC, None)?)
        })
        .map_err(step("a /proc of its own"))?;
    limits::bound_processes(&order.limits)?;
    granted(order)?;
    hide(&order.hide)?;
    close().map_err(step("closing the old root directory"))
}

/// Stand in an empty root, with the old one at `OLD`.
fn new_root() -> io::Result<()> {
    // Nothing that is mounted here may show up outside, or the other way round.
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    // Any directory will do: it is uncovered again as soon as the new root has moved away.
    mount("root", "/tmp", "tmpfs", flags, Some(c"size=1m,nr_inodes=8k,mode=0755"))?;
    fs::create_dir("/tmp/old")?;
    rustix::process::pivot_root("/tmp", "/tmp/old")?;
    std::env::set_current_dir("/")
}

fn temp(order: &Order) -> io::Result<()> {
    fs::create_dir(TEMP)?;
    let options = format!("size={},nr_inodes=64k,mode=0700", order.limits.temp_bytes_max.max(4096));
    let options = std::ffi::CString::new(options)?;
    Ok(mount("temp", TEMP, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, Some(options.as_c_str()))?)
}

fn system(order: &Order) -> io::Result<()> {
    for path in SYSTEM.iter().map(Path::new) {
        let old = Path::new(OLD).join(path.strip_prefix("/").unwrap_or(path));
        match fs::read_link(&old) {
            Ok(target) => symlink(target, path)?,
            Err(_) => bring_if_there(path, path)?,
        }
    }
    order.system.iter().try_for_each(|path| bring_if_there(path, path))
}

fn settings(order: &Order) -> io::Result<()> {
    let names: &[&str] = if order.network { NAMES } else { &[] };
    for name in SETTINGS.iter().chain(names) {
        let path = Path::new("/etc").join(name);
        bring_if_there(&path, &path)?;
    }
    // Made up, so that nobody's account is told: the program's own user, whose home is the temporary directory.
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let name = if uid == 0 { "root" } else { "user" };
    fs::create_dir_all("/etc")?;
    fs::write("/etc/passwd", format!("{name}:x:{uid}:{gid}::{TEMP}:/bin/sh\n"))?;
    fs::write("/etc/group", format!("{name}:x:{gid}:\n"))?;
    fs::write("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n")?;
    if !order.network {
        fs::write("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n")?;
    }
    Ok(())
}

/// Bring in something of the system's, if the system has it.
fn bring_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match open(OLD, from, Links::Followed) {
        Ok(source) => bind(&source, to, Access::Read),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn devices() -> io::Result<()> {
    fs::create_dir("/dev")?;
    for name in DEVICES {
        let path = Path::new("/dev").join(name);
        bind(&open(OLD, &path, Links::Followed)?, &path, Access::Device)?;
    }
    for (link, target) in
        [("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2"), ("shm", TEMP)]
    {
        symlink(target, Path::new("/dev").join(link))?;
    }
    Ok(())
}

/// Bring in what was granted, outer directories first, so that an inner one lies on top with its own access.
fn granted(order: &Order) -> Result<(), Refused> {
    let reads = order.read.iter().map(|path| (path, Access::Read));
    let writes = order.write.iter().map(|path| (path, Access::Write));
    let mut places: Vec<(&PathBuf, Access)> = reads.chain(writes).collect();
    places.sort_by_key(|(path, access)| (path.components().count(), *access == Access::Write));
    for (path, access) in places {
        is_givable(path)?;
        let refuse = |error: io::Error| {
            Refused::Place(format!(
                "{} cannot be given to a program ({error}); it must exist and its path must hold no symbolic link",
                path.display()
            ))
        };
        let source = open(OLD, path, Links::Refused).map_err(refuse)?;
        bind(&source, path, access).map_err(refuse)?;
    }
    Ok(())
}

/// Lay something empty over everything that must not be seen into. Its name stays; what it holds is gone. Everything was there
/// a moment ago.
fn hide(paths: &[PathBuf]) -> Result<(), Refused> {
    if paths.is_empty() {
        return Ok(());
    }
    let refuse = |path: &Path, error: io::Error| {
        Refused::Place(format!("{} cannot be hidden from a program ({error}), so none is run", path.display()))
    };
    let blanks = || -> io::Result<()> {
        fs::write("/.nothing", "")?;
        fs::create_dir("/.nowhere")?;
        fs::set_permissions("/.nothing", fs::Permissions::from_mode(0o000))?;
        fs::set_permissions("/.nowhere", fs::Permissions::from_mode(0o000))
    };
    blanks().map_err(|error| refuse(Path::new("/"), error))?;
    for path in paths {
        let cover = || -> io::Result<()> {
            let hidden = open("/", path, Links::Refused)?;
            let blank = if is_dir(&hidden)? { "/.nowhere" } else { "/.nothing" };
            rustix::mount::mount_bind(blank, format!("/proc/self/fd/{}", hidden.as_raw_fd()))?;
            restrict(path, Access::Read)
        };
        cover().map_err(|error| match error.kind() {
            // Whoever moved it may have moved it to where it would be seen.
            io::ErrorKind::NotFound => {
                let path = path.display();
                Refused::Place(format!("{path} was to be hidden from a program and is there no more; call again"))
            }
            _ => refuse(path, error),
        })?;
    }
    Ok(())
}

/// Let go of the old root, and let nothing more be laid out.
fn close() -> io::Result<()> {
    unmount(OLD, UnmountFlags::DETACH)?;
    fs::remove_dir(OLD)?;
    mount_remount("/", MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV, "")?;
    mount_remount(
        "/proc",
        MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC,
        "",
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_doors_to_other_processes_are_never_given() {
        for bad in ["/", "/proc", "/proc/self", "/sys/fs", "/dev/mem", "/tmp", "/old/etc", "src", "/a/../b", ""] {
            assert!(is_givable(Path::new(bad)).is_err(), "{bad}");
        }
        for good in ["/home/me/project", "/tmp/build", "/processed", "/etc/app"] {
            is_givable(Path::new(good)).unwrap();
        }
    }
}
