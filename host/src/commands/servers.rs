//! `vespiary mcp servers`, `trust` and `untrust`: which MCP servers a project has, and what of them a person trusts. Looking at a
//! server is a call like any other: recorded, judged, confined; only here may it look at one that nobody trusts yet.
//!
//! `--json`: `servers` prints `{schema: "vespiary.mcp-servers/1", servers: [{name, way, reached, state, tools, needs, file}],
//! faults}`, `trust` prints `{schema: "vespiary.mcp-trust/1", server, trusted, changes, tools, needs, run}`, `untrust` prints
//! `{schema: "vespiary.mcp-untrust/1", server, was_trusted}`.

use super::call::{defaults, recorded};
use super::{print_json, print_out, table};
use crate::cli::Output;
use crate::cli::mcp::TrustArgs;
use crate::exit::{Exit, Trouble};
use crate::live::Live;
use crate::paths::Home;
use crate::report::count;
use crate::servers::{ProjectServers, State, file};
use crate::terminal::{Style, clipped, line, plain};
use crate::wiring::{self, Before, Host, Person};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::Path;
use vespiary_kernel::call::Ending;
use vespiary_kernel::gate::Matter;
use vespiary_kernel::ids::PluginName;
use vespiary_kernel::json::Json;
use vespiary_kernel::mcp::one;
use vespiary_kernel::principal::RunLimits;
use vespiary_mcp::config::{ServerConfig, Way};
use vespiary_mcp::pin::{Change, Pin, Tool};

/// Changes that are shown in a question; the rest is counted.
const ASKED_MAX: usize = 200;
/// Characters of one thing that changed.
const CHANGE_CHARS_MAX: usize = 200;

/// `mcp servers`
pub(super) fn list(dir: &Path, output: Output) -> Result<Exit, Trouble> {
    let root = wiring::project(dir)?;
    let servers = read(&root)?;
    let exit = if servers.faults.is_empty() { Exit::Done } else { Exit::Usage };
    if output.json {
        let all: Vec<_> = servers.iter().map(|server| as_json(&servers, &server.config, &server.file)).collect();
        print_json(&json!({ "schema": "vespiary.mcp-servers/1", "servers": all, "faults": servers.faults }))?;
        return Ok(exit);
    }
    let style = Style::of_stdout();
    let mut lines = Vec::new();
    if servers.iter().next().is_some() {
        let first = ["NAME", "STATE", "TOOLS", "REACHED BY"].map(str::to_owned).to_vec();
        let rows = servers.iter().map(|server| {
            let (config, state) = (&server.config, servers.state(&server.config));
            let tools = servers.lock().pin(&config.name).map_or_else(|| "-".into(), |pin| pin.tools.len().to_string());
            vec![config.name.to_string(), state.as_str().into(), tools, clipped(&config.to_string(), 100)]
        });
        lines.push(table(&std::iter::once(first).chain(rows).collect::<Vec<_>>()));
    } else if servers.faults.is_empty() {
        lines.push("no MCP servers: neither .mcp.json nor vespiary.toml configures one".into());
    }
    lines.extend(servers.faults.iter().map(|fault| format!("{}  {fault}", style.red("fault"))));
    print_out(&lines.join("\n"))?;
    Ok(exit)
}

/// `mcp untrust`
pub(super) fn untrust(server: &PluginName, dir: &Path, output: Output) -> Result<Exit, Trouble> {
    let root = wiring::project(dir)?;
    let was_trusted = file::change(&Home::locate()?, &root, |lock| lock.remove(server))?;
    if output.json {
        print_json(&json!({ "schema": "vespiary.mcp-untrust/1", "server": server, "was_trusted": was_trusted }))?;
    } else if was_trusted {
        print_out(&format!("{server} is trusted no longer"))?;
    } else {
        print_out(&format!("{server} was not trusted"))?;
    }
    Ok(Exit::Done)
}

/// `mcp trust`
pub(super) fn trust(args: &TrustArgs, policy: Option<&Path>) -> Result<Exit, Trouble> {
    let root = wiring::project(&args.dir)?;
    let home = Home::locate()?;
    let rules = wiring::rules(&home, policy, &root, &args.permissions)?;
    let shelf = wiring::shelf(&args.permissions, &rules)?.with_servers(&root)?.looking_at(args.server.clone());
    let config = shelf.servers().find(args.server.as_str())?.config.clone();
    let lock = sound_lock(shelf.servers())?;
    let entry = config.entry();
    let plugin = super::call::named(&shelf, &entry)?;
    let grant = wiring::grant(&args.permissions, defaults(&plugin, &entry));
    let id = wiring::new_run_id()?;
    let before = Before { once: true, ..Before::default() };
    let host = Host::open(&home, shelf, wiring::capacity_of_call(), rules, Person::alone(), None, before)?;
    let who = host.dispatcher.start(id.clone(), root.clone(), grant, RunLimits::default());
    let live = Live::begin(&home, &id)?;
    let runtime = wiring::runtime()?;
    let list = Json::parse(r#"{"list":true}"#).map_err(|error| unheard(&config, &error))?;
    let outcome = runtime.block_on(recorded(&host, &who, &live, &entry, list))?;
    let answer = match outcome.ending {
        Ending::Done(answer) => answer,
        Ending::Failed(failure) => {
            runtime.shutdown_background();
            host.ledger.close()?;
            return Err(Trouble::of_failure(&format!("the server {} cannot be looked at", config.name), &failure));
        }
    };
    let seen = seen(&config, &answer)?;
    let old = lock.pin(&config.name).cloned();
    let changes = Change::between(&old.clone().unwrap_or_default(), &seen.pin);
    let is_new = old.as_ref() != Some(&seen.pin);
    if !args.output.json {
        print_out(&told(&config, &seen, old.as_ref(), &changes, Style::of_stdout()))?;
    }
    let agreed = !is_new || args.yes || {
        let matter = matter(&config, &seen.pin, &changes)?;
        match runtime.block_on(host.terminal.decide(&id, &matter)) {
            Some(agreed) => agreed,
            None => {
                return Err(Trouble {
                    exit: Exit::Denied,
                    ..Trouble::failed(
                        format!("{} is not trusted", config.name),
                        "nobody is at the terminal to say so",
                        "run it at a terminal, or look at the tools above and say --yes",
                    )
                });
            }
        }
    };
    runtime.shutdown_background();
    host.ledger.close()?;
    if agreed && is_new {
        // Looking took its time, and so did the answer.
        file::change(&home, &root, |lock| lock.set(config.name.clone(), seen.pin.clone()))?;
    }
    if args.output.json {
        let tools = seen.pin.tools.values().map(|tool| {
            json!({ "name": tool.name(), "title": tool.text("title"), "description": tool.text("description"), "sha256": tool.digest() })
        });
        print_json(&json!({
            "schema": "vespiary.mcp-trust/1", "server": config.name, "trusted": agreed, "run": id,
            "changes": changes.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "tools": tools.collect::<Vec<_>>(), "needs": needs(&config),
        }))?;
    } else if agreed {
        let tools = count(seen.pin.tools.len() as u64, "tool");
        let how = if is_new { "is trusted now" } else { "was trusted so already" };
        print_out(&format!("{} {how}: {tools}, in {}", config.name, file::LOCK))?;
    } else {
        print_out(&format!("{} is not trusted", config.name))?;
    }
    Ok(if agreed { Exit::Done } else { Exit::Denied })
}

/// What a server said when it was looked at.
struct Seen {
    says_it_is: Option<String>,
    pin: Pin,
    /// Tools whose names no capability can spell.
    unnameable: Vec<String>,
}

fn seen(config: &ServerConfig, answer: &Json) -> Result<Seen, Trouble> {
    let answer: Value = answer.read().map_err(|error| unheard(config, &error))?;
    let listed = answer["tools"].as_array().cloned().unwrap_or_default();
    let tools: Vec<Tool> =
        listed.iter().map(Tool::of).collect::<Result<_, _>>().map_err(|why| unheard(config, &why))?;
    let (good, bad): (Vec<_>, Vec<_>) = tools.into_iter().partition(|tool| one(&config.name, &tool.name()).is_ok());
    let says_it_is = answer["says_it_is"].as_str().map(str::to_owned);
    let unnameable = bad.iter().map(Tool::name).collect();
    Ok(Seen { says_it_is, pin: Pin::of(config, good), unnameable })
}

fn unheard(config: &ServerConfig, error: &dyn std::fmt::Display) -> Trouble {
    Trouble::failed(
        format!("the server {} cannot be looked at", config.name),
        error,
        "report it to the server's author",
    )
}

/// What is asked: the server, a digest of all that would be trusted, and what is new in it.
fn matter(config: &ServerConfig, pin: &Pin, changes: &[Change]) -> Result<Matter, Trouble> {
    let mut shown: Vec<_> =
        changes.iter().take(ASKED_MAX).map(|change| clipped(&change.to_string(), CHANGE_CHARS_MAX)).collect();
    if let Some(more) = changes.len().checked_sub(ASKED_MAX).filter(|more| *more > 0) {
        shown.push(format!("and {more} more, shown above"));
    }
    let payload = json!({ "changes": shown, "sha256": pin.digest() });
    let payload = Json::of(&payload).map_err(|error| unheard(config, &error))?;
    Matter::new(&format!("Trust the MCP server {} as shown above?", config.name), &payload)
        .map_err(|error| unheard(config, &error))
}

fn needs(config: &ServerConfig) -> Vec<String> {
    config.needs().iter().map(|need| need.capability.to_string()).collect()
}

/// Everything that a person decides on. Every word of the server's is shown, and none of it obeyed.
fn told(config: &ServerConfig, seen: &Seen, old: Option<&Pin>, changes: &[Change], style: Style) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let mut say = |text: String| {
        let _ = writeln!(out, "{text}");
    };
    let who = seen
        .says_it_is
        .as_deref()
        .map(|who| format!("  {}", style.dim(&format!("it says it is {}", clipped(who, 100)))));
    say(format!("{}{}", style.bold(config.name.as_str()), who.unwrap_or_default()));
    say(format!("  reached by  {}", line(&config.to_string())));
    say(format!("  needs       {}", line(&needs(config).join(", "))));
    say(format!("\n{}", style.bold("Tools")));
    if seen.pin.tools.is_empty() {
        say("  none".into());
    }
    for tool in seen.pin.tools.values() {
        let title = tool.text("title").map(|title| format!("  {}", style.dim(&clipped(&title, 100))));
        say(format!("  {}{}", style.bold(&line(&tool.name())), title.unwrap_or_default()));
        let description = tool.text("description").unwrap_or_default();
        for line in plain(description.trim()).lines() {
            say(format!("    {line}"));
        }
    }
    for name in &seen.unnameable {
        let why = "left out: its name cannot be granted";
        say(format!("  {}  {}", clipped(name, 100), style.yellow(why)));
    }
    if old.is_some() && !changes.is_empty() {
        say(format!("\n{}", style.bold("What changed since it was trusted")));
        for change in changes {
            say(format!("  {}", clipped(&change.to_string(), CHANGE_CHARS_MAX)));
        }
        for (name, was) in old.iter().flat_map(|old| &old.tools) {
            let now = seen.pin.tools.get(name).and_then(|tool| tool.text("description")).unwrap_or_default();
            let was = was.text("description").unwrap_or_default();
            if changes.iter().any(|change| matches!(change, Change::ToolChanged(of, _) if of == name)) && was != now {
                say(format!("\n  {} was described as", style.bold(&line(name))));
                for line in plain(was.trim()).lines() {
                    say(format!("    {line}"));
                }
            }
        }
    }
    out
}

fn as_json(servers: &ProjectServers, config: &ServerConfig, file: &str) -> Value {
    let tools = servers.lock().pin(&config.name).map(|pin| pin.tools.keys().cloned().collect::<Vec<_>>());
    let way = match &config.way {
        Way::Program { .. } => "program",
        Way::Http { .. } => "http",
    };
    let state = match servers.state(config) {
        State::NotPinned => "not-pinned",
        other => other.as_str(),
    };
    json!({
        "name": config.name, "way": way, "reached": config.to_string(), "state": state,
        "tools": tools.unwrap_or_default(), "needs": needs(config), "file": file,
    })
}

fn read(root: &Path) -> Result<ProjectServers, Trouble> {
    Ok(crate::catalog::Shelf::bundled()?.with_servers(root)?.servers().clone())
}

/// The lock, to be written again: never one that could not be read, or what was in it would be lost.
fn sound_lock(servers: &ProjectServers) -> Result<vespiary_mcp::lock::Lock, Trouble> {
    match servers.faults.iter().find(|fault| fault.file.ends_with(file::LOCK)) {
        None => Ok(servers.lock().clone()),
        Some(fault) => Err(Trouble::usage("the pins cannot be changed", fault, fault.next.clone())),
    }
}
