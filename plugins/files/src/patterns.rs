//! Glob patterns: which paths they name, and where to look for them. What must never live here: walking.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use vespiary_sdk::prelude::*;

/// Characters that make a name in a pattern more than a name.
const SPECIAL: &[char] = &['*', '?', '[', ']', '{', '}', '\\'];

/// Patterns, ready to match paths below a start.
#[derive(Debug)]
pub(crate) struct Patterns {
    set: GlobSet,
    /// The directory, below the start, that holds whatever can match; empty for the start itself.
    pub(crate) root: String,
    /// How many levels below `root` a match may lie; `None` where a pattern goes all the way down.
    pub(crate) depth_max: Option<usize>,
    /// Whether a pattern names something hidden.
    pub(crate) hidden: bool,
}

impl Patterns {
    /// # Errors
    /// `InvalidArguments` where there is no pattern, or one does not parse or could never match.
    pub(crate) fn new(patterns: &[String]) -> Result<Self> {
        if patterns.is_empty() {
            return Err(Error::invalid("patterns is empty; give at least one, for example \"**/*.rs\""));
        }
        let mut set = GlobSetBuilder::new();
        let mut all = Vec::new();
        for pattern in patterns {
            let plain = plain(pattern)?;
            let glob = GlobBuilder::new(&plain).literal_separator(true).build();
            set.add(glob.map_err(|error| Error::invalid(format!("pattern {pattern:?}: {}", error.kind())))?);
            all.push(plain);
        }
        let set = set.build().map_err(|error| Error::invalid(error.to_string()))?;
        let names: Vec<Vec<&str>> = all.iter().map(|pattern| pattern.split('/').collect()).collect();
        let root = common_root(&names);
        let endless = all.iter().any(|pattern| pattern.contains("**") || pattern.contains(['{', '\\']));
        let deepest = names.iter().map(Vec::len).max().unwrap_or(1) - root.len();
        Ok(Self {
            set,
            root: root.join("/"),
            depth_max: (!endless).then_some(deepest),
            hidden: all.iter().any(|pattern| names_hidden(pattern)),
        })
    }

    /// Whether a pattern matches `path`, which is relative to the start.
    pub(crate) fn match_path(&self, path: &str) -> bool {
        self.set.is_match(path)
    }
}

/// The pattern as it is matched. One without a slash is about the name, wherever it is.
fn plain(pattern: &str) -> Result<String> {
    let relative = pattern.strip_prefix("./").unwrap_or(pattern);
    let why = if relative.is_empty() {
        "is empty"
    } else if relative.starts_with('/') {
        "is absolute; patterns are relative to path, which may be absolute"
    } else if relative.ends_with('/') {
        "ends with a slash; add ** for all files below"
    } else if relative.split('/').any(|name| name == "." || name == "..") {
        "contains a . or .. between slashes, which no path does"
    } else if relative.contains('/') {
        return Ok(relative.to_owned());
    } else {
        return Ok(format!("**/{relative}"));
    };
    Err(Error::invalid(format!("pattern {pattern:?} {why}")))
}

/// Whether a name in the pattern begins with a dot that is written there, in one of several alternatives or in a class, too. What
/// could be a dot among others, as `?` and `[!a]` could, names nothing hidden.
fn names_hidden(pattern: &str) -> bool {
    // Whether a name may begin here; and of each open brace, whether one could before it, and after one of its alternatives.
    let (mut begins, mut braces) = (true, Vec::new());
    let mut rest = pattern.chars();
    while let Some(next) = rest.next() {
        let dotted = match next {
            '\\' => rest.next() == Some('.'),
            '[' => class_names_dot(&mut rest),
            next => next == '.',
        };
        if begins && dotted {
            return true;
        }
        begins = match next {
            '/' => true,
            '{' => {
                braces.push((begins, false));
                begins
            }
            ',' | '}' if !braces.is_empty() => {
                let (before, after) = braces.pop().unwrap_or_default();
                if next == ',' {
                    braces.push((before, after || begins));
                    before
                } else {
                    after || begins
                }
            }
            _ => false,
        };
    }
    false
}

/// Reads the rest of a class, and says whether a dot is among what it names. A bracket in first place is one of its characters.
fn class_names_dot(rest: &mut std::str::Chars<'_>) -> bool {
    let is_negated = rest.as_str().starts_with(['!', '^']);
    if is_negated {
        rest.next();
    }
    let inside = rest.as_str();
    let len = inside.char_indices().skip(1).find(|(_, char)| *char == ']').map_or(inside.len(), |(at, _)| at);
    *rest = inside[len..].chars();
    rest.next();
    !is_negated && inside[..len].contains('.')
}

/// The directories, without special characters, with which every pattern begins.
fn common_root<'a>(patterns: &[Vec<&'a str>]) -> Vec<&'a str> {
    let Some((first, others)) = patterns.split_first() else { return Vec::new() };
    let shared = |at: usize, name: &str| {
        let same = |pattern: &Vec<&str>| pattern.len() > at + 1 && pattern[at] == name;
        !name.contains(SPECIAL) && others.iter().all(same)
    };
    let names = first[..first.len() - 1].iter().enumerate();
    names.take_while(|(at, name)| shared(*at, name)).map(|(_, name)| *name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(patterns: &[&str]) -> Patterns {
        Patterns::new(&patterns.iter().map(|pattern| (*pattern).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn a_search_starts_where_all_matches_lie_and_goes_no_deeper() {
        let place = |given: &[&str]| {
            let patterns = patterns(given);
            (patterns.root, patterns.depth_max)
        };
        assert_eq!(place(&["src/a/*.rs"]), ("src/a".into(), Some(1)));
        assert_eq!(place(&["src/a/*.rs", "src/*/b/c"]), ("src".into(), Some(3)));
        assert_eq!(place(&["src/**/x", "src/y"]), ("src".into(), None));
        assert_eq!(place(&["src/{a,b/c}/x"]), ("src".into(), None));
        assert_eq!(place(&["src/x", "docs/x"]), (String::new(), Some(2)));
        assert_eq!(place(&["x"]), (String::new(), None));
        assert_eq!(place(&["src/x"]), ("src".into(), Some(1)));
        assert_eq!(place(&["a/b", "a/b/c"]), ("a".into(), Some(2)));
    }

    #[test]
    fn stars_stay_within_a_name_and_double_stars_do_not() {
        let patterns = patterns(&["./src/*.rs", "docs/**", "*.lock"]);
        for (path, matches) in [
            ("src/a.rs", true),
            ("src/a/b.rs", false),
            ("docs/a/b", true),
            ("Cargo.lock", true),
            ("a/b/Cargo.lock", true),
        ] {
            assert_eq!(patterns.match_path(path), matches, "{path}");
        }
    }

    #[test]
    fn hidden_names_are_noticed() {
        assert!(patterns(&["a/.github/*"]).hidden && patterns(&["x", ".env*"]).hidden);
        for named in
            ["{.gh,a}/**", "{a,.gh}/**", "[.]gh/**", "[a.]gh/x", "\\.gh/*", "a/{b,{c,.d}}", "{,a/}.gh", "{{a/,b},c}.gh"]
        {
            assert!(patterns(&[named]).hidden, "{named}");
        }
        for plain in
            ["./a.b/*.c", "*.c", "?.c", "a{.b,c}", "{a,b}.c", "[!.]a", "[^.]a", "x[.]a", "a\\.b", "[]a].b", "a,.b"]
        {
            assert!(!patterns(&[plain]).hidden, "{plain}");
        }
    }

    #[test]
    fn patterns_that_could_never_match_are_refused() {
        for (pattern, why) in [
            ("", "is empty"),
            ("/etc/*", "absolute"),
            ("src/", "slash"),
            ("a/../b", ".."),
            ("..", ".."),
            ("a[b", "unclosed"),
        ] {
            let error = Patterns::new(&[pattern.to_owned()]).unwrap_err().to_string();
            assert!(error.contains(why) && error.contains(pattern), "{error}");
        }
    }
}
