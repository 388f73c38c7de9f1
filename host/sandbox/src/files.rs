//! The two functions of `wasi:filesystem` that this host answers itself: which directories a cell sees, and opening a path
//! below one. Everything else there is Wasmtime's. Never a path that is not resolved beneath a granted directory.

use crate::cell::Cell;
use cap_fs_ext::{FollowSymlinks, OpenOptionsFollowExt};
use cap_primitives::fs::{OpenOptions, OpenOptionsExt};
use rustix::fs::OFlags;
use std::io;
use std::path::Path;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::filesystem::{Descriptor, Dir, File};
use wasmtime_wasi::p2::bindings::filesystem::preopens;
use wasmtime_wasi::p2::bindings::filesystem::types::{DescriptorFlags, ErrorCode, OpenFlags, PathFlags};
use wasmtime_wasi::{FsPerms, OpenMode};

/// One granted directory and the name the guest knows it by.
#[derive(Clone)]
pub(crate) struct Preopen {
    pub(crate) dir: Dir,
    pub(crate) name: String,
}

impl preopens::Host for Cell {
    fn get_directories(&mut self) -> wasmtime::Result<Vec<(Resource<Descriptor>, String)>> {
        let mut named = Vec::with_capacity(self.preopens.len());
        for preopen in self.preopens.iter() {
            named.push((self.table.push(Descriptor::Dir(preopen.dir.clone()))?, preopen.name.clone()));
        }
        Ok(named)
    }
}

/// Put `open-at` in the place of Wasmtime's, which waits for ever when it opens a FIFO.
pub(crate) fn shadow_open_at(linker: &mut Linker<Cell>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    linker.instance("wasi:filesystem/types@0.2.12")?.func_wrap("[method]descriptor.open-at", open_at)?;
    linker.allow_shadowing(false);
    Ok(())
}

type OpenAt = (Resource<Descriptor>, PathFlags, String, OpenFlags, DescriptorFlags);

fn open_at(
    mut store: StoreContextMut<'_, Cell>,
    (base, path_flags, path, open_flags, flags): OpenAt,
) -> wasmtime::Result<(Result<Resource<Descriptor>, ErrorCode>,)> {
    let cell = store.data_mut();
    let opened = match cell.table.get(&base)? {
        Descriptor::File(_) => Err(ErrorCode::NotDirectory),
        Descriptor::Dir(dir) => open_beneath(dir, path_flags, &path, open_flags, flags),
    };
    Ok((match opened {
        Ok(descriptor) => Ok(cell.table.push(descriptor)?),
        Err(code) => Err(code),
    },))
}

fn open_beneath(
    dir: &Dir,
    path_flags: PathFlags,
    path: &str,
    open_flags: OpenFlags,
    flags: DescriptorFlags,
) -> Result<Descriptor, ErrorCode> {
    let synchronous = DescriptorFlags::FILE_INTEGRITY_SYNC
        | DescriptorFlags::DATA_INTEGRITY_SYNC
        | DescriptorFlags::REQUESTED_WRITE_SYNC;
    if flags.intersects(synchronous) {
        return Err(ErrorCode::Unsupported);
    }
    let changes = OpenFlags::CREATE | OpenFlags::EXCLUSIVE | OpenFlags::TRUNCATE;
    let directory = open_flags.contains(OpenFlags::DIRECTORY);
    if directory && open_flags.intersects(changes) {
        return Err(ErrorCode::Invalid);
    }
    let create = open_flags.contains(OpenFlags::CREATE);
    let truncate = open_flags.contains(OpenFlags::TRUNCATE);
    let write = create || truncate || flags.contains(DescriptorFlags::WRITE);
    // A descriptor opened for neither is opened for reading: a directory to look below, mostly.
    let read = flags.contains(DescriptorFlags::READ) || !flags.contains(DescriptorFlags::WRITE);
    if write && dir.perms == FsPerms::ReadOnly {
        return Err(ErrorCode::NotPermitted);
    }
    let mut mode = OpenMode::empty();
    mode.set(OpenMode::READ, read);
    mode.set(OpenMode::WRITE, write);

    let follow = path_flags.contains(PathFlags::SYMLINK_FOLLOW);
    // Without waiting: a FIFO with nobody at its other end would hold this thread, and with it every cell it drives. What
    // was opened is looked at afterwards, so there is no moment between a check and its use.
    let at_once = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let mut options = OpenOptions::new();
    options
        .read(read)
        .write(write)
        .create(create && !open_flags.contains(OpenFlags::EXCLUSIVE))
        .create_new(create && open_flags.contains(OpenFlags::EXCLUSIVE))
        .truncate(truncate)
        .follow(if follow { FollowSymlinks::Yes } else { FollowSymlinks::No })
        .custom_flags(at_once);
    let file = cap_primitives::fs::open(&dir.dir, Path::new(path), &options).map_err(code)?;
    let kind = file.metadata().map_err(code)?.file_type();
    if kind.is_dir() {
        return Ok(Descriptor::Dir(Dir::new(file, dir.perms, mode, true)));
    }
    if directory {
        return Err(ErrorCode::NotDirectory);
    }
    if !kind.is_file() {
        // A FIFO, socket or device: reading it could wait for ever, writing it is not writing to the granted tree.
        return Err(ErrorCode::NotPermitted);
    }
    Ok(Descriptor::File(File::new(file, dir.perms, mode, true)))
}

fn code(error: io::Error) -> ErrorCode {
    match error.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
        // A FIFO opened for writing with nobody reading, or a socket.
        Some(rustix::io::Errno::NXIO) => ErrorCode::NotPermitted,
        _ => error.into(),
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests set the disk up")]
mod tests {
    use super::*;
    use cap_std::ambient_authority;
    use std::io::Write;

    fn granted(path: &Path, perms: FsPerms) -> Dir {
        let file = cap_std::fs::Dir::open_ambient_dir(path, ambient_authority()).unwrap().into_std_file();
        Dir::new(file, perms, OpenMode::READ, true)
    }

    fn open(dir: &Dir, path: &str, open_flags: OpenFlags, flags: DescriptorFlags) -> Result<Descriptor, ErrorCode> {
        open_beneath(dir, PathFlags::SYMLINK_FOLLOW, path, open_flags, flags)
    }

    fn fifo(path: &Path) {
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    }

    #[test]
    fn a_fifo_a_socket_and_a_device_are_refused_at_once() {
        let temp = tempfile::tempdir().unwrap();
        fifo(&temp.path().join("fifo"));
        std::os::unix::fs::symlink("fifo", temp.path().join("link")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(temp.path().join("socket")).unwrap();
        let dir = granted(temp.path(), FsPerms::ReadWrite);
        for name in ["fifo", "link", "socket"] {
            for flags in [DescriptorFlags::READ, DescriptorFlags::WRITE, DescriptorFlags::READ | DescriptorFlags::WRITE]
            {
                let refused = open(&dir, name, OpenFlags::empty(), flags).err();
                assert_eq!(refused, Some(ErrorCode::NotPermitted), "{name} {flags:?}");
            }
        }
        let devices = granted(Path::new("/dev"), FsPerms::ReadOnly);
        assert_eq!(
            open(&devices, "null", OpenFlags::empty(), DescriptorFlags::READ).err(),
            Some(ErrorCode::NotPermitted)
        );
    }

    #[test]
    fn no_path_leads_out() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().join("root");
        std::fs::create_dir_all(root.join("sub")).unwrap();
        std::fs::write(temp.path().join("secret"), "x").unwrap();
        std::os::unix::fs::symlink("../secret", root.join("up")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", root.join("away")).unwrap();
        std::os::unix::fs::symlink("sub/../../secret", root.join("round")).unwrap();
        let dir = granted(&root, FsPerms::ReadWrite);
        for path in ["../secret", "sub/../../secret", "/etc/passwd", "up", "away", "round", ".."] {
            let flags = DescriptorFlags::READ;
            assert!(open(&dir, path, OpenFlags::empty(), flags).is_err(), "{path} was opened");
            assert!(open(&dir, path, OpenFlags::CREATE, flags | DescriptorFlags::WRITE).is_err(), "{path} was made");
        }
    }

    #[test]
    fn a_reader_cannot_write_and_a_writer_can() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::write(temp.path().join("file"), "old").unwrap();
        let reader = granted(temp.path(), FsPerms::ReadOnly);
        for (open_flags, flags) in [
            (OpenFlags::CREATE, DescriptorFlags::READ),
            (OpenFlags::TRUNCATE, DescriptorFlags::READ),
            (OpenFlags::empty(), DescriptorFlags::WRITE),
        ] {
            assert_eq!(open(&reader, "file", open_flags, flags).err(), Some(ErrorCode::NotPermitted));
        }
        let Ok(Descriptor::File(_)) = open(&reader, "file", OpenFlags::empty(), DescriptorFlags::READ) else {
            panic!()
        };
        let Ok(Descriptor::Dir(below)) = open(&reader, ".", OpenFlags::DIRECTORY, DescriptorFlags::READ) else {
            panic!()
        };
        assert_eq!(below.perms, FsPerms::ReadOnly, "what lies below is no wider");
        let writer = granted(temp.path(), FsPerms::ReadWrite);
        let made = open(&writer, "new", OpenFlags::CREATE | OpenFlags::EXCLUSIVE, DescriptorFlags::WRITE);
        let Ok(Descriptor::File(file)) = made else { panic!() };
        (&*file.file).write_all(b"new").unwrap();
        assert_eq!(std::fs::read(temp.path().join("new")).unwrap(), b"new");
        let again = open(&writer, "new", OpenFlags::CREATE | OpenFlags::EXCLUSIVE, DescriptorFlags::WRITE);
        assert_eq!(again.err(), Some(ErrorCode::Exist));
        let wants_dir = open(&writer, "file", OpenFlags::DIRECTORY, DescriptorFlags::READ);
        assert_eq!(wants_dir.err(), Some(ErrorCode::NotDirectory));
    }
}
