//! Loose objects: one zlib stream a file, `kind size NUL content`. What must never live here: packs.

use super::inflate::Inflater;
use super::{Broken, OBJECT_BYTES_MAX, Object, ObjectError, Prefix};
use gix_hash::ObjectId;
use gix_object::Kind;
use std::collections::BTreeSet;
use std::io;
use std::rc::Rc;
use vespiary_sdk::fs;

/// Longest header there can be: a kind, a blank, twenty digits and NUL.
const HEADER_BYTES_MAX: usize = 32;

/// The object as its file has it, not yet checked against its hash.
pub(super) fn read(dir: &str, id: ObjectId) -> Result<Option<Object>, Broken> {
    let hex = id.to_string();
    let file = match fs::File::open(format!("{dir}/{}/{}", &hex[..2], &hex[2..])) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut stream = Inflater::new(&file, 0);
    let mut data = Vec::new();
    stream.fill(&mut data, HEADER_BYTES_MAX)?;
    let (kind, size, header) = header(&data).ok_or_else(|| Broken::why("its header is not that of an object"))?;
    if size > OBJECT_BYTES_MAX {
        return Err(Broken::TooLarge(size));
    }
    stream.finish(&mut data, header + size as usize)?;
    data.drain(..header);
    Ok(Some(Object { kind, data: Rc::new(data) }))
}

fn header(data: &[u8]) -> Option<(Kind, u64, usize)> {
    let end = data.iter().position(|byte| *byte == 0)?;
    let (kind, size) = std::str::from_utf8(&data[..end]).ok()?.split_once(' ')?;
    let digits = !size.is_empty() && size.bytes().all(|byte| byte.is_ascii_digit());
    Some((Kind::from_bytes(kind.as_bytes()).ok()?, digits.then(|| size.parse().ok())??, end + 1))
}

/// Adds the loose objects whose hash begins so.
pub(super) fn beginning(
    dir: &str,
    prefix: &Prefix,
    limit: usize,
    found: &mut BTreeSet<ObjectId>,
) -> Result<(), ObjectError> {
    let first = &prefix.hex[..2];
    let entries = match fs::read_dir(format!("{dir}/{first}")) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let ids =
        entries.flatten().filter_map(|entry| ObjectId::from_hex(format!("{first}{}", entry.name()).as_bytes()).ok());
    found.extend(ids.filter(|id| prefix.fits(id)).take(limit));
    Ok(())
}
