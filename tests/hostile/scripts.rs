//! Workflow scripts that attack their engine, its prototypes, the driver and the run's limits. Each is a file of `scripts/`,
//! run by the real driver on the real engine in its cell. Those that end with `intact` have attacked and then used the
//! bridge: requests still leave, and each gets its own answer.

use super::rig::{Rig, SECRET};
use super::stage::play;
use std::path::Path;
use std::sync::Arc;
use vespiary_fleet::drive::{RunReport, Settings, Workflow, drive};
use vespiary_fleet::gatekeeper::Gatekeeper;
use vespiary_fleet::library::{Found, Library};
use vespiary_fleet::stop::Stop;
use vespiary_fleet::watch::Unwatched;
use vespiary_kernel::call::{Failure, Keep, ToolCall};
use vespiary_kernel::event::{Event, RunError, RunStatus};
use vespiary_kernel::gate::{Decision, Matter};
use vespiary_kernel::ids::Digest;
use vespiary_kernel::json::Json;
use vespiary_kernel::ports::BoxFuture;
use vespiary_kernel::script::ErrorKind;

/// What the run of a script holds.
const RUN: &[&str] = &[
    "read:.",
    "spawn:1000",
    "tool:quiet.neighbour",
    "tool:hostile.result_deeply_nested",
    "tool:hostile.result_odd_numbers",
    "tool:hostile-agent.run",
];

/// Run the script of that name to its end, with a neighbour's calls beside it.
async fn run(rig: &Rig, name: &str) -> RunReport {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../tests/hostile/scripts/{name}.js"));
    let source = std::fs::read_to_string(path).unwrap();
    run_source(rig, name, source, Json::parse("{}").unwrap()).await
}

async fn run_source(rig: &Rig, name: &str, source: String, args: Json) -> RunReport {
    let who = rig.who(RUN);
    let workflow =
        Workflow { title: name.into(), source, args, version: "0".into(), settings: Json::null(), resumes: None };
    let engine = "engine".parse().unwrap();
    let (watch, stop) = (Arc::new(Unwatched), Stop::default());
    let library = Arc::new(Itself(Found { name: name.into(), source: workflow.source.clone() }));
    let gatekeeper = Some(Arc::new(Nobody) as _);
    let settings = Settings { workflows: Some(library), workflows_at_once: 2, gatekeeper, ..Settings::default() };
    let driven = drive(&rig.dispatcher, &who, &engine, &workflow, settings, watch, &stop);
    let beside = rig.who(&["read:.", "tool:quiet.neighbour"]);
    let neighbour = async {
        for n in 0..20 {
            let arguments = Json::of(&serde_json::json!({ "text": n.to_string() })).unwrap();
            let call = ToolCall { tool: "quiet.neighbour".parse().unwrap(), arguments, keep: Keep::Value };
            let said = rig.dispatcher.dispatch(&beside, call).await.into_result().unwrap();
            assert_eq!(said.as_str(), format!("\"{n}\""), "the neighbour of {name} was hurt");
        }
    };
    let (report, ()) = tokio::join!(driven, neighbour);
    recorded(rig, &who, &report);
    let shown = format!("{report:?}");
    assert!(!shown.contains(SECRET), "{name} leaked: {shown}");
    report
}

/// Knows one workflow by name: the one that asks.
#[derive(Debug)]
struct Itself(Found);

impl Library for Itself {
    fn find(&self, name: &str) -> Result<Found, String> {
        if name == self.0.name { Ok(self.0.clone()) } else { Err("there is none".into()) }
    }
}

/// Is nobody, and decides nothing.
#[derive(Debug)]
struct Nobody;

impl Gatekeeper for Nobody {
    fn distrusts(&self) -> Option<String> {
        None
    }

    fn decided(&self, _: &Digest) -> Option<Decision> {
        None
    }

    fn left(&self, _: &Digest) -> Option<Decision> {
        None
    }

    fn ask<'a>(&'a self, _: &'a Matter) -> BoxFuture<'a, Option<Decision>> {
        Box::pin(async { None })
    }
}

/// The record tells the same end as the report, and every call and agent in it has an end.
fn recorded(rig: &Rig, who: &vespiary_kernel::principal::Principal, report: &RunReport) {
    let events = rig.record.of(who.run().id());
    let count = |test: fn(&Event) -> bool| events.iter().filter(|event| test(event)).count();
    let Some(Event::RunEnded { status, error, .. }) = events.last() else { panic!("the run has no end") };
    assert_eq!(count(|e| matches!(e, Event::GateDecided { .. })), 0, "nobody decides here");
    assert_eq!((*status, error), (report.status, &report.error));
    assert_eq!(
        count(|e| matches!(e, Event::CallIntended { .. })),
        count(|e| matches!(e, Event::CallEnded { .. })),
        "a call without an end"
    );
    assert_eq!(
        count(|e| matches!(e, Event::AgentStarted { .. })),
        count(|e| matches!(e, Event::AgentEnded { .. })),
        "an agent without an end"
    );
}

/// The quota that ended the script's cell.
#[track_caller]
fn quota(report: &RunReport) -> &str {
    match &report.error {
        Some(RunError::Engine(Failure::Limit(hit))) => &hit.quota,
        other => panic!("no limit ended it: {other:?} {:?}", report.value),
    }
}

/// What the script was told is wrong with it.
#[track_caller]
fn fault(report: &RunReport) -> (ErrorKind, &str) {
    match &report.error {
        Some(RunError::Script(error)) => (error.kind, &error.message),
        other => panic!("it is not the script that failed: {other:?} {:?}", report.value),
    }
}

/// The attack does nothing, and the bridge works after it.
macro_rules! survives {
    ($($name:ident),+ $(,)?) => {
        $(#[test]
        fn $name() {
            play(async {
                let report = run(&Rig::new(), stringify!($name)).await;
                let value = report.value.as_ref().map(Json::as_str);
                assert_eq!(value, Some("\"intact\""), "{:?}", report.error);
            });
        })+
    };
}

survives!(
    pollute_promise,
    pollute_array,
    pollute_object,
    pollute_json,
    pollute_to_json,
    pollute_function,
    pollute_map,
    replace_what_is_offered,
    thenable_answers,
    proxy_options,
    getters_that_throw,
    value_of_bombs,
    symbol_tricks,
    forged_completions,
    function_constructor,
    import_modules,
    what_must_be_absent,
    tell_the_time,
    generator_escapes,
    sort_that_changes_its_array,
    stack_trace_hooks,
    label_collisions,
    recursion_without_end,
    huge_strings,
    too_many_items,
    widen_by_options,
    call_by_forged_names,
    deep_values,
    deep_answer,
    answers_with_prototypes,
    schema_bombs,
    schema_exponential,
    bidi_in_source,
    workflow_bomb,
    gate_flood,
    wide_turn,
    pending_flood,
    schema_of_its_own,
    pattern_flood,
    list_flood,
    long_labels,
);

/// The attack ends the script, and nothing else.
macro_rules! ends {
    ($name:ident, |$report:ident| $check:expr) => {
        #[test]
        fn $name() {
            play(async {
                let $report = run(&Rig::new(), stringify!($name)).await;
                assert_eq!($report.status, RunStatus::Failed, "{:?}", $report.value);
                $check;
            });
        }
    };
}

ends!(endless_loop_in_script, |report| assert_eq!(quota(&report), "cpu-time-ms"));
// Each link of the chain is kept: whichever is used up first, time or memory. Where it is memory, the link that finds none is
// lost, and with it whatever waits for the chain.
ends!(endless_microtasks, |report| match &report.error {
    Some(RunError::Script(error)) => {
        assert!(matches!(error.kind, ErrorKind::Thrown | ErrorKind::Stalled), "{error:?}");
    }
    _ => assert!(matches!(quota(&report), "cpu-time-ms" | "memory-bytes")),
});
ends!(endless_async_generator, |report| assert_eq!(quota(&report), "cpu-time-ms"));
ends!(catastrophic_regexp, |report| assert_eq!(quota(&report), "cpu-time-ms"));
ends!(waits_for_nothing, |report| assert_eq!(fault(&report).0, ErrorKind::Stalled));
ends!(memory_bomb, |report| match &report.error {
    Some(RunError::Script(error)) => assert!(error.message.contains("memory"), "{error:?}"),
    Some(RunError::Engine(Failure::Limit(hit))) => assert_eq!(hit.quota, "memory-bytes"),
    other => panic!("{other:?}"),
});
ends!(log_flood_in_script, |report| assert_eq!(quota(&report), "log-bytes"));
ends!(phase_flood, |report| assert_eq!(quota(&report), "log-bytes"));
ends!(turn_flood, |report| {
    assert!(quota(&report) == "turn-bytes" && format!("{report:?}").contains("limit: 50331648"), "{:?}", report.error);
});
ends!(log_without_a_break, |report| {
    assert!(matches!(&report.error, Some(RunError::Engine(Failure::Limit(_) | Failure::Trapped(_)))), "{report:?}");
});
ends!(meta_with_getters, |report| assert_eq!(fault(&report).0, ErrorKind::Meta));
ends!(meta_with_a_prototype, |report| assert_eq!(fault(&report).0, ErrorKind::Meta));
ends!(meta_that_calls, |report| assert_eq!(fault(&report).0, ErrorKind::Meta));
ends!(escape_the_body, |report| assert_eq!(fault(&report).0, ErrorKind::Syntax));
ends!(null_in_source, |report| {
    assert!(fault(&report).0 == ErrorKind::Syntax && fault(&report).1.contains("NUL"), "{report:?}");
});

/// Whatever a script says, its gate stays open, and the run waits.
#[test]
fn gate_forgery() {
    play(async {
        let rig = Rig::new();
        let report = run(&rig, "gate_forgery").await;
        assert_eq!((report.status, report.gates.len()), (RunStatus::AwaitingGate, 1), "{report:?}");
        assert!(report.value.is_none());
    });
}

/// Agents end with the run's budget on their lips. They failed; the run is not out of budget and goes on.
#[test]
fn agents_that_say_the_budget_is_spent() {
    play(async {
        let report = run(&Rig::new(), "agents_that_say_the_budget_is_spent").await;
        let told = r#"[[null,null,null,null,null,null,null],"failed","on"]"#;
        assert_eq!(report.value.as_ref().map(Json::as_str), Some(told), "{report:?}");
        assert_eq!((report.agents, report.status), (8, RunStatus::Degraded));
    });
}

/// The cap is a number of agents, not of those that succeed.
#[test]
fn spawn_over_the_cap() {
    play(async {
        let report = run(&Rig::new(), "spawn_over_the_cap").await;
        assert_eq!(report.value.as_ref().map(Json::as_str), Some("[1000,200]"), "{:?}", report.error);
        assert_eq!((report.agents, report.status), (1_000, RunStatus::Degraded));
    });
}

/// A million agents in one turn: the turn is too large for the border, the engine has no memory for it, or all past the cap are refused.
#[test]
fn agent_flood() {
    play(async {
        let report = run(&Rig::new(), "agent_flood").await;
        assert_ne!(report.status, RunStatus::Completed);
        assert!(report.agents <= 1_000, "{}", report.agents);
        let ended = match &report.error {
            Some(RunError::Engine(Failure::Limit(_) | Failure::Trapped(_))) => true,
            Some(RunError::Script(thrown)) => {
                thrown.message.contains("threw null") || thrown.message.contains("memory")
            }
            _ => false,
        };
        assert!(ended, "{report:?}");
    });
}

/// A script of three mebibytes, and one of forty. The first is read; the second is never given to the engine.
#[test]
fn huge_source() {
    play(async {
        let rig = Rig::new();
        let of = |bytes: usize| {
            let meta = "export const meta = { name: 'huge', description: 'An attack.' }\n";
            format!("{meta}return 'read' //{}", "x".repeat(bytes))
        };
        let args = || Json::parse("{}").unwrap();
        let report = run_source(&rig, "huge_source", of(3 << 20), args()).await;
        assert_eq!(report.value.as_ref().map(Json::as_str), Some("\"read\""), "{:?}", report.error);
        let report = run_source(&rig, "huge_source", of(40 << 20), args()).await;
        assert_eq!(quota(&report), "script-bytes");
    });
}

/// Calls in calls in calls, deeper than the engine's stack: a fault of the script, not of the engine.
#[test]
fn source_nested_too_deeply() {
    play(async {
        let meta = "export const meta = { name: 'deep', description: 'An attack.' }\n";
        for (open, close) in [("f(", ")"), ("[", "]"), ("!", "")] {
            let source = format!("{meta}const f = x => x\nreturn {}1{}", open.repeat(20_000), close.repeat(20_000));
            let report = run_source(&Rig::new(), "source_nested_too_deeply", source, Json::parse("{}").unwrap()).await;
            assert_eq!(fault(&report).0, ErrorKind::Syntax, "{open}: {:?}", report.error);
        }
    });
}

/// Arguments that a person was tricked into passing: deep, huge, with a prototype's name.
#[test]
fn hostile_args() {
    play(async {
        let rig = Rig::new();
        let source = "export const meta = { name: 'args', description: 'An attack.' }\n\
                      return [({}).polluted === undefined, typeof args]"
            .to_owned();
        let polluting = Json::parse(r#"{"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}}}"#);
        let report = run_source(&rig, "hostile_args", source.clone(), polluting.unwrap()).await;
        assert_eq!(report.value.as_ref().map(Json::as_str), Some(r#"[true,"object"]"#), "{:?}", report.error);
        let deep = Json::parse("[".repeat(200_000) + &"]".repeat(200_000)).unwrap();
        let report = run_source(&rig, "hostile_args", source.clone(), deep).await;
        assert!(fault(&report).1.contains("args"), "{:?}", report.error);
        let huge = Json::of(&"x".repeat(20 << 20)).unwrap();
        let report = run_source(&rig, "hostile_args", source, huge).await;
        assert!(report.value.is_some() || report.status == RunStatus::Failed, "{report:?}");
    });
}
