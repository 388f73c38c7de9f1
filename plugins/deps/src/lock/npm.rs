//! `package-lock.json` and `npm-shrinkwrap.json`, versions 1 to 3.
//!
//! The parser borrows each entry's text from the file, so that its place in the file, and with it its line, is known.

use super::address;
use super::{Integrity, Lines, Package, ParseError, Source};
use crate::version::Ecosystem;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File<'a> {
    #[serde(default)]
    lockfile_version: u32,
    #[serde(borrow, default)]
    packages: Entries<'a>,
    #[serde(borrow, default)]
    dependencies: Entries<'a>,
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow, default)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    version: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    resolved: Option<Resolved<'a>>,
    #[serde(borrow, default)]
    integrity: Option<Cow<'a, str>>,
    #[serde(default)]
    dev: bool,
    #[serde(default)]
    link: bool,
    #[serde(default)]
    bundled: bool,
    #[serde(default, rename = "inBundle")]
    in_bundle: bool,
    #[serde(borrow, default)]
    dependencies: Option<&'a RawValue>,
}

/// Address of the archive; `false` in old files for what was bundled.
#[derive(Deserialize)]
#[serde(untagged)]
enum Resolved<'a> {
    Address(#[serde(borrow)] Cow<'a, str>),
    Flag(#[allow(dead_code, reason = "its presence is all that counts")] bool),
}

/// Members of an object in the order of the file.
#[derive(Default)]
pub(super) struct Entries<'a>(pub(super) Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Entries<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Entries<'de>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(Key(key)) = map.next_key()? {
                    entries.push((key, map.next_value()?));
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

/// A key, borrowed where it has no escapes.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

pub(super) fn parse(text: &str) -> Result<Vec<Package>, ParseError> {
    let text = text.trim_start_matches('\u{FEFF}');
    // A list would be read as an object whose members are all absent.
    if !text.trim_start().starts_with('{') {
        return Err(ParseError::Json("not an object".to_owned()));
    }
    let file: File<'_> = serde_json::from_str(text).map_err(json)?;
    if file.lockfile_version > 3 {
        return Err(ParseError::Version(file.lockfile_version.to_string()));
    }
    let lines = Lines::of(text);
    let mut packages = Vec::new();
    if file.packages.0.is_empty() {
        tree(&file.dependencies, &lines, &mut packages)?;
        return Ok(packages);
    }
    for (path, raw) in &file.packages.0 {
        // The first entry is the project; entries outside node_modules are its workspaces.
        let Some((_, name)) = path.rsplit_once("node_modules/") else { continue };
        let entry: Entry<'_> = serde_json::from_str(raw.get()).map_err(json)?;
        if !entry.link {
            let name = entry.name.as_deref().unwrap_or(name).to_owned();
            packages.push(package(name, &entry, lines.of_part(raw.get())));
        }
    }
    Ok(packages)
}

/// Version 1: a tree of dependencies.
fn tree(entries: &Entries<'_>, lines: &Lines<'_>, packages: &mut Vec<Package>) -> Result<(), ParseError> {
    for (name, raw) in &entries.0 {
        let entry: Entry<'_> = serde_json::from_str(raw.get()).map_err(json)?;
        packages.push(package(name.clone().into_owned(), &entry, lines.of_part(raw.get())));
        if let Some(nested) = entry.dependencies {
            tree(&serde_json::from_str(nested.get()).map_err(json)?, lines, packages)?;
        }
    }
    Ok(())
}

fn json(error: serde_json::Error) -> ParseError {
    ParseError::json(&error)
}

fn package(name: String, entry: &Entry<'_>, line: u32) -> Package {
    let version = entry.version.as_deref().unwrap_or_default();
    let address = match &entry.resolved {
        Some(Resolved::Address(address)) => address.as_ref(),
        // Version 1 writes the address in place of a version where there is no registry.
        _ if version.contains(':') => version,
        _ => "",
    };
    let source = if version.starts_with("file:") { Source::Path } else { address::source(address) };
    let bundled = entry.bundled || entry.in_bundle;
    let integrity = match (&entry.integrity, &source) {
        (Some(_), _) => Integrity::Present,
        (None, Source::Registry | Source::Url(_)) if !bundled => Integrity::Missing,
        _ => Integrity::NotExpected,
    };
    // An alias (`npm:other@1.0.0`) is locked under the name of what it stands for.
    let (name, version) = match version.strip_prefix("npm:").and_then(|alias| alias.rsplit_once('@')) {
        Some((other, version)) => (other.to_owned(), version),
        None => (name, version),
    };
    let version = (!version.is_empty() && !version.contains(':')).then(|| version.to_owned());
    Package { ecosystem: Ecosystem::Npm, name, version, line, source, integrity, dev: entry.dev }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_3_with_scopes_links_and_nesting() {
        let packages = parse(include_str!("../../tests/fixtures/package-lock.v3.json")).unwrap();
        let seen: Vec<_> =
            packages.iter().map(|p| (p.name.as_str(), p.version.as_deref(), p.line, p.integrity, p.dev)).collect();
        assert_eq!(
            seen,
            [
                ("@scope/tool", Some("2.1.0"), 12, Integrity::Present, true),
                ("minimist", Some("1.2.5"), 18, Integrity::Present, false),
                ("from-git", Some("1.0.0"), 23, Integrity::NotExpected, false),
                ("minimist", Some("0.2.0"), 27, Integrity::Missing, false),
            ]
        );
    }

    #[test]
    fn version_1_is_a_tree() {
        let text = "{\n \"lockfileVersion\": 1,\n \"dependencies\": {\n  \"a\": {\n   \"version\": \"1.0.0\",\n   \"integrity\": \"x\",\n   \"dependencies\": {\n    \"b\": {\"version\": \"2.0.0\", \"dev\": true}\n   }\n  },\n  \"c\": {\"version\": \"github:x/c#1\"}\n }\n}";
        let packages = parse(text).unwrap();
        let seen: Vec<_> = packages.iter().map(|p| (p.name.as_str(), p.version.as_deref(), p.line, p.dev)).collect();
        assert_eq!(seen, [("a", Some("1.0.0"), 4, false), ("b", Some("2.0.0"), 8, true), ("c", None, 11, false)]);
        assert!(matches!(packages[2].source, Source::Git(_)));
    }

    #[test]
    fn what_is_no_lock_file_says_so() {
        assert!(matches!(parse("[]"), Err(ParseError::Json(_))));
        assert_eq!(parse("{\"lockfileVersion\": 7}"), Err(ParseError::Version("7".into())));
    }
}
