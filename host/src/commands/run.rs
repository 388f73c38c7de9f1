//! `vespiary run`: a workflow from its file to its report.
//!
//! `--json`: `{schema: "vespiary.run/1", run, status, title, script, dir, duration_ms, agents, agents_failed, calls, tokens, usd,
//! claims, gates, findings, failures, error, report, changes, value}`. `changes` is `null` or `{applied, digest, paths, conflicts}`: what isolated agents
//! changed. `findings` counts by severity, with `refuted`, `not_examined` and `malformed`, and is
//! `null` when the script returned something else; `report` holds the paths of the three files, or is `null`.

use super::{apply, complain, print_json, print_out};
use crate::approve::Quietly;
use crate::cli::{Output, RunArgs};
use crate::detach::{self, Detached};
use crate::disk;
use crate::exit::{Exit, Trouble};
use crate::gates::{self, AtRun};
use crate::live::{GLANCE, Live};
use crate::models::{self, ProviderSpec};
use crate::paths::Home;
use crate::progress::{Calls, Display};
use crate::report::findings::Severity;
use crate::report::record::Record;
use crate::report::write::{self, Written};
use crate::report::{Answer, Component, Report, by_severity, count, duration, error_text, spent, thousands, what};
use crate::terminal::{Style, clipped, line, plain};
use crate::wiring::{self, Host};
use crate::workflows::{Script, Shelves};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::ffi::OsString;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use vespiary_fleet::drive::{RunReport, Settings, Workflow, drive};
use vespiary_fleet::excerpt::excerpt;
use vespiary_fleet::gates::OpenGate;
use vespiary_fleet::model::Models;
use vespiary_fleet::stop::{Stop, Urgency};
use vespiary_fleet::watch::{Unwatched, Watch};
use vespiary_kernel::account::Ceiling;
use vespiary_kernel::call::Failure;
use vespiary_kernel::capability::Capability;
use vespiary_kernel::event::{RunError, RunStatus};
use vespiary_kernel::ids::RunId;
use vespiary_kernel::json::Json;
use vespiary_kernel::pattern::ToolPattern;
use vespiary_kernel::principal::{Run, RunLimits};
use vespiary_kernel::script::{ErrorKind, Verdict};

/// Start the same command once more, to go on without this terminal.
pub(super) fn detach(args: Vec<OsString>, output: Output) -> Result<Exit, Trouble> {
    let home = Home::locate()?;
    let id = wiring::new_run_id()?;
    let said = match detach::start(&home, &id, args)? {
        Detached::Started(said) => said,
        // It has said why itself.
        Detached::Ended(status) => return Ok(Exit::of_code(status.code())),
    };
    if output.json {
        print_json(&serde_json::json!({
            "schema": "vespiary.run-detached/1", "run": id, "output": said.out, "progress": said.err,
        }))?;
    } else {
        print_out(id.as_str())?;
        eprintln!(
            "it goes on without this terminal: `vespiary runs watch {id}` follows it, `vespiary runs stop {id}` ends it"
        );
    }
    Ok(Exit::Done)
}

/// `as_run`: this is the process of a detached run, and that is its id.
pub(super) fn run(args: &RunArgs, policy: Option<&Path>, as_run: Option<RunId>) -> Result<Exit, Trouble> {
    if as_run.is_some() {
        detach::leave_terminal()?;
    }
    let script_args = script_args(args)?;
    let root = wiring::project(&args.dir)?;
    let home = Home::locate()?;
    let shelves = Arc::new(Shelves::of(&root, &home));
    let script = shelves.find(&args.script)?;
    let rules = wiring::rules(&home, policy, &root, &args.permissions)?;
    let mut shelf = wiring::shelf(&args.permissions, &rules)?;
    let provider = args.provider.as_ref().map(ProviderSpec::open).transpose()?;
    let model = provider.as_deref().map(models::default_model).transpose()?;
    if provider.is_some() {
        shelf = shelf.with_models()?;
    }
    let engine = shelf.engine()?.plugin.name.clone();
    let read = ".".parse().map(Capability::Read).ok();
    let defaults = read.into_iter().chain([Capability::Tool(ToolPattern::Any), Capability::Spawn(args.agents)]);
    // Whoever names a provider lets the run ask its models.
    let asked = model.as_ref().and_then(|model| format!("model:{}/*", model.provider()).parse().ok());
    let defaults = defaults.chain(asked);
    let grant = wiring::grant(&args.permissions, defaults);
    let out_is_new = !args.out.exists();
    write::prepare(&args.out)?;

    let id = match as_run {
        Some(id) => id,
        None => wiring::new_run_id()?,
    };
    let spent = Ceiling { tokens_max: args.tokens, usd_micros_max: args.usd, ..Ceiling::default() };
    let run = RunLimits::default().run.under(&spent);
    let limits = RunLimits { agents_max: args.agents.into(), run, ..RunLimits::default() };
    let capacity = wiring::capacity_of_fleet();
    // The host is opened before there is a run to display.
    let drawn: Arc<OnceLock<Arc<Display>>> = Arc::default();
    let drawing = Arc::clone(&drawn);
    let quietly: Quietly = Arc::new(move |ask| match drawing.get() {
        Some(display) => display.quietly()(ask),
        None => ask(),
    });
    let host = Host::open(&home, shelf, capacity, rules, quietly, provider.map(Models::new))?;
    let who = host.dispatcher.start(id.clone(), root.clone(), grant, limits);
    let live = Arc::new(Live::begin(&home, &id)?);
    let place = gates::Place { home: &home, run: &id, root: &root, grant: who.grant() };
    let gatekeeper = AtRun::new(&place, Arc::clone(&live), Arc::clone(&host.terminal), &[])?;
    let display = (!args.quiet && !args.output.json)
        .then(|| Arc::clone(drawn.get_or_init(|| Display::start(calls_of(who.run())))));
    let settings = Settings {
        agents_at_once: capacity.agents,
        tools_at_once: capacity.tools,
        // One place is the script's own.
        workflows_at_once: host.capacity.scripts_alive() - 1,
        workflows: Some(shelves),
        gatekeeper: Some(Arc::new(gatekeeper)),
        worktrees: host.sandbox.worktrees(),
        model,
        budget_tokens: args.tokens,
    };
    if script.by_name && display.is_some() {
        eprintln!("{}", line(&format!("{} is {}", script.title, script.path.display())));
    }
    let Script { title, source, path: script, .. } = script;
    let workflow = Workflow { title, source, args: script_args, version: env!("CARGO_PKG_VERSION").into() };
    let watch: Arc<dyn Watch> = match &display {
        Some(display) => Arc::clone(display) as _,
        None => Arc::new(Unwatched),
    };
    let runtime = wiring::runtime()?;
    let ended = runtime.block_on(async {
        let stop = Stop::default();
        let listening = tokio::spawn(listen(stop.clone(), Arc::clone(&live)));
        let ended = drive(&host.dispatcher, &who, &engine, &workflow, settings, watch, &stop).await;
        listening.abort();
        ended
    });
    runtime.shutdown_background();
    if let Some(display) = &display {
        display.finish();
    }
    let recorded = host.ledger.close();

    // A script that never began has nothing to report on.
    if ended.calls <= 1
        && matches!(&ended.error, Some(RunError::Script(e)) if matches!(e.kind, ErrorKind::Syntax | ErrorKind::Meta))
    {
        if out_is_new {
            disk::remove_if_empty(&args.out);
        }
        return Err(failure(&script, &workflow.source, &ended));
    }
    let report = report(&host, &id, &ended);
    let written = write::write(&report, &args.out)?;
    let exit = match (recorded, ended.status) {
        (Err(error), _) => Err(error.into()),
        (Ok(()), RunStatus::Failed) => Err(failure(&script, &workflow.source, &ended)),
        (Ok(()), status) => Ok(Exit::of_run(status)),
    };
    // Only a whole run is written into a project without anybody looking.
    let applies = args.apply && ended.changed.is_some() && matches!(exit, Ok(Exit::Done));
    let applied = applies.then(|| apply::at_end(&home, &id)).transpose();
    let (applied, exit) = match applied {
        Ok(applied) => (applied, exit),
        Err(trouble) => (None, Err(trouble)),
    };
    if args.output.json {
        // One document only: the cause stands in it.
        print_json(&Shape::of(&report, &script, &ended, &written, applied.is_some(), exit.as_ref().err()))?;
        return Ok(exit.unwrap_or_else(|trouble| {
            complain(&trouble, false);
            trouble.exit
        }));
    }
    print_out(&summary(&report, &ended, &written, applied.as_deref()))?;
    exit
}

fn calls_of(run: &Arc<Run>) -> Calls {
    let run = Arc::clone(run);
    Arc::new(move || run.calls())
}

/// Ctrl-C once lets running agents finish, twice ends them. A request to terminate is as firm as two. `runs stop` asks from
/// elsewhere for either.
async fn listen(stop: Stop, live: Arc<Live>) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return;
    };
    loop {
        tokio::select! {
            _ = interrupt.recv() => match stop.ask() {
                Urgency::Firm => eprintln!("\nvespiary: ending every cell; what is recorded is kept"),
                _ => eprintln!("\nvespiary: stopping: agents that run may finish, no new one starts; Ctrl-C again ends them"),
            },
            _ = terminate.recv() => stop.now(),
            () = tokio::time::sleep(GLANCE) => match live.asked() {
                Urgency::Firm => stop.now(),
                Urgency::Gentle if stop.urgency() == Urgency::None => {
                    stop.ask();
                    eprintln!("\nvespiary: asked to stop: agents that run may finish, no new one starts");
                }
                _ => {}
            },
        }
    }
}

/// What the ledger tells of the run, or, where it can no longer be read, what the driver does.
fn report(host: &Host, id: &RunId, ended: &RunReport) -> Report {
    let mut folding = Record::fold(id.clone());
    let read = host.ledger.reader().and_then(|reader| {
        for event in reader.events(id)? {
            let event = event?;
            folding.add(u64::try_from(event.time_us).unwrap_or(0), event.event);
        }
        Ok(())
    });
    if let Err(error) = read {
        eprintln!("vespiary: the report lacks what could not be read back: {error}");
    }
    let mut record = folding.finish();
    if let Ok(Meta { name }) = ended.meta.read() {
        record.title = name;
    }
    (record.status, record.error) = (ended.status, ended.error.clone());
    let components = record.components.iter().map(|((name, digest), calls)| Component {
        name: name.clone(),
        version: host.shelf.entry(name).map(|entry| entry.plugin.version.clone()).unwrap_or_default(),
        digest: digest.to_string(),
        calls: *calls,
    });
    let (answer, changed) = (Answer::of(ended.value.as_ref()), ended.changed.clone());
    Report { components: components.collect(), answer, record, changed }
}

fn summary(report: &Report, ended: &RunReport, written: &Written, applied: Option<&str>) -> String {
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

#[derive(Serialize)]
struct Shape<'a> {
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
    tokens: u64,
    usd: f64,
    claims: Value,
    gates: Value,
    findings: Option<Map<String, Value>>,
    failures: Vec<Value>,
    error: Option<String>,
    report: Value,
    changes: Option<Value>,
    value: Option<&'a Json>,
}

impl<'a> Shape<'a> {
    fn of(
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
            tokens: report.record.models.input_tokens + report.record.models.output_tokens,
            usd: report.record.models.usd_micros as f64 / 1e6,
            claims: serde_json::json!({
                "verified": report.record.claims_of(Verdict::Verified),
                "refuted": report.record.claims_of(Verdict::Refuted),
                "unverified": report.record.claims_of(Verdict::Unverified),
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
fn failure(script: &Path, source: &str, ended: &RunReport) -> Trouble {
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

/// `{dir: "."}`, then `--args`, then each `--arg`.
fn script_args(args: &RunArgs) -> Result<Json, Trouble> {
    let mut members = Map::from_iter([("dir".to_owned(), Value::from("."))]);
    if let Some(text) = &args.args {
        let given: Map<String, Value> = serde_json::from_str(text).map_err(|error| {
            Trouble::usage("--args cannot be used", error, r#"give a JSON object, for example --args '{"depth": 2}'"#)
        })?;
        members.extend(given);
    }
    for pair in &args.arg {
        let (name, value) = pair.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(|| {
            Trouble::usage("--arg cannot be used", format!("{pair:?} is not K=V"), "write for example --arg depth=2")
        })?;
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
        members.insert(name.to_owned(), value);
    }
    Json::of(&members).map_err(|error| Trouble::usage("the arguments cannot be used", error, "correct --args"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser as _;

    fn parsed(args: &[&str]) -> RunArgs {
        let all = ["vespiary", "run", "x.js"].iter().chain(args);
        let Command::Run(run) = Cli::try_parse_from(all).unwrap().command else { panic!() };
        *run
    }

    #[test]
    fn a_script_sees_dir_and_what_was_given_last() {
        let args = parsed(&["--args", r#"{"depth": 1, "name": "a"}"#, "--arg", "depth=2", "--arg", "text=x=y"]);
        assert_eq!(script_args(&args).unwrap().as_str(), r#"{"depth":2,"dir":".","name":"a","text":"x=y"}"#);
        assert_eq!(script_args(&parsed(&["--args", "[1]"])).unwrap_err().exit, Exit::Usage);
        assert!(script_args(&parsed(&["--arg", "depth"])).unwrap_err().why.contains("K=V"));
    }
}
