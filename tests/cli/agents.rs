//! Agents that agents start: granted and declared, in the record with their parents, and given again like any other answer.

use super::{Place, component};
use serde_json::{Value, json};

/// An agent that makes the calls it is told to, and may have agents.
const LEAD: &str = "name = 'lead'\nversion = '1'\nkind = 'agent'\ndescription = 'd'\n\
                    [[needs]]\ncapability = 'tool:*'\nreason = 'r'\n\
                    [[needs]]\ncapability = 'read:.'\nreason = 'r'\n\
                    [[needs]]\ncapability = 'spawn:9'\nreason = 'r'\noptional = true\n\
                    [tools.run]\ndeterministic = true\n";

fn events<'a>(record: &'a Value, kind: &str) -> Vec<&'a Value> {
    let events = record["record"].as_array().unwrap().iter();
    events.filter_map(|event| event["event"].get(kind)).collect()
}

/// The workflow's document: one agent, started with `options`, which starts another, which reads a file.
fn run(place: &Place, options: &Value) -> Value {
    let plugin = place.plugin(&component("tests/guests/built/writer-agent.wasm"), LEAD);
    let read = json!({ "tool": "files.read", "arguments": { "path": "b.txt" } });
    let below = json!({ "tool": "lead.run", "arguments": { "prompt": "go", "context": { "calls": [read] } } });
    let mut all = json!({ "agentType": "lead", "context": { "calls": [below] } });
    all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    let script = place.script(&format!("return await agent('go', {all})"));
    place.run(&script, &["--json", "--plugin", plugin.to_str().unwrap()]).exits(0).json("vespiary.run/1")
}

#[test]
fn an_agent_of_an_agent_is_on_record_and_what_it_read_decides_whether_the_answer_stands() {
    let place = Place::new();
    place.file("b.txt", "one\n");
    let refused = run(&place, &json!({}));
    assert!(refused["value"][0].as_str().unwrap().contains("spawn:1"), "{refused:#}");
    assert_eq!(refused["agents"], 1);

    let granted = json!({ "allow": ["read:.", "spawn:1"] });
    let ran = run(&place, &granted);
    assert!(ran["value"][0].as_str().unwrap().contains("one\\\\n"), "{ran:#}");
    assert_eq!((&ran["agents"], &ran["status"]), (&json!(2), &json!("completed")), "{ran:#}");
    let show = ["runs", "show", ran["run"].as_str().unwrap(), "--events", "--verify", "--json"];
    let record = place.vespiary(&show).exits(0).json("vespiary.run-record/1");
    assert_eq!(record["verified"]["intact"], true);
    let started = events(&record, "agent-started");
    let parents: Vec<_> = started.iter().map(|agent| (&agent["parent"], &agent["agent"])).collect();
    assert_eq!(json!(parents), json!([[0, 1], [1, 2]]), "{started:#?}");
    let ended: Vec<_> = events(&record, "agent-ended").iter().map(|agent| &agent["agent"]).collect();
    assert_eq!(json!(ended), json!([2, 1]));

    let again = run(&place, &granted);
    assert_eq!(
        (&again["reused"], &again["agents"], &again["value"]),
        (&json!(1), &json!(1), &ran["value"]),
        "{again:#}"
    );
    // Taken over from a run that took it over itself.
    let again = run(&place, &granted);
    assert_eq!((&again["reused"], &again["agents"]), (&json!(1), &json!(1)), "{again:#}");
    place.file("b.txt", "two\n");
    let changed = run(&place, &granted);
    assert_eq!((&changed["reused"], &changed["agents"]), (&json!(0), &json!(2)), "{changed:#}");
    assert!(changed["value"][0].as_str().unwrap().contains("two\\\\n"), "{changed:#}");
}

#[test]
fn files_that_no_agent_read_are_told_of_where_there_are_any() {
    let place = Place::new();
    let context = json!({ "mode": "scan", "files": ["a.py"] });
    let script = place.script(&format!("return await agent('', {{ agentType: 'secrets', context: {context} }})"));
    place.file("a.py", "x = 1\n");
    let all = place.run(&script, &[]).exits(0).out();
    assert!(all.contains("1 agent") && !all.contains("read by no agent"), "{all}");
    place.file("a.py", "x = 2\n");
    place.file("b.py", "y = 1\n");
    let some = place.run(&script, &[]).exits(0).out();
    assert!(some.contains("1 of 2 files were read by no agent; the report names them"), "{some}");
}
