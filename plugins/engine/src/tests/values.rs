//! What a script learns and computes without an agent's answer: the budget, how an agent ended, chunks and merges.

use serde_json::{Value, json};

use super::host::{META, refusal, run, run_with, value};
use crate::bridge::{Action, Budget, Completion, Settlement};
use crate::engine::{Engine, State};

fn done(state: &State) -> Value {
    match state {
        State::Done(json) => serde_json::from_str(json).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_budget_is_that_of_the_last_step() {
    let body = "const seen = []; const look = () => seen.push([budget.total, budget.spent(), budget.remaining()]);
        look(); await agent('a'); look(); await Promise.resolve(); look(); await agent('b'); look(); return seen";
    let mut engine = Engine::new().unwrap();
    let budget = Budget { total: Some(1000), spent: 10 };
    let mut turn = engine.start(&format!("{META}{body}"), "null", budget);
    for (id, spent) in [(1, 400), (2, 1200)] {
        assert_eq!(turn.state, State::Waiting);
        turn = engine.step(vec![Completion { id, settlement: Settlement::Resolved("1".to_owned()) }], spent);
    }
    assert_eq!(done(&turn.state), json!([[1000, 10, 990], [1000, 400, 600], [1000, 400, 600], [1000, 1200, 0]]));
}

#[test]
fn a_run_without_a_limit_has_infinitely_much_left() {
    assert_eq!(
        value(
            "return [budget.total, budget.spent(), budget.remaining() === Infinity, JSON.stringify(budget), Object.keys(budget)]"
        ),
        json!([null, 0, true, "{\"total\":null}", ["spent", "remaining", "total"]])
    );
    let turn = Engine::new().unwrap().start(
        &format!("{META}return [budget.total, budget.remaining()]"),
        "null",
        Budget { total: Some(0), spent: 0 },
    );
    assert_eq!(done(&turn.state), json!([0, 0]));
}

#[test]
fn the_budget_cannot_be_changed() {
    for attack in [
        "budget.total = 5",
        "budget.spent = () => 0",
        "delete budget.remaining",
        "budget.more = 1",
        "Object.defineProperty(budget, 'total', { value: 5 })",
        "budget.spent.x = 1",
        "Object.getOwnPropertyDescriptor(budget, 'total').get.x = 1",
        "budget = {}",
    ] {
        assert_eq!(value(&format!("try {{ {attack} }} catch (e) {{ return e.name }}")), json!("TypeError"), "{attack}");
    }
}

#[test]
fn agent_result_asks_for_a_status_and_hands_it_on() {
    let body = "phase('P'); const r = await agentResult('go', { label: 'l' }); const a = await agent('go'); return [r, a, r.constructor === Object]";
    let said = json!({"status": "failed", "value": null, "cause": "trapped", "message": "m", "agent": 3, "usage": {}});
    let run = run_with(body, &Value::Null, |request| match &request.action {
        Action::Agent { status: true, .. } => Settlement::Resolved(said.to_string()),
        _ => Settlement::Resolved("null".to_owned()),
    });
    assert_eq!(run.value(), json!([said, null, true]));
    assert_eq!(
        run.requests[1].action,
        Action::Agent { prompt: "go".into(), options: r#"{"label":"l","phase":"P"}"#.into(), status: true }
    );
    assert!(matches!(run.requests[2].action, Action::Agent { status: false, .. }));
}

#[test]
fn agent_result_checks_and_throws_as_agent_does() {
    for (call, message) in [
        ("agentResult()", "agentResult(prompt, options): the prompt must be a string, not undefined"),
        ("agentResult('x', 'y')", "agentResult(prompt, options): the options must be an object like { label: 'scan' }"),
        ("agentResult('x', { colour: 1 })", "agentResult() has no option `colour`"),
        ("agentResult('x', { retry: 9 })", "agentResult(): the option `retry` must be a whole number"),
        ("agentResult('x', { context: 1n })", "agentResult()'s options, at key \"context\", holds a bigint"),
        ("agent('x', { priority: 'urgent' })", "agent(): the option `priority` must be 'low', 'normal' or 'high'"),
        ("agent('x', { quota: { tokens: 1 } })", "agent(): the option `quota` has no limit `tokens`"),
        ("agent('x', { timeout: 0 })", "agent(): the option `timeout` must be whole milliseconds"),
    ] {
        let run = run(&format!("try {{ {call} }} catch (e) {{ return [e.name, e.message] }}"));
        let (value, requests) = (run.value(), run.requests.len());
        assert!(value[0] == json!("TypeError") && value[1].as_str().unwrap().contains(message), "{call}: {value}");
        assert_eq!(requests, 0, "{call}");
    }
    let run = run_with("\nawait agentResult('x')", &Value::Null, |_| refusal("limit"));
    assert_eq!((run.fault().message.as_str(), run.fault().place.line), ("Error: limit!", 3));
}

#[test]
fn batch_cuts_into_chunks() {
    assert_eq!(value("return batch([1, 2, 3, 4, 5], 2)"), json!([[1, 2], [3, 4], [5]]));
    assert_eq!(
        value("return [batch([], 3), batch([1], 9), batch([, 2], 1), batch([1, 2], 1e300)]"),
        json!([[], [[1]], [[null], [2]], [[1, 2]]])
    );
    assert_eq!(
        value(
            "const o = {}, given = [o, 1]; const b = batch(given, 1); b[0].push(2); return [b[0][0] === o, given.length, Array.isArray(b), b.map(x => x.length)]"
        ),
        json!([true, 2, true, [2, 1]])
    );
    // More than a fan-out takes: that is what it is for.
    assert_eq!(value("return batch(new Array(10000).fill(0), 4096).map(b => b.length)"), json!([4096, 4096, 1808]));
    for (call, message) in [
        ("batch('abc', 1)", "batch(items, size): expected an array, not a string"),
        ("batch([1])", "the size must be a whole number, at least 1; it is undefined"),
        ("batch([1], 0)", "at least 1; it is 0"),
        ("batch([1], 1.5)", "it is 1.5"),
        ("batch([1], NaN)", "it is NaN"),
        ("batch([1], Infinity)", "it is Infinity"),
        ("batch([1], '2')", "it is a string"),
    ] {
        let value = value(&format!("try {{ {call} }} catch (e) {{ return [e.name, e.message] }}"));
        assert!(value[0] == json!("TypeError") && value[1].as_str().unwrap().contains(message), "{call}: {value}");
    }
}

#[test]
fn merge_gives_value_conflicts_provenance_and_what_was_skipped() {
    assert_eq!(
        value("return merge([{ b: 1, a: { x: 1 } }, null, undefined, { a: { x: 2 }, b: 1 }], 'deep')"),
        json!({
            "value": {"a": {"x": null}, "b": 1},
            "conflicts": [{"path": "/a/x", "values": [{"value": 1, "from": [0]}, {"value": 2, "from": [3]}]}],
            "provenance": {"/b": [0, 3]},
            "skipped": 2,
        })
    );
    assert_eq!(
        value("return merge([[{ id: 1 }], [{ id: 1 }, { id: 2 }]], 'union', { key: 'id' }).value"),
        json!([{"id": 1}, {"id": 2}])
    );
    assert_eq!(
        value("return [merge([0.1, 0.2, NaN], 'sum').value, merge([], 'max').value]"),
        json!([0.300_000_000_000_000_04, null])
    );
    // The given values stay as they are, and the result shares nothing with them.
    assert_eq!(
        value(
            "const given = [{ l: [1] }]; const m = merge(given, 'last'); m.value.l.push(2); return [given, m.value, Object.keys(m)]"
        ),
        json!([[{"l": [1]}], {"l": [1, 2]}, ["value", "conflicts", "provenance", "skipped"]])
    );
    // The same text, whatever the order of fields in the values.
    assert_eq!(
        value(
            "const t = v => JSON.stringify(merge(v, 'deep')); return t([{ a: 1, b: 2 }, { c: 3 }]) === t([{ b: 2, a: 1 }, { c: 3 }])"
        ),
        json!(true)
    );
}

#[test]
fn wrong_merges_throw() {
    for (call, message) in [
        ("merge({}, 'deep')", "merge(values, strategy, options): expected an array, not an object"),
        (
            "merge([1])",
            "merge(values, strategy, options): the strategy must be a string that is not empty, not undefined",
        ),
        (
            "merge([1], 'average')",
            "merge() has no strategy \"average\"; the strategies are concat, union, first, last, majority, deep, max, min, sum",
        ),
        ("merge([1], 'concat')", "the strategy \"concat\" takes arrays; value [0] is a number"),
        ("merge(['1'], 'sum')", "takes numbers; value [0] is a string"),
        ("merge([[1]], 'union', { by: 'id' })", "there is no option `by`; the options are key"),
        (
            "merge([[1]], 'union', { key: () => 1 })",
            "the option key must be a string that is not empty, not a function",
        ),
        ("merge([[1]], 'concat', { key: 'id' })", "with the strategy \"union\" only"),
        ("merge([[1]], 'union', 'id')", "the options must be an object, not a string"),
        ("merge([() => 1], 'first')", "merge()'s values, at key \"0\", holds a function"),
        ("const c = {}; c.c = c; merge([c], 'deep')", "merge()'s values contains itself"),
    ] {
        let value = value(&format!("try {{ {call} }} catch (e) {{ return [e.name, e.message] }}"));
        assert!(value[0] == json!("TypeError") && value[1].as_str().unwrap().contains(message), "{call}: {value}");
    }
}
