//! What the ledger promises, tried on real files. Shared beginnings are here; the files below hold the trials.

mod bundle;
mod faults;
mod feed;
mod order;
mod recall;
mod record;
mod tamper;

use crate::ledger::Ledger;
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;
use vespiary_kernel::call::{Artifact, Failure, Usage};
use vespiary_kernel::event::{Event, Payload, RunStatus};
use vespiary_kernel::grant::Grant;
use vespiary_kernel::ids::{AgentId, CallId, Digest, RunId};
use vespiary_kernel::json::Json;
use vespiary_kernel::ports::{Log, LogError};

fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state/ledger.db");
    (directory, path)
}

fn id(text: &str) -> RunId {
    text.parse().unwrap()
}

fn flush(ledger: &Ledger) -> Result<(), LogError> {
    futures_util::FutureExt::now_or_never(ledger.flushed()).unwrap_or_else(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(ledger.flushed())
    })
}

fn started(title: &str) -> Event {
    Event::RunStarted {
        version: "0".into(),
        title: title.into(),
        script: None,
        args: Json::null(),
        root: "/p".into(),
        grant: Grant::none(),
    }
}

fn intended(call: u64, arguments: Json) -> Event {
    let tool = "files.read".parse().unwrap();
    Event::CallIntended { call: CallId(call), agent: AgentId::ROOT, tool, arguments: Payload::Value(arguments) }
}

fn call_ended(call: u64, value: Result<Json, Failure>, artifacts: Vec<Artifact>) -> Event {
    let (value, failure) = match value {
        Ok(value) => (Some(Payload::Value(value)), None),
        Err(failure) => (None, Some(failure)),
    };
    let usage = Usage::default();
    Event::CallEnded {
        call: CallId(call),
        component: None,
        scope: None,
        except: Vec::new(),
        reads: None,
        value,
        failure,
        usage,
        artifacts,
        key: None,
        reused: None,
        rests_on: None,
    }
}

fn ended(status: RunStatus) -> Event {
    Event::RunEnded { status, value: None, error: None }
}

fn artifact(content: &[u8]) -> Artifact {
    Artifact {
        name: "out.bin".into(),
        media_type: "application/octet-stream".into(),
        digest: Digest::of(content),
        bytes: content.len() as u64,
        content: Some(Arc::from(content)),
    }
}

/// A run of nine events with a long value, an artifact, an agent and a failure.
fn example(ledger: &Ledger, run: &str) {
    let long = Json::of(&"long ".repeat(2_000)).unwrap();
    for event in [
        started("an audit"),
        Event::Phase { title: "scan".into() },
        Event::AgentStarted {
            agent: AgentId(1),
            parent: AgentId::ROOT,
            label: "one".into(),
            phase: Some("scan".into()),
            agent_type: "secrets".into(),
            grant: Grant::none(),
            isolated: false,
        },
        intended(1, long.clone()),
        call_ended(1, Ok(long), vec![artifact(b"left behind")]),
        intended(2, Json::parse(r#"{"path":"a"}"#).unwrap()),
        call_ended(2, Err(Failure::NotFound("a".into())), vec![]),
        Event::AgentEnded { agent: AgentId(1), failure: None },
        ended(RunStatus::Degraded),
    ] {
        ledger.append(&id(run), event).unwrap();
    }
}
