//! A script's cell: many steps, one allowance.

use crate::guest::engine;
use crate::nest::{Guests, Nest};
use std::time::Duration;
use vespiary_kernel::call::{Ending, Failure};
use vespiary_kernel::json::Json;
use vespiary_kernel::script::{Budget, State};

const BURN: &str = "(local $n i32) (local.set $n (i32.const 40000000))
    (loop $more (local.set $n (i32.sub (local.get $n) (i32.const 1))) (br_if $more (local.get $n)))";

fn nest(imports: &str, body: &str, quota: &str) -> Nest {
    Nest::of(Guests::default().with("engine", "engine", engine(imports, body), &format!("[quota]\n{quota}")))
}

#[tokio::test]
async fn steps_share_one_allowance_of_processor_time() {
    let nest = nest("", BURN, "cpu-time-ms-max = 200\nwall-time-ms-max = 60000");
    let mut session = nest.session("engine").await;
    assert_eq!(session.check("source").await.unwrap().unwrap().as_str(), r#"{"name":"x"}"#);
    assert!(matches!(session.start("source", &Json::null(), Budget::default()).await.unwrap().state, State::Waiting));
    let mut steps = 0;
    let failure = loop {
        match session.step(Vec::new(), 0).await {
            Ok(turn) => assert!(turn.requests.is_empty()),
            Err(failure) => break failure,
        }
        steps += 1;
        assert!(steps < 10_000, "the steps never ran out");
    };
    assert!(steps > 0, "one step alone is within the limit");
    assert!(matches!(&failure, Failure::Limit(hit) if hit.quota == "cpu-time-ms"), "{failure}");
    assert_eq!(session.step(Vec::new(), 0).await.unwrap_err(), failure, "a dead cell keeps saying why");
    let outcome = session.close(Ending::Failed(failure));
    assert!(outcome.usage.cpu_us >= 200_000);
}

#[tokio::test]
async fn waiting_between_steps_is_free() {
    let nest = nest("", "", "cpu-time-ms-max = 50\nwall-time-ms-max = 100");
    let mut session = nest.session("engine").await;
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(80)).await;
        session.step(Vec::new(), 0).await.unwrap();
    }
}

#[tokio::test]
async fn a_step_that_waits_meets_the_wall_clock() {
    let sleep = r#"
        (import "wasi:clocks/monotonic-clock@0.2.12" "subscribe-duration" (func $subscribe (param i64) (result i32)))
        (import "wasi:io/poll@0.2.12" "[method]pollable.block" (func $block (param i32)))"#;
    let nest = nest(sleep, "(call $block (call $subscribe (i64.const 3600000000000)))", "wall-time-ms-max = 60");
    let failure = nest.session("engine").await.step(Vec::new(), 0).await.unwrap_err();
    assert!(matches!(&failure, Failure::Limit(hit) if hit.quota == "wall-time-ms"), "{failure}");
}

#[tokio::test]
async fn a_step_dropped_half_way_kills_the_cell() {
    let nest = nest("", "(loop $l (br $l))", "");
    let mut session = nest.session("engine").await;
    let step = tokio::time::timeout(Duration::from_millis(50), session.step(Vec::new(), 0)).await;
    assert!(step.is_err(), "it loops for ever");
    assert_eq!(session.step(Vec::new(), 0).await.unwrap_err(), Failure::Cancelled);
}

#[tokio::test]
async fn a_script_that_outlives_its_sandbox_is_still_held() {
    let nest = nest("", "(loop $l (br $l))", "cpu-time-ms-max = 50");
    let mut session = nest.session("engine").await;
    drop(nest);
    let failure = session.step(Vec::new(), 0).await.unwrap_err();
    assert!(matches!(&failure, Failure::Limit(hit) if hit.quota == "cpu-time-ms"), "{failure}");
}

#[tokio::test]
async fn time_stands_still_for_a_script() {
    let now = r#"(import "wasi:clocks/monotonic-clock@0.2.12" "now" (func $now (result i64)))"#;
    let nest = nest(now, "(if (i64.ne (call $now) (i64.const 0)) (then unreachable))", "");
    nest.session("engine").await.step(Vec::new(), 0).await.unwrap();
}
