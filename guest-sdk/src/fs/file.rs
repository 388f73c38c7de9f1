//! One open file. What must never live here: paths; they are resolved when it is opened.

use super::Metadata;
use super::backend::{Handle, Links, Open};
use super::error::Context;
use super::path::locate;
use std::io;
use std::path::Path;

/// An open file, with a position for [`io::Read`], [`io::Write`] and [`io::Seek`]. Nothing is buffered: read large pieces,
/// or wrap it in [`io::BufReader`].
#[derive(Debug)]
pub struct File {
    handle: Handle,
    path: String,
    position: u64,
}

impl File {
    /// Opens a file for reading.
    ///
    /// # Errors
    /// It is missing or not granted. A directory may open, and then fails to read.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        Self::open_with(path.as_ref(), Open::Read)
    }

    /// Creates a file for writing, or empties the one that is there.
    ///
    /// # Errors
    /// The directory is missing, or writing is not granted.
    pub fn create(path: impl AsRef<Path>) -> io::Result<Self> {
        Self::open_with(path.as_ref(), Open::Create)
    }

    /// Opens for reading what a listing named; a link in its place is not followed.
    #[cfg(feature = "walk")]
    pub(crate) fn open_listed(path: &str) -> io::Result<Self> {
        let at = locate(Path::new(path))?;
        let handle = at.base.open_at(&at.inner, Open::Read, Links::Keep).context("open", &at.path)?;
        Ok(Self::new(handle, at.path))
    }

    pub(super) fn open_with(path: &Path, how: Open) -> io::Result<Self> {
        let at = locate(path)?;
        let verb = match how {
            Open::Read => "open",
            Open::Create | Open::Append => "write",
        };
        let handle = at.base.open_at(&at.inner, how, Links::Follow).context(verb, &at.path)?;
        Ok(Self::new(handle, at.path))
    }

    pub(super) fn new(handle: Handle, path: String) -> Self {
        Self { handle, path, position: 0 }
    }

    /// What is known of the file.
    ///
    /// # Errors
    /// The host cannot tell.
    pub fn metadata(&self) -> io::Result<Metadata> {
        self.handle.stat().context("look at", &self.path)
    }

    /// Reads up to `len` bytes at `offset`, fewer only where the file ends. The position stays where it was.
    ///
    /// # Errors
    /// The host cannot read there.
    pub fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        while bytes.len() < len {
            let at = offset.saturating_add(bytes.len() as u64);
            let ended = self.handle.read_at(at, len - bytes.len(), &mut bytes).context("read", &self.path)?;
            if ended {
                break;
            }
        }
        Ok(bytes)
    }

    /// Reads the file from its beginning into `bytes`, whose content is replaced and whose room is reused. Stops after
    /// `limit` bytes, and says whether there was more. The position stays where it was.
    ///
    /// # Errors
    /// The host cannot read.
    pub fn read_whole(&self, bytes: &mut Vec<u8>, limit: u64) -> io::Result<Size> {
        bytes.clear();
        let ended = self.handle.read_whole(bytes, limit).context("read", &self.path)?;
        Ok(if ended { Size::Whole } else { Size::CutOff })
    }

    /// Writes all bytes at `offset`. The position stays where it was.
    ///
    /// # Errors
    /// Writing is not granted, or the host stops the write.
    pub fn write_all_at(&self, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = self.write_some_at(bytes, offset)?;
            bytes = &bytes[written..];
            offset += written as u64;
        }
        Ok(())
    }

    /// Cuts the file, or fills it with zeroes, to `len` bytes.
    ///
    /// # Errors
    /// Writing is not granted, or the host stops it.
    pub fn set_len(&self, len: u64) -> io::Result<()> {
        self.handle.set_len(len).context("resize", &self.path)
    }

    fn write_some_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let written = self.handle.write_at(bytes, offset).context("write", &self.path)?;
        if written == 0 {
            return Err(io::Error::from(io::ErrorKind::WriteZero)).context("write", &self.path);
        }
        Ok(written)
    }
}

/// Whether a bounded read saw the whole file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// All of it.
    Whole,
    /// There was more.
    CutOff,
}

impl io::Read for File {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut bytes = Vec::new();
        self.handle.read_at(self.position, into.len(), &mut bytes).context("read", &self.path)?;
        into[..bytes.len()].copy_from_slice(&bytes);
        self.position += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn read_to_end(&mut self, into: &mut Vec<u8>) -> io::Result<usize> {
        const PIECE_BYTES: usize = 1 << 20;
        let before = into.len();
        loop {
            let had = into.len();
            let ended = self.handle.read_at(self.position, PIECE_BYTES, into).context("read", &self.path)?;
            self.position += (into.len() - had) as u64;
            if ended {
                return Ok(into.len() - before);
            }
        }
    }
}

impl io::Write for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let written = self.write_some_at(bytes, self.position)?;
        self.position += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl io::Seek for File {
    fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
        let target = match to {
            io::SeekFrom::Start(offset) => Some(offset),
            io::SeekFrom::Current(delta) => self.position.checked_add_signed(delta),
            io::SeekFrom::End(delta) => self.metadata()?.len().checked_add_signed(delta),
        };
        self.position = target.ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, format!("seek to before the start of {}", self.path))
        })?;
        Ok(self.position)
    }
}
