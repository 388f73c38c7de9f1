//! `requirements*.txt` and `requirements/*.txt`: pins, hashes and options of pip.

use super::{Integrity, Package, Source};
use crate::version::Ecosystem;

pub(super) fn parse(text: &str) -> Vec<Package> {
    let mut packages = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let mut logical = without_comment(line).to_owned();
        while logical.ends_with('\\') {
            logical.pop();
            let Some((_, next)) = lines.next() else { break };
            logical.push_str(without_comment(next));
        }
        packages.extend(requirement(logical.trim(), index as u32 + 1));
    }
    packages
}

/// A comment begins the line or follows white space.
fn without_comment(line: &str) -> &str {
    if line.trim_start().starts_with('#') {
        return "";
    }
    line.find(" #").or(line.find("\t#")).map_or(line, |at| &line[..at]).trim_end()
}

fn requirement(text: &str, line: u32) -> Option<Package> {
    let (text, editable) = match text.strip_prefix("-e ").or(text.strip_prefix("--editable ")) {
        Some(rest) => (rest.trim(), true),
        None => (text, false),
    };
    if text.is_empty() || text.starts_with('-') {
        return None;
    }
    let has_hash = text.contains("--hash");
    let text = text.split(" --").next()?.trim();
    let package = |name: &str, version: Option<&str>, source: Source| {
        let integrity = match source {
            Source::Registry | Source::Url(_) if has_hash => Integrity::Present,
            Source::Registry | Source::Url(_) => Integrity::Missing,
            _ => Integrity::NotExpected,
        };
        Package {
            ecosystem: Ecosystem::PyPi,
            name: name.to_owned(),
            version: version.map(str::to_owned),
            line,
            source,
            integrity,
            dev: false,
        }
    };
    let address_source = |address: &str| {
        if address.starts_with("git+")
            || address.starts_with("hg+")
            || address.starts_with("svn+")
            || address.starts_with("bzr+")
        {
            Source::Git(address.to_owned())
        } else if address.contains("://") && !address.starts_with("file:") {
            Source::Url(address.to_owned())
        } else {
            Source::Path
        }
    };
    if let Some((name, address)) = text.split_once('@').filter(|(name, _)| is_name(bare(name))) {
        return Some(package(bare(name), None, address_source(address.trim())));
    }
    let is_path = text.starts_with('.') || text.starts_with('/') || text.ends_with(".whl") || text.ends_with(".tar.gz");
    if editable || text.contains("://") || is_path {
        let name = text.split_once("#egg=").map_or(text, |(_, egg)| egg.split(['&', '[']).next().unwrap_or(egg));
        return Some(package(name, None, address_source(text)));
    }
    let text = text.split(';').next()?.trim();
    let end = text.find(['=', '<', '>', '!', '~', ' ', '\t', '(', '[']).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    // Extras: `requests [security] == 2.0.0`.
    let rest = rest.trim_start();
    let constraint = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')).map_or(rest, |(_, rest)| rest);
    // A line of prose is no requirement.
    let is_constraint = constraint.trim_start().chars().next().is_none_or(|first| "=<>!~(-".contains(first));
    (is_name(name) && is_constraint).then(|| package(name, pin(constraint), Source::Registry))
}

/// The one version that a constraint lets in: `==1.0`, also beside others. `==1.*` lets in many.
fn pin(constraint: &str) -> Option<&str> {
    let clauses = constraint.trim_matches(['(', ')', ' ', '\t']).split(',');
    let mut pins = clauses.filter_map(|clause| clause.trim().strip_prefix("=="));
    pins.find_map(|version| {
        let version = version.trim_start_matches('=').trim();
        (!version.is_empty() && !version.contains(['*', ' '])).then_some(version)
    })
}

/// A name without its extras.
fn bare(name: &str) -> &str {
    name.split('[').next().unwrap_or(name).trim()
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_line() {
        let packages = parse(include_str!("../../tests/fixtures/requirements.txt"));
        let seen: Vec<_> =
            packages.iter().map(|p| (p.name.as_str(), p.version.as_deref(), p.line, p.integrity)).collect();
        assert_eq!(
            seen,
            [
                ("Django", Some("3.2.0"), 3, Integrity::Present),
                ("requests", Some("2.19.1"), 6, Integrity::Missing),
                ("flask", None, 7, Integrity::Missing),
                ("numpy", None, 8, Integrity::Missing),
                ("tool", None, 9, Integrity::NotExpected),
                ("local", None, 10, Integrity::NotExpected),
                ("wheel", None, 11, Integrity::Missing),
                ("pandas", None, 13, Integrity::Missing),
            ]
        );
        assert!(matches!(packages[4].source, Source::Git(_)));
        assert!(matches!(packages[6].source, Source::Url(_)));
    }

    #[test]
    fn a_pin_may_have_extras_before_it_and_other_clauses_beside_it() {
        for (line, version) in [
            ("requests [security] == 2.0.0 ; python_version < \"4\"", Some("2.0.0")),
            ("requests[security,socks]==2.0.0", Some("2.0.0")),
            ("requests (==2.0.0)", Some("2.0.0")),
            ("requests==2.0.0,<3", Some("2.0.0")),
            ("requests<3,==2.0.0", Some("2.0.0")),
            ("requests===2.0.0", Some("2.0.0")),
            ("requests==2.*,!=2.1", None),
            ("requests[security]>=2.0.0", None),
            ("requests", None),
        ] {
            let packages = parse(line);
            assert_eq!((packages[0].name.as_str(), packages[0].version.as_deref()), ("requests", version), "{line}");
        }
        assert!(parse("some/path\n--pre\n").is_empty());
    }
}
