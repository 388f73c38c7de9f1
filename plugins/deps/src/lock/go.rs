//! `go.mod` and `go.sum`.

use super::{Integrity, Package, Source};
use crate::version::Ecosystem;
use std::collections::HashMap;

/// Name under which advisories are filed that are about the standard library.
pub(crate) const STANDARD_LIBRARY: &str = "stdlib";

/// A directive of a `go.mod`: its verb, its words, and its line, from 1.
type Directive<'a> = (&'a str, Vec<&'a str>, u32);

fn directives(text: &str) -> Vec<Directive<'_>> {
    let mut directives = Vec::new();
    let mut section = None;
    for (index, line) in text.lines().enumerate() {
        let content = line.split("//").next().unwrap_or_default().trim();
        let mut words: Vec<&str> = content.split_whitespace().map(|word| word.trim_matches('"')).collect();
        match words.as_slice() {
            [] => {}
            [")"] => section = None,
            [verb, "("] => section = Some(*verb),
            _ => {
                let verb = section.unwrap_or_else(|| words.remove(0));
                directives.push((verb, words, index as u32 + 1));
            }
        }
    }
    directives
}

pub(super) fn parse_mod(text: &str) -> Vec<Package> {
    let directives = directives(text);
    let mut packages = Vec::new();
    let mut replaced: HashMap<(&str, Option<&str>), &[&str]> = HashMap::new();
    for (verb, words, line) in &directives {
        match (*verb, words.as_slice()) {
            ("require", [name, version]) => packages.push(package(name, version, *line)),
            ("replace", [old, "=>", new @ ..]) => {
                replaced.insert((*old, None), new);
            }
            ("replace", [old, version, "=>", new @ ..]) => {
                replaced.insert((*old, Some(plain(version))), new);
            }
            _ => {}
        }
    }
    for package in &mut packages {
        let exact = replaced.get(&(package.name.as_str(), package.version.as_deref()));
        match exact.or_else(|| replaced.get(&(package.name.as_str(), None))) {
            Some([name, version]) => {
                package.name = (*name).to_owned();
                package.version = Some(plain(version).to_owned());
            }
            Some([_folder]) => package.source = Source::Path,
            _ => {}
        }
    }
    packages.extend(standard_library(&directives));
    packages
}

/// The standard library comes with the toolchain: the one that the file names, or else the least release that it asks for. `go 1.20`
/// alone names a language, and no release.
fn standard_library(directives: &[Directive<'_>]) -> Option<Package> {
    let named = |wanted: &str| {
        directives.iter().find_map(|(verb, words, line)| match words.as_slice() {
            [release] if *verb == wanted => Some((release.strip_prefix("go").unwrap_or(release), *line)),
            _ => None,
        })
    };
    let (release, line) = named("toolchain").filter(|(release, _)| *release != "default").or_else(|| named("go"))?;
    // A toolchain of one's own has a name after the release: `go1.21.3-custom`.
    let release = release.split('-').next().unwrap_or(release);
    let numbers: Vec<&str> = release.split('.').collect();
    let is_release =
        numbers.len() == 3 && numbers.iter().all(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    is_release.then(|| package(STANDARD_LIBRARY, release, line))
}

/// Whether the `go.mod` names every module that is built. Before Go 1.17 it names those that the project itself imports, and the others
/// are in `go.sum` only.
pub(crate) fn names_all(text: &str) -> bool {
    let directives = directives(text);
    let release = directives.iter().find_map(|(verb, words, _)| (*verb == "go").then(|| words.first()).flatten());
    let numbers = release.and_then(|release| release.split_once('.'));
    let number = |text: &str| text.split(|c: char| !c.is_ascii_digit()).next()?.parse::<u32>().ok();
    numbers
        .and_then(|(major, minor)| Some((number(major)?, number(minor)?)))
        .is_some_and(|language| language >= (1, 17))
}

/// Hashes of whole modules; lines for `go.mod` files alone name versions that were only looked at.
pub(super) fn parse_sum(text: &str) -> Vec<Package> {
    let entries = text.lines().enumerate().filter_map(|(index, line)| {
        let mut words = line.split_whitespace();
        let (name, version, hash) = (words.next()?, words.next()?, words.next()?);
        (!version.ends_with("/go.mod")).then(|| Package {
            integrity: if hash.starts_with("h1:") { Integrity::Present } else { Integrity::Missing },
            ..package(name, version, index as u32 + 1)
        })
    });
    entries.collect()
}

/// `go.mod` holds no hashes: they are in `go.sum`.
fn package(name: &str, version: &str, line: u32) -> Package {
    Package {
        ecosystem: Ecosystem::Go,
        name: name.to_owned(),
        version: Some(plain(version).to_owned()),
        line,
        source: Source::Registry,
        integrity: Integrity::NotExpected,
        dev: false,
    }
}

/// Advisories write versions without `v` and without `+incompatible`.
fn plain(version: &str) -> &str {
    version.trim_start_matches('v').trim_end_matches("+incompatible")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements_and_replacements() {
        let text = "module app\n\ngo 1.21\n\nrequire one.invalid/a v1.2.3\n\nrequire (\n\ttwo.invalid/b v0.0.0-20190101000000-abcdefabcdef // indirect\n\tthree.invalid/c v2.0.0+incompatible\n\tfour.invalid/d v1.0.0\n)\n\nreplace three.invalid/c => fork.invalid/c v2.1.0\nreplace four.invalid/d v1.0.0 => ../d\n";
        let packages = parse_mod(text);
        let seen: Vec<_> = packages.iter().map(|p| (p.name.as_str(), p.version.as_deref().unwrap(), p.line)).collect();
        assert_eq!(
            seen,
            [
                ("one.invalid/a", "1.2.3", 5),
                ("two.invalid/b", "0.0.0-20190101000000-abcdefabcdef", 8),
                ("fork.invalid/c", "2.1.0", 9),
                ("four.invalid/d", "1.0.0", 10)
            ]
        );
        assert_eq!(packages[3].source, Source::Path);
    }

    #[test]
    fn sums_of_modules_only() {
        let packages = parse_sum(
            "a.invalid/a v1.0.0 h1:xx=\na.invalid/a v1.0.0/go.mod h1:yy=\nb.invalid/b v2.0.0/go.mod h1:zz=\n",
        );
        assert_eq!(packages.len(), 1);
        assert_eq!((packages[0].name.as_str(), packages[0].line), ("a.invalid/a", 1));
    }

    #[test]
    fn replacements_hold_for_versions_from_before_modules() {
        let text = "module app\n\ngo 1.20\n\nrequire one.invalid/a v2.0.0+incompatible\nrequire \"two.invalid/b\" v1.0.0\n\nreplace one.invalid/a v2.0.0+incompatible => one.invalid/a v2.5.0+incompatible\nreplace (\n\t\"two.invalid/b\" v1.0.0 => two.invalid/b v1.1.0\n)\n";
        let packages = parse_mod(text);
        let seen: Vec<_> = packages.iter().map(|p| (p.name.as_str(), p.version.as_deref().unwrap())).collect();
        assert_eq!(seen, [("one.invalid/a", "2.5.0"), ("two.invalid/b", "1.1.0")]);
    }

    #[test]
    fn the_toolchain_brings_the_standard_library() {
        for (text, wanted) in [
            ("module app\n\ngo 1.21.1\n", Some(("1.21.1", 3))),
            ("go 1.21.1\ntoolchain go1.22.3\n", Some(("1.22.3", 2))),
            ("go 1.21.1\n\ntoolchain go1.22.3-custom // ours\n", Some(("1.22.3", 3))),
            ("go 1.21.1\ntoolchain default\n", Some(("1.21.1", 1))),
            ("go 1.20\n", None),
            ("go 1.21rc2\n", None),
            ("module app\n", None),
        ] {
            let packages = parse_mod(text);
            let seen = packages.first().map(|p| (p.version.as_deref().unwrap(), p.line));
            assert_eq!(seen, wanted, "{text}");
            assert!(packages.iter().all(|package| package.name == STANDARD_LIBRARY));
        }
    }

    #[test]
    fn whether_a_file_names_all_modules_is_told_by_its_language() {
        for (text, all) in [
            ("module app\n", false),
            ("go 1.9\n", false),
            ("go 1.16 // old\n", false),
            ("go 1.17\n", true),
            ("go 1.21rc1\n", true),
            ("go 1.22.3\n", true),
        ] {
            assert_eq!(names_all(text), all, "{text}");
        }
    }
}
