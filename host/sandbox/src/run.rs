//! One call in one cell, from receipt to outcome: a tool, or an agent's task. Whatever happens inside, the cell is closed
//! here and what it left is handed on. Never a second call in the same store.

use crate::Sandbox;
use crate::bindings::agent::AgentPluginPre;
use crate::bindings::agent::exports::vespiary::plugin::agent::Task;
use crate::bindings::tool::ToolPluginPre;
use crate::bindings::types::ToolError;
use crate::cell::Cell;
use crate::claims::{self, Held};
use crate::components::Ready;
use crate::ending;
use crate::walls::{Clock, time_hit};
use serde::Deserialize;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until, timeout};
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
        let entry = match self.components.find(plugin, &self.imports).await {
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
        Ok(close(store, admitted.quota(), &Held::by(admitted), ended))
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
        let (quota, held) = (*admitted.quota(), Held::by(&admitted));
        let mut store = self.imports.of_agent(admitted).into_store(&self.engine);
        let clock = Arc::clone(&store.data().walls.clock);
        let ended = within(&clock, &quota, async {
            let guest = pre.instantiate_async(&mut store).await?;
            guest.vespiary_plugin_agent().call_run(&mut store, &task).await
        })
        .await;
        Ok(close(store, &quota, &held, ended))
    }
}

/// Drive `work` inside the walls: its processor time counted, its wall-clock time bounded, and each of its waits.
pub(crate) async fn within<R>(
    clock: &Clock,
    quota: &Quota,
    work: impl Future<Output = wasmtime::Result<R>>,
) -> Result<R, Stopped> {
    let started = clock.wall();
    match timeout(quota.wall_time_max, no_longer_idle_than(quota.idle_time_max, clock, clock.timed(work))).await {
        Ok(Some(Ok(answer))) => Ok(answer),
        Ok(Some(Err(error))) => Err(Stopped::Error(error)),
        Ok(None) => Err(Stopped::Late(time_hit("idle-time-ms", quota.idle_time_max, quota.idle_time_max))),
        Err(_) => {
            let used = clock.wall().saturating_sub(started);
            Err(Stopped::Late(time_hit("wall-time-ms", quota.wall_time_max, used)))
        }
    }
}

/// Await `work` unless it waits for longer than `limit` at a stretch. A wait for tools that work on its behalf is none.
async fn no_longer_idle_than<F: Future>(limit: Duration, clock: &Clock, work: F) -> Option<F::Output> {
    let mut work = pin!(work);
    // Most calls never wait, so the timer is made at the first wait and moved on at each.
    let mut timer: Option<Pin<Box<Sleep>>> = None;
    poll_fn(|context| {
        if let Poll::Ready(done) = work.as_mut().poll(context) {
            return Poll::Ready(Some(done));
        }
        if clock.is_served() {
            timer = None;
            return Poll::Pending;
        }
        let from_now = Instant::now() + limit;
        match &mut timer {
            Some(timer) if timer.is_elapsed() => return Poll::Ready(None),
            Some(timer) => timer.as_mut().reset(from_now),
            None => timer = Some(Box::pin(sleep_until(from_now))),
        }
        match &mut timer {
            Some(timer) => timer.as_mut().poll(context).map(|()| None),
            None => Poll::Pending,
        }
    })
    .await
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

fn close(store: Store<Cell>, quota: &Quota, held: &Held, ended: Result<Result<String, ToolError>, Stopped>) -> Outcome {
    let cell = store.into_data();
    let answer = match ended {
        Ok(Ok(answer)) => ending::of_answer(answer, quota),
        Ok(Err(said)) => Err(ending::of_failure(claims::judged(said, &cell, held), &cell, quota)),
        Err(stopped) => Err(ending::of_failure(stopped.cause(&cell, quota), &cell, quota)),
    };
    // A network quota that was used up ended the call, whatever the guest made of it.
    let answer = cell.net_over().map_or(answer, |hit| Err(Failure::Limit(hit)));
    cell.into_outcome(match answer {
        Ok(value) => Ending::Done(value),
        Err(failure) => Ending::Failed(failure),
    })
}
