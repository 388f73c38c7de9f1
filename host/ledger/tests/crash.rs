//! A process killed in the middle of writing: what it was told is on disk is there, and the chain is whole.
#![allow(clippy::disallowed_methods, reason = "this test starts a copy of itself in order to kill it")]

use futures_util::FutureExt;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use vespiary_kernel::event::{Event, Payload};
use vespiary_kernel::grant::Grant;
use vespiary_kernel::ids::{AgentId, CallId, RunId};
use vespiary_kernel::json::Json;
use vespiary_kernel::ports::Log;
use vespiary_ledger::ledger::Ledger;
use vespiary_ledger::reader::Reader;
use vespiary_ledger::verify::Verdict;

const CHILD: &str = "VESPIARY_LEDGER_CRASH_CHILD";

fn run_id() -> RunId {
    "crash".parse().unwrap()
}

/// Append for ever; after each flush tell the parent how many events are promised.
fn write_until_killed(path: PathBuf) -> ! {
    let ledger = Ledger::open(&path).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let started = Event::RunStarted {
        version: "0".into(),
        title: "t".into(),
        script: None,
        args: Json::null(),
        root: "/".into(),
        grant: Grant::none(),
    };
    ledger.append(&run_id(), started).unwrap();
    let mut out = std::io::stdout().lock();
    for n in 1.. {
        let size = if n % 50 == 0 { 9_000 } else { 40 };
        let arguments = Payload::Value(Json::of(&"x".repeat(size + n as usize % 7)).unwrap());
        let tool = "files.read".parse().unwrap();
        ledger
            .append(&run_id(), Event::CallIntended { call: CallId(n), agent: AgentId::ROOT, tool, arguments })
            .unwrap();
        if n % 97 == 0 {
            ledger.flushed().now_or_never().unwrap_or_else(|| runtime.block_on(ledger.flushed())).unwrap();
            writeln!(out, "{}", n + 1).unwrap();
            out.flush().unwrap();
        }
    }
    unreachable!("counting does not end")
}

#[test]
fn kill_9_loses_nothing_that_was_flushed_and_breaks_no_chain() {
    if let Some(path) = std::env::var_os(CHILD) {
        write_until_killed(path.into());
    }
    for round in 0..6 {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.db");
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kill_9_loses_nothing_that_was_flushed_and_breaks_no_chain", "--nocapture"])
            .env(CHILD, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut promised = 0u64;
        // The harness prints a heading of its own first.
        let mut numbers = lines.by_ref().filter_map(|line| line.trim().parse::<u64>().ok());
        for _ in 0..=round * 4 {
            promised = numbers.next().expect("the child goes on until it is killed");
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // It may have promised more between the last line read and its death.
        promised = numbers.last().unwrap_or(promised);
        // Opening for writing is what the next start does; it recovers the write-ahead log.
        let ledger = Ledger::open(&path).unwrap();
        let Verdict::Intact(intact) = ledger.reader().unwrap().verify(&run_id()).unwrap() else {
            panic!("the chain broke")
        };
        assert!(intact.events >= promised, "{promised} were promised, {} are there", intact.events);
        assert!(!intact.ended);
        // And the run goes on where it stood.
        ledger.append(&run_id(), Event::Log { text: "after".into() }).unwrap();
        ledger.close().unwrap();
        let reader = Reader::open(&path).unwrap();
        assert!(matches!(reader.verify(&run_id()).unwrap(), Verdict::Intact(i) if i.events == intact.events + 1));
    }
}
