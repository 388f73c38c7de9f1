//! Asking a component what it is: its tools or its task, and what it imports. Done in a cell that holds nothing, for people
//! who look at a plugin; no call takes this way.

use crate::Sandbox;
use crate::components::Ready;
use crate::ending;
use crate::run::within;
use crate::text;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use vespiary_kernel::call::Failure;
use vespiary_kernel::ids::ToolName;
use vespiary_kernel::json::Json;
use vespiary_kernel::plugin::Plugin;
use vespiary_kernel::quota::Quota;

/// Descriptions read at once; the pool has spare places for this many.
pub(crate) const AT_ONCE: usize = 4;

/// The most a plugin may take to describe itself: a server's clients wait for all of them.
const CPU_TIME_MAX: Duration = Duration::from_secs(2);
const WALL_TIME_MAX: Duration = Duration::from_secs(10);

/// Tools a plugin may have: more than any assistant is offered at once.
const TOOLS_MAX: usize = 256;

/// What a plugin says of itself.
#[derive(Debug, Clone)]
pub enum Description {
    /// It offers these tools, in its own order.
    Tools(Vec<ToolDescription>),
    /// It is an agent.
    Agent(AgentDescription),
    /// It runs workflow scripts.
    Engine,
}

/// One tool.
#[derive(Debug, Clone)]
pub struct ToolDescription {
    /// `plugin.tool`, as callers write it.
    pub name: ToolName,
    /// What it does and when to use it.
    pub description: String,
    /// JSON Schema of the arguments.
    pub input_schema: Json,
    /// JSON Schema of the value.
    pub output_schema: Json,
}

/// An agent.
#[derive(Debug, Clone)]
pub struct AgentDescription {
    /// What it does.
    pub summary: String,
    /// JSON Schema of the task's `context`.
    pub context_schema: Json,
    /// JSON Schema of the answer.
    pub output_schema: Json,
}

/// The limits under which a plugin describes itself.
fn quota(own: &Quota) -> Quota {
    Quota {
        cpu_time_max: own.cpu_time_max.min(CPU_TIME_MAX),
        wall_time_max: own.wall_time_max.min(WALL_TIME_MAX),
        idle_time_max: own.idle_time_max.min(WALL_TIME_MAX),
        ..*own
    }
}

impl Sandbox {
    /// Ask `plugin` what it offers. Its own limits hold, as far as they are lower than what a description may take: others wait for
    /// it, and nobody has granted it anything. It is given no directory and no door.
    ///
    /// Fails as a call would, and with `Trapped` of kind `contract` when the description breaks the rules of `wit/`.
    pub async fn describe(&self, plugin: &Plugin) -> Result<Description, Failure> {
        let _place = self.describing.acquire().await.map_err(|closed| Failure::Host(closed.to_string()))?;
        let entry = self.components.find(plugin, &self.imports).await?;
        let quota = &quota(&plugin.quota);
        let mut store = self.imports.of_nobody(plugin.kind, quota).into_store(&self.engine);
        let clock = Arc::clone(&store.data().walls.clock);
        match entry.get()? {
            Ready::Tools(pre) => {
                let said = within(&clock, quota, async {
                    let guest = pre.instantiate_async(&mut store).await?;
                    guest.vespiary_plugin_tools().call_describe(&mut store).await
                });
                let tools = said.await.map_err(|stopped| stopped.cause(store.data(), quota))?;
                if tools.len() > TOOLS_MAX {
                    return Err(ending::breach(format!(
                        "it describes {} tools, and may have {TOOLS_MAX}",
                        tools.len()
                    )));
                }
                let mut names = HashSet::new();
                let tools = tools.into_iter().map(|tool| {
                    let name = format!("{}.{}", plugin.name, tool.name);
                    let name: ToolName =
                        name.parse().map_err(|error| ending::breach(format!("a tool's name: {error}")))?;
                    if !names.insert(name.clone()) {
                        return Err(ending::breach(format!("it describes {name} twice")));
                    }
                    Ok(ToolDescription {
                        description: text::cause(tool.description),
                        input_schema: ending::json(tool.input_schema, &format!("the input schema of {name}"))?,
                        output_schema: ending::json(tool.output_schema, &format!("the output schema of {name}"))?,
                        name,
                    })
                });
                Ok(Description::Tools(tools.collect::<Result<_, _>>()?))
            }
            Ready::Agent(pre) => {
                let said = within(&clock, quota, async {
                    let guest = pre.instantiate_async(&mut store).await?;
                    guest.vespiary_plugin_agent().call_describe(&mut store).await
                });
                let agent = said.await.map_err(|stopped| stopped.cause(store.data(), quota))?;
                Ok(Description::Agent(AgentDescription {
                    summary: text::cause(agent.summary),
                    context_schema: ending::json(agent.context_schema, "its context schema")?,
                    output_schema: ending::json(agent.output_schema, "its output schema")?,
                }))
            }
            Ready::Engine(_) => Ok(Description::Engine),
        }
    }

    /// What a component imports, in its own order, for example `wasi:filesystem/types@0.2.12`. Compiles it to find out.
    ///
    /// Fails with `Unrunnable` when the bytes are no component.
    pub async fn imports(&self, component: Vec<u8>) -> Result<Vec<String>, Failure> {
        self.components.imports(component).await
    }
}
