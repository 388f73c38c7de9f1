//! Which characters may not reach a person as they stand: those that move a cursor, recolour, hide or reorder text, and those that are
//! there and not seen. What somebody approves must be what they read, and a model reads more than the eye does.

/// Whether `c` must be shown as an escape. Line ends and tabs are among them; who lets them through says so. The two selectors that
/// choose between text and emoji are not: they come after what they change.
pub fn is_harmful(c: char) -> bool {
    c.is_control() || turns(c) || is_unseen(c)
}

/// Marks, embeddings, overrides and isolates of direction, and the two separators that break a line.
fn turns(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// What Unicode lets a display leave out, the blanks that are letters, and notes between lines.
fn is_unseen(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0d}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_seen_is_shown_and_what_is_seen_stays() {
        // A tag for each letter of an instruction that only a model reads.
        let tags = "rm -rf".chars().filter_map(|c| char::from_u32(0xe0000 + u32::from(c)));
        let unseen = [
            '\u{200b}', '\u{200d}', '\u{2060}', '\u{feff}', '\u{ad}', '\u{3164}', '\u{202e}', '\u{1b}', '\u{9b}', '\n',
        ];
        for c in tags.chain(unseen) {
            assert!(is_harmful(c), "{:x}", u32::from(c));
        }
        for c in "grün 漢字 🐝 ☎\u{fe0f} नमस्ते 한글 \u{a0}".chars() {
            assert!(!is_harmful(c), "{:x}", u32::from(c));
        }
    }
}
