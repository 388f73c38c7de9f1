//! What is told about a dependency. Every finding of the plugin is made here; credentials in addresses do not get out.

use crate::lock::{Package, Source};
use crate::osv::Grade;
use crate::shown::{masked, shown};
use crate::version::Ecosystem;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Little harm, or a habit that lets harm in.
    Low,
    /// Harm under conditions.
    Medium,
    /// Harm.
    High,
    /// Harm without conditions.
    Critical,
}

impl From<Grade> for Severity {
    /// An advisory without a score is taken as medium: someone thought it worth an advisory.
    fn from(grade: Grade) -> Self {
        match grade {
            Grade::Low => Self::Low,
            Grade::Unknown | Grade::Medium => Self::Medium,
            Grade::High => Self::High,
            Grade::Critical => Self::Critical,
        }
    }
}

/// One thing about one entry of a lock file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// `vulnerable-dependency`, `unmaintained-dependency`, `unpinned-requirement`, `missing-integrity`, `git-source`, `url-source` or
    /// `duplicate-version`.
    pub rule: String,
    /// In words.
    pub title: String,
    /// How much it matters.
    pub severity: Severity,
    /// The lock file.
    pub path: String,
    /// Line of the entry, from 1.
    pub line: u32,
    /// That line, credentials in addresses masked.
    pub excerpt: String,
    /// SHA-256 over rule, path, package and advisory: the same wherever the entry moves in its file.
    pub fingerprint: String,
    /// How sure the agent is, 0 to 1.
    pub confidence: f32,
    /// What it rests on.
    pub evidence: Evidence,
    /// What to do about it.
    pub help: String,
}

/// What a finding rests on.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// The ecosystem.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ecosystem: Option<Ecosystem>,
    /// The package.
    pub package: String,
    /// The version that the file locks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Identifier of the advisory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advisory: Option<String>,
    /// Other names of the advisory.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// The next version without the flaw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed_in: Option<String>,
    /// Needed for development or tests only.
    #[serde(default)]
    pub dev: bool,
    /// Further entries of the file that the finding is about, 20 at most, as `name version`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<String>,
}

/// The start of a finding about `package`.
pub(crate) fn finding(
    rule: &str,
    title: String,
    severity: Severity,
    path: &str,
    excerpt: &str,
    package: &Package,
) -> Finding {
    let evidence = Evidence {
        ecosystem: Some(package.ecosystem),
        package: shown(&package.name),
        version: package.version.as_deref().map(shown),
        dev: package.dev,
        ..Evidence::default()
    };
    Finding {
        rule: rule.to_owned(),
        title: masked(&title),
        severity,
        path: path.to_owned(),
        line: package.line,
        excerpt: shown(excerpt),
        fingerprint: fingerprint(&[
            rule,
            path,
            package.ecosystem.as_str(),
            &package.name,
            package.version.as_deref().unwrap_or(""),
        ]),
        confidence: 1.0,
        evidence,
        help: String::new(),
    }
}

/// SHA-256 over parts, as hex.
pub(crate) fn fingerprint(parts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Where an entry comes from, for people.
pub(crate) fn origin(source: &Source) -> String {
    match source {
        Source::Registry => "a registry".to_owned(),
        Source::Path => "a folder".to_owned(),
        Source::Git(address) | Source::Url(address) => shown(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_together() {
        assert_ne!(fingerprint(&["a", "bc"]), fingerprint(&["ab", "c"]));
    }
}
