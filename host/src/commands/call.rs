//! `vespiary call`: one tool, once, through the same door as everybody else. A run of its own in the ledger.
//!
//! `--json`: `{schema: "vespiary.call/1", run, call, tool, ok, value, failure, usage, artifacts, log}`; `failure` is
//! `{cause, detail}` and `null` when `ok`.

use super::{print_json, print_out};
use crate::catalog::Shelf;
use crate::cli::CallArgs;
use crate::disk;
use crate::exit::{Exit, Trouble};
use crate::live::Live;
use crate::paths::Home;
use crate::report::pretty;
use crate::terminal::{json, line};
use crate::wiring::{self, Before, Host, Person};
use serde::Serialize;
use std::io;
use std::path::Path;
use std::sync::Arc;
use vespiary_kernel::call::{Artifact, Ending, Failure, Keep, LogLine, Outcome, ToolCall, Usage};
use vespiary_kernel::capability::Capability;
use vespiary_kernel::event::{Event, Payload, RunError, RunStatus};
use vespiary_kernel::ids::{CallId, RunId, ToolName};
use vespiary_kernel::json::Json;
use vespiary_kernel::pattern::ToolPattern;
use vespiary_kernel::plugin::{Kind, Plugin};
use vespiary_kernel::ports::{Catalog as _, Log as _};
use vespiary_kernel::principal::{Principal, RunLimits};

/// Arguments that are read from a file or from standard input.
const ARGUMENTS_BYTES_MAX: u64 = 64 << 20;

#[derive(Serialize)]
struct Shape<'a> {
    schema: &'static str,
    run: &'a RunId,
    call: Option<CallId>,
    tool: &'a ToolName,
    ok: bool,
    value: Option<&'a Json>,
    failure: Option<&'a Failure>,
    usage: Usage,
    artifacts: &'a [Artifact],
    log: &'a [LogLine],
}

pub(super) fn call(args: &CallArgs, policy: Option<&Path>) -> Result<Exit, Trouble> {
    let arguments = arguments(&args.arguments)?;
    let root = wiring::project(&args.dir)?;
    let home = Home::locate()?;
    let rules = wiring::rules(&home, policy, &root, &args.permissions)?;
    let shelf = wiring::shelf(&args.permissions, &rules)?.with_servers(&root)?;
    let plugin = named(&shelf, &args.tool)?;
    let grant = wiring::grant(&args.permissions, defaults(&plugin, &args.tool));
    let id = wiring::new_run_id()?;
    let before = Before { once: true, ..Before::default() };
    let host = Host::open(&home, shelf, wiring::capacity_of_call(), rules, Person::alone(), None, before)?;
    let who = host.dispatcher.start(id.clone(), root, grant, RunLimits::default());
    let live = Live::begin(&home, &id)?;
    let runtime = wiring::runtime()?;
    let outcome = runtime.block_on(recorded(&host, &who, &live, &args.tool, arguments));
    runtime.shutdown_background();
    let outcome = outcome?;
    host.ledger.close()?;
    show(args, &id, &outcome)
}

/// The plugin of a tool.
pub(super) fn named(shelf: &Shelf, tool: &ToolName) -> Result<Arc<Plugin>, Trouble> {
    shelf.find(tool).ok_or_else(|| {
        // A server in which something is wrong is none, and this is where it is missed.
        let faults: String = shelf.servers().faults.iter().map(|fault| format!("\n{fault}")).collect();
        Trouble::usage(
            format!("{tool} cannot be called"),
            format!("there is no plugin named {:?}; there are {}{faults}", tool.plugin(), shelf.names().join(", ")),
            "`vespiary plugin list` says what each is for; --plugin FILE.wasm adds one",
        )
    })
}

/// What a call holds where nobody says otherwise: the project to read, and the tool itself; an agent's are all tools.
pub(super) fn defaults(plugin: &Plugin, tool: &ToolName) -> impl Iterator<Item = Capability> + use<> {
    let tools = match plugin.kind {
        Kind::Agent => ToolPattern::Any,
        Kind::Tools | Kind::Engine | Kind::Program | Kind::Model | Kind::Mcp => ToolPattern::One(tool.clone()),
    };
    let read = ".".parse().map(Capability::Read).ok();
    read.into_iter().chain([Capability::Tool(tools)])
}

/// The call between the record of a run's start and of its end.
pub(super) async fn recorded(
    host: &Host,
    who: &Principal,
    live: &Live,
    tool: &ToolName,
    arguments: Json,
) -> Result<Outcome, Trouble> {
    let run = who.run().id();
    let started = Event::RunStarted {
        version: env!("CARGO_PKG_VERSION").into(),
        title: tool.to_string(),
        script: None,
        args: arguments.clone(),
        root: who.run().root().display().to_string(),
        grant: who.grant().clone(),
    };
    host.ledger.append(run, started)?;
    let call = ToolCall { tool: tool.clone(), arguments, keep: Keep::Value };
    let outcome = tokio::select! {
        outcome = host.dispatcher.dispatch(who, call) => outcome,
        // Dropping the call ends its cell and records it as cancelled.
        _ = tokio::signal::ctrl_c() => Outcome::refused(Failure::Cancelled),
        () = live.stop_asked() => Outcome::refused(Failure::Cancelled),
    };
    let (status, value, error) = match &outcome.ending {
        Ending::Done(value) => (RunStatus::Completed, Some(Payload::Value(value.clone())), None),
        Ending::Failed(Failure::Cancelled) => (RunStatus::Stopped, None, Some(RunError::Engine(Failure::Cancelled))),
        Ending::Failed(failure) => (RunStatus::Failed, None, Some(RunError::Engine(failure.clone()))),
    };
    if !matches!(&outcome.ending, Ending::Failed(Failure::Unrecorded(_))) {
        host.ledger.append(run, Event::RunEnded { status, value, error })?;
    }
    Ok(outcome)
}

fn show(args: &CallArgs, run: &RunId, outcome: &Outcome) -> Result<Exit, Trouble> {
    let (value, failure) = match &outcome.ending {
        Ending::Done(value) => (Some(value), None),
        Ending::Failed(failure) => (None, Some(failure)),
    };
    if args.output.json {
        print_json(&Shape {
            schema: "vespiary.call/1",
            run,
            call: outcome.call,
            tool: &args.tool,
            ok: failure.is_none(),
            value,
            failure,
            usage: outcome.usage,
            artifacts: &outcome.artifacts,
            log: &outcome.log,
        })?;
        return Ok(failure.map_or(Exit::Done, Exit::of_failure));
    }
    for said in &outcome.log {
        // By its name, so that nobody takes the tool's words for ours.
        eprintln!("{}: {}", args.tool, line(&said.text));
    }
    for artifact in &outcome.artifacts {
        eprintln!("left {} ({} bytes, sha256 {})", line(&artifact.name), artifact.bytes, artifact.digest);
    }
    match (value, failure) {
        (Some(value), _) => print_out(&json(&pretty(value))).map(|()| Exit::Done),
        (None, Some(failure)) => Err(Trouble::of_failure(&format!("{} gave no value", args.tool), failure)),
        (None, None) => Ok(Exit::Done),
    }
}

/// A JSON object given as text, as `-` or as `@FILE`.
pub(super) fn arguments(text: &str) -> Result<Json, Trouble> {
    let wrong = |error: &dyn std::fmt::Display| {
        Trouble::usage(
            "the arguments cannot be used",
            error,
            r#"give a JSON object, for example '{"path": "README.md"}', or - for standard input, or @FILE"#,
        )
    };
    let text = match text.strip_prefix('@') {
        Some(file) => {
            disk::read_text(Path::new(file), ARGUMENTS_BYTES_MAX).map_err(|e| wrong(&format!("{file}: {e}")))?
        }
        None if text == "-" => {
            let bytes = disk::bounded(io::stdin().lock(), ARGUMENTS_BYTES_MAX).map_err(|e| wrong(&e))?;
            String::from_utf8(bytes).map_err(|e| wrong(&e))?
        }
        None => text.to_owned(),
    };
    let json = Json::parse(text).map_err(|e| wrong(&e))?;
    if json.as_str().trim_start().starts_with('{') { Ok(json) } else { Err(wrong(&"they are JSON, and not an object")) }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests set up what they look at")]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_an_object_from_anywhere() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        std::fs::write(&path, "{\"a\": 1}").unwrap();
        assert_eq!(arguments(&format!("@{}", path.display())).unwrap().as_str(), "{\"a\": 1}");
        for (bad, why) in [("[1]", "not an object"), ("{a:1}", "not JSON"), ("@/nowhere", "No such file")] {
            let trouble = arguments(bad).unwrap_err();
            assert!(trouble.why.contains(why) && trouble.exit == Exit::Usage, "{trouble:?}");
        }
    }
}
