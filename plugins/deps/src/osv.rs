//! Advisories in the Open Source Vulnerability form: reading records, and whether one affects a version.
//!
//! No files here: text comes in, judgements go out.

use crate::version::{Ecosystem, Version};
use serde::{Deserialize, Deserializer};
use std::cmp::Ordering;

/// One record.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Advisory {
    pub(crate) id: String,
    #[serde(default, deserialize_with = "or_empty")]
    pub(crate) aliases: Vec<String>,
    #[serde(default, deserialize_with = "or_empty")]
    pub(crate) summary: String,
    #[serde(default, deserialize_with = "or_empty")]
    pub(crate) details: String,
    /// When it was taken back.
    #[serde(default)]
    pub(crate) withdrawn: Option<String>,
    #[serde(default, deserialize_with = "or_empty")]
    pub(crate) severity: Vec<Score>,
    #[serde(default, deserialize_with = "or_empty")]
    pub(crate) affected: Vec<Affected>,
    #[serde(default)]
    pub(crate) database_specific: Option<serde_json::Value>,
}

/// A score in one of the scoring systems.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Score {
    #[serde(default, deserialize_with = "or_empty")]
    pub(crate) score: String,
}

/// One package that a record affects.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Affected {
    #[serde(default)]
    pub(crate) package: Option<Named>,
    #[serde(default, deserialize_with = "or_empty")]
    pub(crate) ranges: Vec<Range>,
    #[serde(default, deserialize_with = "or_empty")]
    pub(crate) versions: Vec<String>,
    #[serde(default, deserialize_with = "or_empty")]
    pub(crate) severity: Vec<Score>,
    #[serde(default)]
    pub(crate) database_specific: Option<serde_json::Value>,
}

/// A package by ecosystem and name.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Named {
    pub(crate) ecosystem: String,
    pub(crate) name: String,
}

/// A range as a list of events.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Range {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    #[serde(default, deserialize_with = "or_empty")]
    pub(crate) events: Vec<Event>,
}

/// Exports write `null` where a record has nothing to say.
fn or_empty<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Where vulnerability begins or ends.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Event {
    Introduced(String),
    Fixed(String),
    LastAffected(String),
    Limit(String),
    #[serde(untagged)]
    Other(#[allow(dead_code, reason = "kept so that a record with an unknown event still parses")] serde_json::Value),
}

/// How bad, by the record's own scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Grade {
    Unknown,
    Low,
    Medium,
    High,
    Critical,
}

impl Advisory {
    /// The parts about a package, under any spelling of its name.
    pub(crate) fn about(&self, ecosystem: Ecosystem, name: &str) -> impl Iterator<Item = &Affected> {
        let wanted = ecosystem.normalized(name);
        self.affected.iter().filter(move |affected| {
            affected.package.as_ref().is_some_and(|package| {
                Ecosystem::named(&package.ecosystem) == Some(ecosystem) && ecosystem.normalized(&package.name) == wanted
            })
        })
    }

    /// Whether it affects this version of this package.
    pub(crate) fn affects(&self, ecosystem: Ecosystem, name: &str, version: &str) -> bool {
        self.about(ecosystem, name).any(|affected| affected.holds(ecosystem, version))
    }

    /// The smallest fixed version above `version`, as the record writes it.
    pub(crate) fn fixed_in(&self, ecosystem: Ecosystem, name: &str, version: &str) -> Option<String> {
        let version = Version::parse(ecosystem, version)?;
        let fixes = self
            .about(ecosystem, name)
            .flat_map(|affected| &affected.ranges)
            .flat_map(|range| &range.events)
            .filter_map(|event| match event {
                Event::Fixed(fixed) => Version::parse(ecosystem, fixed).map(|parsed| (parsed, fixed)),
                _ => None,
            });
        let above = fixes.filter(|(fixed, _)| version.against(fixed) == Ordering::Less);
        above.min_by(|(a, _), (b, _)| a.compare(b)).map(|(_, text)| text.clone())
    }

    /// The highest grade that any score of the record gives. A package made to do harm does it wherever it is installed.
    pub(crate) fn grade(&self) -> Grade {
        if self.is_malicious() {
            return Grade::Critical;
        }
        let scores = self.severity.iter().chain(self.affected.iter().flat_map(|affected| &affected.severity));
        let by_score =
            scores.filter_map(|score| score.score.parse::<cvss::Cvss>().ok()).map(|vector| match vector.severity() {
                cvss::Severity::None | cvss::Severity::Low => Grade::Low,
                cvss::Severity::Medium => Grade::Medium,
                cvss::Severity::High => Grade::High,
                cvss::Severity::Critical => Grade::Critical,
            });
        let words = self
            .affected
            .iter()
            .filter_map(|affected| affected.database_specific.as_ref())
            .chain(&self.database_specific);
        let by_word = words.filter_map(|specific| specific.get("severity")?.as_str()).map(|word| {
            match word.to_ascii_lowercase().as_str() {
                "critical" => Grade::Critical,
                "high" => Grade::High,
                "moderate" | "medium" => Grade::Medium,
                "low" => Grade::Low,
                _ => Grade::Unknown,
            }
        });
        by_score.chain(by_word).max().unwrap_or(Grade::Unknown)
    }

    /// About a package made to do harm, by a name of the database of such packages.
    pub(crate) fn is_malicious(&self) -> bool {
        self.names().any(|name| name.starts_with("MAL-"))
    }

    /// Not a flaw but a note: unmaintained crates and the like. RustSec files unsound code under the same key, and that is a flaw.
    pub(crate) fn is_informational(&self) -> bool {
        self.affected.iter().any(|affected| {
            affected
                .database_specific
                .as_ref()
                .and_then(|specific| specific.get("informational"))
                .is_some_and(|value| !value.is_null() && value != "unsound")
        })
    }

    /// All names of the record: its own and its aliases.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.id.as_str()).chain(self.aliases.iter().map(String::as_str))
    }
}

impl Affected {
    fn holds(&self, ecosystem: Ecosystem, version: &str) -> bool {
        if self.lists(ecosystem, version) {
            return true;
        }
        let Some(version) = Version::parse(ecosystem, version) else { return false };
        self.ranges.iter().filter(|range| range.kind != "GIT").any(|range| range.holds(ecosystem, &version))
    }

    /// Whether the version is in the explicit list, in any spelling.
    pub(crate) fn lists(&self, ecosystem: Ecosystem, version: &str) -> bool {
        if self.versions.iter().any(|listed| listed == version) {
            return true;
        }
        let Some(parsed) = Version::parse(ecosystem, version) else { return false };
        self.versions.iter().any(|listed| {
            Version::parse(ecosystem, listed).is_some_and(|listed| parsed.against(&listed) == Ordering::Equal)
        })
    }
}

impl Range {
    /// The events in order of version, applied up to `version`.
    fn holds(&self, ecosystem: Ecosystem, version: &Version) -> bool {
        let mut steps: Vec<(Option<Version>, u8)> = Vec::new();
        let mut limits: Vec<Version> = Vec::new();
        for event in &self.events {
            match event {
                Event::Introduced(from) if from == "0" => steps.push((None, INTRODUCED)),
                Event::Introduced(from) => {
                    steps.extend(Version::parse(ecosystem, from).map(|from| (Some(from), INTRODUCED)))
                }
                Event::Fixed(to) => steps.extend(Version::parse(ecosystem, to).map(|to| (Some(to), FIXED))),
                Event::LastAffected(last) => {
                    steps.extend(Version::parse(ecosystem, last).map(|last| (Some(last), LAST_AFFECTED)))
                }
                Event::Limit(limit) if limit != "*" => limits.extend(Version::parse(ecosystem, limit)),
                Event::Limit(_) | Event::Other(_) => {}
            }
        }
        if !limits.is_empty() && !limits.iter().any(|limit| version.against(limit) == Ordering::Less) {
            return false;
        }
        // A range that is left and entered at one version is entered: the end comes first.
        steps.sort_by(|(a, a_kind), (b, b_kind)| match (a, b) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(a), Some(b)) => a.compare(b).then(a_kind.cmp(b_kind)),
        });
        let mut affected = false;
        for (at, kind) in &steps {
            let order = at.as_ref().map_or(Ordering::Greater, |at| version.against(at));
            match (*kind, order) {
                (INTRODUCED, Ordering::Greater | Ordering::Equal) => affected = true,
                (FIXED, Ordering::Greater | Ordering::Equal) | (LAST_AFFECTED, Ordering::Greater) => affected = false,
                _ => {}
            }
        }
        affected
    }
}

/// Kinds of steps, in the order in which they apply at one version.
const FIXED: u8 = 0;
const INTRODUCED: u8 = 1;
const LAST_AFFECTED: u8 = 2;

/// Cuts a stream of text into its top-level JSON objects: one object, an array of them, or one a line.
#[derive(Default)]
pub(crate) struct Objects {
    buffer: String,
    /// Where the scan of `buffer` goes on.
    at: usize,
    start: Option<usize>,
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl Objects {
    /// Take in more text; give the objects that it completes.
    pub(crate) fn push(&mut self, text: &str) -> Vec<String> {
        self.buffer.push_str(text);
        let mut objects = Vec::new();
        let mut done = 0;
        for (at, byte) in self.buffer.bytes().enumerate().skip(self.at) {
            if self.in_string {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => self.in_string = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' if self.depth > 0 => self.in_string = true,
                b'{' => {
                    if self.depth == 0 {
                        self.start = Some(at);
                    }
                    self.depth += 1;
                }
                b'}' if self.depth > 0 => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        let start = self.start.take().unwrap_or(done);
                        objects.push(self.buffer[start..=at].to_owned());
                        done = at + 1;
                    }
                }
                _ => {}
            }
        }
        let keep_from = self.start.unwrap_or(self.buffer.len()).max(done);
        self.buffer.drain(..keep_from);
        self.start = self.start.map(|_| 0);
        self.at = self.buffer.len();
        objects
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn record(ecosystem: &str, name: &str, events: serde_json::Value) -> Advisory {
        let kind = if ecosystem == "PyPI" { "ECOSYSTEM" } else { "SEMVER" };
        serde_json::from_value(json!({"id": "X-1", "affected": [{"package": {"ecosystem": ecosystem, "name": name}, "ranges": [{"type": kind, "events": events}]}]})).unwrap()
    }

    #[test]
    fn events_in_any_order_make_ranges() {
        let advisory = record(
            "crates.io",
            "a",
            json!([{"fixed": "1.2.0"}, {"introduced": "0"}, {"introduced": "2.0.0"}, {"last_affected": "2.1.0"}]),
        );
        for (version, affected) in [
            ("0.1.0", true),
            ("1.1.9", true),
            ("1.2.0-rc.1", true),
            ("1.2.0", false),
            ("1.9.0", false),
            ("2.0.0", true),
            ("2.1.0", true),
            ("2.1.1", false),
        ] {
            assert_eq!(advisory.affects(Ecosystem::CratesIo, "a", version), affected, "{version}");
        }
        assert!(!advisory.affects(Ecosystem::CratesIo, "b", "0.1.0"));
        assert!(!advisory.affects(Ecosystem::Npm, "a", "0.1.0"));
        assert_eq!(advisory.fixed_in(Ecosystem::CratesIo, "a", "1.0.0").as_deref(), Some("1.2.0"));
        assert_eq!(advisory.fixed_in(Ecosystem::CratesIo, "a", "2.0.5"), None);
    }

    #[test]
    fn python_orders_by_its_own_rules() {
        let advisory = record("PyPI", "Zope.Interface", json!([{"introduced": "1.0rc1"}, {"fixed": "1.0.post2"}]));
        for (version, affected) in [
            ("1.0b9", false),
            ("1.0rc1", true),
            ("1.0", true),
            ("1.0.post1", true),
            ("1.0.post2", false),
            ("1.0.1", false),
        ] {
            assert_eq!(advisory.affects(Ecosystem::PyPi, "zope_interface", version), affected, "{version}");
        }
    }

    #[test]
    fn a_list_of_versions_counts_beside_ranges_and_commits_do_not() {
        let advisory: Advisory = serde_json::from_value(json!({"id": "X", "affected": [
            {"package": {"ecosystem": "PyPI", "name": "a"}, "versions": ["1.0.0"], "ranges": [{"type": "GIT", "repo": "r", "events": [{"introduced": "0"}]}]}
        ]}))
        .unwrap();
        assert!(advisory.affects(Ecosystem::PyPi, "a", "1.0"));
        assert!(!advisory.affects(Ecosystem::PyPi, "a", "1.1"));
    }

    #[test]
    fn a_limit_bounds_a_range() {
        let advisory = record("npm", "a", json!([{"introduced": "1.0.0"}, {"limit": "2.0.0"}]));
        assert!(advisory.affects(Ecosystem::Npm, "a", "1.5.0"));
        assert!(!advisory.affects(Ecosystem::Npm, "a", "2.0.0"));
    }

    #[test]
    fn the_worst_score_counts() {
        let grade = |value| serde_json::from_value::<Advisory>(value).unwrap().grade();
        assert_eq!(
            grade(
                json!({"id": "X", "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}]})
            ),
            Grade::Critical
        );
        assert_eq!(grade(json!({"id": "X", "database_specific": {"severity": "MODERATE"}})), Grade::Medium);
        assert_eq!(grade(json!({"id": "X"})), Grade::Unknown);
        assert_eq!(grade(json!({"id": "MAL-2024-1"})), Grade::Critical);
        assert_eq!(
            grade(json!({"id": "GHSA-x", "aliases": ["MAL-2024-1"], "database_specific": {"severity": "LOW"}})),
            Grade::Critical
        );
    }

    #[test]
    fn null_is_nothing() {
        let advisory: Advisory = serde_json::from_value(json!({"id": "X", "aliases": null, "summary": null, "details": null,
            "withdrawn": null, "severity": null, "database_specific": null, "affected": [
            {"package": null, "ranges": null, "versions": null, "severity": null, "database_specific": null},
            {"package": {"ecosystem": "npm", "name": "a"}, "versions": ["1.0.0"], "severity": [{"type": "CVSS_V3", "score": null}],
             "ranges": [{"type": "SEMVER", "events": null}]}
        ]}))
        .unwrap();
        assert!(advisory.affects(Ecosystem::Npm, "a", "1.0.0") && !advisory.affects(Ecosystem::Npm, "a", "1.0.1"));
        assert_eq!(advisory.grade(), Grade::Unknown);
        assert!(serde_json::from_value::<Advisory>(json!({"id": "X", "affected": null})).is_ok());
    }

    #[test]
    fn unsound_code_is_a_flaw_and_no_note() {
        let of_kind = |kind: serde_json::Value| {
            let affected = json!([{"database_specific": {"informational": kind}}]);
            serde_json::from_value::<Advisory>(json!({"id": "RUSTSEC-1", "affected": affected})).unwrap()
        };
        assert!(of_kind(json!("unmaintained")).is_informational());
        assert!(!of_kind(json!("unsound")).is_informational() && !of_kind(json!(null)).is_informational());
    }

    #[test]
    fn builds_of_a_release_share_its_flaws() {
        let upto = record("PyPI", "torch", json!([{"introduced": "0"}, {"last_affected": "1.13.1"}]));
        let below = record("PyPI", "torch", json!([{"introduced": "0"}, {"fixed": "1.13.1"}]));
        for (version, up_to_it, below_it) in [
            ("1.13.0+cpu", true, true),
            ("1.13.1+cpu", true, false),
            ("1.13.1", true, false),
            ("1.13.1.post1+cpu", false, false),
        ] {
            assert_eq!(upto.affects(Ecosystem::PyPi, "torch", version), up_to_it, "{version}");
            assert_eq!(below.affects(Ecosystem::PyPi, "torch", version), below_it, "{version}");
        }
        // An advisory may name builds itself.
        let builds = record("PyPI", "torch", json!([{"introduced": "0"}, {"fixed": "1.0+cpu.2"}]));
        assert!(builds.affects(Ecosystem::PyPi, "torch", "1.0+cpu.1"));
        assert!(!builds.affects(Ecosystem::PyPi, "torch", "1.0+cpu.2"));
    }

    #[test]
    fn objects_are_cut_from_arrays_and_lines_in_pieces() {
        let text = "[ {\"a\": \"}{\\\"\"} ,\n{\"b\": {\"c\": 1}}]\n{\"d\": 2}\n";
        for size in 1..text.len() {
            let mut objects = Objects::default();
            let mut found = Vec::new();
            for piece in text.as_bytes().chunks(size) {
                found.extend(objects.push(std::str::from_utf8(piece).unwrap()));
            }
            assert_eq!(found, ["{\"a\": \"}{\\\"\"}", "{\"b\": {\"c\": 1}}", "{\"d\": 2}"], "pieces of {size}");
        }
    }
}
