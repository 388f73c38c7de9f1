//! The Wasmtime engine: how code is compiled, where cells get their memory, and the clock tick that interrupts them. The
//! numbers here were measured; change one only with the bench beside it. Never anything about a particular call.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use vespiary_kernel::pool::Capacity;
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

/// The most one linear memory may ever hold; the ceiling of every quota.
const MEMORY_BYTES_CEILING: usize = 256 << 20;

/// Core instances of one component; the ceiling of every quota.
const INSTANCES_CEILING: u32 = 32;

/// Elements one table may ever hold; the ceiling of every quota.
pub(crate) const TABLE_ELEMENTS_CEILING: usize = 20_000;

/// Stack a cell gets. What the guest may not use is for host functions: an agent's tools are driven from its own stack.
const CELL_STACK_BYTES: usize = 4 << 20;

/// Address space for linear memories is the scarce thing: four gibibytes each, of 128 TiB. Above this many, no more.
const MEMORIES_CEILING: u32 = 12_000;

/// Cells that may exist beside the leased ones: descriptions being read, and those whose lease went back an instant before
/// their memory did.
const SPARE_CELLS: u32 = 16;

/// How often running guests are looked at.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// Where cells get their memory, tables and stacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allocator {
    /// From a pool reserved at the start: a new cell costs microseconds.
    Pooling {
        /// How many cells fit.
        cells: u32,
    },
    /// From the operating system, cell by cell: slower, and always possible.
    OnDemand {
        /// Why there is no pool.
        reason: String,
    },
}

impl fmt::Display for Allocator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pooling { cells } => write!(f, "pooling, {cells} cells"),
            Self::OnDemand { reason } => write!(f, "on demand, because no pool could be reserved: {reason}"),
        }
    }
}

/// Build the engine with a pool for `capacity`, or without one where the machine refuses to reserve it.
pub(crate) fn build(capacity: Capacity, stack_bytes: usize) -> Result<(Engine, Allocator), wasmtime::Error> {
    let cells = u32::try_from(capacity.cells()).unwrap_or(u32::MAX).max(1).saturating_add(SPARE_CELLS);
    let mut config = compiler(stack_bytes);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(cells)));
    match Engine::new(&config) {
        Ok(engine) => Ok((engine, Allocator::Pooling { cells })),
        Err(error) => {
            let reason = format!("{error:#}");
            Ok((Engine::new(&compiler(stack_bytes))?, Allocator::OnDemand { reason }))
        }
    }
}

/// An engine that compiles for the others and runs nothing.
pub(crate) fn for_compiling(stack_bytes: usize) -> Result<Engine, wasmtime::Error> {
    Engine::new(&compiler(stack_bytes))
}

/// What decides the compiled code, and what any allocator needs. A guest may use `stack_bytes` of stack before it is stopped.
fn compiler(stack_bytes: usize) -> Config {
    let mut config = Config::new();
    config
        .concurrency_support(false)
        .epoch_interruption(true)
        .memory_init_cow(true)
        .relaxed_simd_deterministic(true)
        .max_wasm_stack(stack_bytes.min(CELL_STACK_BYTES / 2))
        .async_stack_size(CELL_STACK_BYTES);
    config
}

fn pool(cells: u32) -> PoolingAllocationConfig {
    // Every component gets the same ceiling, and the totals hold that ceiling for every cell: no cell can take a
    // neighbour's share. Composed components need several memories; a very large fleet has address space for one each.
    let memories_each = (MEMORIES_CEILING / cells).clamp(1, 4);
    let instances_each = INSTANCES_CEILING;
    let tables_each = 8;
    // Scanning the page map tells which pages to clear; without it every kept page is cleared by hand, so keep few.
    let scans = PoolingAllocationConfig::is_pagemap_scan_available();
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(cells)
        .total_core_instances(cells.saturating_mul(instances_each))
        .total_memories(cells.saturating_mul(memories_each))
        .total_tables(cells.saturating_mul(tables_each))
        .total_stacks(cells)
        .max_core_instances_per_component(instances_each)
        .max_memories_per_component(memories_each)
        .max_tables_per_component(tables_each)
        .max_tables_per_module(tables_each)
        .max_memories_per_module(memories_each)
        .max_memory_size(MEMORY_BYTES_CEILING)
        .table_elements(TABLE_ELEMENTS_CEILING)
        .linear_memory_keep_resident(if scans { 2 << 20 } else { 64 << 10 })
        .table_keep_resident(64 << 10)
        .async_stack_keep_resident(64 << 10)
        .max_unused_warm_slots(cells)
        .pagemap_scan(Enabled::Auto);
    pool
}

/// One steady tick for all cells, for as long as this is held. A tick per call would let one call hurry all others.
#[derive(Debug)]
pub(crate) struct Ticker {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    pub(crate) fn start(engine: &Engine) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (engine, stopped) = (engine.clone(), Arc::clone(&stop));
        let thread = thread::Builder::new().name("epoch".into()).spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                thread::park_timeout(TICK);
                engine.increment_epoch();
            }
        })?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // The thread runs nothing that can panic; were it dead, it would have stopped all the same.
            let _ = thread.join();
        }
    }
}
