//! What is told about a secret, and how it is told without telling the secret.
//!
//! Every byte that leaves the plugin about a secret is made here: excerpt, fingerprint, measures. No other file formats text that
//! came from a scanned file.

mod excerpt;

pub(crate) use excerpt::{Window, redacted};

use crate::measure;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// How bad it is when the string is live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// A test key, or a string of little reach.
    Low,
    /// A credential of limited reach, or one that needs another half.
    Medium,
    /// A credential.
    High,
    /// A credential that acts for a whole account.
    Critical,
}

impl Severity {
    /// One step down.
    pub(crate) fn lowered(self) -> Self {
        match self {
            Self::Critical => Self::High,
            Self::High => Self::Medium,
            Self::Medium => Self::Low,
            Self::Low | Self::Info => Self::Info,
        }
    }
}

/// One secret at one place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// The rule that matched, for example `github-token`.
    pub rule: String,
    /// The rule in words.
    pub title: String,
    /// How bad it is when the string is live.
    pub severity: Severity,
    /// The file.
    pub path: String,
    /// Line where the secret begins, from 1.
    pub line: u32,
    /// Column of its first byte, from 1.
    pub column: u32,
    /// The line with the secret masked but for its first characters, four at most. Literals beside it and whatever there does not read
    /// like words are masked whole.
    pub excerpt: String,
    /// SHA-256 over rule, hash of the secret and path: the same for the same secret in the same file, wherever it moves.
    pub fingerprint: String,
    /// How sure the scanner is, 0 to 1.
    pub confidence: f32,
    /// Why the scanner thinks so.
    pub evidence: Evidence,
    /// What to do about it.
    pub help: String,
}

/// Measures of a secret that do not give it away.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// Length in bytes.
    pub length: usize,
    /// Shannon entropy in bits per byte.
    pub entropy: f32,
    /// Kind of file: source, configuration, test, ...
    pub place: String,
    /// Line where the secret ends.
    pub end_line: u32,
    /// Further lines of this file with the same secret, 20 at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_lines: Vec<u32>,
    /// What was noticed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Measures of one secret.
pub(crate) fn evidence(secret: &[u8], place: &str, end_line: u32, notes: &[&str]) -> Evidence {
    let entropy = (measure::shannon(secret) * 10.0).round() / 10.0;
    let notes = notes.iter().map(|&note| note.to_owned()).collect();
    Evidence { length: secret.len(), entropy, place: place.to_owned(), end_line, other_lines: Vec::new(), notes }
}

/// The identity of a secret in a file, as 64 hex digits.
pub(crate) fn fingerprint(rule: &str, secret: &[u8], path: &str) -> String {
    let mut hasher = Sha256::new();
    hasher.update(rule.as_bytes());
    hasher.update([0]);
    hasher.update(Sha256::digest(secret));
    hasher.update(path.as_bytes());
    let mut text = String::with_capacity(64);
    for byte in hasher.finalize() {
        text.push(char::from(HEX[usize::from(byte >> 4)]));
        text.push(char::from(HEX[usize::from(byte & 15)]));
    }
    text
}

const HEX: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_depends_on_rule_secret_and_path_only() {
        let base = fingerprint("r", b"s", "p");
        assert_eq!(base.len(), 64);
        assert_eq!(base, fingerprint("r", b"s", "p"));
        assert_ne!(base, fingerprint("r2", b"s", "p"));
        assert_ne!(base, fingerprint("r", b"s2", "p"));
        assert_ne!(base, fingerprint("r", b"s", "p2"));
    }
}
