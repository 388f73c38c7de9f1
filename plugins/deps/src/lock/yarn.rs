//! `yarn.lock`: the classic form and the YAML form of later versions. Both are blocks of indented lines under a line of descriptors.

use super::address::{self, split_name};
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
            // A key too long for YAML stands after a `?`, and the colon on the next line.
            if content == ":" {
                continue;
            }
            packages.extend(block.take().and_then(Block::package));
            block = content.strip_suffix(':').or(content.strip_prefix("? ")).map(|descriptors| Block {
                descriptors: descriptors.trim_start_matches("? "),
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
        let (mut name, range) = split_name(descriptor).unwrap_or((descriptor, descriptor));
        // `alias@npm:real@1.0.0` is locked as `real`; the later form says so in its resolution too.
        if let Some((real, _)) = range.strip_prefix("npm:").and_then(split_name) {
            name = real;
        }
        // The later form puts the name before the address.
        let origin = split_name(self.resolved).map_or(self.resolved, |(_, origin)| origin);
        let source = if address::is_git(range) { Source::Git(origin.to_owned()) } else { address::source(origin) };
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

    #[test]
    fn a_name_that_begins_with_git_is_no_repository() {
        let later = "__metadata:\n  version: 8\n\n\"github-from-package@npm:0.0.0\":\n  version: 0.0.0\n  resolution: \"github-from-package@npm:0.0.0\"\n  checksum: 10c0/aa\n\n\"git-up@npm:^7.0.0\":\n  version: 7.0.0\n  resolution: \"git-up@npm:7.0.0\"\n  checksum: 10c0/aa\n\n\"a@https://git.invalid/a.git#main\":\n  version: 1.0.0\n  resolution: \"a@https://git.invalid/a.git#commit=00\"\n\n\"b@https://host.invalid/b.tgz\":\n  version: 2.0.0\n  resolution: \"b@https://host.invalid/b.tgz\"\n  checksum: 10c0/bb\n";
        let classic = "\"@gitlab/ui@^1.0.0\":\n  version \"1.0.0\"\n  resolved \"https://registry.invalid/@gitlab/ui/-/ui-1.0.0.tgz#00\"\n  integrity sha512-xx\n\nc@user/c:\n  version \"3.0.0\"\n  resolved \"https://codeload.github.com/user/c/tar.gz/00\"\n\n\"https://user:word@host.invalid/d.tgz\":\n  version \"4.0.0\"\n  resolved \"https://user:word@host.invalid/d.tgz#00\"\n";
        let sources: Vec<(String, Source)> =
            parse(later).into_iter().chain(parse(classic)).map(|package| (package.name, package.source)).collect();
        let seen: Vec<(&str, &Source)> = sources.iter().map(|(name, source)| (name.as_str(), source)).collect();
        assert_eq!(
            seen,
            [
                ("github-from-package", &Source::Registry),
                ("git-up", &Source::Registry),
                ("a", &Source::Git("https://git.invalid/a.git#commit=00".into())),
                ("b", &Source::Url("https://host.invalid/b.tgz".into())),
                ("@gitlab/ui", &Source::Registry),
                ("c", &Source::Git("https://codeload.github.com/user/c/tar.gz/00".into())),
                // Yarn itself leaves out the name where it was not given one.
                (
                    "https://user:word@host.invalid/d.tgz",
                    &Source::Url("https://user:word@host.invalid/d.tgz#00".into())
                ),
            ]
        );
    }

    #[test]
    fn a_long_key_stands_after_a_question_mark() {
        let long = (0..60).map(|n| format!("@babel/core@npm:^7.{n}.0")).collect::<Vec<_>>().join(", ");
        let text = format!(
            "__metadata:\n  version: 8\n\n? \"{long}\"\n:\n  version: 7.1.0\n  resolution: \"@babel/core@npm:7.1.0\"\n  checksum: 10c0/aa\n\n\"b@npm:1\":\n  version: 1.0.0\n  resolution: \"b@npm:1.0.0\"\n  checksum: 10c0/bb\n"
        );
        let packages = parse(&text);
        let seen: Vec<_> = packages.iter().map(|p| (p.name.as_str(), p.version.as_deref(), p.line)).collect();
        assert_eq!(seen, [("@babel/core", Some("7.1.0"), 4), ("b", Some("1.0.0"), 10)]);
    }
}
