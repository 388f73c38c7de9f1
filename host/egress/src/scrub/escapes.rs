//! One byte as it may be written: as it is, percent-encoded, escaped as in JSON, JavaScript or C, or as HTML's reference to it.
//! Each writer escapes other bytes and in other ways, so each way is taken for each byte, also where it was written twice over,
//! as JSON inside JSON is. Values of secrets are visible ASCII, so a byte is a character. What must never live here: a secret.

/// Digits of a reference by number, leading zeros with them.
const REFERENCE_DIGITS_MAX: usize = 8;

/// HTML's names for visible ASCII, as they end.
const NAMES: &[(&[u8], u8)] = &[
    (b"amp;", b'&'),
    (b"AMP;", b'&'),
    (b"lt;", b'<'),
    (b"LT;", b'<'),
    (b"gt;", b'>'),
    (b"GT;", b'>'),
    (b"quot;", b'"'),
    (b"QUOT;", b'"'),
    (b"apos;", b'\''),
    (b"excl;", b'!'),
    (b"num;", b'#'),
    (b"dollar;", b'$'),
    (b"percnt;", b'%'),
    (b"lpar;", b'('),
    (b"rpar;", b')'),
    (b"ast;", b'*'),
    (b"midast;", b'*'),
    (b"plus;", b'+'),
    (b"comma;", b','),
    (b"period;", b'.'),
    (b"sol;", b'/'),
    (b"colon;", b':'),
    (b"semi;", b';'),
    (b"equals;", b'='),
    (b"quest;", b'?'),
    (b"commat;", b'@'),
    (b"lsqb;", b'['),
    (b"lbrack;", b'['),
    (b"bsol;", b'\\'),
    (b"rsqb;", b']'),
    (b"rbrack;", b']'),
    (b"Hat;", b'^'),
    (b"lowbar;", b'_'),
    (b"UnderBar;", b'_'),
    (b"grave;", b'`'),
    (b"DiacriticalGrave;", b'`'),
    (b"lcub;", b'{'),
    (b"lbrace;", b'{'),
    (b"vert;", b'|'),
    (b"verbar;", b'|'),
    (b"VerticalLine;", b'|'),
    (b"rcub;", b'}'),
    (b"rbrace;", b'}'),
];

/// The bytes that begin an escape.
const BEGIN: [u8; 3] = *b"%\\&";

/// Whether something other than the byte itself may be meant where it stands.
pub(super) fn begins_escape(byte: u8) -> bool {
    BEGIN.contains(&byte)
}

/// Whether `written`, once nothing of it is escaped, may mean `byte`. Forms of web pages write a space as `+`.
pub(super) fn means(written: u8, byte: u8) -> bool {
    written == byte || (written == b'+' && byte == b' ')
}

/// All that `written` may mean so.
pub(super) fn meanings(written: u8) -> impl Iterator<Item = u8> {
    [Some(written), (written == b'+').then_some(b' ')].into_iter().flatten()
}

/// What the start of a text may mean.
#[derive(Clone, Copy, Default)]
pub(super) struct Readings {
    /// A byte, and how long it is written.
    all: [(u8, usize); Self::MAX],
    many: usize,
    /// The text ends within something that may mean more.
    pub(super) is_cut: bool,
}

impl Readings {
    /// As it stands; and of each of two ways to read how it begins, two ways to go on.
    const MAX: usize = 5;

    /// Read the start of `text`. Unless it `is_last`, more may follow.
    pub(super) fn of(text: &[u8], is_last: bool) -> Self {
        let mut found = Self::default();
        let once = found.read_once(text, 0);
        // What begins an escape may be escaped itself: `%25` for `%`, `&amp;` for `&`, `\\` for `\`.
        if let (Some(&first), true) = (text.first(), once.is_some_and(|(byte, _)| begins_escape(byte))) {
            for (begin, length) in [Some((first, 1)), once].into_iter().flatten() {
                let rest = &text[length..];
                match rest.first() {
                    Some(after) if begin == b'\\' && is_backslashed_itself(*after) => found.read_once(rest, length),
                    _ => found.read_escape(begin, rest, length),
                };
            }
        }
        found.is_cut &= !is_last;
        found
    }

    /// Each byte that may be meant, with the length of its writing.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u8, usize)> {
        self.all.iter().take(self.many).copied()
    }

    /// Read what stands after `before` bytes as it stands, and as it is to who escaped once. Gives the latter.
    fn read_once(&mut self, text: &[u8], before: usize) -> Option<(u8, usize)> {
        let Some((&first, rest)) = text.split_first() else {
            self.is_cut = true;
            return None;
        };
        self.add(first, before + 1);
        match rest.first() {
            Some(after) if first == b'\\' && is_backslashed_itself(*after) => {
                self.add(*after, before + 2);
                Some((*after, before + 2))
            }
            _ => self.read_escape(first, rest, before + 1),
        }
    }

    /// Read what `begin`, which ends after `before` bytes, and the start of `rest` mean together.
    fn read_escape(&mut self, begin: u8, rest: &[u8], before: usize) -> Option<(u8, usize)> {
        let escape = match begin {
            b'%' => number(rest, 0, 16, 2, 2, None),
            b'&' => reference(rest),
            b'\\' => backslashed(rest),
            _ => Escape::None,
        };
        match escape {
            Escape::Of(byte, length) => {
                self.add(byte, before + length);
                Some((byte, before + length))
            }
            Escape::Cut => {
                self.is_cut = true;
                None
            }
            Escape::None => None,
        }
    }

    fn add(&mut self, byte: u8, length: usize) {
        if !self.iter().any(|known| known == (byte, length)) {
            debug_assert!(self.many < Self::MAX, "there is a way more than was thought of");
            if let Some(place) = self.all.get_mut(self.many) {
                *place = (byte, length);
                self.many += 1;
            }
        }
    }
}

/// What follows the byte that begins an escape.
enum Escape {
    /// The byte that is meant, and the length of what follows.
    Of(u8, usize),
    /// The text ends before it is known.
    Cut,
    /// Nothing that is known.
    None,
}

/// After `\`, a letter or digit: `u002b`, `u{2b}`, `x2b`, `053`.
fn backslashed(rest: &[u8]) -> Escape {
    let braced = rest.get(1) == Some(&b'{');
    match rest.first() {
        None => Escape::Cut,
        Some(b'u' | b'x') if braced => number(rest, 2, 16, 1, 6, Some(b'}')),
        Some(b'u') => number(rest, 1, 16, 4, 4, None),
        Some(b'x') => number(rest, 1, 16, 2, 2, None),
        Some(b'0'..=b'7') => number(rest, 0, 8, 3, 3, None),
        Some(_) => Escape::None,
    }
}

/// Whether `\` before `byte` only keeps it from meaning more. Before letters and digits it gives them another meaning.
fn is_backslashed_itself(byte: u8) -> bool {
    byte.is_ascii_punctuation() || byte == b' '
}

/// After `&`: `#43;`, `#x2b;`, `plus;`.
fn reference(rest: &[u8]) -> Escape {
    match rest {
        [b'#', b'x' | b'X', ..] => number(rest, 2, 16, 1, REFERENCE_DIGITS_MAX, Some(b';')),
        [b'#', ..] => number(rest, 1, 10, 1, REFERENCE_DIGITS_MAX, Some(b';')),
        _ => match NAMES.iter().find(|(name, _)| rest.starts_with(name)) {
            Some((name, byte)) => Escape::Of(*byte, name.len()),
            None if NAMES.iter().any(|(name, _)| name.starts_with(rest)) => Escape::Cut,
            None => Escape::None,
        },
    }
}

/// A number of `least` to `most` digits after the first `skip` bytes, and what must end it.
fn number(rest: &[u8], skip: usize, radix: u32, least: usize, most: usize, end: Option<u8>) -> Escape {
    let digits = rest.get(skip..).unwrap_or_default();
    let many = digits.iter().take(most).take_while(|b| char::from(**b).is_digit(radix)).count();
    match digits.get(many) {
        None if many < most || end.is_some() => return Escape::Cut,
        _ if many < least => return Escape::None,
        after if end.is_some() && after.copied() != end => return Escape::None,
        _ => {}
    }
    let value = digits[..many].iter().filter_map(|b| char::from(*b).to_digit(radix)).fold(0, |sum, d| sum * radix + d);
    match u8::try_from(value) {
        Ok(byte) => Escape::Of(byte, skip + many + usize::from(end.is_some())),
        Err(_) => Escape::None,
    }
}

/// The two bytes with which a text can begin that means `first`, then `second`.
pub(super) fn beginnings(first: u8, second: u8) -> Vec<(u8, u8)> {
    let spellings = |byte: u8| [byte, if byte == b' ' { b'+' } else { byte }];
    let mut pairs = Vec::new();
    for written in spellings(first) {
        pairs.extend(spellings(second).into_iter().chain(BEGIN).map(|next| (written, next)));
        pairs.extend(escapes_of(written));
    }
    // Where an escape begins with another.
    pairs.extend(BEGIN.into_iter().flat_map(escapes_of));
    pairs
}

/// The two bytes with which an escape of `byte` can begin.
fn escapes_of(byte: u8) -> impl Iterator<Item = (u8, u8)> {
    let high = b"0123456789abcdef"[usize::from(byte >> 4)];
    let percent = [(b'%', high), (b'%', high.to_ascii_uppercase())];
    let numbered = [(b'\\', b'u'), (b'\\', b'x'), (b'\\', b'0' + (byte >> 6)), (b'&', b'#')];
    let plain = is_backslashed_itself(byte).then_some((b'\\', byte));
    let named = NAMES.iter().filter(move |(_, meant)| *meant == byte).map(|(name, _)| (b'&', name[0]));
    percent.into_iter().chain(numbered).chain(plain).chain(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meant(text: &str) -> Vec<(char, usize)> {
        Readings::of(text.as_bytes(), true).iter().map(|(byte, length)| (char::from(byte), length)).collect()
    }

    #[test]
    fn a_byte_is_read_in_each_of_its_writings() {
        for writing in [
            "+",
            "%2B",
            "%2b",
            "\\u002B",
            "\\u002b",
            "\\u{2b}",
            "\\x2b",
            "\\x{2B}",
            "\\053",
            "\\+",
            "&#43;",
            "&#043;",
            "&#00000043;",
            "&#x2B;",
            "&#X2b;",
            "&#x0000002b;",
            "&plus;",
            "%252B",
            "\\\\u002b",
            "\\\\+",
            "\\\\\\+",
            "&amp;#43;",
            "&amp;plus;",
            "\\u0026#43;",
            "%26plus;",
            "&#37;2B",
        ] {
            assert!(meant(&format!("{writing}x")).contains(&('+', writing.len())), "{writing}: {:?}", meant(writing));
            assert!(meant(writing).contains(&('+', writing.len())), "{writing} at the end");
            for cut in 1..writing.len() {
                assert!(Readings::of(&writing.as_bytes()[..cut], false).is_cut, "{writing} cut after {cut}");
            }
        }
    }

    #[test]
    fn what_is_no_writing_is_read_as_it_stands() {
        for text in [
            "%",
            "%2",
            "%2x",
            "\\u00",
            "\\uzzzz",
            "\\n",
            "\\xz",
            "&",
            "&#;",
            "&#x;",
            "&#43",
            "&#000000043;",
            "&pl;",
            "& ",
        ] {
            let first = char::from(text.as_bytes()[0]);
            assert_eq!(meant(text), [(first, 1)], "{text}");
        }
        for whole in ["%zz", "\\uzz", "\\n", "& b", "&b;", "&#x;", "&#b", "abc"] {
            assert!(!Readings::of(whole.as_bytes(), false).is_cut, "{whole}");
        }
        assert_eq!(meant("\\\\\\\\"), [('\\', 1), ('\\', 2), ('\\', 3), ('\\', 4)]);
    }

    #[test]
    fn no_text_is_read_in_more_ways_than_there_is_room_for() {
        let parts =
            ["%", "\\", "&", "%25", "%5c", "%26", "\\u0025", "&amp;", "&#92;", "&#37;", "2B", "u002b", "amp;", "#43;"];
        for a in parts {
            for b in parts {
                for c in parts {
                    for d in parts {
                        assert!(
                            Readings::of(format!("{a}{b}{c}{d}").as_bytes(), false).iter().count() <= Readings::MAX
                        );
                    }
                }
            }
        }
    }
}
