//! The events of a run, folded into its calls: which there were, how each ended, and where in the record its answer stands.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::HashMap;
use std::mem;
use std::ops::Range;
use vespiary_kernel::call::Failure;
use vespiary_kernel::capability::Capability;
use vespiary_kernel::event::{Event, Payload};
use vespiary_kernel::ids::{AgentId, CallId, Digest, ToolName};
use vespiary_kernel::path::ScopePath;
use vespiary_kernel::reuse::Origin;

use super::Spent;

/// The events on one page, bytes; about.
const PAGE_BYTES: usize = 256 << 10;

/// Events of a run, one after the other, as they stand in the record.
#[derive(Default)]
pub(super) struct Page {
    text: String,
    /// The place of each in its run, and where in the text it ends.
    ends: Vec<(u64, usize)>,
}

impl Page {
    pub(super) fn add(&mut self, seq: u64, body: &str) {
        if self.text.capacity() == 0 {
            self.text.reserve(PAGE_BYTES + PAGE_BYTES / 16);
        }
        self.text.push_str(body);
        self.ends.push((seq, self.text.len()));
    }

    pub(super) fn is_full(&self) -> bool {
        self.text.len() >= PAGE_BYTES
    }
}

/// All pages of a run. What stands on them is taken apart only when it is asked for: little is, of what there is.
#[derive(Default)]
pub(super) struct Texts(Vec<String>);

/// A part of a page.
#[derive(Clone)]
pub(super) struct At {
    page: usize,
    bytes: Range<usize>,
}

impl Texts {
    pub(super) fn read<'a, T: Deserialize<'a>>(&'a self, at: &At) -> Option<T> {
        serde_json::from_str(self.0.get(at.page)?.get(at.bytes.clone())?).ok()
    }
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
pub(super) struct Call {
    pub(super) id: CallId,
    pub(super) agent: AgentId,
    asked: At,
    pub(super) key: Option<Digest>,
    pub(super) reused: Option<Origin>,
    /// Its end, where it gave a value.
    pub(super) answered: Option<At>,
    pub(super) nested: Vec<Nested>,
    pub(super) isolated: bool,
    /// It was allowed to change something, and nobody knows whether it did; or it did, and half of that is lost.
    pub(super) in_doubt: bool,
    /// An isolated agent made it, and it was allowed to change what is outside of the agent's worktree.
    pub(super) outside: bool,
    /// Allowed that, it could write into the worktree as well.
    both: bool,
    /// Its agent was run again: whatever it answered was not what was asked for.
    pub(super) superseded: bool,
}

/// The two events of a call that another one made, or an agent that it started.
pub(super) struct Nested {
    /// The call of that agent.
    pub(super) within: Option<CallId>,
    pub(super) asked: At,
    pub(super) ended: At,
}

#[derive(Default)]
pub(super) struct Agent {
    /// Who started it, where that is an agent.
    parent: Option<AgentId>,
    /// Its call that has begun and not ended: what it asks for meanwhile, that call asks for.
    attempt: Option<usize>,
    /// The one that began last.
    last: Option<usize>,
    /// None: it has not ended.
    pub(super) ended: Option<Option<Failure>>,
    /// What it changed, as far as that counts.
    pub(super) changes: Option<Payload>,
    pub(super) isolated: bool,
}

#[derive(Default)]
pub(super) struct Folding {
    pub(super) calls: Vec<Call>,
    open: HashMap<CallId, usize>,
    pub(super) agents: HashMap<AgentId, Agent>,
    pub(super) wrote: Vec<ScopePath>,
    pub(super) spent: Spent,
    pub(super) texts: Texts,
    pub(super) tools: Vec<(ToolName, u64)>,
}

/// `calls` more of one tool. What is no name of a tool is none.
pub(super) fn count(tools: &mut Vec<(ToolName, u64)>, tool: &str, calls: u64) {
    match tools.iter_mut().find(|(known, _)| known.as_str() == tool) {
        Some((_, known)) => *known += calls,
        None => tools.extend(tool.parse().map(|tool| (tool, calls))),
    }
}

/// How the events begin of which there are many.
const ASKED: &str = "{\"call-intended\":";
const ENDED: &str = "{\"call-ended\":";

impl Folding {
    /// The next events.
    ///
    /// # Errors
    /// The place of one that cannot be read.
    pub(super) fn add(&mut self, Page { text, ends }: Page) -> Result<(), (u64, serde_json::Error)> {
        let page = self.texts.0.len();
        let mut from = 0;
        for (seq, to) in ends {
            let body = &text[from..to];
            self.add_one(body, |part| At { page, bytes: from + part.start..from + part.end })
                .map_err(|error| (seq, error))?;
            from = to;
        }
        self.texts.0.push(text);
        Ok(())
    }

    fn add_one(&mut self, body: &str, at: impl Fn(Range<usize>) -> At) -> serde_json::Result<()> {
        let inner = |begin: &str| {
            let inner = body.strip_prefix(begin)?.strip_suffix('}')?;
            Some((inner, at(begin.len()..begin.len() + inner.len())))
        };
        if let Some((asked, at)) = inner(ASKED) {
            self.ask(serde_json::from_str(asked)?, at);
        } else if let Some((ended, at)) = inner(ENDED) {
            self.end(serde_json::from_str(ended)?, at)?;
        } else {
            self.note(serde_json::from_str(body)?);
        }
        Ok(())
    }

    fn ask(&mut self, AskedFor { call, agent, tool }: AskedFor<'_>, at: At) {
        count(&mut self.tools, &tool, 1);
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
            outside: false,
            both: false,
            superseded: false,
        });
    }

    fn end(&mut self, ended: EndedWith<'_>, at: At) -> serde_json::Result<()> {
        let EndedWith { call, value, failure, usage, key, reused } = ended;
        self.spent.tokens += usage.input_tokens + usage.output_tokens;
        self.spent.usd_micros += usage.usd_micros;
        let Some(place) = self.open.remove(&call) else { return Ok(()) };
        let Some(call) = self.calls.get_mut(place) else { return Ok(()) };
        call.key = key.or(call.key);
        if call.in_doubt {
            call.in_doubt = match failure.map(|failure| serde_json::from_str(failure.get())).transpose()? {
                // Its answer cannot stand for it where the worktree is gone, and made again it would act outside again.
                None => call.both,
                Some(failure) => matches!(failure, Failure::Cancelled),
            };
        }
        (call.answered, call.reused) = (value.map(|_| at.clone()), reused);
        let (number, by) = (call.id, call.agent);
        let Some(agent) = self.agents.get_mut(&by) else { return Ok(()) };
        let Some(attempt) = agent.attempt else { return Ok(()) };
        let nested = Nested { within: None, asked: call.asked.clone(), ended: at };
        if attempt != place {
            let call = &mut self.calls[place];
            // Of what an isolated agent does, only what it does outside has a key by which it could be taken over.
            call.outside |= call.isolated && call.reused.is_some();
            self.calls[attempt].nested.push(nested);
            return Ok(());
        }
        agent.attempt = None;
        // What the agent of an agent did, the answer of that one rests on as well.
        let above = agent.parent.and_then(|parent| self.agents.get(&parent)?.attempt);
        if let Some(above) = above {
            let below = mem::take(&mut self.calls[place].nested);
            let below = below.into_iter().map(|one| Nested { within: one.within.or(Some(number)), ..one });
            self.calls[above].nested.extend([nested].into_iter().chain(below));
        }
        Ok(())
    }

    /// An event of another sort.
    fn note(&mut self, event: Event) {
        match event {
            Event::AgentStarted { agent, parent, isolated, .. } => {
                let parent = (parent != AgentId::ROOT).then_some(parent);
                self.agents.insert(agent, Agent { parent, isolated, ..Agent::default() });
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
                let Some((place, call)) = self.open.get(&call).and_then(|at| Some((*at, self.calls.get_mut(*at)?)))
                else {
                    return;
                };
                let agent = || self.agents.get(&call.agent).is_some_and(|agent| agent.attempt == Some(place));
                call.outside = isolated && scope.has_effects_outside() && !agent();
                call.both = call.outside && scope.iter().any(|held| matches!(held, Capability::Write(_)));
                (call.key, call.in_doubt) = (key, !isolated || call.outside);
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
