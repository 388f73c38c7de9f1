//! The second look: reads the lock file and the advisory again, and tries to show that a finding is wrong.
//!
//! Ranges are evaluated here in another way than in the scan: as intervals made of the events in the order written, so that an
//! error in one of the two shows as a disagreement.

use crate::lock::{Format, Integrity, Lines, Package, Source};
use crate::osv::{Advisory, Affected, Event, Range};
use crate::source;
use crate::version::{Ecosystem, Version};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use vespiary_sdk::{Error, Result};

/// What is needed of a finding to look at it again.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct Claim {
    /// What was found.
    pub rule: String,
    /// The lock file.
    pub path: String,
    /// Line of the entry, from 1.
    pub line: u32,
    /// What it rests on.
    #[serde(default)]
    pub evidence: Option<ClaimedEvidence>,
}

/// The parts of the evidence that say what is claimed.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
pub struct ClaimedEvidence {
    /// The package.
    #[serde(default)]
    pub package: Option<String>,
    /// The version that the file locks. Without it, the first entry of that name on the line is looked at.
    #[serde(default)]
    pub version: Option<String>,
    /// The advisory.
    #[serde(default)]
    pub advisory: Option<String>,
}

/// The outcome of the second look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Every test that could have refuted it failed to.
    Confirmed,
    /// It is not so.
    Refuted,
    /// Neither could be shown.
    Uncertain,
}

/// Verdict and reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Refutation {
    /// The verdict.
    pub verdict: Verdict,
    /// What decided it.
    pub reason: String,
}

fn says(verdict: Verdict, reason: impl Into<String>) -> Refutation {
    Refutation { verdict, reason: reason.into() }
}

/// Read the place of `claim`, and its advisory under `advisories`, and judge it.
///
/// # Errors
/// `InvalidArguments` where the path is no lock file's; what the file tools answered where something cannot be read.
pub(crate) fn refute(claim: &Claim, advisories: Option<&str>) -> Result<Refutation> {
    let format = Format::of(&claim.path)
        .ok_or_else(|| Error::invalid(format!("finding.path: {} is no lock file known here", claim.path)))?;
    let text = source::whole(&claim.path)?;
    let packages = match format.parse(&text) {
        Ok(packages) => packages,
        Err(error) => return Ok(says(Verdict::Refuted, format!("{} is {error}", claim.path))),
    };
    let claimed = claim.evidence.clone().unwrap_or_default();
    // A file on one line has many entries there, and some of one name. Credentials are masked in an entry as they are in a finding.
    let entry = packages.iter().find(|package| {
        package.line == claim.line
            && claimed.package.as_ref().is_none_or(|name| *name == package.name)
            && claimed.version.as_ref().is_none_or(|version| Some(version) == package.version.as_ref())
    });
    let Some(entry) = entry else {
        let what = [claimed.package.as_deref().unwrap_or("a package"), claimed.version.as_deref().unwrap_or_default()];
        return Ok(says(
            Verdict::Refuted,
            format!("line {} has no entry for {} any more", claim.line, what.join(" ").trim_end()),
        ));
    };
    match claim.rule.as_str() {
        "vulnerable-dependency" | "unmaintained-dependency" => vulnerable(claim, entry, advisories),
        // Only requirements have a line that is the entry; a line of another format may be one part of it, or the whole file.
        rule => {
            let line = (format == Format::Requirements).then(|| Lines::of(&text).text(claim.line));
            Ok(habit(rule, entry, &packages, line))
        }
    }
}

fn vulnerable(claim: &Claim, entry: &Package, advisories: Option<&str>) -> Result<Refutation> {
    let Some(id) = claim.evidence.as_ref().and_then(|evidence| evidence.advisory.as_deref()) else {
        return Ok(says(Verdict::Uncertain, "the finding names no advisory"));
    };
    let Some(path) = advisories else {
        return Ok(says(Verdict::Uncertain, "no advisories were given: pass their path as context.advisories"));
    };
    let (record, withdrawn_twin) = look_up(path, id)?;
    let Some(record) = record else {
        return Ok(says(Verdict::Refuted, format!("{path} has no record {id}")));
    };
    Ok(judge(entry, &record, withdrawn_twin.as_deref()))
}

/// The record `id`, and a withdrawn record of the same flaw where there is one.
fn look_up(path: &str, id: &str) -> Result<(Option<Advisory>, Option<String>)> {
    if let Some(record) = source::advisory_by_name(path, id)? {
        for alias in &record.aliases {
            if source::advisory_by_name(path, alias)?.is_some_and(|twin| twin.withdrawn.is_some()) {
                let twin = alias.clone();
                return Ok((Some(record), Some(twin)));
            }
        }
        return Ok((Some(record), None));
    }
    let (mut record, mut withdrawn_twin) = (None, None);
    source::advisories(path, |advisory| {
        if advisory.id == id {
            record = Some(advisory);
        } else if advisory.withdrawn.is_some() && advisory.aliases.iter().any(|alias| alias == id) {
            withdrawn_twin = Some(advisory.id);
        }
    })?;
    Ok((record, withdrawn_twin))
}

fn judge(entry: &Package, record: &Advisory, withdrawn_twin: Option<&str>) -> Refutation {
    let id = &record.id;
    if let Some(when) = &record.withdrawn {
        return says(Verdict::Refuted, format!("{id} was withdrawn at {when}"));
    }
    let Some(version) = entry.version.as_deref() else {
        return says(Verdict::Uncertain, format!("{} is not locked to one version", entry.name));
    };
    let parts: Vec<&Affected> = record.about(entry.ecosystem, &entry.name).collect();
    if parts.is_empty() {
        return says(Verdict::Refuted, format!("{id} is not about {} of {}", entry.name, entry.ecosystem.as_str()));
    }
    let Some(parsed) = Version::parse(entry.ecosystem, version) else {
        return says(
            Verdict::Uncertain,
            format!("{version} has no place in the order of {} versions", entry.ecosystem.as_str()),
        );
    };
    let listed = parts.iter().any(|part| part.lists(entry.ecosystem, version));
    let interval = parts
        .iter()
        .flat_map(|part| &part.ranges)
        .filter(|range| range.kind != "GIT")
        .find_map(|range| containing(range, entry.ecosystem, &parsed));
    let scanned = record.affects(entry.ecosystem, &entry.name, version);
    let why = match (&interval, listed) {
        (Some(interval), _) => format!("{version} lies in {interval} of {id}"),
        (None, true) => format!("{id} lists {version}"),
        (None, false) if scanned => {
            return says(Verdict::Uncertain, format!("two readings of the ranges of {id} disagree about {version}"));
        }
        (None, false) => return says(Verdict::Refuted, format!("{version} lies in no range of {id}")),
    };
    if let Source::Git(_) | Source::Url(_) | Source::Path = entry.source {
        return says(
            Verdict::Uncertain,
            format!(
                "{why}, but the entry does not come from a registry: its code may differ from the published version"
            ),
        );
    }
    let words =
        format!("{} {}", record.summary, record.details.chars().take(400).collect::<String>()).to_ascii_lowercase();
    if words.contains("** disputed **") || words.contains("**disputed**") {
        return says(Verdict::Uncertain, format!("{why}, but the advisory says that it is disputed"));
    }
    if let Some(twin) = withdrawn_twin {
        return says(Verdict::Uncertain, format!("{why}, but {twin}, a record of the same flaw, was withdrawn"));
    }
    if entry.dev {
        return says(Verdict::Uncertain, format!("{why}, but the package serves development and tests only"));
    }
    says(Verdict::Confirmed, why)
}

/// The interval of `range` that holds `version`, written out. Intervals are read off the events as they stand: each `introduced` opens one,
/// the next event closes it.
fn containing(range: &Range, ecosystem: Ecosystem, version: &Version) -> Option<String> {
    let at_least = |from: &str| {
        from == "0" || Version::parse(ecosystem, from).is_some_and(|from| version.against(&from) != Ordering::Less)
    };
    let below = |to: &str| Version::parse(ecosystem, to).is_some_and(|to| version.against(&to) == Ordering::Less);
    let opened = range.events.iter().filter_map(|event| match event {
        Event::Introduced(from) => Some(from.as_str()),
        _ => None,
    });
    for from in opened.filter(|from| at_least(from)) {
        // The end that belongs to this start is the smallest one past it.
        let start = Version::parse(ecosystem, from);
        let past_start = |end: &str| {
            from == "0"
                || matches!((Version::parse(ecosystem, end), &start), (Some(end), Some(start)) if end.compare(start) != Ordering::Less)
        };
        let ends = range.events.iter().filter_map(|event| match event {
            Event::Fixed(to) | Event::Limit(to) if to != "*" && past_start(to) => Some((to.as_str(), false)),
            Event::LastAffected(last) if past_start(last) => Some((last.as_str(), true)),
            _ => None,
        });
        let nearest = ends
            .filter_map(|(text, inclusive)| Version::parse(ecosystem, text).map(|end| (end, text, inclusive)))
            .min_by(|(a, ..), (b, ..)| a.compare(b));
        match nearest {
            None => return Some(format!("[{from}, ∞)")),
            Some((_, end, false)) if below(end) => return Some(format!("[{from}, {end})")),
            Some((last, text, true)) if version.against(&last) != Ordering::Greater => {
                return Some(format!("[{from}, {text}]"));
            }
            Some(_) => {}
        }
    }
    None
}

/// Findings about how the file is kept: whether they still hold. `line` is the entry's text, where it is a line.
fn habit(rule: &str, entry: &Package, packages: &[Package], line: Option<&str>) -> Refutation {
    let holds = match rule {
        // A pin, by the text alone. `==1.*` is none, and what follows `;` is about the machine.
        "unpinned-requirement" => line.is_some_and(|line| {
            let requirement = line.split([';', '#']).next().unwrap_or_default();
            !requirement.split(',').any(|clause| clause.contains("==") && !clause.contains('*'))
        }),
        "missing-integrity" => {
            entry.integrity == Integrity::Missing && line.is_none_or(|line| !line.contains("--hash"))
        }
        "git-source" => matches!(entry.source, Source::Git(_)),
        "url-source" => matches!(entry.source, Source::Url(_)),
        "duplicate-version" => packages.iter().any(|other| other.name == entry.name && other.version != entry.version),
        _ => return says(Verdict::Uncertain, format!("no second look is known for the rule {rule}")),
    };
    match holds {
        true => says(Verdict::Confirmed, format!("the entry for {} still reads so", entry.name)),
        false => says(Verdict::Refuted, format!("the entry for {} does not read so", entry.name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::served::serve;
    use serde_json::json;

    const LOCK: &str = include_str!("../tests/fixtures/Cargo.v4.lock");

    fn record(extra: serde_json::Value) -> String {
        let mut record = json!({"id": "X-1", "affected": [{"package": {"ecosystem": "crates.io", "name": "smallvec"}, "ranges": [
            {"type": "SEMVER", "events": [{"introduced": "1.0.0"}, {"fixed": "1.6.1"}]}
        ]}]});
        record.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        record.to_string()
    }

    fn verdict(lock: &str, record: &str) -> Refutation {
        serve(&[("Cargo.lock", lock), ("osv.json", record)]);
        let claim = json!({"rule": "vulnerable-dependency", "path": "Cargo.lock", "line": 19, "evidence": {"package": "smallvec", "advisory": "X-1"}});
        refute(&serde_json::from_value(claim).unwrap(), Some("osv.json")).unwrap()
    }

    #[test]
    fn a_version_in_range_is_confirmed_with_the_interval() {
        let refutation = verdict(LOCK, &record(json!({})));
        assert_eq!(refutation, says(Verdict::Confirmed, "1.6.0 lies in [1.0.0, 1.6.1) of X-1"));
    }

    #[test]
    fn what_changed_or_never_held_is_refuted() {
        for (lock, record) in [
            (LOCK.replace("1.6.0", "1.6.1"), record(json!({}))),
            (LOCK.replace("smallvec", "other"), record(json!({}))),
            (LOCK.to_owned(), record(json!({"withdrawn": "2022-01-01T00:00:00Z"}))),
            (LOCK.to_owned(), record(json!({"affected": [{"package": {"ecosystem": "npm", "name": "smallvec"}}]}))),
            (LOCK.to_owned(), record(json!({"id": "X-2"}))),
            ("<<<<".to_owned(), record(json!({}))),
        ] {
            let refutation = verdict(&lock, &record);
            assert_eq!(refutation.verdict, Verdict::Refuted, "{}", refutation.reason);
        }
    }

    #[test]
    fn doubt_is_said() {
        assert_eq!(
            verdict(LOCK, &record(json!({"details": "** DISPUTED ** by the maintainers"}))).verdict,
            Verdict::Uncertain
        );
        serve(&[("Cargo.lock", LOCK)]);
        let claim: Claim = serde_json::from_value(json!({"rule": "vulnerable-dependency", "path": "Cargo.lock", "line": 19, "evidence": {"package": "smallvec", "advisory": "X-1"}})).unwrap();
        assert_eq!(refute(&claim, None).unwrap().verdict, Verdict::Uncertain);
    }

    #[test]
    fn a_folder_is_asked_by_name_first() {
        let twin = json!({"id": "CVE-1", "aliases": ["X-1"], "withdrawn": "2022-01-01T00:00:00Z"}).to_string();
        let main = record(json!({"aliases": ["CVE-1"]}));
        serve(&[("Cargo.lock", LOCK), ("osv/X-1.json", &main), ("osv/CVE-1.json", &twin), ("osv/other.json", "{")]);
        let claim = json!({"rule": "vulnerable-dependency", "path": "Cargo.lock", "line": 19, "evidence": {"package": "smallvec", "advisory": "X-1"}});
        let refutation = refute(&serde_json::from_value(claim).unwrap(), Some("osv")).unwrap();
        assert!(
            refutation.verdict == Verdict::Uncertain && refutation.reason.contains("CVE-1"),
            "{}",
            refutation.reason
        );
        assert!(source::advisory_by_name("osv", "**/other").unwrap().is_none());
    }

    #[test]
    fn development_only_is_doubt() {
        serve(&[
            ("package-lock.json", include_str!("../tests/fixtures/package-lock.v3.json")),
            (
                "osv.json",
                "{\"id\": \"G\", \"affected\": [{\"package\": {\"ecosystem\": \"npm\", \"name\": \"@scope/tool\"}, \"versions\": [\"2.1.0\"]}]}",
            ),
        ]);
        let claim: Claim = serde_json::from_value(json!({"rule": "vulnerable-dependency", "path": "package-lock.json", "line": 12, "evidence": {"package": "@scope/tool", "advisory": "G"}})).unwrap();
        let refutation = refute(&claim, Some("osv.json")).unwrap();
        assert!(
            refutation.verdict == Verdict::Uncertain && refutation.reason.contains("development"),
            "{}",
            refutation.reason
        );
    }

    #[test]
    fn both_readings_of_ranges_agree() {
        let range: Range = serde_json::from_value(json!({"type": "SEMVER", "events": [{"fixed": "1.2.0"}, {"introduced": "0"}, {"introduced": "2.0.0"}, {"last_affected": "2.1.0"}, {"introduced": "3.0.0"}]})).unwrap();
        let advisory: Advisory = serde_json::from_value(json!({"id": "X", "affected": [{"package": {"ecosystem": "npm", "name": "a"}, "ranges": [{"type": "SEMVER", "events": [{"fixed": "1.2.0"}, {"introduced": "0"}, {"introduced": "2.0.0"}, {"last_affected": "2.1.0"}, {"introduced": "3.0.0"}]}]}]})).unwrap();
        for version in ["0.0.1", "1.1.9", "1.2.0", "1.9.9", "2.0.0", "2.1.0", "2.1.1", "3.0.0-rc.1", "3.0.0", "9.0.0"] {
            let parsed = Version::parse(Ecosystem::Npm, version).unwrap();
            assert_eq!(
                containing(&range, Ecosystem::Npm, &parsed).is_some(),
                advisory.affects(Ecosystem::Npm, "a", version),
                "{version}"
            );
        }
    }

    #[test]
    fn entries_on_one_line_are_told_apart_by_version() {
        let lock = json!({"lockfileVersion": 3, "packages": {
            "node_modules/minimist": {"version": "1.2.8", "integrity": "sha512-x"},
            "node_modules/a/node_modules/minimist": {"version": "0.2.0"},
        }});
        let record = json!({"id": "G", "affected": [{"package": {"ecosystem": "npm", "name": "minimist"},
            "ranges": [{"type": "SEMVER", "events": [{"introduced": "0"}, {"fixed": "1.2.6"}]}]}]});
        serve(&[("package-lock.json", &lock.to_string()), ("osv.json", &record.to_string())]);
        let look = |rule: &str, version: Option<&str>| {
            let evidence = json!({"package": "minimist", "version": version, "advisory": "G"});
            let claim = json!({"rule": rule, "path": "package-lock.json", "line": 1, "evidence": evidence});
            refute(&serde_json::from_value(claim).unwrap(), Some("osv.json")).unwrap()
        };
        assert_eq!(look("vulnerable-dependency", Some("0.2.0")).verdict, Verdict::Confirmed);
        assert_eq!(look("vulnerable-dependency", Some("1.2.8")).verdict, Verdict::Refuted);
        let gone = look("vulnerable-dependency", Some("0.1.0"));
        assert!(gone.verdict == Verdict::Refuted && gone.reason.contains("minimist 0.1.0"), "{}", gone.reason);
        // A claim that names no version is looked at as before.
        assert_ne!(look("vulnerable-dependency", None).verdict, Verdict::Uncertain);
        // The hash on the line is another entry's.
        assert_eq!(look("missing-integrity", Some("0.2.0")).verdict, Verdict::Confirmed);
        assert_eq!(look("missing-integrity", Some("1.2.8")).verdict, Verdict::Refuted);
    }

    #[test]
    fn a_pin_is_not_read_out_of_a_condition() {
        serve(&[("requirements.txt", "a>=1 ; python_version == '3.8'\nb # not b==1\nc==1.0,<2\nd==1.*,!=1.5\n")]);
        let look = |line: u32| {
            let claim = json!({"rule": "unpinned-requirement", "path": "requirements.txt", "line": line});
            refute(&serde_json::from_value(claim).unwrap(), None).unwrap().verdict
        };
        assert_eq!(
            [1, 2, 3, 4].map(look),
            [Verdict::Confirmed, Verdict::Confirmed, Verdict::Refuted, Verdict::Confirmed]
        );
    }

    #[test]
    fn habits_are_read_again() {
        serve(&[("requirements.txt", include_str!("../tests/fixtures/requirements.txt"))]);
        let look = |rule: &str, line: u32| {
            let claim =
                serde_json::from_value(json!({"rule": rule, "path": "requirements.txt", "line": line})).unwrap();
            refute(&claim, None).unwrap().verdict
        };
        assert_eq!(look("unpinned-requirement", 7), Verdict::Confirmed);
        assert_eq!(look("unpinned-requirement", 13), Verdict::Confirmed);
        assert_eq!(look("unpinned-requirement", 6), Verdict::Refuted);
        assert_eq!(look("missing-integrity", 6), Verdict::Confirmed);
        assert_eq!(look("git-source", 9), Verdict::Confirmed);
        assert_eq!(look("git-source", 8), Verdict::Refuted);
    }
}
