//! Which files there are. One answer of `files.glob` holds some 50,000 paths; a longer list is asked for in parts, each of which begins
//! where the one before it ended.

use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use vespiary_sdk::dispatch;
use vespiary_sdk::{Error, Result};

/// Paths asked for at once. As a rule an answer is full of bytes before it has so many.
const LISTED_MAX: usize = 250_000;

#[derive(Serialize)]
struct Glob<'a> {
    patterns: &'a [String],
    path: &'a str,
    ignore: bool,
    limit: usize,
}

#[derive(Deserialize)]
struct Listing {
    entries: Vec<Listed>,
    #[serde(default)]
    truncated: bool,
}

/// A file.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Listed {
    pub(crate) path: String,
    kind: String,
    /// Its bytes.
    #[serde(default)]
    pub(crate) size: u64,
}

/// Files of the project that match one of `patterns` and that version control does not ignore, in order of path.
///
/// # Errors
/// What `files.glob` answered; `Failed` where there are more than one answer holds.
pub(crate) fn in_project(patterns: &[&str]) -> Result<Vec<String>> {
    let patterns: Vec<String> = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
    let listing = glob(&patterns, ".", true)?;
    if listing.truncated {
        let listed = listing.entries.len();
        return Err(Error::failed(format!("more than {listed} lock files: name those that matter in context.files")));
    }
    let mut paths: Vec<String> = listing.entries.into_iter().map(|entry| entry.path).collect();
    paths.sort_unstable();
    Ok(paths)
}

/// Every file below the folder `start`, in its plain form, whose path ends with `ending`, in order of path.
///
/// # Errors
/// What `files.glob` answered; `Failed` where the list cannot be gone on with.
pub(crate) fn below(start: &str, ending: &str) -> Result<Vec<Listed>> {
    let mut files = Vec::new();
    let mut reached: Option<String> = None;
    let mut patterns = vec![format!("**/*{ending}")];
    loop {
        let Listing { entries, truncated } = glob(&patterns, start, false)?;
        let is_new = |path: &str| reached.as_deref().is_none_or(|reached| met(path, reached) == Ordering::Greater);
        let new: Vec<Listed> = entries.into_iter().filter(|entry| is_new(&entry.path)).collect();
        let last = new.iter().map(|entry| &entry.path).max_by(|a, b| met(a, b)).cloned();
        files.extend(new.into_iter().filter(|entry| entry.path.ends_with(ending)));
        if !truncated {
            break;
        }
        let from_start = last.as_deref().and_then(|last| match start {
            "." => Some(last),
            start => last.strip_prefix(start)?.strip_prefix('/'),
        });
        let Some(from_start) = from_start else {
            return Err(Error::failed(format!(
                "more than {} files under {start}: name a smaller folder, or one file that holds them all",
                files.len()
            )));
        };
        patterns = after(from_start);
        reached = last;
    }
    files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn glob(patterns: &[String], path: &str, ignore: bool) -> Result<Listing> {
    let mut listing: Listing = dispatch::call("files.glob", &Glob { patterns, path, ignore, limit: LISTED_MAX })?;
    listing.entries.retain(|entry| entry.kind == "file");
    Ok(listing)
}

/// Which of two paths a walk meets first: directory by directory, names in the order of their bytes.
fn met(a: &str, b: &str) -> Ordering {
    a.split('/').cmp(b.split('/'))
}

/// Patterns for the files that a walk meets after the one at `path`: at each place, the same text before it and a greater character in it.
/// They may match a few files before it as well, where names hold more than ASCII.
fn after(path: &str) -> Vec<String> {
    let mut patterns = Vec::new();
    let mut same = String::new();
    for c in path.chars() {
        let greater = match c {
            // A name that goes on where the directory's ends.
            '/' => "?".to_owned(),
            // A class ends at its first `]`, unless it begins with it.
            ']' => "[!] -\\/]".to_owned(),
            ' '..='~' => format!("[! -{c}/]"),
            '\0'..' ' => "[!/]".to_owned(),
            _ => "[! -~/]".to_owned(),
        };
        // Files, and all that is below directories. The slash in it ties the pattern to where the walk begins.
        patterns.push(format!("{same}{greater}{{*,*/**}}"));
        match c {
            '[' | ']' | '{' | '}' | '*' | '?' | '\\' => same.extend(['[', c, ']']),
            plain => same.push(plain),
        }
    }
    patterns.push(format!("{same}?{{*,*/**}}"));
    patterns
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::served::{ANSWER_FILES_MAX, serve};

    #[test]
    fn a_list_goes_on_past_what_one_answer_holds() {
        let mut paths: Vec<String> =
            (0..ANSWER_FILES_MAX * 3).map(|n| format!("osv/npm/MAL-2024-{n:04}.json")).collect();
        // Names that lie beside, within and behind one another, and what is no record.
        for name in [
            "a.json",
            "a/b.json",
            "a-b.json",
            "npm.json",
            "npm/sub/x.json",
            "npm/MAL-2024.json",
            "npm/Z.txt",
            "z/z/z.json",
        ] {
            paths.push(format!("osv/{name}"));
        }
        for n in 0..ANSWER_FILES_MAX * 2 {
            paths.push(format!("osv/PyPI/PYSEC-{n}.json"));
            paths.push(format!("elsewhere/{n}.json"));
        }
        let files: Vec<(&str, &str)> = paths.iter().map(|path| (path.as_str(), "{}")).collect();
        serve(&files);
        let mut wanted: Vec<&str> = paths
            .iter()
            .map(String::as_str)
            .filter(|path| path.starts_with("osv/") && path.ends_with(".json"))
            .collect();
        wanted.sort_unstable();
        let found = below("osv", ".json").unwrap();
        assert_eq!(found.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), wanted);
        assert_eq!(found[0].size, 2);
    }

    #[test]
    fn what_cannot_be_gone_on_with_says_how_much_it_saw() {
        let paths: Vec<String> = (0..=ANSWER_FILES_MAX).map(|n| format!("{n}/go.mod")).collect();
        serve(&paths.iter().map(|path| (path.as_str(), "")).collect::<Vec<_>>());
        let error = in_project(&["**/go.mod"]).unwrap_err().to_string();
        assert!(error.contains(&format!("more than {ANSWER_FILES_MAX} lock files")), "{error}");
    }
}
