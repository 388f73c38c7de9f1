//! `vespiary mcp doctor`: the entries of MCP clients for this server, each started as its client would start it, and asked what it
//! offers. Settings come with projects, so an entry may name anything: only this very program is started, and only to serve.
//!
//! `--json`: `{schema: "vespiary.mcp-doctor/1", entries: [{client, scope, file, command, args, ok, protocol, tools, problem, next}]}`.
#![allow(clippy::disallowed_methods, reason = "it starts this very executable again, and nothing else")]

use super::install::{places, settings};
use super::{print_json, print_out};
use crate::cli::{Cli, Command as CliCommand, Output};
use crate::exit::{Exit, Trouble};
use crate::mcp::install::{App, Entry, Reach};
use crate::terminal::{Style, clipped, line, plain};
use crate::wiring;
use clap::Parser as _;
use rmcp::ServiceExt as _;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// How long a server may take until it has said what it offers. The first start of all compiles the plugins.
const START_TIME_MAX: Duration = Duration::from_secs(60);

/// One entry, and what was found.
#[derive(Debug, Serialize)]
struct Checked {
    client: &'static str,
    scope: &'static str,
    file: PathBuf,
    command: String,
    args: Vec<String>,
    ok: bool,
    protocol: Option<String>,
    tools: Option<usize>,
    problem: Option<String>,
    next: Option<String>,
}

/// What a server that works says of itself.
struct Works {
    protocol: String,
    tools: usize,
}

pub(super) fn checkup(dir: &Path, name: &str, output: Output) -> Result<Exit, Trouble> {
    let root = wiring::project(dir)?;
    let runtime = wiring::runtime_for_waiting()?;
    let mut all = Vec::new();
    for (app, reach) in App::ALL.iter().flat_map(|app| [(*app, Reach::Project), (*app, Reach::User)]) {
        // Without a home there are no settings of one's own, and that is no fault.
        let Ok(file) = places(app, reach, &root) else { continue };
        let found = settings(&file).and_then(|text| match text {
            Some(text) => app.entry(&text, name),
            None => Ok(None),
        });
        let scope = if reach == Reach::Project { "project" } else { "user" };
        let (entry, works) = match found {
            Ok(None) => continue,
            Ok(Some(entry)) => {
                let works = runtime.block_on(start(&entry, app, &root));
                (entry, works)
            }
            Err(trouble) => (Entry { command: String::new(), args: Vec::new() }, Err((trouble.why, trouble.next))),
        };
        let Entry { command, args } = entry;
        let (protocol, tools, problem, next) = match works {
            Ok(works) => (Some(works.protocol), Some(works.tools), None, None),
            Err((problem, next)) => (None, None, Some(problem), Some(next)),
        };
        let ok = problem.is_none();
        all.push(Checked { client: app.title(), scope, file, command, args, ok, protocol, tools, problem, next });
    }
    runtime.shutdown_background();
    if output.json {
        print_json(&serde_json::json!({ "schema": "vespiary.mcp-doctor/1", "entries": all }))?;
    } else if !all.is_empty() {
        print_out(&all.iter().map(as_text).collect::<Vec<_>>().join("\n"))?;
    }
    if all.is_empty() {
        let next = "`vespiary mcp install CLIENT` writes one; CLIENT is claude-code, cursor, vscode or codex";
        let why = format!("no client's settings, of this project or your own, have an entry named {name:?}");
        return Err(Trouble::usage("no client starts this server", why, next));
    }
    Ok(if all.iter().all(|checked| checked.ok) { Exit::Done } else { Exit::Failed })
}

fn as_text(checked: &Checked) -> String {
    let style = Style::of_stdout();
    let Checked { client, scope, file, command, args, tools, protocol, problem, next, .. } = checked;
    let head = format!("{client} ({scope}): {}", line(&file.display().to_string()));
    let run =
        format!("  starts   {}", line(&std::iter::once(command).chain(args).cloned().collect::<Vec<_>>().join(" ")));
    match (problem, tools, protocol) {
        (None, Some(tools), Some(protocol)) => {
            format!("{} {head}\n{run}\n  offers   {tools} tools, MCP {protocol}", style.green("ok"))
        }
        (problem, ..) => {
            let problem = plain(problem.as_deref().unwrap_or("it says nothing")).into_owned();
            let next = next.as_deref().map(|next| format!("\n  next     {}", line(next))).unwrap_or_default();
            format!("{} {head}\n{run}\n  but      {problem}{next}", style.red("no"))
        }
    }
}

/// Start the server as its client would, ask what it offers, and hang up.
async fn start(entry: &Entry, app: App, root: &Path) -> Result<Works, (String, String)> {
    let again = || "write it anew with `vespiary mcp install`".to_owned();
    let this = this_program(&entry.command).map_err(|why| (why, again()))?;
    let project = root.display().to_string();
    let args =
        entry.args.iter().map(|arg| app.project().map_or_else(|| arg.clone(), |word| arg.replace(word, &project)));
    let args: Vec<String> = args.collect();
    serves(&args).map_err(|why| (why, again()))?;
    let mut child = Command::new(this)
        .args(&args)
        .current_dir(root)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| (format!("{} cannot be started: {error}", entry.command), again()))?;
    let (Some(stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(("it has no streams to speak on".into(), again()));
    };
    let asked = tokio::time::timeout(START_TIME_MAX, async {
        let client = ().serve((stdout, stdin)).await.map_err(|error| error.to_string())?;
        let protocol = client.peer_info().map(|info| info.protocol_version.to_string()).unwrap_or_default();
        let tools = client.list_all_tools().await.map_err(|error| error.to_string())?.len();
        let _ = client.cancel().await;
        Ok::<_, String>(Works { protocol, tools })
    });
    match asked.await {
        Ok(Ok(works)) => Ok(works),
        Ok(Err(error)) => {
            // What it said on its way out is worth more than that it went.
            let said = tokio::time::timeout(Duration::from_secs(2), said(stderr)).await.unwrap_or_default();
            let why = if said.is_empty() { clipped(&error, 300) } else { said };
            Err((why, again()))
        }
        Err(_) => Err((format!("it has not answered for {} seconds", START_TIME_MAX.as_secs()), again())),
    }
}

/// This program, if `command` is a way to name it.
fn this_program(command: &str) -> Result<PathBuf, String> {
    let this = std::env::current_exe().and_then(|path| path.canonicalize()).map_err(|error| error.to_string())?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let named: Vec<PathBuf> = match command.contains('/') {
        true => vec![PathBuf::from(command)],
        false => std::env::split_paths(&path).map(|dir| dir.join(command)).collect(),
    };
    match named.iter().find_map(|path| path.canonicalize().ok()) {
        Some(found) if found == this => Ok(this),
        Some(found) => Err(format!("{} is another program than this one, and was not started", found.display())),
        None => Err(format!("there is no program {command:?}")),
    }
}

/// Whether these arguments have this program serve MCP on its streams, and do nothing else.
fn serves(args: &[String]) -> Result<(), String> {
    let parsed = Cli::try_parse_from(std::iter::once("vespiary").chain(args.iter().map(String::as_str)));
    match parsed.map(|cli| cli.command) {
        Ok(CliCommand::Mcp(args)) if args.command.is_none() && args.serve.http.http.is_none() => Ok(()),
        Ok(_) => Err("it does not start a server on standard input and output".into()),
        Err(error) => {
            let text = error.render().to_string();
            Err(text.trim_start_matches("error: ").lines().next().unwrap_or_default().to_owned())
        }
    }
}

/// The beginning of what a program that ends has said.
async fn said(stderr: tokio::process::ChildStderr) -> String {
    use tokio::io::AsyncReadExt as _;
    let mut text = Vec::new();
    let _ = stderr.take(2_000).read_to_end(&mut text).await;
    String::from_utf8_lossy(&text).trim().to_owned()
}
