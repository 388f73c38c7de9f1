//! Words of a server on their way into the host: bounded, and harmless wherever they are printed.

use vespiary_kernel::call::{Level, LogLine};
use vespiary_kernel::legible::is_harmful;

/// The longest line of a log, bytes.
const LINE_BYTES_MAX: usize = 1 << 10;

/// What is kept of one notice before any quota is asked: many of them wait for the call they belong to.
const NOTICE_BYTES_MAX: usize = 64 << 10;
const NOTICE_LINES_MAX: usize = 1 << 10;

/// At most `bytes_max` bytes of `text`, control and reordering characters shown and not obeyed; line ends stay.
pub(crate) fn neutral(text: &str, bytes_max: usize) -> String {
    let kept = &text[..text.floor_char_boundary(bytes_max)];
    let harmful = |c: char| is_harmful(c) && c != '\t' && c != '\n';
    let mut shown = String::with_capacity(kept.len());
    for c in kept.chars() {
        if harmful(c) { shown.extend(c.escape_unicode()) } else { shown.push(c) }
    }
    if kept.len() < text.len() {
        shown.push('\u{2026}');
    }
    shown
}

/// What was said, as lines of a log. Of more than a notice may hold, the last line tells.
pub(crate) fn lines(level: Level, said: &str) -> Vec<LogLine> {
    let kept = &said[..said.floor_char_boundary(NOTICE_BYTES_MAX)];
    let mut texts = kept.lines().filter(|line| !line.trim().is_empty());
    let mut lines: Vec<_> = texts
        .by_ref()
        .take(NOTICE_LINES_MAX)
        .map(|line| LogLine { level, text: neutral(line, LINE_BYTES_MAX) })
        .collect();
    if kept.len() < said.len() || texts.next().is_some() {
        lines.push(LogLine { level, text: format!("\u{2026} of {} bytes said at once", said.len()) });
    }
    lines
}

/// The last lines of what was said, for a sentence about why something ended.
pub(crate) fn last_words(said: &str) -> String {
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let last = lines[lines.len().saturating_sub(5)..].join(" | ");
    neutral(&last, LINE_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_bounded_and_harmless() {
        assert_eq!(neutral("a\u{1b}[2J\tb\nc\u{202e}", 100), "a\\u{1b}[2J\tb\nc\\u{202e}");
        assert!(neutral(&"\u{e9}".repeat(3_000), LINE_BYTES_MAX).len() <= LINE_BYTES_MAX + 3);
        let all: Vec<_> = lines(Level::Warn, "one\n\n\r\ntwo\u{7}").into_iter().map(|line| line.text).collect();
        assert_eq!(all, ["one", "two\\u{7}"]);
        for flood in ["a\n".repeat(1 << 20), "\u{e9}".repeat(1 << 20), "a\n".repeat(NOTICE_LINES_MAX + 1)] {
            let lines = lines(Level::Warn, &flood);
            assert!(lines.len() <= NOTICE_LINES_MAX + 1 && lines[0].text.len() <= LINE_BYTES_MAX + 3);
            assert_eq!(lines.last().unwrap().text, format!("\u{2026} of {} bytes said at once", flood.len()));
        }
        assert_eq!(lines(Level::Warn, &"a\n".repeat(NOTICE_LINES_MAX)).len(), NOTICE_LINES_MAX);
        assert_eq!(last_words("1\n2\n3\n4\n5\n6\n"), "2 | 3 | 4 | 5 | 6");
    }
}
