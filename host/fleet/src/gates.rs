//! Gates of a run: each opened once, decided once, and its decision handed to everybody who asked for the same. A gate that waits
//! for a person holds nothing; when a run waits for nothing but such gates and nobody sits at it, it ends, and the decision can
//! come later.

use crate::activity::{Activity, Token};
use crate::gatekeeper::Gatekeeper;
use crate::jobs::{Ended, Ground, Planned, thrown};
use crate::options::{invalid, reject};
use crate::pending::Weight;
use crate::stop::Urgency;
use crate::watch::Progress;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::oneshot;
use tokio::time::Instant;
use vespiary_kernel::call::{Failure, Keep, ToolCall};
use vespiary_kernel::event::{Event, Payload};
use vespiary_kernel::gate::{BadMatter, Decision, Matter};
use vespiary_kernel::ids::Digest;
use vespiary_kernel::json::Json;
use vespiary_kernel::program::{ProgramName, ProgramResult, ProgramStatus};
use vespiary_kernel::quota::LimitHit;
use vespiary_kernel::script::{Completion, Rejection};

/// Gates that wait at once. More than a person decides in a sitting.
const OPEN_MAX: u64 = 32;

/// Different gates of one run, and times that a program decides. With the longest payload each, they take 16 MiB of the record.
const ASKED_MAX: u64 = 256;

/// How often somebody elsewhere is listened for.
const GLANCE: Duration = Duration::from_millis(150);

/// The tool that runs host programs.
const PROGRAMS: &str = "exec.run";

/// As a script writes it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    title: String,
    #[serde(default)]
    payload: Option<Json>,
    #[serde(default)]
    expires_in: Option<u64>,
    #[serde(default)]
    check: Option<Check>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Check {
    program: ProgramName,
    #[serde(default)]
    args: Vec<String>,
}

/// What the script is told.
#[derive(Serialize)]
struct Told<'a> {
    approved: bool,
    by: &'a str,
    at: String,
    note: Option<&'a str>,
}

/// A gate that was asked for.
#[derive(Debug)]
pub(crate) enum Asked {
    /// It was decided before.
    Decided(Json),
    /// A person decides.
    Person(GateJob),
    /// A program does.
    Program(ToolCall, Checked, Weight),
}

/// A gate that waits for a person.
#[derive(Debug)]
pub(crate) struct GateJob {
    request: u64,
    matter: Matter,
    expires_in: Option<Duration>,
    weight: Weight,
}

/// What a program decides.
#[derive(Debug)]
pub(crate) struct Checked {
    matter: Matter,
    program: ProgramName,
}

/// A gate that was open when its run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenGate {
    /// What a decision is bound to.
    pub gate: Digest,
    /// What it is about, in the script's words.
    pub title: String,
}

/// The gates of one run.
#[derive(Debug, Default)]
pub(crate) struct Gates(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    asked: u64,
    open: BTreeMap<Digest, String>,
    decided: HashMap<Digest, Decision>,
    /// Who waits for what somebody else already asks.
    followers: HashMap<Digest, Vec<oneshot::Sender<Heard>>>,
}

impl State {
    /// One more gate of the run.
    fn count(&mut self) -> Result<(), LimitHit> {
        if self.asked >= ASKED_MAX {
            return Err(LimitHit { quota: "gates".into(), limit: ASKED_MAX, used: ASKED_MAX + 1 });
        }
        self.asked += 1;
        Ok(())
    }
}

/// A decision, and a token for whoever goes on with it.
type Heard = (Decision, Option<Token>);

/// Asks for a gate on behalf of all; whoever follows takes its place when it is dropped without a decision.
struct Lead<'a> {
    gates: &'a Gates,
    gate: Digest,
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        // Followers hear that their sender is gone, and the first of them asks on.
        self.gates.state().followers.remove(&self.gate);
    }
}

enum Role<'a> {
    Lead(Lead<'a>),
    Follow(oneshot::Receiver<Heard>),
}

impl Gates {
    /// A poisoned lock only means that a thread died between two changes, each whole by itself.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gates that nobody has decided.
    pub(crate) fn open(&self) -> Vec<OpenGate> {
        self.state().open.iter().map(|(gate, title)| OpenGate { gate: *gate, title: title.clone() }).collect()
    }

    /// Count a gate against the run, unless it is known.
    fn admit(&self, matter: &Matter) -> Result<(), LimitHit> {
        let mut state = self.state();
        if state.open.contains_key(&matter.digest()) {
            return Ok(());
        }
        if state.open.len() as u64 >= OPEN_MAX {
            return Err(LimitHit { quota: "gates-open".into(), limit: OPEN_MAX, used: OPEN_MAX + 1 });
        }
        state.count()?;
        state.open.insert(matter.digest(), matter.title().to_owned());
        Ok(())
    }

    /// Count a gate that a program decides. What it found before is not kept, so it is another one each time.
    fn admit_check(&self) -> Result<(), LimitHit> {
        self.state().count()
    }

    fn known(&self, gate: &Digest) -> Option<Decision> {
        self.state().decided.get(gate).cloned()
    }

    fn role(&self, gate: Digest) -> Role<'_> {
        let mut state = self.state();
        match state.followers.get_mut(&gate) {
            Some(followers) => {
                let (sender, receiver) = oneshot::channel();
                followers.push(sender);
                Role::Follow(receiver)
            }
            None => {
                state.followers.insert(gate, Vec::new());
                Role::Lead(Lead { gates: self, gate })
            }
        }
    }

    /// Keep a decision, and tell all who follow. Each gets a token of its own, so that the run is not taken for over between the
    /// moment in which this one's script goes on and the moment in which theirs do.
    fn decide(&self, gate: Digest, decision: &Decision, activity: &Arc<Activity>) {
        let followers = {
            let mut state = self.state();
            state.open.remove(&gate);
            state.decided.insert(gate, decision.clone());
            state.followers.remove(&gate).unwrap_or_default()
        };
        for follower in followers {
            let _ = follower.send((decision.clone(), activity.begin()));
        }
    }
}

impl Ground {
    /// Check a request for a gate. The error is thrown in the script.
    pub(crate) fn accept_gate(&self, request: u64, options: &Json) -> Result<Asked, Rejection> {
        let Written { title, payload, expires_in, check } =
            options.read().map_err(|error| invalid(format!("gate() options: {error}")))?;
        let payload = payload.unwrap_or_else(Json::null);
        let unfit = |bad: BadMatter| match bad {
            BadMatter::TooLong { what, most, found } => {
                let quota = format!("gate-{what}-bytes");
                thrown(&Failure::Limit(LimitHit { quota, limit: most as u64, used: found as u64 }))
            }
            other => invalid(format!("gate(): {other}")),
        };
        if let Some(check) = check {
            if expires_in.is_some() {
                return Err(invalid("gate(): check decides at once, so expiresIn means nothing beside it"));
            }
            let matter = Matter::for_program(&title, &payload, &check.program).map_err(unfit)?;
            let arguments = Json::of(&check).map_err(|error| invalid(error.to_string()))?;
            let tool = PROGRAMS.parse().map_err(|_| reject("host", "there is no tool that runs programs"))?;
            // What it found today is not what it finds tomorrow: kept, it could stand for another check.
            let call = ToolCall { tool, arguments, keep: Keep::Digest };
            let weight = self.pending.take(options.len_bytes())?;
            self.gates.admit_check().map_err(|hit| thrown(&Failure::Limit(hit)))?;
            return Ok(Asked::Program(call, Checked { matter, program: check.program }, weight));
        }
        let Some(keeper) = &self.gatekeeper else {
            return Err(reject("unsupported", "gate() needs a host that can ask a person; this one cannot"));
        };
        if let Some(why) = keeper.distrusts() {
            return Err(reject("denied", format!("gate() is refused: {why}")));
        }
        let matter = Matter::new(&title, &payload).map_err(unfit)?;
        if let Some(decision) = self.gates.known(&matter.digest()) {
            return Ok(Asked::Decided(told(&decision)));
        }
        let weight = self.pending.take(options.len_bytes())?;
        self.gates.admit(&matter).map_err(|hit| thrown(&Failure::Limit(hit)))?;
        Ok(Asked::Person(GateJob { request, matter, expires_in: expires_in.map(Duration::from_millis), weight }))
    }

    /// Have a person decide.
    pub(crate) async fn run_gate(self: Arc<Self>, job: GateJob, token: Option<Token>) -> Ended {
        let GateJob { request, matter, expires_in, weight: _weight } = job;
        let gate = matter.digest();
        let mut token = token;
        if self.planning {
            let known = self.gatekeeper.as_ref().and_then(|keeper| keeper.decided(&gate));
            return match known {
                Some(decision) => ended(request, Ok(told(&decision)), None, token),
                None => {
                    let (label, agent_type) = (matter.title().to_owned(), Some("gate".to_owned()));
                    let planned = Some(Planned { label, agent_type, reused: None });
                    Ended { completion: None, planned, ..ended(request, Ok(Json::null()), None, token) }
                }
            };
        }
        loop {
            if let Some(decision) = self.gates.known(&gate) {
                return ended(request, Ok(told(&decision)), None, token);
            }
            let asked = match self.gates.role(gate) {
                Role::Lead(_lead) => self.lead(&matter, expires_in, &mut token).await,
                Role::Follow(decided) => {
                    drop(token.take());
                    match decided.await {
                        Ok((decision, its)) => {
                            token = its;
                            Ok(Some(decision))
                        }
                        // Whoever asked is gone: it is this one's turn.
                        Err(_) => {
                            token = Some(self.activity.resume().await);
                            continue;
                        }
                    }
                }
            };
            return match asked {
                Ok(Some(decision)) => ended(request, Ok(told(&decision)), None, token),
                Ok(None) => ended(request, Err(reject("cancelled", "the run is being stopped")), None, token),
                Err(why) => {
                    let unrecorded = Failure::Unrecorded(why.clone());
                    ended(request, Err(thrown(&unrecorded)), Some(why), token)
                }
            };
        }
    }

    /// Open the gate and wait until it is decided, or, None, the run is being stopped. The error: it cannot be recorded.
    async fn lead(
        &self,
        matter: &Matter,
        expires_in: Option<Duration>,
        token: &mut Option<Token>,
    ) -> Result<Option<Decision>, String> {
        let Some(keeper) = self.gatekeeper.clone() else { return Ok(None) };
        let gate = matter.digest();
        let expires_ms = expires_in.map(|after| now_ms().saturating_add(millis(after)));
        self.note(self.opened(matter, expires_ms, None))?;
        // Whoever hears of it elsewhere finds it there.
        self.dispatcher.log().flushed().await.map_err(|error| error.to_string())?;
        let decision = match keeper.decided(&gate) {
            Some(earlier) => earlier,
            None => {
                self.watch.see(Progress::GateOpened { gate, title: matter.title() });
                let expiry = expires_in.zip(expires_ms).map(|(after, at_ms)| (Instant::now() + after, at_ms));
                match self.wait(&*keeper, matter, expiry, token).await {
                    Some(decision) => decision,
                    None => return Ok(None),
                }
            }
        };
        if token.is_none() {
            *token = Some(self.activity.resume().await);
        }
        self.settle_gate(matter, &decision)?;
        self.dispatcher.log().flushed().await.map_err(|error| error.to_string())?;
        self.gates.decide(gate, &decision, &self.activity);
        Ok(Some(decision))
    }

    /// Until somebody decides, or the time is over. None: the run is being stopped.
    async fn wait(
        &self,
        keeper: &dyn Gatekeeper,
        matter: &Matter,
        expiry: Option<(Instant, u64)>,
        token: &mut Option<Token>,
    ) -> Option<Decision> {
        let (mut asking, mut attended) = (keeper.ask(matter), true);
        loop {
            if let Some(decision) = keeper.left(&matter.digest()) {
                return Some(decision);
            }
            let now = Instant::now();
            if let Some((_, at_ms)) = expiry.filter(|(at, _)| *at <= now) {
                return Some(Decision::expired(at_ms));
            }
            let glance = expiry.map_or(now + GLANCE, |(at, _)| at.min(now + GLANCE));
            tokio::select! {
                biased;
                () = self.stop.reached(Urgency::Gentle) => return None,
                said = &mut asking, if attended => match said {
                    Some(decision) => return Some(decision),
                    None => {
                        attended = false;
                        // Nobody here: from now on this gate alone keeps no run going.
                        *token = None;
                    }
                },
                () = tokio::time::sleep_until(glance) => {}
            }
        }
    }

    /// What a program found, told as a decision. A program that could not be run has decided nothing.
    pub(crate) fn judge_check(&self, checked: &Checked, result: Result<Json, Failure>) -> Result<Json, Failure> {
        let ran: ProgramResult = result?.read().map_err(|error| Failure::Host(error.to_string()))?;
        let approved = ran.status == ProgramStatus::Exited(0);
        let by = format!("exec:{}", checked.program);
        let decision = Decision { approved, by, note: None, at_ms: now_ms() };
        let recorded = self
            .note(self.opened(&checked.matter, None, Some(checked.program.clone())))
            .and_then(|()| self.settle_gate(&checked.matter, &decision));
        recorded.map_err(Failure::Unrecorded)?;
        Ok(told(&decision))
    }

    fn opened(&self, matter: &Matter, expires_ms: Option<u64>, check: Option<ProgramName>) -> Event {
        let payload = Payload::Value(matter.payload().clone());
        Event::GateOpened { gate: matter.digest(), title: matter.title().to_owned(), payload, expires_ms, check }
    }

    fn settle_gate(&self, matter: &Matter, decision: &Decision) -> Result<(), String> {
        let Decision { approved, by, note, at_ms } = decision.clone();
        self.watch.see(Progress::GateDecided { title: matter.title(), decision });
        self.note(Event::GateDecided { gate: matter.digest(), approved, by, note, at_ms })
    }

    /// Record what must not be lost. The error: it cannot be.
    fn note(&self, event: Event) -> Result<(), String> {
        self.dispatcher.log().append(self.who.run().id(), event).map_err(|error| error.to_string())
    }
}

fn ended(request: u64, settlement: Result<Json, Rejection>, unrecorded: Option<String>, token: Option<Token>) -> Ended {
    let completion = Some(Completion { id: request, settlement });
    Ended {
        completion,
        planned: None,
        named: String::new(),
        failure: None,
        unrecorded,
        out_of_budget: false,
        _token: token,
    }
}

fn told(decision: &Decision) -> Json {
    let Decision { approved, by, note, .. } = decision;
    let told = Told { approved: *approved, by, at: decision.at(), note: note.as_deref() };
    Json::of(&told).unwrap_or_else(|_| Json::null())
}

fn now_ms() -> u64 {
    millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
