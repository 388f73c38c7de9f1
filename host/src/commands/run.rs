//! `vespiary run`: a workflow from its file to its report.
//!
//! `--json`: `{schema: "vespiary.run/1", run, status, title, dir, duration_ms, agents, agents_failed, calls, findings,
//! failures, error, report, value}`. `findings` counts by severity, with `refuted`, `not_examined` and `malformed`, and is
//! `null` when the script returned something else; `report` holds the paths of the three files, or is `null`.

use super::{complain, print_json, print_out};
use crate::catalog::Shelf;
use crate::cli::RunArgs;
use crate::disk;
use crate::exit::{Exit, Trouble};
use crate::paths::Home;
use crate::progress::Display;
use crate::report::findings::Severity;
use crate::report::record::Record;
use crate::report::write::{self, Written};
use crate::report::{Answer, Component, Report, by_severity, count, duration, error_text, thousands};
use crate::terminal::{Style, clipped, line, plain};
use crate::wiring::{self, Host};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::io;
use std::path::Path;
use std::sync::Arc;
use vespiary_fleet::drive::{RunReport, Settings, Workflow, drive};
use vespiary_fleet::excerpt::excerpt;
use vespiary_fleet::stop::{Stop, Urgency};
use vespiary_fleet::watch::{Unwatched, Watch};
use vespiary_kernel::call::Failure;
use vespiary_kernel::capability::{Capability, ToolPattern};
use vespiary_kernel::event::{RunError, RunStatus};
use vespiary_kernel::ids::RunId;
use vespiary_kernel::json::Json;
use vespiary_kernel::principal::{Principal, RunLimits};
use vespiary_kernel::script::ErrorKind;

/// The longest script that is read.
const SCRIPT_BYTES_MAX: u64 = 4 << 20;

pub(super) fn run(args: &RunArgs) -> Result<Exit, Trouble> {
    let source = script(&args.script)?;
    let script_args = script_args(args)?;
    let root = wiring::project(&args.dir)?;
    let mut shelf = Shelf::bundled()?;
    for path in &args.permissions.plugin {
        shelf.load(path)?;
    }
    let engine = shelf.engine()?.plugin.name.clone();
    let read = ".".parse().map(Capability::Read).ok();
    let defaults = read.into_iter().chain([Capability::Tool(ToolPattern::Any), Capability::Spawn(args.agents)]);
    let (grant, policy) = wiring::permissions(&args.permissions, defaults);
    let home = Home::locate()?;
    let out_is_new = !args.out.exists();
    write::prepare(&args.out)?;

    let id = wiring::new_run_id()?;
    let limits = RunLimits { agents_max: args.agents.into(), ..RunLimits::default() };
    let who = Principal::of_run(id.clone(), root, grant, limits);
    let display = (!args.quiet && !args.output.json).then(|| Display::start(Arc::clone(who.run())));
    let quietly = display.as_ref().map_or_else(|| Arc::new(|f: &mut dyn FnMut()| f()) as _, |d| d.quietly());
    let capacity = wiring::capacity_of_fleet();
    let host = Host::open(&home, shelf, capacity, policy, quietly)?;
    let settings = Settings { agents_at_once: capacity.agents, tools_at_once: capacity.tools };
    let title = args.script.file_stem().unwrap_or(args.script.as_os_str()).to_string_lossy().into_owned();
    let workflow = Workflow { title, source, args: script_args, version: env!("CARGO_PKG_VERSION").into() };
    let watch: Arc<dyn Watch> = match &display {
        Some(display) => Arc::clone(display) as _,
        None => Arc::new(Unwatched),
    };
    let runtime = wiring::runtime()?;
    let ended = runtime.block_on(async {
        let stop = Stop::default();
        let listening = tokio::spawn(listen(stop.clone()));
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
        return Err(failure(args, &workflow.source, &ended));
    }
    let report = report(&host, &id, &ended);
    let written = write::write(&report, &args.out)?;
    let exit = match (recorded, ended.status) {
        (Err(error), _) => Err(error.into()),
        (Ok(()), RunStatus::Failed) => Err(failure(args, &workflow.source, &ended)),
        (Ok(()), status) => Ok(Exit::of_run(status)),
    };
    if args.output.json {
        // One document only: the cause stands in it.
        print_json(&Shape::of(&report, &ended, &written, exit.as_ref().err()))?;
        return Ok(exit.unwrap_or_else(|trouble| {
            complain(&trouble, false);
            trouble.exit
        }));
    }
    print_out(&summary(&report, &ended, &written))?;
    exit
}

/// Ctrl-C once lets running agents finish, twice ends them. A request to terminate is as firm as two.
async fn listen(stop: Stop) {
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
    Report { components: components.collect(), answer: Answer::of(ended.value.as_ref()), record }
}

fn summary(report: &Report, ended: &RunReport, written: &Written) -> String {
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
    if ended.agents_failed > 0 {
        out.push_str(&style.red(&format!("{} gave no answer\n", count(ended.agents_failed, "agent"))));
        for failed in ended.failures.iter().take(5) {
            out.push_str(&format!("  {}: {}\n", line(&failed.label), clipped(&failed.failure.to_string(), 160)));
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
    dir: &'a str,
    duration_ms: u64,
    agents: u64,
    agents_failed: u64,
    calls: u64,
    findings: Option<Map<String, Value>>,
    failures: Vec<Value>,
    error: Option<String>,
    report: Value,
    value: Option<&'a Json>,
}

impl<'a> Shape<'a> {
    fn of(report: &'a Report, ended: &'a RunReport, written: &Written, trouble: Option<&Trouble>) -> Self {
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
            dir: &report.record.root,
            duration_ms: report.record.duration_us() / 1_000,
            agents: report.record.agents.len() as u64,
            agents_failed: ended.agents_failed,
            calls: ended.calls,
            findings,
            failures: failures.collect(),
            error: trouble.map(|trouble| trouble.why.clone()).or_else(|| ended.error.as_ref().map(error_text)),
            report: serde_json::json!({ "html": written.html, "markdown": written.markdown, "sarif": written.sarif }),
            value: ended.value.as_ref(),
        }
    }
}

/// The error of a run that failed, with the place in the script where there is one.
fn failure(args: &RunArgs, source: &str, ended: &RunReport) -> Trouble {
    let what = format!("{} failed", args.script.display());
    match &ended.error {
        Some(RunError::Script(error)) => {
            let mut why = error.to_string();
            let excerpt = excerpt(source, error.line, error.column);
            if !excerpt.is_empty() {
                why.push_str(&format!("\n{}:{}:{}\n{excerpt}", args.script.display(), error.line, error.column));
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

fn script(path: &Path) -> Result<String, Trouble> {
    let trouble = |error: &dyn std::fmt::Display, next: String| {
        Trouble::usage(format!("the script {} cannot be read", path.display()), error, next)
    };
    let examples = || match examples() {
        names if names.is_empty() => {
            "name a workflow: a JavaScript file, for example the repository's examples/audit.js".into()
        }
        names => format!("name a workflow: a JavaScript file, for example {}", names.join(" or ")),
    };
    disk::read_text(path, SCRIPT_BYTES_MAX).map_err(|error| match error.kind() {
        io::ErrorKind::FileTooLarge => trouble(&error, "split it, or pass data in --args".into()),
        io::ErrorKind::InvalidData => trouble(&error, "save it as UTF-8".into()),
        _ => trouble(&error, examples()),
    })
}

/// Workflows that lie in `examples/` here.
fn examples() -> Vec<String> {
    disk::files_with(Path::new("examples"), "js").iter().take(5).map(|path| path.display().to_string()).collect()
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

    #[test]
    fn a_missing_script_says_what_to_name() {
        let trouble = script(Path::new("/nowhere.js")).unwrap_err();
        assert!(trouble.exit == Exit::Usage && trouble.next.contains("audit.js"), "{trouble:?}");
    }
}
