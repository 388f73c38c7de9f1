//! Names and addresses as the package managers of JavaScript write them.

use super::Source;

/// What an address says about where an entry comes from. What is no address, such as a range, is a registry's.
pub(super) fn source(address: &str) -> Source {
    if ["file:", "link:", "portal:", "workspace:"].iter().any(|scheme| address.starts_with(scheme)) {
        Source::Path
    } else if is_git(address) {
        Source::Git(address.to_owned())
    } else if address.starts_with("http:") || address.starts_with("https:") {
        if is_registry(address) { Source::Registry } else { Source::Url(address.to_owned()) }
    } else {
        Source::Registry
    }
}

/// Whether an address, or a range, leads to a Git repository. A name that merely begins with `git` does not.
pub(super) fn is_git(address: &str) -> bool {
    let schemes = ["git+", "git:", "git@", "ssh:", "github:", "gitlab:", "gist:", "bitbucket:"];
    schemes.iter().any(|scheme| address.starts_with(scheme))
        || address.split('#').next().is_some_and(|repository| repository.ends_with(".git"))
        || address.contains("codeload.")
}

/// Archives of registries lie under `/-/`, whatever the host, except at GitHub. GitLab has archives of repositories there, too.
fn is_registry(address: &str) -> bool {
    (address.contains("/-/") && !address.contains("/-/archive/")) || address.contains("npm.pkg.github.com/download/")
}

/// `@scope/name@range` as name and range. An address has no name, even where there is an `@` in it.
pub(super) fn split_name(descriptor: &str) -> Option<(&str, &str)> {
    let (first, rest) = descriptor.split_at(descriptor.chars().next()?.len_utf8());
    let at = first.len() + rest.find('@')?;
    let (name, range) = (&descriptor[..at], &descriptor[at + 1..]);
    is_name(name).then_some((name, range))
}

fn is_name(name: &str) -> bool {
    let parts = match name.strip_prefix('@') {
        Some(scoped) => scoped.split_once('/'),
        None => Some(("scope", name)),
    };
    let is_part = |part: &str| !part.is_empty() && !part.contains(['/', ':', '?', '#', '@']);
    parts.is_some_and(|(scope, bare)| is_part(scope) && is_part(bare))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_tell_sources() {
        for (address, wanted) in [
            ("https://registry.invalid/@gitlab/ui/-/ui-1.0.0.tgz", "registry"),
            ("https://npm.pkg.github.com/download/@acme/lib/1.0.0/00", "registry"),
            ("npm:7.0.0", "registry"),
            ("git-up@npm:7.0.0", "registry"),
            ("https://gitlab.invalid/a/b/-/archive/v1/b-v1.tar.gz", "url"),
            ("https://host.invalid/lib-1.0.0.tgz", "url"),
            ("https://codeload.github.com/a/b/tar.gz/00", "git"),
            ("https://git.invalid/b.git#00", "git"),
            ("git+ssh://git@host.invalid/a/b", "git"),
            ("github:a/b#00", "git"),
            ("file:../a", "path"),
        ] {
            let found = match source(address) {
                Source::Registry => "registry",
                Source::Url(_) => "url",
                Source::Git(_) => "git",
                Source::Path => "path",
            };
            assert_eq!(found, wanted, "{address}");
        }
    }

    #[test]
    fn a_name_ends_at_the_first_sign_and_an_address_has_none() {
        assert_eq!(split_name("@s/a@^1.0.0"), Some(("@s/a", "^1.0.0")));
        assert_eq!(
            split_name("a@https://user:word@host.invalid/a.tgz"),
            Some(("a", "https://user:word@host.invalid/a.tgz"))
        );
        for address in
            ["https://user:word@host.invalid/a.tgz", "@user:word@host.invalid/a.tgz", "a/1.0.0_b@2.0.0", "", "é"]
        {
            assert_eq!(split_name(address), None, "{address}");
        }
    }
}
