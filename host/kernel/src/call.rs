//! A call as it is asked for, and as it ended. Every ending is a value with a cause: a denial, a trap and a spent quota are
//! outcomes like any other.

use crate::account::{Account, Resource};
use crate::ids::{CallId, Digest, ToolName};
use crate::json::Json;
use crate::observed::ReadSet;
use crate::policy::Denial;
use crate::quota::LimitHit;
use crate::reuse::Origin;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What somebody asks for.
#[derive(Debug, Clone)]
pub struct ToolCall {
    /// The callable.
    pub tool: ToolName,
    /// Its arguments; for an agent plugin the task: `{prompt, context, schema?}`.
    pub arguments: Json,
    /// Whether the value must be kept in the ledger, or its digest is enough.
    pub keep: Keep,
}

/// How much of a result the ledger keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// The value: somebody may want it again.
    Value,
    /// Its digest and length: whoever asked can ask again.
    Digest,
}

/// How a call ended, and what it left.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The call, as the ledger knows it. `None` when it could not be recorded, and therefore did not run.
    pub call: Option<CallId>,
    /// The value or the cause.
    pub ending: Ending,
    /// What it cost.
    pub usage: Usage,
    /// What it wrote, also when it failed afterwards.
    pub artifacts: Vec<Artifact>,
    /// What it said, also when it failed afterwards.
    pub log: Vec<LogLine>,
    /// What it saw of the files it was granted.
    pub reads: ReadSet,
    /// The earlier call whose answer this is; none when something ran.
    pub reused: Option<Origin>,
}

impl Outcome {
    /// An outcome of a call that never reached a cell.
    pub fn refused(failure: Failure) -> Self {
        Self {
            call: None,
            ending: Ending::Failed(failure),
            usage: Usage::default(),
            artifacts: Vec::new(),
            log: Vec::new(),
            reads: ReadSet::default(),
            reused: None,
        }
    }

    /// The value, or the cause.
    pub fn into_result(self) -> Result<Json, Failure> {
        match self.ending {
            Ending::Done(value) => Ok(value),
            Ending::Failed(failure) => Err(failure),
        }
    }
}

/// A value, or a cause.
#[derive(Debug, Clone)]
pub enum Ending {
    /// The tool answered.
    Done(Json),
    /// It did not.
    Failed(Failure),
}

/// Why a call gave no value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "cause", content = "detail", rename_all = "kebab-case")]
pub enum Failure {
    /// The arguments do not fit.
    InvalidArguments(String),
    /// The plugin, tool, file or other thing named does not exist.
    NotFound(String),
    /// A capability was missing, or a person said no.
    Denied(Denial),
    /// A quota was used up.
    Limit(LimitHit),
    /// Stopped from outside.
    Cancelled,
    /// The tool ran and could not do its work.
    Failed(String),
    /// The guest broke a rule of WebAssembly or of the contract and was ended.
    Trapped(Trap),
    /// The component cannot be run: malformed, of the wrong world, or it imports what nothing here provides.
    Unrunnable(String),
    /// The ledger refused the record, so the call did not run.
    Unrecorded(String),
    /// The host failed, not the guest.
    Host(String),
}

/// A guest's violent end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trap {
    /// A stable word: `unreachable`, `stack-overflow`, `out-of-bounds`, `contract`, ...
    pub kind: String,
    /// What the engine or the guest's own panic message said.
    pub message: String,
}

impl Failure {
    /// A stable word for programs.
    pub fn cause(&self) -> &'static str {
        match self {
            Self::InvalidArguments(_) => "invalid-arguments",
            Self::NotFound(_) => "not-found",
            Self::Denied(_) => "denied",
            Self::Limit(_) => "limit",
            Self::Cancelled => "cancelled",
            Self::Failed(_) => "failed",
            Self::Trapped(_) => "trapped",
            Self::Unrunnable(_) => "unrunnable",
            Self::Unrecorded(_) => "unrecorded",
            Self::Host(_) => "host",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidArguments(why) => write!(f, "invalid arguments: {why}"),
            Self::NotFound(what) => write!(f, "not found: {what}"),
            Self::Denied(denial) => write!(f, "denied: {denial}"),
            Self::Limit(hit) => write!(f, "limit reached: {hit}"),
            Self::Cancelled => f.write_str("cancelled"),
            Self::Failed(why) => f.write_str(why),
            Self::Trapped(trap) => write!(f, "the guest was ended ({}): {}", trap.kind, trap.message),
            Self::Unrunnable(why) => write!(f, "the component cannot run: {why}"),
            Self::Unrecorded(why) => write!(f, "not run, because it could not be recorded: {why}"),
            Self::Host(why) => write!(f, "the host failed: {why}"),
        }
    }
}

/// What a call used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Time on a processor, microseconds.
    pub cpu_us: u64,
    /// From start to end, microseconds; waiting for a place is not counted.
    pub wall_us: u64,
    /// The most linear memory held, bytes.
    pub memory_bytes_peak: u64,
    /// JSON text returned, bytes.
    pub result_bytes: u64,
    /// Log and standard output, bytes.
    pub log_bytes: u64,
    /// Artifacts, bytes.
    pub artifact_bytes: u64,
    /// Calls made through the dispatcher.
    pub tool_calls: u64,
    /// Bytes written to files.
    #[serde(default)]
    pub bytes_written: u64,
    /// Files, directories and links created.
    #[serde(default)]
    pub files_written: u64,
    /// HTTP requests sent.
    #[serde(default)]
    pub http_requests: u64,
    /// Bytes sent.
    #[serde(default)]
    pub http_bytes_out: u64,
    /// Bytes received.
    #[serde(default)]
    pub http_bytes_in: u64,
    /// Tokens sent to models.
    #[serde(default)]
    pub input_tokens: u64,
    /// Tokens received from models.
    #[serde(default)]
    pub output_tokens: u64,
    /// What models cost, millionths of a US dollar.
    #[serde(default)]
    pub usd_micros: u64,
}

impl Usage {
    /// Both together; of what is a peak, the higher.
    #[must_use]
    pub fn and(&self, other: &Usage) -> Self {
        Self {
            cpu_us: self.cpu_us + other.cpu_us,
            wall_us: self.wall_us + other.wall_us,
            memory_bytes_peak: self.memory_bytes_peak.max(other.memory_bytes_peak),
            result_bytes: self.result_bytes + other.result_bytes,
            log_bytes: self.log_bytes + other.log_bytes,
            artifact_bytes: self.artifact_bytes + other.artifact_bytes,
            tool_calls: self.tool_calls + other.tool_calls,
            bytes_written: self.bytes_written + other.bytes_written,
            files_written: self.files_written + other.files_written,
            http_requests: self.http_requests + other.http_requests,
            http_bytes_out: self.http_bytes_out + other.http_bytes_out,
            http_bytes_in: self.http_bytes_in + other.http_bytes_in,
            input_tokens: self.input_tokens + other.input_tokens,
            output_tokens: self.output_tokens + other.output_tokens,
            usd_micros: self.usd_micros + other.usd_micros,
        }
    }

    /// The same, with what the call's account counted.
    #[must_use]
    pub(crate) fn with(self, account: &Account) -> Self {
        Self {
            tool_calls: account.used(Resource::ToolCalls),
            bytes_written: account.used(Resource::BytesWritten),
            files_written: account.used(Resource::FilesWritten),
            http_requests: account.used(Resource::HttpRequests),
            http_bytes_out: account.used(Resource::HttpBytesOut),
            http_bytes_in: account.used(Resource::HttpBytesIn),
            input_tokens: account.used(Resource::InputTokens),
            output_tokens: account.used(Resource::OutputTokens),
            usd_micros: account.used(Resource::UsdMicros),
            ..self
        }
    }

    /// Microseconds of `duration`, saturating.
    pub fn micros(duration: Duration) -> u64 {
        u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
    }
}

/// Bytes a call left behind; the ledger holds them under their digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// File name the guest suggested; no `/`, no control characters.
    pub name: String,
    /// IANA media type.
    pub media_type: String,
    /// SHA-256 of the bytes.
    pub digest: Digest,
    /// Length.
    pub bytes: u64,
    /// The bytes themselves, on their way to the ledger; gone in a record that was read back.
    #[serde(skip)]
    pub content: Option<Arc<[u8]>>,
}

/// How loud a log line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// For the plugin's author.
    Debug,
    /// For whoever follows the run.
    Info,
    /// Something was left out or looked wrong.
    Warn,
    /// Something failed.
    Error,
}

/// One line a guest said, with control characters already neutralized.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// How loud.
    pub level: Level,
    /// The line, without its end.
    pub text: String,
}
