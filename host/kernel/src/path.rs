//! Paths as capabilities name them: a directory, a single file, or a glob for what lies under one. Pure text and order; nothing
//! here opens a path or knows what exists.
//!
//! A pattern is a row of names between slashes. `*` inside a name stands for any run of characters, `**` as a name of its
//! own for any row of names, none included. Whatever a pattern names, it includes all that lies below. So `src`, `src/` and
//! `src/**` are one pattern, and `src/**/*.rs` is every `.rs` below `src`. Where two patterns meet, both must hold:
//! `src & **/*.rs`. The first is what was granted and the others only bound it, which matters for what a broad grant hides:
//! `**/.env & src` names `.env` and shows it below `src`; `. & .env` names nothing and shows nothing.
//!
//! The order (`contains`) is decided on the text alone and never says yes wrongly. It can say no where a cleverer test would
//! say yes: every path that fits `**/x` fits `*`, and that is not seen. A refusal then, never a grant.

mod glob;

use glob::{Pattern, Shown};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Bytes of a written path.
const PATH_BYTES_MAX: usize = 4_096;
/// Patterns that must hold together.
const PATTERNS_MAX: usize = 16;

/// Answers of `seen_from`.
const SEEN_MAX: usize = 64;

/// What a `read:` or `write:` capability is about. Patterns in their one form: what was granted, then what bounds it, sorted,
/// none implied by another.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ScopePath {
    text: Arc<str>,
    patterns: Arc<[Pattern]>,
}

/// How a path lies to a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// It does not match, and nothing below it can.
    Outside,
    /// It does not match, but something below it may: a directory to walk through.
    Passage,
    /// It matches, or lies below what does.
    Inside,
}

impl ScopePath {
    /// The text form.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the path starts at the file system's root rather than at the project directory.
    pub fn is_absolute(&self) -> bool {
        self.patterns.iter().any(|pattern| pattern.absolute)
    }

    /// Whether it is a plain directory or file, without a glob.
    pub fn is_plain(&self) -> bool {
        self.patterns.len() == 1 && self.patterns[0].is_literal()
    }

    /// The deepest directory or file below which everything lies that can match: `src` for `src/**/*.rs`. `.` is the project
    /// directory and `/` the whole file system.
    pub fn base(&self) -> String {
        let deepest = self.patterns.iter().max_by_key(|pattern| pattern.literal_len());
        deepest.map_or_else(|| ".".to_owned(), Pattern::base)
    }

    /// Whether whoever may read this may read all of `other`: it lies within, and names nothing hidden that is not named here
    /// as well. A relative and an absolute path never contain each other, whatever they name on disk.
    pub fn contains(&self, other: &ScopePath) -> bool {
        self.contains_as(other, Shown::ToReaders)
    }

    /// The same for writing, where what is guarded must be named, too.
    pub fn contains_writing(&self, other: &ScopePath) -> bool {
        self.contains_as(other, Shown::ToWriters)
    }

    fn contains_as(&self, other: &ScopePath, to: Shown) -> bool {
        if !self.includes(other) {
            return false;
        }
        let (own, theirs) = (self.granted().names_shown(to), other.granted().names_shown(to));
        // Two that mean the same and are written differently do not contain each other, so that this is an order.
        let twins = || self.text != other.text && own == theirs && other.includes(self);
        own.contains_all(&theirs) && !twins()
    }

    /// Whether every path that `other` means is one that this means, whatever is hidden there: what a rule that denies this
    /// takes away.
    pub fn includes(&self, other: &ScopePath) -> bool {
        self.patterns.iter().all(|own| other.patterns.iter().any(|theirs| own.contains(theirs)))
    }

    /// What this means of what `other` means, where they share anything. What is named stays what was named here.
    pub fn meet(&self, other: &ScopePath) -> Option<ScopePath> {
        let together = self.patterns.iter().chain(other.patterns.iter()).cloned();
        Self::all_of(together.collect(), Shown::ToWriters).ok()
    }

    /// Whether some path may be meant by both. Unlike `meet` it answers however many patterns that takes, so that a rule which
    /// denies is never lost.
    pub fn overlaps(&self, other: &ScopePath) -> bool {
        self.patterns.iter().all(|own| other.patterns.iter().all(|theirs| own.overlaps(theirs)))
    }

    /// The same in the one form that it has for reading, where it does not matter which of the names are guarded.
    #[must_use]
    pub fn for_reading(self) -> Self {
        if self.patterns.len() == 1 {
            return self;
        }
        Self::all_of(self.patterns.to_vec(), Shown::ToReaders).unwrap_or(self)
    }

    /// The names of something hidden, and of something guarded, that were granted; in lower case.
    pub(crate) fn granted_names(&self) -> (Vec<String>, Vec<String>) {
        self.granted().names_shown(Shown::ToWriters).into_parts()
    }

    /// How `path` lies to what was granted, whatever bounds it.
    pub(crate) fn granted_reach(&self, path: &str) -> Reach {
        self.granted().reach(path)
    }

    /// There is always one.
    fn granted(&self) -> &Pattern {
        &self.patterns[0]
    }

    /// How `path` lies to it: relative to the project directory where this is relative, absolute where this is. A path in
    /// plain form, without `.`, `..` or empty names; `.` alone is the project directory.
    pub fn reach(&self, path: &str) -> Reach {
        self.patterns.iter().map(|pattern| pattern.reach(path)).min().unwrap_or(Reach::Outside)
    }

    /// What of this lies below the directory `root` (absolute, in plain form), named from there. Together the answers mean just
    /// what this means below `root`; none where it does not reach in there. `None` when there would be too many. A relative
    /// path is named from the project directory already and has no answer.
    pub fn seen_from(&self, root: &str) -> Option<Vec<ScopePath>> {
        let names: Vec<&str> = root.split('/').filter(|name| !name.is_empty()).collect();
        let mut rows: Vec<Vec<Pattern>> = vec![Vec::new()];
        for pattern in self.patterns.iter() {
            let seen = pattern.seen_from(&names);
            if rows.len() * seen.len() > SEEN_MAX {
                return None;
            }
            rows = rows
                .iter()
                .flat_map(|row| seen.iter().map(|one| [row.as_slice(), std::slice::from_ref(one)].concat()))
                .collect();
        }
        let all: Vec<_> = rows.into_iter().filter_map(|row| Self::all_of(row, Shown::ToWriters).ok()).collect();
        let implied = |at: usize, one: &ScopePath| {
            all.iter().enumerate().any(|(i, other)| i != at && other.contains(one) && (i < at || !one.contains(other)))
        };
        Some(all.iter().enumerate().filter(|(at, one)| !implied(*at, one)).map(|(_, one)| one.clone()).collect())
    }

    /// The path that means what the first of `patterns` means, as far as all the others mean it too. Fails where they exclude
    /// each other.
    fn all_of(patterns: Vec<Pattern>, shown: Shown) -> Result<Self, String> {
        let mut kept = Self::reduced(patterns, shown)?;
        // What came to be granted may let another bound say it all. Each time there are fewer, or it is the one form.
        for _ in 0..PATTERNS_MAX {
            if kept.len() == 1 {
                break;
            }
            let again = Self::reduced(kept.clone(), shown)?;
            if again == kept {
                break;
            }
            kept = again;
        }
        let text = kept.iter().map(ToString::to_string).collect::<Vec<_>>().join(" & ");
        Ok(Self { text: text.into(), patterns: kept.into() })
    }

    fn reduced(patterns: Vec<Pattern>, shown: Shown) -> Result<Vec<Pattern>, String> {
        let mut bounds = patterns.into_iter();
        let mut granted = bounds.next().ok_or("the path is empty")?;
        let mut bounds: Vec<_> = bounds.filter(|one| *one != granted).collect();
        bounds.sort();
        bounds.dedup();
        let all: Vec<&Pattern> = std::iter::once(&granted).chain(&bounds).collect();
        for (i, one) in all.iter().enumerate() {
            if let Some(other) = all[i + 1..].iter().find(|other| !one.overlaps(other)) {
                return Err(format!("nothing is both {one} and {other}"));
            }
        }
        // What bounds says it all where it lies within what was granted and names the same.
        let named = granted.names_shown(shown);
        while let Some(at) = bounds.iter().position(|one| granted.contains(one) && one.names_shown(shown) == named) {
            granted = bounds.remove(at);
        }
        let implied =
            |one: &Pattern| one.contains(&granted) || bounds.iter().any(|other| other != one && one.contains(other));
        let mut kept: Vec<_> = bounds.iter().filter(|one| !implied(one)).cloned().collect();
        // Among those that name the same it does not matter which was granted; and of one that contains another, no more
        // matters than what it names.
        if let Some(least) = kept.iter_mut().filter(|one| one.names_shown(shown) == named).min()
            && *least < granted
        {
            std::mem::swap(least, &mut granted);
        } else if let Some(within) = kept.iter().filter(|one| granted.contains(one)).min() {
            granted = within.naming(&named, shown).unwrap_or(granted);
        }
        kept.sort();
        kept.insert(0, granted);
        if kept.len() > PATTERNS_MAX {
            return Err(format!("more than {PATTERNS_MAX} patterns that must all hold"));
        }
        Ok(kept)
    }
}

impl FromStr for ScopePath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.len() > PATH_BYTES_MAX {
            return Err(format!("the path is longer than {PATH_BYTES_MAX} bytes"));
        }
        let patterns: Vec<Pattern> = text.split(" & ").map(str::parse).collect::<Result<_, _>>()?;
        Self::all_of(patterns, Shown::ToWriters)
    }
}

impl fmt::Display for ScopePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path(text: &str) -> ScopePath {
        text.parse().unwrap_or_else(|why| panic!("{text:?}: {why}"))
    }

    pub(crate) fn any_path() -> impl Strategy<Value = ScopePath> {
        let name =
            prop_oneof![Just("a"), Just("b"), Just("ab"), Just("*"), Just("**"), Just("a*"), Just("*b"), Just("*a*")];
        let pattern = (any::<bool>(), proptest::collection::vec(name, 0..4)).prop_map(|(absolute, names)| {
            let text = format!("{}{}", if absolute { "/" } else { "./" }, names.join("/"));
            text.parse::<Pattern>().unwrap()
        });
        proptest::collection::vec(pattern, 1..3)
            .prop_filter_map("exclude each other", |p| ScopePath::all_of(p, Shown::ToWriters).ok())
    }

    fn any_plain() -> impl Strategy<Value = String> {
        let names =
            proptest::collection::vec(prop_oneof![Just("a"), Just("b"), Just("ab"), Just("ba"), Just("x")], 0..5);
        (any::<bool>(), names).prop_map(|(absolute, names)| match (absolute, names.is_empty()) {
            (false, true) => ".".into(),
            (absolute, _) => format!("{}{}", if absolute { "/" } else { "" }, names.join("/")),
        })
    }

    #[test]
    fn every_writing_has_one_form() {
        for (written, meant) in [
            ("./src/", "src"),
            (".", "."),
            ("./", "."),
            ("**", "."),
            ("//etc//x", "/etc/x"),
            ("/", "/"),
            ("/**", "/"),
            ("src/**", "src"),
            ("src/**/*", "src/*"),
            ("**/**/a", "**/a"),
            ("**/*/**/a", "*/**/a"),
            ("*/**/*/a", "*/*/**/a"),
            ("a & **/a", "a"),
            ("src & **/*.rs", "**/*.rs & src"),
        ] {
            let parsed = written.parse::<ScopePath>().map(|path| path.to_string());
            let meant = if written == "src & **/*.rs" { Ok(path(meant).to_string()) } else { Ok(meant.to_owned()) };
            assert_eq!(parsed, meant, "{written}");
        }
    }

    /// Found by fuzzing: what was left of two that meet was not in the form in which it is read.
    #[test]
    fn what_two_meet_in_reads_back() {
        let (one, other) = (path("* & **/**/*.rs"), path("sr.pem"));
        for met in [one.meet(&other), other.meet(&one)] {
            let met = met.unwrap();
            assert_eq!(path(met.to_string().as_str()), met);
        }
    }

    #[test]
    fn refused_paths_say_why() {
        for bad in
            ["", "../x", "a/../b", "a\0b", "a\\b", "a?", "[a]", "{a,b}", " a", "a ", "a**", "~/x", "a & b", "a &  & b"]
        {
            let why = bad.parse::<ScopePath>().expect_err(bad);
            assert!(why.len() > 15, "{bad:?}: {why}");
        }
        // What is dropped from the one form must not leave one that is read as something else.
        for bad in ["a /", "./ a", "a /**", "./~", "./~/x", "a &/", "./& a", "* & a &/"] {
            bad.parse::<ScopePath>().expect_err(bad);
        }
        for good in ["a /b", "*& & &*", "a&", "/ a", "/~", "a/~"] {
            assert_eq!(path(good).to_string().parse::<ScopePath>(), Ok(path(good)), "{good}");
        }
        assert!("a/".repeat(65).parse::<ScopePath>().is_err() && "a".repeat(5_000).parse::<ScopePath>().is_err());
    }

    #[test]
    fn a_glob_shows_the_way_to_what_it_matches() {
        let rust = path("src/**/*.rs");
        for (tried, reach) in [
            (".", Reach::Passage),
            ("src", Reach::Passage),
            ("src/lib.rs", Reach::Inside),
            ("src/a/b.rs", Reach::Inside),
            ("src/a/b.rs/below", Reach::Inside),
            ("src/notes.md", Reach::Passage),
            ("srcs", Reach::Outside),
            ("lib/a.rs", Reach::Outside),
            ("/src/lib.rs", Reach::Outside),
        ] {
            assert_eq!(rust.reach(tried), reach, "{tried}");
        }
        assert_eq!(path("src/*.rs").reach("src/a/b.rs"), Reach::Outside);
        assert_eq!(path("README.md").reach("README.md"), Reach::Inside);
        assert_eq!(path("/").reach("/etc/passwd"), Reach::Inside);
    }

    #[test]
    fn the_base_is_as_deep_as_it_can_be() {
        for (written, base) in [
            ("src/**/*.rs", "src"),
            ("*.md", "."),
            ("/var/log/*", "/var/log"),
            ("/*", "/"),
            ("src & **/*.rs", "src"),
            ("a/b", "a/b"),
        ] {
            assert_eq!(path(written).base(), base, "{written}");
        }
    }

    #[test]
    fn a_sibling_with_the_same_prefix_is_not_below() {
        assert!(!path("src").contains(&path("src-private")) && !path(".").contains(&path("/etc")));
        assert!(path("src").contains(&path("src/**/*.rs")) && !path("src/**/*.rs").contains(&path("src")));
        assert!(path("**/*.rs").contains(&path("src/a*.rs")) && !path("*.rs").contains(&path("*")));
        assert_eq!(path("a").meet(&path("b")), None);
        assert_eq!(path("*.rs").meet(&path("*.md/x")), None);
        assert_eq!(path("a*").meet(&path("*b")).unwrap().reach("axb"), Reach::Inside);
    }

    #[test]
    fn a_broad_path_does_not_contain_what_names_something_hidden() {
        for (broad, named) in [
            (".", ".env"),
            ("**", "a/id_rsa"),
            (".env", ".env/.env"),
            (".git", ".git/config"),
            (".git/*", ".git/config"),
            (".kube", ".kube/config"),
            (".env & .", ".env/.env.local"),
        ] {
            assert!(path(broad).includes(&path(named)) && !path(broad).contains(&path(named)), "{broad} {named}");
        }
        for (one, other) in [(".", "src/config"), ("**/.env", "a/.env"), (".git", ".git/HEAD"), (".", ".ssh/config")] {
            assert!(path(one).contains(&path(other)), "{one} {other}");
        }
        assert!(path(".").contains(&path(".git/hooks")) && !path(".").contains_writing(&path(".git/hooks")));
        assert!(path(".git").contains_writing(&path(".git/hooks")));
    }

    #[test]
    fn what_bounds_a_path_names_nothing() {
        let meets = |one: &str, other: &str| path(one).meet(&path(other)).unwrap().to_string();
        assert_eq!((meets(".", ".env").as_str(), meets(".env", ".").as_str()), (". & .env", ".env"));
        assert_eq!(
            (meets("**/.env", "src").as_str(), meets("src", "**/.env").as_str()),
            ("**/.env & src", "src & **/.env")
        );
        assert_eq!((meets(".", "src").as_str(), meets("**/*.rs", "src/**").as_str()), ("src", "src & **/*.rs"));
        assert_eq!(path("src & **/*.rs"), path("**/*.rs & src"));
        assert_eq!(path(". & .git").for_reading(), path(".git"));
    }

    #[test]
    fn long_patterns_are_decided_soon() {
        let stars = vec!["*a*"; 64].join("/");
        let long = format!("{}b", "*a".repeat(1_000));
        let (one, other) = (path(&stars), path(&long));
        assert!(one.meet(&path(&vec!["*b*"; 64].join("/"))).is_some());
        assert!(!one.contains(&other) && !glob::names_contain(&"*a".repeat(1_000), &"a".repeat(999)));
    }

    #[test]
    fn an_absolute_path_has_a_name_within_a_directory() {
        for (written, root, seen) in [
            ("/srv/a/private", "/srv/a", &["private"][..]),
            ("/srv", "/srv/a", &["."]),
            ("/srv/a", "/srv/a", &["."]),
            ("/srv/*/private", "/srv/a", &["private"]),
            ("/srv/ab", "/srv/a", &[]),
            ("/etc", "/srv/a", &[]),
            ("/**/a/b", "/x/a", &["**/a/b", "b"]),
            ("/", "/srv/a", &["."]),
            ("/srv/a/b", "/", &["srv/a/b"]),
            ("private", "/srv/a", &[]),
        ] {
            let all = path(written).seen_from(root).unwrap();
            let mut all: Vec<_> = all.iter().map(ScopePath::as_str).collect();
            all.sort_unstable();
            assert_eq!(all, seen, "{written} from {root}");
        }
    }

    proptest! {
        /// A path below the directory matches from within just when it matches from outside.
        #[test]
        fn seen_from_a_directory_nothing_is_added_or_lost(a in any_path(), root in "(/(a|b|ab)){0,3}", p in "(a|b|ab|x)(/(a|b|x)){0,2}") {
            if let Some(seen) = a.seen_from(if root.is_empty() { "/" } else { &root }) {
                let outside = a.is_absolute() && a.reach(&format!("{root}/{p}")) == Reach::Inside;
                prop_assert_eq!(seen.iter().any(|s| s.reach(&p) == Reach::Inside), outside, "{} from {}: {:?}", a, root, seen);
            }
        }

        #[test]
        fn printing_and_parsing_round_trip(p in any_path()) {
            prop_assert_eq!(p.to_string().parse::<ScopePath>().unwrap(), p);
        }

        #[test]
        fn contains_is_a_partial_order(a in any_path(), b in any_path(), c in any_path()) {
            prop_assert!(a.contains(&a));
            if a.contains(&b) && b.contains(&a) { prop_assert_eq!(&a, &b); }
            if a.contains(&b) && b.contains(&c) { prop_assert!(a.contains(&c)); }
        }

        #[test]
        fn meet_is_the_greatest_lower_bound(a in any_path(), b in any_path(), c in any_path()) {
            match a.meet(&b) {
                Some(m) => {
                    prop_assert!(a.contains(&m) && b.contains(&m));
                    if a.contains(&c) && b.contains(&c) { prop_assert!(m.contains(&c)); }
                }
                None => prop_assert!(!(a.contains(&c) && b.contains(&c))),
            }
        }

        /// What the order says of patterns holds of every path.
        #[test]
        fn the_order_is_true_of_paths(a in any_path(), b in any_path(), p in any_plain()) {
            if a.contains(&b) { prop_assert!(a.reach(&p) >= b.reach(&p), "{} contains {}, and {p}?", a, b); }
            let both = a.reach(&p) == Reach::Inside && b.reach(&p) == Reach::Inside;
            prop_assert_eq!(a.meet(&b).is_some_and(|m| m.reach(&p) == Reach::Inside), both);
        }

        /// Below a match everything matches, and above one there is a way.
        #[test]
        fn reach_follows_the_tree(a in any_path(), p in any_plain()) {
            let below = if p == "." { "q".to_owned() } else { format!("{}/q", p.trim_end_matches('/')) };
            match a.reach(&p) {
                Reach::Inside => prop_assert_eq!(a.reach(&below), Reach::Inside),
                Reach::Outside => prop_assert_eq!(a.reach(&below), Reach::Outside),
                Reach::Passage => {}
            }
        }

        #[test]
        fn parsing_never_panics(text in "\\PC{0,40}") { let _ = text.parse::<ScopePath>(); }
    }
}
