//! Workflows whose agents are models: the scripts of `tests/workflows`, written as people publish them, run unmodified on
//! providers that cost nothing.

use super::{META, Place};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

fn workflow(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("tests/workflows").join(name)
}

/// Run it with `--json`, see it exit with `code`, and give the document.
#[track_caller]
fn run(place: &Place, script: &Path, code: i32, args: &[&str]) -> Value {
    let args: Vec<&str> = args.iter().copied().chain(["--json"]).collect();
    place.run(script, &args).exits(code).json("vespiary.run/1")
}

#[test]
fn a_review_verifies_each_of_its_findings() {
    let place = Place::new();
    let document = run(&place, &workflow("review.js"), 0, &["--provider", "mock"]);
    let all = document["value"]["all"].as_u64().unwrap();
    assert!((3..=12).contains(&all) && document["agents"] == 3 + all, "{document}");
    assert!(document["tokens"].as_u64().unwrap() > 100 && document["usd"] == 0.0, "{document}");
    // The same again, in whatever order agents ended.
    let again = run(&place, &workflow("review.js"), 0, &["--provider", "mock"]);
    assert_eq!(again["value"], document["value"]);
    let other = run(&place, &workflow("review.js"), 0, &["--provider", "mock:seed=5"]);
    assert_ne!(other["value"], document["value"]);
}

#[test]
fn a_panel_judges_and_the_named_model_writes() {
    let place = Place::new();
    let document = run(&place, &workflow("panel.js"), 0, &["--provider", "mock:price-in=3,price-out=15"]);
    assert_eq!((&document["value"]["drafts"], &document["agents"]), (&Value::from(3), &Value::from(7)));
    assert!(document["usd"].as_f64().unwrap() > 0.0, "{document}");
}

#[test]
fn a_scout_finds_the_work_for_a_fleet() {
    let place = Place::new();
    let document = run(&place, &workflow("scout.js"), 0, &["--provider", "mock:latency-ms=5"]);
    assert_eq!(document["value"]["planned"], document["value"]["of"]);
}

#[test]
fn rounds_end_when_they_are_dry_or_the_budget_nearly_is() {
    let place = Place::new();
    let document = run(&place, &workflow("dry.js"), 0, &["--provider", "mock", "--tokens", "1000000"]);
    let value = &document["value"];
    assert!(value["rounds"].as_u64().unwrap() >= 3 && value["total"] == 1_000_000, "{value}");
    assert_eq!(value["spent"], document["tokens"], "the script was told what was spent");
    let document = run(&place, &workflow("dry.js"), 0, &["--provider", "mock:tokens=900", "--tokens", "12000"]);
    assert!(document["tokens"].as_u64().unwrap() <= 12_000, "{document}");
}

#[test]
fn claims_are_counted_by_what_became_of_them() {
    let place = Place::new();
    let file = place.file(
        "answers.jsonl",
        r#"{"contains": "the sky is blue", "answer": {"affirms": true, "reason": "seen"}}
{"contains": "the moon is cheese", "answer": {"affirms": false, "reason": "tasted"}}
{"contains": "nobody knows", "answer": {"affirms": true, "reason": "hoped"}, "times": 1}
{"contains": "nobody knows", "answer": {"affirms": false, "reason": "feared"}, "times": 1}
{"contains": "Say what", "answer": "nothing"}
"#,
    );
    let provider = format!("scripted:{}", file.display());
    let claims = r#"{"claims":["the sky is blue","the moon is cheese","nobody knows"]}"#;
    let document = run(&place, &workflow("claims.js"), 6, &["--provider", &provider, "--args", claims]);
    let verdicts = &document["value"]["verdicts"];
    assert_eq!(
        [&verdicts["the sky is blue"], &verdicts["the moon is cheese"], &verdicts["nobody knows"]],
        ["verified", "refuted", "unverified"]
    );
    assert_eq!((&document["value"]["last"], &document["value"]["batches"]), (&Value::from("ok"), &Value::from(2)));
    assert_eq!(document["claims"], serde_json::json!({ "verified": 1, "refuted": 1, "unverified": 1 }));
    let report = fs::read_to_string(place.path("out/report.md")).unwrap();
    assert!(
        report.contains("1 verified, 1 refuted, 1 unverified") && report.contains("- refuted: the moon"),
        "{report}"
    );
}

#[test]
fn without_a_provider_what_needs_a_model_says_so() {
    let place = Place::new();
    place.run(&workflow("scout.js"), &[]).exits(1).complains(&["no provider is in use", "--provider"]);
    let with = |provider: &str| place.run(&workflow("scout.js"), &["--provider", provider]).exits(2);
    with("mock:speed=9").complains(&["speed", "latency-ms"]);
    with("scripted:nowhere.jsonl").complains(&["nowhere.jsonl"]);
    place.file("bad.jsonl", "{\"contains\": \"x\"}\n{\"answer\": 1, \"colour\": 2}\n");
    with("scripted:bad.jsonl").complains(&["line 1", "line 2", "colour"]);
}

#[test]
fn a_run_out_of_budget_keeps_what_it_has_and_says_so() {
    let place = Place::new();
    let body = "const said = []\n\
                try { for (let i = 0; i < 100; i++) said.push(await agent(`Ask ${i}`)) }\n\
                catch (error) { return { said: said.length, code: error.code } }";
    let script = place.script(body);
    let document = run(&place, &script, 4, &["--provider", "mock:tokens=300", "--tokens", "2000"]);
    assert_eq!(
        (&document["status"], &document["value"]["code"]),
        (&Value::from("out-of-budget"), &Value::from("over-budget"))
    );
    assert!(
        document["value"]["said"].as_u64().unwrap() >= 4 && document["tokens"].as_u64().unwrap() <= 2_000,
        "{document}"
    );
    let document = run(&place, &script, 4, &["--provider", "mock:tokens=300,price-out=10", "--usd", "0.01"]);
    assert_eq!(document["status"], "out-of-budget", "{document}");
    assert!(document["usd"].as_f64().unwrap() <= 0.01, "{document}");
}

#[test]
fn agents_that_fail_are_run_again_as_often_as_they_may() {
    let place = Place::new();
    let body = "const results = await parallel(Array.from({ length: 40 }, (_, i) => () =>\n\
                  agentResult(`Ask ${i}`, { retry: 5, label: `a${i}` })))\n\
                const once = await parallel(Array.from({ length: 40 }, (_, i) => () => agent(`Ask ${i}`)))\n\
                return { ok: results.filter(r => r.status === 'ok').length, failed: results.filter(r => r.status === 'failed')\n\
                  .every(r => r.value === null && r.attempts === 6 && r.message.includes('refuses')), once: once.filter(Boolean).length }";
    let document = run(&place, &place.script(body), 6, &["--provider", "mock:refuse=0.3,fail=0.2"]);
    let (ok, once) = (document["value"]["ok"].as_u64().unwrap(), document["value"]["once"].as_u64().unwrap());
    assert!(ok == once && (15..40).contains(&ok) && document["value"]["failed"] == true, "{document}");
}

#[test]
fn a_policy_takes_models_away() {
    let place = Place::new();
    let script = place.raw_script(&format!("{META}return await agent('Ask', {{ model: 'large' }})"));
    let document = run(&place, &script, 6, &["--provider", "mock", "--deny", "model:mock/large"]);
    assert!(document["failures"][0]["message"].as_str().unwrap().contains("model:mock/large"), "{document}");
}

#[test]
fn the_time_of_a_run_is_limited() {
    let place = Place::new();
    let script = place.script(
        "let n = 0\n\
         while (await agent(`question ${n}`) !== null) n++\n\
         return { n }\n",
    );
    let document = run(&place, &script, 4, &["--provider", "mock:latency-ms=20", "--time", "2s", "--agents", "100000"]);
    assert_eq!((&document["status"], document["value"]["n"].is_u64()), (&"out-of-budget".into(), true), "{document}");
    // It goes on where it was, and for as long again.
    let again = place.vespiary(&["runs", "resume", "last", "--json"]).exits(4).json("vespiary.run/1");
    assert!(again["value"]["n"].as_u64() > document["value"]["n"].as_u64(), "{again}");
    assert_eq!(again["reused"], document["value"]["n"]);
    place.run(&script, &["--time", "soon"]).exits(2).complains(&["--time"]);
}

#[test]
fn what_a_workflow_cost_the_last_time_is_foretold() {
    let place = Place::new();
    let script = place.script("return await parallel([1, 2, 3].map(n => () => agent(`question ${n}`)))\n");
    let first = place.run(&script, &["--provider", "mock:tokens=40"]).exits(0);
    assert!(!first.err().contains("the last time"), "{}", first.err());
    let second = place.run(&script, &["--provider", "mock:tokens=40"]).exits(0);
    assert!(second.err().contains("the last time it took 3 agents, 129 tokens, $0.0000"), "{}", second.err());
    place
        .run(&script, &["--provider", "mock:tokens=40", "--tokens", "100", "--quiet"])
        .complains(&["the last time it cost 129 tokens", "will likely end out of budget"]);
}

#[test]
fn a_phase_spends_what_it_may_and_the_next_has_its_own() {
    let place = Place::new();
    let meta = |budget: &str| {
        format!(
            "export const meta = {{ name: 'phased', description: 'd', phases: [{{ title: 'Scan', budget: {budget} }}, {{ title: 'Sum' }}] }}\n\
             phase('Scan')\n\
             let scanned = 0\n\
             try {{ for (;;) {{ await agent(`scan ${{scanned}}`); scanned++ }} }} catch (e) {{ log(e.code) }}\n\
             phase('Sum')\n\
             return {{ scanned, sum: await agent('sum') }}\n"
        )
    };
    let script = place.raw_script(&meta("{ tokens: 5000 }"));
    let document = run(&place, &script, 4, &["--provider", "mock:tokens=1000"]);
    let scanned = document["value"]["scanned"].as_u64().unwrap();
    assert!((1..=5).contains(&scanned), "the run has far more: {document}");
    assert!(document["tokens"].as_u64().unwrap() <= 5_000 + 1_100, "{document}");
    assert!(
        document["value"]["sum"].is_string()
            && document["failures"][0]["message"].as_str().unwrap().contains("phase-tokens")
    );
    let wrong = place.raw_script(&meta("{ tokens: 'many' }"));
    place.run(&wrong, &["--provider", "mock"]).exits(1).complains(&["meta.phases[0].budget", "tokens: 50000"]);
}

#[test]
fn low_priority_is_given_up_first_and_a_costly_run_asks() {
    let place = Place::new();
    // One after the other, so that the budget runs out in the middle of those that wait.
    let script = place.script(
        "const ask = (n, priority) => agentResult(`question ${n}`, { label: `${priority} ${n}`, priority })\n\
         const all = []\n\
         for (let n = 0; n < 30; n++) all.push(ask(n, n % 3 === 0 ? 'low' : 'normal'))\n\
         return (await Promise.all(all)).map(r => [r.status, r.message ?? ''])\n",
    );
    let args = ["--provider", "mock:tokens=900,price-out=1000", "--tokens", "4000", "--at-once", "1"];
    let document = run(&place, &script, 4, &args);
    let told = document["value"].as_array().unwrap();
    let pruned = told.iter().filter(|one| one[1].as_str().unwrap().contains("its priority is low")).count();
    assert_eq!((told.len(), pruned), (30, 10), "{document}");
    assert!(told.iter().enumerate().all(|(n, one)| n % 3 == 0 || !one[1].as_str().unwrap().contains("priority")));

    let cheap = place.script("return await agent('one question')\n");
    let costs = ["--provider", "mock:tokens=900,price-out=1000"];
    place.run(&cheap, &costs).exits(0);
    place.run(&cheap, &[&costs[..], &["--ask-above", "1000000"]].concat()).exits(0);
    let asks = place.run(&cheap, &[&costs[..], &["--ask-above", "0.5"]].concat()).exits(3);
    asks.complains(&["was not started", "nobody is at the terminal", "--ask-above"]);
}
