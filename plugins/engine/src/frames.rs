//! Stack traces as QuickJS writes them, and the frames in them that belong to the script. Places are still QuickJS's:
//! columns in bytes.

use crate::source::{FILE, Source};

/// A frame inside the script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    /// The function's name; empty for a syntax error.
    pub(crate) function: &'a str,
    pub(crate) line: u32,
    /// In bytes, from 1.
    pub(crate) column_bytes: u32,
}

/// The script's frames, innermost first. Frames of the engine itself and of built-in functions are left out.
pub(crate) fn frames(stack: &str) -> impl Iterator<Item = Frame<'_>> {
    stack.lines().filter_map(frame)
}

/// The frame that threw, if it belongs to the script and not to a built-in function that it called.
pub(crate) fn innermost(stack: &str) -> Option<Frame<'_>> {
    frame(stack.lines().next()?)
}

fn frame(line: &str) -> Option<Frame<'_>> {
    let rest = line.trim_start().strip_prefix("at ")?;
    let (function, place) = match rest.rsplit_once(" (") {
        Some((function, place)) => (function, place.strip_suffix(')')?),
        None => ("", rest),
    };
    let (line, column) = place.strip_prefix(FILE)?.strip_prefix(':')?.split_once(':')?;
    Some(Frame { function, line: line.parse().ok()?, column_bytes: column.parse().ok()? })
}

/// The script's frames, one a line, with columns in characters.
pub(crate) fn readable(stack: &str, source: Source<'_>) -> String {
    let mut out = String::new();
    for frame in frames(stack) {
        let Some(place) = source.place_of(frame.line, frame.column_bytes) else { continue };
        if !out.is_empty() {
            out.push('\n');
        }
        let function = if frame.function.is_empty() { "<anonymous>" } else { frame.function };
        out.push_str(&format!("at {function} ({FILE}:{}:{})", place.line, place.column));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const STACK: &str = "    at agent (engine:3:1)\n    at f (workflow.js:2:4)\n    at map (native)\n    at <anonymous> (workflow.js:1:1)\n    at x (missing)\n";

    #[test]
    fn only_the_scripts_frames_are_kept() {
        let found: Vec<_> = frames(STACK).map(|frame| (frame.function, frame.line, frame.column_bytes)).collect();
        assert_eq!(found, [("f", 2, 4), ("<anonymous>", 1, 1)]);
        assert_eq!(
            frames("    at workflow.js:7:9\n").next().map(|frame| (frame.line, frame.column_bytes)),
            Some((7, 9))
        );
    }

    #[test]
    fn columns_become_characters() {
        let source = Source::new("a\néé(x)\n");
        assert_eq!(readable("    at f (workflow.js:2:5)\n", source), "at f (workflow.js:2:3)");
    }
}
