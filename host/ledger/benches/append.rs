//! What recording costs: the caller's side of an append, the throughput to disk, and a plain one-insert-a-transaction
//! recorder over the same engine and settings for comparison. `cargo bench -p vespiary-ledger`.

use rusqlite::{Connection, params};
use std::hint::black_box;
use std::time::{Duration, Instant};
use vespiary_kernel::event::{Event, Payload};
use vespiary_kernel::grant::Grant;
use vespiary_kernel::ids::{AgentId, CallId, Digest, RunId};
use vespiary_kernel::json::Json;
use vespiary_kernel::ports::Log;
use vespiary_ledger::ledger::Ledger;

/// Fewer than the queue holds, so that what is timed is the hand-over and never a wait for the disk.
const BURST: u64 = 50_000;
/// Several times what the queue holds, so that the disk sets the pace.
const EVENTS: u64 = 200_000;
const PLAIN: u64 = 5_000;

fn event(n: u64, arguments: &Json) -> Event {
    let tool = "files.read".parse().expect("a tool name");
    Event::CallIntended { call: CallId(n), agent: AgentId(1), tool, arguments: Payload::Value(arguments.clone()) }
}

fn started() -> Event {
    Event::RunStarted {
        version: "0".into(),
        title: "bench".into(),
        script: None,
        args: Json::null(),
        root: "/".into(),
        grant: Grant::none(),
    }
}

fn main() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let run: RunId = "bench".parse().expect("a run id");
    let arguments = Json::parse(r#"{"path":"src/main.rs","start_line":1,"end_line":200}"#).expect("JSON");

    let ledger = Ledger::open(&directory.path().join("ledger.db")).expect("a ledger");
    ledger.append(&run, started()).expect("recorded");
    // Events are made beforehand: their making is the dispatcher's cost, not the ledger's.
    let events: Vec<Event> = (0..BURST).map(|n| event(n, &arguments)).collect();
    let mut costs: Vec<Duration> = events
        .into_iter()
        .map(|event| {
            let before = Instant::now();
            ledger.append(black_box(&run), event).expect("recorded");
            before.elapsed()
        })
        .collect();
    runtime.block_on(ledger.flushed()).expect("on disk");
    let mean_cost = mean(costs.iter().sum(), BURST);
    costs.sort();
    let at = |share: f64| costs[(costs.len() as f64 * share) as usize];
    println!("append, caller's side: p50 {:?}, p99 {:?}, p99.9 {:?}, mean {mean_cost:?}", at(0.5), at(0.99), at(0.999));

    let events: Vec<Event> = (0..EVENTS).map(|n| event(n, &arguments)).collect();
    let start = Instant::now();
    for event in events {
        ledger.append(&run, event).expect("recorded");
    }
    runtime.block_on(ledger.flushed()).expect("on disk");
    let on_disk = start.elapsed();
    println!("append to disk: {:.0} events/s ({EVENTS} in {on_disk:?})", rate(EVENTS, on_disk));

    let mut flushes: Vec<Duration> = (0..200)
        .map(|n| {
            ledger.append(&run, event(n, &arguments)).expect("recorded");
            let before = Instant::now();
            runtime.block_on(ledger.flushed()).expect("on disk");
            before.elapsed()
        })
        .collect();
    flushes.sort();
    println!("append and flushed: p50 {:?}, p99 {:?}", flushes[100], flushes[198]);

    for level in ["normal", "full"] {
        let plain = plain(&directory.path().join(format!("{level}.db")), level, &arguments);
        println!(
            "one insert a transaction, synchronous={level}: {:.0} events/s, {:?} each; ours is {:.1}x",
            rate(PLAIN, plain),
            mean(plain, PLAIN),
            rate(EVENTS, on_disk) / rate(PLAIN, plain),
        );
    }
}

/// The same work by the caller itself: serialize, hash, insert, commit.
fn plain(path: &std::path::Path, level: &str, arguments: &Json) -> Duration {
    let connection = Connection::open(path).expect("a database");
    connection.pragma_update(None, "journal_mode", "wal").expect("WAL");
    connection.pragma_update(None, "synchronous", level).expect("a level");
    connection.execute_batch("CREATE TABLE events (key INTEGER PRIMARY KEY, body TEXT, hash BLOB)").expect("a table");
    let mut insert = connection.prepare("INSERT INTO events VALUES (?1, ?2, ?3)").expect("a statement");
    let start = Instant::now();
    for n in 0..PLAIN {
        let body = Json::of(&event(n, arguments)).expect("JSON");
        let hash = Digest::of(body.as_str().as_bytes());
        insert.execute(params![n, body.as_str(), hash.as_bytes()]).expect("inserted");
    }
    start.elapsed()
}

fn rate(events: u64, time: Duration) -> f64 {
    events as f64 / time.as_secs_f64()
}

fn mean(time: Duration, events: u64) -> Duration {
    time / u32::try_from(events).unwrap_or(u32::MAX)
}
