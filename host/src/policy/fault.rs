//! What is wrong in a policy file, or looks wrong: with its place, and with what to do. Faults are collected, never thrown one
//! by one: whoever mends a file wants to see all of them.

use crate::exit::Trouble;
use crate::terminal::line;
use serde::Serialize;
use std::fmt;
use std::sync::Arc;

/// The most faults that are told of one file; what follows is usually an echo of them.
pub const FAULTS_MAX: usize = 50;

/// One fault, or one doubt.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Fault {
    /// The file.
    pub file: Arc<str>,
    /// The line, from 1; 0 where the whole file is meant.
    pub line: u32,
    /// The column in characters, from 1; 0 where the whole line is meant.
    pub column: u32,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub next: String,
}

impl Fault {
    /// Of a file as a whole.
    pub fn of_file(file: impl Into<Arc<str>>, what: impl fmt::Display, next: impl Into<String>) -> Self {
        Self { file: file.into(), line: 0, column: 0, what: what.to_string(), next: next.into() }
    }
}

/// On one line, harmless: names and values in it come from the file.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&line(&self.file))?;
        for number in [self.line, self.column].into_iter().filter(|number| *number > 0) {
            write!(f, ":{number}")?;
        }
        write!(f, ": {}; {}", line(&self.what), line(&self.next))
    }
}

/// Everything that is wrong with the policy of this invocation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct Faults(pub Vec<Fault>);

impl From<Faults> for Trouble {
    fn from(faults: Faults) -> Self {
        let next = "correct it; until then nothing runs, since less might be allowed than could be read; \
                    `vespiary policy check` reads it again";
        Trouble::usage("the policy cannot be used", faults, next)
    }
}

/// Where bytes stand in a text, in lines and characters.
#[derive(Debug)]
pub struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    /// The lines of `text`.
    pub fn of(text: &'a str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, starts }
    }

    /// Line and column of a byte, both from 1.
    pub fn place(&self, at: usize) -> (u32, u32) {
        let at = self.text.floor_char_boundary(at.min(self.text.len()));
        let line = self.starts.partition_point(|start| *start <= at);
        let start = self.starts.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let column = self.text[start..at].chars().count() + 1;
        (u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(column).unwrap_or(u32::MAX))
    }
}

/// The one of `known` that `written` was probably meant to be.
pub fn meant<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.trim().to_lowercase().replace(['_', ' '], "-");
    let written = plain(written);
    let close = known.into_iter().map(|known| (distance(&written, &plain(known)), known));
    close.filter(|(far, known)| *far <= (known.len() / 3).max(1)).min_by_key(|(far, _)| *far).map(|(_, known)| known)
}

/// Characters to change, add, drop or swap with their neighbour to make one text the other.
fn distance(one: &str, other: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (one.chars().take(64).collect(), other.chars().take(64).collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let change = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = change.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_counts_characters() {
        let lines = Lines::of("ä = 1\nöx = 2\n");
        assert_eq!([0, 2, 7, 9, 10].map(|at| lines.place(at)), [(1, 1), (1, 2), (2, 1), (2, 2), (2, 3)]);
        assert_eq!(lines.place(10_000), (3, 1));
    }

    #[test]
    fn a_slip_is_recognized_and_nonsense_is_not() {
        let known = ["allow", "deny", "ask", "locked", "ask-timeout-seconds"];
        for (written, meant_) in [
            ("alow", Some("allow")),
            ("Allow", Some("allow")),
            ("dney", Some("deny")),
            ("ask_timeout_seconds", Some("ask-timeout-seconds")),
            ("lock", Some("locked")),
            ("lo", None),
            ("network", None),
        ] {
            assert_eq!(meant(written, known), meant_, "{written}");
        }
    }

    #[test]
    fn a_fault_cannot_move_the_cursor() {
        let fault = Fault::of_file("a\u{1b}[2Jb", "x\ny", "do");
        assert_eq!(fault.to_string(), "a\\u{1b}[2Jb: x\\u{a}y; do");
    }
}
