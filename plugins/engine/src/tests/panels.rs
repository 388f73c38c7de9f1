//! Panels of agents: what they are asked, how their answers are counted, and what becomes of answers that do not come.

use serde_json::{Value, json};

use super::host::{META, Run, panelist, refusal, run_with};
use crate::bridge::{Action, Budget, Completion, Settlement, Verdict};
use crate::engine::{Engine, State};

fn panel(body: &str) -> Run {
    run_with(body, &Value::Null, panelist)
}

/// Run with judges that answer in turn: scores, or another answer, or none.
fn judged(body: &str, answers: &[Settlement]) -> Run {
    run_with(body, &Value::Null, |request| {
        let Action::Agent { options, .. } = &request.action else { panic!("{request:?}") };
        let options: Value = serde_json::from_str(options).unwrap();
        let seat: usize = options["label"].as_str().unwrap().rsplit(' ').next().unwrap().parse().unwrap();
        answers[seat - 1].clone()
    })
}

fn scores(scores: Value) -> Settlement {
    Settlement::Resolved(json!({ "scores": scores }).to_string())
}

#[test]
fn votes_are_counted_and_only_affirmations_verify() {
    // The claim is what its voters answer; then come quorum, verdict, and who affirmed, denied and is missing.
    for (votes, options, verdict, counts) in [
        ("yyy", "{}", "verified", [3, 0, 0]),
        ("yyn", "{}", "verified", [2, 1, 0]),
        ("ynn", "{}", "refuted", [1, 2, 0]),
        ("y0n", "{}", "unverified", [1, 1, 1]),
        ("y00", "{}", "unverified", [1, 0, 2]),
        ("000", "{}", "unverified", [0, 0, 3]),
        ("n0?", "{}", "unverified", [0, 1, 2]),
        ("yxy", "{}", "verified", [2, 0, 1]),
        ("nxn", "{}", "refuted", [0, 2, 1]),
        ("y", "{ voters: 1 }", "verified", [1, 0, 0]),
        ("0", "{ voters: 1 }", "unverified", [0, 0, 1]),
        ("yn", "{ voters: 2 }", "unverified", [1, 1, 0]),
        ("yynn", "{ voters: 4 }", "unverified", [2, 2, 0]),
        ("yyyn", "{ voters: 4, quorum: 4 }", "unverified", [3, 1, 0]),
        ("ynn", "{ quorum: 1 }", "verified", [1, 2, 0]),
        ("yyyyynnnn", "{ voters: 9 }", "verified", [5, 4, 0]),
        ("yyn", "{ voters: null, quorum: undefined }", "verified", [2, 1, 0]),
    ] {
        let run = panel(&format!("return await verify(['{votes}'], {{ prompt: c => c, ...{options} }})"));
        let value = &run.value()[0];
        assert_eq!(value["verdict"], json!(verdict), "{votes} {options}");
        assert_eq!(json!([value["affirmed"], value["denied"], value["missing"]]), json!(counts), "{votes} {options}");
        let told = run.verdicts();
        assert_eq!((told.len(), told[0].0), (1, votes));
        let expected = match verdict {
            "verified" => Verdict::Verified,
            "refuted" => Verdict::Refuted,
            _ => Verdict::Unverified,
        };
        assert_eq!((told[0].1, &told[0].2), (expected, &value["votes"]), "{votes} {options}");
    }
}

#[test]
fn a_verdict_holds_the_claim_as_given_and_every_vote() {
    let run = panel(
        "const c = { claim: 'it is so', file: 'a.rs' }; const v = await verify(['yn0', c], { prompt: (c, i) => (typeof c === 'string' ? c : 'x?y') + ''.repeat(i) }); return [v, v[1].claim === c, Array.isArray(v[0].votes)]",
    );
    assert_eq!(
        run.value(),
        json!([[
            {"claim": "yn0", "verdict": "unverified", "affirmed": 1, "denied": 1, "missing": 1, "votes": [
                {"affirms": true, "reason": "r1"}, {"affirms": false, "reason": "r2"}, {"affirms": null, "reason": "no answer"}]},
            {"claim": {"claim": "it is so", "file": "a.rs"}, "verdict": "unverified", "affirmed": 1, "denied": 0, "missing": 2, "votes": [
                {"affirms": null, "reason": "Error: limit!"}, {"affirms": null, "reason": "the answer does not say whether it affirms"}, {"affirms": true, "reason": "r3"}]},
        ], true, true])
    );
    assert_eq!(run.logs(), ["verify: claim [1] misses the vote of voter 1: it threw Error: limit! (line 2)"]);
    assert_eq!(run.verdicts()[1].0, "it is so");
    assert_eq!(panel("return await verify([])").value(), json!([]));
}

#[test]
fn voters_are_agents_with_phase_label_schema_and_a_lens() {
    let run = panel(
        "phase('Check'); await verify(['yyy', { claim: 'nnn', file: 'a' }], { lenses: ['yyy', 'nnn', 'yyy'], agent: { agentType: 'skeptic', label: 'facts', model: null, context: { deep: [1] } } })",
    );
    let agents = run.agents();
    let labels: Vec<&str> = agents.iter().map(|(_, options)| options["label"].as_str().unwrap()).collect();
    assert_eq!(
        labels,
        [
            "facts [0] voter 1",
            "facts [0] voter 2",
            "facts [0] voter 3",
            "facts [1] voter 1",
            "facts [1] voter 2",
            "facts [1] voter 3"
        ]
    );
    let (prompt, options) = &agents[4];
    assert!(prompt.starts_with("Try to refute the claim below."), "{prompt}");
    assert!(
        prompt.ends_with("Claim: nnn\n\nAs it was reported: {\"claim\":\"nnn\",\"file\":\"a\"}\n\nnnn"),
        "{prompt}"
    );
    assert_eq!(
        options,
        &json!({"agentType": "skeptic", "context": {"deep": [1]}, "label": "facts [1] voter 2", "phase": "Check", "schema": {
            "type": "object", "properties": {"affirms": {"type": "boolean"}, "reason": {"type": "string"}},
            "required": ["affirms", "reason"], "additionalProperties": false}})
    );
    assert!(agents[0].0.ends_with("Claim: yyy\n\nyyy"), "{}", agents[0].0);
    // Everything is asked before anything is answered, and lenses alone say how many voters there are.
    assert_eq!((run.steps, run.verdicts().len()), (2, 2));
    assert_eq!(panel("return (await verify(['x'], { lenses: ['y'] }))[0].votes.length").value(), json!(1));
    let own = panel("phase('A'); await verify(['y'], { voters: 1, prompt: c => c, agent: { phase: 'B' } })");
    assert_eq!(own.agents()[0].1["phase"], json!("B"));
}

#[test]
fn claims_do_not_wait_for_each_other_and_keep_their_order() {
    let body = "return (await verify(['first', 'second'], { voters: 1 })).map(v => v.claim + v.verdict)";
    let mut engine = Engine::new().unwrap();
    let turn = engine.start(&format!("{META}{body}"), "null", Budget::default());
    let ids: Vec<u64> = turn.requests.iter().map(|request| request.id).collect();
    assert_eq!(ids, [1, 2]);
    let vote = |id, affirms: bool| Completion {
        id,
        settlement: Settlement::Resolved(json!({"affirms": affirms, "reason": ""}).to_string()),
    };
    let turn = engine.step(vec![vote(2, false)], 0);
    assert!(matches!(&turn.requests[0].action, Action::Verdict { claim, .. } if claim == "second"), "{turn:?}");
    assert_eq!(turn.state, State::Waiting);
    let turn = engine.step(vec![vote(1, true)], 0);
    assert_eq!(turn.state, State::Done(r#"["firstverified","secondrefuted"]"#.to_owned()));
}

#[test]
fn a_spent_budget_ends_a_panel_with_its_error() {
    let run = panel(
        "try { await verify(['yyy', 'y$y', 'nnn'], { prompt: c => c }) } catch (e) { await agent('after'); return [e.code, e.message, e.stack.includes('workflow.js:2')] }",
    );
    assert_eq!(run.value(), json!(["over-budget", "over-budget!", true]));
    // What was voted on is told; the claim whose voter could not be paid is not.
    let told: Vec<&str> = run.verdicts().iter().map(|told| told.0).collect();
    assert_eq!(told, ["yyy", "nnn"]);
    let run = judged(
        "try { await judge(['a', 'b'], { criteria: 'c' }) } catch (e) { return e.code }",
        &[scores(json!([1, 2])), refusal("over-budget"), scores(json!([1, 2]))],
    );
    assert_eq!(run.value(), json!("over-budget"));
    assert_eq!(panel("await verify(['$'], { voters: 1, prompt: c => c })").fault().message, "Error: over-budget!");
}

#[test]
fn long_claims_and_reasons_are_cut_in_the_record_alone() {
    let body = "const c = 'é😀'.repeat(1500); const v = await verify([c], { voters: 1, prompt: () => 'y' }); return [v[0].claim.length === c.length, v[0].votes[0].reason.length]";
    let run = run_with(body, &Value::Null, |_| {
        Settlement::Resolved(json!({"affirms": true, "reason": "ü".repeat(900)}).to_string())
    });
    assert_eq!(run.value(), json!([true, 900]));
    let told = run.verdicts();
    assert_eq!(told[0].0, "é😀".repeat(1000));
    assert_eq!(told[0].2, json!([{"affirms": true, "reason": "ü".repeat(500)}]));
    let odd = run_with("await verify(['\\ud800'], { voters: 1 })", &Value::Null, |_| {
        Settlement::Resolved(r#"{"affirms":true,"reason":"\ud83d"}"#.to_owned())
    });
    assert_eq!(odd.verdicts(), [("\u{fffd}", Verdict::Verified, json!([{"affirms": true, "reason": "\u{fffd}"}]))]);
}

#[test]
fn thousands_of_claims_are_voted_on_at_once() {
    let run = panel(
        "const v = await verify(new Array(4096).fill('y'), { voters: 1, prompt: c => c }); return [v.length, v.every(x => x.verdict === 'verified')]",
    );
    assert_eq!((run.value(), run.steps, run.verdicts().len()), (json!([4096, true]), 2, 4096));
    let run = panel("await verify(new Array(30).fill('x'), { voters: 1, prompt: c => c })");
    assert_eq!((run.logs().len(), run.logs()[10]), (11, "verify: 20 more votes are missing"));
}

#[test]
fn wrong_calls_throw_at_once_and_start_nothing() {
    for (call, name, message) in [
        ("verify('x')", "TypeError", "verify(claims, options): expected an array, not a string"),
        ("verify(new Array(4097).fill('x'))", "RangeError", "4097 items; at most 4096 are allowed"),
        (
            "verify(['x', null])",
            "TypeError",
            "claim [1] must be a string, or an object with a string `claim`; it is null",
        ),
        ("verify([{ text: 'x' }])", "TypeError", "claim [0] must be a string, or an object"),
        ("verify([{ claim: 5 }])", "TypeError", "claim [0].claim must be a string that is not empty, not a number"),
        ("verify([''])", "TypeError", "claim [0] must be a string that is not empty, not ''"),
        ("verify(['x'], 3)", "TypeError", "the options must be an object, not a number"),
        (
            "verify(['x'], { votes: 3 })",
            "TypeError",
            "there is no option `votes`; the options are voters, quorum, prompt, agent, lenses",
        ),
        ("verify(['x'], { voters: 0 })", "TypeError", "the option voters must be a whole number from 1 to 9; it is 0"),
        ("verify(['x'], { voters: 10 })", "TypeError", "from 1 to 9; it is 10"),
        ("verify(['x'], { voters: 2.5 })", "TypeError", "it is 2.5"),
        ("verify(['x'], { quorum: 4 })", "TypeError", "the option quorum must be a whole number from 1 to 3; it is 4"),
        ("verify(['x'], { prompt: 'check' })", "TypeError", "the option prompt must be a function, not a string"),
        (
            "verify(['x'], { prompt: async () => 'y' })",
            "TypeError",
            "what prompt gives for claim [0] must be a string that is not empty, not a promise",
        ),
        ("verify(['x'], { lenses: 'a' })", "TypeError", "the option lenses: expected an array"),
        ("verify(['x'], { lenses: [] })", "TypeError", "the option voters must be a whole number from 1 to 9; it is 0"),
        ("verify(['x'], { lenses: ['a', 1] })", "TypeError", "lens [1] must be a string"),
        ("verify(['x'], { lenses: ['a'], voters: 2 })", "TypeError", "1 lenses for 2 voters; give one for each"),
        (
            "verify(['x'], { agent: 'skeptic' })",
            "TypeError",
            "verify(): the option agent must be an object like { agentType: 'reviewer' }, not a string",
        ),
        ("verify([], { agent: { colour: 1 } })", "TypeError", "verify()'s agent has no option `colour`"),
        (
            "verify(['x'], { agent: { schema: { type: 'string' } } })",
            "TypeError",
            "cannot have the option `schema`; verify() sets it",
        ),
        ("verify([{ claim: 'x', f() {} }])", "TypeError", "verify()'s claim [0], at key \"f\", holds a function"),
        ("judge('x', { criteria: 'c' })", "TypeError", "judge(candidates, options): expected an array"),
        ("judge(new Array(4097).fill('x'), { criteria: 'c' })", "RangeError", "at most 4096"),
        ("judge(['x'])", "TypeError", "the option criteria must be a string that is not empty, not undefined"),
        ("judge(['x'], { criteria: '' })", "TypeError", "not ''"),
        (
            "judge(['x'], { criteria: 'c', judges: 10 })",
            "TypeError",
            "the option judges must be a whole number from 1 to 9; it is 10",
        ),
        (
            "judge(['x'], { criteria: 'c', voters: 1 })",
            "TypeError",
            "there is no option `voters`; the options are criteria, judges, agent",
        ),
        ("judge(['x'], { criteria: 'c', agent: { schema: {} } })", "TypeError", "judge() sets it"),
        ("judge([() => 1], { criteria: 'c' })", "TypeError", "judge()'s candidate [0] holds a function"),
    ] {
        let run = panel(&format!("try {{ {call} }} catch (e) {{ return [e.name, e.message] }}"));
        let (value, requests) = (run.value(), run.requests.len());
        assert!(value[0] == json!(name) && value[1].as_str().unwrap().contains(message), "{call}: {value}");
        assert_eq!(requests, 0, "{call}");
    }
}

#[test]
fn judges_score_and_the_mean_ranks() {
    let run = judged(
        "return await judge(['a', { b: 1 }, 'c'], { criteria: 'Which is shortest?' })",
        &[scores(json!([10, 50, 30])), Settlement::Resolved("null".to_owned()), scores(json!([20, 60.5, 30]))],
    );
    assert_eq!(
        run.value(),
        json!({
            "winner": 1,
            "ranking": [
                {"index": 1, "score": 55.25, "scores": [50, null, 60.5]},
                {"index": 2, "score": 30, "scores": [30, null, 30]},
                {"index": 0, "score": 15, "scores": [10, null, 20]},
            ],
            "judges": 3, "missing": 1, "tied": [],
        })
    );
    let agents = run.agents();
    assert_eq!(agents.len(), 3);
    assert!(agents[0].0.contains("Judge by this and nothing else: Which is shortest?"), "{}", agents[0].0);
    assert!(agents[0].0.ends_with("Candidate 0:\na\n\nCandidate 1:\n{\"b\":1}\n\nCandidate 2:\nc"), "{}", agents[0].0);
    assert_eq!(
        agents[2].1,
        json!({"label": "judge 3", "schema": {
            "type": "object",
            "properties": {"scores": {"type": "array", "items": {"type": "number", "minimum": 0, "maximum": 100}, "minItems": 3, "maxItems": 3}},
            "required": ["scores"], "additionalProperties": false}})
    );
}

#[test]
fn ties_go_to_the_lower_index_and_are_named() {
    let tied = judged(
        "const j = await judge(['a', 'b', 'c', 'd'], { criteria: 'c', judges: 2 }); return [j.winner, j.tied, j.ranking.map(r => r.index)]",
        &[scores(json!([1, 9, 5, 7])), scores(json!([1, 5, 9, 7]))],
    );
    assert_eq!(tied.value(), json!([1, [1, 2, 3], [1, 2, 3, 0]]));
    let lower = judged(
        "const j = await judge(['a', 'b', 'c'], { criteria: 'c', judges: 1 }); return [j.winner, j.tied, j.ranking.map(r => r.index)]",
        &[scores(json!([3, 9, 3]))],
    );
    assert_eq!(lower.value(), json!([1, [], [1, 0, 2]]));
}

#[test]
fn judges_that_give_no_scores_are_missing() {
    let body = "return await judge(['a', 'b'], { criteria: 'c', judges: 9, agent: { label: 'panel' } })";
    let none = || Settlement::Resolved("null".to_owned());
    let other = |value: Value| Settlement::Resolved(value.to_string());
    let mut answers = vec![
        none(),
        refusal("denied"),
        scores(json!([1])),
        scores(json!([1, 2, 3])),
        scores(json!([1, "2"])),
        scores(json!([1, 101])),
        scores(json!({"0": 1, "1": 2, "length": 2})),
        other(json!("text")),
        scores(json!([-1, 2])),
    ];
    let run = judged(body, &answers);
    assert_eq!(run.value(), json!({"winner": null, "ranking": [], "judges": 9, "missing": 9, "tied": []}));
    assert_eq!(run.logs(), ["judge: judge 2 is missing: it threw Error: denied! (line 2)"]);
    assert_eq!(run.agents()[8].1["label"], json!("panel 9"));
    answers[8] = scores(json!([0, 100]));
    let run = judged(body, &answers);
    assert_eq!(json!([run.value()["winner"], run.value()["missing"]]), json!([1, 8]));
}

#[test]
fn nothing_to_judge_asks_nobody() {
    let run = panel("return await judge([], { criteria: 'c' })");
    assert_eq!(run.value(), json!({"winner": null, "ranking": [], "judges": 3, "missing": 0, "tied": []}));
    assert!(run.requests.is_empty());
}

#[test]
fn panels_ask_the_same_each_time() {
    let body = "const v = await verify(['yyn', 'n0x'], { prompt: c => c }); const j = await judge(v, { criteria: 'c' }); return merge([v, j], 'majority')";
    let (one, two) = (panel(body), panel(body));
    assert_eq!((one.requests, one.state), (two.requests, two.state));
}
