//! What `vespiary run` says when a run has ended: its report, a summary for people, a document for programs, the error of one that
//! failed.

use crate::catalog::Shelf;
use crate::exit::Trouble;
use crate::report::findings::Severity;
use crate::report::following::Gathered;
use crate::report::there::Files;
use crate::report::write::Written;
use crate::report::{Answer, Component, Report, by_severity, count, duration, error_text, spent, thousands, what};
use crate::terminal::{Style, clipped, line, plain};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::Path;
use vespiary_fleet::drive::RunReport;
use vespiary_fleet::excerpt::excerpt;
use vespiary_fleet::gates::OpenGate;
use vespiary_kernel::call::Failure;
use vespiary_kernel::event::{RunError, RunStatus};
use vespiary_kernel::ids::RunId;
use vespiary_kernel::json::Json;
use vespiary_kernel::script::{ErrorKind, Verdict};
use vespiary_ledger::store::LedgerError;

/// What the ledger tells of the run, or, where it can no longer be read, what the driver does. `there` is asked last for the files that
/// could be read.
pub(super) fn report(
    (gathered, lost): (Gathered, Option<LedgerError>),
    shelf: &Shelf,
    ended: &RunReport,
    there: impl FnOnce() -> Files,
) -> Report {
    if let Some(error) = lost {
        eprintln!("vespiary: the report lacks what could not be read back: {error}");
    }
    let Gathered { record, reading, .. } = gathered;
    let mut record = record.finish();
    if let Ok(Meta { name }) = ended.meta.read() {
        record.title = name;
    }
    (record.status, record.error) = (ended.status, ended.error.clone());
    let components = record.components.iter().map(|((name, digest), calls)| Component {
        name: name.clone(),
        version: shelf.entry(name).map(|entry| entry.plugin.version.clone()).unwrap_or_default(),
        digest: digest.to_string(),
        calls: *calls,
    });
    let (answer, changed) = (Answer::of(ended.value.as_ref()), ended.changed.clone());
    let coverage = reading.coverage(&there());
    Report { components: components.collect(), answer, record, changed, coverage }
}

pub(super) fn summary(report: &Report, ended: &RunReport, written: &Written, applied: Option<&str>) -> String {
    let style = Style::of_stdout();
    let status = match ended.status {
        RunStatus::Completed => style.green(ended.status.as_str()),
        RunStatus::Failed => style.red(ended.status.as_str()),
        _ => style.yellow(ended.status.as_str()),
    };
    let mut out = format!(
        "\n{} {status} in {}: {}, {}\n",
        style.bold(&line(&report.record.title)),
        duration(report.record.duration_us()),
        count(report.record.agents.len() as u64, "agent"),
        count(ended.calls, "call"),
    );
    if ended.reused > 0 {
        let known = format!("{} answered by finished work of earlier runs", count(ended.reused, "request"));
        out.push_str(&format!("{}\n", style.dim(&known)));
    }
    out.extend(spent(&report.record.models).map(|line| line + "\n"));
    if !report.record.claims.is_empty() {
        let of = |verdict| thousands(report.record.claims_of(verdict));
        out.push_str(&format!(
            "claims: {} verified, {} refuted, {} unverified\n",
            of(Verdict::Verified),
            of(Verdict::Refuted),
            of(Verdict::Unverified)
        ));
    }
    if let Some(audit) = report.answer.audit() {
        out.push_str(&format!("{}\n", style.bold(&by_severity(audit))));
        for finding in audit.findings.iter().take(5) {
            let tone = match finding.severity {
                Severity::Critical | Severity::High => style.red(finding.severity.as_str()),
                Severity::Medium => style.yellow(finding.severity.as_str()),
                Severity::Low | Severity::Info => style.dim(finding.severity.as_str()),
            };
            out.push_str(&format!("  {tone} {} {}\n", line(&finding.place()), style.dim(&clipped(&finding.title, 80))));
        }
        if let Some(more) = audit.findings.len().checked_sub(5).filter(|more| *more > 0) {
            out.push_str(&format!("{}\n", style.dim(&format!("  and {} more in the report", thousands(more as u64)))));
        }
        let (refuted, skipped) = (audit.refuted.len() as u64, audit.skipped.len() as u64);
        if refuted + skipped > 0 {
            out.push_str(&format!(
                "{} refuted by a second look, {} not examined\n",
                thousands(refuted),
                count(skipped, "path")
            ));
        }
        if !audit.malformed.is_empty() {
            let n = count(audit.malformed.len() as u64, "part");
            out.push_str(&format!(
                "{}\n",
                style.yellow(&format!("{n} of the script's answer were not understood; see the report"))
            ));
        }
    }
    if let Some(coverage) = report.coverage.as_ref().filter(|coverage| coverage.unread > 0) {
        let (unread, all) = (thousands(coverage.unread), count(coverage.files, "file"));
        out.push_str(&style.dim(&format!("{unread} of {all} were read by no agent; the report names them\n")));
    }
    if ended.status == RunStatus::AwaitingGate {
        out.push_str(&style.yellow(&awaiting(&report.record.id, &ended.gates)));
    }
    if ended.agents_failed > 0 {
        out.push_str(&style.red(&format!("{} gave no answer\n", count(ended.agents_failed, "agent"))));
        for failed in ended.failures.iter().take(5) {
            out.push_str(&format!("  {}: {}\n", line(&failed.label), clipped(&failed.failure.to_string(), 160)));
        }
    }
    if let Some(changed) = &ended.changed {
        let (files, clashes) = (changed.changes.len() as u64, changed.conflicts.len() as u64);
        let next = match applied {
            Some(applied) => applied.to_owned(),
            None => format!("the project is unchanged; `vespiary runs apply {}` writes them", report.record.id),
        };
        out.push_str(&format!("{} by isolated agents; {next}\n", count(files, "change")));
        if clashes > 0 {
            out.push_str(
                &style.yellow(&format!("{} on which agents disagree; see the report\n", count(clashes, "path"))),
            );
        }
    }
    if !matches!(ended.status, RunStatus::Completed | RunStatus::AwaitingGate) {
        out.push_str(&format!(
            "`vespiary runs resume {}` goes on with it; what is finished stays so\n",
            report.record.id
        ));
    }
    out.push_str(&format!(
        "report: {}\n{}",
        line(&written.html.display().to_string()),
        style.dim(&format!(
            "run {}; `vespiary runs show {} --verify` checks its record",
            report.record.id, report.record.id
        )),
    ));
    out
}

/// What a run waits for, and how it goes on.
fn awaiting(run: &RunId, gates: &[OpenGate]) -> String {
    let mut out = String::from("it waits for a person's decision:\n");
    for gate in gates.iter().take(5) {
        out.push_str(&format!("  {} {}\n", gate.gate.short(), clipped(&gate.title, 120)));
    }
    if gates.len() > 5 {
        out.push_str(&format!("  and {} more\n", gates.len() - 5));
    }
    out.push_str(&format!(
        "`vespiary runs show {run}` shows what is decided on, `vespiary runs approve {run}` (or `deny`) decides, \
         `vespiary runs resume {run}` goes on\n"
    ));
    out
}

/// What of a script's `meta` is used here.
#[derive(Deserialize)]
struct Meta {
    name: String,
}

/// What `--json` prints.
#[derive(Serialize)]
pub(super) struct Shape<'a> {
    schema: &'static str,
    run: &'a RunId,
    status: RunStatus,
    title: &'a str,
    script: &'a Path,
    dir: &'a str,
    duration_ms: u64,
    agents: u64,
    agents_failed: u64,
    calls: u64,
    reused: u64,
    resumes: Option<&'a RunId>,
    tokens: u64,
    usd: f64,
    claims: Value,
    coverage: Option<Value>,
    gates: Value,
    findings: Option<Map<String, Value>>,
    failures: Vec<Value>,
    error: Option<String>,
    report: Value,
    changes: Option<Value>,
    value: Option<&'a Json>,
}

impl<'a> Shape<'a> {
    pub(super) fn of(
        report: &'a Report,
        script: &'a Path,
        ended: &'a RunReport,
        written: &Written,
        applied: bool,
        trouble: Option<&Trouble>,
    ) -> Self {
        let findings = report.answer.audit().map(|audit| {
            let counts = Severity::ALL.map(|s| (s.to_string(), Value::from(audit.of_severity(s).count())));
            let more = [
                ("refuted", audit.refuted.len()),
                ("not_examined", audit.skipped.len()),
                ("malformed", audit.malformed.len()),
            ];
            counts.into_iter().chain(more.map(|(name, n)| (name.to_owned(), Value::from(n)))).collect()
        });
        let failures = ended.failures.iter().map(|failed| {
            serde_json::json!({
                "agent": failed.agent, "label": failed.label,
                "cause": failed.failure.cause(), "message": failed.failure.to_string(),
            })
        });
        Self {
            schema: "vespiary.run/1",
            run: &report.record.id,
            status: ended.status,
            title: &report.record.title,
            script,
            dir: &report.record.root,
            duration_ms: report.record.duration_us() / 1_000,
            agents: report.record.agents.len() as u64,
            agents_failed: ended.agents_failed,
            calls: ended.calls,
            reused: ended.reused,
            resumes: report.record.resumes.as_ref(),
            tokens: report.record.models.input_tokens + report.record.models.output_tokens,
            usd: report.record.models.usd_micros as f64 / 1e6,
            claims: serde_json::json!({
                "verified": report.record.claims_of(Verdict::Verified),
                "refuted": report.record.claims_of(Verdict::Refuted),
                "unverified": report.record.claims_of(Verdict::Unverified),
            }),
            coverage: report.coverage.as_ref().map(|coverage| {
                serde_json::json!({
                    "files": coverage.files, "unread": coverage.unread, "partial": coverage.partial,
                    "named": coverage.named,
                })
            }),
            gates: ended
                .gates
                .iter()
                .map(|gate| serde_json::json!({ "gate": gate.gate, "title": gate.title }))
                .collect(),
            findings,
            failures: failures.collect(),
            error: trouble.map(|trouble| trouble.why.clone()).or_else(|| ended.error.as_ref().map(error_text)),
            report: serde_json::json!({ "html": written.html, "markdown": written.markdown, "sarif": written.sarif }),
            changes: ended.changed.as_ref().map(|changed| {
                let paths = changed.changes.iter().map(|(path, change)| {
                    serde_json::json!({ "path": path, "what": what(change) })
                });
                let paths: Vec<Value> = paths.collect();
                serde_json::json!({
                    "applied": applied, "digest": changed.changes.digest(), "paths": paths, "conflicts": changed.conflicts,
                })
            }),
            value: ended.value.as_ref(),
        }
    }
}

/// The error of a run that failed, with the place in the script where there is one.
pub(super) fn failure(script: &Path, source: &str, ended: &RunReport) -> Trouble {
    let what = format!("{} failed", script.display());
    match &ended.error {
        Some(RunError::Script(error)) => {
            let mut why = error.to_string();
            let excerpt = excerpt(source, error.line, error.column);
            if !excerpt.is_empty() {
                why.push_str(&format!("\n{}:{}:{}\n{excerpt}", script.display(), error.line, error.column));
            }
            let next = match error.kind {
                ErrorKind::Syntax => "correct the script; nothing was run",
                ErrorKind::Meta => "begin the script with: export const meta = { name: '...', description: '...' }",
                ErrorKind::Thrown => "correct the script, or catch the error in it",
                ErrorKind::Stalled => "await only what agent(), tool(), parallel() or pipeline() gave you",
            };
            Trouble::failed(what, plain(&why), next)
        }
        Some(RunError::Engine(failure @ Failure::Limit(_))) => {
            let next = "have agents and tools do the work: the script's own cell is for deciding what they do";
            Trouble { next: next.into(), ..Trouble::of_failure(&what, failure) }
        }
        Some(RunError::Engine(failure)) => Trouble::of_failure(&what, failure),
        Some(RunError::Other(why)) => Trouble::failed(what, why, "run `vespiary doctor` to check this machine"),
        None => Trouble::failed(what, "no cause was recorded", "run `vespiary runs show last --events`"),
    }
}
