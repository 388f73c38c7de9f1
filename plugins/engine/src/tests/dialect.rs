//! What a script can do, and the exact rules of what comes back.

use serde_json::{Value, json};

use super::host::{META, Run, echo, run, run_source, run_with, value};
use crate::bridge::{Action, Budget, Completion, Settlement};
use crate::engine::{Engine, State};

#[test]
fn await_and_return_stand_at_the_top_level() {
    assert_eq!(value("return 1 + await Promise.resolve(2)"), json!(3));
    assert_eq!(value("if (args === null) return 'early'\nthrow new Error('late')"), json!("early"));
    assert_eq!(value(""), json!(null));
    assert_eq!(value("return undefined"), json!(null));
    assert_eq!(value("for await (const x of [agent('a')]) return x"), json!("a"));
    assert_eq!(value("return (await agent('x')) + ' // not a comment' // a comment"), json!("x // not a comment"));
}

#[test]
fn a_script_is_strict_and_sees_its_meta() {
    assert_eq!(value("try { undeclared = 1 } catch (e) { return e.name }"), json!("ReferenceError"));
    assert_eq!(value("return [meta.name, meta.description]"), json!(["test", "A test."]));
    assert_eq!(value("'use strict'; return (function () { return this === undefined })()"), json!(true));
}

#[test]
fn args_arrive_as_given() {
    let args = json!({"dir": "src", "deep": [1, 2.5, "é😀", null], "__proto__": {"x": 1}});
    assert_eq!(run_with("return args", &args, echo).value(), args);
    assert_eq!(
        run_with("return [Object.getPrototypeOf(args) === Object.prototype, args.x]", &args, echo).value(),
        json!([true, null])
    );
    assert_eq!(run_with("args.dir = 'other'; return args.dir", &args, echo).value(), json!("other"));
}

#[test]
fn standard_ecmascript_is_there() {
    assert_eq!(
        value(
            "const s = new Set([3, 1]); const m = Object.groupBy([1, 2, 3], n => n % 2 ? 'odd' : 'even');
             return [[...s].toSorted(), m, structured(), 'a-b'.replaceAll('-', '+'), [1, [2]].flat(), /(?<y>\\d{4})/.exec('in 2024').groups.y, `${1n + 2n}`]
             function structured() { return new Map([['k', 1]]).get('k') }"
        ),
        json!([[1, 3], {"odd": [1, 3], "even": [2]}, 1, "a+b", [1, 2], "2024", "3"])
    );
    assert_eq!(value("return [eval('1 + 1'), new Function('a', 'return a * 2')(4)]"), json!([2, 8]));
}

#[test]
fn an_agent_gets_its_prompt_and_options() {
    let run = run("phase('Scan'); const a = await agent('look', { label: 'a', context: { n: 1.5 }, schema: undefined, model: null });
                   phase('Check'); await agent('again'); await agent('mine', { phase: 'Own' }); return a");
    assert_eq!(run.value(), json!("look"));
    assert_eq!(
        run.agents(),
        [
            ("look", json!({"context": {"n": 1.5}, "label": "a", "phase": "Scan"})),
            ("again", json!({"phase": "Check"})),
            ("mine", json!({"phase": "Own"})),
        ]
    );
    let phases: Vec<_> = run
        .requests
        .iter()
        .filter(|request| matches!(request.action, Action::Phase(_)))
        .map(|request| request.id)
        .collect();
    assert_eq!(phases, [1, 3]);
}

#[test]
fn agent_gives_null_when_its_host_says_so() {
    assert_eq!(value("return await agent('null')"), json!(null));
}

#[test]
fn wrong_agent_calls_throw_at_once() {
    let cases = [
        ("agent()", "the prompt must be a string, not undefined"),
        ("agent({ prompt: 'x' })", "the prompt must be a string, not an object"),
        ("agent(Promise.resolve('x'))", "not a promise"),
        ("agent('x', 'y')", "the options must be an object like { label: 'scan' }, not a string"),
        ("agent('x', ['y'])", "not an array"),
        ("agent('x', { agent_type: 'y' })", "no option `agent_type`; did you mean `agentType`?"),
        ("agent('x', { label: 3 })", "`label` must be a string"),
        ("agent('x', { schema: { verdict: 'yes' } })", "no JSON Schema keyword"),
        ("agent('x', { schema: 'object' })", "schema must be a JSON Schema"),
        ("agent('x', { context: () => 1 })", "holds a function, which JSON cannot"),
        ("agent('x', { context: 10n })", "holds a bigint, which JSON cannot"),
        ("const c = {}; c.c = c; agent('x', { context: c })", "agent()'s options contains itself"),
        ("tool('files')", "the name must be a string like 'files.read', not \"files\""),
        ("tool(7)", "not a number"),
        ("tool('files.read', 'README.md')", "the arguments must be an object"),
        ("phase()", "the title must be a string that is not empty, not undefined"),
        ("gate()", "gate() needs the option `title`"),
        ("gate('Deploy?')", "the options must be an object like { title: 'Deploy?', payload: plan }, not a string"),
        ("gate({ title: 'x', payload: () => 1 })", "holds a function, which JSON cannot"),
        ("gate({ title: 'x', approved: true })", "no option `approved`"),
        ("workflow()", "the name must be that of a workflow, like 'review-changes', not undefined"),
        ("workflow('')", "not ''"),
        ("workflow({ scriptPath: 'x.js' })", "not an object"),
        ("workflow('x', () => 1)", "workflow()'s args holds a function, which JSON cannot"),
    ];
    for (call, message) in cases {
        let run = run(&format!("try {{ {call} }} catch (e) {{ return [e instanceof TypeError, e.message] }}"));
        let (value, requests) = (run.value(), run.requests.len());
        assert!(value[0] == json!(true) && value[1].as_str().unwrap().contains(message), "{call}: {value}");
        assert_eq!(requests, 0, "{call}");
    }
}

#[test]
fn a_refused_request_throws_an_error_with_its_code() {
    let body = "\nconst go = async () => {\n  return await agent('reject')\n}\ntry { await go() } catch (e) {
        return [e instanceof Error, e.message, e.code, e.detail, Object.keys(e), e.stack.split('\\n')[0].trim()] }";
    assert_eq!(
        value(body),
        json!([true, "agent() needs spawn:1", "denied", {"needed": "spawn:1"}, ["code", "detail"], "at go (workflow.js:4:16)"])
    );
}

#[test]
fn a_tool_answers_with_its_value() {
    let run = run("return await tool('search.grep', { pattern: 'x', max: 3 })");
    assert_eq!(run.value(), json!({"pattern": "x", "max": 3}));
    assert_eq!(
        run.requests[0].action,
        Action::Tool { name: "search.grep".into(), arguments: r#"{"pattern":"x","max":3}"#.into() }
    );
    assert_eq!(value("return await tool('a.b')"), json!({}));
}

#[test]
fn a_workflow_gets_its_args_and_gives_what_it_returned() {
    let ran = run("return await workflow('inner', { n: 1.5 })");
    assert_eq!(ran.value(), json!({"n": 1.5}));
    assert_eq!(ran.requests[0].action, Action::Workflow { name: "inner".into(), args: r#"{"n":1.5}"#.into() });
    assert_eq!(value("return await workflow('inner')"), json!(null));
    assert_eq!(
        value("try { await workflow('reject') } catch (e) { return [e.code, e.stack.includes('workflow.js:2')] }"),
        json!(["denied", true])
    );
}

#[test]
fn a_gate_sends_what_is_to_be_decided_and_gives_the_decision() {
    let ran = run("return await gate({ title: 'Go?', payload: { n: 0.1 }, expiresIn: undefined })");
    assert_eq!(ran.requests[0].action, Action::Gate(r#"{"title":"Go?","payload":{"n":0.1}}"#.into()));
    assert_eq!(ran.value(), json!({"title": "Go?", "payload": {"n": 0.1}}));
}

#[test]
fn parallel_is_a_barrier_that_never_rejects() {
    let run = run(
        "return await parallel([() => agent('a'), () => { throw new TypeError('b') }, async () => agent('reject'), () => agent('null'), () => 5, () => {}])",
    );
    assert_eq!(run.value(), json!(["a", null, null, null, 5, null]));
    assert_eq!(
        run.logs(),
        [
            "parallel: item [1] became null: it threw TypeError: b (line 2)",
            "parallel: item [2] became null: it threw Error: agent() needs spawn:1 (line 2)",
        ]
    );
    assert_eq!(value("return await parallel([])"), json!([]));
    assert_eq!(
        value(
            "const r = await parallel([() => 1]); return [Array.isArray(r), r.map(x => x + 1), Object.getPrototypeOf(r) === Array.prototype]"
        ),
        json!([true, [2], true])
    );
}

#[test]
fn parallel_starts_everything_before_it_waits() {
    let run = run("let open = 0, most = 0;
        await parallel(Array.from({ length: 20 }, () => async () => { most = Math.max(most, ++open); await agent('x'); open-- }));
        return most");
    assert_eq!((run.value(), run.steps), (json!(20), 2));
}

#[test]
fn pipeline_has_no_barrier_between_stages() {
    // Item 0 is answered first each time, so it must reach the last stage while item 1 still waits in the first.
    let source = format!(
        "{META}const seen = []; await pipeline(['a', 'b'], x => agent(x + 1), x => agent(x + 2), x => {{ seen.push(x) }}); return seen"
    );
    let mut engine = Engine::new().unwrap();
    let mut turn = engine.start(&source, "null", Budget::default());
    let mut queue = turn.requests.clone();
    let mut order = Vec::new();
    while turn.state == State::Waiting {
        // Always the request of item `a` if there is one.
        let mine = queue
            .iter()
            .position(|request| matches!(&request.action, Action::Agent { prompt, .. } if prompt.starts_with('a')))
            .unwrap_or(0);
        let request = queue.remove(mine);
        let Action::Agent { prompt, .. } = &request.action else { unreachable!() };
        order.push(prompt.clone());
        turn = engine
            .step(vec![Completion { id: request.id, settlement: Settlement::Resolved(json!(prompt).to_string()) }], 0);
        queue.extend(turn.requests.clone());
    }
    assert_eq!(order, ["a1", "a12", "b1", "b12"]);
    assert_eq!(turn.state, State::Done(r#"["a12","b12"]"#.to_owned()));
}

#[test]
fn pipeline_stages_get_the_previous_value_the_item_and_the_index() {
    assert_eq!(
        value(
            "return await pipeline(['x', 'y'], (prev, item, index) => [prev, item, index], (prev, item, index) => ({ prev, item, index }))"
        ),
        json!([{"prev": ["x", "x", 0], "item": "x", "index": 0}, {"prev": ["y", "y", 1], "item": "y", "index": 1}])
    );
    assert_eq!(value("return await pipeline([1, 2])"), json!([1, 2]));
    assert_eq!(value("return await pipeline([], x => x)"), json!([]));
}

#[test]
fn a_stage_that_throws_or_gives_null_drops_its_item_alone() {
    let run = run("const later = [];
        const r = await pipeline([0, 1, 2, 3, 4], async n => { if (n === 1) throw new Error('one'); if (n === 2) return null; if (n === 3) return undefined; return n },
            (n, item) => { later.push(item); return item === 4 ? null : n === undefined ? 'undefined passes' : n });
        return { r, later }");
    assert_eq!(run.value(), json!({"r": [0, null, null, "undefined passes", null], "later": [0, 3, 4]}));
    assert_eq!(
        run.logs(),
        [
            "pipeline: item [1] became null: stage 1 threw Error: one (line 3)",
            "pipeline: item [2] became null: stage 1 gave null, so later stages were not called",
        ]
    );
}

#[test]
fn order_is_kept_whatever_order_answers_come_in() {
    let source = format!("{META}return await pipeline([1, 2, 3, 4], n => agent('p' + n), (p, n) => p + n)");
    let mut engine = Engine::new().unwrap();
    let mut turn = engine.start(&source, "null", Budget::default());
    for request in turn.requests.clone().iter().rev() {
        turn = engine.step(
            vec![Completion { id: request.id, settlement: Settlement::Resolved(format!("\"r{}\"", request.id)) }],
            0,
        );
    }
    assert_eq!(turn.state, State::Done(r#"["r11","r22","r33","r44"]"#.to_owned()));
}

#[test]
fn fan_outs_refuse_what_they_cannot_run() {
    let cases = [
        ("parallel(new Array(4097).fill(() => 1))", "RangeError", "4097 items; at most 4096"),
        ("pipeline(new Array(4097).fill(1), x => x)", "RangeError", "4097 items; at most 4096"),
        ("parallel('abc')", "TypeError", "expected an array, not a string"),
        ("parallel(new Set())", "TypeError", "expected an array, not an object"),
        (
            "parallel([() => 1, agent('x')])",
            "TypeError",
            "item [1] must be a function, not a promise; it has been started already",
        ),
        ("pipeline({ length: 1 }, x => x)", "TypeError", "expected an array, not an object"),
        ("pipeline([1], x => x, null)", "TypeError", "stage 2 must be a function, not null"),
    ];
    for (call, name, message) in cases {
        let value = value(&format!("try {{ {call} }} catch (e) {{ return [e.name, e.message] }}"));
        assert!(value[0] == json!(name) && value[1].as_str().unwrap().contains(message), "{call}: {value}");
    }
    assert_eq!(value("return (await parallel(new Array(4096).fill(() => 1))).length"), json!(4096));
}

#[test]
fn a_flood_of_dropped_items_is_counted() {
    let run = run("await parallel(new Array(100).fill(() => { throw 1 }))");
    assert_eq!(run.logs().len(), 11);
    assert_eq!(run.logs()[10], "parallel: 90 more items became null");
}

#[test]
fn log_takes_any_value() {
    let run = run("log('text', 1); log({ a: [1, 2n] }); log(undefined); log(null); log(new TypeError('bad')); log(() => 1); log(Symbol('s'));
        log(new Map([['k', 1]])); log(new Set([1])); console.log('a', 'b'); console.warn('w'); const c = {}; c.c = c; log(c); log('\\ud800'); log()");
    assert_eq!(
        run.logs(),
        [
            "text 1",
            r#"{"a":[1,"2n"]}"#,
            "undefined",
            "null",
            "TypeError: bad",
            "[function]",
            "Symbol(s)",
            r#"Map(1) [["k",1]]"#,
            "Set(1) [1]",
            "a b",
            "warning: w",
            "[a value that cannot be shown]",
            "\u{fffd}",
            "",
        ]
    );
}

#[test]
fn ids_count_up_in_the_order_of_the_script() {
    let run = run("phase('p'); log('l'); await Promise.all([agent('a'), tool('x.y')]); log('m')");
    let ids: Vec<u64> = run.requests.iter().map(|request| request.id).collect();
    assert_eq!(ids, [1, 2, 3, 4, 5]);
}

#[test]
fn the_clock_and_chance_are_refused_with_a_way_out() {
    for call in [
        "Date.now()",
        "new Date()",
        "Date()",
        "Math.random()",
        "new (class extends Date {})()",
        "Reflect.construct(Date, [])",
        "new Date(0).constructor.now()",
    ] {
        let value = value(&format!("try {{ {call} }} catch (e) {{ return [e.name, e.message] }}"));
        let message = value[1].as_str().expect(call);
        assert!(message.contains("each time it runs") && message.contains("through args"), "{call}: {message}");
    }
}

#[test]
fn dates_that_were_given_work() {
    assert_eq!(
        value("const d = new Date('2024-02-29T12:00:00Z'); return [d.toISOString(), d.getTime(), new Date(2024, 0, 1).getMonth(), Date.UTC(1970, 0, 2), Date.parse('1970-01-01T00:00:01Z'),
                 d instanceof Date, d.constructor === Date, Date.name, Date.length, new Date(d).getTime(), Object.prototype.toString.call(d), isNaN(new Date(undefined)),
                 new (class Mine extends Date { year() { return this.getUTCFullYear() } })(0).year()]"),
        json!(["2024-02-29T12:00:00.000Z", 1_709_208_000_000_i64, 0, 86_400_000, 1000, true, true, "Date", 7, 1_709_208_000_000_i64, "[object Date]", true, 1970])
    );
}

#[test]
fn the_world_outside_does_not_exist() {
    let names = "['fetch','process','require','module','setTimeout','setInterval','performance','crypto','navigator','WeakRef','FinalizationRegistry','Atomics','SharedArrayBuffer','print','std','os','gc']";
    assert_eq!(value(&format!("return {names}.filter(name => typeof globalThis[name] !== 'undefined')")), json!([]));
    let body = "try { await import('fs') } catch (e) { return e.message }";
    assert!(value(body).as_str().unwrap().contains("has no modules"), "{}", value(body));
}

#[test]
fn a_thousand_requests_are_in_flight_at_once() {
    let run = run("const first = await parallel(Array.from({ length: 1000 }, (_, i) => () => agent('t' + i)));
                   const more = await Promise.all([1, 2, 3].map(i => agent('m' + i))); return [first.length, first[999], more.length]");
    assert_eq!((run.value(), run.steps), (json!([1000, "t999", 3]), 3));
}

#[test]
fn the_same_answers_give_the_same_requests() {
    let body = "const o = {}; for (const r of await parallel([3, 1, 2].map(n => () => agent('n' + n)))) o[r] = new Map([[r, {}]]);
                await pipeline(Object.keys(o), k => agent(k + JSON.stringify(o)), k => tool('a.b', { k })); return o";
    let (one, two): (Run, Run) = (run(body), run(body));
    assert_eq!((one.requests, one.state), (two.requests, two.state));
}

#[test]
fn unknown_and_repeated_answers_are_ignored() {
    let mut engine = Engine::new().unwrap();
    let turn = engine.start(&format!("{META}log('x'); return await agent('a')"), "null", Budget::default());
    assert_eq!((turn.requests.len(), &turn.state), (2, &State::Waiting));
    let answer = |id, text: &str| Completion { id, settlement: Settlement::Resolved(text.to_owned()) };
    let turn = engine.step(vec![answer(99, "1"), answer(0, "1"), answer(1, "1"), answer(u64::MAX, "1")], 0);
    assert_eq!((turn.requests.len(), &turn.state), (0, &State::Waiting));
    let turn = engine.step(vec![answer(2, "\"first\""), answer(2, "\"second\"")], 0);
    assert_eq!(turn.state, State::Done("\"first\"".to_owned()));
    assert_eq!(engine.step(vec![answer(2, "\"third\"")], 0).state, State::Done("\"first\"".to_owned()));
}

#[test]
fn start_and_step_out_of_turn_are_refused() {
    let mut engine = Engine::new().unwrap();
    assert!(matches!(engine.step(vec![], 0).state, State::Failed(fault) if fault.message.contains("before start")));
    engine.start(&format!("{META}return 1"), "null", Budget::default());
    assert!(
        matches!(engine.start(META, "null", Budget::default()).state, State::Failed(fault) if fault.message.contains("second time"))
    );
    let turn = Engine::new().unwrap().start(META, "{not json", Budget::default());
    assert!(matches!(turn.state, State::Failed(fault) if fault.message.contains("args is not JSON")));
}

#[test]
fn an_example_in_the_style_of_dynamic_workflows_runs_unchanged() {
    let source = r"
// Review a change from several angles, then check every finding.
export const meta = {
  name: 'review-change',
  description: 'Review a change from several angles and check each finding',
  phases: [
    { title: 'Review', detail: 'one reviewer an angle' },
    { title: 'Verify', model: 'small' },
  ],
}

const ANGLES = [
  { key: 'bugs', prompt: 'Find bugs' },
  { key: 'speed', prompt: 'Find slow code' },
]
const FINDINGS = { type: 'object', properties: { findings: { type: 'array', items: { type: 'object' } } }, required: ['findings'] }

phase('Review')
const results = await pipeline(
  ANGLES,
  angle => agent(angle.prompt, { label: `review:${angle.key}`, phase: 'Review', schema: FINDINGS }),
  (review, angle) => parallel(review.findings.map(finding => () =>
    agent(`Refute: ${finding.title}`, { label: `verify:${finding.title}`, phase: 'Verify', schema: { type: 'object', properties: { real: { type: 'boolean' } } } })
      .then(verdict => ({ ...finding, angle: angle.key, verdict })))),
)
const confirmed = results.flat().filter(Boolean).filter(finding => finding.verdict?.real)
log(`${confirmed.length} confirmed`)
return { confirmed }
";
    let run = run_source(source, &Value::Null, |request| match &request.action {
        Action::Agent { prompt, .. } if prompt.starts_with("Find") => {
            Settlement::Resolved(json!({"findings": [{"title": prompt}]}).to_string())
        }
        Action::Agent { prompt, .. } => Settlement::Resolved(json!({"real": prompt.contains("bugs")}).to_string()),
        other => panic!("{other:?}"),
    });
    assert_eq!(run.value(), json!({"confirmed": [{"title": "Find bugs", "angle": "bugs", "verdict": {"real": true}}]}));
    assert_eq!(run.logs(), ["1 confirmed"]);
    assert_eq!(run.agents()[0].1["label"], json!("review:bugs"));
}
