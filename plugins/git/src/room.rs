//! How much an answer may hold: what a call may return is bounded, and a caller should get a cut answer that says so rather
//! than none. What must never live here: what is told.

use serde::Serialize;
use std::io::{self, Write};

/// Bytes that a part of an answer may still take, counted as JSON writes them: there a control character is six.
pub(crate) struct Room(usize);

impl Room {
    /// Room for so many bytes.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self(bytes_max)
    }

    /// Takes room for one more value, and says whether there was any.
    pub(crate) fn take(&mut self, value: &impl Serialize) -> bool {
        let left = self.0.checked_sub(json_len(value));
        self.0 = left.unwrap_or(self.0);
        left.is_some()
    }

    /// Cuts a list to what there is room for and to `count_max`, and says whether it was longer.
    pub(crate) fn cut(&mut self, list: &mut Vec<impl Serialize>, count_max: usize) -> bool {
        let fits = list.iter().take(count_max).take_while(|value| self.take(value)).count();
        let cut = fits < list.len();
        list.truncate(fits);
        cut
    }
}

/// Counts what is written.
struct Count(usize);

impl Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Bytes of a value in JSON, with the comma behind it.
fn json_len(value: &impl Serialize) -> usize {
    let mut count = Count(1);
    // Nothing is told of a value that has no JSON form; the answer as a whole has none then.
    let _ = serde_json::to_writer(&mut count, value);
    count.0
}

/// The beginning of a text that takes at most `bytes_max` bytes in JSON.
pub(crate) fn cut(text: &str, bytes_max: usize) -> &str {
    let mut taken = 0;
    for (at, char) in text.char_indices() {
        taken += match char {
            '"' | '\\' | '\u{8}' | '\t' | '\n' | '\u{c}' | '\r' => 2,
            '\0'..' ' => 6,
            _ => char.len_utf8(),
        };
        if taken > bytes_max {
            return &text[..at];
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_by_what_json_makes_of_them() {
        let text: String = (0..0x100).filter_map(char::from_u32).chain(['日', '🐝']).collect();
        let whole = json_len(&text) - "\"\",".len();
        assert_eq!(cut(&text, whole), text);
        assert_eq!(cut(&text, whole - 1), text.strip_suffix('🐝').unwrap());
        for bytes_max in 0..whole {
            assert!(json_len(&cut(&text, bytes_max)) <= bytes_max + "\"\",".len(), "{bytes_max}");
        }
        assert_eq!((cut("\u{1}\u{1}", 11), cut("", 0)), ("\u{1}", ""));
    }

    #[test]
    fn lists_are_cut_at_the_first_that_does_not_fit() {
        let mut room = Room::new(20);
        let mut list = vec!["12345", "\u{1}\u{1}", ""];
        assert!(room.cut(&mut list, 9));
        assert_eq!(list, ["12345"]);
        assert!(!room.take(&"\u{1}\u{1}") && room.take(&"123456789") && !room.take(&""));
        let mut list = vec![1, 2, 3];
        assert!(Room::new(99).cut(&mut list, 2) && !Room::new(99).cut(&mut list, 2));
    }
}
