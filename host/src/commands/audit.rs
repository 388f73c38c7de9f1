//! `vespiary runs export` and `vespiary audit verify`: a run as one file, and the proof that a ledger or such a file is what was
//! written. The second works offline, and on files that come from strangers.
//!
//! `--json`: `export` prints `{schema: "vespiary.export/1", run, file, bytes, events, blobs, head, seal, ended, report}`; `verify` prints
//! `{schema: "vespiary.audit/1", ok, runs: [{run, intact, events, blobs, head, seal, ended, broken}], broken: [...]}`, where `seal` is that
//! of a bundle, and each `broken` is `{seq, what, expected, found}`.
#![allow(
    clippy::disallowed_methods,
    reason = "this is where a bundle is read from and written to the place a person named"
)]

use super::{print_json, print_out, runs};
use crate::cli::Output;
use crate::exit::{Exit, Trouble};
use crate::paths::Home;
use crate::report::{count, recorded, thousands};
use crate::terminal::{Style, line};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;
use tempfile::NamedTempFile;
use vespiary_kernel::ids::{Digest, RunId};
use vespiary_ledger::bundle;
use vespiary_ledger::reader::Reader;
use vespiary_ledger::verify::{Break, Verdict};

pub(super) fn export(id: &RunId, out: &Path, output: Output) -> Result<Exit, Trouble> {
    let reader = Reader::open(&Home::locate()?.ledger())?;
    let run = runs::find(&reader, id)?.id;
    let cannot = |error: io::Error| {
        let next = "name a file in a directory that you can write, with --out FILE";
        Trouble::failed(format!("the bundle cannot be written to {}", out.display()), error, next)
    };
    if out.is_dir() {
        return Err(cannot(io::ErrorKind::IsADirectory.into()));
    }
    let report = recorded::files(&reader, &run)?;
    // Whole or not at all, and for its owner alone: arguments and answers are in it.
    let beside = out.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = NamedTempFile::new_in(beside).map_err(cannot)?;
    let mut into = BufWriter::new(file.as_file_mut());
    let manifest = reader.export(&run, &report, &mut into)?;
    into.flush().map_err(cannot)?;
    drop(into);
    file.as_file().sync_all().map_err(cannot)?;
    let bytes = file.as_file().metadata().map_err(cannot)?.len();
    file.persist(out).map_err(|error| cannot(error.error))?;
    if output.json {
        print_json(&json!({
            "schema": "vespiary.export/1", "run": run, "file": out, "bytes": bytes, "events": manifest.events,
            "blobs": manifest.blobs, "head": manifest.head, "seal": manifest.seal(), "ended": manifest.ended, "report": manifest.report,
        }))?;
    } else {
        print_out(&format!(
            "{run} is in {}: {}, {}, {} bytes{}\nhead {}\nseal {}\n`vespiary audit verify --bundle {}` checks it anywhere; keep the \
             seal elsewhere to know that it is this file, the head to know that it is this run",
            line(&out.display().to_string()),
            count(manifest.events, "event"),
            count(manifest.blobs, "blob"),
            thousands(bytes),
            if manifest.ended { "" } else { "; the run has no end yet" },
            manifest.head,
            manifest.seal(),
            line(&out.display().to_string()),
        ))?;
    }
    Ok(Exit::Done)
}

/// What is to be verified.
#[derive(Debug, Clone, Copy)]
pub(super) enum What<'a> {
    /// One run of the ledger.
    Run(&'a RunId),
    /// A file.
    Bundle(&'a Path),
    /// The whole ledger.
    All,
}

/// What was noted elsewhere.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Noted<'a> {
    /// The hash of a run's last event.
    pub(super) head: Option<&'a Digest>,
    /// What a bundle was sealed with.
    pub(super) seal: Option<&'a Digest>,
}

pub(super) fn verify(what: What<'_>, noted: Noted<'_>, output: Output) -> Result<Exit, Trouble> {
    let (mut found, mut loose, mut seal) = (Vec::new(), Vec::new(), None);
    match what {
        What::Bundle(path) => {
            let opened = File::open(path).map_err(|error| {
                Trouble::usage(
                    format!("the bundle {} cannot be read", path.display()),
                    error,
                    "name a file that `vespiary runs export` wrote",
                )
            })?;
            let opened = bundle::verify(opened, path)?;
            seal = opened.seal;
            found.push((opened.run.map_or_else(|| path.display().to_string(), |run| run.to_string()), opened.verdict));
        }
        What::Run(id) => {
            let reader = Reader::open(&Home::locate()?.ledger())?;
            let run = match id.as_str() {
                // The index row may be what was changed, so a run that is named is not looked up in it first.
                "last" => runs::find(&reader, id)?.id,
                _ => id.clone(),
            };
            let verdict = reader.verify(&run)?;
            found.push((run.to_string(), verdict));
        }
        What::All => {
            let reader = Reader::open(&Home::locate()?.ledger())?;
            loose = reader.verify_all(|run, verdict| found.push((run.to_owned(), verdict)))?;
        }
    }
    if let [(_, verdict)] = &mut found[..]
        && let Verdict::Intact(intact) = verdict
    {
        let another = [
            (noted.head, Some(intact.head), intact.events, "run whose head"),
            (noted.seal, seal, 0, "file whose seal"),
        ];
        let another = another.into_iter().find_map(|(noted, there, seq, which)| {
            let (noted, there) = (noted?, there?);
            let what = format!("it holds in itself, and is not the {which} was kept");
            (*noted != there).then(|| Break { seq, what, expected: noted.to_string(), found: there.to_string() })
        });
        if let Some(another) = another {
            *verdict = Verdict::Broken(another);
        }
    }
    let ok = loose.is_empty() && found.iter().all(|(_, verdict)| matches!(verdict, Verdict::Intact(_)));
    if output.json {
        let runs: Vec<Value> = found.iter().map(|(run, verdict)| as_json(run, verdict, seal.as_ref())).collect();
        let broken: Vec<Value> = loose.iter().map(break_json).collect();
        print_json(&json!({ "schema": "vespiary.audit/1", "ok": ok, "runs": runs, "broken": broken }))?;
    } else {
        print_out(&as_text(&found, &loose, seal.as_ref()))?;
    }
    Ok(if ok { Exit::Done } else { Exit::Failed })
}

fn as_json(run: &str, verdict: &Verdict, seal: Option<&Digest>) -> Value {
    match verdict {
        Verdict::Intact(intact) => json!({
            "run": run, "intact": true, "events": intact.events, "blobs": intact.blobs, "head": intact.head,
            "seal": seal, "ended": intact.ended, "broken": null,
        }),
        Verdict::Broken(broken) => json!({
            "run": run, "intact": false, "events": null, "blobs": null, "head": null, "seal": null, "ended": null, "broken": break_json(broken),
        }),
    }
}

fn break_json(broken: &Break) -> Value {
    json!({ "seq": broken.seq, "what": broken.what, "expected": broken.expected, "found": broken.found })
}

fn as_text(found: &[(String, Verdict)], loose: &[Break], seal: Option<&Digest>) -> String {
    let style = Style::of_stdout();
    let place = |broken: &Break| {
        let at = if broken.seq > 0 { format!("event {}: ", broken.seq) } else { String::new() };
        let mut text = format!("{at}{}", line(&broken.what));
        if !broken.expected.is_empty() {
            text.push_str(&format!("\n  expected {}\n  found    {}", line(&broken.expected), line(&broken.found)));
        }
        text
    };
    let mut lines: Vec<String> = found
        .iter()
        .map(|(run, verdict)| match verdict {
            Verdict::Intact(intact) => format!(
                "{} {}: {} and {}; head {}{}{}",
                style.green("intact "),
                line(run),
                count(intact.events, "event"),
                count(intact.blobs, "blob"),
                intact.head,
                seal.map_or_else(String::new, |seal| format!("; seal {seal}, with the reports")),
                if intact.ended { "" } else { "; the run has no end" },
            ),
            Verdict::Broken(broken) => format!("{} {}, {}", style.red("CHANGED"), line(run), place(broken)),
        })
        .collect();
    lines.extend(loose.iter().map(|broken| format!("{} {}", style.red("CHANGED"), place(broken))));
    if lines.is_empty() {
        lines.push("The ledger holds no run, and nothing else.".into());
    }
    lines.join("\n")
}
