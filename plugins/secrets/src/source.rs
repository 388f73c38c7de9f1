//! Files, as far as the caller's grant reaches: everything comes through the tool `files.read`.
//!
//! No judgement about contents here; only what was read, and why something was not.

use crate::finding::Finding;
use crate::scan::FileScan;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use vespiary_sdk::dispatch::{self, Request, Success};
use vespiary_sdk::{Error, Result, report};

/// A file that was not scanned, or not to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Skipped {
    /// The file.
    pub path: String,
    /// Why.
    pub reason: String,
}

/// Bytes asked for at once. With `FILES_AT_ONCE` it bounds what a batch of answers holds in memory.
const PIECE_BYTES: u64 = 256 * 1024;
const FILES_AT_ONCE: usize = 24;
/// Larger files are skipped; of one that grows meanwhile, what is beyond.
const FILE_BYTES_MAX: u64 = 32 * 1024 * 1024;

#[derive(Serialize)]
struct ReadPiece<'a> {
    path: &'a str,
    offset: u64,
    length: u64,
    max_file_bytes: u64,
}

#[derive(Serialize)]
struct ReadLines<'a> {
    path: &'a str,
    start_line: u32,
    end_line: u32,
}

/// What of the answer of `files.read` matters here.
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

/// What scanning a list of files gave.
#[derive(Debug, Default)]
pub(crate) struct Scanned<'a> {
    pub(crate) findings: Vec<Finding>,
    pub(crate) files: usize,
    pub(crate) bytes: u64,
    pub(crate) skipped: Vec<Skipped>,
    /// What was not begun any more.
    pub(crate) left: &'a [String],
}

/// Scan files, a batch at a time, and begin none after `bytes_max` bytes.
///
/// # Errors
/// Only where nothing more can be had: the call was cancelled or a quota is used up. A file that cannot be read is skipped.
pub(crate) fn scan_all(paths: &[String], bytes_max: u64) -> Result<Scanned<'_>> {
    let mut scanned = Scanned::default();
    let mut done = 0;
    for batch in paths.chunks(FILES_AT_ONCE) {
        let requests = batch.iter().map(|path| piece_request(path, 0)).collect::<Result<Vec<_>>>()?;
        for (path, answer) in batch.iter().zip(dispatch::call_all(&requests)) {
            if scanned.bytes >= bytes_max {
                scanned.left = &paths[done..];
                return Ok(scanned);
            }
            done += 1;
            match scan_file(path, answer) {
                Ok(Scan { findings, bytes, cut_short }) => {
                    scanned.files += 1;
                    scanned.bytes += bytes;
                    scanned.findings.extend(findings);
                    scanned.skipped.extend(cut_short.map(|reason| Skipped { path: path.clone(), reason }));
                }
                Err(error @ (Error::Cancelled | Error::Limit(_))) => return Err(error),
                Err(error) => scanned.skipped.push(Skipped { path: path.clone(), reason: error.to_string() }),
            }
        }
        report::progress(done as u64, Some(paths.len() as u64), "files scanned for secrets");
    }
    Ok(scanned)
}

/// What scanning one file gave.
struct Scan {
    findings: Vec<Finding>,
    bytes: u64,
    /// Why it was not read to its end.
    cut_short: Option<String>,
}

fn piece_request(path: &str, offset: u64) -> Result<Request> {
    Request::new("files.read", &ReadPiece { path, offset, length: PIECE_BYTES, max_file_bytes: FILE_BYTES_MAX })
}

/// Scan one file, given the answer for its first piece.
fn scan_file(path: &str, first: Result<Success>) -> Result<Scan> {
    let mut piece: Piece = first?.value()?;
    match &*piece.encoding {
        "binary" => return Err(Error::failed("binary")),
        "too-large" => return Err(Error::failed(format!("larger than {FILE_BYTES_MAX} bytes"))),
        _ => {}
    }
    let mut file = FileScan::new(path);
    loop {
        let end = piece.offset + piece.bytes;
        let last = piece.bytes == 0 || end >= piece.size;
        let too_long = !last && end >= FILE_BYTES_MAX;
        let text = if piece.offset == 0 { unmarked(&piece.text) } else { &piece.text };
        file.push(text, last || too_long);
        if last {
            return Ok(Scan { findings: file.finish(), bytes: end, cut_short: None });
        }
        if too_long {
            let why = format!("larger than {FILE_BYTES_MAX} bytes, and not scanned beyond");
            return Ok(Scan { findings: file.finish(), bytes: end, cut_short: Some(why) });
        }
        let why = match dispatch::call_all(&[piece_request(path, end)?])
            .pop()
            .ok_or_else(|| Error::failed("no answer"))?
            .and_then(|success| success.value::<Piece>())
        {
            Ok(next) if next.encoding == "binary" => format!("binary from byte {end} on"),
            Ok(next) if next.encoding == "too-large" => {
                format!("it grew while it was scanned, and past byte {end} it was not")
            }
            Ok(next) => {
                piece = next;
                continue;
            }
            Err(error @ (Error::Cancelled | Error::Limit(_))) => return Err(error),
            Err(error) => format!("not read past byte {end}: {error}"),
        };
        file.push("", true);
        return Ok(Scan { findings: file.finish(), bytes: end, cut_short: Some(why) });
    }
}

/// A text without the mark that says how it is encoded: it is no part of the first line. `files.read` decodes what has one.
fn unmarked(text: &str) -> &str {
    text.strip_prefix('\u{FEFF}').unwrap_or(text)
}

/// The lines `start_line..=end_line` of a file, or as many as there are.
///
/// # Errors
/// What `files.read` answered; `Failed` for a binary file.
pub(crate) fn lines(path: &str, start_line: u32, end_line: u32) -> Result<String> {
    let piece: Piece = dispatch::call("files.read", &ReadLines { path, start_line, end_line })?;
    if piece.encoding == "binary" {
        return Err(Error::failed(format!("{path} is binary")));
    }
    Ok(if piece.offset == 0 { unmarked(&piece.text).to_owned() } else { piece.text })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Answers `files.read` from memory, as the files plugin does.
    pub(crate) fn serve(files: Vec<(&'static str, Vec<u8>)>) {
        dispatch::mock(move |tool, arguments| {
            assert_eq!(tool, "files.read");
            let path = arguments["path"].as_str().unwrap();
            let (_, content) = files.iter().find(|(name, _)| *name == path).ok_or_else(|| Error::not_found(path))?;
            let offset = arguments["offset"].as_u64().unwrap_or(0) as usize;
            let end = content.len().min(offset + arguments["length"].as_u64().unwrap_or(1 << 20) as usize);
            let bytes = &content[offset..end];
            if bytes.contains(&0) {
                return Ok(
                    json!({"path": path, "size": content.len(), "encoding": "binary", "text": "", "offset": offset, "bytes": 0}),
                );
            }
            Ok(
                json!({"path": path, "size": content.len(), "encoding": "utf-8-lossy", "text": String::from_utf8_lossy(bytes), "offset": offset, "bytes": bytes.len()}),
            )
        });
    }

    #[test]
    fn a_large_file_is_read_in_pieces_and_lines_count_through() {
        let token = ["q7ZxKp2mVt9L", "wRb4Ns8Dy3Hc6J"].concat();
        let mut content = "plain words, é\n".repeat(60_000).into_bytes();
        let line = 60_001;
        content.extend(format!("api_token = '{token}'\n").into_bytes());
        content.extend("more words\n".repeat(40_000).into_bytes());
        serve(vec![("a.py", content), ("b.bin", vec![0; 100])]);
        let paths = ["a.py".into(), "b.bin".into(), "gone".into()];
        let scanned = scan_all(&paths, u64::MAX).unwrap();
        assert_eq!(scanned.files, 1);
        assert_eq!(scanned.findings.iter().map(|f| f.line).collect::<Vec<_>>(), [line]);
        assert_eq!(
            scanned.skipped.iter().map(|s| (s.path.as_str(), s.reason.as_str())).collect::<Vec<_>>(),
            [("b.bin", "binary"), ("gone", "not found: gone")]
        );
    }

    #[test]
    fn text_in_utf_16_is_scanned_as_it_was_decoded() {
        let token = ["q7ZxKp2mVt9L", "wRb4Ns8Dy3Hc6J"].concat();
        let text = format!("\u{FEFF}API_TOKEN={token}!\r\n{}PASSWORD=!{token}\r\n", "# naïve words\r\n".repeat(40_000));
        let units: Vec<u16> = text.encode_utf16().collect();
        let size = units.len() * 2;
        dispatch::mock(move |_, arguments| {
            let offset = arguments["offset"].as_u64().unwrap_or(0) as usize;
            let end = size.min(offset + arguments["length"].as_u64().unwrap_or(1 << 20) as usize);
            let text = String::from_utf16(&units[offset / 2..end / 2]).unwrap();
            Ok(
                json!({"path": "a.env", "size": size, "encoding": "utf-16", "text": text, "offset": offset, "bytes": end - offset}),
            )
        });
        let paths = ["a.env".to_owned()];
        let scanned = scan_all(&paths, u64::MAX).unwrap();
        let places: Vec<_> = scanned.findings.iter().map(|f| (f.line, f.column, f.evidence.length)).collect();
        assert_eq!(places, [(1, 11, 27), (40_002, 10, 27)]);
        assert_eq!((scanned.bytes, scanned.skipped), (size as u64, vec![]));
        assert!(lines("a.env", 1, 9).unwrap().starts_with("API_TOKEN"));
    }

    #[test]
    fn what_is_past_the_limit_is_left_and_nothing_is_lost() {
        serve(vec![("a", vec![b'a'; 10]), ("b", vec![b'b'; 10]), ("c", vec![b'c'; 10]), ("d", vec![b'd'; 10])]);
        let paths = ["a", "b", "gone", "c", "d"].map(String::from);
        for (bytes_max, files, left) in [(0, 0, 5), (1, 1, 4), (10, 1, 4), (11, 2, 3), (25, 3, 1), (40, 4, 0)] {
            let scanned = scan_all(&paths, bytes_max).unwrap();
            assert_eq!((scanned.files, scanned.left), (files, &paths[5 - left..]), "{bytes_max}");
            assert_eq!(scanned.bytes, files as u64 * 10);
        }
    }

    #[test]
    fn a_used_up_quota_ends_the_scan() {
        dispatch::mock(|_, _| {
            Err(Error::Limit(vespiary_sdk::LimitHit { quota: "tool-calls".into(), limit: 1, used: 1 }))
        });
        assert!(matches!(scan_all(&["a".into()], u64::MAX), Err(Error::Limit(_))));
    }
}
