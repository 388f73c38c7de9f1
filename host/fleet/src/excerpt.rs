//! The part of a script that an error points at, for people: three numbered lines and a caret. The script is untrusted
//! text, so nothing in it reaches a terminal raw.

use unicode_width::UnicodeWidthChar;
use vespiary_kernel::legible::is_harmful;

/// Columns of source shown; a longer line is cut around the place that matters.
const WIDTH: usize = 100;

/// Characters of a line shown: many take no column at all.
const CHARACTERS_MAX: usize = 2 * WIDTH;

/// The lines around `line`, with a caret under `column`; both count from 1, columns in characters. Empty when there is no
/// such line.
pub fn excerpt(source: &str, line: u32, column: u32) -> String {
    let lines: Vec<&str> = source.lines().collect();
    let Some(at) = (line as usize).checked_sub(1).filter(|at| *at < lines.len()) else {
        return String::new();
    };
    let column = (column as usize).saturating_sub(1);
    let first = at.saturating_sub(1);
    let gutter = (at + 2).to_string().len();
    // The same window for all lines, so that they stay aligned.
    let from = column.saturating_sub(WIDTH * 3 / 4);
    let mut shown = String::new();
    for (index, text) in lines.iter().enumerate().take(at + 2).skip(first) {
        let (cells, caret) = cut(text, from, column);
        shown.push_str(&format!("{:>gutter$} | {cells}\n", index + 1));
        if index == at {
            shown.push_str(&format!("{:>gutter$} | {}^\n", "", " ".repeat(caret)));
        }
    }
    shown
}

/// The characters of `text` from `from` on, made printable, and the width of those before `column`.
fn cut(text: &str, from: usize, column: usize) -> (String, usize) {
    let mut cells = String::new();
    let mut width = 0;
    let mut caret = None;
    for (index, c) in text.chars().enumerate().skip(from) {
        if index == column {
            caret = Some(width);
        }
        match c {
            '\t' => cells.push_str("  "),
            c if is_harmful(c) => cells.push('\u{fffd}'),
            c => cells.push(c),
        }
        width += if c == '\t' { 2 } else { c.width().unwrap_or(1) };
        if width >= WIDTH || index - from >= CHARACTERS_MAX {
            cells.push('…');
            break;
        }
    }
    (cells, caret.unwrap_or(width))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_stands_under_the_column() {
        let source = "const a = 1\n\tlet b = oops()\nreturn a\n";
        assert_eq!(excerpt(source, 2, 10), "1 | const a = 1\n2 |   let b = oops()\n  |           ^\n3 | return a\n");
    }

    #[test]
    fn wide_characters_count_for_their_width() {
        assert_eq!(excerpt("'日本' + x", 1, 8), "1 | '日本' + x\n  |          ^\n");
    }

    #[test]
    fn nothing_raw_reaches_the_terminal_and_long_lines_are_cut() {
        let source = format!("{}\u{1b}[2J{}", "a".repeat(500), "b".repeat(500));
        let shown = excerpt(&source, 1, 501);
        assert!(!excerpt("a\u{202e}b", 1, 1).contains('\u{202e}'));
        assert!(!shown.contains('\u{1b}') && shown.contains('\u{fffd}') && shown.len() < 300, "{shown}");
        let marked = shown.lines().next().unwrap().chars().nth(shown.lines().nth(1).unwrap().chars().count() - 1);
        assert_eq!(marked, Some('\u{fffd}'));
    }

    #[test]
    fn characters_without_width_are_counted_too() {
        let shown = excerpt(&"e\u{301}".repeat(100_000), 1, 1_000);
        assert!(
            shown.chars().count() < 2 * CHARACTERS_MAX && shown.contains('^'),
            "{} characters",
            shown.chars().count()
        );
    }

    #[test]
    fn a_place_outside_the_source_shows_nothing() {
        assert_eq!(excerpt("a", 0, 0), "");
        assert_eq!(excerpt("a", 9, 1), "");
    }
}
