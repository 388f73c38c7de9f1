//! `yarn.lock`: the classic form and the YAML form of later versions. Both are blocks of indented lines under a line of descriptors.

use super::{Integrity, Package, Source};
use crate::version::Ecosystem;

pub(super) fn parse(text: &str) -> Vec<Package> {
    let mut packages = Vec::new();
    let mut block: Option<Block<'_>> = None;
    for (index, line) in text.lines().enumerate() {
        let content = line.trim();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        if !line.starts_with(' ') {
            packages.extend(block.take().and_then(Block::package));
            block = content.strip_suffix(':').map(|descriptors| Block {
                descriptors,
                line: index as u32 + 1,
                ..Block::default()
            });
            continue;
        }
        // Deeper lines belong to `dependencies:` and the like.
        let Some(block) = block.as_mut().filter(|_| line.starts_with("  ") && !line.starts_with("   ")) else {
            continue;
        };
        let (key, value) = content.split_once([' ', ':']).unwrap_or((content, ""));
        let value = value.trim_start_matches([':', ' ']).trim_matches('"');
        match key {
            "version" => block.version = value,
            "resolved" | "resolution" => block.resolved = value,
            "integrity" | "checksum" => block.has_hash = !value.is_empty(),
            _ => {}
        }
    }
    packages.extend(block.and_then(Block::package));
    packages
}

#[derive(Default)]
struct Block<'a> {
    descriptors: &'a str,
    line: u32,
    version: &'a str,
    resolved: &'a str,
    has_hash: bool,
}

impl Block<'_> {
    fn package(self) -> Option<Package> {
        if self.version.is_empty() || self.descriptors.starts_with("__metadata") {
            return None;
        }
        let descriptor = self.descriptors.split(", ").next()?.trim_matches('"');
        let (mut name, range) = split_name(descriptor)?;
        // `alias@npm:real@1.0.0` is locked as `real`; the later form says so in its resolution too.
        if let Some((real, _)) = range.strip_prefix("npm:").and_then(split_name) {
            name = real;
        }
        let origin = split_name(self.resolved).map_or(self.resolved, |(_, origin)| origin);
        let source = if origin.starts_with("workspace:")
            || origin.starts_with("link:")
            || origin.starts_with("file:")
            || origin.starts_with("portal:")
        {
            Source::Path
        } else if [range, origin, self.resolved]
            .iter()
            .any(|from| from.starts_with("git") || from.contains(".git#") || from.contains("codeload."))
        {
            Source::Git(self.resolved.to_owned())
        } else if self.resolved.starts_with("http") && !self.resolved.contains("/-/") {
            Source::Url(self.resolved.to_owned())
        } else {
            Source::Registry
        };
        let integrity = match (&source, self.has_hash) {
            (_, true) => Integrity::Present,
            (Source::Registry | Source::Url(_), false) => Integrity::Missing,
            _ => Integrity::NotExpected,
        };
        Some(Package {
            ecosystem: Ecosystem::Npm,
            name: name.to_owned(),
            version: Some(self.version.to_owned()),
            line: self.line,
            source,
            integrity,
            dev: false,
        })
    }
}

/// `@scope/name@range` as name and range.
pub(super) fn split_name(descriptor: &str) -> Option<(&str, &str)> {
    let at = descriptor.get(1..)?.find('@')? + 1;
    Some((&descriptor[..at], &descriptor[at + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classic() {
        let text = "# yarn lockfile v1\n\n\"@s/a@^1.0.0\", \"@s/a@^1.1.0\":\n  version \"1.2.0\"\n  resolved \"https://registry.invalid/@s/a/-/a-1.2.0.tgz#00\"\n  integrity sha512-xx\n  dependencies:\n    version \"^9\"\n\nb@^2:\n  version \"2.0.0\"\n  resolved \"https://registry.invalid/b/-/b-2.0.0.tgz#00\"\n\nc@git+https://git.invalid/c.git:\n  version \"3.0.0\"\n  resolved \"git+https://git.invalid/c.git#00\"\n";
        let packages = parse(text);
        let seen: Vec<_> =
            packages.iter().map(|p| (p.name.as_str(), p.version.as_deref().unwrap(), p.line, p.integrity)).collect();
        assert_eq!(
            seen,
            [
                ("@s/a", "1.2.0", 3, Integrity::Present),
                ("b", "2.0.0", 10, Integrity::Missing),
                ("c", "3.0.0", 14, Integrity::NotExpected)
            ]
        );
        assert!(matches!(packages[2].source, Source::Git(_)));
    }

    #[test]
    fn later() {
        let text = "__metadata:\n  version: 8\n\n\"a@npm:^1.0.0\":\n  version: 1.2.0\n  resolution: \"a@npm:1.2.0\"\n  checksum: 10c0/aa\n  languageName: node\n\n\"app@workspace:.\":\n  version: 0.0.0-use.local\n  resolution: \"app@workspace:.\"\n\n\"alias@npm:real@^2.0.0\":\n  version: 2.0.1\n  resolution: \"real@npm:2.0.1\"\n  checksum: 10c0/bb\n";
        let packages = parse(text);
        let seen: Vec<_> =
            packages.iter().map(|p| (p.name.as_str(), p.version.as_deref().unwrap(), p.line, &p.source)).collect();
        assert_eq!(
            seen,
            [
                ("a", "1.2.0", 4, &Source::Registry),
                ("app", "0.0.0-use.local", 10, &Source::Path),
                ("real", "2.0.1", 14, &Source::Registry)
            ]
        );
    }
}
