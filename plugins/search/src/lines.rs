//! Lines of a text in memory: around a place, shown to people. What must never live here: patterns.

use bstr::ByteSlice;

/// Most of a line that is shown.
const LINE_BYTES_MAX: usize = 2000;

/// The line's text, cut to what lies around `at` where it is long.
pub(crate) fn shown(line: &[u8], at: usize) -> String {
    let line = without_end(line);
    if line.len() <= LINE_BYTES_MAX {
        return line.to_str_lossy().into_owned();
    }
    let from = at.min(line.len()).saturating_sub(LINE_BYTES_MAX / 4);
    let from = from.min(line.len() - LINE_BYTES_MAX);
    // A character cut at either end would show as a replacement character that is not in the file.
    let cut = line[from..from + LINE_BYTES_MAX].to_str_lossy();
    cut.trim_matches('\u{fffd}').to_owned()
}

/// Counted from 1, in characters.
pub(crate) fn column(line: &[u8], at: usize) -> u64 {
    line[..at.min(line.len())].chars().count() as u64 + 1
}

/// Up to `count` lines that end before `start`, which begins a line.
pub(crate) fn before(text: &[u8], start: usize, count: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut end = start;
    while lines.len() < count && end > 0 {
        let begin = memchr::memrchr(b'\n', &text[..end - 1]).map_or(0, |newline| newline + 1);
        lines.push(shown(&text[begin..end], 0));
        end = begin;
    }
    lines.reverse();
    lines
}

/// Up to `count` lines from `end`, which ends a line.
pub(crate) fn after(text: &[u8], end: usize, count: usize) -> Vec<String> {
    let lines = text[end.min(text.len())..].split_inclusive(|byte| *byte == b'\n');
    lines.take(count).map(|line| shown(line, 0)).collect()
}

fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"one\ntwo\r\nthree\nfour";

    #[test]
    fn context_stops_at_both_ends() {
        assert_eq!(before(TEXT, 9, 5), ["one", "two"]);
        assert_eq!(before(TEXT, 9, 1), ["two"]);
        assert_eq!(before(TEXT, 0, 3), [""; 0]);
        assert_eq!(after(TEXT, 4, 2), ["two", "three"]);
        assert_eq!(after(TEXT, 15, 9), ["four"]);
        assert_eq!(after(TEXT, TEXT.len(), 9), [""; 0]);
    }

    #[test]
    fn columns_are_characters() {
        assert_eq!(column("äb=x".as_bytes(), "äb=".len()), 4);
    }

    #[test]
    fn a_long_line_is_cut_around_the_match() {
        let mut line = "ä".repeat(5000).into_bytes();
        let at = line.len();
        line.extend_from_slice(b"needle");
        line.extend_from_slice("ö".repeat(5000).as_bytes());
        let cut = shown(&line, at);
        assert!(cut.contains("ääneedleöö") && cut.len() <= LINE_BYTES_MAX, "{} bytes", cut.len());
        assert!(!cut.contains('\u{fffd}'));
    }
}
