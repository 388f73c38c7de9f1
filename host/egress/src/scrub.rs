//! Takes secrets' values out of what a guest or a log will see: as they are, and as base64, percent-encoding, hex, JSON or
//! HTML would write them, with each byte escaped or not and in whichever way, also where a value is cut by the border of two
//! pieces. A host that is given a secret and wants to betray it can still do so in a form of its own: binding a secret to a host
//! is trust in that host. What must never live here: where a value comes from, and where it may go.

mod escapes;
mod forms;
mod walk;

use escapes::{Readings, beginnings, meanings};
use std::borrow::Cow;
use std::cmp::Reverse;
use std::fmt;
use std::sync::Arc;
use vespiary_kernel::net::SecretName;
use walk::{Step, Walk};
use zeroize::Zeroizing;

/// Values shorter than this are not taken for secrets: they would be found in innocent text.
pub(crate) const VALUE_BYTES_MIN: usize = 8;
/// Longer than any token; what is held back between two pieces is never longer than a form of this, each byte escaped.
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
    /// A bit for each byte with which some form may begin as it is written, escaped or not.
    firsts: Zeroizing<Vec<u64>>,
    /// A bit for each two such bytes. Most places in most texts begin no form, and nothing more is asked of them.
    pairs: Zeroizing<Vec<u64>>,
    /// The same for the forms as they are.
    plain_firsts: Zeroizing<Vec<u64>>,
    plain_pairs: Zeroizing<Vec<u64>>,
}

impl Known {
    fn of(mut forms: Vec<Form>) -> Self {
        forms.sort_by_key(|form| (form.first(), Reverse(form.text.len())));
        let bits = |many: usize| Zeroizing::new(vec![0; many / 64]);
        let (mut firsts, mut pairs) = (bits(1 << 8), bits(1 << 16));
        let (mut plain_firsts, mut plain_pairs) = (bits(1 << 8), bits(1 << 16));
        let set = |bits: &mut [u64], bit: usize| bits[bit / 64] |= 1 << (bit % 64);
        for form in &forms {
            set(&mut plain_firsts, usize::from(form.text[0]));
            set(&mut plain_pairs, pair(form.text[0], form.text[1]));
            for (first, second) in beginnings(form.text[0], form.text[1]) {
                set(&mut firsts, usize::from(first));
                set(&mut pairs, pair(first, second));
            }
        }
        Self { forms, firsts, pairs, plain_firsts, plain_pairs }
    }

    /// Whether some form may begin with this byte.
    fn begins(&self, first: u8) -> bool {
        is_set(&self.firsts, usize::from(first))
    }

    /// Whether some form may begin with these two bytes.
    fn begins_with(&self, first: u8, second: u8) -> bool {
        is_set(&self.pairs, pair(first, second))
    }

    /// The forms whose first byte is this, as it is, longest first.
    fn beginning_with(&self, first: u8) -> std::ops::Range<usize> {
        let from = self.forms.partition_point(|form| form.first() < first);
        from..from + self.forms[from..].partition_point(|form| form.first() == first)
    }
}

fn is_set(bits: &[u64], bit: usize) -> bool {
    bits.get(bit / 64).is_some_and(|bits| bits >> (bit % 64) & 1 == 1)
}

fn pair(first: u8, second: u8) -> usize {
    usize::from(first) << 8 | usize::from(second)
}

/// What one secret becomes when it is written in one way, before anything in it is escaped.
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
            for text in forms::of(value) {
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
        let is_whole = |rest: &[u8]| matches!(self.begin(rest, true).follow(self, rest, true), Found::Whole(..));
        let mut at = self.innocent(bytes);
        while at < bytes.len() && !is_whole(&bytes[at..]) {
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
        ScrubStream { scrubber: self.clone(), held: Zeroizing::default(), place: None }
    }

    /// How many bytes at the start of `rest` begin no form.
    fn innocent(&self, rest: &[u8]) -> usize {
        let Some(last) = rest.last() else { return 0 };
        let begins = rest.windows(2).position(|two| self.known.begins_with(two[0], two[1]));
        // Of the last byte nobody knows what follows.
        begins.unwrap_or_else(|| rest.len() - usize::from(self.known.begins(*last)))
    }

    /// The forms that may begin at the start of `rest`.
    fn begin(&self, rest: &[u8], is_last: bool) -> Place {
        let firsts = Readings::of(rest, is_last);
        let mut place = Place { walks: Vec::new(), is_cut: firsts.is_cut };
        for (first, length) in firsts.iter() {
            for first in meanings(first).filter(|first| is_set(&self.known.plain_firsts, usize::from(*first))) {
                let seconds = Readings::of(&rest[length..], is_last);
                let mut pairs =
                    seconds.iter().flat_map(|(second, _)| meanings(second)).map(|second| pair(first, second));
                if seconds.is_cut || pairs.any(|pair| is_set(&self.known.plain_pairs, pair)) {
                    let forms = self.known.beginning_with(first);
                    place.walks.extend(forms.filter_map(|form| Walk::of(form, &self.known.forms[form].text, rest)));
                }
            }
        }
        // Two ways to read the first byte may have led to one form.
        place.walks.sort_by_key(|walk| (self.known.forms[walk.form].text.len(), walk.form));
        place.walks.dedup_by_key(|walk| walk.form);
        place
    }
}

/// Says how much it knows, never what.
impl fmt::Debug for Scrubber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scrubber({} forms)", self.known.forms.len())
    }
}

/// A place in a text, and the forms that may begin there.
#[derive(Default)]
struct Place {
    /// The longest form last: it is followed first.
    walks: Vec<Walk>,
    /// Not enough of the text is there to tell which forms these are.
    is_cut: bool,
}

/// What begins at a place.
enum Found<'a> {
    /// This form, as long as this.
    Whole(&'a Form, usize),
    /// Perhaps one; what follows will tell.
    Part,
    Nothing,
}

impl Place {
    /// Follow its forms through `rest`, which begins at the place. Unless it `is_last`, a form that might still become complete
    /// wins over shorter ones.
    fn follow<'a>(&mut self, scrubber: &'a Scrubber, rest: &[u8], is_last: bool) -> Found<'a> {
        if self.is_cut {
            return Found::Part;
        }
        while let Some(walk) = self.walks.last_mut() {
            let form = &scrubber.known.forms[walk.form];
            match walk.follow(&form.text, rest, is_last) {
                Step::Whole(end) => return Found::Whole(form, end),
                Step::Part => return Found::Part,
                Step::Lost => drop(self.walks.pop()),
            }
        }
        Found::Nothing
    }
}

/// A scrubber over pieces: what could be the beginning of a secret is held back until the next piece tells.
pub struct ScrubStream {
    scrubber: Scrubber,
    held: Zeroizing<Vec<u8>>,
    /// How far the forms were followed that may begin with what is held.
    place: Option<Place>,
}

/// Says how much it holds, never what.
impl fmt::Debug for ScrubStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ScrubStream({:?}, {} bytes held)", self.scrubber, self.held.len())
    }
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
        let mut clean = Vec::with_capacity(if self.place.is_some() { 0 } else { self.held.len() });
        let mut at = 0;
        loop {
            // Where a piece ended within a form, that form is followed from there on, not from its beginning.
            let mut place = match self.place.take().filter(|place| !place.is_cut) {
                Some(place) => place,
                None => {
                    let innocent = self.scrubber.innocent(&self.held[at..]);
                    clean.extend_from_slice(&self.held[at..at + innocent]);
                    at += innocent;
                    self.scrubber.begin(&self.held[at..], is_last)
                }
            };
            let rest = &self.held[at..];
            if rest.is_empty() {
                break;
            }
            match place.follow(&self.scrubber, rest, is_last) {
                Found::Whole(form, length) => {
                    clean.extend_from_slice(form.marker.as_bytes());
                    at += length;
                }
                Found::Part => {
                    self.place = Some(place);
                    break;
                }
                Found::Nothing => {
                    clean.push(self.held[at]);
                    at += 1;
                }
            }
        }
        self.held.drain(..at);
        clean
    }
}

#[cfg(test)]
mod tests;
