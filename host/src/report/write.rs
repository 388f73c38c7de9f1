//! Puts the three files into the output directory. Each appears whole or not at all: it is written beside its place and
//! renamed into it.
#![allow(clippy::disallowed_methods, reason = "this file is meant to touch the file system: it writes the report")]

use super::{Report, html, markdown, sarif};
use crate::exit::Trouble;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::thread::ScopedJoinHandle;
use tempfile::NamedTempFile;

/// The files that were written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// For people with a browser.
    pub html: PathBuf,
    /// For people without.
    pub markdown: PathBuf,
    /// For programs.
    pub sarif: PathBuf,
}

/// Create `dir` if it does not exist, before anything is spent on a run whose report could not be written.
pub fn prepare(dir: &Path) -> Result<(), Trouble> {
    let probe = || -> io::Result<()> {
        fs::create_dir_all(dir)?;
        NamedTempFile::new_in(dir).map(drop)
    };
    probe().map_err(|error| trouble(dir, &error))
}

/// Write `report` into `dir`.
pub fn write(report: &Report, dir: &Path) -> Result<Written, Trouble> {
    let html = html::render(report).map_err(|error| trouble(dir, &io::Error::other(error)))?;
    let sarif = sarif::render(report).map_err(|error| trouble(dir, &error.into()))?;
    let place = |name: &str, text: &str| whole(dir, name, text).map_err(|error| trouble(&dir.join(name), &error));
    // Each waits for the disk; together they wait once.
    let (html, sarif, markdown) = std::thread::scope(|beside| {
        let html = beside.spawn(|| place("report.html", &html));
        let sarif = beside.spawn(|| place("findings.sarif", &sarif));
        let markdown = place("report.md", &markdown::render(report));
        (joined(html), joined(sarif), markdown)
    });
    Ok(Written { html: html?, markdown: markdown?, sarif: sarif? })
}

/// What a thread came to; its panic goes on here.
fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn whole(dir: &Path, name: &str, text: &str) -> io::Result<PathBuf> {
    let path = dir.join(name);
    let mut file = NamedTempFile::new_in(dir)?;
    file.write_all(text.as_bytes())?;
    // A report is for others too; a temporary file is made for its owner alone.
    file.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
    file.as_file().sync_data()?;
    file.persist(&path).map_err(|error| error.error)?;
    Ok(path)
}

fn trouble(path: &Path, error: &io::Error) -> Trouble {
    let next = match error.kind() {
        io::ErrorKind::StorageFull => "free some space, or write elsewhere with --out DIR",
        _ => "write elsewhere with --out DIR",
    };
    Trouble::failed(format!("the report cannot be written to {}", path.display()), error, next)
}

#[cfg(test)]
mod tests {
    use super::super::tests::sample;
    use super::*;

    #[test]
    fn three_whole_files_and_no_leftovers() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("a/b");
        prepare(&dir).unwrap();
        fs::write(dir.join("report.md"), "old").unwrap();
        let written = write(&sample(), &dir).unwrap();
        let mut names: Vec<_> = fs::read_dir(&dir).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["findings.sarif", "report.html", "report.md"]);
        assert!(fs::read_to_string(written.markdown).unwrap().starts_with("# audit"));
    }

    #[test]
    fn a_directory_that_cannot_be_is_named_before_the_run() {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("file"), "").unwrap();
        let trouble = prepare(&temp.path().join("file/out")).unwrap_err();
        assert!(trouble.what.contains("file/out") && trouble.next.contains("--out"), "{trouble:?}");
    }
}
