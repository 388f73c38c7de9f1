//! One cell: everything the host keeps for one guest, and the store it lives in. A cell starts from nothing; what it is given
//! is put in by `imports` and by nobody else.

use crate::claims::Told;
use crate::fs::Files;
use crate::http::Http;
use crate::report::Report;
use crate::walls::Walls;
use std::sync::Arc;
use std::time::Duration;
use vespiary_kernel::account::Account;
use vespiary_kernel::call::{Ending, Level, Outcome, Usage};
use vespiary_kernel::dispatch::Nested;
use vespiary_kernel::plugin::Kind;
use vespiary_kernel::pool::Lease;
use vespiary_kernel::quota::{LimitHit, Quota};
use wasmtime::component::ResourceTable;
use wasmtime::{Engine, Store, UpdateDeadline};
use wasmtime_wasi::{Deterministic, HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

/// Handles (files, streams, artifacts being written) a guest may hold at once.
pub(crate) const HANDLES_MAX: usize = 256;

/// The least that one call from guest to host may carry: a batch of requests, a piece of an artifact.
const HOST_CALL_BYTES_MIN: u64 = 16 << 20;

/// The least that one turn of a script may carry: all that it asks for before it waits. A thousand agents with a file each in their
/// prompts are asked for in one.
const TURN_BYTES_MIN: u64 = 48 << 20;

/// What the host keeps for one guest.
pub(crate) struct Cell {
    pub(crate) walls: Walls,
    pub(crate) report: Report,
    pub(crate) table: ResourceTable,
    /// Granted environment variables that exist, with their values.
    pub(crate) variables: Vec<(String, String)>,
    pub(crate) files: Files,
    pub(crate) senses: Senses,
    /// The rest of WASI, made when the guest first asks for a clock, randomness or a standard stream.
    pub(crate) wasi: Option<Box<WasiCtx>>,
    /// Made when the cell may reach the network, or first asks to.
    pub(crate) http: Option<Box<Http>>,
    pub(crate) door: Option<Door>,
    pub(crate) told: Told,
    pub(crate) host_call_bytes_max: u64,
}

/// What a guest can perceive of time and chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Senses {
    /// The host's clocks and randomness.
    Real,
    /// Time stands still at zero and chance always falls the same: a replay meets what the first run met.
    Still,
}

impl Senses {
    /// A script must be able to run again just as it ran; nobody else need.
    pub(crate) fn of(kind: Kind) -> Self {
        if kind == Kind::Engine { Self::Still } else { Self::Real }
    }
}

/// An agent's way out: the dispatcher, and the lease that goes back while it waits there.
pub(crate) struct Door {
    pub(crate) nested: Nested,
    pub(crate) lease: Lease,
}

impl Cell {
    /// A cell with walls and nothing in it.
    pub(crate) fn empty(quota: &Quota, account: Arc<Account>, senses: Senses, files: Files) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(HANDLES_MAX);
        let least = if senses == Senses::Still { TURN_BYTES_MIN } else { HOST_CALL_BYTES_MIN };
        Self {
            walls: Walls::new(quota, Arc::clone(&account)),
            report: Report::new(quota, account),
            table,
            variables: Vec::new(),
            files,
            senses,
            wasi: None,
            http: None,
            door: None,
            told: Told::default(),
            host_call_bytes_max: quota.result_bytes_max.saturating_add(64 << 10).max(least),
        }
    }

    /// A store of this cell's own, with its walls up.
    pub(crate) fn into_store(self, engine: &Engine) -> Store<Cell> {
        let fuel = usize::try_from(self.host_call_bytes_max).unwrap_or(usize::MAX);
        let mut store = Store::new(engine, self);
        store.set_hostcall_fuel(fuel);
        store.limiter(|cell| &mut cell.walls);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|mut store| {
            let cell = store.data_mut();
            cell.walls.charge();
            Ok(match cell.walls.cpu_spent().or_else(|| cell.net_over()) {
                Some(_) => UpdateDeadline::Interrupt,
                // Every tick, others get the thread, and a wall-clock limit gets its chance.
                None => UpdateDeadline::Yield(1),
            })
        });
        store
    }

    /// The network quota that was used up, if one was: it ends the call.
    pub(crate) fn net_over(&self) -> Option<LimitHit> {
        self.http.as_ref().and_then(|http| http.over())
    }

    /// What has been used so far, at `wall` after the start.
    pub(crate) fn usage(&self, wall: Duration) -> Usage {
        Usage {
            cpu_us: Usage::micros(self.walls.clock.cpu()),
            wall_us: Usage::micros(wall),
            memory_bytes_peak: self.walls.memory_bytes_peak(),
            result_bytes: 0,
            log_bytes: self.report.log_bytes(),
            artifact_bytes: self.report.artifact_bytes(),
            ..Usage::default()
        }
    }

    /// Close the cell: how it ended, what it used, and all it left behind.
    pub(crate) fn into_outcome(mut self, ending: Ending) -> Outcome {
        self.walls.charge();
        let mut usage = self.usage(self.walls.clock.wall());
        if let Ending::Done(value) = &ending {
            usage.result_bytes = value.len_bytes();
        }
        let (log, artifacts) = self.report.take();
        let reads = self.files.observations();
        Outcome { call: None, ending, usage, artifacts, log, reads, reused: None }
    }
}

impl WasiView for Cell {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let (report, senses, variables) = (&self.report, self.senses, &self.variables);
        let ctx = self.wasi.get_or_insert_with(|| {
            let mut wasi = WasiCtxBuilder::new();
            // Environment and arguments are empty and standard input is closed: that is the builder's own beginning.
            wasi.envs(variables);
            wasi.stdout(report.stream(Level::Info)).stderr(report.stream(Level::Warn)).max_random_size(1 << 20);
            if senses == Senses::Still {
                wasi.wall_clock(StillClock).monotonic_clock(StillClock).insecure_random_seed(0);
                wasi.secure_random(Deterministic::new(vec![0])).insecure_random(Deterministic::new(vec![0]));
            }
            Box::new(wasi.build())
        });
        WasiCtxView { ctx, table: &mut self.table }
    }
}

struct StillClock;

impl HostWallClock for StillClock {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(1)
    }

    fn now(&self) -> Duration {
        Duration::ZERO
    }
}

impl HostMonotonicClock for StillClock {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        0
    }
}
