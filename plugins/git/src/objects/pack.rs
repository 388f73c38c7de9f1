//! Packs: many objects in one file, some told as deltas of others. What must never live here: reading a pack whole.

use super::inflate::Inflater;
use super::pack_index::PackIndex;
use super::{Broken, CHAIN_BYTES_MAX, CHAIN_LEN_MAX, OBJECT_BYTES_MAX, Object, ObjectError, delta};
use crate::disk::{Paged, Pages};
use crate::recent::Recent;
use gix_hash::ObjectId;
use gix_object::Kind;
use std::cell::OnceCell;
use std::rc::Rc;

/// A pack and its index.
pub(super) struct Pack {
    pub(super) index: PackIndex,
    path: String,
    number: usize,
    pages: Pages,
    file: OnceCell<Paged>,
}

/// What stands at some offset of a pack.
struct Entry {
    stored: Stored,
    /// Size of what is stored, inflated, in bytes.
    size: u64,
    /// Where its zlib stream begins.
    data_at: u64,
}

enum Stored {
    Whole(Kind),
    /// A delta; its base stands at this offset.
    Delta(u64),
}

impl Pack {
    /// Opens the index of the pack `stem`, which is a path without `.pack`. The pack is opened when it is needed.
    pub(super) fn open(stem: &str, number: usize, pages: &Pages) -> Result<Self, ObjectError> {
        // Index and pack share the memory of pages, so each has a number of its own.
        let index = PackIndex::open(format!("{stem}.idx"), number * 2, pages)?;
        Ok(Self { index, path: format!("{stem}.pack"), number, pages: pages.clone(), file: OnceCell::new() })
    }

    /// The object at `offset`, not yet checked against its hash.
    pub(super) fn read(&self, offset: u64, bases: &Recent<(usize, u64), Object>) -> Result<Object, Broken> {
        let mut chain = Vec::new();
        let mut bytes = 0_u64;
        let mut at = offset;
        let mut object = loop {
            if let Some(object) = bases.recall(&(self.number, at)) {
                break object;
            }
            let entry = self.entry(at)?;
            bytes = bytes.saturating_add(entry.size);
            match entry.stored {
                Stored::Whole(kind) => {
                    let object = Object { kind, data: Rc::new(self.inflate(&entry)?) };
                    bases.keep((self.number, at), object.clone(), object.data.len());
                    break object;
                }
                Stored::Delta(base) => {
                    // A chain that runs in a circle ends here too.
                    if chain.len() == CHAIN_LEN_MAX {
                        return Err(Broken::why(format!("its chain of deltas is longer than {CHAIN_LEN_MAX}")));
                    }
                    chain.push((at, entry));
                    at = base;
                }
            }
        };
        for (at, entry) in chain.into_iter().rev() {
            let data = delta::apply(&object.data, &self.inflate(&entry)?)?;
            bytes = bytes.saturating_add(data.len() as u64);
            if bytes > CHAIN_BYTES_MAX {
                return Err(Broken::why(format!("its chain of deltas takes more than {CHAIN_BYTES_MAX} bytes")));
            }
            object = Object { kind: object.kind, data: Rc::new(data) };
            bases.keep((self.number, at), object.clone(), object.data.len());
        }
        Ok(object)
    }

    fn inflate(&self, entry: &Entry) -> Result<Vec<u8>, Broken> {
        if entry.size > OBJECT_BYTES_MAX {
            return Err(Broken::TooLarge(entry.size));
        }
        let mut data = Vec::new();
        Inflater::new(self.file()?, entry.data_at).finish(&mut data, entry.size as usize)?;
        Ok(data)
    }

    fn entry(&self, offset: u64) -> Result<Entry, Broken> {
        let file = self.file()?;
        if offset < 12 || offset >= file.len().saturating_sub(20) {
            return Err(Broken::why("its place is outside its pack"));
        }
        let mut at = offset;
        let mut next = || {
            let [byte] = file.array::<1>(at)?;
            at += 1;
            Ok::<u8, Broken>(byte)
        };
        let mut byte = next()?;
        let code = byte >> 4 & 7;
        let mut size = u64::from(byte & 15);
        let mut shift = 4;
        while byte & 0x80 != 0 {
            if shift > 56 {
                return Err(Broken::why("its size is no size"));
            }
            byte = next()?;
            size |= u64::from(byte & 0x7f) << shift;
            shift += 7;
        }
        let stored = match code {
            1 => Stored::Whole(Kind::Commit),
            2 => Stored::Whole(Kind::Tree),
            3 => Stored::Whole(Kind::Blob),
            4 => Stored::Whole(Kind::Tag),
            6 => {
                byte = next()?;
                let mut back = u64::from(byte & 0x7f);
                while byte & 0x80 != 0 {
                    byte = next()?;
                    back = back
                        .checked_add(1)
                        .filter(|back| back.leading_zeros() > 7)
                        .map(|back| back << 7 | u64::from(byte & 0x7f))
                        .ok_or_else(|| Broken::why("its base is nowhere"))?;
                }
                let base = offset.checked_sub(back).filter(|base| *base != offset);
                Stored::Delta(base.ok_or_else(|| Broken::why("its base is outside its pack"))?)
            }
            7 => {
                let id = ObjectId::from(file.array::<20>(at)?);
                at += 20;
                let base = self.index.find(&id).map_err(|error| Broken::why(error.to_string()))?;
                Stored::Delta(base.ok_or_else(|| Broken::why(format!("its base {id} is not in its pack")))?)
            }
            _ => return Err(Broken::why("its kind is none of Git's")),
        };
        Ok(Entry { stored, size, data_at: at })
    }

    fn file(&self) -> Result<&Paged, Broken> {
        if let Some(file) = self.file.get() {
            return Ok(file);
        }
        let file = Paged::open(&self.path, self.number * 2 + 1, &self.pages)?;
        let header = file.array::<8>(0)?;
        if header[..4] != *b"PACK" || !matches!(header[4..], [0, 0, 0, 2 | 3]) {
            return Err(Broken::why(format!("{} is no pack of version 2 or 3", self.path)));
        }
        Ok(self.file.get_or_init(|| file))
    }
}
