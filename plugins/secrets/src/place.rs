//! What kind of file a path names, and what that means for a string found in it.
//!
//! Only names are looked at, never contents.

/// The kind of a file, by its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Written by a resolver or a build: lock files, checksums, source maps, minified bundles.
    Generated,
    /// Translations: keys such as `password` with words as values.
    Translation,
    /// Tests, fixtures, benchmarks, recorded traffic.
    Test,
    /// Documentation, examples, change logs, templates of configuration.
    Docs,
    /// Configuration and data, where values need no quotes.
    Config,
    /// Program source, and everything else.
    Source,
}

impl Place {
    /// Classify a path with `/` separators.
    pub(crate) fn of(path: &str) -> Self {
        let path = path.to_ascii_lowercase();
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
        let parts = || folder.split('/');
        let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
        if GENERATED_NAMES.contains(&name)
            || GENERATED_EXTENSIONS.contains(&extension)
            || name.contains(".min.")
            || name.ends_with("sums")
            || name.ends_with("sums.txt")
        {
            return Self::Generated;
        }
        if matches!(extension, "po" | "pot" | "mo" | "xlf" | "xliff" | "resx" | "strings" | "arb")
            || parts().any(|part| matches!(part, "locale" | "locales" | "i18n" | "l10n" | "lang" | "translations"))
        {
            return Self::Translation;
        }
        let stem = name.split('.').next().unwrap_or("");
        if parts().any(|part| {
            TEST_FOLDERS.contains(&part)
                || part.ends_with("-tests")
                || part.ends_with("_tests")
                || part.ends_with("-test-suite")
        }) || ["test_", "spec_"].iter().any(|prefix| stem.starts_with(prefix))
            || ["_test", "_tests", "_spec", "-test", "-spec"].iter().any(|suffix| stem.ends_with(suffix))
            || matches!(stem, "test" | "tests" | "conftest" | "testing")
            || name.contains(".test.")
            || name.contains(".spec.")
        {
            return Self::Test;
        }
        if matches!(extension, "md" | "rst" | "adoc" | "html" | "htm" | "ipynb" | "tex" | "1" | "5" | "8" | "pod")
            || parts().any(|part| {
                matches!(
                    part,
                    "doc"
                        | "docs"
                        | "documentation"
                        | "example"
                        | "examples"
                        | "samples"
                        | "sample"
                        | "demo"
                        | "demos"
                        | "tutorial"
                        | "tutorials"
                        | "snippets"
                )
            })
            || ["readme", "changelog", "changes", "history", "news", "license", "contributing", "pkg-info", "metadata"]
                .contains(&stem)
            || [".example", ".sample", ".template", ".dist", ".tmpl", ".tpl"]
                .iter()
                .any(|suffix| name.ends_with(suffix) || name.contains(&format!("{suffix}.")))
            || (extension == "txt" && !parts().any(|part| part == "config"))
        {
            return Self::Docs;
        }
        if CONFIG_EXTENSIONS.contains(&extension)
            || stem.is_empty()
            || name.starts_with("dockerfile")
            || name.contains(".env")
        {
            return Self::Config;
        }
        Self::Source
    }

    /// Whether strings here are, as a rule, made up for the occasion.
    pub(crate) fn is_staged(self) -> bool {
        matches!(self, Self::Test | Self::Docs | Self::Translation)
    }

    /// For people.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Generated => "generated",
            Self::Translation => "translation",
            Self::Test => "test",
            Self::Docs => "documentation or example",
            Self::Config => "configuration",
            Self::Source => "source",
        }
    }
}

/// Whether a value without quotes may follow `key =` or `key:` in this file.
pub(crate) fn has_bare_values(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    CONFIG_EXTENSIONS.contains(&extension)
        || name.starts_with('.')
        || name.starts_with("dockerfile")
        || name.contains(".env")
        || matches!(extension, "sh" | "bash" | "zsh" | "ps1" | "bat" | "cmd" | "md" | "rst" | "txt" | "j2" | "tfvars")
        || !name.contains('.')
}

const GENERATED_NAMES: [&str; 14] = [
    "package-lock.json",
    "npm-shrinkwrap.json",
    "pnpm-lock.yaml",
    "yarn.lock",
    "cargo.lock",
    "poetry.lock",
    "uv.lock",
    "pipfile.lock",
    "pdm.lock",
    "go.sum",
    "composer.lock",
    "gemfile.lock",
    ".cargo_vcs_info.json",
    ".cargo-checksum.json",
];
const GENERATED_EXTENSIONS: [&str; 10] =
    ["lock", "sum", "map", "svg", "sha1", "sha256", "sha512", "md5", "css", "snap"];
const TEST_FOLDERS: [&str; 18] = [
    "test",
    "tests",
    "testing",
    "testdata",
    "test_data",
    "test-data",
    "spec",
    "specs",
    "fixture",
    "fixtures",
    "mock",
    "mocks",
    "__tests__",
    "__mocks__",
    "bench",
    "benches",
    "cassettes",
    "e2e",
];
const CONFIG_EXTENSIONS: [&str; 19] = [
    "env",
    "ini",
    "cfg",
    "conf",
    "config",
    "cnf",
    "properties",
    "yaml",
    "yml",
    "toml",
    "json",
    "json5",
    "xml",
    "plist",
    "tf",
    "tfvars",
    "npmrc",
    "pypirc",
    "netrc",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_tell_their_kind() {
        for (path, place) in [
            ("Cargo.lock", Place::Generated),
            ("web/app.min.js", Place::Generated),
            ("django/conf/locale/de/x.py", Place::Translation),
            ("tests/keys/a.pem", Place::Test),
            ("src/thing_test.go", Place::Test),
            ("docs/usage.rst", Place::Docs),
            ("config/app.env.example", Place::Docs),
            ("deploy/app.yaml", Place::Config),
            (".env", Place::Config),
            ("src/main.rs", Place::Source),
            ("latest/contest.py", Place::Source),
        ] {
            assert_eq!(Place::of(path), place, "{path}");
        }
    }
}
