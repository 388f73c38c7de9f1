//! `go.mod` and `go.sum`.

use super::{Integrity, Package, Source};
use crate::version::Ecosystem;
use std::collections::HashMap;

pub(super) fn parse_mod(text: &str) -> Vec<Package> {
    let mut packages = Vec::new();
    let mut replaced: HashMap<(String, Option<String>), Vec<String>> = HashMap::new();
    let mut section = "";
    for (index, line) in text.lines().enumerate() {
        let content = line.split("//").next().unwrap_or_default().trim();
        let mut words: Vec<&str> = content.split_whitespace().collect();
        match words.as_slice() {
            [")"] => {
                section = "";
                continue;
            }
            [verb, "("] => {
                section = ["require", "replace", "exclude", "retract", "tool", "godebug"]
                    .into_iter()
                    .find(|known| known == verb)
                    .unwrap_or("other");
                continue;
            }
            _ => {}
        }
        let verb = if section.is_empty() && !words.is_empty() { words.remove(0) } else { section };
        match (verb, words.as_slice()) {
            ("require", [name, version]) => packages.push(package(name, version, index as u32 + 1)),
            ("replace", [old, "=>", new @ ..]) => {
                replaced.insert(((*old).to_owned(), None), new.iter().map(|&w| w.to_owned()).collect());
            }
            ("replace", [old, version, "=>", new @ ..]) => {
                replaced.insert(
                    ((*old).to_owned(), Some((*version).to_owned())),
                    new.iter().map(|&w| w.to_owned()).collect(),
                );
            }
            _ => {}
        }
    }
    for package in &mut packages {
        let exact = (package.name.clone(), package.version.as_ref().map(|version| format!("v{version}")));
        let new = replaced.get(&exact).or_else(|| replaced.get(&(package.name.clone(), None)));
        match new.map(Vec::as_slice) {
            Some([name, version]) => {
                package.name.clone_from(name);
                package.version = Some(version.trim_start_matches('v').to_owned());
            }
            Some([_folder]) => package.source = Source::Path,
            _ => {}
        }
    }
    packages
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

/// `go.mod` holds no hashes: they are in `go.sum`. Advisories write versions without `v` and without `+incompatible`.
fn package(name: &str, version: &str, line: u32) -> Package {
    let version = version.trim_start_matches('v').trim_end_matches("+incompatible");
    Package {
        ecosystem: Ecosystem::Go,
        name: name.trim_matches('"').to_owned(),
        version: Some(version.to_owned()),
        line,
        source: Source::Registry,
        integrity: Integrity::NotExpected,
        dev: false,
    }
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
}
