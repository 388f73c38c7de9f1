//! `pnpm-lock.yaml`, versions 5 to 9. Its `packages` section has one key an entry, two spaces in, and what is said of it below; that is
//! all that is read.

use super::address::{self, split_name};
use super::{Integrity, Package, Source};
use crate::version::{Ecosystem, Version};

pub(super) fn parse(text: &str) -> Vec<Package> {
    let mut packages: Vec<Package> = Vec::new();
    let mut in_packages = false;
    for (index, line) in text.lines().enumerate() {
        let content = line.trim();
        let depth = line.len() - line.trim_start().len();
        match depth {
            _ if content.is_empty() => {}
            0 => in_packages = content == "packages:",
            _ if !in_packages => {}
            // A key too long for YAML stands after a `?`, and what is said of it begins after a colon.
            2 if !content.starts_with(": ") => packages.push(entry(key(content), index as u32 + 1)),
            _ => {
                if let Some(package) = packages.last_mut() {
                    say(package, content.trim_start_matches(": "), depth);
                }
            }
        }
    }
    packages
}

fn key(content: &str) -> &str {
    let content = content.strip_prefix("? ").unwrap_or(content);
    content.split_once(": {").map_or(content, |(key, _)| key).trim_end_matches(':').trim_matches(['\'', '"'])
}

/// `/a/1.0.0`, `/a@1.0.0(peer@2)`, `@s/a@1.0.0`, `registry.host/a/1.0.0_peer`, `a@https://host/a.tgz`; and addresses alone, whose names
/// and versions are said below them.
fn entry(key: &str, line: u32) -> Package {
    let plain = key.split('(').next().unwrap_or(key);
    let plain = plain.strip_prefix('/').unwrap_or(plain);
    let (name, version, source) = match split_name(plain) {
        Some((name, address)) if address.contains(':') => (name, None, address::source(address)),
        Some((name, version)) if !version.contains('/') => (name, Some(version), Source::Registry),
        _ => match by_path(plain) {
            Some((name, version)) => (name, Some(version), Source::Registry),
            None => (plain, None, alone(plain)),
        },
    };
    let integrity =
        if matches!(source, Source::Registry | Source::Url(_)) { Integrity::Missing } else { Integrity::NotExpected };
    Package {
        ecosystem: Ecosystem::Npm,
        name: name.to_owned(),
        version: version.map(str::to_owned),
        line,
        source,
        integrity,
        dev: false,
    }
}

/// Version 5: the version is the last part of a path, its peers after `_`; the registry may come before the name.
fn by_path(plain: &str) -> Option<(&str, &str)> {
    let (path, last) = plain.rsplit_once('/')?;
    let version = last.split('_').next()?;
    if !version.contains('.') || Version::parse(Ecosystem::Npm, version).is_none() {
        return None;
    }
    let bare = path.rfind('/').map_or(0, |slash| slash + 1);
    let scope = path[..bare.saturating_sub(1)].rfind('/').map_or(0, |slash| slash + 1);
    Some((if path[scope..].starts_with('@') { &path[scope..] } else { &path[bare..] }, version))
}

/// The source of an address that is a key. The older versions leave out its scheme.
fn alone(address: &str) -> Source {
    match address::source(address) {
        Source::Registry => Source::Url(address.to_owned()),
        told => told,
    }
}

fn say(package: &mut Package, content: &str, depth: usize) {
    let (field, value) = content.split_once(':').unwrap_or((content, ""));
    let value = value.trim();
    match field {
        "resolution" => resolve(package, value),
        "dev" => package.dev = value == "true",
        // Said of what is not a registry's, and only there is it more than the key says.
        "name" if depth <= 4 => package.name = value.trim_matches(['\'', '"']).to_owned(),
        "version" if depth <= 4 => package.version = Some(value.trim_matches(['\'', '"']).to_owned()),
        _ => {}
    }
}

fn resolve(package: &mut Package, resolution: &str) {
    if resolution.contains("integrity:") {
        package.integrity = Integrity::Present;
    } else if resolution.contains("type: git") || resolution.contains("codeload.") {
        package.source = Source::Git(resolution.to_owned());
        package.integrity = Integrity::NotExpected;
    } else if resolution.contains("directory:") {
        package.source = Source::Path;
        package.integrity = Integrity::NotExpected;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(packages: &[Package]) -> Vec<(&str, Option<&str>, u32, Integrity, bool)> {
        packages.iter().map(|p| (p.name.as_str(), p.version.as_deref(), p.line, p.integrity, p.dev)).collect()
    }

    #[test]
    fn keys_of_every_version() {
        let text = "lockfileVersion: '9.0'\n\nimporters:\n  .:\n    dependencies:\n      a: 1\n\npackages:\n\n  a@1.0.0:\n    resolution: {integrity: sha512-xx}\n\n  '@s/b@2.0.0(a@1.0.0)':\n    resolution: {integrity: sha512-yy}\n    dev: true\n\n  /c/3.0.0:\n    resolution: {integrity: sha512-zz}\n\n  /@s/d/4.0.0_peer@1.0.0:\n    engines: {node: '>=8'}\n\n  e@https://host.invalid/e.tgz:\n    resolution: {tarball: https://host.invalid/e.tgz}\n\n  registry.invalid/f/5.0.0:\n    resolution: {integrity: sha512-ff}\n\n  registry.invalid/@s/g/6.0.0_@s+peer@1.0.0:\n    resolution: {integrity: sha512-gg}\n\nsnapshots:\n\n  a@1.0.0: {}\n";
        assert_eq!(
            seen(&parse(text)),
            [
                ("a", Some("1.0.0"), 10, Integrity::Present, false),
                ("@s/b", Some("2.0.0"), 13, Integrity::Present, true),
                ("c", Some("3.0.0"), 17, Integrity::Present, false),
                ("@s/d", Some("4.0.0"), 20, Integrity::Missing, false),
                ("e", None, 23, Integrity::Missing, false),
                ("f", Some("5.0.0"), 26, Integrity::Present, false),
                ("@s/g", Some("6.0.0"), 29, Integrity::Present, false),
            ]
        );
    }

    #[test]
    fn what_is_no_registrys_has_its_name_and_version_below() {
        let text = "packages:\n\n  '@codeload.github.com/x/a/tar.gz/0123':\n    resolution: {tarball: https://codeload.github.com/x/a/tar.gz/0123}\n    name: '@x/a'\n    version: 1.2.3\n    dependencies:\n      name: 9.0.0\n      version: 9.0.0\n\n  b@https://user:w@rd@host.invalid/b.tgz:\n    resolution: {tarball: https://user:w@rd@host.invalid/b.tgz}\n    version: 2.0.0\n\n  '@user:word@host.invalid/c.tgz':\n    resolution: {tarball: https://user:word@host.invalid/c.tgz}\n";
        let packages = parse(text);
        assert_eq!(
            seen(&packages),
            [
                ("@x/a", Some("1.2.3"), 3, Integrity::NotExpected, false),
                ("b", Some("2.0.0"), 11, Integrity::Missing, false),
                ("@user:word@host.invalid/c.tgz", None, 15, Integrity::Missing, false),
            ]
        );
        assert!(matches!(packages[0].source, Source::Git(_)));
        assert!(packages[1..].iter().all(|package| matches!(package.source, Source::Url(_))));
    }

    #[test]
    fn a_long_key_stands_after_a_question_mark() {
        let text = "packages:\n\n  ? /a@1.0.0(b@2.0.0)\n  : resolution: {integrity: sha512-xx}\n    dev: true\n\n  /c@3.0.0:\n    resolution: {integrity: sha512-yy}\n";
        assert_eq!(
            seen(&parse(text)),
            [("a", Some("1.0.0"), 3, Integrity::Present, true), ("c", Some("3.0.0"), 7, Integrity::Present, false)]
        );
    }
}
