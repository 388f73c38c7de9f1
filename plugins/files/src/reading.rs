//! One file's content, or what is known of it.

use crate::coding::{CHARACTER_REST_MAX, Coding, SNIFF_BYTES};
use crate::listing::Kind;
use std::time::UNIX_EPOCH;
use vespiary_sdk::fs::{self, File};
use vespiary_sdk::prelude::*;

/// Bytes one call reads when the caller names no length, and the most it may name.
const LENGTH_MAX: u64 = 1 << 20;

/// Read at once while lines are counted.
const CHUNK_BYTES: usize = 256 << 10;

/// Arguments of `stat`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StatArgs {
    /// Relative to the project. A symbolic link is told as one, not followed.
    pub path: String,
}

/// What is known of a path.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Stat {
    /// As asked for, in plain form.
    pub path: String,
    /// What kind of thing it is.
    pub kind: Kind,
    /// Bytes.
    pub size: u64,
    /// When the content was last changed, milliseconds since 1970, where the host tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modified_unix_ms: Option<u64>,
}

/// Arguments of `read`: a range of bytes or a range of lines, not both.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReadArgs {
    /// File to read, relative to the project.
    pub path: String,
    /// First byte. A character belongs to the range in which it begins, so the range that is given may start and end up to
    /// three bytes later; `offset` and `bytes` of the answer are exact.
    #[serde(default)]
    pub offset: u64,
    /// How many bytes; at most, and when not given, 1,048,576.
    pub length: Option<u64>,
    /// First line, counted from 1.
    pub start_line: Option<u64>,
    /// Last line, included.
    pub end_line: Option<u64>,
    /// Read nothing of a file larger than this; its `encoding` is `too-large` then.
    pub max_file_bytes: Option<u64>,
}

/// How the bytes were understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// Text, exactly.
    #[serde(rename = "utf-8")]
    Utf8,
    /// Text with bytes that are not UTF-8, each shown as U+FFFD.
    #[serde(rename = "utf-8-lossy")]
    Lossy,
    /// Text in UTF-16, as a mark at the beginning says, exactly. `offset` and `bytes` are those of the file.
    #[serde(rename = "utf-16")]
    Utf16,
    /// The same with something that is not UTF-16, shown as U+FFFD.
    #[serde(rename = "utf-16-lossy")]
    Utf16Lossy,
    /// Not text: there is a NUL near the beginning. No content is given.
    Binary,
    /// Not looked at, since the file is larger than `max_file_bytes`. No content is given.
    TooLarge,
}

/// What was read.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Content {
    /// The file.
    pub path: String,
    /// The whole file's bytes.
    pub size: u64,
    /// How the bytes were understood.
    pub encoding: Encoding,
    /// The text of the range; empty for binary files.
    pub text: String,
    /// Where the text begins in the file.
    pub offset: u64,
    /// How many of the file's bytes the text stands for.
    pub bytes: u64,
    /// First and last line of the text, where lines were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lines: Option<[u64; 2]>,
    /// Whether the limit of one call cut what was asked for: read on from `offset + bytes`.
    pub truncated: bool,
}

/// Tell what a path is, without reading it.
#[tool]
pub fn stat(args: StatArgs) -> Result<Stat> {
    let metadata = fs::symlink_metadata(&args.path)?;
    let modified = metadata.modified().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    Ok(Stat {
        path: fs::clean(&args.path)?,
        kind: metadata.file_type().into(),
        size: metadata.len(),
        modified_unix_ms: modified.and_then(|since| u64::try_from(since.as_millis()).ok()),
    })
}

/// Read a text file, or a range of it by bytes or by lines. A call gives at most 1 MiB and says where it stopped; binary
/// files give their size and no content.
#[tool]
pub fn read(args: ReadArgs) -> Result<Content> {
    let by_lines = args.start_line.is_some() || args.end_line.is_some();
    if by_lines && (args.offset > 0 || args.length.is_some()) {
        return Err(Error::invalid(
            "give a range of bytes (offset, length) or of lines (start_line, end_line), not both",
        ));
    }
    if args.length.is_some_and(|length| length > LENGTH_MAX) {
        return Err(Error::invalid(format!("length is past {LENGTH_MAX} bytes; read on with offset in further calls")));
    }
    // Asked before it is opened: opening a pipe may wait for ever.
    let metadata = fs::metadata(&args.path)?;
    if metadata.is_dir() {
        return Err(Error::invalid(format!("{} is a directory; list it with files.list", args.path)));
    }
    if !metadata.is_file() {
        return Err(Error::invalid(format!("{} is a pipe, socket or device; only regular files are read", args.path)));
    }
    let mut content = Content {
        path: fs::clean(&args.path)?,
        size: metadata.len(),
        encoding: Encoding::Utf8,
        text: String::new(),
        offset: 0,
        bytes: 0,
        lines: None,
        truncated: false,
    };
    if args.max_file_bytes.is_some_and(|most| content.size > most) {
        content.encoding = Encoding::TooLarge;
        return Ok(content);
    }
    let file = File::open(&args.path)?;
    if by_lines {
        lines(&file, &args, &mut content)?;
    } else {
        range(&file, args.offset, args.length, &mut content)?;
    }
    Ok(content)
}

/// A character belongs to the range in which it begins. So ranges that follow one another, whatever their lengths, give
/// every character once, and a range may end up to three bytes late.
fn range(file: &File, offset: u64, length: Option<u64>, content: &mut Content) -> Result<()> {
    if offset > content.size {
        return Err(Error::invalid(format!(
            "offset {offset} is past the end: {} has {} bytes",
            content.path, content.size
        )));
    }
    let wanted = length.unwrap_or(LENGTH_MAX);
    let window_start = offset.saturating_sub(CHARACTER_REST_MAX);
    let lead = index(offset - window_start);
    let mut window = file.read_at(window_start, lead + index(wanted + CHARACTER_REST_MAX))?;
    let Some(coding) = coding(file, window_start, &window)? else {
        content.encoding = Encoding::Binary;
        return Ok(());
    };
    let begin = coding.boundary(window_start, &window, lead);
    let end = coding.boundary(window_start, &window, lead + index(wanted)).max(begin);
    window.truncate(end);
    window.drain(..begin);
    content.offset = window_start + begin as u64;
    fill(coding, window, content);
    content.truncated = length.is_none() && content.offset + content.bytes < content.size;
    Ok(())
}

fn lines(file: &File, args: &ReadArgs, content: &mut Content) -> Result<()> {
    let first = args.start_line.unwrap_or(1);
    let last = args.end_line.unwrap_or(u64::MAX);
    if first == 0 || last < first {
        return Err(Error::invalid(format!(
            "lines {first} to {last}: lines count from 1, and the last is not before the first"
        )));
    }
    let mut kept = Vec::new();
    let (mut line, mut at, mut begins) = (1u64, 0u64, None);
    let mut chunk = file.read_at(0, CHUNK_BYTES)?;
    let Some(coding) = coding(file, 0, &chunk)? else {
        content.encoding = Encoding::Binary;
        return Ok(());
    };
    'file: while !chunk.is_empty() {
        // Lines of UTF-16 end at even places, so only the last piece of the file may be odd.
        if coding != Coding::Utf8 && chunk.len() > 1 && !chunk.len().is_multiple_of(2) {
            chunk.pop();
        }
        let mut rest = &chunk[..];
        while !rest.is_empty() {
            // Past the limit by a little, so that a character cut by it is seen whole.
            if line > last || kept.len() as u64 >= LENGTH_MAX + CHARACTER_REST_MAX {
                break 'file;
            }
            let (piece, after) = rest.split_at(coding.line_len(rest));
            if line >= first {
                begins.get_or_insert(at);
                kept.extend_from_slice(piece);
            }
            at += piece.len() as u64;
            line += u64::from(coding.ends_line(piece));
            rest = after;
        }
        chunk = file.read_at(at, CHUNK_BYTES)?;
    }
    let Some(begins) = begins else {
        // An empty file is shown as such; whoever asks for line 1 on has all of it.
        if first == 1 {
            return Ok(());
        }
        let has = if at == 0 { 0 } else { line_count(coding, line, file, at)? };
        return Err(Error::invalid(format!("start_line {first} is past the end: {} has {has} lines", content.path)));
    };
    content.truncated = cut_to_limit(coding, begins, &mut kept);
    content.lines = Some([first, first + coding.count_lines(&kept) - 1]);
    content.offset = begins;
    fill(coding, kept, content);
    Ok(())
}

/// `line` is the one after the last line end, which is no line where the file ends there.
fn line_count(coding: Coding, line: u64, file: &File, size: u64) -> Result<u64> {
    let unit_bytes = if coding == Coding::Utf8 { 1 } else { 2 };
    let ends_whole = coding.ends_line(&file.read_at(size.saturating_sub(unit_bytes), index(unit_bytes))?);
    Ok(line - u64::from(ends_whole))
}

/// Cuts text, which begins at `from` in the file, to what one call gives: to whole lines, or, where a single line is longer, to
/// whole characters.
fn cut_to_limit(coding: Coding, from: u64, text: &mut Vec<u8>) -> bool {
    let limit = index(LENGTH_MAX);
    if text.len() <= limit {
        return false;
    }
    let whole_lines = coding.whole_lines(&text[..limit]);
    text.truncate(whole_lines.unwrap_or_else(|| coding.boundary(from, text, limit)));
    true
}

fn fill(coding: Coding, bytes: Vec<u8>, content: &mut Content) {
    content.bytes = bytes.len() as u64;
    (content.text, content.encoding) = coding.text(bytes);
}

/// How the file holds its text, told by its beginning, which may have to be read for a range further on; nothing for a binary
/// file.
fn coding(file: &File, offset: u64, bytes: &[u8]) -> Result<Option<Coding>> {
    if offset == 0 {
        return Ok(Coding::of(bytes));
    }
    Ok(Coding::of(&file.read_at(0, SNIFF_BYTES)?))
}

/// Ranges in memory are bounded by [`LENGTH_MAX`], which fits anywhere.
fn index(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
