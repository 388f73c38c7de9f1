//! Runs and what they left, as resources. Read from the record alone; a report is made again from it each time.
//!
//! | URI | what it is |
//! |---|---|
//! | `vespiary://runs` | the latest runs over this project |
//! | `vespiary://runs/RUN` | one run: how it ended, its agents, its calls, its gates |
//! | `vespiary://runs/RUN/result.json` | what its script returned |
//! | `vespiary://runs/RUN/report.md`, `report.html`, `findings.sarif` | its report |
//! | `vespiary://runs/RUN/artifacts/SHA256` | a file that it left |

use crate::exit::Trouble;
use crate::mcp::account::Account;
use crate::mcp::nest::Nest;
use crate::report::{recorded, timestamp};
use crate::terminal::clipped;
use base64::Engine as _;
use rmcp::model::{Resource, ResourceContents, ResourceTemplate};
use serde_json::{Value, json};
use vespiary_kernel::ids::{Digest, RunId};
use vespiary_ledger::reader::{Reader, RunSummary};

/// Where all of them begin.
const BASE: &str = "vespiary://runs";

/// Runs that are listed, newest first, among as many as are looked through.
const LISTED_MAX: usize = 200;
const LOOKED_AT_MAX: usize = 2_000;

/// The largest resource, bytes; a larger one is taken with `vespiary runs export`.
const BYTES_MAX: usize = 8 << 20;

/// What a URI names.
#[derive(Debug, PartialEq, Eq)]
enum Named {
    Runs,
    Run(RunId),
    File(RunId, &'static str, &'static str),
    Result(RunId),
    Artifact(RunId, Digest),
}

impl Named {
    fn parse(uri: &str) -> Option<Self> {
        let rest = uri.strip_prefix(BASE)?;
        if rest.is_empty() {
            return Some(Self::Runs);
        }
        let (run, rest) = match rest.strip_prefix('/')?.split_once('/') {
            Some((run, rest)) => (run, Some(rest)),
            None => (rest.strip_prefix('/')?, None),
        };
        let run = run.parse().ok()?;
        Some(match rest {
            None => Self::Run(run),
            Some("result.json") => Self::Result(run),
            Some("report.md") => Self::File(run, "report.md", "text/markdown"),
            Some("report.html") => Self::File(run, "report.html", "text/html"),
            Some("findings.sarif") => Self::File(run, "findings.sarif", "application/sarif+json"),
            Some(rest) => Self::Artifact(run, rest.strip_prefix("artifacts/")?.parse().ok()?),
        })
    }
}

/// All that are listed.
///
/// # Errors
/// The record cannot be read.
pub fn list(nest: &Nest) -> Result<Vec<Resource>, Trouble> {
    let runs = Resource::new(BASE, "runs")
        .with_title("Runs")
        .with_description("the latest runs over this project, newest first")
        .with_mime_type("application/json");
    let each = of_project(nest)?.into_iter().map(|run| {
        let ended = format!("{}, started {}", run.status.as_str(), started(&run));
        Resource::new(format!("{BASE}/{}", run.id), run.id.to_string())
            .with_title(clipped(&run.title, 100))
            .with_description(ended)
            .with_mime_type("application/json")
    });
    Ok(std::iter::once(runs).chain(each).collect())
}

/// The shapes of those that are not listed one by one.
pub fn templates() -> Vec<ResourceTemplate> {
    let all = [
        ("{run}", "run", "one run: how it stands, its agents, its cost, its gates", "application/json"),
        ("{run}/result.json", "result", "what a run's script returned, whole", "application/json"),
        ("{run}/report.md", "report", "a run's report", "text/markdown"),
        ("{run}/report.html", "html-report", "a run's report as one page", "text/html"),
        ("{run}/findings.sarif", "sarif", "a run's findings as SARIF 2.1.0", "application/sarif+json"),
        ("{run}/artifacts/{sha256}", "artifact", "a file that a run left", "application/octet-stream"),
    ];
    all.into_iter()
        .map(|(rest, name, what, media)| {
            ResourceTemplate::new(format!("{BASE}/{rest}"), name).with_description(what).with_mime_type(media)
        })
        .collect()
}

/// The resource at `uri`. None: there is no such.
///
/// # Errors
/// There is one, and it cannot be had.
pub fn read(nest: &Nest, uri: &str) -> Result<Option<ResourceContents>, Trouble> {
    let Some(named) = Named::parse(uri) else { return Ok(None) };
    let reader = match nest.reader() {
        Ok(reader) => reader,
        // Nothing was ever recorded here.
        Err(_) if named == Named::Runs => return json_text(uri, &json!({ "runs": [] })).map(Some),
        Err(trouble) => return Err(trouble),
    };
    let run = match &named {
        Named::Runs => {
            let runs: Vec<Value> = of_project(nest)?
                .iter()
                .map(|run| {
                    json!({
                        "run": run.id, "title": run.title, "status": run.status, "started": started(run),
                        "agents": run.tally.agents, "calls": run.tally.calls, "resource": format!("{BASE}/{}", run.id),
                    })
                })
                .collect();
            return json_text(uri, &json!({ "runs": runs })).map(Some);
        }
        Named::Run(run) | Named::File(run, ..) | Named::Result(run) | Named::Artifact(run, _) => run,
    };
    // Also that the run is of this project.
    let Ok(account) = Account::read(nest, &reader, run) else { return Ok(None) };
    match &named {
        Named::Runs => Ok(None),
        Named::Run(_) => json_text(uri, &account.result(&reader)?).map(Some),
        Named::Result(_) => {
            let value = match &account.record.value {
                Some(payload) => reader.value(payload)?,
                None => None,
            };
            let text = value.map_or_else(|| "null".to_owned(), |value| value.as_str().to_owned());
            within(uri, text.len())?;
            Ok(Some(ResourceContents::text(text, uri).with_mime_type("application/json")))
        }
        Named::File(run, name, media) => {
            let file = recorded::files(&reader, run)?.remove(*name).unwrap_or_default();
            within(uri, file.len())?;
            Ok(Some(ResourceContents::text(String::from_utf8_lossy(&file), uri).with_mime_type(*media)))
        }
        Named::Artifact(run, digest) => artifact(&reader, run, digest, uri),
    }
}

/// A file of the run's own record; what other runs left is not had by naming this one.
fn artifact(reader: &Reader, run: &RunId, digest: &Digest, uri: &str) -> Result<Option<ResourceContents>, Trouble> {
    for recorded in reader.events(run)? {
        let recorded = recorded?;
        let (_, artifacts) = recorded.event.contents();
        let Some(artifact) = artifacts.iter().find(|artifact| artifact.digest == *digest) else { continue };
        within(uri, usize::try_from(artifact.bytes).unwrap_or(usize::MAX))?;
        let Some(bytes) = reader.blob(digest)? else { return Ok(None) };
        let media = artifact.media_type.clone();
        let contents = match String::from_utf8(bytes) {
            Ok(text) => ResourceContents::text(text, uri),
            Err(error) => {
                let encoded = base64::engine::general_purpose::STANDARD.encode(error.as_bytes());
                ResourceContents::blob(encoded, uri)
            }
        };
        return Ok(Some(contents.with_mime_type(media)));
    }
    Ok(None)
}

fn of_project(nest: &Nest) -> Result<Vec<RunSummary>, Trouble> {
    let Ok(reader) = nest.reader() else { return Ok(Vec::new()) };
    Ok(reader.runs_over(&nest.root().display().to_string(), LISTED_MAX, LOOKED_AT_MAX)?)
}

fn started(run: &RunSummary) -> String {
    timestamp(u64::try_from(run.started_ms).unwrap_or(0).saturating_mul(1_000))
}

fn json_text(uri: &str, value: &Value) -> Result<ResourceContents, Trouble> {
    let text = value.to_string();
    within(uri, text.len())?;
    Ok(ResourceContents::text(text, uri).with_mime_type("application/json"))
}

fn within(uri: &str, bytes: usize) -> Result<(), Trouble> {
    if bytes <= BYTES_MAX {
        return Ok(());
    }
    let why = format!("it has {bytes} bytes; at most {BYTES_MAX} are sent");
    Err(Trouble::usage(format!("{uri} cannot be sent"), why, "a person takes it with `vespiary runs export`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_names_one_thing_or_nothing() {
        let run: RunId = "r-1".parse().unwrap();
        assert_eq!(Named::parse("vespiary://runs"), Some(Named::Runs));
        assert_eq!(Named::parse("vespiary://runs/r-1"), Some(Named::Run(run.clone())));
        assert_eq!(Named::parse("vespiary://runs/r-1/result.json"), Some(Named::Result(run.clone())));
        let digest = Digest::of(b"x");
        let uri = format!("vespiary://runs/r-1/artifacts/{digest}");
        assert_eq!(Named::parse(&uri), Some(Named::Artifact(run, digest)));
        for nothing in [
            "",
            "vespiary://run",
            "vespiary://runs/",
            "vespiary://runs//result.json",
            "vespiary://runs/../x",
            "vespiary://runs/r-1/",
            "vespiary://runs/r-1/../../etc/passwd",
            "vespiary://runs/r-1/artifacts/../x",
            "file:///etc/passwd",
        ] {
            assert_eq!(Named::parse(nothing), None, "{nothing}");
        }
    }
}
