//! Words of a server on their way into the host: bounded, and harmless wherever they are printed.

use vespiary_kernel::call::{Level, LogLine};

/// The longest line of a log, bytes.
const LINE_BYTES_MAX: usize = 1 << 10;

/// At most `bytes_max` bytes of `text`, control and reordering characters shown and not obeyed; line ends stay.
pub(crate) fn neutral(text: &str, bytes_max: usize) -> String {
    let kept = &text[..text.floor_char_boundary(bytes_max)];
    let harmful = |c: char| {
        (c.is_control() && c != '\t' && c != '\n')
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{61c}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut shown = String::with_capacity(kept.len());
    for c in kept.chars() {
        if harmful(c) { shown.extend(c.escape_unicode()) } else { shown.push(c) }
    }
    if kept.len() < text.len() {
        shown.push('\u{2026}');
    }
    shown
}

/// What was said, as lines of a log.
pub(crate) fn lines(level: Level, said: &str) -> impl Iterator<Item = LogLine> {
    let lines = said.lines().filter(|line| !line.trim().is_empty());
    lines.map(move |line| LogLine { level, text: neutral(line, LINE_BYTES_MAX) })
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
        let all: Vec<_> = lines(Level::Warn, "one\n\n\r\ntwo\u{7}").map(|line| line.text).collect();
        assert_eq!(all, ["one", "two\\u{7}"]);
        assert_eq!(last_words("1\n2\n3\n4\n5\n6\n"), "2 | 3 | 4 | 5 | 6");
    }
}
