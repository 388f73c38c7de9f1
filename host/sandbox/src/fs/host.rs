//! `wasi:filesystem` as a guest calls it: descriptors out of the table, verbs on them, errors in the standard's words. Never a
//! decision.

use super::backing::{Kind, Opening, Stat, Times};
use super::code::{code, descriptor_stat, descriptor_type, fault, wanted_time};
use super::handle::{DirHandle, FileHandle, Files, Handle, Listing};
use super::open::Wanted;
use super::plain::stat_file;
use super::streams::{Place, Reading, Writing};
use super::tree::Last;
use crate::cell::Cell;
use rustix::io::Errno;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use wasmtime::component::{Resource, ResourceTable};
use wasmtime_wasi::p2::bindings::filesystem::preopens;
use wasmtime_wasi::p2::bindings::filesystem::types::ErrorCode as Code;
use wasmtime_wasi::p2::bindings::sync::filesystem::types::{
    Advice, Descriptor, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry, DirectoryEntryStream,
    ErrorCode, Filesize, Host, HostDescriptor, HostDirectoryEntryStream, MetadataHashValue, NewTimestamp, OpenFlags,
    PathFlags,
};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, FsError, FsResult};

/// What a descriptor is. The bindings know descriptors by a type of Wasmtime's, which is only a name there.
fn known<'a>(table: &'a ResourceTable, fd: &Resource<Descriptor>) -> FsResult<&'a Handle> {
    Ok(table.get::<Handle>(&Resource::new_borrow(fd.rep()))?)
}

impl Cell {
    fn dir(&mut self, fd: &Resource<Descriptor>) -> FsResult<(&DirHandle, &mut Files)> {
        let handle = self.table.get::<Handle>(&Resource::new_borrow(fd.rep()))?;
        Ok((handle.dir().map_err(fault)?, &mut self.files))
    }

    fn file(&mut self, fd: &Resource<Descriptor>) -> FsResult<(&mut FileHandle, &mut Files)> {
        let handle = self.table.get_mut::<Handle>(&Resource::new_borrow(fd.rep()))?;
        Ok((handle.file_mut().map_err(fault)?, &mut self.files))
    }

    fn hand_out(&mut self, handle: Handle) -> wasmtime::Result<Resource<Descriptor>> {
        Ok(Resource::new_own(self.table.push(handle)?.rep()))
    }

    fn stat_of(&mut self, fd: &Resource<Descriptor>) -> FsResult<Stat> {
        match known(&self.table, fd)? {
            Handle::Dir(dir) => self.files.stat_dir(dir),
            Handle::File(file) => stat_file(&file.open.file).inspect_err(|_| self.files.seen.missed()),
        }
        .map_err(fault)
    }

    fn sync_of(&mut self, fd: &Resource<Descriptor>, sync: fn(&File) -> io::Result<()>) -> FsResult<()> {
        match known(&self.table, fd)? {
            Handle::File(file) => sync(&file.open.file),
            Handle::Dir(dir) => dir.tree.backing.open(&dir.path, Opening::READ).and_then(|dir| sync(&dir)),
        }
        .inspect_err(|_| self.files.seen.missed())
        .map_err(fault)
    }

    fn write_stream(&mut self, fd: &Resource<Descriptor>, place: Place) -> FsResult<Resource<DynOutputStream>> {
        let (file, files) = self.file(fd)?;
        files.changing(file).map_err(fault)?;
        let writing = Writing::new(Arc::clone(&file.open), Arc::clone(&files.spent), place);
        let writing: DynOutputStream = Box::new(writing);
        Ok(self.table.push(writing)?)
    }
}

impl preopens::Host for Cell {
    fn get_directories(&mut self) -> wasmtime::Result<Vec<(Resource<Descriptor>, String)>> {
        let preopened = self.files.preopened();
        preopened.into_iter().map(|(handle, name)| Ok((self.hand_out(handle)?, name))).collect()
    }
}

impl Host for Cell {
    fn convert_error_code(&mut self, error: FsError) -> wasmtime::Result<ErrorCode> {
        Ok(error.downcast()?.into())
    }

    fn filesystem_error_code(&mut self, error: Resource<wasmtime::Error>) -> wasmtime::Result<Option<ErrorCode>> {
        let error = self.table.get(&error)?;
        Ok(error.downcast_ref::<io::Error>().map(|error| code(error).into()))
    }
}

impl HostDescriptor for Cell {
    fn open_at(
        &mut self,
        fd: Resource<Descriptor>,
        path_flags: PathFlags,
        path: String,
        open_flags: OpenFlags,
        flags: DescriptorFlags,
    ) -> FsResult<Resource<Descriptor>> {
        let (dir, files) = self.dir(&fd)?;
        let synchronous = DescriptorFlags::FILE_INTEGRITY_SYNC
            | DescriptorFlags::DATA_INTEGRITY_SYNC
            | DescriptorFlags::REQUESTED_WRITE_SYNC;
        if flags.intersects(synchronous) {
            return Err(Code::Unsupported.into());
        }
        let wanted = Wanted {
            read: flags.contains(DescriptorFlags::READ),
            write: flags.contains(DescriptorFlags::WRITE),
            create: open_flags.contains(OpenFlags::CREATE),
            exclusive: open_flags.contains(OpenFlags::EXCLUSIVE),
            truncate: open_flags.contains(OpenFlags::TRUNCATE),
            directory: open_flags.contains(OpenFlags::DIRECTORY),
        };
        let opened = files.open_at(dir, &path, last(path_flags), wanted).map_err(fault)?;
        self.hand_out(opened).map_err(FsError::trap)
    }

    fn read(&mut self, fd: Resource<Descriptor>, len: Filesize, offset: Filesize) -> FsResult<(Vec<u8>, bool)> {
        let (file, files) = self.file(&fd)?;
        files.read(file, len, offset).map_err(fault)
    }

    fn write(&mut self, fd: Resource<Descriptor>, bytes: Vec<u8>, offset: Filesize) -> FsResult<Filesize> {
        let (file, files) = self.file(&fd)?;
        files.write(file, &bytes, offset).map_err(fault)
    }

    fn read_via_stream(&mut self, fd: Resource<Descriptor>, offset: Filesize) -> FsResult<Resource<DynInputStream>> {
        if let Handle::Dir(_) = known(&self.table, &fd)? {
            return Err(Code::IsDirectory.into());
        }
        let (file, files) = self.file(&fd)?;
        let open = Arc::clone(&file.open);
        if open.read && !std::mem::replace(&mut file.read_seen, true) {
            files.seen.content(&open, None);
        }
        let reading: DynInputStream = Box::new(Reading::new(open, offset));
        Ok(self.table.push(reading)?)
    }

    fn write_via_stream(&mut self, fd: Resource<Descriptor>, offset: Filesize) -> FsResult<Resource<DynOutputStream>> {
        self.write_stream(&fd, Place::At(offset))
    }

    fn append_via_stream(&mut self, fd: Resource<Descriptor>) -> FsResult<Resource<DynOutputStream>> {
        self.write_stream(&fd, Place::End)
    }

    fn advise(&mut self, fd: Resource<Descriptor>, _: Filesize, _: Filesize, _: Advice) -> FsResult<()> {
        // What a guest claims of its future does not steer the host's cache.
        self.file(&fd).map(drop)
    }

    fn sync_data(&mut self, fd: Resource<Descriptor>) -> FsResult<()> {
        self.sync_of(&fd, File::sync_data)
    }

    fn sync(&mut self, fd: Resource<Descriptor>) -> FsResult<()> {
        self.sync_of(&fd, File::sync_all)
    }

    fn get_flags(&mut self, fd: Resource<Descriptor>) -> FsResult<DescriptorFlags> {
        let when = |holds: bool, flag: DescriptorFlags| if holds { flag } else { DescriptorFlags::empty() };
        Ok(match known(&self.table, &fd)? {
            Handle::Dir(dir) => DescriptorFlags::READ | when(dir.mutate, DescriptorFlags::MUTATE_DIRECTORY),
            Handle::File(file) => {
                when(file.open.read, DescriptorFlags::READ) | when(file.open.write, DescriptorFlags::WRITE)
            }
        })
    }

    fn get_type(&mut self, fd: Resource<Descriptor>) -> FsResult<DescriptorType> {
        Ok(match known(&self.table, &fd)? {
            Handle::Dir(_) => DescriptorType::Directory,
            Handle::File(_) => descriptor_type(Kind::File),
        })
    }

    fn set_size(&mut self, fd: Resource<Descriptor>, bytes: Filesize) -> FsResult<()> {
        let (file, files) = self.file(&fd)?;
        files.set_size(file, bytes).map_err(fault)
    }

    fn set_times(&mut self, fd: Resource<Descriptor>, accessed: NewTimestamp, modified: NewTimestamp) -> FsResult<()> {
        let times = Times { accessed: wanted_time(accessed)?, modified: wanted_time(modified)? };
        match known(&self.table, &fd)? {
            Handle::File(file) => self.files.set_times(file, times),
            Handle::Dir(dir) => self.files.set_times_at(dir, ".", Last::Keep, times),
        }
        .map_err(fault)
    }

    fn set_times_at(
        &mut self,
        fd: Resource<Descriptor>,
        path_flags: PathFlags,
        path: String,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> FsResult<()> {
        let times = Times { accessed: wanted_time(accessed)?, modified: wanted_time(modified)? };
        let (dir, files) = self.dir(&fd)?;
        files.set_times_at(dir, &path, last(path_flags), times).map_err(fault)
    }

    fn read_directory(&mut self, fd: Resource<Descriptor>) -> FsResult<Resource<DirectoryEntryStream>> {
        let (dir, files) = self.dir(&fd)?;
        let entries = files.list(dir).map_err(fault)?;
        let held = files.spent.list(entries.len()).map_err(fault)?;
        let listing = Listing { entries: Mutex::new(entries.into_iter()), _held: held };
        Ok(Resource::new_own(self.table.push(listing)?.rep()))
    }

    fn create_directory_at(&mut self, fd: Resource<Descriptor>, path: String) -> FsResult<()> {
        let (dir, files) = self.dir(&fd)?;
        files.make_dir(dir, &path).map_err(fault)
    }

    fn stat(&mut self, fd: Resource<Descriptor>) -> FsResult<DescriptorStat> {
        self.stat_of(&fd).map(|stat| descriptor_stat(&stat))
    }

    fn stat_at(&mut self, fd: Resource<Descriptor>, path_flags: PathFlags, path: String) -> FsResult<DescriptorStat> {
        let (dir, files) = self.dir(&fd)?;
        let stat = files.stat_at(dir, &path, last(path_flags)).map_err(fault)?;
        Ok(descriptor_stat(&stat))
    }

    fn link_at(
        &mut self,
        fd: Resource<Descriptor>,
        _: PathFlags,
        _: String,
        to: Resource<Descriptor>,
        _: String,
    ) -> FsResult<()> {
        // A second name would outlive every rule about the first.
        self.dir(&fd)?;
        self.dir(&to)?;
        Err(Code::NotPermitted.into())
    }

    fn readlink_at(&mut self, fd: Resource<Descriptor>, path: String) -> FsResult<String> {
        let (dir, files) = self.dir(&fd)?;
        files.read_link(dir, &path).map_err(fault)
    }

    fn remove_directory_at(&mut self, fd: Resource<Descriptor>, path: String) -> FsResult<()> {
        let (dir, files) = self.dir(&fd)?;
        files.remove_dir(dir, &path).map_err(fault)
    }

    fn rename_at(
        &mut self,
        fd: Resource<Descriptor>,
        path: String,
        to: Resource<Descriptor>,
        to_path: String,
    ) -> FsResult<()> {
        let from = known(&self.table, &fd)?.dir().map_err(fault)?;
        let to = known(&self.table, &to)?.dir().map_err(fault)?;
        self.files.rename((from, &path), (to, &to_path)).map_err(fault)
    }

    fn symlink_at(&mut self, fd: Resource<Descriptor>, says: String, path: String) -> FsResult<()> {
        let (dir, files) = self.dir(&fd)?;
        files.make_link(dir, &says, &path).map_err(fault)
    }

    fn unlink_file_at(&mut self, fd: Resource<Descriptor>, path: String) -> FsResult<()> {
        let (dir, files) = self.dir(&fd)?;
        files.remove_file(dir, &path).map_err(fault)
    }

    fn is_same_object(&mut self, one: Resource<Descriptor>, other: Resource<Descriptor>) -> wasmtime::Result<bool> {
        let mut identity = |fd: &Resource<Descriptor>| -> wasmtime::Result<Option<(u64, u64)>> {
            // A descriptor that does not exist traps; a directory that is gone is the same as nothing.
            self.table.get::<Handle>(&Resource::new_borrow(fd.rep()))?;
            Ok(self.stat_of(fd).ok().map(|stat| stat.identity))
        };
        let (one, other) = (identity(&one)?, identity(&other)?);
        Ok(one.is_some() && one == other)
    }

    fn metadata_hash(&mut self, fd: Resource<Descriptor>) -> FsResult<MetadataHashValue> {
        self.stat_of(&fd).map(|stat| hash(&stat))
    }

    fn metadata_hash_at(
        &mut self,
        fd: Resource<Descriptor>,
        path_flags: PathFlags,
        path: String,
    ) -> FsResult<MetadataHashValue> {
        let (dir, files) = self.dir(&fd)?;
        files.stat_at(dir, &path, last(path_flags)).map(|stat| hash(&stat)).map_err(fault)
    }

    fn drop(&mut self, fd: Resource<Descriptor>) -> wasmtime::Result<()> {
        self.table.delete::<Handle>(Resource::new_own(fd.rep()))?;
        Ok(())
    }
}

impl HostDirectoryEntryStream for Cell {
    fn read_directory_entry(&mut self, stream: Resource<DirectoryEntryStream>) -> FsResult<Option<DirectoryEntry>> {
        let listing = self.table.get::<Listing>(&Resource::new_borrow(stream.rep()))?;
        let next = listing.entries.lock().unwrap_or_else(PoisonError::into_inner).next();
        let Some(entry) = next else { return Ok(None) };
        let name = entry.name.into_string().map_err(|_| fault(Errno::ILSEQ.into()))?;
        Ok(Some(DirectoryEntry { type_: descriptor_type(entry.kind), name }))
    }

    fn drop(&mut self, stream: Resource<DirectoryEntryStream>) -> wasmtime::Result<()> {
        self.table.delete::<Listing>(Resource::new_own(stream.rep()))?;
        Ok(())
    }
}

fn last(flags: PathFlags) -> Last {
    if flags.contains(PathFlags::SYMLINK_FOLLOW) { Last::Follow } else { Last::Keep }
}

/// Tells files apart without telling which inode they are.
fn hash(stat: &Stat) -> MetadataHashValue {
    let half = |salt: u64| {
        let mut hasher = DefaultHasher::new();
        (salt, stat.identity).hash(&mut hasher);
        hasher.finish()
    };
    MetadataHashValue { lower: half(0), upper: half(1) }
}
