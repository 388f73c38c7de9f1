//! One file's content, or what is known of it.

use crate::listing::Kind;
use std::time::UNIX_EPOCH;
use vespiary_sdk::fs::{self, File};
use vespiary_sdk::prelude::*;

/// Bytes one call reads when the caller names no length, and the most it may name.
const LENGTH_MAX: u64 = 1 << 20;

/// How much of a file is looked at to tell text from binary.
const SNIFF: usize = 8 << 10;

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
    /// First byte.
    #[serde(default)]
    pub offset: u64,
    /// How many bytes; at most, and when not given, 1,048,576.
    pub length: Option<u64>,
    /// First line, counted from 1.
    pub start_line: Option<u64>,
    /// Last line, included.
    pub end_line: Option<u64>,
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
    /// Not text: there is a NUL near the beginning. No content is given.
    Binary,
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
    /// Whether the file goes on after the text.
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
        return Err(Error::invalid(format!("length is past {LENGTH_MAX}; read on with offset in further calls")));
    }
    let file = File::open(&args.path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(Error::invalid(format!("{} is a directory; list it with files.list", args.path)));
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
    if by_lines {
        lines(&file, &args, &mut content)?;
    } else {
        range(&file, args.offset, args.length.unwrap_or(LENGTH_MAX), &mut content)?;
    }
    Ok(content)
}

fn range(file: &File, offset: u64, length: u64, content: &mut Content) -> Result<()> {
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let mut bytes = file.read_at(offset, length)?;
    if is_binary(file, offset, &bytes)? {
        content.encoding = Encoding::Binary;
        return Ok(());
    }
    // A character cut by the start of the range belongs to the range before, one cut by its end to the next.
    let head = if offset == 0 { 0 } else { bytes.iter().take(3).take_while(|byte| (**byte & 0xc0) == 0x80).count() };
    bytes.drain(..head);
    let after = offset + (head + bytes.len()) as u64;
    if after < content.size {
        bytes.truncate(whole_characters(&bytes));
    }
    content.offset = offset + head as u64;
    fill(bytes, content);
    content.truncated = content.offset + content.bytes < content.size;
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
    'file: loop {
        let chunk = file.read_at(at, 256 << 10)?;
        if at == 0 && is_binary(file, 0, &chunk)? {
            content.encoding = Encoding::Binary;
            return Ok(());
        }
        if chunk.is_empty() {
            break;
        }
        for piece in chunk.split_inclusive(|byte| *byte == b'\n') {
            if line > last || kept.len() as u64 >= LENGTH_MAX {
                break 'file;
            }
            if line >= first {
                begins.get_or_insert(at);
                let room = usize::try_from(LENGTH_MAX).unwrap_or(usize::MAX) - kept.len();
                kept.extend_from_slice(&piece[..piece.len().min(room)]);
            }
            at += piece.len() as u64;
            if piece.ends_with(b"\n") {
                line += 1;
            }
        }
    }
    let Some(begins) = begins else {
        return Err(Error::invalid(format!("{} ends before line {first}", args.path)));
    };
    if begins + (kept.len() as u64) < content.size {
        kept.truncate(whole_characters(&kept));
    }
    let ends = kept.iter().filter(|byte| **byte == b'\n').count() as u64;
    let shown = if kept.ends_with(b"\n") { ends } else { ends + 1 };
    content.lines = Some([first, first + shown.max(1) - 1]);
    content.offset = begins;
    fill(kept, content);
    content.truncated = content.offset + content.bytes < content.size;
    Ok(())
}

fn fill(bytes: Vec<u8>, content: &mut Content) {
    content.bytes = bytes.len() as u64;
    content.text = String::from_utf8(bytes).unwrap_or_else(|error| {
        content.encoding = Encoding::Lossy;
        String::from_utf8_lossy(error.as_bytes()).into_owned()
    });
}

/// Whether the file looks binary from its beginning, which may have to be read for a range further on.
fn is_binary(file: &File, offset: u64, bytes: &[u8]) -> Result<bool> {
    if offset == 0 {
        return Ok(bytes[..bytes.len().min(SNIFF)].contains(&0));
    }
    Ok(file.read_at(0, SNIFF)?.contains(&0))
}

/// The length without a character that is cut at the end. Bytes that are no UTF-8 anyway stay.
fn whole_characters(bytes: &[u8]) -> usize {
    let last = bytes.len().saturating_sub(3);
    for start in (last..bytes.len()).rev() {
        let width = match bytes[start] {
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            0x80..=0xbf => continue,
            _ => 1,
        };
        // A file of nothing but a cut character still makes progress.
        return if start + width > bytes.len() && start > 0 { start } else { bytes.len() };
    }
    bytes.len()
}
