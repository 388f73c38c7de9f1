//! A run as the ledger's events tell it, folded event by event into what a report shows: phases, agents, who called which
//! tool how often, which components ran. It reads events and nothing else, so a report can be made again at any time.

use crate::exit::Trouble;
use std::collections::{BTreeMap, HashMap};
use vespiary_kernel::call::{Failure, Usage};
use vespiary_kernel::event::{Event, Payload, RunError, RunStatus};
use vespiary_kernel::gate::Decision;
use vespiary_kernel::ids::{AgentId, CallId, Digest, RunId, ToolName};
use vespiary_kernel::json::Json;
use vespiary_kernel::program::ProgramName;
use vespiary_kernel::script::Verdict;
use vespiary_ledger::reader::Reader;

/// Log lines kept for the report; all of them are in the ledger.
const LOG_LINES_MAX: usize = 500;

/// One run.
#[derive(Debug, Clone)]
pub struct Record {
    /// Its id.
    pub id: RunId,
    /// The program's version.
    pub version: String,
    /// The script's name, or the tool of a single call.
    pub title: String,
    /// SHA-256 of the script.
    pub script: Option<Digest>,
    /// The run's arguments.
    pub args: Json,
    /// The project directory.
    pub root: String,
    /// What the person granted, one capability each.
    pub grant: Vec<String>,
    /// The run that it went on from.
    pub resumes: Option<RunId>,
    /// Calls that were answered by finished ones; nothing ran for them.
    pub reused: u64,
    /// Microseconds since 1970 UTC.
    pub started_us: u64,
    /// The same; the last event's while the run has not ended.
    pub ended_us: u64,
    /// How it stands or ended.
    pub status: RunStatus,
    /// What the script returned, where the ledger kept it in the event itself.
    pub value: Option<Payload>,
    /// Why the run failed.
    pub error: Option<RunError>,
    /// Phases in the order in which they were entered.
    pub phases: Vec<Phase>,
    /// Agents in the order in which they started.
    pub agents: Vec<Agent>,
    /// Who called which tool how often; agents of one type in one phase count together.
    pub uses: BTreeMap<Use, Count>,
    /// Calls by component and plugin name.
    pub components: BTreeMap<(String, Digest), u64>,
    /// All calls.
    pub calls: Count,
    /// The first lines the script logged.
    pub log: Vec<String>,
    /// What isolated agents changed, counted.
    pub changed: Option<ChangeCount>,
    /// Claims that were voted on, in their order.
    pub claims: Vec<Claim>,
    /// Gates, in the order in which they were opened.
    pub gates: Vec<Gate>,
    /// What models cost.
    pub models: ModelCount,
}

/// A claim that was voted on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// What was claimed, in the script's words.
    pub text: String,
    /// What came of it.
    pub verdict: Verdict,
}

/// A gate of the run.
#[derive(Debug, Clone)]
pub struct Gate {
    /// What a decision is bound to.
    pub digest: Digest,
    /// What it is about, in the script's words.
    pub title: String,
    /// What is decided on.
    pub payload: Payload,
    /// Milliseconds since 1970 UTC past which it counts as denied.
    pub expires_ms: Option<u64>,
    /// The program that decides; none where a person does.
    pub check: Option<ProgramName>,
    /// The first decision.
    pub decision: Option<Decision>,
}

impl Gate {
    /// `open`, `approved`, `denied`, or, where it is not decided and its time is over, `expired`.
    pub fn state(&self, now_ms: u64) -> &'static str {
        match &self.decision {
            Some(decision) if decision.approved => "approved",
            Some(_) => "denied",
            None if self.expires_ms.is_some_and(|at| at <= now_ms) => "expired",
            None => "open",
        }
    }
}

/// What models cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ModelCount {
    /// Tokens sent.
    pub input_tokens: u64,
    /// Tokens received.
    pub output_tokens: u64,
    /// Millionths of a US dollar.
    pub usd_micros: u64,
    /// Of the dollars, what went to calls that gave no value.
    pub lost_usd_micros: u64,
    /// Of both sorts of tokens, the same.
    pub lost_tokens: u64,
}

/// How much isolated agents changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChangeCount {
    /// Paths that can be applied.
    pub files: u64,
    /// Paths on which agents disagree.
    pub conflicting: u64,
}

/// A phase of the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phase {
    /// Its title.
    pub title: String,
    /// When it was entered, microseconds after the start.
    pub from_us: u64,
    /// When the next was, or the run ended.
    pub to_us: u64,
}

/// An agent of the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Which.
    pub id: AgentId,
    /// For people.
    pub label: String,
    /// An index into the phases; none before the first.
    pub phase: Option<usize>,
    /// The agent plugin.
    pub agent_type: String,
    /// Microseconds after the run's start.
    pub from_us: u64,
    /// The same; none while it has not ended.
    pub to_us: Option<u64>,
    /// Why it failed, when it did.
    pub failure: Option<Failure>,
    /// Calls it made, its own entry not counted.
    pub calls: u64,
}

/// Who used what.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Use {
    /// An index into the phases; none before the first.
    pub phase: Option<usize>,
    /// The type of the agents; none for the script itself.
    pub agent_type: Option<String>,
    /// The tool.
    pub tool: ToolName,
}

/// How often, and how it went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Calls asked for.
    pub calls: u64,
    /// Those that gave no value.
    pub failed: u64,
    /// Time their cells were alive, microseconds.
    pub wall_us: u64,
}

impl Record {
    /// Start from nothing known but the id.
    pub fn fold(id: RunId) -> Folding {
        let record = Self {
            id,
            version: String::new(),
            title: String::new(),
            script: None,
            args: Json::null(),
            root: String::new(),
            grant: Vec::new(),
            resumes: None,
            reused: 0,
            started_us: 0,
            ended_us: 0,
            status: RunStatus::Running,
            value: None,
            error: None,
            phases: Vec::new(),
            agents: Vec::new(),
            uses: BTreeMap::new(),
            components: BTreeMap::new(),
            calls: Count::default(),
            log: Vec::new(),
            changed: None,
            claims: Vec::new(),
            gates: Vec::new(),
            models: ModelCount::default(),
        };
        Folding { record, open: HashMap::new(), by_id: HashMap::new(), ended: false }
    }

    /// The record of `run`, as the ledger has it.
    pub fn read(reader: &Reader, run: &RunId) -> Result<Record, Trouble> {
        let mut folding = Self::fold(run.clone());
        for recorded in reader.events(run)? {
            let recorded = recorded?;
            folding.add(u64::try_from(recorded.time_us).unwrap_or(0), recorded.event);
        }
        Ok(folding.finish())
    }

    /// From start to end, microseconds.
    pub fn duration_us(&self) -> u64 {
        self.ended_us.saturating_sub(self.started_us)
    }

    /// Agents that gave no answer.
    pub fn failed_agents(&self) -> impl Iterator<Item = &Agent> {
        self.agents.iter().filter(|agent| agent.failure.is_some())
    }

    /// How many claims came to `verdict`.
    pub fn claims_of(&self, verdict: Verdict) -> u64 {
        self.claims.iter().filter(|claim| claim.verdict == verdict).count() as u64
    }

    /// The title of a phase by its index.
    pub fn phase_title(&self, phase: Option<usize>) -> &str {
        phase.and_then(|i| self.phases.get(i)).map_or("start", |phase| &phase.title)
    }
}

impl ModelCount {
    fn add(&mut self, usage: &Usage, failed: bool) {
        self.input_tokens += usage.input_tokens;
        self.output_tokens += usage.output_tokens;
        self.usd_micros += usage.usd_micros;
        if failed {
            self.lost_tokens += usage.input_tokens + usage.output_tokens;
            self.lost_usd_micros += usage.usd_micros;
        }
    }

    /// Whether no model was asked.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// A record that is still being read.
#[derive(Debug)]
pub struct Folding {
    record: Record,
    open: HashMap<CallId, (Option<usize>, Use)>,
    by_id: HashMap<AgentId, usize>,
    ended: bool,
}

impl Folding {
    /// The next event, recorded at `time_us` microseconds since 1970.
    pub fn add(&mut self, time_us: u64, event: Event) {
        let record = &mut self.record;
        // Decisions may come after the end, and make the run no longer.
        if !self.ended {
            record.ended_us = record.ended_us.max(time_us);
        }
        let at = time_us.saturating_sub(record.started_us);
        match event {
            Event::RunStarted { version, title, script, args, root, grant } => {
                (record.version, record.title, record.script) = (version, title, script);
                (record.args, record.root) = (args, root);
                record.grant = grant.iter().map(ToString::to_string).collect();
                (record.started_us, record.ended_us) = (time_us, time_us);
            }
            Event::Phase { title } => {
                if let Some(last) = record.phases.last_mut() {
                    last.to_us = at;
                }
                record.phases.push(Phase { title, from_us: at, to_us: at });
            }
            Event::Log { text } if record.log.len() < LOG_LINES_MAX => record.log.push(text),
            Event::RunPrepared { resumes, .. } => record.resumes = resumes,
            Event::Log { .. }
            | Event::WorkflowStarted { .. }
            | Event::CallAdmitted { .. }
            | Event::AgentChanged { .. } => {}
            Event::ChangesMerged { files, conflicting, .. } => {
                record.changed = Some(ChangeCount { files, conflicting });
            }
            Event::GateOpened { gate: digest, title, payload, expires_ms, check } => {
                if !record.gates.iter().any(|gate| gate.digest == digest && gate.decision.is_none()) {
                    record.gates.push(Gate { digest, title, payload, expires_ms, check, decision: None });
                }
            }
            Event::GateDecided { gate: digest, approved, by, note, at_ms } => {
                let mut open = record.gates.iter_mut().filter(|gate| gate.digest == digest && gate.decision.is_none());
                if let Some(gate) = open.next() {
                    gate.decision = Some(Decision { approved, by, note, at_ms });
                }
            }
            Event::ClaimJudged { claim, verdict, .. } => record.claims.push(Claim { text: claim, verdict }),
            Event::AgentStarted { agent, label, phase, agent_type, .. } => {
                self.by_id.insert(agent, record.agents.len());
                let named = phase.and_then(|title| record.phases.iter().rposition(|p| p.title == title));
                let phase = named.or(record.phases.len().checked_sub(1));
                let agent =
                    Agent { id: agent, label, phase, agent_type, from_us: at, to_us: None, failure: None, calls: 0 };
                record.agents.push(agent);
            }
            Event::AgentEnded { agent, failure } => {
                if let Some(agent) = self.by_id.get(&agent).and_then(|i| record.agents.get_mut(*i)) {
                    (agent.to_us, agent.failure) = (Some(at), failure);
                }
            }
            Event::CallIntended { call, agent, tool, .. } => self.intend(call, agent, tool),
            Event::CallEnded { call, component, failure, usage, key, reused, .. } => {
                // What stood for it ran in another run; what it had called itself has no key.
                let component = component.filter(|_| reused.is_none());
                self.record.reused += u64::from(reused.is_some() && key.is_some());
                self.record.models.add(&usage, failure.is_some());
                self.end(call, component, failure.is_some(), usage.wall_us);
            }
            Event::RunEnded { status, value, error } => {
                (record.status, record.value, record.error) = (status, value, error);
                self.ended = true;
            }
        }
    }

    fn intend(&mut self, call: CallId, agent: AgentId, tool: ToolName) {
        let by = self.by_id.get(&agent).copied();
        let (phase, agent_type) = match by.map(|i| &self.record.agents[i]) {
            Some(agent) => (agent.phase, Some(agent.agent_type.clone())),
            None => (self.record.phases.len().checked_sub(1), None),
        };
        self.open.insert(call, (by, Use { phase, agent_type, tool }));
    }

    fn end(&mut self, call: CallId, component: Option<Digest>, failed: bool, wall_us: u64) {
        let record = &mut self.record;
        let Some((by, used)) = self.open.remove(&call) else { return };
        if let Some(component) = component {
            *record.components.entry((used.tool.plugin().to_owned(), component)).or_default() += 1;
        }
        // An agent's entry, or the session of the script's engine: the call that everything else of theirs happens in.
        let is_entry = used.tool.local() == ToolName::AGENT_ENTRY
            && used
                .agent_type
                .as_deref()
                .map_or(record.script.is_some(), |agent_type| agent_type == used.tool.plugin());
        let totals = [Some(&mut record.calls), (!is_entry).then(|| record.uses.entry(used).or_default())];
        for count in totals.into_iter().flatten() {
            count.calls += 1;
            count.failed += u64::from(failed);
            count.wall_us += wall_us;
        }
        if let Some(agent) = by.filter(|_| !is_entry).and_then(|i| record.agents.get_mut(i)) {
            agent.calls += 1;
        }
    }

    /// The record, as far as it was read.
    pub fn finish(mut self) -> Record {
        let end = self.record.duration_us();
        if let Some(last) = self.record.phases.last_mut() {
            last.to_us = end;
        }
        self.record
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use vespiary_kernel::grant::Grant;

    pub(in crate::report) fn sample() -> Record {
        let payload = || Payload::Value(Json::null());
        let mut folding = Record::fold("20261121-050000-abcdef".parse().unwrap());
        let started = Event::RunStarted {
            version: "0.1.0".into(),
            title: "audit <& co>".into(),
            script: Some(Digest::of(b"script")),
            args: Json::parse(r#"{"dir":"."}"#).unwrap(),
            root: "/srv/tree".into(),
            grant: Grant::of_run(["read:.".parse().unwrap(), "tool:*".parse().unwrap()]),
        };
        let t0 = 1_795_237_200_000_000;
        folding.add(t0, started);
        let intend = |call, agent, tool: &str| Event::CallIntended {
            call: CallId(call),
            agent: AgentId(agent),
            tool: tool.parse().unwrap(),
            arguments: payload(),
        };
        let end = |call, component: &[u8], failure| Event::CallEnded {
            call: CallId(call),
            component: Some(Digest::of(component)),
            except: Vec::new(),
            reads: None,
            scope: None,
            value: None,
            failure,
            usage: Usage { wall_us: 1_000, ..Usage::default() },
            artifacts: vec![],
            key: None,
            reused: None,
            rests_on: None,
        };
        folding.add(t0 + 1_000, Event::Phase { title: "list".into() });
        folding.add(t0 + 2_000, intend(1, 0, "files.list"));
        folding.add(t0 + 9_000, end(1, b"files", None));
        folding.add(t0 + 10_000, Event::Phase { title: "scan".into() });
        folding.add(t0 + 9_500, intend(2, 0, "engine.run"));
        folding.add(t0 + 9_600, end(2, b"engine", None));
        for agent in 1..=6u32 {
            let call = u64::from(agent) * 10;
            folding.add(
                t0 + 10_000 + call,
                Event::AgentStarted {
                    agent: AgentId(agent),
                    parent: AgentId::ROOT,
                    label: format!("shard {agent} \"x\""),
                    phase: Some("scan".into()),
                    agent_type: "secrets".into(),
                    grant: Grant::none(),
                    isolated: false,
                },
            );
            folding.add(t0 + 10_100 + call, intend(call, agent, "secrets.run"));
            folding.add(t0 + 10_200 + call, intend(call + 1, agent, "files.read"));
            folding.add(t0 + 11_000 + call, end(call + 1, b"files", None));
            let failure = (agent == 6).then(|| Failure::Failed("gave up <b>".into()));
            folding.add(t0 + 20_000 + call, end(call, b"secrets", failure.clone()));
            folding.add(t0 + 20_000 + call * 100, Event::AgentEnded { agent: AgentId(agent), failure });
        }
        folding.add(t0 + 40_000, Event::Log { text: "two \u{1b}[31mfindings".into() });
        folding.add(t0 + 50_000, Event::RunEnded { status: RunStatus::Degraded, value: Some(payload()), error: None });
        folding.finish()
    }

    #[test]
    fn agents_calls_and_components_are_counted_once_each() {
        let record = sample();
        assert_eq!((record.calls.calls, record.calls.failed), (14, 1));
        assert_eq!((record.agents.len(), record.failed_agents().count()), (6, 1));
        assert_eq!(record.agents[0].calls, 1);
        assert_eq!(record.duration_us(), 50_000);
        assert_eq!(record.phases[1], Phase { title: "scan".into(), from_us: 10_000, to_us: 50_000 });
        let uses: Vec<_> =
            record.uses.iter().map(|(u, n)| (record.phase_title(u.phase), u.tool.as_str(), n.calls)).collect();
        assert_eq!(uses, [("list", "files.list", 1), ("scan", "files.read", 6)]);
        assert_eq!(record.components.values().sum::<u64>(), 14);
    }

    #[test]
    fn a_run_cut_short_still_reads() {
        let mut folding = Record::fold("r".parse().unwrap());
        folding.add(7, Event::Phase { title: "list".into() });
        let record = folding.finish();
        assert_eq!((record.status, record.phases.len()), (RunStatus::Running, 1));
    }
}
