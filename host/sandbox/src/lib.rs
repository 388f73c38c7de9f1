//! Vespiary's sandbox: runs what the dispatcher admitted, each call in a fresh Wasmtime store, and nothing else. It decides
//! nothing; the receipt says what a cell may hold. Wasmtime is named only in this crate.
#![deny(unsafe_code)]

mod bindings;
mod cache;
mod cell;
mod components;
pub mod describe;
mod ending;
mod engine;
mod files;
mod imports;
mod precompiled;
mod report;
mod run;
mod scope;
mod script;
mod text;
mod walls;

pub use cache::CacheRefused;
pub use engine::Allocator;

use crate::cache::Cache;
use crate::components::{CompileLimits, Components};
use crate::engine::Ticker;
use crate::imports::Imports;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use vespiary_kernel::admit::Admitted;
use vespiary_kernel::call::Outcome;
use vespiary_kernel::ports::{BoxFuture, Catalog, Runner, ScriptCell};
use vespiary_kernel::quota::Capacity;
use wasmtime::Engine;

/// What a sandbox is built from.
#[derive(Clone)]
pub struct SandboxConfig {
    /// How many cells will be alive at once; the same as the dispatcher's pool.
    pub capacity: Capacity,
    /// Where compiled code is kept between processes: a directory of this user's own, created when missing. None: every
    /// process compiles for itself.
    pub cache_dir: Option<PathBuf>,
    /// Where components come from.
    pub components: Arc<dyn Catalog>,
    /// The largest component that is compiled, bytes.
    pub component_bytes_max: u64,
    /// The longest a component may take to compile. The compiler cannot be interrupted: past this the call ends and the
    /// component is not tried again, while the work begun runs out on its own thread.
    pub compile_time_max: Duration,
}

impl SandboxConfig {
    /// No cache, components of up to 64 MiB, two minutes to compile one.
    pub fn new(capacity: Capacity, components: Arc<dyn Catalog>) -> Self {
        Self {
            capacity,
            cache_dir: None,
            components,
            component_bytes_max: 64 << 20,
            compile_time_max: Duration::from_secs(120),
        }
    }
}

impl fmt::Debug for SandboxConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SandboxConfig")
            .field("capacity", &self.capacity)
            .field("cache_dir", &self.cache_dir)
            .field("component_bytes_max", &self.component_bytes_max)
            .finish_non_exhaustive()
    }
}

/// Why there is no sandbox.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// Wasmtime cannot run on this machine.
    #[error("this machine cannot run WebAssembly: {0}")]
    Engine(String),
    /// The thread that interrupts cells could not be started; without it no limit on time would hold.
    #[error("the thread that interrupts cells could not be started: {0}; allow this user more threads")]
    Ticker(#[from] std::io::Error),
}

/// Runs admitted calls. One for a process is enough.
pub struct Sandbox {
    engine: Engine,
    imports: Imports,
    components: Components,
    allocator: Allocator,
    cache_refused: Option<CacheRefused>,
    /// Cells for descriptions have no lease; this is what bounds them.
    describing: Semaphore,
    ticker: Arc<Ticker>,
}

impl fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sandbox").field("allocator", &self.allocator).finish_non_exhaustive()
    }
}

impl Sandbox {
    /// Reserve what `config.capacity` cells need, and start the tick that interrupts them. Components are compiled when they
    /// are first called. Cells need a Tokio runtime with time enabled; file operations block its threads.
    pub fn new(config: SandboxConfig) -> Result<Self, SandboxError> {
        let wrong = |error: wasmtime::Error| SandboxError::Engine(format!("{error:#}"));
        let limits = CompileLimits { bytes_max: config.component_bytes_max, time_max: config.compile_time_max };
        let (engine, allocator) = engine::build(config.capacity).map_err(wrong)?;
        let (cache, cache_refused) = match config.cache_dir.map(|dir| Cache::open(&dir, &engine)).transpose() {
            Ok(cache) => (cache, None),
            Err(refused) => (None, Some(refused)),
        };
        Ok(Self {
            imports: Imports::new(&engine).map_err(wrong)?,
            components: Components::new(engine.clone(), config.components, cache, limits),
            allocator,
            cache_refused,
            describing: Semaphore::new(describe::AT_ONCE),
            ticker: Arc::new(Ticker::start(&engine)?),
            engine,
        })
    }

    /// Where cells get their memory.
    pub fn allocator(&self) -> &Allocator {
        &self.allocator
    }

    /// Why compiled code is not kept, where a cache was asked for and refused. Worth a warning to whoever started this.
    pub fn cache_refused(&self) -> Option<&CacheRefused> {
        self.cache_refused.as_ref()
    }
}

impl Runner for Sandbox {
    fn run(&self, admitted: Admitted) -> BoxFuture<'_, Outcome> {
        Box::pin(self.run_call(admitted))
    }

    fn open_script(&self, admitted: Admitted) -> BoxFuture<'_, Result<Box<dyn ScriptCell>, Outcome>> {
        Box::pin(self.open_engine(admitted))
    }
}
