//! `Cargo.lock`, versions 1 to 4.

use super::{Integrity, Lines, Package, ParseError, Source};
use crate::version::Ecosystem;
use serde::Deserialize;
use std::collections::BTreeMap;
use toml::Spanned;

#[derive(Deserialize)]
struct File {
    version: Option<u32>,
    #[serde(default)]
    package: Vec<Entry>,
    /// Version 1 keeps checksums here, by `checksum NAME VERSION (SOURCE)`.
    #[serde(default)]
    metadata: BTreeMap<String, toml::Value>,
}

#[derive(Deserialize)]
struct Entry {
    name: Spanned<String>,
    version: String,
    source: Option<String>,
    checksum: Option<String>,
}

pub(super) fn parse(text: &str) -> Result<Vec<Package>, ParseError> {
    let file: File = toml::from_str(text).map_err(|error| ParseError::toml(text, &error))?;
    if let Some(version @ 5..) = file.version {
        return Err(ParseError::Version(version.to_string()));
    }
    let lines = Lines::of(text);
    Ok(file.package.into_iter().map(|entry| package(entry, &file.metadata, &lines)).collect())
}

fn package(entry: Entry, metadata: &BTreeMap<String, toml::Value>, lines: &Lines<'_>) -> Package {
    let line = lines.at(entry.name.span().start);
    let name = entry.name.into_inner();
    let source = match entry.source.as_deref() {
        None => Source::Path,
        Some(source) => match source.strip_prefix("git+") {
            Some(address) => Source::Git(address.to_owned()),
            None => Source::Registry,
        },
    };
    let integrity = match &source {
        Source::Registry => {
            let key = || format!("checksum {name} {} ({})", entry.version, entry.source.as_deref().unwrap_or_default());
            let present = entry.checksum.is_some() || metadata.contains_key(&key());
            if present { Integrity::Present } else { Integrity::Missing }
        }
        _ => Integrity::NotExpected,
    };
    Package { ecosystem: Ecosystem::CratesIo, name, version: Some(entry.version), line, source, integrity, dev: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_4_with_every_kind_of_source() {
        let packages = parse(include_str!("../../tests/fixtures/Cargo.v4.lock")).unwrap();
        let seen: Vec<_> =
            packages.iter().map(|p| (p.name.as_str(), p.version.as_deref().unwrap(), p.line, p.integrity)).collect();
        assert_eq!(
            seen,
            [
                ("app", "0.1.0", 6, Integrity::NotExpected),
                ("from-git", "0.2.0", 14, Integrity::NotExpected),
                ("smallvec", "1.6.0", 19, Integrity::Present),
                ("unhashed", "2.0.0", 25, Integrity::Missing),
            ]
        );
        assert!(matches!(&packages[1].source, Source::Git(address) if address.contains("from-git")));
    }

    #[test]
    fn version_1_keeps_checksums_apart() {
        let text = "[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nsource = \"registry+index\"\n\n[[package]]\nname = \"b\"\nversion = \"1.0.0\"\nsource = \"registry+index\"\n\n[metadata]\n\"checksum a 1.0.0 (registry+index)\" = \"00\"\n";
        let packages = parse(text).unwrap();
        assert_eq!([packages[0].integrity, packages[1].integrity], [Integrity::Present, Integrity::Missing]);
    }

    #[test]
    fn what_is_no_lock_file_says_so() {
        assert!(matches!(parse("<<<<<<< HEAD"), Err(ParseError::Toml(_))));
        assert_eq!(parse("version = 9"), Err(ParseError::Version("9".into())));
    }
}
