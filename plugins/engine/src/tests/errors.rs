//! What goes wrong, and whether it is reported at its exact place.

use serde_json::{Value, json};

use super::host::{META, echo, run, run_source, value};
use crate::engine::Engine;
use crate::fault::{Fault, Kind};

fn check(body: &str) -> Result<String, Fault> {
    Engine::new().unwrap().check(&format!("{META}{body}"))
}

/// Kind, line and column; `META` is line 1.
fn place(fault: &Fault) -> (Kind, u32, u32) {
    (fault.kind, fault.place.line, fault.place.column)
}

#[test]
fn check_gives_meta_and_runs_nothing() {
    let mut engine = Engine::new().unwrap();
    let source = "export const meta = { name: 'n', description: 'd', phases: [{ title: 'A' }], more: { x: [1, -2.5] } }\nglobalThis.ran = true; agent('x'); while (true) {}";
    let meta: Value = serde_json::from_str(&engine.check(source).unwrap()).unwrap();
    assert_eq!(meta, json!({"name": "n", "description": "d", "phases": [{"title": "A"}], "more": {"x": [1, -2.5]}}));
    let turn = engine.start(&format!("{META}return typeof ran"), "null", crate::bridge::Budget::default());
    assert_eq!((turn.requests.len(), turn.state), (0, crate::engine::State::Done("\"undefined\"".to_owned())));
}

#[test]
fn syntax_errors_are_found_at_their_place_without_running() {
    let cases = [
        ("let = 1", 2, 5, "variable name expected"),
        ("const x = ;", 2, 11, "unexpected token in expression: ';'"),
        ("agent('x')\n\n  foo bar\n", 4, 7, "unexpected `bar`"),
        ("const é = 'ü'; foo bar", 2, 20, "unexpected `bar`"),
        ("/* two\r\nlines */\tfoo bar", 3, 14, "unexpected `bar`"),
        ("const t = `a\nb\n${1}`; foo bar", 4, 12, "unexpected `bar`"),
        ("if (true) {\n  log('x'))\n}", 3, 11, "unexpected `)`"),
        ("const a = 1\nconst a = 2\n", 3, 9, "redefinition"),
        ("const meta = 1; log(meta)", 2, 12, "redefinition"),
        ("log('open", 2, 5, "end of string"),
        ("with (x) {}", 2, 1, "with"),
        ("function f() { await x }", 2, 22, "unexpected `x`"),
        ("var x = 08", 2, 9, "Octal"),
        ("break", 2, 6, "break must be inside"),
        ("x ==== y", 2, 6, "unexpected token in expression: '='"),
        ("yield 1", 2, 1, "yield"),
        ("5 = 6", 2, 5, "left-hand side"),
        ("async () => { for await (x of y) }", 2, 34, "unexpected token"),
        ("let x; let y; let x", 2, 20, "redefinition"),
        ("log(new.target)", 2, 9, "new.target"),
        ("super.x()", 2, 6, "super"),
    ];
    for (body, line, column, message) in cases {
        let fault = check(body).expect_err(body);
        assert_eq!(place(&fault), (Kind::Syntax, line, column), "{body}: {}", fault.message);
        assert!(fault.message.contains(message), "{body}: {}", fault.message);
        let started = run(body);
        assert_eq!(place(started.fault()), place(&fault), "{body}");
        assert!(started.requests.is_empty());
    }
}

#[test]
fn an_error_on_the_line_of_meta_has_its_own_column() {
    let source = "export const meta = { name: 'n', description: 'd' }; foo bar";
    assert_eq!(place(&Engine::new().unwrap().check(source).unwrap_err()), (Kind::Syntax, 1, 58));
    let source = "export const meta = { name: 'n', description: 'd' }; const a = 1; a.b.c";
    assert_eq!(place(run_source(source, &Value::Null, echo).fault()), (Kind::Thrown, 1, 67));
    let source = "/* é */ 'use strict'\nexport const meta = { name: 'n',\n description: 'd' }; const a = 1; a.b.c";
    assert_eq!(place(run_source(source, &Value::Null, echo).fault()), (Kind::Thrown, 3, 35));
}

#[test]
fn a_brace_too_many_or_too_few_is_explained() {
    let stray =
        [("log(1)\n}", 3, 1), ("log(1) }\nlog(2)", 2, 8), ("if (args) {}}\n", 2, 13), ("}} agent('x'); {{", 2, 1)];
    for (body, line, column) in stray {
        let fault = check(body).expect_err(body);
        assert_eq!(place(&fault), (Kind::Syntax, line, column), "{body}: {}", fault.message);
        assert!(fault.message.contains("closes nothing"), "{body}: {}", fault.message);
        assert!(run(body).requests.is_empty());
    }
    for body in
        ["if (args) {\n  log(1)\n", "log((1\n", "log([1, 2", "return {", "while (1) { if (2) {}", "log(1) /* never"]
    {
        let fault = check(body).expect_err(body);
        assert_eq!(fault.kind, Kind::Syntax);
        assert!(
            fault.message.contains("ends before it is complete") || fault.message.contains("end of comment"),
            "{body}: {fault}"
        );
    }
}

#[test]
fn modules_are_refused_with_a_way_out() {
    for (body, message) in [
        ("import fs from 'fs'", "a workflow has no modules"),
        ("import { a } from './a.js'", "a workflow has no modules"),
        ("import 'x'", "a workflow has no modules"),
        ("log(import.meta.url)", "a workflow has no modules"),
        ("export default 1", "may be exported"),
        ("export const other = 1", "may be exported"),
        ("const x = 1; export { x }", "may be exported"),
    ] {
        let fault = check(body).expect_err(body);
        assert!(fault.kind == Kind::Syntax && fault.message.contains(message), "{body}: {fault}");
        assert_eq!(fault.place.line, 2);
    }
}

#[test]
fn a_fault_of_meta_comes_before_everything_else() {
    let fault = Engine::new().unwrap().check("const x = ;").unwrap_err();
    assert_eq!(place(&fault), (Kind::Meta, 1, 1));
    assert_eq!(place(run_source("log(1)", &Value::Null, echo).fault()), (Kind::Meta, 1, 1));
}

#[test]
fn an_uncaught_error_has_message_place_and_stack() {
    let run =
        run("function inner(x) {\n  return x.field\n}\n\nconst outer = () => inner(null)\nlog('before')\nouter()");
    let fault = run.fault();
    assert_eq!(place(fault), (Kind::Thrown, 3, 10));
    assert_eq!(fault.message, "TypeError: cannot read property 'field' of null");
    assert_eq!(
        fault.stack,
        "at inner (workflow.js:3:10)\nat outer (workflow.js:6:27)\nat <anonymous> (workflow.js:8:1)"
    );
    assert_eq!(run.logs(), ["before"]);
}

#[test]
fn the_place_of_a_refused_request_is_its_call() {
    let run = run("const go = name =>\n  agent(name)\nawait go('ok')\nawait go('reject')");
    assert_eq!((run.fault().kind, run.fault().place.line), (Kind::Thrown, 3));
    assert_eq!(run.fault().message, "Error: agent() needs spawn:1");
    assert!(run.fault().stack.contains("workflow.js:5:"), "{}", run.fault().stack);
}

#[test]
fn errors_after_an_await_keep_their_place() {
    assert_eq!(place(run("await agent('x')\n\nundefinedFunction()").fault()), (Kind::Thrown, 4, 1));
    let columns = run("const ß = 'ü'; await agent('x'); ß.x.y");
    assert_eq!(place(columns.fault()), (Kind::Thrown, 2, 34));
    // Where the interpreter keeps no position there is none, rather than a wrong one.
    assert_eq!(place(run("const { b } = null").fault()), (Kind::Thrown, 0, 0));
}

#[test]
fn what_is_not_a_function_is_named() {
    for (body, message) in [
        ("const o = { a: {} }; o.a.run(1)", "TypeError: o.a.run is not a function"),
        ("const f = 1; f()", "TypeError: f is not a function"),
        ("const f = () => 1; f()()", "TypeError: not a function"),
        ("const f = 1; ;[1].map(f)", "TypeError: not a function"),
    ] {
        assert_eq!(run(body).fault().message, message, "{body}");
    }
}

#[test]
fn names_of_other_worlds_are_explained() {
    for (body, hint) in
        [("fetch('x')", "no network"), ("require('fs')", "no modules"), ("setTimeout(() => 1, 5)", "no clock")]
    {
        let run = run(body);
        assert!(run.fault().message.contains(hint), "{body}: {}", run.fault());
    }
}

#[test]
fn whatever_is_thrown_is_reported() {
    for (thrown, message) in [
        ("'text'", "the script threw \"text\", which is not an Error"),
        ("undefined", "threw undefined"),
        ("null", "threw null (or ran out of memory"),
        ("{ code: 7 }", "threw {\"code\":7}"),
        ("10n", "threw 10n"),
        ("Symbol('s')", "threw Symbol(s)"),
        ("new RangeError('far')", "RangeError: far"),
        ("new (class Custom extends Error { name = 'Custom' })('own')", "Custom: own"),
        ("new Error('')", "Error"),
        ("new AggregateError([], 'many')", "AggregateError: many"),
    ] {
        let run = run(&format!("throw {thrown}"));
        assert!(run.fault().kind == Kind::Thrown && run.fault().message.contains(message), "{thrown}: {}", run.fault());
    }
}

#[test]
fn results_that_json_cannot_hold_are_errors() {
    for (result, message) in [
        ("() => 1", "the value returned by the script holds a function"),
        ("{ a: [{ f() {} }] }", "at key \"f\", holds a function"),
        ("{ n: 10n }", "holds a bigint, which JSON cannot; convert it"),
        ("Symbol('x')", "holds a symbol"),
        ("(() => { const c = []; c.push(c); return c })()", "contains itself"),
        ("{ toJSON() { throw new Error('no') } }", "Error: no"),
    ] {
        let run = run(&format!("return {result}"));
        assert!(run.fault().kind == Kind::Thrown && run.fault().message.contains(message), "{result}: {}", run.fault());
    }
    assert_eq!(
        value("return { a: undefined, b: NaN, c: [undefined], d: new Date(0), e: '\\ud800' }"),
        json!({"b": null, "c": [null], "d": "1970-01-01T00:00:00.000Z", "e": "\u{fffd}"})
    );
}

#[test]
fn a_promise_that_nothing_settles_is_a_stall() {
    let run = run("await agent('x'); await new Promise(() => {})");
    assert_eq!(run.fault().kind, Kind::Stalled);
    assert!(run.fault().message.contains("nothing will settle"));
}

#[test]
fn deep_recursion_is_a_range_error() {
    assert_eq!(value("function f() { return f() + 1 } try { f() } catch (e) { return e.name }"), json!("RangeError"));
    assert_eq!(
        value("const o = { toString() { return `${o}` } }; try { String(o) } catch (e) { return e.name }"),
        json!("RangeError")
    );
    assert_eq!(
        value(
            "let a = []; for (let i = 0; i < 1e5; i++) a = [a]; try { JSON.stringify(a) } catch (e) { return e.name }"
        ),
        json!("RangeError")
    );
    let run = run("const f = n => f(n + 1) + 1\nf(0)");
    assert!(
        run.fault().message.starts_with("RangeError: Maximum call stack size exceeded (a function calls itself"),
        "{}",
        run.fault()
    );
    assert_eq!(run.fault().place.line, 2);
    // The engine is still whole.
    assert_eq!(value("try { (function f() { f() })() } catch {} return await agent('after')"), json!("after"));
}

#[test]
fn exhausted_memory_is_an_exception() {
    let run = run(
        "let hold = []; let caught; try { for (;;) hold.push('x'.repeat(1 << 20) + hold.length) } catch (e) { hold = null; caught = `${e}` } return [caught, await agent('after')]",
    );
    assert_eq!(run.value(), json!(["InternalError: out of memory", "after"]));
}

#[test]
fn exhausted_memory_that_nothing_catches_is_reported() {
    let run = run("const hold = []; for (;;) hold.push('x'.repeat(1 << 20) + hold.length)");
    assert!(
        run.fault().message.contains("out of memory") && run.fault().message.contains("192 MiB"),
        "{}",
        run.fault()
    );
}

#[test]
fn rejections_that_nothing_awaits_are_warnings() {
    let run = run(
        "Promise.reject(new Error('lost'))\nagent('reject')\nconst late = agent('reject'); await agent('x'); try { await late } catch {}\nreturn 1",
    );
    assert_eq!(run.value(), json!(1));
    assert_eq!(
        run.logs(),
        [
            "warning: a promise was rejected and nothing awaited it: Error: lost (line 2)",
            "warning: a promise was rejected and nothing awaited it: Error: agent() needs spawn:1 (line 3)",
        ]
    );
    let run = super::host::run("queueMicrotask(() => { throw new Error('micro') }); await agent('x'); return 2");
    assert_eq!(
        (run.value(), run.logs()),
        (json!(2), vec!["warning: a microtask threw and nothing caught it: Error: micro"])
    );
}

#[test]
fn a_failed_script_warns_of_its_lost_rejections_but_not_of_itself() {
    let run = run("Promise.reject(new Error('lost')); throw new Error('main')");
    assert_eq!(run.fault().message, "Error: main");
    assert_eq!(run.logs().len(), 1);
}

#[test]
fn a_nul_character_and_other_odd_bytes_are_refused() {
    assert_eq!(place(&check("log('a\0b')").unwrap_err()), (Kind::Syntax, 2, 7));
    assert_eq!(check("log('\u{2028} \u{feff}')\r\nlog(2)\r\n").map(|_| ()), Ok(()));
}

#[test]
fn no_mutation_of_a_script_confuses_the_reader() {
    let script = "'use strict' // é\nexport const meta = { name: 'ü', description: `d`, phases: [{ title: \"\\u{1F600}\" }], n: -0x1f }; const a = 1\n\
                  for (const x of [1, 2]) { await agent(`p${x} }`, { label: 'l' }) }\r\nreturn /[}]/.test('é') ? {} : (() => 1)()\n";
    let characters: Vec<char> = script.chars().collect();
    let inserts: Vec<char> = "{}()[]'\"`\\/*;,:é\u{2028}\r\n\0-.0x$ \u{feff}#".chars().collect();
    // A fixed sequence: the same mutations each time.
    let mut seed = 0x2545_f491_u64;
    let mut next = |bound: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap_or(0) % bound
    };
    let (mut good, mut bad) = (0, 0);
    let mut engine = Engine::new().unwrap();
    for round in 0..3000 {
        let mut mutated = characters.clone();
        for _ in 0..=next(3) {
            let at = next(mutated.len());
            match next(3) {
                0 => mutated[at] = inserts[next(inserts.len())],
                1 => mutated.insert(at, inserts[next(inserts.len())]),
                _ => drop(mutated.remove(at)),
            }
        }
        let mutated: String = mutated.into_iter().collect();
        match engine.check(&mutated) {
            Ok(_) => good += 1,
            Err(fault) => {
                bad += 1;
                assert!(matches!(fault.kind, Kind::Syntax | Kind::Meta), "{mutated}: {fault}");
                let lines = u32::try_from(mutated.split('\n').count()).unwrap();
                assert!((1..=lines).contains(&fault.place.line) && fault.place.column >= 1, "{mutated}: {fault}");
                assert!(!fault.message.is_empty(), "{mutated}");
            }
        }
        // A script that is no function breaks its realm; a fresh one now and then keeps the rounds apart.
        if round % 100 == 99 {
            engine = Engine::new().unwrap();
        }
    }
    assert!(good > 200 && bad > 1000, "{good} good, {bad} bad");
}
