//! `vespiary runs`: what the ledger holds.
//!
//! `--json`: `list` prints `{schema: "vespiary.runs/1", runs: [...]}`, `show` prints `{schema: "vespiary.run-record/1", ...}`
//! with the same members for its run, `phases`, `tools`, `components`, and on request `record` (the events) and `verified`.

use super::{print_json, print_out, print_raw, table};
use crate::cli::Output;
use crate::exit::{Exit, Trouble};
use crate::gates::now_ms;
use crate::paths::Home;
use crate::report::record::{Gate, Record};
use crate::report::{count, duration, error_text, thousands, timestamp};
use crate::terminal::{Style, clipped, json, line, plain};
use serde::Serialize;
use serde_json::Value;
use std::fmt::Write as _;
use std::io::IsTerminal as _;
use vespiary_kernel::event::{Event, RunStatus};
use vespiary_kernel::ids::{Digest, RunId};
use vespiary_kernel::json::Json;
use vespiary_ledger::reader::{Reader, RunSummary};
use vespiary_ledger::store::FaultKind;
use vespiary_ledger::verify::Verdict;

#[derive(Serialize)]
struct Line<'a> {
    run: &'a RunId,
    title: &'a str,
    status: RunStatus,
    started: String,
    duration_ms: Option<i64>,
    agents: u64,
    agents_failed: u64,
    calls: u64,
    calls_failed: u64,
    events: u64,
    head: Digest,
}

impl<'a> Line<'a> {
    fn of(run: &'a RunSummary) -> Self {
        Self {
            run: &run.id,
            title: &run.title,
            status: run.status,
            started: started(run),
            duration_ms: run.ended_ms.map(|ended| ended - run.started_ms),
            agents: run.tally.agents,
            agents_failed: run.tally.agents_failed,
            calls: run.tally.calls,
            calls_failed: run.tally.calls_failed,
            events: run.events,
            head: run.head,
        }
    }
}

pub(super) fn list(limit: u32, output: Output) -> Result<Exit, Trouble> {
    let runs = match Reader::open(&Home::locate()?.ledger()) {
        Ok(reader) => reader.runs(limit as usize)?,
        // Nobody has run anything yet, and that is an answer.
        Err(error) if error.kind == FaultKind::Missing => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    if output.json {
        #[derive(Serialize)]
        struct Shape<'a> {
            schema: &'static str,
            runs: Vec<Line<'a>>,
        }
        print_json(&Shape { schema: "vespiary.runs/1", runs: runs.iter().map(Line::of).collect() })?;
        return Ok(Exit::Done);
    }
    if runs.is_empty() {
        print_out("No runs yet. Try: vespiary run examples/audit.js --dir PATH")?;
        return Ok(Exit::Done);
    }
    let head = ["RUN", "STATUS", "STARTED", "TOOK", "AGENTS", "CALLS", "TITLE"].map(str::to_owned).to_vec();
    let rows = runs.iter().map(|run| {
        vec![
            run.id.to_string(),
            run.status.as_str().to_owned(),
            started(run),
            took(run),
            thousands(run.tally.agents),
            thousands(run.tally.calls),
            clipped(&run.title, 60),
        ]
    });
    print_out(&table(&std::iter::once(head).chain(rows).collect::<Vec<_>>()))?;
    Ok(Exit::Done)
}

/// What to show beside the summary.
#[derive(Debug, Clone, Copy)]
pub(super) struct Show {
    pub(super) events: bool,
    pub(super) verify: bool,
}

pub(super) fn show(id: &RunId, show: Show, output: Output) -> Result<Exit, Trouble> {
    let reader = Reader::open(&Home::locate()?.ledger())?;
    let run = find(&reader, id)?;
    let verdict = if show.verify { Some(reader.verify(&run.id)?) } else { None };
    let exit = match &verdict {
        Some(Verdict::Broken(_)) => Exit::Failed,
        _ => Exit::Done,
    };
    let mut folding = Record::fold(run.id.clone());
    let mut listed = Vec::new();
    for recorded in reader.events(&run.id)? {
        let recorded = match recorded {
            Ok(recorded) => recorded,
            // The verdict names the event that was changed; what can no longer be read is left out.
            Err(_) if matches!(verdict, Some(Verdict::Broken(_))) => break,
            Err(error) => return Err(error.into()),
        };
        let at = u64::try_from(recorded.time_us).unwrap_or(0);
        if show.events {
            listed.push((recorded.seq, at, recorded.hash, recorded.event.clone()));
        }
        folding.add(at, recorded.event);
    }
    let record = folding.finish();
    let gates = gates(&reader, &record)?;
    if output.json {
        print_json(&as_json(&run, &record, &gates, show.events.then_some(&listed[..]), verdict.as_ref()))?;
    } else {
        let mut out = as_text(&run, &record, &gates);
        if let Some(verdict) = &verdict {
            let _ = writeln!(out, "record   {}", verdict_text(verdict));
        }
        for (seq, at, _, event) in &listed {
            let event = serde_json::to_string(event).unwrap_or_default();
            let _ = write!(out, "\n{seq:>6}  +{:<10} {}", duration(at.saturating_sub(record.started_us)), json(&event));
        }
        print_out(out.trim_end())?;
    }
    Ok(exit)
}

/// What a run's isolated agents changed, for `git apply`: the very bytes that were recorded, except on a terminal, which is
/// shown nothing it would obey.
pub(super) fn patch(id: &RunId) -> Result<Exit, Trouble> {
    let reader = Reader::open(&Home::locate()?.ledger())?;
    let run = find(&reader, id)?;
    for recorded in reader.events(&run.id)? {
        let Event::ChangesMerged { artifacts, .. } = recorded?.event else { continue };
        for artifact in artifacts.iter().filter(|artifact| artifact.media_type == "text/x-diff") {
            let patch = reader.blob(&artifact.digest)?.unwrap_or_default();
            if std::io::stdout().is_terminal() {
                print_out(&plain(&String::from_utf8_lossy(&patch)))?;
            } else {
                print_raw(&patch)?;
            }
        }
    }
    Ok(Exit::Done)
}

/// The run of this id, or the `last` one.
pub(super) fn find(reader: &Reader, id: &RunId) -> Result<RunSummary, Trouble> {
    if id.as_str() == "last" {
        return reader.runs(1)?.pop().ok_or_else(|| {
            Trouble::usage("there is no last run", "the ledger is empty", "run something first: vespiary run SCRIPT")
        });
    }
    reader.run(id).map_err(|error| match error.kind {
        FaultKind::Missing => Trouble::usage("the run cannot be shown", error.what, error.remedy),
        _ => error.into(),
    })
}

/// A gate, with what is decided on read from wherever the ledger keeps it.
struct Shown<'a> {
    gate: &'a Gate,
    payload: Option<Json>,
}

fn gates<'a>(reader: &Reader, record: &'a Record) -> Result<Vec<Shown<'a>>, Trouble> {
    let shown = |gate: &'a Gate| Ok(Shown { gate, payload: reader.value(&gate.payload)? });
    record.gates.iter().map(shown).collect()
}

fn gate_as_json(shown: &Shown<'_>) -> Value {
    let Gate { digest, title, expires_ms, check, decision, .. } = shown.gate;
    let expires = expires_ms.map(|at| timestamp(at.saturating_mul(1_000)));
    let decision = decision.as_ref().map(
        |made| serde_json::json!({ "approved": made.approved, "by": made.by, "at": made.at(), "note": made.note }),
    );
    serde_json::json!({
        "gate": digest, "title": title, "payload": shown.payload, "state": shown.gate.state(now_ms()),
        "expires": expires, "check": check, "decision": decision,
    })
}

fn gate_as_text(shown: &Shown<'_>, say: &mut impl FnMut(&str, String)) {
    let gate = shown.gate;
    let state = gate.state(now_ms());
    let how = match (&gate.decision, gate.expires_ms) {
        (Some(made), _) => {
            let note = made.note.as_ref().map(|note| format!(": {}", clipped(note, 300))).unwrap_or_default();
            format!("{state} by {} at {}{note}", line(&made.by), made.at())
        }
        (None, Some(at)) => format!("{state}, until {}", timestamp(at.saturating_mul(1_000))),
        (None, None) => state.to_owned(),
    };
    say("gate", format!("{} {how}: {}", gate.digest.short(), line(&gate.title)));
    // Whole: this is where a person reads what is to be decided.
    if let (None, Some(payload)) = (&gate.decision, &shown.payload) {
        say("  about", line(payload.as_str()).into_owned());
    }
}

fn as_json(
    run: &RunSummary,
    record: &Record,
    gates: &[Shown<'_>],
    events: Option<&[(u64, u64, Digest, Event)]>,
    verdict: Option<&Verdict>,
) -> Value {
    let mut shape = serde_json::to_value(Line::of(run)).unwrap_or_default();
    shape["schema"] = "vespiary.run-record/1".into();
    shape["dir"] = record.root.clone().into();
    shape["grant"] = record.grant.clone().into();
    shape["reused"] = record.reused.into();
    shape["resumes"] = record.resumes.as_ref().map(ToString::to_string).into();
    shape["script"] = record.script.map(|digest| digest.to_string()).into();
    shape["error"] = record.error.as_ref().map(error_text).into();
    shape["changes"] = record
        .changed
        .map(|changed| serde_json::json!({ "files": changed.files, "conflicts": changed.conflicting }))
        .into();
    shape["gates"] = gates.iter().map(gate_as_json).collect();
    let phases = record
        .phases
        .iter()
        .map(|phase| serde_json::json!({ "title": phase.title, "from_us": phase.from_us, "to_us": phase.to_us }));
    shape["phases"] = phases.collect();
    let tools = record.uses.iter().map(|(used, n)| {
        serde_json::json!({
            "phase": used.phase.map(|_| record.phase_title(used.phase)), "agent_type": used.agent_type,
            "tool": used.tool, "calls": n.calls, "failed": n.failed, "wall_us": n.wall_us,
        })
    });
    shape["tools"] = tools.collect();
    let components = record
        .components
        .iter()
        .map(|((name, digest), calls)| serde_json::json!({ "name": name, "digest": digest, "calls": calls }));
    shape["components"] = components.collect();
    if let Some(events) = events {
        let events = events.iter().map(
            |(seq, at, hash, event)| serde_json::json!({ "seq": seq, "time_us": at, "hash": hash, "event": event }),
        );
        shape["record"] = events.collect();
    }
    if let Some(verdict) = verdict {
        shape["verified"] = match verdict {
            Verdict::Intact(intact) => serde_json::json!({
                "intact": true, "events": intact.events, "blobs": intact.blobs, "head": intact.head, "ended": intact.ended,
            }),
            Verdict::Broken(broken) => serde_json::json!({
                "intact": false, "seq": broken.seq, "what": broken.what, "expected": broken.expected, "found": broken.found,
            }),
        };
    }
    shape
}

fn as_text(run: &RunSummary, record: &Record, gates: &[Shown<'_>]) -> String {
    let style = Style::of_stdout();
    let mut out = String::new();
    // Writing to a string cannot fail.
    let mut say = |name: &str, text: String| {
        let _ = writeln!(out, "{name:<8} {text}");
    };
    say("run", style.bold(run.id.as_str()));
    say("title", line(&record.title).into_owned());
    say("status", format!("{}, {}", run.status.as_str(), took(run)));
    say("started", started(run));
    say("dir", line(&record.root).into_owned());
    say("granted", record.grant.join(", "));
    let failed = |n: u64| if n == 0 { String::new() } else { style.red(&format!(", {} failed", thousands(n))) };
    say("agents", format!("{}{}", thousands(run.tally.agents), failed(run.tally.agents_failed)));
    say("calls", format!("{}{}", thousands(run.tally.calls), failed(run.tally.calls_failed)));
    if let Some(before) = &record.resumes {
        say("resumes", before.to_string());
    }
    if record.reused > 0 {
        say("reused", format!("{} answered by finished work of earlier runs", count(record.reused, "request")));
    }
    if let Some(error) = &record.error {
        say("error", line(&error_text(error)).into_owned());
    }
    if let Some(changed) = record.changed {
        let clash = if changed.conflicting == 0 {
            String::new()
        } else {
            style.red(&format!(", {} in conflict", count(changed.conflicting, "path")))
        };
        say("changes", format!("{} by isolated agents{clash}", count(changed.files, "path")));
    }
    for shown in gates {
        gate_as_text(shown, &mut say);
    }
    for phase in &record.phases {
        say("phase", format!("{} ({})", line(&phase.title), duration(phase.to_us.saturating_sub(phase.from_us))));
    }
    for (used, n) in &record.uses {
        let by = used.agent_type.as_deref().unwrap_or("script");
        let phase = line(record.phase_title(used.phase)).into_owned();
        say(
            "tool",
            format!("{} by {} in {phase}: {}{}", used.tool, line(by), count(n.calls, "call"), failed(n.failed)),
        );
    }
    for agent in record.failed_agents().take(20) {
        let why = agent.failure.as_ref().map(ToString::to_string).unwrap_or_default();
        say("failed", format!("{} ({}): {}", line(&agent.label), agent.id, clipped(&why, 200)));
    }
    for ((name, digest), calls) in &record.components {
        say("ran", format!("{name} sha256:{} {}", digest.short(), count(*calls, "call")));
    }
    out
}

fn verdict_text(verdict: &Verdict) -> String {
    let style = Style::of_stdout();
    match verdict {
        Verdict::Intact(intact) => format!(
            "{}: {} and {} as they were written; head {}{}",
            style.green("intact"),
            count(intact.events, "event"),
            count(intact.blobs, "blob"),
            intact.head,
            if intact.ended { "" } else { "; the run has no end" },
        ),
        Verdict::Broken(broken) => format!("{}: {}", style.red("CHANGED"), line(&broken.to_string())),
    }
}

fn started(run: &RunSummary) -> String {
    timestamp(u64::try_from(run.started_ms).unwrap_or(0).saturating_mul(1_000))
}

fn took(run: &RunSummary) -> String {
    run.ended_ms.map_or_else(
        || "no end".to_owned(),
        |ended| duration(u64::try_from(ended - run.started_ms).unwrap_or(0) * 1_000),
    )
}
