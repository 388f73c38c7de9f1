//! Findings as an audit script returns them, checked member by member: one malformed finding is named and left out, it does
//! not cost the others. Only shapes live here; how they look is the writers' business.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use vespiary_kernel::json::Json;

/// Members of a value that are looked at; a script that returns more is told so in the report.
const ITEMS_MAX: usize = 100_000;

/// What an audit returned.
#[derive(Debug, Clone, Default)]
pub struct Audit {
    /// What was found and not refuted, gravest first, then by place.
    pub findings: Vec<Finding>,
    /// What a second cell refuted; shown apart, so that a wrong refutation can be seen.
    pub refuted: Vec<Finding>,
    /// What nobody examined, and why.
    pub skipped: Vec<Skipped>,
    /// Numbers the script counted.
    pub stats: BTreeMap<String, u64>,
    /// Members that were not understood, and why.
    pub malformed: Vec<String>,
}

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Act now.
    Critical,
    /// Act soon.
    High,
    /// Plan for it.
    Medium,
    /// Worth knowing.
    Low,
    /// For completeness.
    Info,
}

impl Severity {
    /// All, gravest first.
    pub const ALL: [Self; 5] = [Self::Critical, Self::High, Self::Medium, Self::Low, Self::Info];

    /// The lower-case word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
            Self::Info => "info",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One finding. Its excerpt has been redacted by the analyzer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Finding {
    /// The rule's id.
    pub rule: String,
    /// One sentence.
    pub title: String,
    /// How grave.
    pub severity: Severity,
    /// Relative to the project directory, with `/`.
    pub path: String,
    /// From 1; 0 where the whole file is meant.
    #[serde(default)]
    pub line: u64,
    /// From 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u64>,
    /// The place, redacted.
    #[serde(default)]
    pub excerpt: String,
    /// The same for the same finding in another run.
    pub fingerprint: String,
    /// From 0 to 1.
    #[serde(default)]
    pub confidence: f64,
    /// Whatever else the analyzer knows.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub evidence: BTreeMap<String, Value>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// What the second cell said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// The agent that found it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub analyzer: Option<String>,
}

/// What an independent second look said of a finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Its judgement.
    pub verdict: Judgement,
    /// Why.
    #[serde(default)]
    pub reason: String,
}

/// The judgement of a second look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Judgement {
    /// It holds.
    Confirmed,
    /// It does not.
    Refuted,
    /// It cannot be told.
    Uncertain,
    /// Nobody looked a second time.
    Unverified,
}

impl Judgement {
    /// The lower-case word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Refuted => "refuted",
            Self::Uncertain => "uncertain",
            Self::Unverified => "unverified",
        }
    }
}

/// Something nobody examined.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Skipped {
    /// Relative to the project directory.
    pub path: String,
    /// Why not.
    pub reason: String,
}

impl Audit {
    /// `None` when `value` is not an object with a list of findings.
    pub fn read(value: &Json) -> Option<Self> {
        let mut members: BTreeMap<String, Value> = value.read().ok()?;
        let Some(Value::Array(findings)) = members.remove("findings") else { return None };
        let mut audit = Self::default();
        audit.findings = audit.each("findings", Some(Value::Array(findings)));
        audit.refuted = audit.each("refuted", members.remove("refuted"));
        audit.skipped = audit.each("skipped", members.remove("skipped"));
        if let Some(Value::Object(stats)) = members.remove("stats") {
            audit.stats = stats.into_iter().filter_map(|(name, n)| Some((name, n.as_u64()?))).collect();
        }
        for list in [&mut audit.findings, &mut audit.refuted] {
            list.sort_by(|a, b| (a.severity, &a.path, a.line, a.column).cmp(&(b.severity, &b.path, b.line, b.column)));
        }
        audit.skipped.sort();
        Some(audit)
    }

    /// The members of one list that are what they should be; the others are noted.
    fn each<T: for<'de> Deserialize<'de>>(&mut self, name: &str, list: Option<Value>) -> Vec<T> {
        let items = match list {
            None | Some(Value::Null) => return Vec::new(),
            Some(Value::Array(items)) => items,
            Some(_) => {
                self.malformed.push(format!("{name} is not a list"));
                return Vec::new();
            }
        };
        if items.len() > ITEMS_MAX {
            self.malformed.push(format!("{name} has {} members; the first {ITEMS_MAX} are shown", items.len()));
        }
        let mut good = Vec::with_capacity(items.len().min(ITEMS_MAX));
        for (i, item) in items.into_iter().take(ITEMS_MAX).enumerate() {
            match serde_json::from_value(item) {
                Ok(item) => good.push(item),
                Err(error) => self.malformed.push(format!("{name}[{i}]: {error}")),
            }
        }
        good
    }

    /// The findings of one severity.
    pub fn of_severity(&self, severity: Severity) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(move |finding| finding.severity == severity)
    }

    /// How many findings a second cell judged so.
    pub fn judged(&self, judgement: Judgement) -> usize {
        self.findings.iter().filter(|f| f.judgement() == judgement).count()
    }

    /// What was not examined, by reason: the most frequent first.
    pub fn skipped_by_reason(&self) -> Vec<(&str, Vec<&str>)> {
        let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for skip in &self.skipped {
            reasons.entry(&skip.reason).or_default().push(&skip.path);
        }
        let mut reasons: Vec<_> = reasons.into_iter().collect();
        reasons.sort_by_key(|(_, paths)| std::cmp::Reverse(paths.len()));
        reasons
    }

    /// Counts by place: the first two directories of a path, and how many findings of each severity lie below, gravest first.
    pub fn by_place(&self) -> Vec<(String, [usize; 5])> {
        let mut places: BTreeMap<&str, [usize; 5]> = BTreeMap::new();
        for finding in &self.findings {
            let counts = places.entry(place(&finding.path)).or_default();
            counts[finding.severity as usize] += 1;
        }
        let mut places: Vec<_> = places.into_iter().map(|(place, counts)| (place.to_owned(), counts)).collect();
        places.sort_by_key(|(_, counts)| std::cmp::Reverse(*counts));
        places
    }
}

impl Finding {
    /// `path:line:column`, as editors understand it.
    pub fn place(&self) -> String {
        match (self.line, self.column) {
            (0, _) => self.path.clone(),
            (line, None) => format!("{}:{line}", self.path),
            (line, Some(column)) => format!("{}:{line}:{column}", self.path),
        }
    }

    /// What the second cell said; unverified when there was none.
    pub fn judgement(&self) -> Judgement {
        self.verdict.as_ref().map_or(Judgement::Unverified, |verdict| verdict.verdict)
    }
}

/// The first two directories of `path`, or `.`.
fn place(path: &str) -> &str {
    let mut slashes = path.match_indices('/').map(|(at, _)| at);
    let first = slashes.next();
    match slashes.next().or(first) {
        Some(end) => &path[..end],
        None => ".",
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use serde_json::json;

    pub(in crate::report) fn sample() -> Audit {
        let finding = |rule: &str, severity: &str, path: &str, line: u64, verdict: &str| {
            json!({
                "rule": rule, "title": format!("A {rule} <token> | `here`"), "severity": severity, "path": path, "line": line,
                "column": 7, "excerpt": "key = \"AKIA****\" </pre><script>alert(1)</script>",
                "fingerprint": format!("{rule}-{line}"), "confidence": 0.9,
                "verdict": { "verdict": verdict, "reason": "the value has the provider's checksum" },
                "help": "Revoke it & rotate."
            })
        };
        let value = json!({
            "findings": [
                finding("entropy", "low", "b.py", 3, "uncertain"),
                finding("aws-key", "critical", "src/deep/er/a b.py", 12, "confirmed"),
                { "rule": "half" },
            ],
            "refuted": [finding("jwt", "high", "test/x.js", 1, "refuted")],
            "skipped": [{ "path": "z.bin", "reason": "binary" }, { "path": "caf\u{fffd}", "reason": "name is not UTF-8" }],
            "stats": { "files": 5_054, "bytes": 1, "note": "not a number" },
        });
        Audit::read(&Json::of(&value).unwrap()).unwrap()
    }

    #[test]
    fn good_members_survive_a_bad_one_which_is_named() {
        let audit = sample();
        assert_eq!((audit.findings.len(), audit.refuted.len(), audit.skipped.len()), (2, 1, 2));
        assert_eq!(audit.malformed.len(), 1);
        assert!(audit.malformed[0].starts_with("findings[2]: missing field"), "{:?}", audit.malformed);
        assert_eq!(audit.stats, BTreeMap::from([("bytes".into(), 1), ("files".into(), 5_054)]));
    }

    #[test]
    fn gravest_first_and_grouped_by_place() {
        let audit = sample();
        assert_eq!(audit.findings[0].rule, "aws-key");
        assert_eq!(audit.findings[0].place(), "src/deep/er/a b.py:12:7");
        assert_eq!(audit.by_place(), [("src/deep".to_owned(), [1, 0, 0, 0, 0]), (".".to_owned(), [0, 0, 0, 1, 0])]);
    }

    #[test]
    fn other_values_are_not_audits() {
        for text in ["null", "[]", "{\"findings\": 3}", "\"findings\"", "{}"] {
            assert!(Audit::read(&Json::parse(text).unwrap()).is_none(), "{text}");
        }
        assert!(Audit::read(&Json::parse("{\"findings\": []}").unwrap()).is_some());
    }
}
