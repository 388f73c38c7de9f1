//! `vespiary run`: a workflow from its file to its report.
//!
//! `--json`: `{schema: "vespiary.run/1", run, status, title, script, dir, duration_ms, agents, agents_failed, calls, reused, resumes, tokens, usd,
//! claims, coverage, gates, findings, failures, error, report, changes, value}`. `coverage` is `null` or `{files, unread, partial, named}`: the files that no
//! agent read. `changes` is `null` or `{applied, digest, paths, conflicts}`: what isolated agents
//! changed. `findings` counts by severity, with `refuted`, `not_examined` and `malformed`, and is
//! `null` when the script returned something else; `report` holds the paths of the three files, or is `null`.

use super::{apply, complain, plan, print_json, print_out};
use crate::approve::Quietly;
use crate::catalog::Shelf;
use crate::cli::{Output, RunArgs};
use crate::detach::{self, Detached};
use crate::disk;
use crate::exit::{Exit, Trouble};
use crate::foresee::Questions;
use crate::gates::{self, AtRun};
use crate::live::{GLANCE, Live};
use crate::models::{self, ProviderSpec};
use crate::paths::Home;
use crate::progress::{Calls, Display};
use crate::report::coverage::Reading;
use crate::report::findings::Severity;
use crate::report::record::Record;
use crate::report::write::{self, Written};
use crate::report::{Answer, Component, Report, by_severity, count, duration, error_text, spent, thousands, what};
use crate::terminal::{Style, clipped, line, plain};
use crate::wiring::{self, Before, Host};
use crate::workflows::{Script, Shelves};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
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
use vespiary_kernel::event::{Event, Payload, RunError, RunStatus};
use vespiary_kernel::host::HostLimits;
use vespiary_kernel::ids::RunId;
use vespiary_kernel::json::Json;
use vespiary_kernel::model::ModelName;
use vespiary_kernel::pattern::ToolPattern;
use vespiary_kernel::pool::Capacity;
use vespiary_kernel::principal::{Principal, Run, RunLimits};
use vespiary_kernel::reuse::Doubt;
use vespiary_kernel::script::{ErrorKind, Verdict};
use vespiary_ledger::ledger::Ledger;
use vespiary_ledger::recall::{LastTime, Spent};

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

/// What a run goes on from.
#[derive(Debug)]
pub(super) struct Onward {
    /// The runs before it, the nearest first.
    pub(super) runs: Vec<RunId>,
    /// Their script, or the one in its place.
    pub(super) script: Script,
    /// The script's arguments.
    pub(super) args: Json,
    /// What to do about effects that may have been had.
    pub(super) doubt: Doubt,
    /// Only say what would run.
    pub(super) plan: bool,
}

/// What a run is started with, as its record keeps it for whoever goes on with it. Paths are absolute.
#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Started {
    pub(super) agents: u32,
    pub(super) at_once: Option<u32>,
    pub(super) time_ms: Option<u64>,
    pub(super) tokens: Option<u64>,
    pub(super) usd_micros: Option<u64>,
    pub(super) provider: Option<String>,
    pub(super) allow: Vec<Capability>,
    pub(super) deny: Vec<Capability>,
    pub(super) ask: Vec<Capability>,
    pub(super) only: bool,
    pub(super) plugins: Vec<PathBuf>,
    pub(super) policy: Option<PathBuf>,
    pub(super) out: PathBuf,
}

impl Default for Started {
    fn default() -> Self {
        Self {
            agents: 1_000,
            at_once: None,
            time_ms: None,
            tokens: None,
            usd_micros: None,
            provider: None,
            allow: Vec::new(),
            deny: Vec::new(),
            ask: Vec::new(),
            only: false,
            plugins: Vec::new(),
            policy: None,
            out: "vespiary-report".into(),
        }
    }
}

impl Started {
    fn with(args: &RunArgs, policy: Option<&Path>) -> Self {
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let given = &args.permissions;
        Self {
            agents: args.agents,
            at_once: args.at_once,
            time_ms: args.time.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
            tokens: args.tokens,
            usd_micros: args.usd,
            provider: args.provider.as_ref().map(|provider| provider.absolute().to_string()),
            allow: given.allow.clone(),
            deny: given.deny.clone(),
            ask: given.ask.clone(),
            only: given.only,
            plugins: given.plugin.iter().map(|path| absolute(path)).collect(),
            policy: policy.map(absolute),
            out: absolute(&args.out),
        }
    }
}

/// `as_run`: this is the process of a detached run, and that is its id.
pub(super) fn run(
    args: &RunArgs,
    policy: Option<&Path>,
    as_run: Option<RunId>,
    onward: Option<Onward>,
) -> Result<Exit, Trouble> {
    if as_run.is_some() {
        detach::leave_terminal()?;
    }
    let root = wiring::project(&args.dir)?;
    let home = Home::locate()?;
    // Held to the end: nobody else goes on with the same run meanwhile.
    let lease = match onward.as_ref().and_then(|onward| onward.runs.first()) {
        Some(before) => Some(Live::begin(&home, before)?),
        None => None,
    };
    let plan = onward.as_ref().is_some_and(|onward| onward.plan);
    let over = |script: &Script| (!args.fresh).then(|| (root.clone(), script.title.clone()));
    let shelves = Arc::new(Shelves::of(&root, &home));
    let foresee = plan.then(Arc::<Questions>::default);
    let (script, script_args, before) = match onward {
        None => {
            let script = shelves.find(&args.script)?;
            let over = over(&script);
            (script, script_args(args)?, Before { over, ..Before::default() })
        }
        Some(Onward { runs, script, args, doubt, .. }) => {
            let over = over(&script);
            (script, args, Before { resumed: runs, over, doubt: Some(doubt), foresee: foresee.clone() })
        }
    };
    let earlier = before.resumed.clone();
    let resumes = earlier.first().cloned();
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
    if !plan {
        write::prepare(&args.out)?;
    }

    let id = match as_run {
        Some(id) => id,
        None => wiring::new_run_id()?,
    };
    let capacity = wiring::capacity_of_fleet();
    // The host is opened before there is a run to display.
    let drawn: Arc<OnceLock<Arc<Display>>> = Arc::default();
    let drawing = Arc::clone(&drawn);
    let quietly: Quietly = Arc::new(move |ask| match drawing.get() {
        Some(display) => display.quietly()(ask),
        None => ask(),
    });
    let settings = Json::of(&Started::with(args, policy))
        .map_err(|error| Trouble::failed("the run cannot be recorded", error, "name files by paths that are text"))?;
    let host = Host::open(&home, shelf, capacity, rules, quietly, provider.map(Models::new), before)?;
    if let Some(last) = &host.last
        && !plan
    {
        foretell(last, args);
    }
    // What the parts before have cost is part of what all may.
    let left = |most: Option<u64>, spent: u64| most.map(|most| most.saturating_sub(spent));
    let spending = Ceiling {
        tokens_max: left(args.tokens, host.spent.tokens),
        usd_micros_max: left(args.usd, host.spent.usd_micros),
        ..Ceiling::default()
    };
    let run = RunLimits::default().run.under(&spending);
    let limits = RunLimits { agents_max: args.agents.into(), run, ..RunLimits::default() };
    let who = host.dispatcher.start(id.clone(), root.clone(), grant, limits);
    let live = Arc::new(Live::begin(&home, &id)?);
    let place = gates::Place { home: &home, run: &id, root: &root, grant: who.grant() };
    let gatekeeper = AtRun::new(&place, Arc::clone(&live), Arc::clone(&host.terminal), &earlier)?;
    let display = (!args.quiet && !args.output.json && !plan)
        .then(|| Arc::clone(drawn.get_or_init(|| Display::start(calls_of(who.run())))));
    let how = Settings {
        agents_at_once: args.at_once.map_or_else(|| agents_at_once(capacity, model.as_ref()), |most| most as usize),
        tools_at_once: capacity.tools,
        // One place is the script's own.
        workflows_at_once: host.capacity.scripts_alive() - 1,
        workflows: Some(shelves),
        gatekeeper: Some(Arc::new(gatekeeper)),
        worktrees: host.sandbox.worktrees(),
        model,
        budget_tokens: args.tokens,
        spent_before: host.spent.tokens,
        time_max: args.time,
        planning: plan,
    };
    if script.by_name && display.is_some() {
        eprintln!("{}", line(&format!("{} is {}", script.title, script.path.display())));
    }
    let Script { title, source, path: script, .. } = script;
    let version = env!("CARGO_PKG_VERSION").into();
    let workflow = Workflow { title, source, args: script_args, version, settings, resumes };
    let watch: Arc<dyn Watch> = match &display {
        Some(display) => Arc::clone(display) as _,
        None => Arc::new(Unwatched),
    };
    let runtime = wiring::runtime()?;
    let ended = runtime.block_on(async {
        let stop = Stop::default();
        let listening = tokio::spawn(listen(stop.clone(), Arc::clone(&live)));
        let ended = drive(&host.dispatcher, &who, &engine, &workflow, how, watch, &stop).await;
        listening.abort();
        ended
    });
    runtime.shutdown_background();
    if let Some(display) = &display {
        display.finish();
    }
    // The last to close the ledger's file is the one who wrote it, and folds its log in; so whoever reads it goes first.
    let Host { dispatcher, ledger, shelf, .. } = host;
    drop(dispatcher);
    let recorded = ledger.close();
    drop(lease);
    if let Some(questions) = foresee {
        return match ended.status {
            RunStatus::Failed => Err(failure(&script, &workflow.source, &ended)),
            _ => plan::show(&ended, questions.take(), args.output),
        };
    }

    // A script that never began has nothing to report on.
    if ended.calls <= 1
        && matches!(&ended.error, Some(RunError::Script(e)) if matches!(e.kind, ErrorKind::Syntax | ErrorKind::Meta))
    {
        if out_is_new {
            disk::remove_if_empty(&args.out);
        }
        return Err(failure(&script, &workflow.source, &ended));
    }
    let report = report(&ledger, &shelf, &who, &ended);
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

/// As many agents as have a place to live; with a model to ask, as many as may ask at once: those only wait.
fn agents_at_once(capacity: Capacity, model: Option<&ModelName>) -> usize {
    let asking = usize::try_from(HostLimits::default().model_requests).unwrap_or(usize::MAX);
    if model.is_some() { capacity.agents.max(asking) } else { capacity.agents }
}

/// What the run is likely to cost, by what it cost the last time, and whether it may.
fn foretell(last: &LastTime, args: &RunArgs) {
    let LastTime { agents, duration_ms, spent } = *last;
    if spent == Spent::default() {
        return;
    }
    let dollars = |micros: u64| format!("${:.4}", micros as f64 / 1e6);
    let (tokens, usd) = (count(spent.tokens, "token"), dollars(spent.usd_micros));
    if !args.quiet && !args.output.json {
        let (agents, took) = (count(agents, "agent"), duration(duration_ms * 1_000));
        eprintln!("the last time it took {agents}, {tokens}, {usd} and {took}");
    }
    let over =
        args.tokens.is_some_and(|most| most < spent.tokens) || args.usd.is_some_and(|most| most < spent.usd_micros);
    if over {
        eprintln!(
            "vespiary: the last time it cost {tokens} and {usd}, more than this run may; it will likely end out of budget, and can \
             then be resumed with more"
        );
    }
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
fn report(ledger: &Ledger, shelf: &Shelf, who: &Principal, ended: &RunReport) -> Report {
    let id = who.run().id();
    let (mut folding, mut reading) = (Record::fold(id.clone()), Reading::default());
    let mut asked = HashMap::new();
    let read = ledger.reader().and_then(|reader| {
        for event in reader.events(id)? {
            let event = event?;
            if let Event::CallIntended { call, agent, .. } = &event.event {
                asked.insert(*call, *agent);
            }
            if let Event::CallEnded { call, .. } = &event.event {
                let value = |payload: &Payload| reader.value(payload).ok().flatten()?.read().ok();
                reading.add(&event.event, asked.remove(call), value);
            }
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
        version: shelf.entry(name).map(|entry| entry.plugin.version.clone()).unwrap_or_default(),
        digest: digest.to_string(),
        calls: *calls,
    });
    let (answer, changed) = (Answer::of(ended.value.as_ref()), ended.changed.clone());
    let coverage = reading.coverage(who.run().root(), who.grant());
    Report { components: components.collect(), answer, record, changed, coverage }
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
    if let Some(coverage) = &report.coverage {
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
    if !matches!(ended.status, RunStatus::Completed) {
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
