//! What earlier runs came to, read from their events, for a run that goes on from one or works on the same project again. Values and
//! read sets stay in the file until they are asked for. Nothing is decided here: a key, and what was recorded under it.

mod ahead;

pub use ahead::{End, ReadAhead};

use crate::reader::Reader;
use crate::store::LedgerError;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use vespiary_kernel::call::{Artifact, Failure};
use vespiary_kernel::capability::Capability;
use vespiary_kernel::change::{ChangeSet, Node};
use vespiary_kernel::event::{Event, Payload, RunStatus};
use vespiary_kernel::grant::Grant;
use vespiary_kernel::ids::{AgentId, CallId, Digest, RunId, ToolName};
use vespiary_kernel::observed::ReadSet;
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
    /// The same places, in the order in which the calls ended.
    order: Vec<(Digest, usize)>,
    /// Answers that were read ahead of being asked for.
    ready: Mutex<HashMap<Origin, Past>>,
    taken: Mutex<HashSet<Origin>>,
    interrupted: Mutex<HashMap<Digest, Vec<Origin>>>,
    /// What was called, in the order in which it was first.
    tools: Vec<ToolName>,
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
    /// The call that ran, where this one was answered by an earlier one.
    first: Origin,
    /// The run whose record it is taken from, and what of that is needed of calls.
    run: Arc<Texts>,
    bond: Bond,
    ended: Range<usize>,
    nested: Vec<Nested>,
    changes: Option<Payload>,
}

/// The events of a run's calls, one after the other. Taken apart only when they are asked for: few are, of those there are.
struct Texts {
    run: RunId,
    text: String,
}

impl Texts {
    fn read<'a, T: Deserialize<'a>>(&'a self, at: &Range<usize>) -> Option<T> {
        serde_json::from_str(self.text.get(at.clone())?).ok()
    }
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
            order: Vec::new(),
            ready: Mutex::default(),
            taken: Mutex::default(),
            interrupted: Mutex::default(),
            tools: Vec::new(),
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

    /// The tools that were called, in the order in which each first was.
    pub fn tools(&self) -> &[ToolName] {
        &self.tools
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
        self.reader().bodies(run, |body| folding.add(body))?;
        let Folding { calls, agents, wrote, spent, text, tools, .. } = folding;
        let texts = Arc::new(Texts { run: run.clone(), text });
        for tool in tools {
            if !self.tools.contains(&tool) {
                self.tools.push(tool);
            }
        }
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
            let Some(ended) = call.answered else {
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
            let run = Arc::clone(&texts);
            let finished = Finished { first, run, bond, ended, nested: call.nested, changes };
            let of_key = self.finished.entry(key).or_default();
            self.places.insert(finished.first.clone(), (key, of_key.len()));
            self.order.push((key, of_key.len()));
            of_key.push(finished);
        }
        Ok(())
    }

    fn load(&self, finished: &Finished) -> Option<Past> {
        let text = |payload: &Payload| self.reader().value(payload).ok().flatten();
        let reads = |held: Option<Held<ReadSet>>| match held {
            None => Some(None),
            Some(held) => held.value(self).map(Some),
        };
        let texts = &finished.run;
        let ended: Ended = texts.read(&finished.ended)?;
        let nested = |nested: &Nested| {
            let asked: Asked = texts.read(&nested.asked)?;
            let ended: Ended = texts.read(&nested.ended)?;
            let here = || Origin { run: texts.run.clone(), call: ended.call };
            Some(PastCall {
                origin: ended.reused.clone().unwrap_or_else(here),
                tool: asked.tool,
                arguments: text(&asked.arguments)?,
                component: ended.component,
                scope: ended.scope,
                except: ended.except,
                value: ended.value.map(identified),
                failure: ended.failure,
                reads: reads(ended.reads)?,
            })
        };
        let mut calls = finished.nested.iter().map(nested).collect::<Option<Vec<_>>>()?;
        if let Some(held) = ended.rests_on {
            calls.extend(held.value(self)?);
        }
        Some(Past {
            origin: finished.first.clone(),
            bond: finished.bond,
            value: text(&ended.value?)?,
            artifacts: ended.artifacts,
            reads: reads(ended.reads)?,
            nested: calls,
            changes: match &finished.changes {
                None => ChangeSet::default(),
                Some(changes) => self.value(changes)?,
            },
        })
    }

    /// A value, taken apart where nobody waits for the reader.
    fn value<T: DeserializeOwned>(&self, payload: &Payload) -> Option<T> {
        let bytes = self.reader().bytes(payload).ok()??;
        serde_json::from_slice(&bytes).ok()
    }

    // Each lock guards one step; a panic inside leaves nothing half done.
    fn reader(&self) -> MutexGuard<'_, Reader> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ready(&self) -> MutexGuard<'_, HashMap<Origin, Past>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
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
        let ready = self.ready().remove(&finished.first);
        ready.or_else(|| self.load(finished))
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
            Some(changes) => self.value(changes),
        }
    }

    fn contents(&self, changes: &ChangeSet) -> BTreeMap<Digest, Arc<[u8]>> {
        let reader = self.reader();
        let digests = changes.iter().filter_map(|(_, change)| change.after().and_then(Node::digest));
        digests.filter_map(|digest| Some((*digest, reader.blob(digest).ok()??.into()))).collect()
    }
}

impl Finished {
    /// Of the record, what it takes to load it; blobs are not counted.
    fn bytes(&self) -> usize {
        self.ended.len() + self.nested.iter().map(|nested| nested.asked.len() + nested.ended.len()).sum::<usize>()
    }
}

/// A value that is part of an event, or a blob.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Held<T> {
    Value(T),
    Blob { digest: Digest, bytes: u64 },
    Digest {},
}

impl<T: for<'a> Deserialize<'a>> Held<T> {
    fn value(self, of: &Recollection) -> Option<T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Blob { digest, bytes } => of.value(&Payload::Blob { digest, bytes }),
            Self::Digest {} => None,
        }
    }
}

/// A value as the record of another run names it: that one's blobs are not its own.
fn identified(value: Payload) -> Payload {
    match value {
        Payload::Blob { digest, bytes } => Payload::Digest { digest, bytes },
        own => own,
    }
}

/// Of the event that a call was asked for, what its answer needs.
#[derive(Deserialize)]
struct Asked {
    tool: ToolName,
    arguments: Payload,
}

/// Of the event that a call ended, what its answer needs.
#[derive(Deserialize)]
struct Ended {
    call: CallId,
    component: Option<Digest>,
    scope: Option<Grant>,
    #[serde(default)]
    except: Vec<Capability>,
    value: Option<Payload>,
    failure: Option<Failure>,
    reads: Option<Held<ReadSet>>,
    #[serde(default)]
    artifacts: Vec<Artifact>,
    reused: Option<Origin>,
    rests_on: Option<Held<Vec<PastCall>>>,
}

/// Of both, what finding answers needs. The rest is passed over unread.
#[derive(Deserialize)]
struct AskedFor<'a> {
    call: CallId,
    agent: AgentId,
    #[serde(borrow)]
    tool: Cow<'a, str>,
}

#[derive(Deserialize)]
struct EndedWith<'a> {
    call: CallId,
    value: Option<IgnoredAny>,
    #[serde(borrow)]
    failure: Option<&'a RawValue>,
    usage: Cost,
    key: Option<Digest>,
    reused: Option<Origin>,
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Cost {
    input_tokens: u64,
    output_tokens: u64,
    usd_micros: u64,
}

/// A call as its events tell it.
struct Call {
    id: CallId,
    agent: AgentId,
    asked: Range<usize>,
    key: Option<Digest>,
    reused: Option<Origin>,
    /// Its end, where it gave a value.
    answered: Option<Range<usize>>,
    nested: Vec<Nested>,
    isolated: bool,
    /// It was allowed to change something, and nobody knows whether it did.
    in_doubt: bool,
    /// Its agent was run again: whatever it answered was not what was asked for.
    superseded: bool,
}

/// The two events of a call that another one made.
struct Nested {
    asked: Range<usize>,
    ended: Range<usize>,
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
    text: String,
    tools: Vec<ToolName>,
}

/// How the events begin of which there are many.
const ASKED: &str = "{\"call-intended\":";
const ENDED: &str = "{\"call-ended\":";

impl Folding {
    /// The next event, as it stands in the record.
    fn add(&mut self, body: &str) -> serde_json::Result<()> {
        if let Some(asked) = body.strip_prefix(ASKED).and_then(|body| body.strip_suffix('}')) {
            let at = self.keep(asked);
            self.ask(serde_json::from_str(asked)?, at);
        } else if let Some(ended) = body.strip_prefix(ENDED).and_then(|body| body.strip_suffix('}')) {
            let at = self.keep(ended);
            self.end(serde_json::from_str(ended)?, at)?;
        } else {
            self.note(serde_json::from_str(body)?);
        }
        Ok(())
    }

    fn keep(&mut self, text: &str) -> Range<usize> {
        let from = self.text.len();
        self.text.push_str(text);
        from..self.text.len()
    }

    fn ask(&mut self, AskedFor { call, agent, tool }: AskedFor<'_>, at: Range<usize>) {
        if !self.tools.iter().any(|known| known.as_str() == tool) {
            self.tools.extend(tool.parse::<ToolName>());
        }
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
            asked: at,
            key: None,
            reused: None,
            answered: None,
            nested: Vec::new(),
            isolated,
            in_doubt: false,
            superseded: false,
        });
    }

    fn end(&mut self, ended: EndedWith<'_>, at: Range<usize>) -> serde_json::Result<()> {
        let EndedWith { call, value, failure, usage, key, reused } = ended;
        self.spent.tokens += usage.input_tokens + usage.output_tokens;
        self.spent.usd_micros += usage.usd_micros;
        let Some(place) = self.open.remove(&call) else { return Ok(()) };
        let Some(call) = self.calls.get_mut(place) else { return Ok(()) };
        call.key = key.or(call.key);
        if call.in_doubt {
            let failure = failure.map(|failure| serde_json::from_str(failure.get())).transpose()?;
            call.in_doubt = matches!(failure, Some(Failure::Cancelled));
        }
        (call.answered, call.reused) = (value.map(|_| at.clone()), reused);
        let attempt = self.agents.get_mut(&call.agent).and_then(|agent| {
            let attempt = agent.attempt?;
            if attempt == place {
                agent.attempt = None;
            }
            (attempt != place).then_some(attempt)
        });
        let Some(attempt) = attempt else { return Ok(()) };
        let nested = Nested { asked: call.asked.clone(), ended: at };
        self.calls[attempt].nested.push(nested);
        Ok(())
    }

    /// An event of another sort.
    fn note(&mut self, event: Event) {
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
            _ => {}
        }
    }
}
