//! What a user pays for the whole of it, as ratios measured in one interleaved run: a recorded call against starting a
//! process, a search in a cell against the same code run natively, a fleet, and the program from its start.
//!
//! `cargo bench -p vespiary`; `VESPIARY_BENCH_TREE=PATH` names the tree that is searched (default: this repository).
//! `cargo bench -p vespiary-sandbox` has the cell alone against bare Wasmtime.
#![allow(clippy::disallowed_methods, reason = "a bench starts the program and looks at its process")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use vespiary::approve::AtTerminal;
use vespiary::catalog::Shelf;
use vespiary_kernel::call::{Keep, ToolCall};
use vespiary_kernel::dispatch::Dispatcher;
use vespiary_kernel::grant::Grant;
use vespiary_kernel::json::Json;
use vespiary_kernel::policy::Policy;
use vespiary_kernel::pool::{Capacity, Pool};
use vespiary_kernel::ports::Log;
use vespiary_kernel::principal::{Principal, RunLimits};
use vespiary_ledger::ledger::Ledger;
use vespiary_sandbox::{Sandbox, SandboxConfig};

const FLEET: &str = "export const meta = { name: 'noop', description: 'agents that have nothing to do' }\n\
     const n = args.n\n\
     const out = await parallel(Array.from({ length: n }, () => () =>\n\
       agent('nothing', { agentType: 'secrets', context: { mode: 'scan', files: [] } })))\n\
     return out.filter(Boolean).length\n";

fn main() {
    let home = tempfile::tempdir().unwrap();
    let tree = std::env::var_os("VESPIARY_BENCH_TREE").map_or_else(repository, PathBuf::from);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let bench = Bench::new(home.path(), &tree);
        tokio::spawn(async move {
            recorded_calls(&bench).await;
            search(&bench).await;
            bench.ledger.close().unwrap();
        })
        .await
        .unwrap();
    });
    program(home.path());
    fleet(home.path());
    // Of this repository only a part is sources.
    let sources = std::env::var_os("VESPIARY_BENCH_TREE").map_or_else(|| repository().join("host"), PathBuf::from);
    again(home.path(), &sources);
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

struct Bench {
    dispatcher: Arc<Dispatcher>,
    ledger: Arc<Ledger>,
    who: Principal,
    tree: PathBuf,
}

impl Bench {
    fn new(home: &Path, tree: &Path) -> Self {
        let shelf = Arc::new(Shelf::bundled().unwrap());
        let capacity = Capacity::of_places(1_000, 16, 1, 4);
        let sandbox = Sandbox::new(SandboxConfig::new(capacity, shelf.clone())).unwrap();
        let ledger = Arc::new(Ledger::open(&home.join("bench.sqlite")).unwrap());
        let dispatcher = Dispatcher::new(
            ledger.clone(),
            shelf,
            Policy::default(),
            Pool::new(capacity),
            Arc::new(sandbox),
            Arc::new(AtTerminal::new(Arc::new(|f: &mut dyn FnMut()| f()), vespiary::policy::ASK_TIME_MAX)),
        );
        let grant = Grant::of_run(["read:.", "tool:*"].map(|c| c.parse().unwrap()));
        let who = dispatcher.start("bench".parse().unwrap(), tree.to_owned(), grant, RunLimits::default());
        let started = vespiary_kernel::event::Event::RunStarted {
            version: "bench".into(),
            title: "bench".into(),
            script: None,
            args: Json::null(),
            root: tree.display().to_string(),
            grant: who.grant().clone(),
        };
        ledger.append(who.run().id(), started).unwrap();
        Self { dispatcher, ledger, who, tree: tree.to_owned() }
    }

    async fn call(&self, tool: &str, arguments: &Json) -> Json {
        let call = ToolCall { tool: tool.parse().unwrap(), arguments: arguments.clone(), keep: Keep::Value };
        self.dispatcher.dispatch(&self.who, call).await.into_result().unwrap()
    }
}

/// A call that is judged, recorded, run in a fresh cell and recorded again, against a process that does nothing.
async fn recorded_calls(bench: &Bench) {
    let arguments = Json::parse(r#"{"text":"hello world"}"#).unwrap();
    let (mut calls, mut processes) = (Vec::new(), Vec::new());
    for round in 0..60 {
        for _ in 0..200 {
            let started = Instant::now();
            bench.call("echo.echo", &arguments).await;
            if round > 4 {
                calls.push(started.elapsed().as_nanos() as u64);
            }
        }
        for _ in 0..3 {
            time(&mut processes, round > 4, || {
                Command::new("/bin/true").status().unwrap();
            });
        }
    }
    let call = show("recorded call of echo, in process", &mut calls, None);
    show("fork + exec /bin/true", &mut processes, Some(call));
}

/// The bundled search in a cell, against the same code over the same tree natively.
async fn search(bench: &Bench) {
    vespiary_sdk::fs::set_root(&bench.tree);
    println!("\nsearching {}", bench.tree.display());
    for pattern in ["unsafe impl", r"fn \w+_error\b", "(?i)TODO|FIX"] {
        let text = Json::of(&serde_json::json!({ "pattern": pattern, "max_matches": 5000 })).unwrap();
        let (mut cell, mut native) = (Vec::new(), Vec::new());
        for round in 0..9 {
            let started = Instant::now();
            let found = bench.call("search.grep", &text).await;
            cell.push(started.elapsed().as_nanos() as u64);
            let args = text.read().unwrap();
            let started = Instant::now();
            let same = vespiary_plugin_search::grep(args).unwrap();
            native.push(started.elapsed().as_nanos() as u64);
            if round == 0 {
                let found: serde_json::Value = found.read().unwrap();
                assert_eq!(found["matches"].as_array().unwrap().len(), same.matches.len(), "both find the same");
                println!("{} files, {} matches", found["files_searched"], same.matches.len());
                cell.clear();
                native.clear();
            }
        }
        let floor = show(&format!("search for {pattern:?}, natively"), &mut native, None);
        show(&format!("search for {pattern:?}, in a cell"), &mut cell, Some(floor));
    }
}

fn vespiary(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vespiary"));
    command.env("VESPIARY_HOME", home.join("home")).stderr(Stdio::null());
    command
}

/// The program from its start to the first answer, code compiled earlier.
fn program(home: &Path) {
    println!();
    let (mut starts, mut processes) = (Vec::new(), Vec::new());
    for round in 0..25 {
        time(&mut starts, round > 1, || {
            let out = vespiary(home).args(["call", "echo.echo", r#"{"text":"x"}"#]).output().unwrap();
            assert!(out.status.success());
        });
        time(&mut processes, round > 1, || {
            Command::new("/bin/true").status().unwrap();
        });
    }
    let floor = show("fork + exec /bin/true", &mut processes, None);
    show("vespiary call echo.echo, start to exit", &mut starts, Some(floor));
}

/// A workflow of a thousand agents with nothing to do, four or sixty-four at a time, against one of one agent.
fn fleet(home: &Path) {
    let script = home.join("noop.js");
    std::fs::write(&script, FLEET).unwrap();
    let out = home.join("report");
    let took = |n: u32, at_once: u32| {
        let mut times = Vec::new();
        for round in 0..6 {
            let mut command = vespiary(home);
            command
                .arg("run")
                .arg(&script)
                .args(["--json", "--fresh", "--arg", &format!("n={n}"), "--at-once", &at_once.to_string(), "--dir"])
                .arg(home)
                .arg("--out")
                .arg(&out);
            let printed = command.output().unwrap();
            let report: serde_json::Value = serde_json::from_slice(&printed.stdout).unwrap();
            assert_eq!(report["value"], n, "every agent answers");
            if round > 0 {
                times.push(report["duration_ms"].as_u64().unwrap() * 1_000_000);
            }
        }
        times
    };
    let mut one = took(1, 1);
    println!();
    let floor = show("workflow of 1 agent with nothing to do", &mut one, None);
    for at_once in [4, 64] {
        let mut thousand = took(1_000, at_once);
        show(&format!("workflow of 1,000 of them, {at_once} at a time"), &mut thousand, Some(floor));
        println!("  {:.1} us an agent, its cell and its record included", (thousand[thousand.len() / 2] as f64) / 1e6);
    }
}

/// The audit once more after one file of the tree has changed, against all of it.
fn again(home: &Path, tree: &Path) {
    let copy = home.join("tree");
    let mut files = 0;
    copy_tree(tree, &copy, &mut files);
    let changed = copy.join("changed.rs");
    // What a file holds is remembered from a minute after its last change on; a person's project is older than that.
    std::thread::sleep(Duration::from_secs(62));
    let audit = |fresh: bool, out: &Path| {
        let mut command = vespiary(home);
        let script = repository().join("examples/audit.js");
        command.arg("run").arg(script).args(["--json", "--dir"]).arg(&copy).arg("--out").arg(out);
        if fresh {
            command.arg("--fresh");
        }
        let begun = Instant::now();
        let printed = command.output().unwrap();
        assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
        begun.elapsed().as_nanos() as u64
    };
    let (mut whole, mut one) = (Vec::new(), Vec::new());
    for round in 0..6u32 {
        std::fs::write(&changed, format!("// {round}\n")).unwrap();
        whole.push(audit(true, &home.join("r1")));
        std::fs::write(&changed, format!("// {round} again\n")).unwrap();
        one.push(audit(false, &home.join("r2")));
    }
    println!();
    let floor = show(&format!("audit after one file of {files} changed"), &mut one, None);
    show("audit of all of them", &mut whole, Some(floor));
}

fn copy_tree(from: &Path, to: &Path, files: &mut u32) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            copy_tree(&entry.path(), &to.join(entry.file_name()), files);
        } else if kind.is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
            *files += 1;
        }
    }
}

fn time(times: &mut Vec<u64>, counts: bool, work: impl FnOnce()) {
    let started = Instant::now();
    work();
    if counts {
        times.push(started.elapsed().as_nanos() as u64);
    }
}

fn show(what: &str, times: &mut [u64], to: Option<f64>) -> f64 {
    times.sort_unstable();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize] as f64 / 1e3;
    let ratio = to.map_or(String::new(), |to| format!("  {:.2}x", at(0.5) / to));
    println!("{what:48} p50 {:10.1} us  p99 {:10.1} us{ratio}", at(0.5), at(0.99));
    at(0.5)
}
