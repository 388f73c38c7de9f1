//! What all clients of one server share: the dispatcher with everything behind it, the project, the grant, and what runs are
//! started with. All authority here comes from the person who started the server; no client adds to it.

use crate::catalog::renew::Look;
use crate::exit::Trouble;
use crate::mcp::launch::Launch;
use crate::mcp::offers::Offers;
use crate::mcp::own;
use crate::mcp::quick::Quickness;
use crate::mcp::visit::{Client, Visit};
use crate::mcp::voice::{Ask, Ear};
use crate::paths::Home;
use crate::wiring::Host;
use rmcp::model::CallToolResult;
use rustix::time::{ClockId, clock_gettime};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::{OnceCell, watch};
use tokio_util::task::AbortOnDropHandle;
use vespiary_kernel::grant::Grant;
use vespiary_kernel::ids::Digest;
use vespiary_ledger::reader::Reader;

/// How often plugins' files are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Questions that may wait for an answer at the same time.
const PARKED_MAX: usize = 256;

/// Clients of the revision without sessions whose record is kept open, and for how long after their last call.
const VISITS_MAX: usize = 1_000;
const VISIT_TIME_MAX: Duration = Duration::from_secs(15 * 60);

/// What a server is made of.
pub struct Server {
    /// Where the ledger is.
    pub home: Home,
    /// The project.
    pub root: PathBuf,
    /// What the person granted to every client.
    pub grant: Grant,
    /// The dispatcher and what is behind it.
    pub host: Host,
    /// What runs are started with.
    pub launch: Launch,
    /// How long a question waits for a person.
    pub ask_time_max: Duration,
    /// Where cells compute.
    pub cells: Handle,
}

/// One server.
pub struct Nest {
    made_of: Server,
    offers: Mutex<Arc<OnceCell<Offers>>>,
    changes: watch::Sender<u64>,
    parked: Mutex<HashMap<String, Parked>>,
    visits: Mutex<HashMap<Client, (Instant, Arc<Visit>)>>,
}

impl std::fmt::Debug for Nest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Nest")
            .field("root", &self.made_of.root)
            .field("grant", &self.made_of.grant)
            .finish_non_exhaustive()
    }
}

/// What became of work that was begun.
#[derive(Debug)]
pub enum Work {
    /// It is over.
    Done(CallToolResult),
    /// It goes on by itself. Dropping it ends the cell.
    UnderWay(AbortOnDropHandle<CallToolResult>),
}

/// Work that is under way for a client.
#[derive(Debug)]
pub struct Pending {
    /// The work. Dropping it ends the cell.
    pub work: AbortOnDropHandle<CallToolResult>,
    /// What it has to say meanwhile.
    pub ear: Ear,
}

/// Work that waits until the client comes back with a person's answer.
#[derive(Debug)]
pub struct Parked {
    /// The work.
    pub pending: Pending,
    /// What was asked.
    pub ask: Ask,
    /// What the client had called; only the same call goes on with it.
    pub call: Digest,
}

/// The time that this thread has spent on a processor.
fn time_on_processor() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), nanos)
}

fn complain(text: String) {
    eprintln!("vespiary: {}", crate::terminal::line(&text));
}

impl Nest {
    /// A server that has no clients yet.
    pub fn new(made_of: Server) -> Arc<Self> {
        Arc::new(Self {
            made_of,
            offers: Mutex::default(),
            changes: watch::Sender::new(0),
            parked: Mutex::default(),
            visits: Mutex::default(),
        })
    }

    /// Where the ledger is.
    pub fn home(&self) -> &Home {
        &self.made_of.home
    }

    /// The project.
    pub fn root(&self) -> &Path {
        &self.made_of.root
    }

    /// What the person granted to every client.
    pub fn grant(&self) -> &Grant {
        &self.made_of.grant
    }

    /// The dispatcher and what is behind it.
    pub fn host(&self) -> &Host {
        &self.made_of.host
    }

    /// What runs are started with.
    pub fn launch(&self) -> &Launch {
        &self.made_of.launch
    }

    /// How long a question waits for a person.
    pub fn ask_time_max(&self) -> Duration {
        self.made_of.ask_time_max
    }

    /// Do `work` where cells compute.
    pub fn compute(&self, work: impl Future<Output = CallToolResult> + Send + 'static) -> Work {
        Work::UnderWay(AbortOnDropHandle::new(self.made_of.cells.spawn(work)))
    }

    /// Do the first stretch of `work`, which an epoch ends, on this very thread; what is not done by then goes to where cells compute.
    pub fn compute_here(
        &self,
        work: impl Future<Output = CallToolResult> + Send + 'static,
        quickness: &Quickness,
    ) -> Work {
        let mut work = Box::pin(work);
        let before = time_on_processor();
        let first = {
            // What waits, waits there, and is not stopped with this runtime.
            let _there = self.made_of.cells.enter();
            // Whoever goes on with it polls it anew, so that it matters to nobody whether it was woken in between.
            let poll = || work.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            catch_unwind(AssertUnwindSafe(poll))
        };
        quickness.took_here(time_on_processor().saturating_sub(before));
        match first {
            Ok(Poll::Ready(done)) => Work::Done(done),
            Ok(Poll::Pending) => self.compute(work),
            // It is told in the same way as where it happens elsewhere.
            Err(panic) => self.compute(async { resume_unwind(panic) }),
        }
    }

    /// The record, for reading.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn reader(&self) -> Result<Reader, Trouble> {
        Ok(Reader::open(&self.made_of.home.ledger())?)
    }

    /// The tools of plugins. Gathered once, by whoever asks first, until a plugin changes.
    pub async fn offers(&self) -> Arc<OnceCell<Offers>> {
        let offers = Arc::clone(&self.offers.lock().unwrap_or_else(PoisonError::into_inner));
        let gather = || async {
            let Host { catalog, sandbox, dispatcher, .. } = &self.made_of.host;
            let shelf = catalog.now();
            Offers::gather(&shelf, sandbox, dispatcher.policy(), &self.made_of.grant, &own::NAMES, &complain).await
        };
        offers.get_or_init(gather).await;
        offers
    }

    /// Counts how often what is offered has changed.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Look at the plugins' files for ever, and take up what changes.
    pub async fn keep_up(self: Arc<Self>) {
        let paths = self.made_of.launch.permissions.plugin.clone();
        if paths.is_empty() {
            return;
        }
        let mut before = Look::at(&paths);
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let now = Look::at(&paths);
            if now == before {
                continue;
            }
            // Whoever writes may not be done.
            tokio::time::sleep(LOOK_EVERY).await;
            before = Look::at(&paths);
            let policy = self.made_of.host.dispatcher.policy();
            let refuses = |plugin: &_| policy.refuses(plugin).map(|denial| denial.to_string());
            let (changed, complaints) = self.made_of.host.catalog.renew(&paths, refuses);
            complaints.into_iter().for_each(complain);
            if changed {
                *self.offers.lock().unwrap_or_else(PoisonError::into_inner) = Arc::default();
                self.changes.send_modify(|count| *count += 1);
            }
        }
    }

    /// The visit of a client that keeps no session.
    pub fn visit_of(self: &Arc<Self>, client: &Client) -> Arc<Visit> {
        let now = Instant::now();
        let mut visits = self.visits.lock().unwrap_or_else(PoisonError::into_inner);
        let mut gone: Vec<Arc<Visit>> = Vec::new();
        if !visits.contains_key(client) {
            let old: Vec<Client> = visits
                .iter()
                .filter(|(_, (last, _))| now.duration_since(*last) > VISIT_TIME_MAX)
                .map(|(client, _)| client.clone())
                .collect();
            gone.extend(old.iter().filter_map(|client| visits.remove(client)).map(|(_, visit)| visit));
            if visits.len() >= VISITS_MAX {
                let oldest = visits.iter().min_by_key(|(_, (last, _))| *last).map(|(client, _)| client.clone());
                gone.extend(oldest.and_then(|client| visits.remove(&client)).map(|(_, visit)| visit));
            }
        }
        let (last, visit) = visits.entry(client.clone()).or_insert_with(|| (now, Arc::new(Visit::new(self))));
        *last = now;
        let visit = Arc::clone(visit);
        drop(visits);
        // Their records are ended here, outside of the lock.
        drop(gone);
        visit
    }

    /// Keep work until the answer comes, at most as long as the question may wait. Gives the word by which it is found again; none
    /// where too many wait, and then the work has ended.
    pub fn park(self: &Arc<Self>, parked: Parked) -> Option<String> {
        let mut word = [0u8; 18];
        getrandom::fill(&mut word).ok()?;
        let word: String = word.iter().map(|byte| format!("{byte:02x}")).collect();
        let wait = parked.ask.time_max;
        {
            let mut all = self.parked.lock().unwrap_or_else(PoisonError::into_inner);
            if all.len() >= PARKED_MAX {
                return None;
            }
            all.insert(word.clone(), parked);
        }
        let (nest, mine) = (Arc::downgrade(self), word.clone());
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            let late = nest.upgrade().and_then(|nest| nest.take_parked(&mine));
            drop(late);
        });
        Some(word)
    }

    /// The work that waits under `word`.
    pub fn take_parked(&self, word: &str) -> Option<Parked> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner).remove(word)
    }

    /// End what waits, and every record that is kept open. Called once, before the ledger is closed.
    pub fn close(&self) {
        let parked = std::mem::take(&mut *self.parked.lock().unwrap_or_else(PoisonError::into_inner));
        let visits = std::mem::take(&mut *self.visits.lock().unwrap_or_else(PoisonError::into_inner));
        drop((parked, visits));
    }
}
