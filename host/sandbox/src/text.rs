//! Text that came out of a guest, made safe to show: no control character survives that could move a cursor, recolour a
//! terminal or fake a line. Values are left alone: JSON has its own escapes.

use std::fmt::Write;
use vespiary_kernel::legible::is_harmful;

/// One log line's length, bytes; the rest is cut.
pub(crate) const LINE_BYTES_MAX: usize = 8 << 10;

/// The length of a cause, bytes; the rest is cut.
const CAUSE_BYTES_MAX: usize = 16 << 10;

/// One line: line breaks are shown, not obeyed.
pub(crate) fn line(text: String) -> String {
    neutral(text, LINE_BYTES_MAX, false)
}

/// Several lines, as a cause may have.
pub(crate) fn cause(text: String) -> String {
    neutral(text, CAUSE_BYTES_MAX, true)
}

fn neutral(mut text: String, bytes_max: usize, breaks: bool) -> String {
    let whole = text.len();
    if whole > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max));
    }
    let cut = whole - text.len();
    if text.chars().any(|c| harmful(c, breaks)) {
        let mut shown = String::with_capacity(text.len() + 32);
        for c in text.chars() {
            if harmful(c, breaks) { shown.extend(c.escape_unicode()) } else { shown.push(c) }
        }
        text = shown;
    }
    if cut > 0 {
        // Writing to a String cannot fail.
        let _ = write!(text, " [{cut} bytes cut]");
    }
    text
}

fn harmful(c: char, breaks: bool) -> bool {
    match c {
        '\t' => false,
        '\n' => !breaks,
        c => is_harmful(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_shown_and_not_obeyed() {
        assert_eq!(
            line("a\tb \u{1b}[31mred\r\n\u{9b}x\u{202e}".into()),
            "a\tb \\u{1b}[31mred\\u{d}\\u{a}\\u{9b}x\\u{202e}"
        );
        assert_eq!(cause("one\ntwo\u{7}".into()), "one\ntwo\\u{7}");
        assert_eq!(line("plain é 漢".into()), "plain é 漢");
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        let cut = line("é".repeat(LINE_BYTES_MAX));
        assert!(cut.ends_with("é [8192 bytes cut]"), "{}", &cut[cut.len() - 30..]);
    }
}
