//! Lock files: which ones there are, and what all of them say in common.
//!
//! Each format has a file of its own below. They turn text into [`Package`]s with lines; none of them judges.

mod address;
mod cargo;
pub(crate) mod go;
mod npm;
mod pnpm;
mod python;
mod requirements;
mod yarn;

use crate::shown::shown;
use crate::version::Ecosystem;

/// One entry of a lock file. Its name and version hold no credentials, its source may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Package {
    pub(crate) ecosystem: Ecosystem,
    pub(crate) name: String,
    /// The one version it is locked to, where it is locked to one.
    pub(crate) version: Option<String>,
    /// Line of the entry, from 1.
    pub(crate) line: u32,
    pub(crate) source: Source,
    pub(crate) integrity: Integrity,
    /// Needed for development or tests only, where the format says so.
    pub(crate) dev: bool,
}

/// Where an entry is fetched from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// A package registry.
    Registry,
    /// A Git repository.
    Git(String),
    /// An archive at an address.
    Url(String),
    /// A folder: the project's own code.
    Path,
}

/// Whether an entry says what its content must hash to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Integrity {
    Present,
    Missing,
    /// This kind of entry has no hash in this format.
    NotExpected,
}

/// A file that is not what its name says.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum ParseError {
    /// Not TOML of the expected shape.
    #[error("not a readable TOML lock file: {0}")]
    Toml(String),
    /// Not JSON of the expected shape.
    #[error("not a readable JSON lock file: {0}")]
    Json(String),
    /// A version of the format that this reader does not know.
    #[error("format version {0} is not known here")]
    Version(String),
}

// What a parser says may quote the file, addresses and all.
impl ParseError {
    fn toml(text: &str, error: &toml::de::Error) -> Self {
        let line = error.span().map_or(1, |span| Lines::of(text).at(span.start));
        Self::Toml(format!("line {line}: {}", shown(error.message())))
    }

    fn json(error: &serde_json::Error) -> Self {
        Self::Json(shown(&error.to_string()))
    }
}

/// The formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Cargo,
    Npm,
    Yarn,
    Pnpm,
    Requirements,
    Poetry,
    Uv,
    Pdm,
    Pipfile,
    GoMod,
    GoSum,
}

/// Patterns that find every lock file in a tree.
pub(crate) const PATTERNS: [&str; 13] = [
    "**/Cargo.lock",
    "**/package-lock.json",
    "**/npm-shrinkwrap.json",
    "**/yarn.lock",
    "**/pnpm-lock.yaml",
    "**/*requirements*.txt",
    "**/requirements/*.txt",
    "**/poetry.lock",
    "**/uv.lock",
    "**/pdm.lock",
    "**/Pipfile.lock",
    "**/go.mod",
    "**/go.sum",
];

impl Format {
    /// The format of a file, by its name.
    pub(crate) fn of(path: &str) -> Option<Self> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        Some(match name {
            "Cargo.lock" => Self::Cargo,
            "package-lock.json" | "npm-shrinkwrap.json" => Self::Npm,
            "yarn.lock" => Self::Yarn,
            "pnpm-lock.yaml" => Self::Pnpm,
            "poetry.lock" => Self::Poetry,
            "uv.lock" => Self::Uv,
            "pdm.lock" => Self::Pdm,
            "Pipfile.lock" => Self::Pipfile,
            "go.mod" => Self::GoMod,
            "go.sum" => Self::GoSum,
            _ if name.ends_with(".txt")
                && (name.contains("requirements") || folder.rsplit('/').next() == Some("requirements")) =>
            {
                Self::Requirements
            }
            _ => return None,
        })
    }

    /// The entries of a file of this format, in the order of their lines.
    ///
    /// # Errors
    /// [`ParseError`] where the text is not of this format.
    pub(crate) fn parse(self, text: &str) -> Result<Vec<Package>, ParseError> {
        let mut packages = match self {
            Self::Cargo => cargo::parse(text)?,
            Self::Npm => npm::parse(text)?,
            Self::Yarn => yarn::parse(text),
            Self::Pnpm => pnpm::parse(text),
            Self::Requirements => requirements::parse(text),
            Self::Poetry | Self::Uv | Self::Pdm => python::parse_toml(text)?,
            Self::Pipfile => python::parse_pipfile(text)?,
            Self::GoMod => go::parse_mod(text),
            Self::GoSum => go::parse_sum(text),
        };
        packages.sort_by_key(|package| package.line);
        for package in &mut packages {
            // An entry without a name of its own is named by its address.
            package.name = shown(&package.name);
            package.version = package.version.as_deref().map(shown);
        }
        Ok(packages)
    }
}

/// Turns byte offsets of a text into lines.
pub(crate) struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub(crate) fn of(text: &'a str) -> Self {
        let newlines = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self { text, starts: std::iter::once(0).chain(newlines).collect() }
    }

    /// The line, from 1, that the byte at `offset` is on.
    pub(crate) fn at(&self, offset: usize) -> u32 {
        self.starts.partition_point(|&start| start <= offset) as u32
    }

    /// The line that `part`, a slice of the text, begins on. A slice of anything else is on line 1.
    pub(crate) fn of_part(&self, part: &str) -> u32 {
        let offset =
            (part.as_ptr() as usize).checked_sub(self.text.as_ptr() as usize).filter(|&at| at <= self.text.len());
        offset.map_or(1, |at| self.at(at))
    }

    /// The text of a line, from 1, without its end.
    pub(crate) fn text(&self, line: u32) -> &'a str {
        let Some(index) = (line as usize).checked_sub(1).filter(|&index| index < self.starts.len()) else { return "" };
        let end = self.starts.get(index + 1).map_or(self.text.len(), |next| next - 1);
        self.text[self.starts[index]..end].trim_end_matches('\r')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_formats() {
        for (path, format) in [
            ("a/Cargo.lock", Some(Format::Cargo)),
            ("npm-shrinkwrap.json", Some(Format::Npm)),
            ("requirements.txt", Some(Format::Requirements)),
            ("dev-requirements.txt", Some(Format::Requirements)),
            ("requirements/base.txt", Some(Format::Requirements)),
            ("notes.txt", None),
            ("Cargo.toml", None),
        ] {
            assert_eq!(Format::of(path), format, "{path}");
        }
    }

    #[test]
    fn offsets_and_parts_have_lines() {
        let text = "a\nbc\r\n\nd";
        let lines = Lines::of(text);
        assert_eq!([0, 1, 2, 6, 7].map(|at| lines.at(at)), [1, 1, 2, 3, 4]);
        assert_eq!(lines.of_part(&text[3..4]), 2);
        assert_eq!((lines.text(2), lines.text(3), lines.text(4), lines.text(9)), ("bc", "", "d", ""));
    }

    #[test]
    fn no_name_and_no_version_holds_credentials() {
        for (path, text) in [
            (
                "requirements.txt",
                "git+https://x-access-token:S3cret@git.invalid/org/repo.git@v1.0\n-e git+https://bot:S3cret@git.invalid/x.git\nhttps://bot:S3cret@files.invalid/a-1.0.whl\nb @ https://bot:S3cret@files.invalid/b.whl\n",
            ),
            (
                "pnpm-lock.yaml",
                "packages:\n\n  lib@https://bot:S3cret@npm.invalid/lib.tgz:\n    resolution: {tarball: https://bot:S3cret@npm.invalid/lib.tgz}\n\n  '@bot:S3cret@npm.invalid/x.tgz':\n    resolution: {tarball: x}\n\n  '@S3cret@npm.invalid/x.tgz':\n    resolution: {tarball: x}\n",
            ),
            (
                "yarn.lock",
                "\"https://bot:S3cret@npm.invalid/a.tgz\":\n  version \"1.0.0\"\n  resolved \"https://bot:S3cret@npm.invalid/a.tgz\"\n\n\"b@https://bot:S3cret@npm.invalid/b.tgz\":\n  version: 1.0.0\n  resolution: \"b@https://bot:S3cret@npm.invalid/b.tgz\"\n",
            ),
            (
                "package-lock.json",
                "{\"lockfileVersion\": 1, \"dependencies\": {\"a\": {\"version\": \"https://bot:S3cret@npm.invalid/a.tgz\"}, \"b\": {\"version\": \"git+https://S3cret@git.invalid/b.git\"}}}",
            ),
            (
                "Cargo.lock",
                "[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nsource = \"git+https://bot:S3cret@git.invalid/a\"\n",
            ),
            (
                "poetry.lock",
                "[[package]]\nname = \"a\"\nversion = \"1.0\"\n[package.source]\ntype = \"git\"\nurl = \"https://bot:S3cret@git.invalid/a\"\n",
            ),
            ("Pipfile.lock", "{\"default\": {\"a\": {\"git\": \"https://bot:S3cret@git.invalid/a\"}}}"),
        ] {
            let packages = Format::of(path).unwrap().parse(text).unwrap();
            assert!(!packages.is_empty());
            for package in packages {
                let said =
                    format!("{} {:?} {}", package.name, package.version, crate::finding::origin(&package.source));
                assert!(!said.contains("S3cret"), "{path}: {said}");
            }
        }
    }

    #[test]
    fn what_a_parser_says_holds_no_credentials() {
        for (path, text) in [
            ("Cargo.lock", "package = \"https://bot:S3cret@git.invalid/a\"\n"),
            ("poetry.lock", "[[package]]\nname = \"a\"\nsource = \"https://bot:S3cret@git.invalid/a\"\n"),
            ("package-lock.json", "{\"packages\": \"https://bot:S3cret@npm.invalid/a\"}"),
            ("Pipfile.lock", "{\"default\": {\"a\": \"https://bot:S3cret@git.invalid/a\"}}"),
        ] {
            let error = Format::of(path).unwrap().parse(text).unwrap_err().to_string();
            assert!(!error.contains("S3cret"), "{path}: {error}");
        }
    }
}
