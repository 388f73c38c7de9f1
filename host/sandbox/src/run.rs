//! One call in one cell, from receipt to outcome: a tool, or an agent's task. Whatever happens inside, the cell is closed
//! here and what it left is handed on. Never a second call in the same store.

use crate::Sandbox;
use crate::bindings::agent::AgentPluginPre;
use crate::bindings::agent::exports::vespiary::plugin::agent::Task;
use crate::bindings::tool::ToolPluginPre;
use crate::bindings::types::ToolError;
use crate::cell::Cell;
use crate::components::Ready;
use crate::ending;
use crate::walls::{Clock, time_hit};
use serde::Deserialize;
use std::future::Future;
use std::sync::Arc;
use tokio::time::timeout;
use vespiary_kernel::admit::Admitted;
use vespiary_kernel::call::{Ending, Failure, Outcome};
use vespiary_kernel::json::Json;
use vespiary_kernel::quota::{LimitHit, Quota};
use wasmtime::Store;

/// An agent's arguments, as the dispatcher passes them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TaskArguments {
    prompt: String,
    #[serde(default = "Json::null")]
    context: Json,
    #[serde(default)]
    schema: Option<Json>,
}

impl Sandbox {
    pub(crate) async fn run_call(&self, admitted: Admitted) -> Outcome {
        let plugin = admitted.plugin();
        let entry = match self.components.find(&plugin.digest, plugin.kind, &self.imports).await {
            Ok(entry) => entry,
            Err(failure) => return Outcome::refused(failure),
        };
        let ran = match entry.get() {
            Ok(Ready::Tools(pre)) => self.run_tool(pre, &admitted).await,
            Ok(Ready::Agent(pre)) => self.run_agent(pre, admitted).await,
            Ok(Ready::Engine(_)) => Err(Failure::Unrunnable("it runs scripts and has no tool to call".into())),
            Err(failure) => Err(failure),
        };
        ran.unwrap_or_else(Outcome::refused)
    }

    async fn run_tool(&self, pre: &ToolPluginPre<Cell>, admitted: &Admitted) -> Result<Outcome, Failure> {
        let cell = self.imports.of_tool(admitted)?;
        // Declared after the receipt, dropped before it: the lease goes back when the memory has.
        let mut store = cell.into_store(&self.engine);
        let clock = Arc::clone(&store.data().walls.clock);
        let (tool, arguments) = (admitted.local(), admitted.arguments().as_str().to_owned());
        let ended = within(&clock, admitted.quota(), async {
            let guest = pre.instantiate_async(&mut store).await?;
            guest.vespiary_plugin_tools().call_call(&mut store, tool, &arguments).await
        })
        .await;
        Ok(close(store, admitted.quota(), ended))
    }

    async fn run_agent(&self, pre: &AgentPluginPre<Cell>, admitted: Admitted) -> Result<Outcome, Failure> {
        let plugin = Arc::clone(admitted.plugin());
        let task = admitted.arguments().read::<TaskArguments>().map_err(|error| {
            Failure::InvalidArguments(format!(
                "the task of {} is {{prompt, context?, schema?}}, and this one does not fit: {error}",
                plugin.name
            ))
        })?;
        let task = Task {
            prompt: task.prompt,
            context: task.context.as_str().to_owned(),
            schema: task.schema.map(|schema| schema.as_str().to_owned()),
        };
        let mut store = self.imports.of_agent(admitted).into_store(&self.engine);
        let clock = Arc::clone(&store.data().walls.clock);
        let ended = within(&clock, &plugin.quota, async {
            let guest = pre.instantiate_async(&mut store).await?;
            guest.vespiary_plugin_agent().call_run(&mut store, &task).await
        })
        .await;
        Ok(close(store, &plugin.quota, ended))
    }
}

/// Drive `work` inside the walls: its processor time counted, its wall-clock time bounded.
pub(crate) async fn within<R>(
    clock: &Clock,
    quota: &Quota,
    work: impl Future<Output = wasmtime::Result<R>>,
) -> Result<R, Stopped> {
    let started = clock.wall();
    match timeout(quota.wall_time_max, clock.timed(work)).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(Stopped::Error(error)),
        Err(_) => {
            let used = clock.wall().saturating_sub(started);
            Err(Stopped::Late(time_hit("wall-time-ms", quota.wall_time_max, used)))
        }
    }
}

/// How work in a cell was stopped before it gave an answer.
pub(crate) enum Stopped {
    /// Its time ran out.
    Late(LimitHit),
    /// Wasmtime, or a host function, ended it.
    Error(wasmtime::Error),
}

impl Stopped {
    /// The cause, looked up in what the cell remembers. The work is over by now, so the store is free to be read.
    pub(crate) fn cause(&self, cell: &Cell, quota: &Quota) -> Failure {
        match self {
            Self::Late(hit) => Failure::Limit(hit.clone()),
            Self::Error(error) => ending::of_error(error, cell, quota),
        }
    }
}

fn close(store: Store<Cell>, quota: &Quota, ended: Result<Result<String, ToolError>, Stopped>) -> Outcome {
    let cell = store.into_data();
    let answer = ended.map_err(|stopped| stopped.cause(&cell, quota)).and_then(|said| ending::of_answer(said, quota));
    cell.into_outcome(match answer {
        Ok(value) => Ending::Done(value),
        Err(failure) => Ending::Failed(failure),
    })
}
