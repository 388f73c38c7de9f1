//! Vespiary's sandbox: runs what the dispatcher admitted, each call in a fresh Wasmtime store, and nothing else. It decides
//! nothing; the receipt says what a cell may hold. Wasmtime is named only in this crate.
#![deny(unsafe_code)]

mod bindings;
mod cache;
mod cell;
mod claims;
mod compile;
mod compiler;
mod components;
pub mod describe;
mod ending;
mod engine;
mod fs;
mod http;
mod imports;
mod known;
mod precompiled;
mod recheck;
mod report;
mod run;
mod scope;
mod script;
mod shape;
mod text;
mod walls;
mod worktrees;

pub use cache::CacheRefused;
pub use compiler::{ENTRY as COMPILER_ENTRY, enter as enter_compiler};
pub use engine::Allocator;
pub use shape::CompileLimits;

use crate::cache::Cache;
use crate::compile::Compiler;
use crate::components::Components;
use crate::engine::Ticker;
use crate::fs::overlay::LayerLimits;
use crate::imports::Imports;
use crate::known::{Known, Settling};
use crate::recheck::Rechecker;
use crate::worktrees::Layers;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::Semaphore;
use vespiary_kernel::admit::Admitted;
use vespiary_kernel::call::Outcome;
use vespiary_kernel::change::ChangeSet;
use vespiary_kernel::host::HostLimits;
use vespiary_kernel::http::Egress;
use vespiary_kernel::observed::Observation;
use vespiary_kernel::plugin::Plugin;
use vespiary_kernel::pool::Capacity;
use vespiary_kernel::ports::{BoxFuture, Catalog, Runner, ScriptCell};
use vespiary_kernel::scope::Scope;
use vespiary_kernel::worktree::Worktrees;
use wasmtime::Engine;

/// What a sandbox is built from.
#[derive(Clone)]
pub struct SandboxConfig {
    /// How many cells will be alive at once; the same as the dispatcher's pool.
    pub capacity: Capacity,
    /// Where compiled code is kept between processes: a directory of this user's own, created when missing. None: every
    /// process compiles for itself.
    pub cache_dir: Option<PathBuf>,
    /// Where the layers of isolated agents are kept while they work: a directory of this user's own, outside of every project,
    /// created when missing. None: isolated agents cannot do anything.
    pub worktree_dir: Option<PathBuf>,
    /// Where components come from.
    pub components: Arc<dyn Catalog>,
    /// The environment from which `env:NAME` grants are served: what is not in here does not exist for any cell.
    pub variables: Arc<BTreeMap<String, String>>,
    /// What a component may cost before its first call.
    pub compile: CompileLimits,
    /// An executable that calls [`enter_compiler`] when its first argument is [`COMPILER_ENTRY`]: the same program, of the same
    /// version. Components are then compiled by processes that are killed at their limits. None: in this process, where
    /// neither time nor memory of the compiler can really be bounded.
    pub compiler: Option<PathBuf>,
    /// Stack a guest may use before it is stopped, bytes; at most 2 MiB.
    pub stack_bytes_max: u64,
    /// What sends requests. None: every request is denied.
    pub egress: Option<Arc<dyn Egress>>,
    /// Whether what cells read is remembered, by its digest: it saves whoever comes after from reading or hashing it.
    pub remembers: bool,
}

impl SandboxConfig {
    /// No cache, compiling in this process, and the limits a host has where nobody lowers them.
    pub fn new(capacity: Capacity, components: Arc<dyn Catalog>) -> Self {
        Self {
            capacity,
            cache_dir: None,
            worktree_dir: None,
            components,
            variables: Arc::default(),
            compile: CompileLimits::default(),
            compiler: None,
            stack_bytes_max: 0,
            egress: None,
            remembers: true,
        }
        .with(&HostLimits::default())
    }

    /// The same, with a way to the network.
    #[must_use]
    pub fn with_egress(self, egress: Arc<dyn Egress>) -> Self {
        Self { egress: Some(egress), ..self }
    }

    /// The same under these limits.
    #[must_use]
    pub fn with(self, limits: &HostLimits) -> Self {
        Self { compile: self.compile.with(limits), stack_bytes_max: limits.stack_bytes, ..self }
    }
}

impl fmt::Debug for SandboxConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SandboxConfig")
            .field("capacity", &self.capacity)
            .field("cache_dir", &self.cache_dir)
            .field("compile", &self.compile)
            .field("compiler", &self.compiler)
            .finish_non_exhaustive()
    }
}

/// Why there is no sandbox.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// Wasmtime cannot run on this machine.
    #[error("this machine cannot run WebAssembly: {0}")]
    Engine(String),
    /// Isolated agents would have nowhere to write.
    #[error("there is no place for the worktrees of isolated agents: {0}")]
    Worktrees(std::io::Error),
    /// The thread that interrupts cells could not be started; without it no limit on time would hold.
    #[error("the thread that interrupts cells could not be started: {0}; allow this user more threads")]
    Ticker(#[from] std::io::Error),
}

/// Runs admitted calls. One for a process is enough.
pub struct Sandbox {
    engine: Engine,
    imports: Imports,
    rechecker: Rechecker,
    known: Arc<Known>,
    components: Components,
    allocator: Allocator,
    layers: Option<Arc<Layers>>,
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
        let stack_bytes = usize::try_from(config.stack_bytes_max).unwrap_or(usize::MAX);
        let (engine, allocator) = engine::build(config.capacity, stack_bytes).map_err(wrong)?;
        let (cache, cache_refused) = match config.cache_dir.map(|dir| Cache::open(&dir, &engine)).transpose() {
            Ok(cache) => (cache.map(Arc::new), None),
            Err(refused) => (None, Some(refused)),
        };
        let layers = config.worktree_dir.map(|dir| Layers::open(&dir, LayerLimits::default())).transpose();
        let layers = layers.map_err(SandboxError::Worktrees)?.map(Arc::new);
        let known = Arc::new(Known::new(cache.clone(), Settling::default()));
        let of_cells = config.remembers.then(|| Arc::clone(&known));
        let imports = Imports::new(&engine, config.egress, config.variables, layers.clone(), of_cells);
        Ok(Self {
            imports: imports.map_err(wrong)?,
            layers,
            rechecker: Rechecker::new(Arc::clone(&known)),
            known,
            components: Components::new(
                engine.clone(),
                config.components,
                cache,
                config.compiler.map(|path| Compiler::new(path, stack_bytes)),
                config.compile,
            ),
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

    /// What isolated agents changed; none where this sandbox has no place for them.
    pub fn worktrees(&self) -> Option<Arc<dyn Worktrees>> {
        self.layers.clone().map(|layers| layers as _)
    }

    /// Load the compiled code of `plugin`, where there is any, before it is called. Blocks for some milliseconds.
    pub fn prepare(&self, plugin: &Plugin) {
        if plugin.kind.is_component() {
            self.components.prepare(plugin, &self.imports);
        }
    }

    /// Keep what files were found to hold, so that the next process need not read those that have not changed since.
    pub fn keep_known(&self) {
        self.known.keep();
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

    fn unchanged(&self, root: &Path, scope: &Scope, seen: &[&Observation]) -> bool {
        self.imports.reach(root, scope).is_ok_and(|granted| self.rechecker.unchanged(&granted, seen))
    }

    fn is_base(&self, root: &Path, changes: &ChangeSet) -> bool {
        recheck::is_base(root, changes)
    }

    fn open_script(&self, admitted: Admitted) -> BoxFuture<'_, Result<Box<dyn ScriptCell>, Outcome>> {
        Box::pin(self.open_engine(admitted))
    }
}
