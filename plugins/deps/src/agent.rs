//! The agent: a task in, findings or a verdict out. Shapes, and the order of the work.

use crate::finding::Finding;
use crate::listing;
use crate::lock::{Format, PATTERNS};
use crate::osv::Advisory;
use crate::refute::{self, Claim, Refutation};
use crate::scan::{self, LockFile};
use crate::source;
use vespiary_sdk::prelude::*;
use vespiary_sdk::report;

/// What to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Read lock files and match them with advisories.
    #[default]
    Scan,
    /// Try to refute `finding`.
    Refute,
}

/// What to do it to.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct Context {
    /// `scan` (the default) or `refute`.
    #[serde(default)]
    pub mode: Mode,
    /// Files; those that are no lock files are passed over. Without this, lock files are looked for in the whole project.
    #[serde(default)]
    pub files: Option<Vec<String>>,
    /// Advisories in OSV form, by path: a folder of `.json` files, or one file with an array of records or one record a line.
    #[serde(default)]
    pub advisories: Option<String>,
    /// For `refute`: the finding, as a scan gave it.
    #[serde(default)]
    pub finding: Option<Claim>,
}

/// The answer, in one of two shapes.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Answer {
    /// To `scan`.
    Scan(Report),
    /// To `refute`.
    Refute(Refutation),
}

/// What a scan found.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Report {
    /// By file in the order of paths, then by line.
    pub findings: Vec<Finding>,
    /// Lock files read.
    pub scanned: usize,
    /// Entries in them.
    pub packages: usize,
    /// Lock files not read.
    pub skipped: Vec<Skipped>,
    /// Which advisories the findings rest on.
    pub advisories: Advisories,
}

/// A lock file that was not read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Skipped {
    /// The file.
    pub path: String,
    /// Why.
    pub reason: String,
}

/// What was known about flaws.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Advisories {
    /// Whether a path was given. Without one, no version was compared with any advisory.
    pub given: bool,
    /// Records there are.
    pub records: usize,
    /// Of these, those that could not be read.
    pub unreadable: usize,
    /// Records about a package of these lock files.
    pub concerned: usize,
    /// The same in a sentence.
    pub note: String,
}

/// Reads lock files (Cargo, npm, yarn, pnpm, pip, poetry, uv, pdm, Pipenv, Go) and reports versions with known flaws, by the advisories
/// it is given, and entries that are not pinned, not hashed or not from a registry. With mode `refute` it takes a second look at one finding.
#[agent]
pub fn deps(task: Task<Context>) -> Result<Answer> {
    let context = task.context;
    match context.mode {
        Mode::Scan => scan(context).map(Answer::Scan),
        Mode::Refute => {
            let claim = context.finding.ok_or_else(|| {
                Error::invalid(
                    "mode `refute` needs `finding`: pass one entry of a scan's `findings` as context.finding",
                )
            })?;
            refute::refute(&claim, context.advisories.as_deref()).map(Answer::Refute)
        }
    }
}

fn scan(context: Context) -> Result<Report> {
    let mut paths = match context.files {
        Some(files) => files,
        None => listing::in_project(&PATTERNS)?,
    };
    paths.retain(|path| Format::of(path).is_some());
    paths.sort_unstable();
    paths.dedup();
    let (files, skipped) = read(paths)?;
    let names = scan::names(&files);
    let mut concerned: Vec<Advisory> = Vec::new();
    let (mut records, mut unreadable) = (0, 0);
    // Without a package there is nothing to look up.
    if let (Some(path), false) = (&context.advisories, names.is_empty()) {
        (records, unreadable) = source::advisories(path, |advisory| {
            if scan::concerns(&advisory, &names) {
                concerned.push(advisory);
            }
        })?;
    }
    let given = context.advisories.is_some();
    let mut told = Advisories { given, records, unreadable, concerned: concerned.len(), note: String::new() };
    told.note = told.sentence(context.advisories.as_deref(), names.is_empty());
    Ok(Report {
        findings: scan::findings(&files, &concerned),
        scanned: files.len(),
        packages: files.iter().map(|file| file.packages.len()).sum(),
        skipped,
        advisories: told,
    })
}

impl Advisories {
    /// What was read from `path`, in words.
    fn sentence(&self, path: Option<&str>, nothing_to_look_up: bool) -> String {
        const SILENT: &str = "nothing is said about known flaws";
        let (records, unreadable) = (self.records, self.unreadable);
        match path {
            None => {
                format!("No advisories were given: {SILENT}. Pass the path of an OSV export as context.advisories.")
            }
            Some(_) if nothing_to_look_up => "No packages were found, so no advisories were read.".to_owned(),
            Some(path) if records == 0 => format!("{path} holds no records: {SILENT}."),
            Some(path) if records == unreadable => {
                format!("None of the {records} records in {path} could be read: {SILENT}.")
            }
            Some(path) => {
                let read = records - unreadable;
                let lost =
                    if unreadable == 0 { String::new() } else { format!("; {unreadable} more could not be read") };
                format!(
                    "{read} records read from {path}, {} of them about packages of these files{lost}.",
                    self.concerned
                )
            }
        }
    }
}

fn read(paths: Vec<String>) -> Result<(Vec<LockFile>, Vec<Skipped>)> {
    let mut files = Vec::new();
    let mut skipped = Vec::new();
    let total = paths.len() as u64;
    for (done, path) in paths.into_iter().enumerate() {
        report::progress(done as u64, Some(total), &path);
        let Some(format) = Format::of(&path) else { continue };
        let text = match source::whole(&path) {
            Ok(text) => text,
            Err(error @ (Error::Cancelled | Error::Limit(_))) => return Err(error),
            Err(error) => {
                skipped.push(Skipped { path, reason: error.to_string() });
                continue;
            }
        };
        match format.parse(&text) {
            Ok(packages) => files.push(LockFile { path, format, text, packages }),
            Err(error) => skipped.push(Skipped { path, reason: error.to_string() }),
        }
    }
    Ok((files, skipped))
}

vespiary_sdk::agent_plugin!(deps);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::served::serve;
    use serde_json::{Value, json};
    use vespiary_sdk::agent::{Agent, RawTask};

    const LOCK: &str = include_str!("../tests/fixtures/Cargo.v4.lock");
    const RECORD: &str = "{\"id\": \"RUSTSEC-1\", \"summary\": \"A flaw\", \"affected\": [{\"package\": {\"ecosystem\": \"crates.io\", \"name\": \"smallvec\"}, \"ranges\": [{\"type\": \"SEMVER\", \"events\": [{\"introduced\": \"0\"}, {\"fixed\": \"1.6.1\"}]}]}]}";

    fn run(context: Value) -> Result<Value> {
        let task = RawTask { prompt: String::new(), context: context.to_string(), schema: None };
        <deps as Agent>::ENTRY.run(task).map(|answer| serde_json::from_str(&answer).unwrap())
    }

    #[test]
    fn a_finding_goes_from_scan_to_refutation() {
        serve(&[("sub/Cargo.lock", LOCK), ("yarn.lock", ""), ("osv/1.json", RECORD), ("package-lock.json", "{")]);
        let report = run(json!({"advisories": "osv"})).unwrap();
        assert_eq!((report["scanned"].as_u64(), report["packages"].as_u64()), (Some(2), Some(4)));
        assert_eq!(report["skipped"][0]["path"], "package-lock.json");
        assert_eq!(report["advisories"]["concerned"], 1);
        let finding =
            report["findings"].as_array().unwrap().iter().find(|f| f["rule"] == "vulnerable-dependency").unwrap();
        assert_eq!((finding["path"].as_str(), finding["line"].as_u64()), (Some("sub/Cargo.lock"), Some(19)));
        let verdict = run(json!({"mode": "refute", "finding": finding, "advisories": "osv"})).unwrap();
        assert_eq!(verdict["verdict"], "confirmed", "{verdict}");
    }

    #[test]
    fn without_advisories_it_says_so() {
        serve(&[("Cargo.lock", LOCK)]);
        let report = run(json!({"files": ["Cargo.lock", "src/main.rs", "gone/go.sum"]})).unwrap();
        assert_eq!(report["advisories"]["given"], false);
        assert!(report["advisories"]["note"].as_str().unwrap().starts_with("No advisories were given"));
        assert_eq!(report["skipped"][0]["path"], "gone/go.sum");
        assert!(report["findings"].as_array().unwrap().iter().all(|f| f["rule"] != "vulnerable-dependency"));
    }

    #[test]
    fn advisories_that_cannot_be_read_are_told() {
        let note = |files: &[(&str, &str)]| {
            serve(&[&[("Cargo.lock", LOCK)], files].concat());
            run(json!({"advisories": "osv"})).unwrap()["advisories"].clone()
        };
        let none = note(&[("osv/1.json", "{\"id\": 1}"), ("osv/2.json", "<<")]);
        assert_eq!((&none["records"], &none["unreadable"]), (&json!(2), &json!(2)));
        assert!(
            none["note"].as_str().unwrap().starts_with("None of the 2 records in osv could be read: nothing is said")
        );
        let some = note(&[("osv/1.json", RECORD), ("osv/2.json", "<<")]);
        let said = "1 records read from osv, 1 of them about packages of these files; 1 more could not be read.";
        assert_eq!(some["note"], said);
        // A record with nothing in its optional fields is a record.
        let null = RECORD.replacen('{', "{\"aliases\": null, \"severity\": null, ", 1);
        assert_eq!(note(&[("osv/1.json", &null)])["concerned"], 1);
    }

    #[test]
    fn a_lock_file_is_found_by_its_folder_and_read_with_its_mark() {
        serve(&[
            ("requirements/base.txt", "\u{FEFF}django==3.2.0\n"),
            ("sub/requirements/dev.txt", "flask==1.0\n"),
            (
                "Pipfile.lock",
                "\u{FEFF}{\"default\": {\"django\": {\"version\": \"==3.2\", \"hashes\": [\"sha256:0\"]}}}",
            ),
            ("notes/base.txt", "not==1.0\n"),
        ]);
        let report = run(json!({})).unwrap();
        assert_eq!((&report["scanned"], &report["packages"], &report["skipped"]), (&json!(3), &json!(3), &json!([])));
    }

    #[test]
    fn a_missing_export_is_an_error_that_names_it() {
        serve(&[("Cargo.lock", LOCK)]);
        assert!(
            matches!(run(json!({"advisories": "gone"})), Err(Error::NotFound(why)) if why.contains("context.advisories"))
        );
        assert!(matches!(run(json!({"mode": "refute"})), Err(Error::InvalidArguments(_))));
    }
}
