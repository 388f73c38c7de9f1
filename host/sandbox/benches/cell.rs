//! What a sealed cell costs, as ratios measured in one interleaved run: a call through dispatcher and sandbox against the
//! same call on bare Wasmtime, and against starting a process; then many cells alive at once.
//!
//! `cargo bench -p vespiary-sandbox` measures `plugins/built/echo.wasm`; absolute times belong to the machine.

#![allow(clippy::disallowed_methods, reason = "a bench reads the guest and starts a process to compare with")]

#[path = "../tests/guest.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod guest;
#[path = "../tests/nest.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod nest;

use nest::{Guests, Nest, ROOM};
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};
use tokio::task::unconstrained;
use vespiary_kernel::call::{Keep, ToolCall};
use vespiary_kernel::json::Json;
use vespiary_kernel::pool::Capacity;
use vespiary_sandbox::SandboxConfig;

const ARGUMENTS: &str = r#"{"text":"hello world"}"#;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        tokio::spawn(one_call()).await.unwrap();
        tokio::spawn(first_call()).await.unwrap();
        for cells in [1_000, 10_000] {
            tokio::spawn(alive(cells)).await.unwrap();
        }
    });
}

/// Rounds of each, taking turns, so that what the machine does meanwhile falls on all alike.
async fn one_call() {
    let wasm = built("echo");
    let root = std::env::temp_dir();
    let bare = bare::Bare::new(&wasm, &root);
    let need = "[[needs]]\ncapability='read:.'\nreason='one preopened directory'\n";
    let guests = Guests::default().with("echo", "tools", wasm, need);
    let nest = Nest::built(SandboxConfig::new(
        Capacity::of_places(1_000, ROOM.agents, ROOM.scripts, ROOM.running),
        Arc::new(guests),
    ))
    .at(&root);
    println!("allocator: {}", nest.sandbox.allocator());
    let who = nest.person(&["tool:*", "read:."]);
    let arguments = Json::parse(ARGUMENTS).unwrap();
    let (mut bare_ns, mut cell_ns, mut process_ns) = (Vec::new(), Vec::new(), Vec::new());
    let mut answers = 0;
    for round in 0..60 {
        let warm = round > 4;
        for _ in 0..200 {
            let started = Instant::now();
            bare.call("echo", ARGUMENTS).await;
            note(&mut bare_ns, started, warm);
        }
        for _ in 0..200 {
            let started = Instant::now();
            let call = ToolCall { tool: "echo.echo".parse().unwrap(), arguments: arguments.clone(), keep: Keep::Value };
            let outcome = nest.dispatcher.dispatch(&who, call).await;
            note(&mut cell_ns, started, warm);
            answers += usize::from(outcome.into_result().is_ok());
        }
        for _ in 0..3 {
            let started = Instant::now();
            std::process::Command::new("/bin/true").status().unwrap();
            note(&mut process_ns, started, warm);
        }
    }
    assert_eq!(answers, 60 * 200, "every call answers");
    let floor = show("bare wasmtime, fresh store", &mut bare_ns, None);
    let cell = show("dispatcher + sandbox", &mut cell_ns, Some(floor));
    show("fork + exec /bin/true", &mut process_ns, Some(cell));
    println!("(the last ratio is to the cell, the others to bare wasmtime)");
}

fn note(times: &mut Vec<u64>, started: Instant, warm: bool) {
    if warm {
        times.push(started.elapsed().as_nanos() as u64);
    }
}

fn show(what: &str, times: &mut [u64], to: Option<f64>) -> f64 {
    times.sort_unstable();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize] as f64 / 1e3;
    let ratio = to.map_or(String::new(), |to| format!("  {:.2}x", at(0.5) / to));
    println!("{what:50} p50 {:8.2} us  p99 {:8.2} us{ratio}", at(0.5), at(0.99));
    at(0.5)
}

/// From nothing to the first answer, as a command line meets it: with and without code compiled earlier.
async fn first_call() {
    let temp = tempfile::tempdir().unwrap();
    println!();
    for (name, arguments) in [("echo", ARGUMENTS), ("files", r#"{"path":"."}"#)] {
        let wasm = built(name);
        for (what, rounds) in [("compiling", 1), ("compiled earlier", 20)] {
            let mut times = Vec::new();
            let mut reserving = Duration::ZERO;
            for _ in 0..rounds {
                let guests = Arc::new(Guests::default().with(name, "tools", wasm.clone(), ""));
                let started = Instant::now();
                let capacity = Capacity::of_places(1_000, ROOM.agents, ROOM.scripts, ROOM.running);
                let cache_dir = Some(temp.path().join("code"));
                let nest = Nest::built(SandboxConfig { cache_dir, ..SandboxConfig::new(capacity, guests) });
                reserving += started.elapsed();
                let tool = if name == "echo" { "echo.echo" } else { "files.list" };
                std::hint::black_box(nest.call(tool, arguments).await);
                note(&mut times, started, true);
            }
            let reserving = ms(reserving) / f64::from(rounds);
            show(&format!("start to first answer: {name}, {what}"), &mut times, None);
            println!("    of which reserving and linking {reserving:.1} ms");
        }
    }
}

fn built(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../plugins/built/{name}.wasm"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}; run `cargo xtask guests`", path.display()))
}

/// Start `cells` calls that wait, look at the process, and drop them.
async fn alive(cells: usize) {
    let sleep = guest::tool(
        r#"(import "wasi:clocks/monotonic-clock@0.2.12" "subscribe-duration" (func $subscribe (param i64) (result i32)))
           (import "wasi:io/poll@0.2.12" "[method]pollable.block" (func $block (param i32)))"#,
        "(call $block (call $subscribe (i64.const 3600000000000))) (call $ok (local.get $args) (local.get $args-len))",
    );
    let quota = "[quota]\nwall-time-ms-max = 3600000";
    let guests = Guests::default().with("sleep", "tools", sleep, quota).with("echo", "tools", guest::echo(), "");
    let capacity = Capacity::of_places(cells + 1, 1, 1, cells + 1);
    let reserving = Instant::now();
    let nest = Nest::built(SandboxConfig::new(capacity, Arc::new(guests)));
    let reserved = reserving.elapsed();
    println!("\n{cells} cells: {}, reserved in {:.1} ms", nest.sandbox.allocator(), ms(reserved));
    nest.call("echo.x", "1").await;
    // Compiled by a first call that is given up.
    let _ = tokio::time::timeout(Duration::from_millis(300), nest.call("sleep.x", "1")).await;
    for round in ["cold", "warm"] {
        let (resident, maps) = process();
        let started = Instant::now();
        // Unconstrained: Tokio would make all but the first hundred-odd wait for no reason but fairness.
        let mut calls: Vec<_> = (0..cells).map(|_| Box::pin(unconstrained(nest.call("sleep.x", "1")))).collect();
        let waiting = calls.iter_mut().map(|call| waits(call.as_mut())).filter(|waits| *waits).count();
        let up = started.elapsed();
        let (with, with_maps) = process();
        assert_eq!(waiting, cells, "every call waits");
        let among = Instant::now();
        let fine = nest.call("echo.x", "1").await.into_result().is_ok();
        let among = among.elapsed();
        let dropping = Instant::now();
        drop(calls);
        let kib = with.saturating_sub(resident) as f64 / cells as f64;
        println!(
            "{round}: up {:.1} ms ({:.1} us each), {kib:.1} KiB and {:.2} maps each; a call among them {:.0} us, \
             answered {fine}; dropped in {:.1} ms",
            ms(up),
            up.as_secs_f64() * 1e6 / cells as f64,
            (with_maps.saturating_sub(maps)) as f64 / cells as f64,
            among.as_secs_f64() * 1e6,
            ms(dropping.elapsed()),
        );
    }
}

/// Whether one poll leaves the call waiting.
fn waits(call: Pin<&mut impl Future>) -> bool {
    call.poll(&mut Context::from_waker(Waker::noop())).is_pending()
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Resident KiB and memory maps of this process.
fn process() -> (usize, usize) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let resident = resident.trim().trim_end_matches(" kB").trim().parse().unwrap();
    (resident, std::fs::read_to_string("/proc/self/maps").unwrap().lines().count())
}

/// The floor: the same guest on Wasmtime alone, with the same settings and limits, and no judgement, record or log.
mod bare {
    use std::path::Path;
    use wasmtime::component::{Component, HasSelf, Linker, Resource, ResourceTable};
    use wasmtime::{
        Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, ResourceLimiter, Store,
    };
    use wasmtime_wasi::filesystem::WasiFilesystemCtx;
    use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

    wasmtime::component::bindgen!({
        path: "../../wit", world: "tool-plugin", imports: { default: trappable }, exports: { default: async },
        with: { "vespiary:plugin/report.artifact-writer": u8 },
    });
    use vespiary::plugin::{report, types};

    struct State {
        ctx: WasiCtx,
        table: ResourceTable,
        memory_max: usize,
    }

    impl WasiView for State {
        fn ctx(&mut self) -> WasiCtxView<'_> {
            WasiCtxView { ctx: &mut self.ctx, table: &mut self.table }
        }
    }

    impl ResourceLimiter for State {
        fn memory_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
            Ok(desired <= self.memory_max)
        }
        fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
            Ok(desired <= 20_000)
        }
    }

    impl types::Host for State {}

    impl report::Host for State {
        fn log(&mut self, _: report::Level, _: String) -> wasmtime::Result<()> {
            Ok(())
        }
        fn progress(&mut self, _: u64, _: Option<u64>, _: String) -> wasmtime::Result<()> {
            Ok(())
        }
    }

    impl report::HostArtifactWriter for State {
        fn create(&mut self, _: String, _: String) -> wasmtime::Result<Result<Resource<u8>, types::ToolError>> {
            Ok(Err(types::ToolError::Cancelled))
        }
        fn write(&mut self, _: Resource<u8>, _: Vec<u8>) -> wasmtime::Result<Result<(), types::ToolError>> {
            Ok(Err(types::ToolError::Cancelled))
        }
        fn finish(&mut self, _: Resource<u8>) -> wasmtime::Result<Result<types::Artifact, types::ToolError>> {
            Ok(Err(types::ToolError::Cancelled))
        }
        fn drop(&mut self, _: Resource<u8>) -> wasmtime::Result<()> {
            Ok(())
        }
    }

    pub(crate) struct Bare {
        engine: Engine,
        pre: ToolPluginPre<State>,
        files: WasiFilesystemCtx,
    }

    impl Bare {
        pub(crate) fn new(wasm: &[u8], root: &Path) -> Self {
            let mut pool = PoolingAllocationConfig::new();
            pool.total_component_instances(1_000)
                .total_core_instances(4_000)
                .total_memories(1_000)
                .total_tables(3_000)
                .total_stacks(1_000)
                .max_memory_size(256 << 20)
                .table_elements(20_000)
                .linear_memory_keep_resident(2 << 20)
                .table_keep_resident(64 << 10)
                .async_stack_keep_resident(64 << 10)
                .max_unused_warm_slots(1_000)
                .pagemap_scan(Enabled::Auto);
            let mut config = Config::new();
            config.concurrency_support(false).epoch_interruption(true);
            config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
            let engine = Engine::new(&config).unwrap();
            let mut linker = Linker::<State>::new(&engine);
            wasmtime_wasi::p2::add_to_linker_async(&mut linker).unwrap();
            types::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state).unwrap();
            report::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state).unwrap();
            let component = Component::new(&engine, wasm).unwrap();
            let pre = ToolPluginPre::new(linker.instantiate_pre(&component).unwrap()).unwrap();
            let mut builder = WasiCtxBuilder::new();
            builder.allow_blocking_current_thread(true).preopened_dir(root, ".", FsPerms::ReadOnly).unwrap();
            let files = builder.build().filesystem().clone();
            Self { engine, pre, files }
        }

        pub(crate) async fn call(&self, tool: &str, arguments: &str) {
            let mut ctx = WasiCtx::default();
            *ctx.filesystem() = self.files.clone();
            let mut store = Store::new(&self.engine, State { ctx, table: ResourceTable::new(), memory_max: 128 << 20 });
            store.limiter(|state| state);
            store.set_epoch_deadline(1);
            store.epoch_deadline_async_yield_and_update(1);
            let guest = self.pre.instantiate_async(&mut store).await.unwrap();
            let arguments = arguments.to_owned();
            let answer = guest.vespiary_plugin_tools().call_call(&mut store, tool, &arguments).await.unwrap();
            std::hint::black_box(answer.is_ok());
        }
    }
}
