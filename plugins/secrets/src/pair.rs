//! The other half of a credential that comes in two: an id that has a form of its own, and a key that has none.
//!
//! Such a key is any 40 characters of base64, which much else is. Beside the id it is the key.

use std::ops::Range;

/// How far from the id the key may stand, in bytes.
const REACH: usize = 200;
/// Length of an AWS secret access key.
const KEY_BYTES: usize = 40;

/// The AWS secret access key beside the access key id at `id`: on its line, behind it or before it, or on the line after.
pub(crate) fn aws_secret_access_key(text: &[u8], id: &Range<usize>) -> Option<Range<usize>> {
    let end = text.len().min(id.end + REACH);
    let line_end = memchr::memchr(b'\n', &text[id.end..end]).map_or(end, |newline| id.end + newline);
    let start = id.start.saturating_sub(REACH);
    let line_start = memchr::memrchr(b'\n', &text[start..id.start]).map_or(start, |newline| start + newline + 1);
    let next_line_end =
        memchr::memchr(b'\n', &text[end.min(line_end + 1)..end]).map_or(end, |newline| line_end + 1 + newline);
    keys(text, id.end..line_end)
        .next()
        .or_else(|| keys(text, line_start..id.start).last())
        .or_else(|| keys(text, line_end..next_line_end).next())
}

/// Runs of base64 in `part` that have the length of a key. One that goes on past an end of `part` is longer than it looks, and none.
fn keys(text: &[u8], part: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let is_base64 = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
    let mut at = part.start;
    std::iter::from_fn(move || {
        at += text[at..part.end].iter().position(is_base64)?;
        let run = at..at + text[at..].iter().take(part.end - at).take_while(|b| is_base64(b)).count();
        at = run.end;
        Some(run)
    })
    .filter(move |run| {
        let alone = !run.start.checked_sub(1).is_some_and(|before| is_base64(&text[before]))
            && !text.get(run.end).is_some_and(|b| is_base64(b) || *b == b'=');
        alone && run.len() == KEY_BYTES
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = concat!("q7ZxKp2mVt9LwRb4Ns8D", "y3Hc6J/1Ga+5Te0Ku8Wv");

    fn found(text: &str) -> Option<&str> {
        let id = text.find("ID").unwrap();
        aws_secret_access_key(text.as_bytes(), &(id..id + 2)).map(|range| &text[range])
    }

    #[test]
    fn the_key_stands_on_the_line_or_the_next() {
        for text in [
            format!("ID,{KEY}"),
            format!("Session(\"ID\", \"{KEY}\")"),
            format!("Session(\n    \"ID\",\n    \"{KEY}\",\n)"),
            format!("{KEY} ID\n"),
            format!("ID\r\n{KEY}\r\n"),
        ] {
            assert_eq!(found(&text), Some(KEY), "{text}");
        }
    }

    #[test]
    fn other_lengths_and_further_lines_are_none() {
        for text in [
            format!("ID,{KEY}x"),
            format!("ID,{KEY}="),
            format!("ID,{}", &KEY[1..]),
            format!("ID\n\n{KEY}"),
            format!("ID{}{KEY}", " ".repeat(REACH)),
            format!("ID{}{KEY}", " ".repeat(REACH - 20)),
        ] {
            assert_eq!(found(&text), None, "{text}");
        }
    }
}
