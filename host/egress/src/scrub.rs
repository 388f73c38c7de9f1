//! Takes secrets' values out of what a guest or a log will see: as they are, and as base64, percent-encoding, hex, JSON or
//! HTML would write them, also where a value is cut by the border of two pieces. A host that is given a secret and wants to
//! betray it can still do so in a form of its own: binding a secret to a host is trust in that host.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::fmt;
use std::sync::Arc;
use vespiary_kernel::net::SecretName;
use zeroize::Zeroizing;

/// Values shorter than this are not taken for secrets: they would be found in innocent text.
pub(crate) const VALUE_BYTES_MIN: usize = 8;
/// Longer than any token; what is held back between two pieces is never longer than a form of this.
pub(crate) const VALUE_BYTES_MAX: usize = 16 << 10;

/// Finds secrets and writes `[secret:NAME]` in their place. Cheap to clone.
#[derive(Clone, Default)]
pub struct Scrubber {
    known: Arc<Known>,
}

#[derive(Default)]
struct Known {
    /// By their first byte. Longest first among those that share it: at one place, the longest form wins.
    forms: Vec<Form>,
    /// A bit for each two bytes, set where some form begins with them. Most places in most texts begin none, and nothing more
    /// is asked of them.
    begins: Zeroizing<Vec<u64>>,
}

impl Known {
    fn of(mut forms: Vec<Form>) -> Self {
        forms.sort_by_key(|form| (form.first(), Reverse(form.text.len())));
        let mut begins = Zeroizing::new(vec![0; (1 << 16) / 64]);
        for form in &forms {
            let pair = pair(form.text[0], form.text[1]);
            begins[pair / 64] |= 1 << (pair % 64);
        }
        Self { forms, begins }
    }

    /// Whether some form begins with these two bytes.
    fn begins_with(&self, first: u8, second: u8) -> bool {
        let pair = pair(first, second);
        self.begins.get(pair / 64).is_some_and(|bits| bits >> (pair % 64) & 1 == 1)
    }

    /// The forms that begin with this byte, longest first.
    fn beginning_with(&self, first: u8) -> &[Form] {
        let from = self.forms.partition_point(|form| form.first() < first);
        let many = self.forms[from..].partition_point(|form| form.first() == first);
        &self.forms[from..from + many]
    }
}

fn pair(first: u8, second: u8) -> usize {
    usize::from(first) << 8 | usize::from(second)
}

/// One way of writing one secret.
struct Form {
    text: Zeroizing<Vec<u8>>,
    marker: Arc<str>,
}

impl Form {
    fn first(&self) -> u8 {
        self.text[0]
    }
}

impl Scrubber {
    /// One that knows these secrets.
    pub(crate) fn of<'a>(secrets: impl Iterator<Item = (&'a SecretName, &'a [u8])>) -> Self {
        let mut forms: Vec<Form> = Vec::new();
        for (name, value) in secrets {
            let marker: Arc<str> = format!("[secret:{name}]").into();
            for text in writings(value) {
                if text.len() >= VALUE_BYTES_MIN && !forms.iter().any(|form| *form.text == *text) {
                    forms.push(Form { text, marker: Arc::clone(&marker) });
                }
            }
        }
        Self { known: Arc::new(Known::of(forms)) }
    }

    /// Whether it knows no secret.
    pub fn is_empty(&self) -> bool {
        self.known.forms.is_empty()
    }

    /// `text` without secrets.
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.bytes(text.as_bytes()) {
            Cow::Borrowed(_) => Cow::Borrowed(text),
            // A value is UTF-8 and matched whole, so what remains is too.
            Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
        }
    }

    /// `bytes` without secrets.
    pub fn bytes<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        let mut at = self.innocent(bytes);
        while at < bytes.len() && self.found(&bytes[at..], true).is_none() {
            at += 1 + self.innocent(&bytes[at + 1..]);
        }
        if at == bytes.len() {
            return Cow::Borrowed(bytes);
        }
        let mut stream = self.stream();
        let mut clean = stream.push(bytes);
        clean.extend(stream.finish());
        Cow::Owned(clean)
    }

    /// For text that comes in pieces.
    pub fn stream(&self) -> ScrubStream {
        ScrubStream { scrubber: self.clone(), held: Zeroizing::default() }
    }

    /// How many bytes at the start of `rest` begin no form.
    fn innocent(&self, rest: &[u8]) -> usize {
        let Some(last) = rest.last() else { return 0 };
        let begins = rest.windows(2).position(|two| self.known.begins_with(two[0], two[1]));
        // Of the last byte nobody knows what follows.
        begins.unwrap_or_else(|| rest.len() - usize::from(!self.known.beginning_with(*last).is_empty()))
    }

    /// What begins at the start of `rest`. Unless it `is_last`, a form that might still become complete wins.
    fn found(&self, rest: &[u8], is_last: bool) -> Option<Found<'_>> {
        self.known.beginning_with(*rest.first()?).iter().find_map(|form| match () {
            () if rest.starts_with(&form.text) => Some(Found::Whole(form)),
            () if !is_last && form.text.starts_with(rest) => Some(Found::Part),
            () => None,
        })
    }
}

enum Found<'a> {
    Whole(&'a Form),
    Part,
}

/// Says how much it knows, never what.
impl fmt::Debug for Scrubber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scrubber({} forms)", self.known.forms.len())
    }
}

/// A scrubber over pieces: what could be the beginning of a secret is held back until the next piece tells.
#[derive(Debug)]
pub struct ScrubStream {
    scrubber: Scrubber,
    held: Zeroizing<Vec<u8>>,
}

impl ScrubStream {
    /// Add a piece; gives what is sure to be clean.
    pub fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(piece);
        self.drain(false)
    }

    /// The end: gives what was held back.
    pub fn finish(&mut self) -> Vec<u8> {
        self.drain(true)
    }

    fn drain(&mut self, is_last: bool) -> Vec<u8> {
        let mut clean = Vec::with_capacity(self.held.len());
        let mut at = 0;
        loop {
            let innocent = self.scrubber.innocent(&self.held[at..]);
            clean.extend_from_slice(&self.held[at..at + innocent]);
            at += innocent;
            if at == self.held.len() {
                break;
            }
            match self.scrubber.found(&self.held[at..], is_last) {
                Some(Found::Whole(form)) => {
                    clean.extend_from_slice(form.marker.as_bytes());
                    at += form.text.len();
                }
                Some(Found::Part) => break,
                None => {
                    clean.push(self.held[at]);
                    at += 1;
                }
            }
        }
        self.held.drain(..at);
        clean
    }
}

/// The ways in which `value` may come back.
fn writings(value: &[u8]) -> Vec<Zeroizing<Vec<u8>>> {
    let mut all = vec![value.to_vec(), hex(value, b"0123456789abcdef"), hex(value, b"0123456789ABCDEF")];
    const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for alphabet in [STANDARD, URL_SAFE] {
        // Inside a longer text, as in `Basic base64(user:value)`, the value may begin at any of three offsets.
        all.extend((0..3).map(|offset| base64_core(value, offset, alphabet)));
    }
    for digits in [b"0123456789ABCDEF", b"0123456789abcdef"] {
        all.push(percent(value, digits, |b| b.is_ascii_alphanumeric() || b"-._~".contains(&b)));
        all.push(percent(value, digits, |b| b.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&b)));
        all.push(percent(value, digits, |b| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?".contains(&b)));
        all.push(percent(value, digits, |_| false));
    }
    if let Ok(text) = std::str::from_utf8(value) {
        let json = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\t', "\\t");
        all.push(json.replace('/', "\\/").into_bytes());
        all.push(json.into_bytes());
        let html = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
        all.push(html.replace('\'', "&#39;").into_bytes());
        all.push(html.into_bytes());
    }
    all.into_iter().map(Zeroizing::new).collect()
}

fn hex(value: &[u8], digits: &[u8; 16]) -> Vec<u8> {
    value.iter().flat_map(|b| [digits[usize::from(b >> 4)], digits[usize::from(b & 15)]]).collect()
}

fn percent(value: &[u8], digits: &[u8; 16], plain: impl Fn(u8) -> bool) -> Vec<u8> {
    let encode = |b: u8| -> Vec<u8> {
        if plain(b) { vec![b] } else { vec![b'%', digits[usize::from(b >> 4)], digits[usize::from(b & 15)]] }
    };
    value.iter().flat_map(|b| encode(*b)).collect()
}

/// The base64 digits that depend on nothing but `value`, when it begins `offset` bytes after a multiple of three.
fn base64_core(value: &[u8], offset: usize, alphabet: &[u8; 64]) -> Vec<u8> {
    let bit = |n: usize| value.get(n / 8).map(|b| b >> (7 - n % 8) & 1);
    let first = (6 - offset * 8 % 6) % 6;
    let digits = (value.len() * 8 - first) / 6;
    (0..digits)
        .map(|digit| {
            let six = (0..6).fold(0, |six, n| six << 1 | bit(first + digit * 6 + n).unwrap_or(0));
            alphabet[usize::from(six)]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const VALUE: &str = "s3cr3t/+\"value&=\\end";

    fn scrubber() -> Scrubber {
        let names: [SecretName; 2] = ["TOKEN".parse().unwrap(), "OTHER".parse().unwrap()];
        let values: [&[u8]; 2] = [VALUE.as_bytes(), b"another-value-of-mine"];
        Scrubber::of(names.iter().zip(values))
    }

    fn base64(bytes: &[u8], alphabet: &[u8; 64]) -> String {
        bytes
            .chunks(3)
            .flat_map(|c| {
                let n = (u32::from(c[0]) << 16)
                    | (u32::from(*c.get(1).unwrap_or(&0)) << 8)
                    | u32::from(*c.get(2).unwrap_or(&0));
                (0..c.len() + 1).map(move |i| char::from(alphabet[(n >> (18 - 6 * i) & 63) as usize]))
            })
            .collect()
    }

    #[test]
    fn every_writing_is_found() {
        let scrubber = scrubber();
        let standard = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let url = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let mut written = vec![
            VALUE.to_owned(),
            VALUE.bytes().map(|b| format!("{b:02x}")).collect(),
            VALUE.bytes().map(|b| format!("{b:02X}")).collect(),
            VALUE.bytes().map(|b| format!("%{b:02x}")).collect(),
            "s3cr3t%2F%2B%22value%26%3D%5Cend".to_owned(),
            "s3cr3t%2f%2b%22value%26%3d%5cend".to_owned(),
            r#"s3cr3t/+\"value&=\\end"#.to_owned(),
            r#"s3cr3t\/+\"value&=\\end"#.to_owned(),
            "s3cr3t/+&quot;value&amp;=\\end".to_owned(),
        ];
        for before in ["", "u", "us", "user:"] {
            for after in ["", "x", "xy"] {
                let inside = format!("{before}{VALUE}{after}");
                written.push(base64(inside.as_bytes(), standard));
                written.push(base64(inside.as_bytes(), url));
            }
        }
        for text in written {
            let clean = scrubber.text(&text).into_owned();
            assert!(clean.contains("[secret:TOKEN]"), "{text} became {clean}");
            assert!(clean.len() < "[secret:TOKEN]".len() + 12, "{text} became {clean}");
        }
        assert!(matches!(scrubber.text("nothing here"), Cow::Borrowed(_)));
        assert_eq!(scrubber.text("a another-value-of-mine b"), "a [secret:OTHER] b");
        assert!(!format!("{scrubber:?}").contains("s3cr3t"));
    }

    #[test]
    fn of_two_that_begin_alike_the_longer_is_meant() {
        let names: [SecretName; 2] = ["SHORT".parse().unwrap(), "LONG".parse().unwrap()];
        let values: [&[u8]; 2] = [b"begin-alike", b"begin-alike-and-go-on"];
        let scrubber = Scrubber::of(names.iter().zip(values));
        assert_eq!(scrubber.text("begin-alike-and-go-on begin-alike-and"), "[secret:LONG] [secret:SHORT]-and");
        let mut stream = scrubber.stream();
        assert_eq!(stream.push(b"x begin-alike-and"), b"x ");
        assert_eq!(stream.push(b"-stop"), b"[secret:SHORT]-and-stop");
    }

    #[test]
    fn what_cannot_be_a_secret_is_not_held_back() {
        let mut stream = scrubber().stream();
        assert_eq!(stream.push(b"data: event\n\n"), b"data: event\n\n");
        assert_eq!(stream.push(b"s3cr"), b"");
        assert_eq!(stream.push(b"et"), b"s3cret");
        assert_eq!(stream.push(b"an"), b"");
        assert_eq!(stream.finish(), b"an");
    }

    proptest! {
        #[test]
        fn cuts_make_no_difference(parts in prop::collection::vec(prop_oneof![
            Just(VALUE.as_bytes().to_vec()), Just(b"another-value-of-mine".to_vec()), Just(b"s3cr3t/".to_vec()),
            prop::collection::vec(any::<u8>(), 0..6)], 0..8), cuts in prop::collection::vec(1usize..9, 1..40)) {
            let text = parts.concat();
            let scrubber = scrubber();
            let mut stream = scrubber.stream();
            let (mut clean, mut rest) = (Vec::new(), text.as_slice());
            for cut in cuts {
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                clean.extend(stream.push(piece));
                rest = after;
            }
            clean.extend(stream.push(rest));
            clean.extend(stream.finish());
            prop_assert_eq!(&clean, &scrubber.bytes(&text).into_owned());
            prop_assert!(!clean.windows(VALUE.len()).any(|w| w == VALUE.as_bytes()));
        }
    }
}
