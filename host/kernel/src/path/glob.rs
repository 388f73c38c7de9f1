//! One pattern of a path: a row of names between slashes, with its globs, and what it spells out. Pure text; how patterns hold
//! together is in `path`.

use crate::hidden;
use crate::path::Reach;
use std::fmt;
use std::str::FromStr;

/// Names in one pattern.
const SEGMENTS_MAX: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Pattern {
    pub(super) absolute: bool,
    pub(super) segments: Vec<Segment>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Segment {
    /// A name, `*` in it standing for any run of characters.
    Name(Box<str>),
    /// `**`
    Rest,
}

impl Segment {
    fn is_literal(&self) -> bool {
        matches!(self, Self::Name(name) if !name.contains('*'))
    }

    fn is_any(&self) -> bool {
        matches!(self, Self::Name(name) if &**name == "*")
    }
}

/// To whom it matters what a pattern names.
#[derive(Clone, Copy)]
pub(super) enum Shown {
    /// What is hidden.
    ToReaders,
    /// What is hidden or guarded.
    ToWriters,
}

/// What a pattern names that is not shown unless it is named. In lower case, sorted, each name as often as it occurs.
#[derive(PartialEq, Eq)]
pub(super) struct Named {
    hidden: Vec<String>,
    guarded: Vec<String>,
}

impl Named {
    /// What is hidden, what is guarded.
    pub(super) fn into_parts(self) -> (Vec<String>, Vec<String>) {
        (self.hidden, self.guarded)
    }

    pub(super) fn contains_all(&self, other: &Named) -> bool {
        fn all(names: &[String], of: &[String]) -> bool {
            let count = |names: &[String], name: &String| names.iter().filter(|own| *own == name).count();
            of.iter().all(|name| count(names, name) >= count(of, name))
        }
        all(&self.hidden, &other.hidden) && all(&self.guarded, &other.guarded)
    }
}

impl Pattern {
    pub(super) fn is_literal(&self) -> bool {
        self.segments.iter().all(Segment::is_literal)
    }

    fn literals(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Name(name) if segment.is_literal() => Some(&**name),
            _ => None,
        })
    }

    /// The same with no literal that names more than `named`, where that can be told.
    pub(super) fn naming(&self, named: &Named, to: Shown) -> Option<Pattern> {
        if named.hidden.is_empty() && named.guarded.is_empty() {
            return Some(Pattern { absolute: self.absolute, segments: Vec::new() });
        }
        let names = |segment: &Segment, of: &Named| match segment {
            Segment::Name(name) => of.hidden.iter().chain(&of.guarded).any(|own| own.eq_ignore_ascii_case(name)),
            Segment::Rest => false,
        };
        let all = self.names_shown(to);
        let told = |segment: &Segment| match names(segment, &all) && !names(segment, named) {
            true => Segment::Name("*".into()),
            false => segment.clone(),
        };
        let segments = one_form(self.segments.iter().map(told).collect());
        let kept = Pattern { absolute: self.absolute, segments };
        (kept.names_shown(to) == *named).then_some(kept)
    }

    pub(super) fn names_shown(&self, to: Shown) -> Named {
        let literals: Vec<&str> = self.literals().collect();
        let names = |places: Vec<usize>| {
            let mut names: Vec<_> = places.into_iter().map(|at| literals[at].to_ascii_lowercase()).collect();
            names.sort();
            names
        };
        let guarded = match to {
            Shown::ToReaders => Vec::new(),
            Shown::ToWriters => names(hidden::guarded(&literals)),
        };
        Named { hidden: names(hidden::named(&literals)), guarded }
    }

    pub(super) fn literal_len(&self) -> usize {
        self.segments.iter().take_while(|segment| segment.is_literal()).count()
    }

    pub(super) fn base(&self) -> String {
        let base = Pattern { absolute: self.absolute, segments: self.segments[..self.literal_len()].to_vec() };
        base.to_string()
    }

    /// Whether this matches `other` read as a row of names in which each `*` and `**` is a letter that only a `*` or `**` can
    /// stand for. What then matches `other` matches this: see `names_contain`.
    pub(super) fn contains(&self, other: &Pattern) -> bool {
        if self.absolute != other.absolute {
            return false;
        }
        self.run(&other.segments, |own, theirs| match (own, theirs) {
            (Segment::Name(own), Segment::Name(theirs)) => names_contain(own, theirs),
            _ => false,
        }) == Reach::Inside
    }

    pub(super) fn reach(&self, path: &str) -> Reach {
        if self.absolute != path.starts_with('/') {
            return Reach::Outside;
        }
        let plain = path.strip_prefix('/').unwrap_or(path);
        if self.segments.is_empty() {
            return Reach::Inside;
        }
        let names: Vec<&str> = if plain.is_empty() || plain == "." { Vec::new() } else { plain.split('/').collect() };
        self.run(&names, |own, name| matches!(own, Segment::Name(own) if name_matches(own, name)))
    }

    /// What is left to match below the directory with these names.
    pub(super) fn seen_from(&self, names: &[&str]) -> Vec<Pattern> {
        if !self.absolute {
            return Vec::new();
        }
        let relative = |segments: &[Segment]| Pattern { absolute: false, segments: one_form(segments.to_vec()) };
        let end = self.segments.len();
        let mut places = vec![0];
        for name in names {
            if places.contains(&end) {
                break;
            }
            places = self.settled(places).into_iter().flat_map(|at| self.after(at, name)).collect();
        }
        let places = self.settled(places);
        if places.contains(&end) {
            return vec![relative(&[])];
        }
        places.into_iter().map(|at| relative(&self.segments[at..])).collect()
    }

    /// The places, and those behind a `**` that stands for nothing.
    fn settled(&self, mut places: Vec<usize>) -> Vec<usize> {
        for i in 0..places.len() {
            if self.segments.get(places[i]) == Some(&Segment::Rest) {
                places.push(places[i] + 1);
            }
        }
        places.sort_unstable();
        places.dedup();
        places
    }

    /// Where one can be after `name`, having been at `at`.
    fn after(&self, at: usize, name: &str) -> Option<usize> {
        match self.segments.get(at)? {
            Segment::Rest => Some(at),
            Segment::Name(own) => name_matches(own, name).then_some(at + 1),
        }
    }

    /// Match the segments against a row, step by step: a set of places in the pattern, as bits. Done as soon as the pattern's
    /// end is reached, since everything below is included.
    fn run<T>(&self, row: &[T], matches: impl Fn(&Segment, &T) -> bool) -> Reach {
        let end = self.segments.len();
        let rests = self.mask(|segment| *segment == Segment::Rest);
        // A `**` may stand for nothing: the place behind it is reached with it. Two never stand side by side.
        let settle = |places: u128| places | ((places & rests) << 1);
        let mut places = settle(1);
        for item in row {
            if places & (1 << end) != 0 {
                return Reach::Inside;
            }
            let steps = self.mask(|segment| *segment != Segment::Rest && matches(segment, item));
            places = settle((places & rests) | ((places & steps) << 1));
        }
        match places {
            reached if reached & (1 << end) != 0 => Reach::Inside,
            0 => Reach::Outside,
            _ => Reach::Passage,
        }
    }

    fn mask(&self, is: impl Fn(&Segment) -> bool) -> u128 {
        self.segments.iter().enumerate().filter(|(_, segment)| is(segment)).fold(0, |mask, (at, _)| mask | (1 << at))
    }

    /// Whether some path can match both.
    pub(super) fn overlaps(&self, other: &Pattern) -> bool {
        if self.absolute != other.absolute {
            return false;
        }
        let (a, b) = (&self.segments, &other.segments);
        // Row by row from the ends: whether what is left of both can match one path. Where one has ended, it can.
        let mut below = vec![true; b.len() + 1];
        for one in a.iter().rev() {
            let mut row = vec![true; b.len() + 1];
            for (j, two) in b.iter().enumerate().rev() {
                row[j] = match (one, two) {
                    (Segment::Rest, _) | (_, Segment::Rest) => below[j] || row[j + 1],
                    (Segment::Name(one), Segment::Name(two)) => names_overlap(one, two) && below[j + 1],
                };
            }
            below = row;
        }
        below[0]
    }
}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("the path is empty; write '.' for the project directory".into());
        }
        if let Some(bad) = text.chars().find(|c| c.is_control() || matches!(c, '?' | '[' | '{' | '}' | '\\')) {
            return Err(format!(
                "a path cannot hold {bad:?}; the globs are * for any characters and ** for any directories"
            ));
        }
        let mut segments = Vec::new();
        for name in text.split('/') {
            match name {
                "" | "." => {}
                ".." => return Err("'..' is not allowed; name the directory itself".into()),
                "**" => segments.push(Segment::Rest),
                name if name.contains("**") => {
                    return Err("'**' stands alone between slashes, for example src/**/*.rs".into());
                }
                name => segments.push(Segment::Name(name.into())),
            }
        }
        if segments.len() > SEGMENTS_MAX {
            return Err(format!("the path has more than {SEGMENTS_MAX} names"));
        }
        let pattern = Self { absolute: text.starts_with('/'), segments: one_form(segments) };
        reads_back(&pattern.to_string())?;
        Ok(pattern)
    }
}

/// Whether the one form of a pattern, also where it stands with others, is read as that pattern and as nothing else.
fn reads_back(form: &str) -> Result<(), String> {
    if form.starts_with(char::is_whitespace) || form.ends_with(char::is_whitespace) {
        return Err("the path begins or ends with a space; remove it".into());
    }
    if form.starts_with("& ") || form.ends_with(" &") {
        return Err("the path begins or ends with '&', which stands between two patterns".into());
    }
    if form == "~" || form.starts_with("~/") {
        return Err("~ is not expanded; write the absolute path".into());
    }
    Ok(())
}

/// Within a row of `*` and `**`, the `**` stands last and once; at the end of all it is implied.
fn one_form(segments: Vec<Segment>) -> Vec<Segment> {
    let mut formed: Vec<Segment> = Vec::with_capacity(segments.len());
    let mut pending = false;
    for segment in segments {
        match segment {
            Segment::Rest => pending = true,
            segment => {
                if pending && !segment.is_any() {
                    formed.push(Segment::Rest);
                    pending = false;
                }
                formed.push(segment);
            }
        }
    }
    formed
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.absolute, self.segments.is_empty()) {
            (true, _) => f.write_str("/")?,
            (false, true) => f.write_str(".")?,
            (false, false) => {}
        }
        for (at, segment) in self.segments.iter().enumerate() {
            let slash = if at > 0 { "/" } else { "" };
            match segment {
                Segment::Name(name) => write!(f, "{slash}{name}")?,
                Segment::Rest => write!(f, "{slash}**")?,
            }
        }
        Ok(())
    }
}

/// Whether the name fits the pattern, `*` standing for any run of characters.
fn name_matches(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut left) = name.strip_prefix(first) else { return false };
    let mut pieces = rest.split('*').peekable();
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            return left.ends_with(piece);
        }
        // The earliest place leaves the most for the pieces that follow.
        match left.find(piece) {
            Some(at) => left = &left[at + piece.len()..],
            None => return false,
        }
    }
    true
}

/// Whether every name that fits `theirs` fits `own`. A `*` of theirs stands for anything, so only a `*` of ours can take it;
/// reading it as a letter that occurs in no pattern says just that.
pub(super) fn names_contain(own: &str, theirs: &str) -> bool {
    const ANYTHING: &str = "\u{0}";
    name_matches(own, &theirs.replace('*', ANYTHING))
}

/// Whether some name fits both.
fn names_overlap(one: &str, two: &str) -> bool {
    let (a, b): (Vec<char>, Vec<char>) = (one.chars().collect(), two.chars().collect());
    let stars = |rest: &[char]| rest.iter().all(|c| *c == '*');
    let mut below: Vec<bool> = (0..=b.len()).map(|j| stars(&b[j..])).collect();
    for i in (0..a.len()).rev() {
        let mut row = vec![stars(&a[i..]); b.len() + 1];
        for j in (0..b.len()).rev() {
            row[j] = match (a[i], b[j]) {
                ('*', _) | (_, '*') => below[j] || row[j + 1],
                (x, y) => x == y && below[j + 1],
            };
        }
        below = row;
    }
    below[0]
}
