//! `vespiary run`: a workflow from its file to its report.
//!
//! `--json`: `{schema: "vespiary.run/1", run, status, title, script, dir, duration_ms, agents, agents_failed, calls, reused, resumes, tokens, usd,
//! claims, coverage, gates, findings, failures, error, report, changes, value}`. `coverage` is `null` or `{files, unread, partial, named}`: the files that no
//! agent read. `changes` is `null` or `{applied, digest, paths, conflicts}`: what isolated agents
//! changed. `findings` counts by severity, with `refuted`, `not_examined` and `malformed`, and is
//! `null` when the script returned something else; `report` holds the paths of the three files, or is `null`.

use super::started::{Onward, Started};
use super::told::{Shape, failure, report, summary};
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
use crate::progress::{Display, Total, Totals};
use crate::report::following::{Following, Gathered};
use crate::report::there::Files;
use crate::report::write;
use crate::report::{count, duration};
use crate::terminal::line;
use crate::wiring::{self, Before, Host, Person};
use crate::workflows::{Script, Shelves};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::ffi::OsString;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use vespiary_fleet::drive::{RunReport, Settings, Workflow, drive};
use vespiary_fleet::model::Models;
use vespiary_fleet::stop::{Stop, Urgency};
use vespiary_fleet::watch::{Unwatched, Watch};
use vespiary_kernel::account::Ceiling;
use vespiary_kernel::capability::Capability;
use vespiary_kernel::event::{RunError, RunStatus};
use vespiary_kernel::gate::Matter;
use vespiary_kernel::grant::Grant;
use vespiary_kernel::host::HostLimits;
use vespiary_kernel::ids::RunId;
use vespiary_kernel::json::Json;
use vespiary_kernel::model::ModelName;
use vespiary_kernel::pattern::ToolPattern;
use vespiary_kernel::pool::Capacity;
use vespiary_kernel::ports::LogError;
use vespiary_kernel::principal::{Principal, Run, RunLimits};
use vespiary_kernel::script::ErrorKind;
use vespiary_ledger::reader::Reader;
use vespiary_ledger::recall::{End, LastTime, ReadAhead, Spent};
use vespiary_ledger::store::LedgerError;

/// The longest file of arguments, bytes.
const ARGS_BYTES_MAX: u64 = 16 << 20;

/// Start the same command once more, to go on without this terminal.
pub(super) fn detach(args: Vec<OsString>, output: Output) -> Result<Exit, Trouble> {
    let home = Home::locate()?;
    let id = wiring::new_run_id()?;
    let said = match detach::start(&home, &id, args)? {
        Detached::Started(said) => said,
        Detached::Ended(early) => {
            // It has said why itself.
            let _ = std::io::stdout().write_all(&early.out);
            let _ = std::io::stderr().write_all(&early.err);
            return Ok(Exit::of_code(early.status.code()));
        }
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
        Some(before) => {
            let lease = Live::begin(&home, before)?;
            // Whoever held it until now may have been the one that goes on.
            let latest = Reader::open(&home.ledger())?.latest_of(before)?;
            if latest != *before {
                return Err(Trouble::usage(
                    format!("{before} cannot be resumed"),
                    format!("{latest} went on from it a moment ago"),
                    "resume it again: that goes on from the latest",
                ));
            }
            Some(lease)
        }
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
            (script, args, Before { resumed: runs, over, doubt: Some(doubt), foresee: foresee.clone(), once: false })
        }
    };
    let earlier = before.resumed.clone();
    let resumes = earlier.first().cloned();
    let rules = wiring::rules(&home, policy, &root, &args.permissions)?;
    let mut shelf = wiring::shelf(&args.permissions, &rules)?.with_servers(&root)?;
    for fault in &shelf.servers().faults {
        eprintln!("vespiary: {fault}");
    }
    let provider = args.bounds.provider.as_ref().map(ProviderSpec::open).transpose()?;
    let model = provider.as_deref().map(models::default_model).transpose()?;
    if provider.is_some() {
        shelf = shelf.with_models()?;
    }
    let engine = shelf.engine()?.plugin.name.clone();
    let read = ".".parse().map(Capability::Read).ok();
    let defaults = read.into_iter().chain([Capability::Tool(ToolPattern::Any), Capability::Spawn(args.bounds.agents)]);
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
    let person = Person::AtTerminal(quietly);
    let host = Host::open(&home, shelf, capacity, rules, person, provider.map(Models::new), before)?;
    if let Some(last) = &host.last
        && !plan
    {
        foretell(last, args);
    }
    let runtime = wiring::runtime()?;
    if let (Some(most), Some(last)) = (args.ask_above, &host.last)
        && last.spent.usd_micros > most
        && !plan
    {
        runtime.block_on(may_cost(&host, &id, &script.title, last))?;
    }
    // What the parts before have cost is part of what all may.
    let left = |most: Option<u64>, spent: u64| most.map(|most| most.saturating_sub(spent));
    let spending = Ceiling {
        tokens_max: left(args.bounds.tokens, host.spent.tokens),
        usd_micros_max: left(args.bounds.usd, host.spent.usd_micros),
        ..Ceiling::default()
    };
    let run = RunLimits::default().run.under(&spending);
    let limits = RunLimits { agents_max: args.bounds.agents.into(), run, ..RunLimits::default() };
    let who = host.dispatcher.start(id.clone(), root.clone(), grant, limits);
    let live = Arc::new(Live::begin(&home, &id)?);
    let place = gates::Place { home: &home, run: &id, root: &root, grant: who.grant() };
    let gatekeeper = AtRun::new(&place, Arc::clone(&live), Arc::clone(&host.terminal), &earlier)?;
    let following = Following::start(&host.ledger, &id, wiring::step_behind);
    let display = (!args.quiet && !args.output.json && !plan)
        .then(|| Arc::clone(drawn.get_or_init(|| Display::start(totals_of(who.run())))));
    let how = Settings {
        agents_at_once: args.at_once.map_or_else(|| agents_at_once(capacity, model.as_ref()), |most| most as usize),
        tools_at_once: capacity.tools,
        // One place is the script's own.
        workflows_at_once: host.capacity.scripts_alive() - 1,
        workflows: Some(shelves),
        gatekeeper: Some(Arc::new(gatekeeper)),
        worktrees: host.sandbox.worktrees(),
        model,
        budget_tokens: args.bounds.tokens,
        spent_before: host.spent.tokens,
        time_max: args.bounds.time,
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
    // Where the same had agents the last time, its report will need to know which files there are. A run that can change nothing finds the
    // same ones at its beginning as at its end.
    let early = host.last.is_some_and(|last| last.agents > 0) && !who.grant().has_effects() && !plan;
    let walking = early.then(|| walk(&root, who.grant(), host.ahead.as_ref().map(ReadAhead::end))).flatten();
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
    let Host { dispatcher, ledger, shelf, sandbox, ahead, .. } = host;
    drop(ahead);
    drop(dispatcher);
    // What is left to do is done side by side: the project is walked while the last of the record is read, and the cells' memory goes back and
    // the record is closed while the report is written.
    thread::scope(|beside| {
        let there = beside.spawn(|| match (ended.agents, walking.and_then(|walking| walking.join().ok())) {
            (0, _) => Files::default(),
            (_, Some(walked)) => walked,
            (_, None) => Files::below(&root, who.grant()),
        });
        let close = || {
            let recorded = ledger.close();
            drop(lease);
            recorded
        };
        if let Some(questions) = foresee {
            drop(following);
            // Nothing was recorded.
            let _ = close();
            return match ended.status {
                RunStatus::Failed => Err(failure(&script, &workflow.source, &ended)),
                _ => plan::show(&ended, questions.take(), args.output),
            };
        }
        let source = &workflow.source;
        // Unmapping the cells holds up every thread that touches new memory, so it waits until the record has been read.
        let gathered = following.finish();
        beside.spawn(move || {
            sandbox.keep_known();
            drop(sandbox);
        });
        let closing = beside.spawn(close);
        let recorded = || closing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let over = Over { who: &who, ended: &ended, shelf: &shelf, script: &script, source };
        let there = || there.join().unwrap_or_default();
        tell(args, &home, &over, gathered, there, out_is_new, recorded)
    })
}

/// The files of the project, looked up on a thread of its own once what the run can know beforehand has been read: then its script computes,
/// or waits for a first answer, and a processor has nothing to do.
fn walk(root: &Path, grant: &Grant, read: Option<End>) -> Option<JoinHandle<Files>> {
    let (root, grant) = (root.to_owned(), grant.clone());
    let look = move || {
        wiring::step_behind();
        while read.as_ref().is_some_and(|read| !read.is_reached()) {
            thread::sleep(Duration::from_millis(1));
        }
        Files::below(&root, &grant)
    };
    thread::Builder::new().name("walk".into()).spawn(look).ok()
}

/// A run that is over.
struct Over<'a> {
    who: &'a Principal,
    ended: &'a RunReport,
    shelf: &'a Shelf,
    script: &'a Path,
    source: &'a str,
}

/// Write the report on what was gathered, apply what may be applied, and say how it went. `there` waits for the files that could be read,
/// `recorded` for the record to be closed.
fn tell(
    args: &RunArgs,
    home: &Home,
    over: &Over<'_>,
    gathered: (Gathered, Option<LedgerError>),
    there: impl FnOnce() -> Files,
    out_is_new: bool,
    recorded: impl FnOnce() -> Result<(), LogError>,
) -> Result<Exit, Trouble> {
    let Over { who, ended, shelf, script, source } = *over;
    // A script that never began has nothing to report on.
    if ended.calls <= 1
        && matches!(&ended.error, Some(RunError::Script(e)) if matches!(e.kind, ErrorKind::Syntax | ErrorKind::Meta))
    {
        if out_is_new {
            disk::remove_if_empty(&args.out);
        }
        return Err(failure(script, source, ended));
    }
    let report = report(gathered, shelf, ended, there);
    let written = write::write(&report, &args.out)?;
    let exit = match (recorded(), ended.status) {
        (Err(error), _) => Err(error.into()),
        (Ok(()), RunStatus::Failed) => Err(failure(script, source, ended)),
        (Ok(()), status) => Ok(Exit::of_run(status)),
    };
    // Only a whole run is written into a project without anybody looking.
    let applies = args.apply && ended.changed.is_some() && matches!(exit, Ok(Exit::Done));
    let applied = applies.then(|| apply::at_end(home, who.run().id())).transpose();
    let (applied, exit) = match applied {
        Ok(applied) => (applied, exit),
        Err(trouble) => (None, Err(trouble)),
    };
    if args.output.json {
        // One document only: the cause stands in it.
        print_json(&Shape::of(&report, script, ended, &written, applied.is_some(), exit.as_ref().err()))?;
        return Ok(exit.unwrap_or_else(|trouble| {
            complain(&trouble, false);
            trouble.exit
        }));
    }
    print_out(&summary(&report, ended, &written, applied.as_deref()))?;
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
    let over = args.bounds.tokens.is_some_and(|most| most < spent.tokens)
        || args.bounds.usd.is_some_and(|most| most < spent.usd_micros);
    if over {
        eprintln!(
            "vespiary: the last time it cost {tokens} and {usd}, more than this run may; it will likely end out of budget, and can \
             then be resumed with more"
        );
    }
}

/// Have a person say whether a run that is likely to cost much may start.
async fn may_cost(host: &Host, id: &RunId, title: &str, last: &LastTime) -> Result<(), Trouble> {
    let cost = serde_json::json!({
        "agents": last.agents, "tokens": last.spent.tokens, "usd": last.spent.usd_micros as f64 / 1e6,
    });
    let title: String = title.chars().take(100).collect();
    let cost = Json::of(&cost).unwrap_or_else(|_| Json::null());
    let refused = |why: &str, next: &str| Trouble {
        what: format!("{} was not started", line(&title)),
        why: format!("the last time it cost more than --ask-above, and {why}"),
        next: next.into(),
        exit: Exit::Denied,
    };
    let matter = Matter::new(&format!("Run {title}, which cost this the last time?"), &cost)
        .map_err(|error| refused(&error.to_string(), "run it without --ask-above"))?;
    match host.terminal.decide(id, &matter).await {
        Some(true) => Ok(()),
        Some(false) => Err(refused("a person said no", "lower --usd, or let it run")),
        None => Err(refused("nobody is at the terminal", "run it at a terminal, or without --ask-above")),
    }
}

fn totals_of(run: &Arc<Run>) -> Totals {
    let run = Arc::clone(run);
    Arc::new(move || Total { calls: run.calls(), agents_of_agents: run.agents_of_agents() })
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

/// `{dir: "."}`, then `--args`, then each `--arg`.
fn script_args(args: &RunArgs) -> Result<Json, Trouble> {
    let mut members = Map::from_iter([("dir".to_owned(), Value::from("."))]);
    if let Some(text) = &args.args {
        let wrong = |error: &dyn std::fmt::Display| {
            let next = r#"give a JSON object, for example --args '{"depth": 2}', or @FILE"#;
            Trouble::usage("--args cannot be used", error, next)
        };
        let text = match text.strip_prefix('@') {
            Some(file) => Cow::Owned(disk::read_text(Path::new(file), ARGS_BYTES_MAX).map_err(|e| wrong(&e))?),
            None => Cow::Borrowed(text.as_str()),
        };
        let given: Map<String, Value> = serde_json::from_str(&text).map_err(|e| wrong(&e))?;
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
