//! The provider rules: what a credential of each provider looks like. Tables, and how one row is matched.
//!
//! What must never live here: judgement about places, placeholders or context. A rule says "this has the form of X"; the
//! scanner decides whether that makes a finding.

mod cloud;
mod command;
mod forge;
mod service;

use crate::checks::Check;
use crate::finding::Severity;
use regex::bytes::Regex;
use std::sync::{LazyLock, OnceLock};

/// Where a pattern is tried once one of its keywords was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Anchor {
    /// The secret begins with the keyword, in exactly that case, after a byte that is no part of a word.
    Prefix,
    /// The secret is on the same line, not far from the keyword, which may be in any case. The pattern's first group is
    /// the secret.
    Near,
}

/// One provider's form.
pub(crate) struct Rule {
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    pub(crate) severity: Severity,
    pub(crate) anchor: Anchor,
    /// Literals, one of which every match contains. They are all that is searched for in text without secrets.
    pub(crate) keywords: &'static [&'static str],
    pub(crate) pattern: &'static str,
    pub(crate) check: Check,
    /// How sure a match is before checks and context, 0 to 1.
    pub(crate) confidence: f32,
    compiled: OnceLock<Regex>,
}

/// From this confidence on, a form belongs to one provider alone.
const OWN_FORM: f32 = 0.85;

impl Rule {
    const fn prefix(
        id: &'static str,
        title: &'static str,
        severity: Severity,
        keywords: &'static [&'static str],
        pattern: &'static str,
    ) -> Self {
        Self {
            id,
            title,
            severity,
            anchor: Anchor::Prefix,
            keywords,
            pattern,
            check: Check::Random,
            confidence: 0.9,
            compiled: OnceLock::new(),
        }
    }

    const fn near(
        id: &'static str,
        title: &'static str,
        severity: Severity,
        keywords: &'static [&'static str],
        pattern: &'static str,
    ) -> Self {
        Self {
            id,
            title,
            severity,
            anchor: Anchor::Near,
            keywords,
            pattern,
            check: Check::Random,
            confidence: 0.75,
            compiled: OnceLock::new(),
        }
    }

    const fn check(mut self, check: Check) -> Self {
        self.check = check;
        self
    }

    const fn sure(mut self, confidence: f32) -> Self {
        self.confidence = confidence;
        self
    }

    /// Of two rules that match the same text, the higher names it: forms that one provider alone has come first.
    pub(crate) fn rank(&self) -> u8 {
        2 + u8::from(self.confidence >= OWN_FORM)
    }

    /// The compiled pattern. Compiled at the first keyword seen, so a cell pays only for what its files contain.
    #[expect(clippy::expect_used, reason = "every pattern is compiled by a unit test")]
    fn regex(&self) -> &Regex {
        self.compiled.get_or_init(|| {
            let anchored = match self.anchor {
                Anchor::Prefix => format!("^(?:{})", self.pattern),
                Anchor::Near => self.pattern.to_owned(),
            };
            regex::bytes::RegexBuilder::new(&anchored)
                .unicode(false)
                .size_limit(1 << 20)
                .build()
                .expect("a built-in pattern")
        })
    }

    /// Byte ranges of secrets of this form, given that a keyword, or its start, was seen at `at`. For `Near`, the second value
    /// is how far the text has been searched, so that the next keyword within it need not be tried.
    pub(crate) fn matches(&self, text: &[u8], at: usize) -> (Vec<std::ops::Range<usize>>, usize) {
        match self.anchor {
            Anchor::Prefix => {
                let begins_word = at == 0 || !is_word(text[at - 1]) || escaped_before(text, at);
                let exact = self.keywords.iter().any(|k| text[at..].starts_with(k.as_bytes()));
                if !begins_word || !exact {
                    return (Vec::new(), at);
                }
                let end = text.len().min(at + PREFIX_REACH);
                let found =
                    self.regex().captures(&text[at..end]).and_then(|captures| captures.get(1).or(captures.get(0)));
                (found.map(|m| at + m.start()..at + m.end()).into_iter().collect(), at)
            }
            Anchor::Near => {
                let from = at.saturating_sub(NEAR_BEFORE);
                let from = memchr::memrchr(b'\n', &text[from..at]).map_or(from, |newline| from + newline + 1);
                let to = text.len().min(at + NEAR_AFTER);
                let to = memchr::memchr(b'\n', &text[at..to]).map_or(to, |newline| at + newline);
                let found = self.regex().captures_iter(&text[from..to]);
                let ranges =
                    found.filter_map(|captures| captures.get(1)).map(|m| from + m.start()..from + m.end()).collect();
                (ranges, to)
            }
        }
    }
}

/// Longest secret of a `Prefix` rule, in bytes.
const PREFIX_REACH: usize = 2048;
/// How far before a keyword a `Near` pattern may begin, in bytes.
const NEAR_BEFORE: usize = 200;
/// How far after the start of a keyword a `Near` match may end, in bytes.
const NEAR_AFTER: usize = 600;

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// True after `\n`, `\t` and the like: the letter belongs to the escape, not to the word.
fn escaped_before(text: &[u8], at: usize) -> bool {
    at >= 2 && text[at - 2] == b'\\' && matches!(text[at - 1], b'n' | b't' | b'r' | b'"')
}

/// Every provider rule.
pub(crate) static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    let mut rules = cloud::rules();
    rules.extend(command::rules());
    rules.extend(forge::rules());
    rules.extend(service::rules());
    rules
});

/// The rule of that id, where it is a provider rule.
pub(crate) fn by_id(id: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.id == id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_pattern_compiles_and_every_id_is_unique() {
        let mut ids = HashSet::new();
        for rule in RULES.iter() {
            rule.regex();
            assert!(ids.insert(rule.id), "{} twice", rule.id);
            assert!(!rule.keywords.is_empty(), "{} has no keyword", rule.id);
            assert!(rule.id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'), "{}", rule.id);
            assert!(
                rule.keywords.iter().all(|k| k.len() >= 2),
                "{}: a keyword of one byte would hit everywhere",
                rule.id
            );
            if rule.anchor == Anchor::Near {
                assert_eq!(rule.regex().captures_len(), 2, "{}: the first group is the secret", rule.id);
                assert!(
                    rule.keywords.iter().all(|k| *k == k.to_ascii_lowercase()),
                    "{}: keywords of Near in lower case",
                    rule.id
                );
            }
        }
        assert!(RULES.len() > 100);
    }
}
