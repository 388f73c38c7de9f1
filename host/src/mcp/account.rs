//! What a client is told of runs: how one stands, what it came to, and how far it is while somebody waits. Read from the record
//! alone, so it does not matter which process started the run or drives it. Only runs over the server's own project are told of.

use crate::exit::Trouble;
use crate::gates::now_ms;
use crate::live::{self, GLANCE};
use crate::mcp::nest::Nest;
use crate::mcp::voice::{Far, Voice};
use crate::report::record::{Gate, Record};
use crate::report::{error_text, timestamp};
use crate::terminal::clipped;
use serde_json::{Value, json};
use std::sync::Arc;
use vespiary_kernel::event::{Event, RunStatus};
use vespiary_kernel::gate::Matter;
use vespiary_kernel::ids::RunId;
use vespiary_kernel::json::Json;
use vespiary_ledger::reader::Reader;
use vespiary_ledger::store::FaultKind;

/// The longest value that is handed over whole, bytes; a longer one is a resource.
pub const VALUE_BYTES_MAX: usize = 256 << 10;

/// Failed agents that are named.
const FAILURES_MAX: usize = 20;

/// A run of the server's project, with the runs that went on with it folded into where it stands now.
#[derive(Debug)]
pub struct Account {
    /// Its record; of a run that was gone on with, the latest one's.
    pub record: Record,
    /// The run that was asked for.
    pub asked: RunId,
    /// Whether a process drives it.
    pub live: bool,
}

/// How a run stands, in one word for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Something runs, or will.
    Working,
    /// A person must decide first.
    AwaitingGate,
    /// Its process is gone, and it has no end.
    Interrupted,
    /// It has this end.
    Ended(RunStatus),
}

impl Account {
    /// Read it.
    ///
    /// # Errors
    /// There is no such run over this project.
    pub fn read(nest: &Nest, reader: &Reader, asked: &RunId) -> Result<Self, Trouble> {
        let unknown = || {
            let next = "name one that run_workflow or spawn_subagents gave, or read the resource vespiary://runs";
            Trouble::usage(format!("there is no run {asked}"), "the record of this project has none of that name", next)
        };
        let missing = |error: vespiary_ledger::store::LedgerError| match error.kind {
            FaultKind::Missing => unknown(),
            _ => error.into(),
        };
        reader.run(asked).map_err(missing)?;
        let latest = reader.latest_of(asked)?;
        // Asked before reading: whatever it wrote before its end is then read.
        let live = live::is_live(nest.home(), &latest);
        let record = Record::read(reader, &latest)?;
        if record.root != nest.root().display().to_string() {
            return Err(unknown());
        }
        Ok(Self { record, asked: asked.clone(), live })
    }

    /// How it stands.
    pub fn state(&self) -> State {
        match self.record.status {
            RunStatus::Running if self.live && self.open_gates().next().is_some() => State::AwaitingGate,
            RunStatus::Running if self.live => State::Working,
            RunStatus::Running => State::Interrupted,
            RunStatus::AwaitingGate => State::AwaitingGate,
            ended => State::Ended(ended),
        }
    }

    /// Gates that wait for a person.
    pub fn open_gates(&self) -> impl Iterator<Item = &Gate> {
        let now = now_ms();
        self.record.gates.iter().filter(move |gate| gate.check.is_none() && gate.state(now) == "open")
    }

    /// What `run_status` says.
    pub fn status(&self, reader: &Reader) -> Value {
        let record = &self.record;
        let done = record.agents.iter().filter(|agent| agent.to_us.is_some()).count();
        let gates: Vec<Value> = self.open_gates().map(|gate| gate_as_json(reader, gate)).collect();
        let models = &record.models;
        json!({
            "run": self.asked, "driven_as": record.id, "title": record.title, "status": self.word(),
            "phase": record.phases.last().map(|phase| &phase.title),
            "agents": { "started": record.agents.len(), "ended": done, "failed": record.failed_agents().count() },
            "calls": record.calls.calls, "reused": record.reused,
            "tokens": models.input_tokens + models.output_tokens, "usd": models.usd_micros as f64 / 1e6,
            "gates": gates, "started": timestamp(record.started_us), "duration_ms": record.duration_us() / 1_000,
            "error": record.error.as_ref().map(error_text), "next": self.next(),
        })
    }

    /// What `run_result` says: the above, what it came to, and where the rest is.
    ///
    /// # Errors
    /// The record cannot be read back.
    pub fn result(&self, reader: &Reader) -> Result<Value, Trouble> {
        let mut told = self.status(reader);
        let value = match &self.record.value {
            Some(payload) => reader.value(payload)?,
            None => None,
        };
        let (value, whole) = match value {
            Some(value) if value.as_str().len() > VALUE_BYTES_MAX => (Value::Null, false),
            Some(value) => (value.read().unwrap_or(Value::Null), true),
            None => (Value::Null, true),
        };
        let base = format!("vespiary://runs/{}", self.record.id);
        told["value"] = value;
        told["value_is_whole"] = whole.into();
        told["failures"] = self
            .record
            .failed_agents()
            .take(FAILURES_MAX)
            .map(|agent| {
                let failure = agent.failure.as_ref();
                json!({
                    "agent": agent.id, "label": clipped(&agent.label, 200), "cause": failure.map(|f| f.cause()),
                    "message": failure.map(|f| clipped(&f.to_string(), 1_000)),
                })
            })
            .collect();
        told["changes"] = self
            .record
            .changed
            .map(|changed| {
                let apply =
                    format!("a person writes them into the project with `vespiary runs apply {}`", self.record.id);
                json!({ "files": changed.files, "conflicts": changed.conflicting, "next": apply })
            })
            .into();
        told["resources"] = json!({
            "record": base, "result": format!("{base}/result.json"), "report": format!("{base}/report.md"),
            "html": format!("{base}/report.html"), "sarif": format!("{base}/findings.sarif"),
        });
        Ok(told)
    }

    /// The status as one word.
    pub fn word(&self) -> &'static str {
        match self.state() {
            State::Working => "running",
            State::AwaitingGate => "awaiting-gate",
            State::Interrupted => "interrupted",
            State::Ended(status) => status.as_str(),
        }
    }

    /// What whoever reads this can do.
    fn next(&self) -> String {
        let id = &self.record.id;
        match self.state() {
            State::Working => "call run_status again later".into(),
            State::AwaitingGate => {
                format!("call approve, which asks the person; or they run `vespiary runs approve {id}` at a terminal")
            }
            State::Interrupted => {
                format!("its process is gone and what it recorded is kept: a person runs `vespiary runs resume {id}`")
            }
            State::Ended(RunStatus::OutOfBudget) => {
                format!("a person goes on with more: `vespiary runs resume {id} --tokens N --usd N`")
            }
            State::Ended(_) => "call run_result".into(),
        }
    }
}

/// A gate with what is decided on.
pub fn gate_as_json(reader: &Reader, gate: &Gate) -> Value {
    let payload: Option<Value> = reader.value(&gate.payload).ok().flatten().and_then(|json| json.read().ok());
    json!({
        "gate": gate.digest, "title": gate.title, "payload": payload,
        "expires": gate.expires_ms.map(|at| timestamp(at.saturating_mul(1_000))),
    })
}

/// The matter of a gate, to be shown to a person.
///
/// # Errors
/// What is to be decided cannot be read back as it was recorded.
pub fn matter(reader: &Reader, gate: &Gate) -> Result<Matter, Trouble> {
    let wrong = |why: String| {
        Trouble::failed("the gate cannot be decided", why, "look at the record with `vespiary runs show RUN --verify`")
    };
    let payload = reader.value(&gate.payload)?.unwrap_or_else(Json::null);
    let matter = Matter::new(&gate.title, &payload).map_err(|error| wrong(error.to_string()))?;
    if matter.digest() != gate.digest {
        return Err(wrong("what was recorded is not what its digest names".into()));
    }
    Ok(matter)
}

/// Wait until nothing of the run goes on any more, and say meanwhile how far it is.
///
/// # Errors
/// The record cannot be read.
pub async fn wait(nest: &Arc<Nest>, run: &RunId, voice: &Voice) -> Result<(), Trouble> {
    let mut seen = Seen::default();
    loop {
        let (nest, id) = (Arc::clone(nest), run.clone());
        let looking = tokio::task::spawn_blocking(move || {
            let live = live::is_live(nest.home(), &id);
            let over = seen.look(&nest.reader()?, &id)?;
            Ok::<_, Trouble>((seen, over || !live))
        });
        let over;
        (seen, over) = looking
            .await
            .map_err(|died| Trouble::failed("the run cannot be followed", died, "ask for its status"))??;
        voice.say(seen.far());
        if over {
            return Ok(());
        }
        tokio::time::sleep(GLANCE).await;
    }
}

/// How far a run is known to be.
#[derive(Debug, Default)]
struct Seen {
    seq: u64,
    started: u64,
    ended: u64,
    phase: String,
}

impl Seen {
    /// Read what is new. Whether that was the end.
    fn look(&mut self, reader: &Reader, run: &RunId) -> Result<bool, Trouble> {
        let mut over = false;
        for recorded in reader.events_after(run, self.seq)? {
            let recorded = recorded?;
            self.seq = recorded.seq;
            match recorded.event {
                Event::Phase { title } => self.phase = title,
                Event::AgentStarted { .. } => self.started += 1,
                Event::AgentEnded { .. } => self.ended += 1,
                Event::RunEnded { .. } => over = true,
                _ => {}
            }
        }
        Ok(over)
    }

    fn far(&self) -> Far {
        let phase = if self.phase.is_empty() { String::new() } else { format!("{}: ", clipped(&self.phase, 80)) };
        Far {
            // Every event counts for a little, so that it grows also while no agent ends.
            done: self.ended as f64 + 1.0 - 1.0 / (1.0 + self.seq as f64),
            of: None,
            message: format!("{phase}{} of {} agents have ended", self.ended, self.started),
        }
    }
}
