//! The line shown with a finding, and what in it is covered.
//!
//! The secrets that the scanner recognised are covered whatever they look like. What stands beside them may be the other half of a
//! credential that no rule knows, so the rest of the line is shown only as far as it reads like names, words, numbers and paths. Where
//! that is in doubt it is covered: a reader has the file and the line, and the report goes to more people than the file does.

use crate::measure::{self, Classes};
use crate::value;
use crate::words;
use std::ops::Range;

/// Bytes of context shown on each side of the first secret.
const CONTEXT: usize = 60;

/// Part of a line, as far as an excerpt needs it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window<'a> {
    pub(crate) text: &'a [u8],
    /// It begins where the line does, so that quotes can be paired.
    pub(crate) whole_start: bool,
}

/// What becomes of a byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cover {
    Open,
    /// Part of something recognised: its first characters are shown.
    Secret,
    /// Part of something beside it, of which nothing is.
    Beside,
}

/// The line around `secrets[0]` with every one of `secrets` masked, wherever in the line its text occurs again, and everything else that
/// may be a secret too. Ranges are within the window, in any order.
pub(crate) fn redacted(window: Window<'_>, secrets: &[Range<usize>]) -> String {
    let line = window.text;
    let cover = covers(window, secrets);
    let first = secrets.first().cloned().unwrap_or(0..0);
    let from = first.start.saturating_sub(CONTEXT);
    let to = line.len().min(first.end.saturating_add(CONTEXT));
    let mut text = String::new();
    if from > 0 && cover.get(from) == Some(&Cover::Open) {
        text.push('…');
    }
    let mut at = from;
    while at < to {
        let run = cover[at..].iter().take_while(|&&c| c == cover[at]).count();
        let run_end = at + run;
        if cover[at] == Cover::Open {
            text.push_str(&clean(&line[at..run_end.min(to)]));
        } else {
            // A run that began before the window shows nothing, so that a cut never exposes a middle.
            let whole = cover[at] == Cover::Secret && (at == 0 || cover[at - 1] != Cover::Secret);
            let shown = if whole { (run / 4).min(4) } else { 0 };
            text.push_str(&clean(&line[at..at + shown]));
            text.push_str(&format!("…[{run} bytes redacted]"));
        }
        at = run_end;
    }
    if at < line.len() {
        text.push('…');
    }
    text.trim().to_owned()
}

/// Shortest literal that is covered. What is shorter protects nothing.
const LITERAL_MIN: usize = 6;
/// Shortest run outside of literals that is covered.
const RUN_MIN: usize = 12;
/// The same inside a literal with a secret in it, behind a secret, and where it is not known what is a literal.
const RUN_MIN_IN_DOUBT: usize = 5;
/// Mean surprise, in bits, from which a run of any characters is none of words.
const RANDOM: f32 = 5.0;
/// Mean surprise, in bits, under which a run reads like words and code.
const WORDLIKE: f32 = 4.35;

fn covers(window: Window<'_>, secrets: &[Range<usize>]) -> Vec<Cover> {
    let line = window.text;
    let mut cover = vec![Cover::Open; line.len()];
    for range in secrets {
        let secret = &line[range.clone()];
        cover[range.clone()].fill(Cover::Secret);
        if secret.len() >= 4 {
            for again in memchr::memmem::find_iter(line, secret) {
                cover[again..again + secret.len()].fill(Cover::Secret);
            }
        }
    }
    let mut at = 0;
    for literal in literals(line) {
        cover_runs(&mut cover, line, at..literal.content.start, !window.whole_start);
        at = literal.content.end;
        if cover[literal.content.clone()].contains(&Cover::Secret) || !literal.closed {
            cover_runs(&mut cover, line, literal.content, true);
        } else if literal.content.len() >= LITERAL_MIN && !is_name(line, &literal.content) {
            cover[literal.content].fill(Cover::Beside);
        }
    }
    cover_runs(&mut cover, line, at..line.len(), !window.whole_start);
    cover
}

/// What stands between quotes.
struct Literal {
    content: Range<usize>,
    /// Its closing quote was found; if not, it may be no literal at all.
    closed: bool,
}

/// The literals of a line, one after the other. Where quotes are written with a backslash, as in code inside a string, they pair too.
fn literals(line: &[u8]) -> Vec<Literal> {
    let is_quote = |b: &u8| matches!(b, b'"' | b'\'' | b'`');
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(opening) = line[at..].iter().position(is_quote).map(|offset| at + offset) {
        let quote = line[opening];
        let start = opening + 1;
        at = start;
        // The apostrophe of `don't`, unless it stands behind the prefix of a string as in `b'...'`.
        let word = line[..opening].iter().rev().take_while(|b| b.is_ascii_alphanumeric()).count();
        if quote == b'\'' && (word > 2 || (word > 0 && !line[opening - word..opening].iter().all(is_prefix))) {
            continue;
        }
        let escaped = opening > 0 && line[opening - 1] == b'\\';
        let slashes_before = |end: usize| line[start..end].iter().rev().take_while(|&&b| b == b'\\').count();
        let end = memchr::memchr_iter(quote, &line[start..]).map(|offset| start + offset).find(|&end| {
            let slashes = slashes_before(end);
            if escaped { slashes > 0 } else { slashes.is_multiple_of(2) }
        });
        found.push(Literal { content: start..end.unwrap_or(line.len()), closed: end.is_some() });
        let Some(end) = end else { break };
        at = end + 1;
    }
    found
}

/// Letters before a string literal in Python, Rust, C and SQL.
fn is_prefix(byte: &u8) -> bool {
    matches!(byte.to_ascii_lowercase(), b'b' | b'r' | b'u' | b'f' | b'l' | b'n' | b'e' | b'x')
}

/// A literal that names something: the key of a member or of an index, an environment variable, a header such as `x-auth-token`. A name
/// has no digits and reads like words.
fn is_name(line: &[u8], content: &Range<usize>) -> bool {
    let text = &line[content.clone()];
    let plain = text.iter().all(|b| b.is_ascii_alphabetic() || matches!(b, b'_' | b'-' | b'.' | b' '));
    if !plain || measure::surprise(text) >= WORDLIKE {
        return false;
    }
    let is_gap = |b: &&u8| matches!(b, b'\\' | b'"' | b'\'' | b'`' | b' ' | b'\t');
    let mut before = line[..content.start].iter().rev().skip_while(is_gap);
    let mut after = line[content.end..].iter().skip_while(is_gap);
    let is_key = match after.next() {
        Some(b':') => before.next() != Some(&b'?'),
        Some(b'=') => after.next() != Some(&b'='),
        // An index, and not a list of one.
        Some(b']') => {
            before.next() == Some(&b'[')
                && before.next().is_some_and(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b']' | b')'))
        }
        _ => false,
    };
    let is_constant = text.contains(&b'_') && text.iter().all(|b| b.is_ascii_uppercase() || *b == b'_');
    is_key || is_constant || value::name_of(text).is_some()
}

/// Cover the runs without white space in `part` that do not read like words. Runs end at a secret as well.
fn cover_runs(cover: &mut [Cover], line: &[u8], part: Range<usize>, in_doubt: bool) {
    let mut at = part.start;
    while at < part.end {
        let run = (at..part.end).take_while(|&i| cover[i] == Cover::Open && !line[i].is_ascii_whitespace()).count();
        // What follows a secret without a break may be its end.
        let in_doubt = in_doubt || (at > 0 && cover[at - 1] == Cover::Secret);
        if run > 0 && !is_readable(&line[at..at + run], in_doubt) {
            cover[at..at + run].fill(Cover::Beside);
        }
        at += run.max(1);
    }
}

/// Whether a run may be shown.
fn is_readable(run: &[u8], in_doubt: bool) -> bool {
    if run.len() < if in_doubt { RUN_MIN_IN_DOUBT } else { RUN_MIN } {
        return true;
    }
    let classes = Classes::of(run);
    match (in_doubt, classes.digit > 0) {
        (true, true) => false,
        (true, false) => {
            let quoted_words = classes.symbol * 2 <= run.len() && measure::surprise_between_signs(run) < WORDLIKE;
            quoted_words || measure::surprise(run) < WORDLIKE
        }
        (false, true) if classes.letters() > 0 => is_of_words(run, &classes),
        (false, _) => measure::surprise(run) < RANDOM,
    }
}

/// Words, numbers, and words that end in a number, in the spelling of paths and code: `/usr/lib/python3.11`, `boto3.client(`.
fn is_of_words(run: &[u8], classes: &Classes) -> bool {
    let plain = |word: &[u8]| {
        let digits = word.iter().rev().take_while(|b| b.is_ascii_digit()).count();
        digits <= 4 && word[..word.len() - digits].iter().all(u8::is_ascii_alphabetic)
    };
    // In a short run letters follow each other well by chance; then some words of it must be known.
    let surprise = measure::surprise_between_signs(run);
    let known = |word: &[u8]| words::share_of_words(word) * word.len() as f32;
    let share = || run.split(|b| !b.is_ascii_alphabetic()).map(known).sum::<f32>() / classes.letters() as f32;
    let reads = (classes.letters() >= 8 && surprise < WORDLIKE - 0.2 && share() >= 0.5)
        || (classes.letters() >= 16 && surprise < WORDLIKE - 0.6);
    reads && classes.symbol * 3 < run.len() && run.split(u8::is_ascii_punctuation).all(plain)
}

/// Text that a terminal or a page may show: control characters and broken UTF-8 replaced.
fn clean(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .chars()
        .map(|c| {
            if c == '\t' {
                ' '
            } else if c.is_control() {
                '\u{FFFD}'
            } else {
                c
            }
        })
        .collect()
}

#[cfg(test)]
mod tests;
