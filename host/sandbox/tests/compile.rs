//! Components made to exhaust whoever compiles them. Each ends at a limit or is refused, in bounded time, and leaves neither
//! memory nor a process behind.

use crate::guest::echo;
use crate::nest::{Guests, Nest, ROOM, failure, value};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use vespiary_kernel::call::Failure;
use vespiary_sandbox::{CompileLimits, SandboxConfig};
use wasm_encoder::{
    BlockType, CodeSection, Component, ComponentBuilder, FunctionSection, Instruction, Module, ModuleSection,
    NestedComponentSection, TypeSection, ValType,
};

const MIB: u64 = 1 << 20;

fn limits() -> CompileLimits {
    CompileLimits {
        compile_time_max: Duration::from_secs(4),
        compile_memory_bytes_max: 512 * MIB,
        ..CompileLimits::default()
    }
}

fn nest(compiler: &str, compile: CompileLimits) -> Nest {
    let guests = Arc::new(Guests::default().with("g", "tools", echo(), ""));
    Nest::built(SandboxConfig { compiler: Some(PathBuf::from(compiler)), compile, ..SandboxConfig::new(ROOM, guests) })
}

fn bounded() -> Nest {
    nest(env!("CARGO_BIN_EXE_vespiary-compile"), limits())
}

/// A module with `count` functions, each with these locals and this body.
fn module(count: u32, locals: u32, body: impl Fn(&mut wasm_encoder::Function)) -> Module {
    let (mut types, mut functions, mut code) = (TypeSection::new(), FunctionSection::new(), CodeSection::new());
    types.ty().function([], []);
    let mut function = wasm_encoder::Function::new((locals > 0).then_some((locals, ValType::I64)));
    body(&mut function);
    function.instruction(&Instruction::End);
    for _ in 0..count {
        functions.function(0);
        code.function(&function);
    }
    let mut module = Module::new();
    module.section(&types).section(&functions).section(&code);
    module
}

fn component(module: &Module) -> Vec<u8> {
    let mut component = Component::new();
    component.section(&ModuleSection(module));
    component.finish()
}

fn sum(function: &mut wasm_encoder::Function, length: usize) {
    function.instruction(&Instruction::I32Const(1));
    for n in 0..length {
        function.instruction(&Instruction::I32Const(n as i32)).instruction(&Instruction::I32Add);
    }
    function.instruction(&Instruction::Drop);
}

/// Compiler processes that were given this much memory, a number no other test gives.
fn compilers(memory_bytes_max: u64) -> Vec<i32> {
    let number = memory_bytes_max.to_string();
    let processes = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line);
        let asked_for = line.contains("__compile") && line.split('\0').any(|argument| argument == number);
        if asked_for { entry.file_name().to_str()?.parse().ok() } else { None }
    });
    processes.collect()
}

fn memory_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// How it ended: the limit's name, what was refused, or that it compiled after all.
async fn ending(name: &str, bytes: Vec<u8>) -> String {
    let nest = bounded();
    let (before, started) = (memory_bytes(), Instant::now());
    let length = bytes.len() as u64;
    let ended = nest.sandbox.imports(bytes).await;
    let took = started.elapsed();
    // The limit itself, and time to read and check what is handed over on a busy machine.
    assert!(took < Duration::from_secs(30), "{name} took {took:?}");
    let grown = memory_bytes().saturating_sub(before);
    assert!(grown < 3 * length + 128 * MIB, "{name} of {length} bytes left {grown} bytes");
    match ended {
        Ok(_) => "compiled".into(),
        Err(Failure::Limit(hit)) => hit.quota,
        Err(Failure::Unrunnable(why)) => why,
        Err(other) => panic!("{name}: {other}"),
    }
}

/// The limits of the compiler process. Where a test also takes "compiled", it is because a quick machine may be done in time;
/// what it shows then is that the memory is back.
const SPENT: [&str; 2] = ["compile-time-ms", "compile-memory-bytes"];

#[tokio::test]
async fn code_of_the_compiler_process_runs_as_if_compiled_here() {
    let nest = bounded();
    assert_eq!(value(&nest.call("g.x", "[1]").await), "[1]");
}

#[tokio::test]
async fn what_does_not_compile_says_why() {
    let mut bent = echo();
    let middle = bent.len() / 2;
    bent[middle..middle + 8].fill(0xff);
    let why = ending("bent", bent).await;
    assert!(why.contains("does not compile"), "{why}");
}

#[tokio::test]
async fn a_compiler_that_is_none_is_noticed() {
    for compiler in ["/usr/bin/true", "/usr/bin/false", "/usr/bin/yes", "/nowhere"] {
        let limits = CompileLimits { compile_time_max: Duration::from_secs(2), ..limits() };
        let ended = nest(compiler, limits).sandbox.imports(echo()).await;
        assert!(ended.is_err(), "{compiler}");
        if matches!(compiler, "/usr/bin/true" | "/nowhere") {
            assert!(matches!(ended, Err(Failure::Host(_))), "{compiler}: {ended:?}");
        }
    }
}

#[tokio::test]
async fn one_huge_function() {
    let why = ending("huge", component(&module(1, 0, |f| sum(f, 2_000_000)))).await;
    assert!(why.contains("bytes in one function"), "{why}");
    // Just below the limit on size, it is the compiler's own cost that counts.
    let why = ending("large", component(&module(1, 0, |f| sum(f, 700_000)))).await;
    assert!(SPENT.contains(&why.as_str()) || why == "compiled", "{why}");
}

#[tokio::test]
async fn many_functions() {
    let why = ending("too many", component(&module(300_000, 0, |_| {}))).await;
    assert!(why.contains("functions"), "{why}");
    let why = ending("many", component(&module(60_000, 0, |f| sum(f, 120)))).await;
    assert!(SPENT.contains(&why.as_str()), "{why}");
}

#[tokio::test]
async fn blocks_in_blocks() {
    let deep = |f: &mut wasm_encoder::Function| {
        for _ in 0..900_000 {
            f.instruction(&Instruction::Block(BlockType::Empty));
        }
        for _ in 0..900_000 {
            f.instruction(&Instruction::End);
        }
    };
    let why = ending("deep", component(&module(1, 0, deep))).await;
    assert!(SPENT.contains(&why.as_str()), "{why}");
}

#[tokio::test]
async fn components_in_components() {
    let mut inner = Component::new();
    for _ in 0..5_000 {
        let mut outer = Component::new();
        outer.section(&NestedComponentSection(&inner));
        inner = outer;
        if inner.as_slice().len() > 200_000 {
            break;
        }
    }
    let why = ending("nested", inner.finish()).await;
    assert!(why.contains("levels"), "{why}");
}

#[tokio::test]
async fn wide_branches() {
    let wide = |targets: usize| {
        move |f: &mut wasm_encoder::Function| {
            f.instruction(&Instruction::I32Const(0));
            f.instruction(&Instruction::BrTable(vec![0; targets].into(), 0));
        }
    };
    let why = ending("wide", component(&module(24, 0, wide(1_000_000)))).await;
    assert!(SPENT.contains(&why.as_str()) || why.contains("1000000 targets"), "{why}");
    let why = ending("less wide", component(&module(400, 0, wide(65_000)))).await;
    assert!(SPENT.contains(&why.as_str()) || why == "compiled", "{why}");
}

#[tokio::test]
async fn more_locals_than_bytes() {
    let why = ending("locals", component(&module(1_000, 50_000, |_| {}))).await;
    assert!(why.contains("local variables"), "{why}");
    let why = ending("fewer locals", component(&module(190, 50_000, |_| {}))).await;
    assert!(SPENT.contains(&why.as_str()) || why == "compiled", "{why}");
}

#[tokio::test]
async fn more_types_than_anybody_needs() {
    let mut types = TypeSection::new();
    for _ in 0..500_000 {
        types.ty().function([ValType::I32; 8], [ValType::I64; 8]);
    }
    let mut module = Module::new();
    module.section(&types);
    let why = ending("types", component(&module)).await;
    assert!(why.contains("types"), "{why}");
}

/// Each component instantiates the one inside it many times, which a compiler that lays all instances out pays for with
/// the product of all.
#[tokio::test]
async fn instances_of_instances() {
    let mut inner = ComponentBuilder::default();
    let module = module(1, 0, |_| {});
    let at = inner.core_module(None, &module);
    for _ in 0..20 {
        inner.core_instantiate(None, at, []);
    }
    for _ in 0..6 {
        let mut outer = ComponentBuilder::default();
        let at = outer.component(None, inner);
        for _ in 0..20 {
            outer.instantiate::<Vec<(String, wasm_encoder::ComponentExportKind, u32)>, String>(None, at, vec![]);
        }
        inner = outer;
    }
    let why = ending("instances", inner.finish()).await;
    assert!(SPENT.contains(&why.as_str()), "{why}");
}

#[tokio::test]
async fn more_than_there_may_be_of_anything() {
    let mut many = ComponentBuilder::default();
    let at = many.core_module(None, &module(1, 0, |_| {}));
    for _ in 0..30_000 {
        many.core_instantiate(None, at, []);
    }
    let why = ending("instances", many.finish()).await;
    assert!(why.contains("instances"), "{why}");
    let quota = ending("bytes", [component(&module(1, 0, |_| {})), vec![0; 70 << 20]].concat()).await;
    assert_eq!(quota, "component-bytes");
    let memory = wat::parse_str("(component (core module (memory 60000)))").unwrap();
    assert!(ending("memory", memory).await.contains("memory from the start"));
    let table = wat::parse_str("(component (core module (table 9000000 funcref)))").unwrap();
    assert!(ending("table", table).await.contains("table elements"));
}

/// It compiles, and is refused when it is loaded. Compiling it at every call would cost everybody who waits to compile.
#[tokio::test]
async fn what_no_cell_has_room_for_is_compiled_once() {
    let dir = tempfile::tempdir().unwrap();
    let compiler = dir.path().join("compiler");
    for text in [
        "(component (core module (memory 1) (memory 1) (memory 1) (memory 1) (memory 1)))".to_owned(),
        format!("(component (core module $m) {})", "(core instance (instantiate $m))".repeat(33)),
    ] {
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_vespiary-compile"), &compiler).unwrap();
        let guests = Arc::new(Guests::default().with("g", "tools", wat::parse_str(text).unwrap(), ""));
        let config = SandboxConfig::new(ROOM, guests);
        let nest = Nest::built(SandboxConfig { compiler: Some(compiler.clone()), compile: limits(), ..config });
        for _ in 0..2 {
            let outcome = nest.call("g.x", "{}").await;
            let Failure::Unrunnable(why) = failure(&outcome) else { panic!("{outcome:?}") };
            assert!(why.contains("no cell has room for it"), "{why}");
            // There is none that could be asked a second time.
            let _ = std::fs::remove_file(&compiler);
        }
    }
}

/// Who is short of memory kills, too; the component is as good as it was.
#[tokio::test]
async fn a_compiler_that_somebody_kills_says_nothing_of_the_component() {
    let memory = 509 * MIB;
    let compile =
        CompileLimits { compile_time_max: Duration::from_secs(600), compile_memory_bytes_max: memory, ..limits() };
    let nest = nest(env!("CARGO_BIN_EXE_vespiary-compile"), compile);
    let slow = component(&module(60_000, 0, |f| sum(f, 120)));
    let killed = async {
        while compilers(memory).is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let child = rustix::process::Pid::from_raw(compilers(memory)[0]).unwrap();
        rustix::process::kill_process(child, rustix::process::Signal::KILL).unwrap();
    };
    let (ended, ()) = tokio::join!(nest.sandbox.imports(slow), killed);
    let Err(Failure::Host(why)) = ended else { panic!("{ended:?}") };
    assert!(why.contains("killed from outside"), "{why}");
}

#[tokio::test]
async fn a_compiler_nobody_waits_for_is_killed() {
    let memory = 511 * MIB;
    let compile =
        CompileLimits { compile_time_max: Duration::from_secs(60), compile_memory_bytes_max: memory, ..limits() };
    let nest = nest(env!("CARGO_BIN_EXE_vespiary-compile"), compile);
    let slow = component(&module(60_000, 0, |f| sum(f, 120)));
    let mut compiling = Box::pin(nest.sandbox.imports(slow));
    assert!(tokio::time::timeout(Duration::from_millis(1500), &mut compiling).await.is_err());
    assert_eq!(compilers(memory).len(), 1, "it is not at work");
    drop(compiling);
    let started = Instant::now();
    while !compilers(memory).is_empty() {
        assert!(started.elapsed() < Duration::from_secs(20), "it is still at work");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
