//! `poetry.lock`, `uv.lock`, `pdm.lock` and `Pipfile.lock`.

use super::npm::Entries;
use super::{Integrity, Lines, Package, ParseError, Source};
use crate::version::Ecosystem;
use serde::Deserialize;
use std::collections::BTreeMap;
use toml::Spanned;

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    package: Vec<Entry>,
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Default, Deserialize)]
struct Metadata {
    /// Older poetry and pdm keep hashes here, by name.
    #[serde(default)]
    files: BTreeMap<String, Vec<toml::Value>>,
}

/// The keys of all three formats; each uses some of them.
#[derive(Deserialize)]
struct Entry {
    name: Spanned<String>,
    version: Option<String>,
    source: Option<BTreeMap<String, toml::Value>>,
    #[serde(default)]
    files: Vec<toml::Value>,
    sdist: Option<toml::Value>,
    #[serde(default)]
    wheels: Vec<toml::Value>,
    git: Option<String>,
    url: Option<String>,
    path: Option<String>,
    category: Option<String>,
    #[serde(default)]
    groups: Vec<String>,
}

pub(super) fn parse_toml(text: &str) -> Result<Vec<Package>, ParseError> {
    let file: File = toml::from_str(text).map_err(|error| ParseError::toml(text, &error))?;
    let lines = Lines::of(text);
    Ok(file.package.into_iter().map(|entry| package(entry, &file.metadata, &lines)).collect())
}

fn package(entry: Entry, metadata: &Metadata, lines: &Lines<'_>) -> Package {
    let line = lines.at(entry.name.span().start);
    let name = entry.name.into_inner();
    let source = match &entry.source {
        Some(source) => origin(source),
        None => match (entry.git, entry.url, entry.path) {
            (Some(git), ..) => Source::Git(git),
            (_, Some(url), _) => Source::Url(url),
            (.., Some(_)) => Source::Path,
            _ => Source::Registry,
        },
    };
    let files = entry
        .files
        .iter()
        .chain(&entry.wheels)
        .chain(&entry.sdist)
        .chain(metadata.files.get(&name).into_iter().flatten());
    let mut files = files
        .chain(
            metadata
                .files
                .iter()
                .filter(|(key, _)| key.split(' ').next() == Some(&name) && key.contains(' '))
                .flat_map(|(_, list)| list),
        )
        .peekable();
    let hashed = files.peek().is_some() && files.all(|file| file.get("hash").is_some());
    let integrity = match &source {
        Source::Registry | Source::Url(_) => {
            if hashed {
                Integrity::Present
            } else {
                Integrity::Missing
            }
        }
        _ => Integrity::NotExpected,
    };
    let dev = entry.category.as_deref() == Some("dev")
        || (!entry.groups.is_empty()
            && entry.groups.iter().all(|group| matches!(group.as_str(), "dev" | "test" | "tests" | "docs" | "lint")));
    Package { ecosystem: Ecosystem::PyPi, name, version: entry.version, line, source, integrity, dev }
}

/// Poetry writes `{type, url}`, uv writes `{registry | git | url | path | ...}`.
fn origin(source: &BTreeMap<String, toml::Value>) -> Source {
    let text = |key: &str| source.get(key).and_then(toml::Value::as_str);
    match text("type") {
        Some("git") => return Source::Git(text("url").unwrap_or_default().to_owned()),
        Some("url") => return Source::Url(text("url").unwrap_or_default().to_owned()),
        Some("directory" | "file") => return Source::Path,
        Some(_) => return Source::Registry,
        None => {}
    }
    match (text("git"), text("url")) {
        (Some(git), _) => Source::Git(git.to_owned()),
        (_, Some(url)) => Source::Url(url.to_owned()),
        _ if source.contains_key("registry") => Source::Registry,
        _ => Source::Path,
    }
}

#[derive(Deserialize)]
struct Pipfile<'a> {
    #[serde(borrow, default)]
    default: Entries<'a>,
    #[serde(borrow, default)]
    develop: Entries<'a>,
}

#[derive(Deserialize)]
struct PipEntry {
    version: Option<String>,
    #[serde(default)]
    hashes: Vec<String>,
    git: Option<String>,
    file: Option<String>,
    path: Option<String>,
}

pub(super) fn parse_pipfile(text: &str) -> Result<Vec<Package>, ParseError> {
    let json = |error: serde_json::Error| ParseError::json(&error);
    let file: Pipfile<'_> = serde_json::from_str(text).map_err(json)?;
    let lines = Lines::of(text);
    let mut packages = Vec::new();
    for (section, dev) in [(file.default, false), (file.develop, true)] {
        for (name, raw) in section.0 {
            let entry: PipEntry = serde_json::from_str(raw.get()).map_err(json)?;
            let source = match (entry.git, entry.file, entry.path) {
                (Some(git), ..) => Source::Git(git),
                (_, Some(file), _) => Source::Url(file),
                (.., Some(_)) => Source::Path,
                _ => Source::Registry,
            };
            let integrity = match &source {
                _ if !entry.hashes.is_empty() => Integrity::Present,
                Source::Registry | Source::Url(_) => Integrity::Missing,
                _ => Integrity::NotExpected,
            };
            let version = entry.version.as_deref().and_then(|version| version.strip_prefix("==")).map(str::to_owned);
            packages.push(Package {
                ecosystem: Ecosystem::PyPi,
                name: name.into_owned(),
                version,
                line: lines.of_part(raw.get()),
                source,
                integrity,
                dev,
            });
        }
    }
    Ok(packages)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(packages: &[Package]) -> Vec<(&str, Option<&str>, u32, Integrity, bool)> {
        packages.iter().map(|p| (p.name.as_str(), p.version.as_deref(), p.line, p.integrity, p.dev)).collect()
    }

    #[test]
    fn poetry_old_and_new() {
        let text = "[[package]]\nname = \"a\"\nversion = \"1.0\"\ncategory = \"dev\"\n\n[[package]]\nname = \"b\"\nversion = \"2.0\"\ngroups = [\"main\"]\nfiles = [\n  {file = \"b.whl\", hash = \"sha256:00\"},\n]\n\n[[package]]\nname = \"c\"\nversion = \"3.0\"\n[package.source]\ntype = \"git\"\nurl = \"https://git.invalid/c\"\n\n[metadata.files]\na = [{file = \"a.whl\", hash = \"sha256:00\"}]\n";
        let packages = parse_toml(text).unwrap();
        assert_eq!(
            seen(&packages),
            [
                ("a", Some("1.0"), 2, Integrity::Present, true),
                ("b", Some("2.0"), 7, Integrity::Present, false),
                ("c", Some("3.0"), 15, Integrity::NotExpected, false),
            ]
        );
    }

    #[test]
    fn uv_and_pdm() {
        let text = "version = 1\n\n[[package]]\nname = \"app\"\nversion = \"0.1\"\nsource = { editable = \".\" }\n\n[[package]]\nname = \"b\"\nversion = \"2.0\"\nsource = { registry = \"https://index.invalid\" }\nsdist = { url = \"u\", hash = \"sha256:00\" }\nwheels = [\n  { url = \"u\", hash = \"sha256:00\" },\n]\n\n[[package]]\nname = \"c\"\nversion = \"3.0\"\nrequires_python = \">=3\"\ngroups = [\"dev\", \"test\"]\n";
        let packages = parse_toml(text).unwrap();
        assert_eq!(
            seen(&packages),
            [
                ("app", Some("0.1"), 4, Integrity::NotExpected, false),
                ("b", Some("2.0"), 9, Integrity::Present, false),
                ("c", Some("3.0"), 18, Integrity::Missing, true)
            ]
        );
    }

    #[test]
    fn pipenv() {
        let text = "{\n \"_meta\": {},\n \"default\": {\n  \"a\": {\"version\": \"==1.0\", \"hashes\": [\"sha256:00\"]}\n },\n \"develop\": {\n  \"b\": {\"git\": \"https://git.invalid/b\", \"ref\": \"00\"}\n }\n}";
        let packages = parse_pipfile(text).unwrap();
        assert_eq!(
            seen(&packages),
            [("a", Some("1.0"), 4, Integrity::Present, false), ("b", None, 7, Integrity::NotExpected, true)]
        );
    }
}
