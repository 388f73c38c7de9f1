//! The index of a pack (version 2): hash to offset, by binary search over the file. What must never live here: the pack.

use super::{ObjectError, Prefix};
use crate::disk::{Paged, Pages};
use gix_hash::ObjectId;
use std::collections::BTreeSet;
use std::io;

/// Where the table of hashes begins: after magic, version and 256 counts.
const HASHES_AT: u64 = 8 + 256 * 4;
/// Bytes of hashes of pack and index at the end.
const TRAILER_BYTES: u64 = 40;

/// An open index.
pub(super) struct PackIndex {
    path: String,
    file: Paged,
    /// `first[b]` objects have a hash whose first byte is below `b`.
    first: [u32; 257],
    /// Entries in the table of large offsets.
    large: u64,
}

impl PackIndex {
    pub(super) fn open(path: String, number: usize, pages: &Pages) -> Result<Self, ObjectError> {
        let file = Paged::open(&path, number, pages)?;
        let corrupt = |why: &str| ObjectError::CorruptFile { path: path.clone(), why: why.to_owned() };
        let ended = |error: io::Error| match error.kind() {
            io::ErrorKind::UnexpectedEof => corrupt("it ends too early"),
            _ => error.into(),
        };
        if file.array::<8>(0).map_err(ended)? != [0xff, b't', b'O', b'c', 0, 0, 0, 2] {
            return Err(corrupt("it is no pack index of version 2 (`git gc` rewrites one of version 1)"));
        }
        let mut first = [0; 257];
        for byte in 0..256 {
            first[byte + 1] = file.number32(8 + byte as u64 * 4).map_err(ended)?;
            if first[byte + 1] < first[byte] {
                return Err(corrupt("its counts go down"));
            }
        }
        let fixed = HASHES_AT + u64::from(first[256]) * (20 + 4 + 4) + TRAILER_BYTES;
        let rest = file.len().checked_sub(fixed).ok_or_else(|| corrupt("it is too short for its count of objects"))?;
        if rest % 8 != 0 {
            return Err(corrupt("its table of large offsets is cut"));
        }
        Ok(Self { file, first, large: rest / 8, path })
    }

    /// Where in the pack an object begins.
    pub(super) fn find(&self, id: &ObjectId) -> Result<Option<u64>, ObjectError> {
        let at = self.lower_bound(id)?;
        if at == self.len() || self.id(at)? != *id {
            return Ok(None);
        }
        let offsets = HASHES_AT + u64::from(self.len()) * 24;
        let small = self.number32(offsets + u64::from(at) * 4)?;
        if small & 0x8000_0000 == 0 {
            return Ok(Some(u64::from(small)));
        }
        let large = u64::from(small & 0x7fff_ffff);
        if large >= self.large {
            return Err(self.corrupt("an offset is not in its table of large offsets"));
        }
        let tables = offsets + u64::from(self.len()) * 4;
        Ok(Some(u64::from_be_bytes(self.file.array(tables + large * 8)?)))
    }

    /// Adds the objects whose hash begins so.
    pub(super) fn beginning(
        &self,
        prefix: &Prefix,
        limit: usize,
        found: &mut BTreeSet<ObjectId>,
    ) -> Result<(), ObjectError> {
        let at = self.lower_bound(&prefix.least)?;
        for at in (at..self.len()).take(limit) {
            let id = self.id(at)?;
            if !prefix.fits(&id) {
                break;
            }
            found.insert(id);
        }
        Ok(())
    }

    fn len(&self) -> u32 {
        self.first[256]
    }

    /// The first place whose hash is not below `id`.
    fn lower_bound(&self, id: &ObjectId) -> Result<u32, ObjectError> {
        let byte = usize::from(id.as_slice()[0]);
        let (mut low, mut high) = (self.first[byte], self.first[byte + 1]);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.id(middle)? < *id {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    fn id(&self, at: u32) -> Result<ObjectId, ObjectError> {
        let bytes = self.file.array::<20>(HASHES_AT + u64::from(at) * 20);
        bytes.map(ObjectId::from).map_err(|error| self.ended(error))
    }

    fn number32(&self, offset: u64) -> Result<u32, ObjectError> {
        self.file.number32(offset).map_err(|error| self.ended(error))
    }

    fn ended(&self, error: io::Error) -> ObjectError {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => self.corrupt("it ends too early"),
            _ => error.into(),
        }
    }

    fn corrupt(&self, why: &str) -> ObjectError {
        ObjectError::CorruptFile { path: self.path.clone(), why: why.to_owned() }
    }
}
