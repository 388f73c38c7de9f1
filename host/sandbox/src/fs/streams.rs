//! Files as streams. Reading and writing happen at once, on the calling thread; there is never anything to wait for.

use super::handle::OpenFile;
use super::limits::Spent;
use super::plain::stat_file;
use bytes::Bytes;
use rustix::io::{Errno, ReadWriteFlags};
use std::io::{self, IoSlice};
use std::sync::Arc;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult};

/// What one read gives, and one write takes, at most.
const PIECE_BYTES: usize = 64 << 10;

/// A file read from some place to its end.
#[derive(Debug)]
pub(crate) struct Reading {
    open: Arc<OpenFile>,
    at: u64,
}

impl Reading {
    pub(crate) fn new(open: Arc<OpenFile>, at: u64) -> Self {
        Self { open, at }
    }
}

#[async_trait]
impl InputStream for Reading {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        let size = size.min(PIECE_BYTES);
        if size == 0 {
            return Ok(Bytes::new());
        }
        let mut bytes = Vec::with_capacity(size);
        match rustix::io::pread(&self.open.file, rustix::buffer::spare_capacity(&mut bytes), self.at) {
            Ok(0) => Err(StreamError::Closed),
            Ok(_) => {
                bytes.truncate(size);
                self.at += bytes.len() as u64;
                Ok(bytes.into())
            }
            Err(errno) => Err(StreamError::LastOperationFailed(io::Error::from(errno).into())),
        }
    }
}

#[async_trait]
impl Pollable for Reading {
    async fn ready(&mut self) {}
}

/// A file written from some place on, or at its end.
#[derive(Debug)]
pub(crate) struct Writing {
    open: Arc<OpenFile>,
    spent: Arc<Spent>,
    place: Place,
    closed: bool,
}

/// Where the next bytes go.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place {
    At(u64),
    End,
}

impl Writing {
    pub(crate) fn new(open: Arc<OpenFile>, spent: Arc<Spent>, place: Place) -> Self {
        Self { open, spent, place, closed: false }
    }

    fn put(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let file = &self.open.file;
        let gap = match self.place {
            Place::At(offset) => offset.saturating_sub(stat_file(file)?.bytes),
            Place::End => 0,
        };
        self.spent.write(gap.saturating_add(bytes.len() as u64))?;
        while !bytes.is_empty() {
            let written = match &mut self.place {
                Place::At(offset) => {
                    let written = rustix::io::pwrite(file, bytes, *offset)?;
                    *offset += written as u64;
                    written
                }
                Place::End => match rustix::io::pwritev2(file, &[IoSlice::new(bytes)], 0, ReadWriteFlags::APPEND) {
                    Err(Errno::NOSYS | Errno::NOTSUP) => rustix::io::pwrite(file, bytes, stat_file(file)?.bytes)?,
                    written => written?,
                },
            };
            bytes = &bytes[written..];
        }
        Ok(())
    }
}

#[async_trait]
impl OutputStream for Writing {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if self.closed {
            return Err(StreamError::Closed);
        }
        if bytes.len() > PIECE_BYTES {
            return Err(StreamError::trap("more was written than check-write allowed"));
        }
        self.put(&bytes).map_err(|error| {
            self.closed = true;
            StreamError::LastOperationFailed(error.into())
        })
    }

    fn flush(&mut self) -> StreamResult<()> {
        if self.closed { Err(StreamError::Closed) } else { Ok(()) }
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        if self.closed { Err(StreamError::Closed) } else { Ok(PIECE_BYTES) }
    }
}

#[async_trait]
impl Pollable for Writing {
    async fn ready(&mut self) {}
}
