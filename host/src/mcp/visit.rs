//! A client's own run: what it calls is recorded there, from its first call until it leaves. A client that only looks leaves no
//! record.

use crate::exit::Trouble;
use crate::live::Live;
use crate::mcp::nest::Nest;
use crate::terminal::clipped;
use crate::wiring;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;
use tokio_util::sync::CancellationToken;
use vespiary_fleet::stop::Urgency;
use vespiary_kernel::event::{Event, RunStatus};
use vespiary_kernel::json::Json;
use vespiary_kernel::ports::Log as _;
use vespiary_kernel::principal::{Principal, RunLimits};
use vespiary_ledger::ledger::Ledger;

/// Calls after which a client's record is ended and another begun: a record is read whole.
const CALLS_MAX: u64 = 100_000;

/// How long it is not looked again whether a client's run is to stop, milliseconds. Opening a file that is not there costs a call a tenth of its
/// time.
const GLANCE_MS: u64 = 100;

/// Who the client says it is. Its own words, for people who read the record.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Client {
    /// Its name and version.
    pub name: String,
    /// The revision of the protocol it speaks.
    pub protocol: String,
    /// Whose token it came with, where tokens have names.
    pub subject: Option<String>,
}

/// One client, from when it comes to when it goes.
#[derive(Debug)]
pub struct Visit {
    nest: Weak<Nest>,
    stay: Mutex<Option<Arc<Stay>>>,
}

/// A stretch of it that is one run in the record.
#[derive(Debug)]
pub struct Stay {
    who: Principal,
    ledger: Arc<Ledger>,
    stopped: CancellationToken,
    live: Live,
    began: Instant,
    /// When it was last looked whether a person has asked for a stop, milliseconds after the beginning.
    looked_ms: AtomicU64,
}

impl Visit {
    /// Records nothing yet.
    pub fn new(nest: &Arc<Nest>) -> Self {
        Self { nest: Arc::downgrade(nest), stay: Mutex::default() }
    }

    /// Where the client's next call belongs. Who the client is, is asked only where a record begins.
    ///
    /// # Errors
    /// The ledger cannot record.
    pub fn stay(&self, client: impl FnOnce() -> Client) -> Result<Arc<Stay>, Trouble> {
        let mut stay = self.stay.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stay) = stay.as_ref().filter(|stay| !stay.is_over()) {
            return Ok(Arc::clone(stay));
        }
        let nest = self.nest.upgrade().ok_or_else(|| {
            Trouble::failed(
                "nothing can be called",
                "the server is closing",
                "connect again once it has been started again",
            )
        })?;
        let new = Arc::new(Stay::begin(&nest, &client())?);
        *stay = Some(Arc::clone(&new));
        Ok(new)
    }
}

impl Stay {
    fn begin(nest: &Nest, client: &Client) -> Result<Self, Trouble> {
        let id = wiring::new_run_id()?;
        let (root, grant) = (nest.root().to_owned(), nest.grant().clone());
        let who = nest.host().dispatcher.start(id.clone(), root, grant, RunLimits::default());
        let live = Live::begin(nest.home(), &id)?;
        let Client { name, protocol, subject } = client;
        let args = serde_json::json!({ "client": name, "protocol": protocol, "subject": subject });
        let started = Event::RunStarted {
            version: env!("CARGO_PKG_VERSION").into(),
            title: format!("MCP: {}", clipped(name, 100)),
            script: None,
            args: Json::of(&args).unwrap_or_else(|_| Json::null()),
            root: nest.root().display().to_string(),
            grant: who.grant().clone(),
        };
        let ledger = Arc::clone(&nest.host().ledger);
        ledger.append(&id, started)?;
        let (began, looked_ms) = (Instant::now(), AtomicU64::new(0));
        Ok(Self { who, ledger, stopped: CancellationToken::new(), live, began, looked_ms })
    }

    /// The client as the dispatcher knows it.
    pub fn who(&self) -> &Principal {
        &self.who
    }

    /// Cancelled once a person has this run stopped: `runs stop`.
    pub fn stopped(&self) -> &CancellationToken {
        &self.stopped
    }

    /// Look whether a person has asked for a stop, unless somebody has just looked.
    pub fn glance(&self) {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let last = self.looked_ms.load(Ordering::Relaxed);
        if now.saturating_sub(last) < GLANCE_MS || self.looked_ms.swap(now, Ordering::Relaxed) != last {
            return;
        }
        if self.live.asked() != Urgency::None {
            self.stopped.cancel();
        }
    }

    fn is_over(&self) -> bool {
        self.glance();
        self.stopped.is_cancelled() || self.who.run().calls() >= CALLS_MAX
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        let status = if self.stopped.is_cancelled() { RunStatus::Stopped } else { RunStatus::Completed };
        // A ledger that refuses has said so at every call since.
        let _ = self.ledger.append(self.who.run().id(), Event::RunEnded { status, value: None, error: None });
    }
}
