//! Soak: many calls through the real dispatcher, ledger and sandbox, a tenth of them attacks, and at the end a host that holds
//! what it held and a record that knows every one of them.
//!
//! `cargo bench -p vespiary --bench soak` makes 50,000 calls; `-- --calls N` another number. The guests are those of
//! `tests/guests/built`. It prints figures and ends with an error where one of them is not flat.
#![allow(clippy::disallowed_methods, reason = "it looks at its own process and sets up what it works on")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use vespiary::approve::AtTerminal;
use vespiary::catalog::Shelf;
use vespiary_kernel::call::{Ending, Failure, Keep, Outcome, ToolCall};
use vespiary_kernel::dispatch::Dispatcher;
use vespiary_kernel::event::{Event, RunStatus};
use vespiary_kernel::grant::Grant;
use vespiary_kernel::ids::RunId;
use vespiary_kernel::json::Json;
use vespiary_kernel::policy::Policy;
use vespiary_kernel::pool::{Capacity, Pool};
use vespiary_kernel::ports::Log;
use vespiary_kernel::principal::{Principal, RunLimits};
use vespiary_ledger::ledger::Ledger;
use vespiary_ledger::reader::Reader;
use vespiary_ledger::verify::Verdict;
use vespiary_sandbox::{Sandbox, SandboxConfig};

/// Calls of one run of the record.
const CALLS_A_RUN: usize = 1_000;

/// Calls under way at the same time.
const AT_ONCE: usize = 16;

/// How much resident memory may grow after the warm-up, in which compiled code, pages of the pool and SQLite's cache come in.
const GROWTH_BYTES_MAX: u64 = 24 << 20;

/// Limits of the hostile guest: small, so that an attack is soon over.
const HOSTILE: &str = "name = 'hostile'\nversion = '1'\nkind = 'tools'\ndescription = 'attacks'\n\
    [quota]\ncpu-time-ms-max = 20\nwall-time-ms-max = 60\nmemory-bytes-max = 8388608\nresult-bytes-max = 65536\n\
    log-bytes-max = 65536\nartifact-bytes-max = 262144\n\
    [[needs]]\ncapability = 'read:.'\nreason = 'bait'\n";

/// Well-behaved calls.
const WORK: [(&str, &str); 5] = [
    ("echo.echo", r#"{"text":"hello world"}"#),
    ("files.read", r#"{"path":"a.txt"}"#),
    ("files.list", r#"{"path":"."}"#),
    ("search.grep", r#"{"pattern":"needle"}"#),
    ("hostile.neighbour", r#"{"text":"a neighbour"}"#),
];

/// Attacks, and the causes in which each may end.
const ATTACKS: [(&str, &str, &[&str]); 22] = [
    ("endless_loop", "{}", &["limit"]),
    ("endless_sleep", "{}", &["limit"]),
    ("memory_growth", "{}", &["limit"]),
    ("tiny_allocations", "{}", &["limit"]),
    ("deep_recursion", "{}", &["trapped", "limit"]),
    ("huge_result", "{}", &["limit"]),
    ("invalid_json_result", "{}", &["trapped"]),
    ("log_flood", "{}", &["limit"]),
    ("log_empty_lines", "{}", &["limit"]),
    ("stdout_flood", "{}", &["limit", "failed"]),
    ("artifact_flood", "{}", &["limit", "failed", "trapped"]),
    ("artifact_unfinished", "{}", &["limit"]),
    ("poll_crowd", "{}", &["limit"]),
    ("preopen_crowd", "{}", &["limit"]),
    ("open_many_files", r#"{"path":"a.txt"}"#, &["limit", "failed"]),
    ("random_flood", "{}", &["trapped"]),
    ("exit_happily", "{}", &["trapped"]),
    ("panic_with_words", "{}", &["trapped"]),
    ("read_dotdot", r#"{"path":"secret.txt"}"#, &["failed"]),
    ("read_symlink_out", r#"{"path":"leak"}"#, &["failed"]),
    ("write_readonly", r#"{"path":"a.txt"}"#, &["failed"]),
    ("open_fifo", r#"{"path":"pipe"}"#, &["failed"]),
];

fn main() {
    let calls = std::env::args().skip_while(|arg| arg != "--calls").nth(1).map_or(50_000, |n| n.parse().unwrap());
    let home = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let soak = Soak::new(home.path());
    let begun = Instant::now();
    let counts = runtime.block_on(soak.run(calls));
    let took = begun.elapsed();
    soak.ledger.close().unwrap();
    println!("{calls} calls in {took:.1?}, {:.0} a second", calls as f64 / took.as_secs_f64());
    for (cause, n) in &counts {
        println!("{cause:18} {n:8}");
    }
    audit(&soak, calls, &counts);
}

struct Soak {
    dispatcher: Arc<Dispatcher>,
    ledger: Arc<Ledger>,
    project: PathBuf,
    path: PathBuf,
}

/// Outcomes by cause; `done` are those with a value.
type Counts = BTreeMap<&'static str, u64>;

impl Soak {
    fn new(home: &Path) -> Self {
        let project = home.join("project");
        std::fs::create_dir_all(project.join("src")).unwrap();
        std::fs::write(home.join("secret.txt"), "outside").unwrap();
        std::fs::write(project.join("a.txt"), "hay hay needle hay\n".repeat(200)).unwrap();
        for n in 0..20 {
            std::fs::write(project.join(format!("src/{n}.txt")), "hay\n".repeat(n * 10)).unwrap();
        }
        std::os::unix::fs::symlink("../secret.txt", project.join("leak")).unwrap();
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mkfifoat(rustix::fs::CWD, project.join("pipe"), mode).unwrap();

        let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/guests/built/hostile.wasm");
        let hostile = home.join("hostile.wasm");
        std::fs::copy(built, &hostile).unwrap();
        std::fs::write(hostile.with_extension("toml"), HOSTILE).unwrap();
        let mut shelf = Shelf::bundled().unwrap();
        shelf.load(&hostile).unwrap();
        let shelf = Arc::new(shelf);

        let capacity = Capacity::of_places(AT_ONCE, 1, 1, AT_ONCE);
        let sandbox = Sandbox::new(SandboxConfig::new(capacity, shelf.clone())).unwrap();
        let path = home.join("soak.sqlite");
        let ledger = Arc::new(Ledger::open(&path).unwrap());
        let dispatcher = Dispatcher::new(
            ledger.clone(),
            shelf,
            Policy::default(),
            Pool::new(capacity),
            Arc::new(sandbox),
            Arc::new(AtTerminal::new(Arc::new(|f: &mut dyn FnMut()| f()), Duration::from_secs(1))),
        );
        Self { dispatcher, ledger, project, path }
    }

    /// Make `calls` calls, and compare the host before and after.
    async fn run(&self, calls: usize) -> Counts {
        let mut counts = Counts::new();
        let mut figures = Vec::new();
        let every = (calls / 10).max(CALLS_A_RUN);
        for (number, first) in (0..).zip((0..calls).step_by(CALLS_A_RUN)) {
            let who = self.start(number);
            let last = calls.min(first + CALLS_A_RUN);
            let mut lanes = tokio::task::JoinSet::new();
            for lane in 0..AT_ONCE {
                let (dispatcher, who) = (Arc::clone(&self.dispatcher), who.clone());
                lanes.spawn(async move {
                    let mut counts = Counts::new();
                    for n in (first + lane..last).step_by(AT_ONCE) {
                        *counts.entry(one(&dispatcher, &who, n).await).or_default() += 1;
                    }
                    counts
                });
            }
            while let Some(lane) = lanes.join_next().await {
                for (cause, n) in lane.unwrap() {
                    *counts.entry(cause).or_default() += n;
                }
            }
            let ended = Event::RunEnded { status: RunStatus::Completed, value: None, error: None };
            self.ledger.append(who.run().id(), ended).unwrap();
            if last.is_multiple_of(every) || last == calls {
                self.ledger.flushed().await.unwrap();
                figures.push(Figures::now(last));
                println!("{}", figures[figures.len() - 1]);
            }
        }
        flat(&figures);
        counts
    }

    fn start(&self, number: usize) -> Principal {
        let grant = Grant::of_run(["read:.", "tool:*"].map(|c| c.parse().unwrap()));
        let who = self.dispatcher.start(run_id(number), self.project.clone(), grant.clone(), RunLimits::default());
        let started = Event::RunStarted {
            version: "soak".into(),
            title: "soak".into(),
            script: None,
            args: Json::null(),
            root: self.project.display().to_string(),
            grant,
        };
        self.ledger.append(who.run().id(), started).unwrap();
        who
    }
}

fn run_id(number: usize) -> RunId {
    format!("soak-{number}").parse().unwrap()
}

/// The call of that number: every tenth is an attack, and each attack has its turn.
async fn one(dispatcher: &Arc<Dispatcher>, who: &Principal, n: usize) -> &'static str {
    let (tool, arguments, causes) = match n % 10 {
        7 => {
            let (name, arguments, causes) = ATTACKS[n / 10 % ATTACKS.len()];
            (format!("hostile.{name}"), arguments, Some(causes))
        }
        _ => (WORK[n % WORK.len()].0.to_owned(), WORK[n % WORK.len()].1, None),
    };
    let arguments = Json::parse(arguments).unwrap();
    let call = ToolCall { tool: tool.parse().unwrap(), arguments, keep: Keep::Value };
    let Outcome { ending, .. } = dispatcher.dispatch(who, call).await;
    match (&ending, causes) {
        (Ending::Done(_), None) => "done",
        (Ending::Failed(failure), Some(causes)) if causes.contains(&failure.cause()) => failure.cause(),
        // A machine that is busy with something else ends calls that would have been quick.
        (Ending::Failed(Failure::Limit(hit)), _) if matches!(&*hit.quota, "cpu-time-ms" | "wall-time-ms") => "limit",
        _ => panic!("call {n} of {tool} ended as {ending:?}"),
    }
}

/// What the process holds.
struct Figures {
    calls: usize,
    resident: u64,
    descriptors: usize,
    threads: usize,
}

impl Figures {
    fn now(calls: usize) -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let resident = line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10;
        let count = |dir: &str| std::fs::read_dir(dir).unwrap().count();
        Self { calls, resident, descriptors: count("/proc/self/fd"), threads: count("/proc/self/task") }
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mib = self.resident as f64 / f64::from(1 << 20);
        write!(
            f,
            "after {:6} calls: {mib:6.1} MiB resident, {} descriptors, {} threads",
            self.calls, self.descriptors, self.threads
        )
    }
}

/// After the warm-up nothing grows.
fn flat(figures: &[Figures]) {
    let [first, .., last] = figures else {
        println!("too few calls to tell whether it is flat");
        return;
    };
    assert!(last.descriptors <= first.descriptors, "descriptors were left open");
    // Fewer is fine: helpers of the warm-up end when they have been idle for a while.
    assert!(last.threads <= first.threads, "threads were left behind");
    let grown = last.resident.saturating_sub(first.resident);
    assert!(grown <= GROWTH_BYTES_MAX, "resident memory grew by {} MiB", grown >> 20);
}

/// Every call is in the record, with its end; the chain of every run holds.
fn audit(soak: &Soak, calls: usize, counts: &Counts) {
    let reader = Reader::open(&soak.path).unwrap();
    let mut recorded = Counts::new();
    let (mut intended, mut events) = (0, 0);
    for number in 0..calls.div_ceil(CALLS_A_RUN) {
        let run = run_id(number);
        match reader.verify(&run).unwrap() {
            Verdict::Intact(intact) => events += intact.events,
            Verdict::Broken(place) => panic!("the record of {run} is broken: {place}"),
        }
        for event in reader.events(&run).unwrap() {
            match event.unwrap().event {
                Event::CallIntended { .. } => intended += 1,
                Event::CallEnded { failure, .. } => {
                    *recorded.entry(failure.map_or("done", |failure| failure.cause())).or_default() += 1;
                }
                _ => {}
            }
        }
    }
    assert_eq!(intended, calls, "every call was recorded as intended");
    assert_eq!(&recorded, counts, "every call's end is in the record");
    println!("{events} events verified; every call and its end is among them");
}
