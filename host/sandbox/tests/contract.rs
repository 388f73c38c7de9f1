//! What a guest may import and must answer, and what it is given.

use crate::guest::{agent, echo, spinning_agent, tool};
use crate::nest::{Guests, Nest, ROOM, failure, limit, trap, value};
use std::sync::Arc;
use std::time::Duration;
use vespiary_kernel::call::Failure;
use vespiary_kernel::pool::Capacity;
use vespiary_sandbox::describe::Description;
use vespiary_sandbox::{Allocator, CompileLimits, SandboxConfig};

fn one(component: Vec<u8>) -> Nest {
    Nest::of(Guests::default().with("g", "tools", component, ""))
}

fn unrunnable(failure: &Failure) -> &str {
    match failure {
        Failure::Unrunnable(why) => why,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn each_call_meets_a_fresh_instance() {
    let counts = tool(
        "(global $n (mut i32) (i32.const 48))",
        "(global.set $n (i32.add (global.get $n) (i32.const 1)))
         (i32.store8 (i32.const 900) (global.get $n)) (call $ok (i32.const 900) (i32.const 1))",
    );
    let nest = one(counts);
    for _ in 0..100 {
        assert_eq!(value(&nest.call("g.x", "{}").await), "1");
    }
}

#[tokio::test]
async fn the_pool_is_used_where_it_fits_and_missed_where_it_does_not() {
    assert!(matches!(one(echo()).sandbox.allocator(), Allocator::Pooling { cells } if *cells >= 64));
    // No machine has the address space for this many.
    let capacity = Capacity::of_places(10_000_000, 4, 2, 64);
    let nest = Nest::built(SandboxConfig::new(capacity, Arc::new(Guests::default().with("g", "tools", echo(), ""))));
    assert!(matches!(nest.sandbox.allocator(), Allocator::OnDemand { .. }), "{}", nest.sandbox.allocator());
    assert_eq!(value(&nest.call("g.x", "[2]").await), "[2]");
}

#[tokio::test]
async fn the_network_is_refused_before_anything_runs_and_named() {
    let reach = |interface: &str, function: &str| {
        tool(&format!(r#"(import "{interface}" "{function}" (func))"#), "(unreachable)")
    };
    for (interface, function, remedy) in [
        ("wasi:sockets/tcp@0.2.12", "connect", "no capability"),
        ("wasi:http/outgoing-handler@0.2.12", "handle", "declare in plugin.toml"),
    ] {
        let outcome = one(reach(interface, function)).call("g.x", "{}").await;
        let why = unrunnable(failure(&outcome));
        assert!(why.contains(interface) && why.contains(remedy), "{why}");
    }
    let names = one(echo()).sandbox.imports(reach("wasi:sockets/tcp@0.2.12", "connect")).await.unwrap();
    assert!(names.iter().any(|name| name == "wasi:sockets/tcp@0.2.12"), "{names:?}");
}

#[tokio::test]
async fn what_is_no_tool_plugin_is_refused_with_a_reason() {
    for (component, word) in [
        (b"MZ not wasm".to_vec(), "not WebAssembly"),
        (b"\0asm\x01\0\0\0".to_vec(), "core WebAssembly module"),
        (b"\0asm\x0d\0\x01\0junk".to_vec(), "does not compile"),
        (agent("t.x"), "dispatch"),
    ] {
        let outcome = one(component).call("g.x", "{}").await;
        let why = unrunnable(failure(&outcome));
        assert!(why.contains(word), "{why}");
    }
    let config = SandboxConfig {
        compile: CompileLimits { component_bytes_max: 100, ..CompileLimits::default() },
        ..SandboxConfig::new(ROOM, Arc::new(Guests::default().with("g", "tools", echo(), "")))
    };
    assert_eq!(limit(&Nest::built(config).call("g.x", "{}").await).quota, "component-bytes");
}

#[tokio::test]
async fn a_component_that_compiles_for_too_long_is_given_up() {
    let guests = Arc::new(Guests::default().with("g", "tools", echo(), ""));
    let compile = CompileLimits { compile_time_max: Duration::ZERO, ..CompileLimits::default() };
    let config = SandboxConfig { compile, ..SandboxConfig::new(ROOM, guests) };
    let nest = Nest::built(config);
    for _ in 0..2 {
        assert_eq!(limit(&nest.call("g.x", "{}").await).quota, "compile-time-ms");
    }
}

#[tokio::test]
async fn every_sort_of_trap_has_its_word() {
    for (body, kind) in [
        ("(unreachable)", "unreachable"),
        ("(drop (i32.load (i32.const -4))) (i32.const 0)", "out-of-bounds"),
        ("(i32.div_u (i32.const 1) (i32.const 0))", "division-by-zero"),
        ("(i32.const -8)", "contract"),
    ] {
        assert_eq!(trap(&one(tool("", body)).call("g.x", "{}").await).kind, kind);
    }
}

#[tokio::test]
async fn an_answer_that_is_not_json_or_not_text_breaks_the_contract() {
    let answer = |data: &str, len: u32| {
        tool(&format!(r#"(data (i32.const 4096) "{data}")"#), &format!("(call $ok (i32.const 4096) (i32.const {len}))"))
    };
    for component in [answer("nope", 4), answer("", 0), answer("\\ff\\ff", 2)] {
        assert_eq!(trap(&one(component).call("g.x", "{}").await).kind, "contract");
    }
}

#[tokio::test]
async fn a_guests_own_causes_arrive_as_causes_without_their_escapes() {
    let says = |case: u32| {
        tool(
            r#"(data (i32.const 4096) "\1b[2Jno")"#,
            &format!("(call $err (i32.const {case}) (i32.const 4096) (i32.const 6))"),
        )
    };
    let told = |text: &str| text.to_owned();
    let shown = "\\u{1b}[2Jno";
    assert_eq!(failure(&one(says(0)).call("g.x", "{}").await), &Failure::InvalidArguments(told(shown)));
    assert_eq!(failure(&one(says(1)).call("g.x", "{}").await), &Failure::NotFound(told(shown)));
    let unasked = "it says that it was stopped: nobody stopped it";
    assert_eq!(failure(&one(says(4)).call("g.x", "{}").await), &Failure::Failed(told(unasked)));
    assert_eq!(failure(&one(says(5)).call("g.x", "{}").await), &Failure::Failed(told(shown)));
}

#[tokio::test]
async fn a_panic_message_explains_the_trap() {
    let imports = r#"(import "vespiary:plugin/report@0.1.0" "log" (func $log (param i32 i32 i32)))"#;
    let body = "(call $log (i32.const 3) (i32.const 4096) (i32.const 8)) (unreachable)";
    let outcome = one(tool(imports, &format!("{body}) (data (i32.const 4096) \"panicked\""))).call("g.x", "{}").await;
    assert!(trap(&outcome).message.ends_with("it last said: panicked"), "{}", trap(&outcome).message);
    assert_eq!(outcome.log[0].text, "panicked");
}

#[tokio::test]
async fn a_scope_that_is_missing_is_named_before_anything_runs() {
    let temp = tempfile::tempdir().unwrap();
    let need = "[[needs]]\ncapability='read:.'\nreason='r'\n";
    let nest = Nest::of(Guests::default().with("g", "tools", echo(), need)).at(temp.path());
    let outcome = nest.call_with("g.x", "1", &["tool:*", "read:gone"]).await;
    assert!(matches!(failure(&outcome), Failure::NotFound(why) if why.contains("read:gone")), "{:?}", outcome.ending);
    assert_eq!(value(&nest.call_with("g.x", "1", &["tool:*", "read:."]).await), "1");
}

fn agents() -> Nest {
    let needs = "[[needs]]\ncapability='tool:*'\nreason='r'\n";
    let spin = tool("", "(loop $l (br $l)) (unreachable)");
    Nest::of(
        Guests::default()
            .with("echo", "tools", echo(), "")
            .with("spin", "tools", spin, "[quota]\ncpu-time-ms-max = 200")
            .with("asks", "agent", agent("echo.x"), needs)
            .with("waits", "agent", agent("spin.x"), &format!("{needs}[quota]\ncpu-time-ms-max = 100"))
            .with("lost", "agent", agent("gone.x"), needs)
            .with("poor", "agent", agent("echo.x"), &format!("{needs}[quota]\ntool-calls-max = 0")),
    )
}

#[tokio::test]
async fn an_agent_asks_for_tools_and_answers() {
    let nest = agents();
    let outcome = nest.call("asks.run", r#"{"prompt":"p","context":{"a":1}}"#).await;
    assert_eq!((value(&outcome), outcome.usage.tool_calls), (r#"{"a":1}"#, 1));
    assert_eq!(value(&nest.call("asks.run", r#"{"prompt":"p"}"#).await), "null", "a context left out is null");
    let outcome = nest.call("asks.run", r#"{"prompt":1}"#).await;
    assert!(
        matches!(failure(&outcome), Failure::InvalidArguments(why) if why.contains("prompt")),
        "{:?}",
        outcome.ending
    );
}

#[tokio::test]
async fn an_agent_hears_why_a_tool_failed() {
    let nest = agents();
    let task = r#"{"prompt":"p","context":1}"#;
    // The digit is the case of `tool-error`: not-found 1, denied 2, limit 3.
    assert_eq!(value(&nest.call("lost.run", task).await), "1");
    assert_eq!(value(&nest.call("poor.run", task).await), "3");
    assert_eq!(value(&nest.call_with("asks.run", task, &["tool:asks.run", "tool:spin.x"]).await), "2");
}

#[tokio::test]
async fn waiting_for_a_tool_is_not_an_agents_processor_time() {
    let outcome = agents().call("waits.run", r#"{"prompt":"p","context":1}"#).await;
    assert_eq!(value(&outcome), "3", "the tool hit its own limit of 200 ms");
    assert!(outcome.usage.cpu_us < 100_000 && outcome.usage.wall_us >= 200_000, "{:?}", outcome.usage);
}

#[tokio::test]
async fn a_component_describes_itself_in_an_empty_cell() {
    let guests = Guests::default().with("g", "tools", echo(), "").with("a", "agent", agent("g.x"), "");
    let (tools, brain) = (guests.plugin("g"), guests.plugin("a"));
    let nest = Nest::of(guests);
    assert!(matches!(nest.sandbox.describe(&tools).await.unwrap(), Description::Tools(tools) if tools.is_empty()));
    let Description::Agent(agent) = nest.sandbox.describe(&brain).await.unwrap() else { panic!() };
    assert_eq!(agent.context_schema.as_str(), "null");
    let spin = Guests::default().with("g", "agent", spinning_agent(), "[quota]\ncpu-time-ms-max = 30");
    let plugin = spin.plugin("g");
    let hit = Nest::of(spin).sandbox.describe(&plugin).await.unwrap_err();
    assert!(matches!(hit, Failure::Limit(hit) if hit.quota == "cpu-time-ms" && hit.limit == 30));
}

/// Whoever waits for what a server offers waits for every plugin's description.
#[tokio::test]
async fn a_description_is_short_whatever_the_manifest_asks_for() {
    let hour = "[quota]\ncpu-time-ms-max = 3600000\nwall-time-ms-max = 3600000\nidle-time-ms-max = 3600000";
    let spin = Guests::default().with("g", "agent", spinning_agent(), hour);
    let plugin = spin.plugin("g");
    let Failure::Limit(hit) = Nest::of(spin).sandbox.describe(&plugin).await.unwrap_err() else { panic!() };
    assert!(hit.limit <= 10_000, "{hit:?}");
    let described = async |count: &str| {
        let many = tool(&format!(r#"(data (i32.const 512) "\00\10\00\00{count}")"#), "(unreachable)");
        let guests = Guests::default().with("g", "tools", many, "");
        let plugin = guests.plugin("g");
        Nest::of(guests).sandbox.describe(&plugin).await.unwrap_err().to_string()
    };
    let too_many = described(r"\01\01\00\00").await;
    assert!(too_many.contains("it describes 257 tools"), "{too_many}");
    let nameless = described(r"\00\01\00\00").await;
    assert!(nameless.contains("a tool's name"), "{nameless}");
}

#[tokio::test]
async fn a_limit_a_tool_claims_is_its_own_word() {
    let says = tool(r#"(data (i32.const 4096) "tea")"#, "(call $err (i32.const 3) (i32.const 4096) (i32.const 3))");
    let why = "it says that a limit was met: tea is limited to 0; the call used 0";
    assert_eq!(failure(&one(says).call("g.x", "{}").await), &Failure::Failed(why.to_owned()));
}
