//! Files through the tools `files.read`, `files.glob` and `files.stat`: lock files whole, advisories as a stream of records.
//!
//! No judgement here about what was read.

use crate::osv::{Advisory, Objects};
use serde::{Deserialize, Serialize};
use vespiary_sdk::dispatch::{self, Request};
use vespiary_sdk::{Error, Result};

/// Bytes asked for at once.
const PIECE_BYTES: u64 = 512 * 1024;
/// Longest lock file taken in, in bytes.
const LOCK_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Records read at once from a folder of advisories.
const RECORDS_AT_ONCE: usize = 64;

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

#[derive(Deserialize)]
struct Kind {
    kind: String,
}

#[derive(Serialize)]
struct Glob<'a> {
    patterns: &'a [&'a str],
    path: &'a str,
    ignore: bool,
    limit: usize,
}

#[derive(Deserialize)]
struct Listing {
    entries: Vec<Listed>,
    #[serde(default)]
    truncated: bool,
}

#[derive(Deserialize)]
struct Listed {
    path: String,
    kind: String,
}

/// Most files that one search may give.
const LISTED_MAX: usize = 250_000;

/// Files under `path` that match one of `patterns`, in order of path.
///
/// # Errors
/// What `files.glob` answered; `Failed` where there are more than can be listed.
pub(crate) fn find(patterns: &[&str], path: &str, ignore: bool) -> Result<Vec<String>> {
    let listing: Listing = dispatch::call("files.glob", &Glob { patterns, path, ignore, limit: LISTED_MAX })?;
    if listing.truncated {
        return Err(Error::failed(format!(
            "more than {LISTED_MAX} files under {path}: name a smaller folder, or one file that holds them all"
        )));
    }
    let mut paths: Vec<String> =
        listing.entries.into_iter().filter(|entry| entry.kind == "file").map(|entry| entry.path).collect();
    paths.sort_unstable();
    Ok(paths)
}

/// The whole text of a file.
///
/// # Errors
/// What `files.read` answered; `Failed` for a binary or overlong file.
pub(crate) fn whole(path: &str) -> Result<String> {
    let mut text = String::new();
    pieces(path, |size, piece| {
        if size > LOCK_BYTES_MAX {
            return Err(Error::failed(format!("{size} bytes long; at most {LOCK_BYTES_MAX} are read")));
        }
        text.push_str(piece);
        Ok(())
    })?;
    Ok(text)
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
/// What the file tools answered about `path` itself.
pub(crate) fn advisories(path: &str, mut take: impl FnMut(Advisory)) -> Result<(usize, usize)> {
    let (mut records, mut unreadable) = (0, 0);
    let mut parse = |text: &str| {
        records += 1;
        match serde_json::from_str::<Advisory>(text) {
            Ok(advisory) => take(advisory),
            Err(_) => unreadable += 1,
        }
    };
    let kind: Kind =
        dispatch::call("files.stat", &Stat { path }).map_err(|error| error.within("context.advisories"))?;
    if kind.kind != "dir" {
        let mut objects = Objects::default();
        pieces(path, |_, piece| {
            objects.push(piece).iter().for_each(|object| parse(object));
            Ok(())
        })
        .map_err(|error| error.within("context.advisories"))?;
        return Ok((records, unreadable));
    }
    let files = find(&["**/*.json"], path, false)?;
    for batch in files.chunks(RECORDS_AT_ONCE) {
        let requests = batch
            .iter()
            .map(|path| Request::new("files.read", &ReadPiece { path, offset: 0, length: PIECE_BYTES }))
            .collect::<Result<Vec<_>>>()?;
        for (path, answer) in batch.iter().zip(dispatch::call_all(&requests)) {
            match answer.and_then(|success| success.value::<Piece>()) {
                Ok(piece) if piece.bytes < piece.size => match whole(path) {
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
    let kind: Kind =
        dispatch::call("files.stat", &Stat { path }).map_err(|error| error.within("context.advisories"))?;
    if kind.kind != "dir" {
        return Ok(None);
    }
    for file in find(&[&format!("**/{id}.json")], path, false)? {
        if let Some(advisory) =
            serde_json::from_str::<Advisory>(&whole(&file)?).ok().filter(|advisory| advisory.id == id)
        {
            return Ok(Some(advisory));
        }
    }
    Ok(None)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::json;

    /// Answers the file tools from memory, as the files plugin does.
    pub(crate) fn serve(files: &[(&str, &str)]) {
        let files: Vec<(String, String)> =
            files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        dispatch::mock(move |tool, arguments| {
            let path = arguments["path"].as_str().unwrap_or(".");
            let under = |name: &str| path == "." || name.starts_with(&format!("{path}/"));
            match tool {
                "files.read" => {
                    let (_, text) =
                        files.iter().find(|(name, _)| name == path).ok_or_else(|| Error::not_found(path))?;
                    let offset = arguments["offset"].as_u64().unwrap_or(0) as usize;
                    let end = text.len().min(offset + arguments["length"].as_u64().unwrap_or(1 << 20) as usize);
                    let piece = String::from_utf8_lossy(&text.as_bytes()[offset..end]);
                    Ok(
                        json!({"path": path, "size": text.len(), "encoding": "utf-8", "text": piece, "offset": offset, "bytes": end - offset}),
                    )
                }
                "files.stat" if files.iter().any(|(name, _)| name == path) => {
                    Ok(json!({"path": path, "kind": "file", "size": 1}))
                }
                "files.stat" if files.iter().any(|(name, _)| under(name)) => {
                    Ok(json!({"path": path, "kind": "dir", "size": 0}))
                }
                "files.glob" => {
                    let endings: Vec<&str> = arguments["patterns"]
                        .as_array()
                        .unwrap()
                        .iter()
                        .map(|p| p.as_str().unwrap().trim_start_matches("**/").trim_start_matches('*'))
                        .collect();
                    let matching = files
                        .iter()
                        .filter(|(name, _)| under(name) && endings.iter().any(|ending| name.ends_with(ending)));
                    let entries: Vec<_> = matching
                        .map(|(name, text)| json!({"path": name, "kind": "file", "size": text.len()}))
                        .collect();
                    Ok(json!({"entries": entries, "skipped": [], "truncated": false}))
                }
                _ => Err(Error::not_found(path)),
            }
        });
    }

    #[test]
    fn records_come_from_folders_and_from_files() {
        serve(&[
            ("osv/a.json", "{\"id\": \"A\"}"),
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
    fn a_long_file_comes_whole() {
        let long = "é".repeat(400_000);
        serve(&[("a.txt", &format!("x{long}"))]);
        assert_eq!(
            whole("a.txt").unwrap().matches('é').count()
                + 2 * whole("a.txt").unwrap().matches("\u{FFFD}\u{FFFD}").count() / 2,
            400_000
        );
    }
}
