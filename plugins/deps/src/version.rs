//! Ecosystems, and the order of their versions.
//!
//! crates.io, npm and Go order by Semantic Versioning, PyPI by PEP 440. Text that is no version of its ecosystem has no place in
//! the order, and whoever compares is told so.

use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::str::FromStr as _;

/// Where packages come from, as OSV names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
pub enum Ecosystem {
    /// Rust
    #[serde(rename = "crates.io")]
    CratesIo,
    /// JavaScript
    #[serde(rename = "npm")]
    Npm,
    /// Python
    #[serde(rename = "PyPI")]
    PyPi,
    /// Go modules
    Go,
}

impl Ecosystem {
    /// As OSV writes it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::CratesIo => "crates.io",
            Self::Npm => "npm",
            Self::PyPi => "PyPI",
            Self::Go => "Go",
        }
    }

    /// The ecosystem that an advisory names. A suffix such as `:11` names a release of a distribution, which none of these has.
    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::CratesIo, Self::Npm, Self::PyPi, Self::Go].into_iter().find(|ecosystem| ecosystem.as_str() == name)
    }

    /// The one spelling of a name that two files may spell differently.
    pub(crate) fn normalized(self, name: &str) -> String {
        if self != Ecosystem::PyPi {
            return name.to_owned();
        }
        // PEP 503: small letters, each run of `-`, `_` and `.` as one `-`.
        let mut normal = String::with_capacity(name.len());
        for c in name.chars() {
            match c {
                '-' | '_' | '.' if normal.ends_with('-') => {}
                '-' | '_' | '.' => normal.push('-'),
                other => normal.push(other.to_ascii_lowercase()),
            }
        }
        normal
    }
}

/// A version that has a place in its ecosystem's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Version {
    Semantic(semver::Version),
    Python(pep440_rs::Version),
}

impl Version {
    /// Read `text` as a version of `ecosystem`. `None` where it is none.
    pub(crate) fn parse(ecosystem: Ecosystem, text: &str) -> Option<Self> {
        let text = text.trim();
        match ecosystem {
            Ecosystem::PyPi => pep440_rs::Version::from_str(text).ok().map(Self::Python),
            _ => semantic(text).map(Self::Semantic),
        }
    }

    /// The order; build metadata and the two kinds beside each other have none.
    pub(crate) fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Semantic(a), Self::Semantic(b)) => a.cmp_precedence(b),
            (Self::Python(a), Self::Python(b)) => a.cmp(b),
            // Both sides of a comparison are read for one ecosystem.
            _ => Ordering::Equal,
        }
    }

    /// Where a locked version lies beside one that an advisory names. `+cpu` names a build of the same release, so by PEP 440 it counts
    /// only where the advisory names a build too. This is no order: lists are sorted with [`Self::compare`].
    pub(crate) fn against(&self, named: &Self) -> Ordering {
        match (self, named) {
            (Self::Python(a), Self::Python(b)) if a.is_local() != b.is_local() => {
                a.clone().without_local().cmp(&b.clone().without_local())
            }
            _ => self.compare(named),
        }
    }
}

/// Strict first; then with the `v` of Go taken off and missing numbers as zero, as advisories write `1.0`.
fn semantic(text: &str) -> Option<semver::Version> {
    let text = text.strip_prefix(['v', '=']).unwrap_or(text);
    if let Ok(version) = semver::Version::parse(text) {
        return Some(version);
    }
    let end = text.find(['-', '+']).unwrap_or(text.len());
    let (numbers, rest) = text.split_at(end);
    let mut parts: Vec<&str> = numbers.split('.').collect();
    if parts.len() > 3 || parts.iter().any(|part| part.is_empty() || !part.bytes().all(|b| b.is_ascii_digit())) {
        return None;
    }
    parts.resize(3, "0");
    let plain: Vec<&str> = parts
        .iter()
        .map(|part| if part.trim_start_matches('0').is_empty() { "0" } else { part.trim_start_matches('0') })
        .collect();
    semver::Version::parse(&format!("{}{rest}", plain.join("."))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(ecosystem: Ecosystem, a: &str, b: &str) -> Ordering {
        Version::parse(ecosystem, a).unwrap().compare(&Version::parse(ecosystem, b).unwrap())
    }

    #[test]
    fn each_ecosystem_has_its_order() {
        for (ecosystem, smaller, greater) in [
            (Ecosystem::CratesIo, "1.0.0-alpha.2", "1.0.0-alpha.10"),
            (Ecosystem::CratesIo, "1.0.0-rc.1", "1.0.0"),
            (Ecosystem::Npm, "1.9", "1.10.0"),
            (Ecosystem::Go, "0.0.0-20190101000000-abcdefabcdef", "0.0.0-20200101000000-abcdefabcdef"),
            (Ecosystem::Go, "v1.2.3", "1.3.0"),
            (Ecosystem::PyPi, "1.0.dev1", "1.0a1"),
            (Ecosystem::PyPi, "1.0rc1", "1.0"),
            (Ecosystem::PyPi, "1.0", "1.0.post1"),
            (Ecosystem::PyPi, "2.9", "1!0.1"),
        ] {
            assert_eq!(order(ecosystem, smaller, greater), Ordering::Less, "{smaller} {greater}");
        }
        assert_eq!(order(Ecosystem::PyPi, "1.0", "1.0.0"), Ordering::Equal);
        assert_eq!(order(Ecosystem::Go, "1.0.0+incompatible", "1.0.0"), Ordering::Equal);
    }

    #[test]
    fn text_without_a_place_is_told() {
        assert_eq!(Version::parse(Ecosystem::Npm, "latest"), None);
        assert_eq!(Version::parse(Ecosystem::CratesIo, "1.2.3.4"), None);
        assert_eq!(Version::parse(Ecosystem::PyPi, "git"), None);
    }

    #[test]
    fn names_of_python_packages_have_one_spelling() {
        assert_eq!(Ecosystem::PyPi.normalized("Zope.Interface__x"), "zope-interface-x");
        assert_eq!(Ecosystem::Npm.normalized("@S/A"), "@S/A");
    }
}
