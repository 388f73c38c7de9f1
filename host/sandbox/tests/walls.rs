//! Each wall of a cell, and a guest that runs against it.

use crate::guest::{echo, tool};
use crate::nest::{Guests, Nest, failure, limit, trap, value};
use futures_util::future::join_all;
use std::time::{Duration, Instant};
use vespiary_kernel::call::Failure;

const LOG: &str = r#"(import "vespiary:plugin/report@0.1.0" "log" (func $log (param i32 i32 i32)))"#;
const PROGRESS: &str =
    r#"(import "vespiary:plugin/report@0.1.0" "progress" (func $progress (param i64 i32 i64 i32 i32)))"#;
const SLEEP: &str = r#"
    (import "wasi:clocks/monotonic-clock@0.2.12" "subscribe-duration" (func $subscribe (param i64) (result i32)))
    (import "wasi:io/poll@0.2.12" "[method]pollable.block" (func $block (param i32)))"#;
const SPIN: &str = "(loop $for-ever (br $for-ever)) (unreachable)";
const SLEEP_AN_HOUR: &str =
    "(call $block (call $subscribe (i64.const 3600000000000))) (call $ok (i32.const 0) (i32.const 0))";

/// A nest with one guest, `g`.
fn nest(imports: &str, body: &str, quota: &str) -> Nest {
    Nest::of(Guests::default().with("g", "tools", tool(imports, body), &format!("[quota]\n{quota}")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endless_loop_ends_with_the_processor_time() {
    let nest =
        nest(LOG, &format!("(call $log (i32.const 1) (i32.const 0) (i32.const 3)) {SPIN}"), "cpu-time-ms-max = 50");
    let started = Instant::now();
    let outcome = nest.call("g.x", "{}").await;
    let hit = limit(&outcome);
    assert_eq!((hit.quota.as_str(), hit.limit), ("cpu-time-ms", 50));
    assert!(hit.used >= 50 && outcome.usage.cpu_us >= 50_000, "{hit:?} {:?}", outcome.usage);
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(outcome.log.len(), 1, "what it had said is kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endless_wait_ends_with_the_wall_clock_and_costs_no_processor_time() {
    let outcome = nest(SLEEP, SLEEP_AN_HOUR, "wall-time-ms-max = 100").call("g.x", "{}").await;
    let hit = limit(&outcome);
    assert_eq!((hit.quota.as_str(), hit.limit), ("wall-time-ms", 100));
    assert!(hit.used >= 100 && outcome.usage.cpu_us < 50_000, "{hit:?} {:?}", outcome.usage);
}

#[tokio::test]
async fn a_loop_that_yields_to_nobody_still_meets_the_wall_clock() {
    // One thread drives everything here: only the tick can bring the timeout its turn.
    let outcome = nest("", SPIN, "wall-time-ms-max = 60\ncpu-time-ms-max = 60000").call("g.x", "{}").await;
    assert_eq!(limit(&outcome).quota, "wall-time-ms");
}

#[tokio::test]
async fn a_guest_that_dies_of_refused_memory_names_the_quota() {
    let greedy = "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) (unreachable)";
    let outcome = nest("", greedy, "memory-bytes-max = 4194304").call("g.x", "{}").await;
    let hit = limit(&outcome);
    assert_eq!((hit.quota.as_str(), hit.limit), ("memory-bytes", 4 << 20));
    assert!(hit.used > 4 << 20 && outcome.usage.memory_bytes_peak <= 4 << 20, "{hit:?} {:?}", outcome.usage);
}

#[tokio::test]
async fn a_guest_that_lives_with_refused_memory_may_answer() {
    let modest = "(drop (memory.grow (i32.const 100))) (call $ok (local.get $args) (local.get $args-len))";
    let outcome = nest("", modest, "memory-bytes-max = 1048576").call("g.x", "[1]").await;
    assert_eq!(value(&outcome), "[1]");
}

#[tokio::test]
async fn a_cell_that_starts_too_big_is_refused_by_name() {
    let outcome = nest("(memory 64)", "(unreachable)", "memory-bytes-max = 1048576").call("g.x", "{}").await;
    assert_eq!(limit(&outcome).quota, "memory-bytes");
}

#[tokio::test]
async fn tables_are_counted() {
    let grow = "(if (i32.eq (table.grow $t (ref.null func) (i32.const 2000)) (i32.const -1)) (then unreachable))
        (call $ok (local.get $args) (local.get $args-len))";
    let guest = |quota: &str| nest("(table $t 10 funcref)", grow, quota);
    assert_eq!(limit(&guest("table-elements-max = 1000").call("g.x", "{}").await).quota, "table-elements");
    assert_eq!(value(&guest("").call("g.x", "{}").await), "{}");
}

#[tokio::test]
async fn endless_recursion_is_a_stack_overflow() {
    let outcome =
        nest("", "(call $call (local.get $name) (local.get $name-len) (local.get $args) (local.get $args-len))", "")
            .call("g.x", "{}")
            .await;
    assert_eq!(trap(&outcome).kind, "stack-overflow");
}

#[tokio::test]
async fn an_answer_that_is_too_long_is_not_handed_on() {
    for bytes in [2 << 20, 30 << 20] {
        let body = format!("(drop (memory.grow (i32.const 600))) (call $ok (i32.const 0) (i32.const {bytes}))");
        let outcome = nest("", &body, "result-bytes-max = 1048576").call("g.x", "{}").await;
        let hit = limit(&outcome);
        assert_eq!((hit.quota.as_str(), hit.limit), ("result-bytes", 1 << 20));
        assert!(hit.used > hit.limit);
    }
}

#[tokio::test]
async fn one_host_call_cannot_carry_everything() {
    let body = "(drop (memory.grow (i32.const 600))) (call $log (i32.const 1) (i32.const 0) (i32.const 30000000)) (unreachable)";
    assert_eq!(limit(&nest(LOG, body, "").call("g.x", "{}").await).quota, "host-call-bytes");
}

#[tokio::test]
async fn a_flood_of_log_lines_ends_the_call() {
    let body = "(loop $more (call $log (i32.const 1) (i32.const 2048) (i32.const 100)) (br $more)) (unreachable)";
    let outcome = nest(LOG, body, "log-bytes-max = 10000").call("g.x", "{}").await;
    assert_eq!((limit(&outcome).quota.as_str(), outcome.log.len()), ("log-bytes", 10_000 / 116));
}

#[tokio::test]
async fn empty_lines_and_progress_are_not_free() {
    let lines = "(loop $more (call $log (i32.const 1) (i32.const 0) (i32.const 0)) (br $more)) (unreachable)";
    assert_eq!(limit(&nest(LOG, lines, "log-bytes-max = 10000").call("g.x", "{}").await).quota, "log-bytes");
    let steps = "(loop $more (call $progress (i64.const 1) (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 0)) (br $more)) (unreachable)";
    assert_eq!(limit(&nest(PROGRESS, steps, "log-bytes-max = 10000").call("g.x", "{}").await).quota, "log-bytes");
}

#[tokio::test]
async fn handles_are_counted() {
    let hoard = "(loop $more (drop (call $subscribe (i64.const 1))) (br $more)) (unreachable)";
    assert_eq!(limit(&nest(SLEEP, hoard, "").call("g.x", "{}").await).quota, "open-handles");
}

#[tokio::test]
async fn a_dropped_call_gives_its_place_back() {
    let guests = Guests::default()
        .with("spin", "tools", tool("", SPIN), "")
        .with("sleep", "tools", tool(SLEEP, SLEEP_AN_HOUR), "")
        .with("echo", "tools", echo(), "");
    let nest = Nest::of(guests);
    // More than fit at once, so that a place that did not come back would be missed.
    for round in 0..3 {
        let dropped = (0..60).map(|n| {
            let (nest, tool) = (nest.clone(), if n % 10 == 0 { "spin.x" } else { "sleep.x" });
            async move { tokio::time::timeout(Duration::from_millis(40), nest.call(tool, "{}")).await.is_err() }
        });
        assert!(join_all(dropped).await.into_iter().all(|timed_out| timed_out), "round {round}");
    }
    let started = Instant::now();
    assert_eq!(value(&nest.call("echo.x", "7").await), "7");
    assert!(started.elapsed() < Duration::from_secs(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_neighbours_notice_nothing() {
    let greedy = "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) (unreachable)";
    let flood = "(loop $more (call $log (i32.const 1) (i32.const 2048) (i32.const 100)) (br $more)) (unreachable)";
    let recursion = "(call $call (local.get $name) (local.get $name-len) (local.get $args) (local.get $args-len))";
    let guests = Guests::default()
        .with("echo", "tools", echo(), "")
        .with("spin", "tools", tool("", SPIN), "[quota]\ncpu-time-ms-max = 300")
        .with("greedy", "tools", tool("", greedy), "")
        .with("flood", "tools", tool(LOG, flood), "")
        .with("deep", "tools", tool("", recursion), "")
        .with("trap", "tools", tool("", "(unreachable)"), "")
        .with("sleep", "tools", tool(SLEEP, SLEEP_AN_HOUR), "[quota]\nwall-time-ms-max = 300");
    let nest = Nest::of(guests);
    let hostile = ["spin.x", "greedy.x", "flood.x", "deep.x", "trap.x", "sleep.x"].map(|tool| {
        let nest = nest.clone();
        tokio::spawn(async move { nest.call(tool, "{}").await })
    });
    let neighbours = (0..50).map(|n| {
        let nest = nest.clone();
        tokio::spawn(async move { value(&nest.call("echo.x", &n.to_string()).await).parse::<u32>().unwrap() == n })
    });
    let neighbours = join_all(neighbours).await;
    assert!(neighbours.into_iter().all(|fine| fine.unwrap()));
    for outcome in join_all(hostile).await {
        let outcome = outcome.unwrap();
        assert!(matches!(failure(&outcome), Failure::Limit(_) | Failure::Trapped(_)), "{:?}", outcome.ending);
    }
}
