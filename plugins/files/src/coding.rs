//! How a file holds its text: as UTF-8, or as UTF-16 where the mark at its beginning says so. What must never live here:
//! reading.

use crate::reading::Encoding;

/// How much of a file is looked at to tell text from binary.
pub(crate) const SNIFF_BYTES: usize = 8 << 10;

/// Most bytes of a character after its first.
pub(crate) const CHARACTER_REST_MAX: u64 = 3;

/// How characters are bytes. Both forms of UTF-16 have units of two bytes, so there all places of lines and characters are even.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Utf8,
    Utf16Le,
    Utf16Be,
}

impl Coding {
    /// Told by the beginning of a file; nothing for what is no text, since it has a NUL.
    pub(crate) fn of(beginning: &[u8]) -> Option<Self> {
        let beginning = &beginning[..beginning.len().min(SNIFF_BYTES)];
        let coding = match beginning {
            [0xff, 0xfe, ..] => Self::Utf16Le,
            [0xfe, 0xff, ..] => Self::Utf16Be,
            _ => Self::Utf8,
        };
        let has_nul = match coding {
            Self::Utf8 => beginning.contains(&0),
            _ => coding.units(beginning).any(|unit| unit == 0),
        };
        (!has_nul).then_some(coding)
    }

    /// The text, and how exact it is.
    pub(crate) fn text(self, bytes: Vec<u8>) -> (String, Encoding) {
        if self == Self::Utf8 {
            return match String::from_utf8(bytes) {
                Ok(text) => (text, Encoding::Utf8),
                Err(error) => (String::from_utf8_lossy(error.as_bytes()).into_owned(), Encoding::Lossy),
            };
        }
        let mut encoding = Encoding::Utf16;
        let mut lost = |_| {
            encoding = Encoding::Utf16Lossy;
            char::REPLACEMENT_CHARACTER
        };
        let mut text: String =
            char::decode_utf16(self.units(&bytes)).map(|found| found.map_err(drop).unwrap_or_else(&mut lost)).collect();
        if !bytes.len().is_multiple_of(2) {
            text.push(lost(()));
        }
        (text, encoding)
    }

    /// Length of the first line, its end included; of all where no line ends.
    pub(crate) fn line_len(self, bytes: &[u8]) -> usize {
        let newline = match self {
            Self::Utf8 => memchr::memchr(b'\n', bytes).map(|newline| newline + 1),
            _ => self.units(bytes).position(|unit| unit == NEWLINE).map(|newline| newline * 2 + 2),
        };
        newline.unwrap_or(bytes.len())
    }

    /// Where the last whole line ends; nothing where none does.
    pub(crate) fn whole_lines(self, bytes: &[u8]) -> Option<usize> {
        match self {
            Self::Utf8 => memchr::memrchr(b'\n', bytes).map(|newline| newline + 1),
            _ => self.units(bytes).rposition(|unit| unit == NEWLINE).map(|newline| newline * 2 + 2),
        }
    }

    /// Whether these bytes are whole lines.
    pub(crate) fn ends_line(self, bytes: &[u8]) -> bool {
        match self {
            Self::Utf8 => bytes.ends_with(b"\n"),
            _ => bytes.len().is_multiple_of(2) && self.units(bytes).next_back() == Some(NEWLINE),
        }
    }

    /// How many lines there are, one without an end included.
    pub(crate) fn count_lines(self, mut bytes: &[u8]) -> u64 {
        let mut lines = 0;
        while !bytes.is_empty() {
            bytes = &bytes[self.line_len(bytes)..];
            lines += 1;
        }
        lines
    }

    /// `at`, or the end of the character that has begun before it. Bytes that are no text belong to no character. `from` is
    /// where in the file `bytes` begin.
    pub(crate) fn boundary(self, from: u64, bytes: &[u8], at: usize) -> usize {
        let at = at.min(bytes.len());
        let begins = at.saturating_sub(CHARACTER_REST_MAX as usize)..at;
        let may_begin = |begin: &usize| self == Self::Utf8 || (from + *begin as u64).is_multiple_of(2);
        let mut ends = begins.filter(may_begin).filter_map(|begin| self.end_of_character(bytes, begin));
        ends.find(|end| *end > at).unwrap_or(at)
    }

    fn end_of_character(self, bytes: &[u8], begin: usize) -> Option<usize> {
        if self != Self::Utf8 {
            let mut units = self.units(&bytes[begin..]);
            let is_pair = matches!((units.next()?, units.next()), (0xd800..0xdc00, Some(0xdc00..0xe000)));
            return Some(begin + if is_pair { 4 } else { 2 });
        }
        let width = match bytes[begin] {
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => 1,
        };
        let end = begin + width;
        std::str::from_utf8(bytes.get(begin..end)?).ok().map(|_| end)
    }

    fn units(self, bytes: &[u8]) -> impl DoubleEndedIterator<Item = u16> + ExactSizeIterator {
        let unit = if self == Self::Utf16Be { u16::from_be_bytes } else { u16::from_le_bytes };
        bytes.chunks_exact(2).map(move |pair| unit([pair[0], pair[1]]))
    }
}

/// As a unit of UTF-16.
const NEWLINE: u16 = 0x0a;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_tells_and_a_nul_is_no_text() {
        for (beginning, coding) in [
            (&b"text"[..], Some(Coding::Utf8)),
            (b"", Some(Coding::Utf8)),
            (b"\xef\xbb\xbftext", Some(Coding::Utf8)),
            (b"\xff\xfea\0", Some(Coding::Utf16Le)),
            (b"\xfe\xff\0a", Some(Coding::Utf16Be)),
            (b"\xff\xfe", Some(Coding::Utf16Le)),
            (b"a\0b\0", None),
            // UTF-32, and other things that begin so.
            (b"\xff\xfe\0\0a\0\0\0", None),
            (b"\xfe\xff\0\0", None),
        ] {
            assert_eq!(Coding::of(beginning), coding, "{beginning:?}");
        }
    }

    #[test]
    fn a_line_ends_with_a_unit_and_not_with_a_byte() {
        // U+0A0A and U+010A hold the byte of a newline.
        let text = "\u{a0a}\u{10a}\n\u{a0a}";
        let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        for (coding, bytes) in [(Coding::Utf16Le, little), (Coding::Utf16Be, big)] {
            assert_eq!((coding.line_len(&bytes), coding.line_len(&bytes[6..])), (6, 2));
            assert_eq!((coding.whole_lines(&bytes), coding.whole_lines(&bytes[..4])), (Some(6), None));
            assert!(coding.ends_line(&bytes[..6]) && !coding.ends_line(&bytes) && !coding.ends_line(&bytes[..7]));
            assert_eq!((coding.count_lines(&bytes), coding.count_lines(&bytes[..6])), (2, 1));
        }
    }

    #[test]
    fn what_is_no_utf_16_is_replaced() {
        assert_eq!(
            Coding::Utf16Le.text(b"a\0\x3d\xd8b\0x".to_vec()),
            ("a\u{fffd}b\u{fffd}".into(), Encoding::Utf16Lossy)
        );
        assert_eq!(Coding::Utf16Be.text(b"\xd8\x3d\xdc\x1d".to_vec()), ("🐝".into(), Encoding::Utf16));
    }
}
