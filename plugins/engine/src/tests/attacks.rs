//! Scripts that try to break the bridge, by changing what it is built from or by what they hand it. After each, requests
//! still leave and answers still arrive.

use serde_json::json;

use super::host::{run, value};
use crate::bridge::{Action, Verdict};
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

/// What a script may do to its own world.
const REWRITES: [&str; 19] = [
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
];

#[test]
fn rewritten_built_ins_do_not_reach_the_bridge() {
    for attack in REWRITES {
        survives(attack);
    }
}

/// What must work whatever the attack has done, of what is built on top of the bridge.
const PANELS: &str = "
    const v = await verify(['yyn', 'nny'], { prompt: c => c }), w = await verify(['y'], { voters: 1, lenses: ['n'] });
    const j = await judge(['a', 'b'], { criteria: 'c', judges: 2 });
    const m = merge([[1], null, [2]], 'concat'), b = batch([1, 2, 3], 2), r = await agentResult('s');
    return `${v[0].verdict} ${v[1].denied} ${v[1].votes[2].reason} ${w[0].verdict} ${j.winner} ${j.ranking[1].score} ${m.value[1]} ${m.provenance['/1'][0]} ${b[1][0]} ${b.length} ${r.value} ${budget.spent()} ${budget.total}`";

#[test]
fn rewritten_built_ins_do_not_reach_the_panels() {
    let more = [
        "Object.hasOwn = Object.keys = () => { throw new Error('evil') }",
        "Number.isInteger = () => false",
        "Array.prototype.sort = () => { throw new Error('evil') }",
        "Object.prototype.then = function (resolve) { resolve('evil') }",
        "Object.prototype.voters = Object.prototype.quorum = Object.prototype.judges = 9; Object.prototype.prompt = Object.prototype.agent = Object.prototype.lenses = Object.prototype.key = 'evil'",
        "Object.prototype.affirms = false; Object.prototype.reason = Object.prototype.scores = 'evil'; Object.prototype.claim = 'evil'",
        "Object.prototype.code = 'over-budget'; Object.prototype.schema = Object.prototype.label = 'evil'",
        "Object.prototype.keep = Object.prototype.fail = Object.prototype.index = Object.prototype.score = () => { throw new Error('evil') }",
        "Promise.resolve = Promise.reject = Promise.withResolvers = () => { throw new Error('evil') }",
        "for (const name of ['0', '1', '2', 'length', 'value', 'verdict', 'votes']) Object.defineProperty(Object.prototype, name, { set() { throw new Error('evil') }, get() { return 'evil' }, configurable: true })",
    ];
    for attack in REWRITES.into_iter().chain(more) {
        let body = format!("try {{ {attack} }} catch (e) {{ log(`refused`) }}\n{PANELS}");
        let run = super::host::run_with(&body, &serde_json::Value::Null, super::host::panelist);
        assert_eq!(run.value(), json!("verified 2 r3 refuted 1 1 2 2 3 2 s 0 null"), "{attack}");
        assert_eq!(run.agents()[0].1["label"], json!("verify [0] voter 1"), "{attack}");
    }
}

#[test]
fn what_a_panel_sends_and_records_asks_no_prototype_for_its_json() {
    let body = "Object.prototype.toJSON = Array.prototype.toJSON = function () { return 'evil' };
        const v = await verify(['y'], { voters: 1, prompt: c => c }); const j = await judge(['a'], { criteria: 'c', judges: 1 });
        return `${v[0].verdict} ${j.winner}`";
    let run = super::host::run_with(body, &serde_json::Value::Null, super::host::panelist);
    assert_eq!(run.value(), json!("verified 0"));
    assert_eq!(run.verdicts(), [("y", Verdict::Verified, json!([{"affirms": true, "reason": "r1"}]))]);
}

#[test]
fn hostile_claims_and_options_are_read_once_and_harm_only_themselves() {
    let cases = [
        ("verify(new Proxy([], { get: (t, k) => k === 'length' ? 1e9 : t[k] }))", json!("RangeError")),
        (
            "judge(new Proxy([], { get: (t, k) => k === 'length' ? 1e9 : t[k] }), { criteria: 'c' })",
            json!("RangeError"),
        ),
        (
            "verify([new Proxy({}, { getOwnPropertyDescriptor() { throw new SyntaxError('x') } })])",
            json!("SyntaxError"),
        ),
        ("verify(['y'], new Proxy({}, { ownKeys() { throw new SyntaxError('x') } }))", json!("SyntaxError")),
        ("verify(['y'], { get voters() { throw new SyntaxError('x') } })", json!("SyntaxError")),
        ("verify(['y'], { prompt() { throw new SyntaxError('x') } })", json!("SyntaxError")),
        ("verify(['y'], { agent: { get label() { throw new SyntaxError('x') } } })", json!("SyntaxError")),
        ("judge([{ toJSON() { throw new SyntaxError('x') } }], { criteria: 'c' })", json!("SyntaxError")),
        ("merge([{ get a() { throw new SyntaxError('x') } }], 'deep')", json!("SyntaxError")),
        ("merge(new Proxy([], { get() { throw new SyntaxError('x') } }), 'deep')", json!("SyntaxError")),
        ("merge([{ toString() { return 'x' } }], { toString() { return 'deep' } })", json!("TypeError")),
        ("batch([1], { valueOf() { return 1 } })", json!("TypeError")),
        ("let n = 0; const o = { get voters() { return ++n } }; verify([], o); throw { name: n }", json!(1)),
        (
            "let n = 0; const c = { get claim() { n++; return 'y' } }; verify([c], { voters: 1, prompt: () => 'y' }); throw { name: n }",
            json!(1),
        ),
        (
            "const a = [{ __proto__: null, claim: 'y' }]; verify(a, { voters: 1, prompt() { a.length = 0; return 'y' } }); throw { name: a.length }",
            json!(0),
        ),
    ];
    for (attack, name) in cases {
        assert_eq!(value(&format!("try {{ {attack} }} catch (e) {{ return e.name }}")), name, "{attack}");
    }
    let body = "const m = merge([JSON.parse('{\"__proto__\": {\"polluted\": 1}}')], 'deep'); return [m.value.polluted === undefined, ({}).polluted === undefined, Object.keys(m.value), m.provenance]";
    assert_eq!(value(body), json!([true, true, ["__proto__"], {"/__proto__/polluted": [0]}]));
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
    let offered = [
        "agent",
        "agentResult",
        "tool",
        "workflow",
        "gate",
        "parallel",
        "pipeline",
        "phase",
        "log",
        "budget",
        "batch",
        "merge",
        "verify",
        "judge",
        "console",
    ];
    for name in offered {
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
        for (const f of [agent, agentResult, tool, parallel, pipeline, phase, log, batch, merge, verify, judge, budget.spent, budget.remaining, Object.getOwnPropertyDescriptor(budget, 'total').get, Date.now, Math.random]) {
            for (const name of ['caller', 'arguments', 'callee']) { try { if (f[name]) found.push(name) } catch {} }
            if (f.prototype) found.push('prototype');
        }
        Error.prepareStackTrace = (e, sites) => { found.push(sites) };
        try { agent(1) } catch (e) { void e.stack }
        const names = Object.getOwnPropertyNames(globalThis).filter(name => ['host', 'kit', 'emit', 'emitVerdict', 'prelude', 'settleOptions', 'settleSeat', 'm', 'f', 'meta'].includes(name));
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
    assert_eq!(run.value(), json!("agent(): the options must be an object like { label: 'scan' }, not a string"));
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

#[test]
fn an_answer_too_deep_to_read_is_an_exception_of_the_call_that_asked() {
    let deep = |request: &crate::bridge::Request| match &request.action {
        Action::Tool { name, .. } if name == "a.deep" => {
            crate::bridge::Settlement::Resolved("[".repeat(100_000) + &"]".repeat(100_000))
        }
        _ => super::host::echo(request),
    };
    let body =
        "let code; try { await tool('a.deep', {}) } catch (e) { code = e.code } return [code, await agent('on')]";
    assert_eq!(super::host::run_with(body, &serde_json::Value::Null, deep).value(), json!(["failed", "on"]));
}
