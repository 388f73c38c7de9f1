//! What earlier runs came to, read from their events, for a run that goes on from one or works on the same project again. Values and
//! read sets stay in the file until they are asked for. Nothing is decided here: a key, and what was recorded under it.

mod ahead;
mod folding;

pub use ahead::{End, ReadAhead};
use folding::{At, Folding, Nested, Page, Texts, count};

use crate::reader::{Reader, unreadable};
use crate::store::LedgerError;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::mem;
use std::ops::ControlFlow;
use std::panic::resume_unwind;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ScopedJoinHandle};
use vespiary_kernel::call::{Artifact, Failure};
use vespiary_kernel::capability::Capability;
use vespiary_kernel::change::{ChangeSet, Node};
use vespiary_kernel::event::{Payload, RunStatus};
use vespiary_kernel::grant::Grant;
use vespiary_kernel::ids::{CallId, Digest, RunId, ToolName};
use vespiary_kernel::json::Json;
use vespiary_kernel::observed::ReadSet;
use vespiary_kernel::path::{Reach, ScopePath};
use vespiary_kernel::ports::Recall;
use vespiary_kernel::reuse::{Bond, Doubt, Origin, Past, PastCall};

/// A tool was called often where it had so great a part of all calls.
const USUAL_OF: u64 = 20;

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
    /// What was called, and how often.
    tools: Vec<(ToolName, u64)>,
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
    run: Arc<(RunId, Texts)>,
    bond: Bond,
    ended: At,
    nested: Vec<Nested>,
    changes: Option<Payload>,
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

    /// The tools that were called often: each had a twentieth of the calls at least, the most called one first.
    pub fn usual_tools(&self) -> Vec<&ToolName> {
        let all: u64 = self.tools.iter().map(|(_, calls)| calls).sum();
        let mut usual: Vec<_> = self.tools.iter().filter(|(_, calls)| calls * USUAL_OF >= all).collect();
        usual.sort_by_key(|(_, calls)| std::cmp::Reverse(*calls));
        usual.into_iter().map(|(tool, _)| tool).collect()
    }

    /// All that a run's events tell of its calls. One thread takes them out of the file, and this one takes them apart.
    fn fold(&self, run: &RunId) -> Result<Folding, LedgerError> {
        thread::scope(|scope| {
            let (sender, pages) = mpsc::channel();
            let theirs = sender.clone();
            let spawned = thread::Builder::new().spawn_scoped(scope, move || self.take_out(run, &theirs));
            let reading = match spawned {
                Ok(reading) => Some(reading),
                // Without a thread, one thing comes after the other.
                Err(_) => self.take_out(run, &sender).map(|()| None)?,
            };
            drop(sender);
            let mut folding = Folding::default();
            for page in pages {
                folding.add(page).map_err(|(seq, error)| unreadable(run, seq, &error))?;
            }
            match reading.map(ScopedJoinHandle::join) {
                None => Ok(folding),
                Some(Ok(read)) => read.map(|()| folding),
                Some(Err(panic)) => resume_unwind(panic),
            }
        })
    }

    /// Send all events of a run, in order, until nobody wants more.
    fn take_out(&self, run: &RunId, pages: &Sender<Page>) -> Result<(), LedgerError> {
        let mut page = Page::default();
        self.reader().bodies(run, |seq, body| {
            page.add(seq, body);
            match page.is_full().then(|| pages.send(mem::take(&mut page))) {
                Some(Err(_)) => ControlFlow::Break(()),
                None | Some(Ok(())) => ControlFlow::Continue(()),
            }
        })?;
        // Whoever wants no more has met a fault of his own.
        let _ = pages.send(page);
        Ok(())
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
        let Folding { calls, agents, wrote, spent, texts, tools, .. } = self.fold(run)?;
        let texts = Arc::new((run.clone(), texts));
        for (tool, calls) in tools {
            count(&mut self.tools, tool.as_str(), calls);
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
            let agent = agents.get(&call.agent);
            let answered = call.answered.is_some();
            let Some(ended) = call.answered.filter(|_| !call.in_doubt) else {
                // An answer that cannot stand for what was lost is asked about only where the agent has it lost.
                let lost = agent.is_some_and(|agent| matches!(agent.ended, None | Some(Some(Failure::Cancelled))));
                if resumed && call.in_doubt && (lost || !answered) && known.insert(first) {
                    self.interrupted().entry(key).or_default().push(origin);
                }
                continue;
            };
            // An agent that ended badly has no answer, whatever its last call said; one that wrote into a worktree has one only
            // if what it wrote was taken. What was stopped is as good as killed: what its calls had done by then is done.
            // Of an earlier run it must have ended: only then did its answer have the shape that was asked for, and since such answers are
            // not used up, one that has not would be given again for ever.
            let well = match agent.map(|agent| &agent.ended) {
                None | Some(Some(None)) => true,
                Some(None | Some(Some(Failure::Cancelled))) => resumed && (!call.isolated || call.outside),
                Some(Some(Some(_))) => false,
            };
            if !well || call.superseded {
                continue;
            }
            if !known.insert(first.clone()) {
                continue;
            }
            let changes = agent.and_then(|agent| agent.changes.clone()).filter(|_| call.isolated && !call.outside);
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
        let (run, texts) = &*finished.run;
        let ended: Ended = texts.read(&finished.ended)?;
        let nested = |nested: &Nested| {
            let asked: Asked = texts.read(&nested.asked)?;
            let ended: Ended = texts.read(&nested.ended)?;
            let here = || Origin { run: run.clone(), call: ended.call };
            Some(PastCall {
                origin: ended.reused.clone().unwrap_or_else(here),
                within: nested.within,
                tool: asked.tool,
                arguments: match &asked.arguments {
                    // Refused before anything was decided, and kept by its digest only: nobody judges it again.
                    Payload::Digest { .. } if ended.component.is_none() => Json::null(),
                    kept => text(kept)?,
                },
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
