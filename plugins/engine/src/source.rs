//! A script's text: places in it, and the wrapping that lets `return` and `await` stand at the top level without moving
//! a single line or column. Knows no JavaScript beyond what the wrapping needs.

use std::ops::Range;

use crate::fault::Place;

/// The file name that stack frames of the script carry.
pub(crate) const FILE: &str = "workflow.js";

/// The source as given.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    text: &'a str,
    body: usize,
}

/// How the body is dressed up. Each opening replaces the text of the `meta` statement, which is longer and has been read
/// already, so that everything after it stays where it is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wrapping {
    /// A function statement behind a `throw`: compiles, then stops before anything of the script runs.
    Statement,
    /// The same with one closing brace fewer.
    Unclosed,
    /// An arrow function behind a `throw`.
    Expression,
    /// The arrow function itself: the value of the whole text.
    Callable,
}

impl Wrapping {
    fn opening(self) -> &'static str {
        match self {
            Self::Statement | Self::Unclosed => ";throw 0;{async function f(meta){",
            Self::Expression => ";throw 0;(async(meta)=>{",
            Self::Callable => ";(async(meta)=>{",
        }
    }

    fn closing(self) -> &'static str {
        match self {
            Self::Statement => "\n}}",
            Self::Unclosed => "\n}",
            Self::Expression | Self::Callable => "\n})",
        }
    }
}

impl<'a> Source<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, body: 0 }
    }

    /// The same source, of which only what follows `meta` runs. QuickJS gives errors it cannot place the position of the
    /// function around them, which stands where `meta` stood.
    pub(crate) fn with_body_at(self, body: usize) -> Self {
        Self { body, ..self }
    }

    pub(crate) fn text(self) -> &'a str {
        self.text
    }

    /// The place of a byte offset; past the end, the place after the last character.
    pub(crate) fn place(self, offset: usize) -> Place {
        let before = &self.text[..self.floor(offset)];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        let column = before[line_start..].chars().count() + 1;
        Place { line: narrow(line), column: narrow(column) }
    }

    /// The byte offset of a line and a column in bytes, both from 1; `None` past the end of the source.
    pub(crate) fn offset(self, line: u32, column_bytes: u32) -> Option<usize> {
        let line_index = usize::try_from(line).ok()?.checked_sub(1)?;
        let mut start = 0;
        for _ in 0..line_index {
            start += self.text[start..].find('\n')? + 1;
        }
        let end = self.text[start..].find('\n').map_or(self.text.len(), |newline| start + newline);
        let column_index = usize::try_from(column_bytes).ok()?.saturating_sub(1);
        Some(self.floor((start + column_index).min(end)))
    }

    /// The place in the body of a line and a column in bytes, as QuickJS counts them.
    pub(crate) fn place_of(self, line: u32, column_bytes: u32) -> Option<Place> {
        self.offset(line, column_bytes).filter(|offset| *offset >= self.body).map(|offset| self.place(offset))
    }

    /// The source with its `meta` statement replaced by the opening of a function, and the closing added.
    pub(crate) fn wrapped(self, meta: &Range<usize>, wrapping: Wrapping) -> String {
        let mut out = String::with_capacity(self.text.len() + 64);
        out.push_str(&self.text[..meta.start]);
        let blanked = blank(&self.text[meta.clone()]);
        let opening = wrapping.opening();
        out.push_str(opening);
        // Only the last line of the statement can carry code after it, so only that line's columns must hold. On a single
        // line the opening takes the place of as many blanks; over several it lengthens the first, which nothing shares.
        match blanked.find('\n') {
            None => out.push_str(blanked.get(opening.len()..).unwrap_or_default()),
            Some(newline) => out.push_str(&blanked[newline..]),
        }
        out.push_str(&self.text[meta.end..]);
        out.push_str(wrapping.closing());
        out
    }

    fn floor(self, offset: usize) -> usize {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        offset
    }
}

/// The same number of bytes and the same lines, with nothing on them.
fn blank(text: &str) -> String {
    text.bytes().map(|byte| if matches!(byte, b'\n' | b'\r') { char::from(byte) } else { ' ' }).collect()
}

fn narrow(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_offset_maps_to_its_place_and_back() {
        let source = Source::new("a\nßc\n\nd");
        assert_eq!(source.place(0), Place { line: 1, column: 1 });
        assert_eq!(source.place(4), Place { line: 2, column: 2 });
        assert_eq!(source.place(99), Place { line: 4, column: 2 });
        assert_eq!(source.offset(2, 3), Some(4));
        assert_eq!(source.offset(9, 1), None);
    }

    #[test]
    fn the_wrapping_moves_nothing_after_the_statement() {
        let text = "// head\nexport const meta = { name: 'n', description: 'd' }; const after = 1\nnext()\n";
        let end = text.find(';').unwrap() + 1;
        for wrapping in [Wrapping::Statement, Wrapping::Expression, Wrapping::Callable] {
            let wrapped = Source::new(text).wrapped(&(8..end), wrapping);
            assert_eq!(wrapped.find("const after"), text.find("const after"), "{wrapped}");
            assert_eq!(wrapped.find("next()"), text.find("next()"));
        }
    }

    #[test]
    fn a_statement_over_several_lines_keeps_its_last_line() {
        let text = "export\nconst meta = {\n name: 'n', description: 'd' }; tail()";
        let end = text.find(';').unwrap() + 1;
        let wrapped = Source::new(text).wrapped(&(0..end), Wrapping::Statement);
        let (line, column) = (wrapped.lines().nth(2).unwrap(), text.lines().nth(2).unwrap());
        assert_eq!(line.find("tail()"), column.find("tail()"));
    }
}
