//! What clients are told of the server's own tools: what each is for, its arguments, and what its answer always has.

use crate::mcp::nest::Nest;
use crate::mcp::offers::Offers;
use crate::mcp::own::{CAPABILITIES_MAX, TASKS_MAX};
use crate::workflows::Shelves;
use rmcp::model::{Tool, ToolAnnotations};
use serde_json::{Value, json};
use std::sync::Arc;

/// All of them.
pub(super) fn tools(nest: &Nest, offers: &Offers) -> Vec<Tool> {
    let run = json!({ "type": "string", "description": "the run's id" });
    let permissions = json!({
        "type": "array", "maxItems": CAPABILITIES_MAX, "items": { "type": "string" },
        "description": "capabilities the run shall hold in place of the server's directories, hosts and programs, for example [\"read:src\"]; never more than the server holds"
    });
    let limits = json!({
        "type": "object", "additionalProperties": false,
        "properties": {
            "agents": { "type": "integer", "minimum": 1, "description": "the most agents ever" },
            "tokens": { "type": "integer", "minimum": 0 }, "usd": { "type": "number", "minimum": 0 },
            "seconds": { "type": "integer", "minimum": 1, "description": "nothing new starts after it" }
        },
        "description": "lower limits than the server's"
    });
    let known = Shelves::of(nest.root(), nest.home()).known();
    let names: Vec<_> = known.iter().take(50).map(|known| known.name.as_str()).collect();
    let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let agents =
        if offers.agents.is_empty() { "none".to_owned() } else { format!("\n- {}", offers.agents.join("\n- ")) };
    vec![
        tool(
            "approve",
            "Take a gate to the person",
            "Asks the person to decide a gate that a run waits at, through this client, and hands their decision to the run. The decision is theirs: nothing in the arguments decides.".into(),
            json!({ "run": run, "gate": { "type": "string", "description": "the beginning of the gate's digest; not needed where one is open" } }),
            &["run"],
            (&["approved", "by", "goes_on_as"], [false, true, false]),
        ),
        tool(
            "run_result",
            "What a run came to",
            "What a run came to so far or in the end: its value, failed agents, changes, and the resources that hold its report.".into(),
            json!({ "run": run }),
            &["run"],
            (&["run", "status", "value"], [true, false, true]),
        ),
        tool(
            "run_status",
            "How a run stands",
            "How a run stands: status, phase, agents, cost, and the gates that wait for a person.".into(),
            json!({ "run": run }),
            &["run"],
            (&["run", "status"], [true, false, true]),
        ),
        tool(
            "run_stop",
            "Stop a run",
            "Stops a run that was started over MCP. Gently: agents that run may finish. What is recorded is kept.".into(),
            json!({ "run": run, "now": { "type": "boolean", "description": "end every cell at once", "default": false } }),
            &["run"],
            (&["run", "asked"], [false, true, true]),
        ),
        tool(
            "run_workflow",
            "Start a workflow",
            format!(
                "Starts a workflow script as a recorded run of its own and gives the run's id at once; run_status and run_result tell of it. A script is JavaScript: `export const meta = {{ name, description }}`, then calls of agent(prompt, {{ agentType, context, schema, allow }}), parallel(), pipeline(), tool(name, args), phase(), gate(), and a return. Workflows known by name: {names}. Agent types: {agents}"
            ),
            json!({
                "workflow": { "type": "string", "description": "the name of a workflow of this project" },
                "script": { "type": "string", "description": "or the script itself" },
                "args": { "type": "object", "description": "the script's `args`; `dir` is '.' unless given" },
                "permissions": permissions, "limits": limits
            }),
            &[],
            (&["run", "status"], [false, false, false]),
        ),
        tool(
            "spawn_subagents",
            "Give tasks to subagents",
            format!(
                "Gives each task to a subagent in sealed cells and returns a result object for every one, in order: status (ok, failed, stopped, refused), value, cause, message, usage. One that fails costs only itself. After 15 minutes it gives the run's status, and run_result has the rest once it has ended. A task without `agent` is for a model, where the server was started with a provider. Agent types: {agents}"
            ),
            json!({
                "tasks": {
                    "type": "array", "minItems": 1, "maxItems": TASKS_MAX,
                    "items": {
                        "type": "object", "additionalProperties": false,
                        "properties": {
                            "prompt": { "type": "string", "description": "what to do; an agent type may need none" },
                            "agent": { "type": "string", "description": "the agent type" },
                            "directory": { "type": "string", "description": "all that it may read, relative to the project" },
                            "permissions": { "type": "array", "maxItems": CAPABILITIES_MAX, "items": { "type": "string" }, "description": "all that it may hold beside its tools" },
                            "context": { "description": "what to do it to, as the agent type takes it" },
                            "schema": { "type": "object", "description": "the JSON Schema of the answer" },
                            "label": { "type": "string" }, "model": { "type": "string" },
                            "isolation": { "type": "string", "enum": ["worktree"] },
                            "timeout": { "type": "integer", "minimum": 1, "description": "milliseconds" },
                            "retry": { "type": "integer", "minimum": 0, "maximum": 5 }
                        }
                    }
                },
                "permissions": permissions, "limits": limits,
                "wait": { "type": "boolean", "default": true, "description": "false: give the run's id at once" }
            }),
            &["tasks"],
            (&["run", "status"], [false, false, false]),
        ),
    ]
}

/// One of them: its arguments, those that it must be given, what its answer always has, and whether it changes nothing, can
/// destroy, and is the same twice.
fn tool(
    name: &'static str,
    title: &str,
    description: String,
    properties: Value,
    required: &[&str],
    (always, [read_only, destructive, idempotent]): (&[&str], [bool; 3]),
) -> Tool {
    let object = |value: Value| match value {
        Value::Object(object) => Arc::new(object),
        _ => Arc::default(),
    };
    let input =
        json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false });
    let output = json!({ "type": "object", "required": always });
    let annotations = ToolAnnotations::with_title(title)
        .read_only(read_only)
        .destructive(destructive)
        .idempotent(idempotent)
        .open_world(false);
    Tool::new(name, description, object(input))
        .with_title(title)
        .with_raw_output_schema(object(output))
        .with_annotations(annotations)
}
