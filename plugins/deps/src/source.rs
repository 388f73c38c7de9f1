//! Files through the tools `files.read` and `files.stat`: lock files whole, advisories as a stream of records.
//!
//! No judgement here about what was read.

use crate::listing::{self, Listed};
use crate::osv::{Advisory, Objects};
use serde::{Deserialize, Serialize};
use vespiary_sdk::dispatch::{self, Request};
use vespiary_sdk::{Error, Result};

/// Bytes asked for at once.
const PIECE_BYTES: u64 = 512 * 1024;
/// Longest lock file taken in, in bytes.
const LOCK_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Records read at once from a folder of advisories, and their bytes. One call carries 16 MiB of answers, and as JSON a byte may
/// become six.
const RECORDS_AT_ONCE: usize = 64;
const RECORD_BYTES_AT_ONCE: u64 = 2 * 1024 * 1024;
/// Most records in a folder. Each is a call, and an agent has 200,000 of them.
const RECORDS_MAX: usize = 190_000;

#[derive(Serialize)]
struct ReadPiece<'a> {
    path: &'a str,
    offset: u64,
    length: u64,
}

#[derive(Deserialize)]
struct Piece {
    size: u64,
    encoding: String,
    #[serde(default)]
    text: String,
    #[serde(default)]
    offset: u64,
    #[serde(default)]
    bytes: u64,
}

#[derive(Serialize)]
struct Stat<'a> {
    path: &'a str,
}

/// What a path leads to.
#[derive(Deserialize)]
struct Place {
    /// In plain form.
    path: String,
    kind: String,
}

/// The whole text of a file, without the byte order mark that some editors put before it.
///
/// # Errors
/// What `files.read` answered; `Failed` for a binary or overlong file.
pub(crate) fn whole(path: &str) -> Result<String> {
    let mut text = String::new();
    pieces(path, |size, piece| {
        if size > LOCK_BYTES_MAX {
            return Err(Error::failed(format!("{size} bytes long; at most {LOCK_BYTES_MAX} are read")));
        }
        text.push_str(if text.is_empty() { without_mark(piece) } else { piece });
        Ok(())
    })?;
    Ok(text)
}

fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{FEFF}').unwrap_or(text)
}

/// Hands the pieces of a file to `take`, with the size of the whole.
fn pieces(path: &str, mut take: impl FnMut(u64, &str) -> Result<()>) -> Result<()> {
    let mut offset = 0;
    loop {
        let piece: Piece = dispatch::call("files.read", &ReadPiece { path, offset, length: PIECE_BYTES })?;
        if piece.encoding == "binary" {
            return Err(Error::failed("binary"));
        }
        take(piece.size, &piece.text)?;
        offset = piece.offset + piece.bytes;
        if piece.bytes == 0 || offset >= piece.size {
            return Ok(());
        }
    }
}

/// Hands every record under `path` to `take`: a folder of `.json` files, or one file that holds an object, an array of them, or one a
/// line. Gives how many records there were, and how many could not be read.
///
/// # Errors
/// What the file tools answered about `path` itself; `Failed` for a folder of more than [`RECORDS_MAX`] files.
pub(crate) fn advisories(path: &str, mut take: impl FnMut(Advisory)) -> Result<(usize, usize)> {
    let (mut records, mut unreadable) = (0, 0);
    let mut parse = |text: &str| {
        records += 1;
        match serde_json::from_str::<Advisory>(without_mark(text)) {
            Ok(advisory) => take(advisory),
            Err(_) => unreadable += 1,
        }
    };
    let place = place(path)?;
    if place.kind != "dir" {
        let mut objects = Objects::default();
        pieces(path, |_, piece| {
            objects.push(piece).iter().for_each(|object| parse(object));
            Ok(())
        })
        .map_err(|error| error.within("context.advisories"))?;
        return Ok((records, unreadable));
    }
    let files = listing::below(&place.path, ".json").map_err(|error| error.within("context.advisories"))?;
    if files.len() > RECORDS_MAX {
        return Err(Error::failed(format!(
            "{} files under {path}, each of which is a call, and at most {RECORDS_MAX} are read: name a smaller folder, or one file that holds them all",
            files.len()
        ))
        .within("context.advisories"));
    }
    for batch in batches(&files) {
        let requests = batch
            .iter()
            .map(|file| Request::new("files.read", &ReadPiece { path: &file.path, offset: 0, length: PIECE_BYTES }))
            .collect::<Result<Vec<_>>>()?;
        for (file, answer) in batch.iter().zip(dispatch::call_all(&requests)) {
            match answer.and_then(|success| success.value::<Piece>()) {
                Ok(piece) if piece.bytes < piece.size => match whole(&file.path) {
                    Ok(text) => parse(&text),
                    Err(_) => parse(""),
                },
                Ok(piece) => parse(&piece.text),
                Err(error @ (Error::Cancelled | Error::Limit(_))) => return Err(error),
                Err(_) => parse(""),
            }
        }
    }
    Ok((records, unreadable))
}

/// The files in groups whose first pieces fit into the answers to one call.
fn batches(files: &[Listed]) -> Vec<&[Listed]> {
    let mut batches = Vec::new();
    let (mut from, mut bytes) = (0, 0);
    for (at, file) in files.iter().enumerate() {
        let piece = file.size.min(PIECE_BYTES);
        if at - from >= RECORDS_AT_ONCE || (at > from && bytes + piece > RECORD_BYTES_AT_ONCE) {
            batches.push(&files[from..at]);
            (from, bytes) = (at, 0);
        }
        bytes += piece;
    }
    batches.extend((from < files.len()).then(|| &files[from..]));
    batches
}

/// The record `id` of a folder whose files are named by their records, as exports are. `None` where `path` is no folder, or has no such file:
/// then only reading everything can tell.
///
/// # Errors
/// What the file tools answered about `path` itself.
pub(crate) fn advisory_by_name(path: &str, id: &str) -> Result<Option<Advisory>> {
    // An identifier is put into a pattern, so it must not be one.
    if !id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Ok(None);
    }
    let place = place(path)?;
    if place.kind != "dir" {
        return Ok(None);
    }
    let name = format!("{id}.json");
    let files = listing::below(&place.path, &name)?;
    for file in files.iter().filter(|file| file.path.rsplit('/').next() == Some(&name)) {
        if let Some(advisory) =
            serde_json::from_str::<Advisory>(&whole(&file.path)?).ok().filter(|advisory| advisory.id == id)
        {
            return Ok(Some(advisory));
        }
    }
    Ok(None)
}

fn place(advisories: &str) -> Result<Place> {
    dispatch::call("files.stat", &Stat { path: advisories }).map_err(|error| error.within("context.advisories"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::served::serve;

    #[test]
    fn records_come_from_folders_and_from_files() {
        serve(&[
            ("osv/a.json", "\u{FEFF}{\"id\": \"A\"}"),
            ("osv/sub/b.json", "{\"id\": \"B\"}"),
            ("osv/bad.json", "<<"),
            ("all.ndjson", "{\"id\": \"C\"}\n{\"id\": \"D\"}\n"),
        ]);
        let read = |path| {
            let mut ids = Vec::new();
            let counts = advisories(path, |advisory| ids.push(advisory.id)).unwrap();
            (ids, counts)
        };
        assert_eq!(read("osv"), (vec!["A".to_owned(), "B".to_owned()], (3, 1)));
        assert_eq!(read("all.ndjson"), (vec!["C".to_owned(), "D".to_owned()], (2, 0)));
        assert!(matches!(advisories("gone", |_| ()), Err(Error::NotFound(why)) if why.contains("context.advisories")));
    }

    #[test]
    fn a_folder_of_any_length_is_read_to_its_end() {
        let paths: Vec<String> =
            (0..crate::served::ANSWER_FILES_MAX * 2 + 3).map(|n| format!("osv/X-{n}.json")).collect();
        serve(&paths.iter().map(|path| (path.as_str(), "{\"id\": \"X\"}")).collect::<Vec<_>>());
        assert_eq!(advisories("osv/", |_| ()).unwrap(), (paths.len(), 0));
        assert!(advisory_by_name("osv", "X-102").unwrap().is_none(), "the record in it has another name");
    }

    #[test]
    fn what_is_read_at_once_fits_into_one_answer() {
        let file = |size: u64| serde_json::from_value(serde_json::json!({"path": "x", "kind": "file", "size": size}));
        let sizes = |all: &[u64]| {
            let files: Vec<Listed> = all.iter().map(|&size| file(size).unwrap()).collect();
            batches(&files).iter().map(|batch| batch.len()).collect::<Vec<_>>()
        };
        assert_eq!(sizes(&[10; 130]), [64, 64, 2]);
        assert_eq!(sizes(&[PIECE_BYTES; 9]), [4, 4, 1]);
        // Of a long file no more than a piece is read with others.
        assert_eq!(sizes(&[64 << 20, 10, 10]), [3]);
        assert!(sizes(&[]).is_empty());
    }

    #[test]
    fn a_long_file_comes_whole() {
        let long = "é".repeat(400_000);
        serve(&[("a.txt", &format!("\u{FEFF}x{long}"))]);
        let text = whole("a.txt").unwrap();
        assert!(text.starts_with('x'));
        assert_eq!(text.matches('é').count() + 2 * text.matches("\u{FFFD}\u{FFFD}").count() / 2, 400_000);
    }
}
