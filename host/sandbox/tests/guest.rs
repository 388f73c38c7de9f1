//! Small guests, written in WebAssembly text and wrapped as components of the worlds in `wit/`.

use std::path::Path;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// The little of WASI the guests below import, under its real names and types.
const WORLDS: &str = r"
package test:guests;

world tool { include vespiary:plugin/tool-plugin@0.1.0; import wasi:clocks/monotonic-clock@0.2.12; import wasi:sockets/tcp@0.2.12; import wasi:http/outgoing-handler@0.2.12; }
world agent { include vespiary:plugin/agent-plugin@0.1.0; }
world engine { include vespiary:plugin/script-engine@0.1.0; import wasi:clocks/monotonic-clock@0.2.12; }

package wasi:io@0.2.12 { interface poll { resource pollable { block: func(); } } }
package wasi:clocks@0.2.12 {
    interface monotonic-clock {
        use wasi:io/poll@0.2.12.{pollable};
        now: func() -> u64;
        subscribe-duration: func(when: u64) -> pollable;
    }
}
package wasi:sockets@0.2.12 { interface tcp { connect: func(); } }
package wasi:http@0.2.12 { interface outgoing-handler { handle: func(); } }
";

/// Memory, an allocator, and ways to answer: what every guest begins with. Text from 2048 up is the guest's own.
const COMMON: &str = r#"
    (memory (export "memory") 1)
    (global $top (mut i32) (i32.const 16384))
    (func (export "cabi_realloc") (param i32 i32 i32) (param $size i32) (result i32) (local $at i32)
        (local.set $at (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
        (global.set $top (i32.add (local.get $at) (local.get $size)))
        (block $fits
            (br_if $fits (i32.le_u (global.get $top) (i32.mul (memory.size) (i32.const 65536))))
            (drop (memory.grow (i32.add (i32.const 1) (i32.div_u (local.get $size) (i32.const 65536))))))
        (local.get $at))
    (func $ok (param $at i32) (param $len i32) (result i32)
        (i32.store8 (i32.const 1024) (i32.const 0))
        (i32.store offset=8 (i32.const 1024) (local.get $at))
        (i32.store offset=12 (i32.const 1024) (local.get $len))
        (i32.const 1024))
    ;; tool-error, case $case, one string
    (func $err (param $case i32) (param $at i32) (param $len i32) (result i32)
        (i32.store8 (i32.const 1024) (i32.const 1))
        (i32.store8 offset=8 (i32.const 1024) (local.get $case))
        (i32.store offset=16 (i32.const 1024) (local.get $at))
        (i32.store offset=20 (i32.const 1024) (local.get $len))
        (i32.const 1024))
"#;

/// A tool plugin whose tools all do `body`. Locals `$name $name-len $args $args-len` hold the call.
pub(crate) fn tool(imports: &str, body: &str) -> Vec<u8> {
    component(
        "tool",
        &format!(
            r#"(module {imports} {COMMON}
            (func (export "vespiary:plugin/tools@0.1.0#describe") (result i32) (i32.const 512))
            (func $call (export "vespiary:plugin/tools@0.1.0#call")
                (param $name i32) (param $name-len i32) (param $args i32) (param $args-len i32) (result i32) {body}))"#
        ),
    )
}

/// A tool plugin that answers with its arguments.
pub(crate) fn echo() -> Vec<u8> {
    tool("", "(call $ok (local.get $args) (local.get $args-len))")
}

/// An agent that hands `tool` its own context, once, and answers with what came back, or with the failed call's case number.
pub(crate) fn agent(tool: &str) -> Vec<u8> {
    let len = tool.len();
    component(
        "agent",
        &format!(
            r#"(module
            (import "vespiary:plugin/dispatch@0.1.0" "call" (func $dispatch (param i32 i32 i32)))
            {COMMON}
            (data (i32.const 2048) "{tool}") (data (i32.const 2304) "null")
            (func (export "vespiary:plugin/agent@0.1.0#describe") (result i32)
                (i32.store offset=8 (i32.const 600) (i32.const 2304)) (i32.store offset=12 (i32.const 600) (i32.const 4))
                (i32.store offset=16 (i32.const 600) (i32.const 2304)) (i32.store offset=20 (i32.const 600) (i32.const 4))
                (i32.const 600))
            (func (export "vespiary:plugin/agent@0.1.0#run")
                (param $prompt i32) (param i32) (param $context i32) (param $context-len i32) (param i32 i32 i32)
                (result i32) (local $first i32)
                (i32.store (i32.const 700) (i32.const 2048)) (i32.store offset=4 (i32.const 700) (i32.const {len}))
                (i32.store offset=8 (i32.const 700) (local.get $context))
                (i32.store offset=12 (i32.const 700) (local.get $context-len))
                (call $dispatch (i32.const 700) (i32.const 1) (i32.const 800))
                (local.set $first (i32.load (i32.const 800)))
                (if (result i32) (i32.load8_u (local.get $first))
                    (then ;; the case, as one digit
                        (i32.store8 (i32.const 900) (i32.add (i32.const 48) (i32.load8_u offset=8 (local.get $first))))
                        (call $ok (i32.const 900) (i32.const 1)))
                    (else (call $ok (i32.load offset=8 (local.get $first)) (i32.load offset=12 (local.get $first)))))))"#
        ),
    )
}

/// An agent that never finishes describing itself.
pub(crate) fn spinning_agent() -> Vec<u8> {
    component(
        "agent",
        &format!(
            r#"(module {COMMON}
            (func (export "vespiary:plugin/agent@0.1.0#describe") (result i32) (loop $l (br $l)) (unreachable))
            (func (export "vespiary:plugin/agent@0.1.0#run") (param i32 i32 i32 i32 i32 i32 i32) (result i32) (unreachable)))"#
        ),
    )
}

/// An engine whose every step does `body` and then waits.
pub(crate) fn engine(imports: &str, body: &str) -> Vec<u8> {
    component(
        "engine",
        &format!(
            r#"(module {imports} {COMMON}
            (data (i32.const 2048) "{{\"name\":\"x\"}}")
            (func (export "vespiary:plugin/script@0.1.0#check") (param i32 i32) (result i32)
                (i32.store offset=4 (i32.const 600) (i32.const 2048)) (i32.store offset=8 (i32.const 600) (i32.const 12))
                (i32.const 600))
            (func (export "vespiary:plugin/script@0.1.0#start") (param i32 i32 i32 i32 i32 i64 i64) (result i32) (i32.const 700))
            (func (export "vespiary:plugin/script@0.1.0#step") (param i32 i32 i64) (result i32) {body} (i32.const 700)))"#
        ),
    )
}

fn component(world: &str, module: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    resolve.push_dir(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../wit"))).expect("wit/ parses");
    let package = resolve.push_str("worlds.wit", WORLDS).expect("the test worlds parse");
    let world = resolve.select_world(&[package], Some(world)).expect("the world exists");
    let mut module = wat::parse_str(module).expect("the guest's text parses");
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false)
        .expect("the guest gets its types");
    ComponentEncoder::default()
        .validate(true)
        .module(&module)
        .and_then(|encoder| encoder.encode())
        .expect("the guest becomes a component")
}
