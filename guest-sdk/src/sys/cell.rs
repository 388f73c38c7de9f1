//! The host's imports, and the exports the host calls. What must never live here: file access, so that a guest that touches
//! no file imports no filesystem.

use crate::__private::{AgentPlugin, ToolPlugin};
use crate::agent::RawTask;
use crate::bindings::agent_world::exports::vespiary::plugin::agent as agent_export;
use crate::bindings::agent_world::vespiary::plugin::dispatch as host_dispatch;
use crate::bindings::tool_world::exports::vespiary::plugin::tools as tools_export;
use crate::bindings::tool_world::vespiary::plugin::{report as host_report, types};
use crate::dispatch::{Request, Success};
use crate::report::{ArtifactInfo, Level};
use crate::{Denial, Error, LimitHit, Result};
use std::sync::{Once, OnceLock};

static TOOLS: OnceLock<Vec<types::Tool>> = OnceLock::new();
static AGENT: OnceLock<agent_export::Description> = OnceLock::new();

impl<P: ToolPlugin> tools_export::Guest for P {
    fn describe() -> Vec<types::Tool> {
        warm_up();
        let describe = || P::TOOLS.iter().map(description).collect();
        TOOLS.get_or_init(describe).clone()
    }

    fn call(name: String, arguments: String) -> Result<String, types::ToolError> {
        report_panics();
        crate::tool::dispatch(P::TOOLS, &name, &arguments).map_err(Into::into)
    }
}

impl<P: AgentPlugin> agent_export::Guest for P {
    fn describe() -> agent_export::Description {
        warm_up();
        let describe = || {
            let schemas = P::AGENT.schemas();
            let summary = P::AGENT.summary().to_owned();
            agent_export::Description { summary, context_schema: schemas.input, output_schema: schemas.output }
        };
        AGENT.get_or_init(describe).clone()
    }

    fn run(task: agent_export::Task) -> Result<String, types::ToolError> {
        report_panics();
        let task = RawTask { prompt: task.prompt, context: task.context, schema: task.schema };
        P::AGENT.run(task).map_err(Into::into)
    }
}

fn description(tool: &crate::tool::Entry) -> types::Tool {
    let schemas = tool.schemas();
    types::Tool {
        name: tool.name().to_owned(),
        description: tool.description().to_owned(),
        input_schema: schemas.input,
        output_schema: schemas.output,
    }
}

/// What a snapshot taken after `describe` should hold: the schemas, the panic hook, and a heap with room in it, because
/// growing memory is dear in a call of a few microseconds.
fn warm_up() {
    const HEAP_ROOM_BYTES: usize = 256 << 10;
    report_panics();
    drop(std::hint::black_box(Vec::<u8>::with_capacity(HEAP_ROOM_BYTES)));
}

/// A panic ends the cell with a trap that has no words; these are the words.
fn report_panics() {
    static ARMED: Once = Once::new();
    ARMED.call_once(|| std::panic::set_hook(Box::new(|panic| log(Level::Error, &panic.to_string()))));
}

pub(crate) fn log(level: Level, message: &str) {
    let level = match level {
        Level::Debug => host_report::Level::Debug,
        Level::Info => host_report::Level::Info,
        Level::Warn => host_report::Level::Warn,
        Level::Error => host_report::Level::Error,
    };
    host_report::log(level, message);
}

pub(crate) fn progress(done: u64, total: Option<u64>, note: &str) {
    host_report::progress(done, total, note);
}

pub(crate) fn dispatch(requests: &[Request]) -> Vec<Result<Success>> {
    let wire =
        |request: &Request| host_dispatch::Request { tool: request.tool.clone(), arguments: request.arguments.clone() };
    let wired: Vec<_> = requests.iter().map(wire).collect();
    let answers = host_dispatch::call(&wired);
    answers.into_iter().zip(requests).map(|(answer, request)| success(answer, &request.tool)).collect()
}

fn success(answer: Result<host_dispatch::Success, types::ToolError>, tool: &str) -> Result<Success> {
    let given = answer?;
    let artifacts = given.artifacts.into_iter().map(Into::into).collect();
    Ok(Success::new(tool.to_owned(), given.value, artifacts))
}

pub(crate) struct ArtifactWriter(host_report::ArtifactWriter);

impl ArtifactWriter {
    pub(crate) fn create(name: &str, media_type: &str) -> Result<Self> {
        Ok(Self(host_report::ArtifactWriter::create(name, media_type)?))
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.0.write(bytes)?)
    }

    pub(crate) fn finish(self) -> Result<ArtifactInfo> {
        Ok(host_report::ArtifactWriter::finish(self.0)?.into())
    }
}

impl From<types::Artifact> for ArtifactInfo {
    fn from(artifact: types::Artifact) -> Self {
        let types::Artifact { name, media_type, sha256, size } = artifact;
        Self { name, media_type, sha256, size }
    }
}

impl From<types::ToolError> for Error {
    fn from(error: types::ToolError) -> Self {
        match error {
            types::ToolError::InvalidArguments(why) => Self::InvalidArguments(why),
            types::ToolError::NotFound(what) => Self::NotFound(what),
            types::ToolError::Denied(types::Denial { needed, held, hint }) => {
                Self::Denied(Denial { needed, held, hint })
            }
            types::ToolError::Limit(types::LimitHit { quota, limit, used }) => {
                Self::Limit(LimitHit { quota, limit, used })
            }
            types::ToolError::Cancelled => Self::Cancelled,
            types::ToolError::Failed(why) => Self::Failed(why),
        }
    }
}

impl From<Error> for types::ToolError {
    fn from(error: Error) -> Self {
        match error {
            Error::InvalidArguments(why) => Self::InvalidArguments(why),
            Error::NotFound(what) => Self::NotFound(what),
            Error::Denied(Denial { needed, held, hint }) => Self::Denied(types::Denial { needed, held, hint }),
            Error::Limit(LimitHit { quota, limit, used }) => Self::Limit(types::LimitHit { quota, limit, used }),
            Error::Cancelled => Self::Cancelled,
            Error::Failed(why) => Self::Failed(why),
        }
    }
}
