//! Scripts that try to break the bridge, by changing what it is built from or by what they hand it. After each, requests
//! still leave and answers still arrive.

use serde_json::json;

use super::host::{run, value};
use crate::bridge::Action;
use crate::fault::Kind;

/// What must work whatever the attack has done.
const BRIDGE: &str = "
    phase('P'); log('line');
    const one = await agent('a', { label: 'l', context: { k: [1] } }), two = (await tool('t.u', { x: 1 })).x;
    const three = (await parallel([() => agent('b'), () => { throw 0 }]))[0];
    const four = (await pipeline(['c'], x => agent(x), x => x + '!'))[0];
    try { await agent('reject') } catch (e) { return `${one} ${two} ${three} ${four} ${e.code}` }";

fn survives(attack: &str) {
    // Some attacks are refused with an exception; that is a way to survive too.
    let run = run(&format!("try {{ {attack} }} catch (e) {{ log(`refused`) }}\n{BRIDGE}"));
    assert_eq!(run.value(), json!("a 1 b c! denied"), "{attack}");
    assert_eq!(run.agents()[0], ("a", json!({"context": {"k": [1]}, "label": "l", "phase": "P"})), "{attack}");
}

#[test]
fn rewritten_built_ins_do_not_reach_the_bridge() {
    for attack in [
        "JSON.stringify = () => '{\"agentType\":\"evil\"}'; JSON.parse = () => 'evil'",
        "globalThis.JSON = undefined",
        "Array.prototype.then = function (resolve) { resolve('evil') }",
        "Object.defineProperty(Array.prototype, '0', { set() {}, get() { return 'evil' }, configurable: true })",
        "Array.prototype[Symbol.iterator] = function* () { yield 'evil' }",
        "Array.isArray = () => false; Array.prototype.map = Array.prototype.push = () => { throw new Error('evil') }; Array.prototype.push = function (v) { this[this.length] = v }",
        "Object.prototype.get = Object.prototype.set = () => { throw new Error('evil') }; Object.prototype.value = 'evil'",
        "Map.prototype.get = Map.prototype.set = Map.prototype.delete = () => { throw new Error('evil') }",
        "globalThis.Map = globalThis.Error = globalThis.TypeError = globalThis.Object = globalThis.Array = undefined",
        "globalThis.Promise = class Evil { constructor() { throw new Error('evil') } }",
        "Function.prototype.call = Function.prototype.apply = Function.prototype.bind = () => { throw new Error('evil') }",
        "String.prototype.toWellFormed = String.prototype.includes = () => { throw new Error('evil') }",
        "Error.captureStackTrace = () => { throw new Error('evil') }; Error.stackTraceLimit = 0",
        "Error.prepareStackTrace = () => { throw new Error('evil') }",
        "Object.defineProperty(Error.prototype, 'message', { get() { throw new Error('evil') }, configurable: true })",
        "Reflect.construct = Reflect.apply = () => { throw new Error('evil') }",
        "Object.setPrototypeOf = Object.defineProperty = Object.freeze = () => { throw new Error('evil') }",
        "Promise.resolve = Promise.all = () => { throw new Error('evil') }",
        "Object.defineProperty(Function.prototype, Symbol.hasInstance, { value: () => true })",
    ] {
        survives(attack);
    }
}

#[test]
fn what_await_depends_on_cannot_be_changed() {
    for attack in [
        "Promise.prototype.then = () => { throw new Error('evil') }",
        "Object.defineProperty(Promise.prototype, 'then', { value: () => {} })",
        "Promise.prototype.constructor = class {}",
        "Object.defineProperty(Promise, Symbol.species, { value: class {} })",
        "delete Promise.prototype.then",
    ] {
        assert_eq!(
            run(&format!("try {{ {attack} }} catch (e) {{ return e.name }}")).value(),
            json!("TypeError"),
            "{attack}"
        );
        survives(attack);
    }
}

#[test]
fn what_the_engine_offers_cannot_be_replaced() {
    for name in ["agent", "tool", "parallel", "pipeline", "phase", "log"] {
        for attack in [
            format!("globalThis.{name} = () => 'evil'"),
            format!("delete globalThis.{name}"),
            format!("Object.defineProperty(globalThis, '{name}', {{ value: 1 }})"),
            format!("{name}.extra = 1"),
        ] {
            assert_eq!(
                value(&format!("try {{ {attack} }} catch (e) {{ return e.name }}")),
                json!("TypeError"),
                "{attack}"
            );
        }
    }
    // Its own variables may have those names.
    assert_eq!(value("const log = x => x; return log('mine')"), json!("mine"));
}

#[test]
fn the_inside_of_the_prelude_cannot_be_reached() {
    let body = "
        const found = [];
        for (const f of [agent, tool, parallel, pipeline, phase, log, Date.now, Math.random]) {
            for (const name of ['caller', 'arguments', 'callee']) { try { if (f[name]) found.push(name) } catch {} }
            if (f.prototype) found.push('prototype');
        }
        Error.prepareStackTrace = (e, sites) => { found.push(sites) };
        try { agent(1) } catch (e) { void e.stack }
        const names = Object.getOwnPropertyNames(globalThis).filter(name => ['host', 'emit', 'prelude', 'settleOptions', 'm', 'f', 'meta'].includes(name));
        return [found, names]";
    assert_eq!(value(body), json!([[], []]));
    let real = "return [new Date(0).constructor, Object.getPrototypeOf(new Date(0)).constructor, Object.getPrototypeOf(class extends Date {})].every(d => d === Date)";
    assert_eq!(value(real), json!(true));
}

#[test]
fn options_are_read_once_and_judged_as_sent() {
    // A getter that changes its answer: what is checked is what is sent.
    let run =
        run("let n = 0; const o = { get label() { return n++ === 0 ? 'good' : 7 } }; await agent('x', o); return n");
    assert_eq!((run.value(), run.agents()[0].1.clone()), (json!(1), json!({"label": "good"})));
    let run = super::host::run("const o = new Proxy({}, { ownKeys: () => ['label'], getOwnPropertyDescriptor: () => ({ enumerable: true, configurable: true, value: 1 }), get: (t, k) => k === 'label' ? 'proxied' : undefined });
        await agent('x', o); return 1");
    assert_eq!(run.agents()[0].1, json!({"label": "proxied"}));
}

#[test]
fn getters_that_throw_or_call_back_are_only_exceptions_and_requests() {
    let run = run("try { agent('x', { get label() { throw new Error('mine') } }) } catch (e) { log(e.message) }
        await agent('outer', { get label() { agent('inner'); return 'l' } });
        await agent('y', { toJSON() { return { label: 'from toJSON' } } });
        try { agent('z', { toJSON() { return 'text' } }) } catch (e) { return e.message }");
    assert_eq!(
        run.value(),
        json!("agent(prompt, options): the options must be an object like { label: 'scan' }, not a string")
    );
    assert_eq!(run.logs(), ["mine"]);
    let prompts: Vec<&str> = run.agents().iter().map(|(prompt, _)| *prompt).collect();
    assert_eq!(prompts, ["inner", "outer", "y"]);
}

#[test]
fn hostile_arrays_are_read_once() {
    assert_eq!(
        value(
            "const a = [1, 2, 3]; const r = await pipeline(a, x => { a.length = 0; a.push(9, 9, 9, 9); return x }); return r"
        ),
        json!([1, 2, 3])
    );
    let body = "const p = new Proxy([], { get: (t, k) => k === 'length' ? 1e9 : t[k] }); try { parallel(p) } catch (e) { return e.name }";
    assert_eq!(value(body), json!("RangeError"));
    assert_eq!(
        value("const r = await pipeline([, 1], x => x === undefined ? 'hole' : x); return r"),
        json!(["hole", 1])
    );
}

#[test]
fn hostile_errors_are_described_without_harm() {
    for thrown in [
        "new Proxy(new Error('x'), { get() { throw 1 } })",
        "Object.defineProperty(new Error('x'), 'message', { get() { throw 1 } })",
        "Object.assign(new Error('x'), { name: { toString() { throw 1 } }, stack: 5 })",
        "{ get a() { throw 1 } }",
        "new Proxy({}, { ownKeys() { throw 1 }, get() { throw 1 } })",
        "Object.assign(new Error('x'), { stack: '    at f (workflow.js:99999:1)\\n    at g (workflow.js:0:0)' })",
        "Object.create(null)",
    ] {
        let run = run(&format!("throw {thrown}"));
        assert_eq!(run.fault().kind, Kind::Thrown, "{thrown}");
        assert!(!run.fault().message.is_empty(), "{thrown}");
    }
}

#[test]
fn thenables_and_odd_promises_are_ordinary_values() {
    assert_eq!(
        value(
            "return await parallel([() => ({ then(resolve) { resolve('thenable') } }), () => ({ then() { throw new Error('x') } })])"
        ),
        json!(["thenable", null])
    );
    assert_eq!(run("return await parallel([() => ({ then() {} })])").fault().kind, Kind::Stalled);
    assert_eq!(
        value(
            "class Mine extends Promise {} return await pipeline([1], x => Mine.resolve(x + 1), x => new Mine(r => r(x + 1)))"
        ),
        json!([3])
    );
}

#[test]
fn text_that_is_not_well_formed_leaves_well_formed() {
    let run = run(
        "phase('\\ud800'); await agent('p\\udc00', { label: '\\ud83d', context: { '\\udfff': ['\\\\ud800', '\\ud800'] } }); await tool('a.\\ud800', { k: '\\udbff' }); return '\\ud800'",
    );
    assert_eq!(run.value(), json!("\u{fffd}"));
    assert_eq!(
        run.agents()[0],
        (
            "p\u{fffd}",
            json!({"label": "\u{fffd}", "phase": "\u{fffd}", "context": {"\u{fffd}": ["\\ud800", "\u{fffd}"]}})
        )
    );
    assert!(
        run.requests.iter().any(|request| request.action
            == Action::Tool { name: "a.\u{fffd}".into(), arguments: "{\"k\":\"\\ufffd\"}".into() })
    );
}

#[test]
fn answers_cannot_set_prototypes() {
    assert_eq!(
        value(
            "const r = await tool('a.b', JSON.parse('{\"__proto__\": {\"polluted\": true}}')); return [r.polluted === undefined, Object.keys(r), ({}).polluted === undefined]"
        ),
        json!([true, ["__proto__"], true])
    );
}
