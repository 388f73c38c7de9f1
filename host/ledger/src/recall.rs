//! What earlier runs came to, read from their events, for a run that goes on from one or works on the same project again. Values and
//! read sets stay in the file until they are asked for. Nothing is decided here: a key, and what was recorded under it.

use crate::reader::{Reader, RunSummary};
use crate::store::LedgerError;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use vespiary_kernel::call::{Artifact, Failure};
use vespiary_kernel::capability::Capability;
use vespiary_kernel::change::{ChangeSet, Node};
use vespiary_kernel::event::{Event, Payload, RunStatus};
use vespiary_kernel::grant::Grant;
use vespiary_kernel::ids::{AgentId, CallId, Digest, RunId, ToolName};
use vespiary_kernel::json::Json;
use vespiary_kernel::path::{Reach, ScopePath};
use vespiary_kernel::ports::Recall;
use vespiary_kernel::reuse::{Bond, Doubt, Origin, Past, PastCall};

/// Calls of earlier runs, by what names them.
pub struct Recollection {
    reader: Mutex<Reader>,
    doubt: Doubt,
    finished: HashMap<Digest, Vec<Finished>>,
    /// Where in it the call is that first gave an answer.
    places: HashMap<Origin, (Digest, usize)>,
    taken: Mutex<HashSet<Origin>>,
    interrupted: Mutex<HashMap<Digest, Vec<Origin>>>,
    /// What the runs this one goes on from could write.
    wrote: Vec<ScopePath>,
    spent: Spent,
    last: Option<LastTime>,
}

/// What the last run of the same workflow over the same project came to, where it was a whole one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastTime {
    /// Agents that it started.
    pub agents: u64,
    /// From its start to its end.
    pub duration_ms: u64,
    /// What it cost; what it took over from earlier runs cost it nothing.
    pub spent: Spent,
}

/// What the runs that this one goes on from have cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    /// Sent to and received from models.
    pub tokens: u64,
    /// Millionths of a US dollar.
    pub usd_micros: u64,
}

struct Finished {
    /// The run whose record it is taken from.
    run: RunId,
    /// The call that ran, where this one was answered by an earlier one.
    first: Origin,
    bond: Bond,
    value: Payload,
    artifacts: Vec<Artifact>,
    reads: Option<Payload>,
    nested: Arc<[Nested]>,
    changes: Option<Payload>,
}

struct Nested {
    call: CallId,
    reused: Option<Origin>,
    value: Option<Payload>,
    failure: Option<Failure>,
    tool: ToolName,
    arguments: Payload,
    component: Option<Digest>,
    scope: Option<Grant>,
    except: Vec<Capability>,
    reads: Option<Payload>,
}

impl fmt::Debug for Recollection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recollection").field("keys", &self.finished.len()).finish_non_exhaustive()
    }
}

impl Recollection {
    /// What is known to a new run of the workflow `title` of `resumed`, the runs that it goes on from, the nearest first, and of
    /// `earlier` ones over the same project, the latest first. Reads the events of all of them.
    pub fn read(
        reader: Reader,
        title: &str,
        resumed: &[RunId],
        earlier: &[RunId],
        doubt: Doubt,
    ) -> Result<Self, LedgerError> {
        let mut all = Self {
            reader: Mutex::new(reader),
            doubt,
            finished: HashMap::new(),
            places: HashMap::new(),
            taken: Mutex::default(),
            interrupted: Mutex::default(),
            wrote: Vec::new(),
            spent: Spent::default(),
            last: None,
        };
        // A call that a nearer run took over is not there a second time.
        let mut known = HashSet::new();
        for (bond, runs) in [(Bond::Resumed, resumed), (Bond::Earlier, earlier)] {
            for run in runs {
                all.add(run, title, bond, &mut known)?;
            }
        }
        Ok(all)
    }

    /// What the runs that this one goes on from have cost.
    pub fn spent(&self) -> Spent {
        self.spent
    }

    /// What the last run of the workflow came to; `None` where none completed, or this one goes on from another.
    pub fn last(&self) -> Option<LastTime> {
        self.last
    }

    fn last_time(&self, run: &RunId, title: &str, spent: Spent) -> Result<Option<LastTime>, LedgerError> {
        let run = self.reader().run(run)?;
        let same = run.title == title && run.status == RunStatus::Completed;
        Ok(same.then(|| LastTime {
            agents: run.tally.agents,
            duration_ms: run.ended_ms.map_or(0, |ended| u64::try_from(ended - run.started_ms).unwrap_or(0)),
            spent,
        }))
    }

    fn add(&mut self, run: &RunId, title: &str, bond: Bond, known: &mut HashSet<Origin>) -> Result<(), LedgerError> {
        let mut folding = Folding::default();
        {
            let reader = self.reader();
            for recorded in reader.events(run)? {
                folding.add(recorded?.event);
            }
        }
        let Folding { calls, agents, wrote, spent, .. } = folding;
        let resumed = bond == Bond::Resumed;
        if !resumed && self.last.is_none() {
            self.last = self.last_time(run, title, spent)?;
        }
        if resumed {
            self.wrote.extend(wrote);
            self.spent.tokens += spent.tokens;
            self.spent.usd_micros += spent.usd_micros;
        }
        for call in calls {
            let origin = Origin { run: run.clone(), call: call.id };
            let Some(key) = call.key else { continue };
            let first = call.reused.clone().unwrap_or_else(|| origin.clone());
            let Some(value) = call.value else {
                if resumed && call.in_doubt && known.insert(first) {
                    self.interrupted().entry(key).or_default().push(origin);
                }
                continue;
            };
            let agent = agents.get(&call.agent);
            // An agent that ended badly has no answer, whatever its last call said; one that wrote into a worktree has one only
            // if what it wrote was taken.
            // Of an earlier run it must have ended: only then did its answer have the shape that was asked for, and since such answers are
            // not used up, one that has not would be given again for ever.
            let well = match agent.map(|agent| &agent.ended) {
                None | Some(Some(None)) => true,
                Some(Some(Some(_))) => false,
                Some(None) => resumed && !call.isolated,
            };
            if !well || call.superseded {
                continue;
            }
            if !known.insert(first.clone()) {
                continue;
            }
            let changes = agent.and_then(|agent| agent.changes.clone()).filter(|_| call.isolated);
            let finished = Finished {
                run: run.clone(),
                first,
                bond,
                value,
                artifacts: call.artifacts,
                reads: call.reads,
                nested: call.nested.into(),
                changes,
            };
            let of_key = self.finished.entry(key).or_default();
            self.places.insert(finished.first.clone(), (key, of_key.len()));
            of_key.push(finished);
        }
        Ok(())
    }

    fn load(&self, finished: &Finished) -> Option<Past> {
        let reader = self.reader();
        let read = |payload: &Payload| reader.value(payload).ok().flatten();
        let reads = |payload: &Option<Payload>| match payload {
            None => Some(None),
            Some(payload) => read(payload)?.read().ok().map(Some),
        };
        let nested = |nested: &Nested| {
            Some(PastCall {
                tool: nested.tool.clone(),
                arguments: read(&nested.arguments)?,
                component: nested.component,
                scope: nested.scope.clone(),
                except: nested.except.clone(),
                origin: nested.reused.clone().unwrap_or(Origin { run: finished.run.clone(), call: nested.call }),
                value: nested.value.clone(),
                failure: nested.failure.clone(),
                reads: reads(&nested.reads)?,
            })
        };
        Some(Past {
            origin: finished.first.clone(),
            bond: finished.bond,
            value: read(&finished.value)?,
            artifacts: finished.artifacts.clone(),
            reads: reads(&finished.reads)?,
            nested: finished.nested.iter().map(nested).collect::<Option<_>>()?,
            changes: match &finished.changes {
                None => ChangeSet::default(),
                Some(changes) => read(changes)?.read().ok()?,
            },
        })
    }

    // Each lock guards one step; a panic inside leaves nothing half done.
    fn reader(&self) -> MutexGuard<'_, Reader> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn taken(&self) -> MutexGuard<'_, HashSet<Origin>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn interrupted(&self) -> MutexGuard<'_, HashMap<Digest, Vec<Origin>>> {
        self.interrupted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recall for Recollection {
    fn count(&self, key: &Digest) -> usize {
        self.finished.get(key).map_or(0, Vec::len)
    }

    fn past(&self, key: &Digest, nth: usize) -> Option<Past> {
        let finished = self.finished.get(key)?.get(nth)?;
        if self.taken().contains(&finished.first) {
            return None;
        }
        self.load(finished)
    }

    fn take(&self, past: &Past) -> bool {
        // What comes out the same every time may answer as often as it is asked.
        past.bond == Bond::Earlier || self.taken().insert(past.origin.clone())
    }

    fn take_interrupted(&self, key: &Digest) -> Option<Origin> {
        self.interrupted().get_mut(key)?.pop()
    }

    fn doubt(&self) -> Doubt {
        self.doubt
    }

    fn may_have_changed(&self, path: &str) -> bool {
        self.wrote.iter().any(|wrote| wrote.reach(path) != Reach::Outside)
    }

    fn changes(&self, origin: &Origin) -> Option<ChangeSet> {
        let (key, at) = self.places.get(origin)?;
        match &self.finished.get(key)?.get(*at)?.changes {
            None => Some(ChangeSet::default()),
            Some(changes) => self.reader().value(changes).ok()??.read().ok(),
        }
    }

    fn contents(&self, changes: &ChangeSet) -> BTreeMap<Digest, Arc<[u8]>> {
        let reader = self.reader();
        let digests = changes.iter().filter_map(|(_, change)| change.after().and_then(Node::digest));
        digests.filter_map(|digest| Some((*digest, reader.blob(digest).ok()??.into()))).collect()
    }
}

/// A call as its events tell it.
struct Call {
    id: CallId,
    agent: AgentId,
    tool: ToolName,
    arguments: Payload,
    key: Option<Digest>,
    reused: Option<Origin>,
    value: Option<Payload>,
    artifacts: Vec<Artifact>,
    reads: Option<Payload>,
    nested: Vec<Nested>,
    isolated: bool,
    /// It was allowed to change something, and nobody knows whether it did.
    in_doubt: bool,
    /// Its agent was run again: whatever it answered was not what was asked for.
    superseded: bool,
}

#[derive(Default)]
struct Agent {
    /// Its call that has begun and not ended: what it asks for meanwhile, that call asks for.
    attempt: Option<usize>,
    /// The one that began last.
    last: Option<usize>,
    /// None: it has not ended.
    ended: Option<Option<Failure>>,
    /// What it changed, as far as that counts.
    changes: Option<Payload>,
    isolated: bool,
}

#[derive(Default)]
struct Folding {
    calls: Vec<Call>,
    open: HashMap<CallId, usize>,
    agents: HashMap<AgentId, Agent>,
    wrote: Vec<ScopePath>,
    spent: Spent,
}

impl Folding {
    fn add(&mut self, event: Event) {
        match event {
            Event::AgentStarted { agent, isolated, .. } => {
                self.agents.insert(agent, Agent { isolated, ..Agent::default() });
            }
            Event::AgentEnded { agent, failure } => {
                if let Some(agent) = self.agents.get_mut(&agent) {
                    agent.ended = Some(failure);
                }
            }
            Event::AgentChanged { agent, changes, counted: true, .. } => {
                if let Some(agent) = self.agents.get_mut(&agent) {
                    agent.changes = Some(changes);
                }
            }
            Event::CallIntended { call, agent, tool, arguments } => {
                let (place, mut isolated) = (self.calls.len(), false);
                if let Some(agent) = self.agents.get_mut(&agent) {
                    if agent.attempt.is_none() {
                        agent.attempt = Some(place);
                        if let Some(before) = agent.last.replace(place) {
                            self.calls[before].superseded = true;
                        }
                    }
                    isolated = agent.isolated;
                }
                self.open.insert(call, place);
                self.calls.push(Call {
                    id: call,
                    agent,
                    tool,
                    arguments,
                    key: None,
                    reused: None,
                    value: None,
                    artifacts: Vec::new(),
                    reads: None,
                    nested: Vec::new(),
                    isolated,
                    in_doubt: false,
                    superseded: false,
                });
            }
            Event::CallAdmitted { call, scope, key, isolated, .. } => {
                let Some(call) = self.open.get(&call).and_then(|at| self.calls.get_mut(*at)) else { return };
                (call.key, call.in_doubt) = (key, !isolated);
                if !isolated {
                    for held in scope.iter() {
                        // Host programs write under the same grants.
                        if let Capability::Write(path) = held
                            && !self.wrote.contains(path)
                        {
                            self.wrote.push(path.clone());
                        }
                    }
                }
            }
            Event::CallEnded {
                call,
                component,
                scope,
                except,
                value,
                failure,
                reads,
                usage,
                artifacts,
                key,
                reused,
            } => {
                self.spent.tokens += usage.input_tokens + usage.output_tokens;
                self.spent.usd_micros += usage.usd_micros;
                let Some(place) = self.open.remove(&call) else { return };
                let Some(call) = self.calls.get_mut(place) else { return };
                call.key = key.or(call.key);
                call.in_doubt &= matches!(failure, Some(Failure::Cancelled));
                (call.value, call.reused, call.artifacts) = (value, reused, artifacts);
                call.reads.clone_from(&reads);
                let attempt = self.agents.get_mut(&call.agent).and_then(|agent| {
                    let attempt = agent.attempt?;
                    if attempt == place {
                        agent.attempt = None;
                    }
                    (attempt != place).then_some(attempt)
                });
                let Some(attempt) = attempt else { return };
                let nested = Nested {
                    call: call.id,
                    reused: call.reused.clone(),
                    value: call.value.clone(),
                    failure,
                    tool: call.tool.clone(),
                    arguments: call.arguments.clone(),
                    component,
                    scope,
                    except,
                    reads,
                };
                self.calls[attempt].nested.push(nested);
            }
            _ => {}
        }
    }
}

/// The script of a run and what it takes to start it again, with the runs it goes on from, the nearest first and itself before them.
#[derive(Debug, Clone)]
pub struct Lineage {
    /// The run and those before it.
    pub runs: Vec<RunId>,
    /// The script's source.
    pub source: String,
    /// The script's name.
    pub title: String,
    /// The script's arguments.
    pub args: Json,
    /// The project directory.
    pub root: String,
    /// What the program that started it noted for itself.
    pub settings: Json,
}

/// How many runs may follow each other before one must be started anew; a chain that turns in a circle ends here too.
const LINEAGE_MAX: usize = 1_000;

impl Reader {
    /// What it takes to go on with `run`. `None` when it is no workflow, or one that an older version recorded.
    pub fn lineage(&self, run: &RunId) -> Result<Option<Lineage>, LedgerError> {
        let mut runs = vec![run.clone()];
        let mut found = None;
        loop {
            let mut start = None;
            let mut before = None;
            let here = &runs[runs.len() - 1];
            for event in self.opening(here)? {
                match event {
                    Event::RunStarted { title, args, root, .. } => start = Some((title, args, root)),
                    Event::RunPrepared { source, settings, resumes } => {
                        before = resumes;
                        if let (None, Some((title, args, root)), Some(source)) =
                            (&found, start.take(), self.value(&source)?)
                            && let Ok(source) = source.read::<String>()
                        {
                            found = Some(Lineage { runs: Vec::new(), source, title, args, root, settings });
                        }
                    }
                    _ => {}
                }
            }
            match before {
                Some(before) if runs.len() < LINEAGE_MAX && !runs.contains(&before) => runs.push(before),
                _ => break,
            }
        }
        Ok(found.map(|found| Lineage { runs, ..found }))
    }

    /// The latest run that goes on from `run`, directly or not; `run` itself where none does. Looks at the runs that began later.
    pub fn latest_of(&self, run: &RunId) -> Result<RunId, LedgerError> {
        let mut latest = run.clone();
        for later in self.started_after(run)? {
            if self.resumes(&later)?.as_ref() == Some(&latest) {
                latest = later;
            }
        }
        Ok(latest)
    }

    /// The runs over the project at `root`, newest first, in which a new one of the workflow `title` may find its answers: those of
    /// the same workflow up to one that completed, since its record has all that it asked for, and of others the last that did.
    /// At most `most`, among the latest `look_at`.
    pub fn workflows_over(
        &self,
        root: &str,
        title: &str,
        most: usize,
        look_at: usize,
    ) -> Result<Vec<RunId>, LedgerError> {
        let mut found = Vec::new();
        let mut whole = HashSet::new();
        for run in self.runs(look_at)? {
            let completed = run.status == RunStatus::Completed;
            if whole.contains(&run.title) || (!completed && run.title != title) {
                continue;
            }
            let over =
                |event: &Event| matches!(event, Event::RunStarted { root: of, script: Some(_), .. } if of == root);
            if self.opening(&run.id)?.first().is_some_and(over) {
                found.push(run.id);
                if completed {
                    whole.insert(run.title);
                }
            }
            if found.len() == most {
                break;
            }
        }
        Ok(found)
    }

    /// The runs over the project at `root`, newest first: at most `most`, among the latest `look_at`.
    pub fn runs_over(&self, root: &str, most: usize, look_at: usize) -> Result<Vec<RunSummary>, LedgerError> {
        let over = |event: &Event| matches!(event, Event::RunStarted { root: of, .. } if of == root);
        let mut found = Vec::new();
        for run in self.runs(look_at)? {
            if found.len() == most {
                break;
            }
            if self.opening(&run.id)?.first().is_some_and(over) {
                found.push(run);
            }
        }
        Ok(found)
    }

    fn resumes(&self, run: &RunId) -> Result<Option<RunId>, LedgerError> {
        Ok(match self.opening(run)?.pop() {
            Some(Event::RunPrepared { resumes, .. }) => resumes,
            _ => None,
        })
    }
}
