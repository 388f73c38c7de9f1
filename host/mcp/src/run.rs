//! A call that was admitted, from its receipt to its outcome: trusted as it was pinned, in its turn, within its limits.

use crate::call::{Deadline, Log, call};
use crate::instance::Instance;
use crate::pin::{Drift, Tool};
use crate::pool::{Slot, shared_scope};
use crate::{Server, Servers};
use std::sync::Arc;
use tokio::time::timeout_at;
use vespiary_kernel::admit::Admitted;
use vespiary_kernel::call::{Ending, Failure, Outcome, Usage};
use vespiary_kernel::json::Json;
use vespiary_kernel::mcp::McpArguments;
use vespiary_kernel::policy::Denial;
use vespiary_kernel::ports::{BoxFuture, Runner, ScriptCell};
use vespiary_kernel::principal::Isolation;
use vespiary_kernel::quota::LimitHit;
use vespiary_kernel::sight::Access;

impl Runner for Servers {
    fn run(&self, admitted: Admitted) -> BoxFuture<'_, Outcome> {
        Box::pin(async move {
            let deadline = Deadline::after(admitted.quota().wall_time_max);
            let begun = std::time::Instant::now();
            let mut log = Log::new(admitted.quota().log_bytes_max);
            let answer = self.answer(&admitted, deadline, &mut log).await;
            let usage = Usage {
                wall_us: Usage::micros(begun.elapsed()),
                result_bytes: answer.as_ref().map_or(0, Json::len_bytes),
                log_bytes: log.bytes(),
                ..Usage::default()
            };
            let ending = match answer {
                Ok(value) => Ending::Done(value),
                Err(failure) => Ending::Failed(failure),
            };
            Outcome { ending, usage, log: log.lines, ..Outcome::refused(Failure::Cancelled) }
        })
    }

    fn open_script(&self, _: Admitted) -> BoxFuture<'_, Result<Box<dyn ScriptCell>, Outcome>> {
        let refused = Outcome::refused(Failure::Unrunnable("MCP servers run no workflow scripts".into()));
        Box::pin(std::future::ready(Err(refused)))
    }
}

impl Servers {
    async fn answer(&self, admitted: &Admitted, deadline: Deadline, log: &mut Log) -> Result<Json, Failure> {
        let name = &admitted.plugin().name;
        let server = self
            .known
            .get(name)
            .ok_or_else(|| Failure::Unrunnable(format!("no server {name} is configured in this project")))?;
        let asked = McpArguments::read(admitted.arguments()).map_err(Failure::InvalidArguments)?;
        let writes = admitted.scope().paths().any(|(access, _)| access == Access::Write);
        if admitted.isolation() == Isolation::Worktree && writes {
            return Err(Failure::Failed(
                "an MCP server does not see the worktree of an isolated agent, and must not write into the project \
                 instead; deny the agent write: for this call, or call the server outside of it"
                    .into(),
            ));
        }
        match asked {
            McpArguments::List if self.looked_at.as_ref() == Some(name) => {
                let (_, instance) = self.instance(server, admitted, deadline).await?;
                let tools = within(deadline, instance.tools()).await?;
                listed(server, Some(&instance), tools.values(), admitted.quota().result_bytes_max)
            }
            McpArguments::List => {
                let pin = server.pin.as_ref().ok_or_else(|| refused(admitted, "any tool", &Drift::NotPinned))?;
                listed(server, None, pin.tools.values(), admitted.quota().result_bytes_max)
            }
            McpArguments::Call { tool, arguments } => {
                let refuse = |drift: &Drift| refused(admitted, &tool, drift);
                let pin = server.pin.as_ref().ok_or_else(|| refuse(&Drift::NotPinned))?;
                pin.judge_config(&server.config).map_err(|drift| refuse(&drift))?;
                if !pin.tools.contains_key(&tool) {
                    return Err(refuse(&Drift::NewTool));
                }
                let arguments = arguments.read().map_err(|error| Failure::InvalidArguments(error.to_string()))?;
                let _turn = within(deadline, async { Ok(server.rate.turn().await) }).await?;
                let (slot, instance) = self.instance(server, admitted, deadline).await?;
                let tools = within(deadline, instance.tools()).await?;
                pin.judge_tool(&tool, tools.get(&tool)).map_err(|drift| refuse(&drift))?;
                let answer = call(&instance, tool, arguments, admitted.quota(), deadline, log).await;
                instance.touch();
                if answer.is_ok() {
                    slot.answered().await;
                }
                answer
            }
        }
    }

    /// The instance for everybody with the scope of this call.
    async fn instance(
        &self,
        server: &Server,
        admitted: &Admitted,
        deadline: Deadline,
    ) -> Result<(Arc<Slot>, Arc<Instance>), Failure> {
        let scope = shared_scope(admitted.scope());
        let slot = self.pool.slot(server, &scope, admitted.root())?;
        let started = self.pool.instance(&slot, server, &scope, admitted.root(), admitted.run());
        let instance = within(deadline, started).await?;
        instance.touch();
        Ok((slot, instance))
    }
}

/// The same, ended when the call has taken too long.
async fn within<T>(deadline: Deadline, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    timeout_at(deadline.at, work).await.unwrap_or_else(|_| Err(Failure::Limit(deadline.hit())))
}

/// A call that is not what somebody trusted.
fn refused(admitted: &Admitted, tool: &str, drift: &Drift) -> Failure {
    let name = &admitted.plugin().name;
    let tool: String = tool.chars().take(128).collect();
    Failure::Denied(Denial {
        needed: format!("{tool} of the server {name} as it is pinned in vespiary.lock"),
        held: admitted.scope().grant().to_string(),
        hint: format!("see what there is, and decide whether to trust it: `vespiary mcp trust {name}`"),
        rule: Some(format!("of the pins: {drift}")),
    })
}

/// Tools as a value.
fn listed<'a>(
    server: &Server,
    instance: Option<&Arc<Instance>>,
    tools: impl Iterator<Item = &'a Tool>,
    bytes_max: u64,
) -> Result<Json, Failure> {
    #[derive(serde::Serialize)]
    struct Listed<'a> {
        server: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        says_it_is: Option<String>,
        tools: Vec<&'a Json>,
    }
    let says_it_is = instance.and_then(|instance| instance.who()).map(|who| format!("{} {}", who.name, who.version));
    let tools = tools.map(Tool::json).collect();
    let value = Json::of(&Listed { server: server.config.name.as_str(), says_it_is, tools })
        .map_err(|error| Failure::Host(error.to_string()))?;
    match value.len_bytes() {
        used if used > bytes_max => {
            Err(Failure::Limit(LimitHit { quota: "result-bytes".into(), limit: bytes_max, used }))
        }
        _ => Ok(value),
    }
}
