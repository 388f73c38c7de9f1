//! What was built, with what, and its digest: `BUILD.toml` beside the components. What must never live here: building.
#![allow(clippy::disallowed_methods, reason = "reads and writes the record")]

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::Path;

const FILE_NAME: &str = "BUILD.toml";

const HEADER: &str =
    "# Written by `cargo xtask guests`; `cargo xtask guests --check` compares. The same sources and the same
# toolchain give the same bytes, wherever they are built.

";

/// The record of one folder of components.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    #[serde(default)]
    pub(crate) components: BTreeMap<String, Built>,
}

/// One component as it was built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Built {
    /// Lower-case hex SHA-256 of the component.
    pub(crate) sha256: String,
    /// Its size in bytes.
    pub(crate) bytes: u64,
    /// The toolchain that made it.
    pub(crate) toolchain: String,
}

/// How a fresh build compares with the record.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    /// The same bytes.
    Same,
    /// Other bytes from the same toolchain: the record or the component is stale.
    Stale,
    /// Made by another toolchain, so the bytes say nothing.
    OtherToolchain,
    /// Never recorded.
    Unrecorded,
    /// The file beside the record is not what the record says.
    Tampered,
}

impl Built {
    pub(crate) fn of(component: &[u8], toolchain: &str) -> Self {
        let digest = Sha256::digest(component);
        let sha256 = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        Self { sha256, bytes: component.len() as u64, toolchain: toolchain.to_owned() }
    }
}

impl Record {
    /// The record of a folder; an empty one where there is none yet.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE_NAME);
        match std::fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text)
                .with_context(|| format!("{} is damaged; delete it and build anew", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        let path = folder.join(FILE_NAME);
        let text = format!("{HEADER}{}", toml::to_string(self)?);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Compares a fresh build with what is recorded and with the component kept in `folder`.
    pub(crate) fn compare(&self, folder: &Path, name: &str, fresh: &Built) -> Comparison {
        let Some(recorded) = self.components.get(name) else { return Comparison::Unrecorded };
        let kept = std::fs::read(folder.join(format!("{name}.wasm"))).unwrap_or_default();
        if Built::of(&kept, "").sha256 != recorded.sha256 {
            Comparison::Tampered
        } else if recorded.sha256 == fresh.sha256 {
            Comparison::Same
        } else if recorded.toolchain == fresh.toolchain {
            Comparison::Stale
        } else {
            Comparison::OtherToolchain
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_with(component: &[u8]) -> (tempfile::TempDir, Record) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("echo.wasm"), component).unwrap();
        let components = BTreeMap::from([("echo".to_owned(), Built::of(component, "rustc 1"))]);
        (folder, Record { components })
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let (folder, record) = folder_with(b"abc");
        record.write(folder.path()).unwrap();
        assert_eq!(Record::read(folder.path()).unwrap(), record);
        let sha256 = &record.components["echo"].sha256;
        assert_eq!(sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(Record::read(&folder.path().join("none")).unwrap(), Record::default());
    }

    #[test]
    fn a_damaged_record_says_so() {
        let (folder, _) = folder_with(b"abc");
        std::fs::write(folder.path().join(FILE_NAME), "components = 1").unwrap();
        assert!(Record::read(folder.path()).unwrap_err().to_string().contains("is damaged"));
    }

    #[test]
    fn comparison_tells_stale_from_other_toolchain() {
        let (folder, record) = folder_with(b"abc");
        let compare = |name, bytes, toolchain| record.compare(folder.path(), name, &Built::of(bytes, toolchain));
        assert_eq!(compare("echo", b"abc", "rustc 2"), Comparison::Same);
        assert_eq!(compare("echo", b"abd", "rustc 1"), Comparison::Stale);
        assert_eq!(compare("echo", b"abd", "rustc 2"), Comparison::OtherToolchain);
        assert_eq!(compare("other", b"abc", "rustc 1"), Comparison::Unrecorded);
        std::fs::write(folder.path().join("echo.wasm"), b"abd").unwrap();
        assert_eq!(compare("echo", b"abd", "rustc 1"), Comparison::Tampered);
    }
}
