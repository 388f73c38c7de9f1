//! `pnpm-lock.yaml`, versions 5 to 9. Its `packages` section has one key an entry, two spaces in; that is all that is read.

use super::{Integrity, Package, Source};
use crate::version::Ecosystem;

pub(super) fn parse(text: &str) -> Vec<Package> {
    let mut packages: Vec<Package> = Vec::new();
    let mut in_packages = false;
    for (index, line) in text.lines().enumerate() {
        if !line.starts_with(' ') {
            in_packages = if line.trim().is_empty() { in_packages } else { line.trim_end() == "packages:" };
            continue;
        }
        if !in_packages {
            continue;
        }
        let content = line.trim();
        if line.starts_with("  ") && !line.starts_with("   ") {
            let key = content
                .split_once(": {")
                .map_or(content, |(key, _)| key)
                .trim_end_matches(':')
                .trim_matches(['\'', '"']);
            packages.extend(entry(key, index as u32 + 1));
        } else if let Some(package) = packages.last_mut() {
            if let Some(resolution) = content.strip_prefix("resolution:") {
                resolve(package, resolution);
            } else if content == "dev: true" {
                package.dev = true;
            }
        }
    }
    packages
}

/// `/a/1.0.0`, `/a@1.0.0(peer@2)`, `@s/a@1.0.0`, `registry.host/a/1.0.0_peer`.
fn entry(key: &str, line: u32) -> Option<Package> {
    let plain = key.split('(').next()?;
    let plain = plain.strip_prefix('/').unwrap_or(plain);
    // Version 5: the version is the last part of a path, its peers after `_`.
    let by_path = plain.rsplit_once('/').map(|(name, last)| (name, last.split('_').next().unwrap_or(last)));
    let by_path =
        by_path.filter(|(_, version)| version.starts_with(|c: char| c.is_ascii_digit()) && !version.contains('@'));
    let by_sign = plain.get(1..).and_then(|rest| rest.rfind('@')).map(|at| (&plain[..at + 1], &plain[at + 2..]));
    let (name, version) = by_path.or(by_sign)?;
    let source = match version {
        address if address.contains("git") && address.contains(':') => Source::Git(address.to_owned()),
        address if address.starts_with("http") => Source::Url(address.to_owned()),
        address if address.starts_with("file:") || address.starts_with("link:") => Source::Path,
        _ => Source::Registry,
    };
    let version = (source == Source::Registry).then(|| version.to_owned());
    let integrity =
        if matches!(source, Source::Registry | Source::Url(_)) { Integrity::Missing } else { Integrity::NotExpected };
    Some(Package { ecosystem: Ecosystem::Npm, name: name.to_owned(), version, line, source, integrity, dev: false })
}

fn resolve(package: &mut Package, resolution: &str) {
    if resolution.contains("integrity:") {
        package.integrity = Integrity::Present;
    } else if resolution.contains("type: git") || resolution.contains("codeload.") {
        package.source = Source::Git(resolution.trim().to_owned());
        package.integrity = Integrity::NotExpected;
    } else if resolution.contains("directory:") {
        package.source = Source::Path;
        package.integrity = Integrity::NotExpected;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_every_version() {
        let text = "lockfileVersion: '9.0'\n\nimporters:\n  .:\n    dependencies:\n      a: 1\n\npackages:\n\n  a@1.0.0:\n    resolution: {integrity: sha512-xx}\n\n  '@s/b@2.0.0(a@1.0.0)':\n    resolution: {integrity: sha512-yy}\n    dev: true\n\n  /c/3.0.0:\n    resolution: {integrity: sha512-zz}\n\n  /@s/d/4.0.0_peer@1.0.0:\n    engines: {node: '>=8'}\n\n  e@https://host.invalid/e.tgz:\n    resolution: {tarball: https://host.invalid/e.tgz}\n\nsnapshots:\n\n  a@1.0.0: {}\n";
        let packages = parse(text);
        let seen: Vec<_> =
            packages.iter().map(|p| (p.name.as_str(), p.version.as_deref(), p.line, p.integrity, p.dev)).collect();
        assert_eq!(
            seen,
            [
                ("a", Some("1.0.0"), 10, Integrity::Present, false),
                ("@s/b", Some("2.0.0"), 13, Integrity::Present, true),
                ("c", Some("3.0.0"), 17, Integrity::Present, false),
                ("@s/d", Some("4.0.0"), 20, Integrity::Missing, false),
                ("e", None, 23, Integrity::Missing, false),
            ]
        );
    }
}
