//! `vespiary plugin`: what can be called, what it needs and why.
//!
//! `--json`: `list` prints `{schema: "vespiary.plugins/1", plugins: [{name, version, kind, description, sha256}]}`, `inspect`
//! prints `{schema: "vespiary.plugin/1", ...}` with `needs`, `quota`, `imports` and `tools` or `agent` beside the same members.

use super::{print_json, print_out, table};
use crate::catalog::{Entry, Origin, Shelf};
use crate::cli::Output;
use crate::exit::{Exit, Trouble};
use crate::paths::Home;
use crate::policy::places::Places;
use crate::policy::{Flags, Rules};
use crate::report::thousands;
use crate::terminal::{Style, line, plain};
use crate::wiring;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use vespiary_kernel::call::Failure;
use vespiary_kernel::host::HostLimits;
use vespiary_kernel::ids::ToolName;
use vespiary_kernel::json::Json;
use vespiary_kernel::plugin::{Kind, Plugin};
use vespiary_kernel::ports::Catalog as _;
use vespiary_kernel::program::{ProgramArguments, ProgramResult};
use vespiary_sandbox::describe::{Description, ToolDescription};

pub(super) fn list(output: Output) -> Result<Exit, Trouble> {
    let shelf = Shelf::bundled()?;
    if output.json {
        let plugins: Vec<_> = shelf.iter().map(|entry| head(&entry.plugin)).collect();
        print_json(&json!({ "schema": "vespiary.plugins/1", "plugins": plugins }))?;
        return Ok(Exit::Done);
    }
    let first = ["NAME", "VERSION", "KIND", "SHA256", "WHAT IT DOES"].map(str::to_owned).to_vec();
    let rows = shelf.iter().map(|Entry { plugin, .. }| {
        let kind = kind(plugin.kind).to_owned();
        vec![plugin.name.to_string(), plugin.version.clone(), kind, plugin.digest.short(), plugin.description.clone()]
    });
    print_out(&table(&std::iter::once(first).chain(rows).collect::<Vec<_>>()))?;
    Ok(Exit::Done)
}

pub(super) fn inspect(named: &str, policy: Option<&Path>, output: Output) -> Result<Exit, Trouble> {
    let mut shelf = Shelf::bundled()?;
    let name = match shelf.entry(named) {
        Some(entry) => entry.plugin.name.clone(),
        None if Path::new(named).exists() => shelf.load(Path::new(named))?,
        None => {
            return Err(Trouble::usage(
                format!("there is no plugin {named:?}"),
                format!("it is neither a file nor one of {}", shelf.names().join(", ")),
                "name a bundled plugin, or the path of a component with its plugin.toml beside it",
            ));
        }
    };
    let shelf = Arc::new(shelf);
    let Some(entry) = shelf.entry(name.as_str()) else { return Ok(Exit::Failed) };
    let plugin = &entry.plugin;
    let home = Home::locate()?;
    let root = wiring::project(Path::new("."))?;
    let rules = Rules::load(&Places::of(&home, policy, &root), &root, Flags::default())?;
    // Looking is not using: its description is asked for in a cell that holds nothing.
    let refused = rules.policy.refuses(plugin);
    home.create()?;
    let limits = rules.policy.host(HostLimits::default());
    let sandbox = wiring::sandbox(&home, &shelf, wiring::capacity_of_call(), &limits)?;
    let bytes = shelf.component(&plugin.digest).map(|bytes| bytes.into_owned()).unwrap_or_default();
    let runtime = wiring::runtime()?;
    let asked = runtime.block_on(async {
        if !plugin.kind.is_component() {
            return Ok((Vec::new(), programs_own(plugin)?));
        }
        let imports = sandbox.imports(bytes).await?;
        Ok((imports, sandbox.describe(plugin).await?))
    });
    let (imports, description) =
        asked.map_err(|failure| Trouble::of_failure(&format!("{name} cannot be inspected"), &failure))?;
    if output.json {
        let mut shape = as_json(entry, &imports, &description);
        shape["refused"] = json!(refused);
        print_json(&shape)?;
    } else {
        let mut text = as_text(entry, &imports, &description).trim_end().to_owned();
        if let Some(denial) = refused {
            let _ = write!(
                text,
                "\n\n{}\n  {}",
                Style::of_stdout().red("Refused by the policy"),
                plain(&denial.to_string())
            );
        }
        print_out(&text)?;
    }
    Ok(Exit::Done)
}

/// What the host says of its own tool, which no component can describe.
fn programs_own(plugin: &Plugin) -> Result<Description, Failure> {
    let wrong = |error: &dyn std::fmt::Display| Failure::Host(error.to_string());
    let name = format!("{}.{}", plugin.name, ToolName::AGENT_ENTRY).parse().map_err(|e| wrong(&e))?;
    let schema = |text: &str| Json::parse(text).map_err(|e| wrong(&e));
    Ok(Description::Tools(vec![ToolDescription {
        name,
        description: plugin.description.clone(),
        input_schema: schema(ProgramArguments::SCHEMA)?,
        output_schema: schema(ProgramResult::SCHEMA)?,
    }]))
}

fn head(plugin: &Plugin) -> Value {
    json!({
        "name": plugin.name, "version": plugin.version, "kind": kind(plugin.kind),
        "description": plugin.description, "sha256": plugin.digest,
    })
}

fn as_json(entry: &Entry, imports: &[String], description: &Description) -> Value {
    let plugin = &entry.plugin;
    let mut shape = head(plugin);
    shape["schema"] = "vespiary.plugin/1".into();
    shape["origin"] = match &entry.origin {
        Origin::Bundled => "bundled".into(),
        Origin::File(path) | Origin::Server(path) => path.display().to_string().into(),
    };
    shape["component_bytes"] = entry.component_bytes().into();
    shape["needs"] = plugin
        .needs
        .iter()
        .map(|need| json!({ "capability": need.capability, "reason": need.reason, "tools": need.tools }))
        .collect();
    let limits = plugin.quota.rows().into_iter();
    shape["quota"] = limits.map(|(name, most, _)| (format!("{}_max", name.replace('-', "_")), json!(most))).collect();
    shape["imports"] = imports.into();
    match description {
        Description::Tools(tools) => {
            let tools = tools.iter().map(|tool| {
                json!({
                    "name": tool.name, "description": tool.description,
                    "annotations": plugin.annotations.get(tool.name.local()),
                    "input_schema": tool.input_schema, "output_schema": tool.output_schema,
                })
            });
            shape["tools"] = tools.collect();
        }
        Description::Agent(agent) => {
            shape["agent"] = json!({
                "summary": agent.summary, "context_schema": agent.context_schema, "output_schema": agent.output_schema,
            });
        }
        Description::Engine => {}
    }
    shape
}

fn as_text(entry: &Entry, imports: &[String], description: &Description) -> String {
    let (style, plugin) = (Style::of_stdout(), &entry.plugin);
    let mut out = String::new();
    // Writing to a string cannot fail.
    let mut say = |text: String| {
        let _ = writeln!(out, "{text}");
    };
    say(format!("{} {} ({})", style.bold(plugin.name.as_str()), line(&plugin.version), kind(plugin.kind)));
    say(format!("{}\n", plain(&plugin.description)));
    if let Origin::File(path) = &entry.origin {
        say(format!("file    {}", line(&path.display().to_string())));
    }
    say(format!("sha256  {}", plugin.digest));
    say(format!("size    {} bytes", thousands(entry.component_bytes() as u64)));
    say(format!("\n{}", style.bold("Needs")));
    if plugin.needs.is_empty() {
        say("  nothing".into());
    }
    for need in &plugin.needs {
        let tools = if need.tools.is_empty() { String::new() } else { format!(" [{}]", line(&need.tools.join(", "))) };
        say(format!("  {}{}\n    {}", need.capability, style.dim(&tools), line(&need.reason)));
    }
    match description {
        Description::Tools(tools) => {
            say(format!("\n{}", style.bold("Tools")));
            for tool in tools {
                let notes = plugin.annotations.get(tool.name.local()).map(|a| {
                    [(a.read_only, "read-only"), (a.idempotent, "idempotent"), (a.deterministic, "deterministic")]
                        .iter()
                        .filter_map(|(yes, word)| yes.then_some(*word))
                        .collect::<Vec<_>>()
                        .join(", ")
                });
                let notes =
                    notes.filter(|notes| !notes.is_empty()).map(|notes| format!("  ({notes})")).unwrap_or_default();
                say(format!("  {}{}", style.bold(tool.name.as_str()), style.dim(&notes)));
                say(format!("    {}", plain(tool.description.trim()).replace('\n', "\n    ")));
            }
            say(style.dim("\n  `--json` shows the schemas of arguments and values"));
        }
        Description::Agent(agent) => {
            say(format!("\n{}\n  {}", style.bold("Agent"), plain(agent.summary.trim()).replace('\n', "\n  ")));
            say(style.dim("\n  `--json` shows the schemas of its context and answer"));
        }
        Description::Engine => say("\nRuns workflow scripts: `vespiary run SCRIPT`".into()),
    }
    say(format!("\n{}", style.bold("Imports")));
    for import in imports {
        say(format!("  {}", line(import)));
    }
    if imports.is_empty() {
        say("  nothing".into());
    }
    out
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Tools => "tools",
        Kind::Agent => "agent",
        Kind::Engine => "engine",
        Kind::Program => "program",
        Kind::Model => "model",
        Kind::Mcp => "mcp",
    }
}
