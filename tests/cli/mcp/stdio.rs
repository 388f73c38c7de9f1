//! On standard input and output.

use super::*;

#[test]
fn every_revision_lists_and_calls_what_was_granted_and_nothing_else() {
    let place = Place::new();
    place.file("a.txt", "one\ntwo\n");
    for revision in [OLDEST, OLD, RECENT, NEW] {
        let mut client = Client::connect(&place, revision, false, &[]);
        let tools = client.tools();
        let named = |name: &str| tools.iter().find(|tool| tool["name"] == name);
        let read = named("files_read").unwrap();
        assert_eq!(read["annotations"]["readOnlyHint"], true);
        assert_eq!(read["annotations"]["openWorldHint"], false);
        assert_eq!(read["title"], "Files: read");
        assert_eq!((&read["inputSchema"]["type"], &read["outputSchema"]["type"]), (&json!("object"), &json!("object")));
        assert!(!read.to_string().contains("\"uint"), "formats that only Rust knows: {read}");
        for own in ["approve", "run_result", "run_status", "run_stop", "run_workflow", "spawn_subagents"] {
            assert!(named(own).is_some(), "{own}");
        }
        // What was not granted is not offered; what is asked for all the same is denied, and recorded.
        for absent in ["files_write", "exec_run", "model_run", "engine_run"] {
            assert!(named(absent).is_none(), "{absent}");
        }
        let result = client.call("files_read", json!({ "path": "a.txt" }));
        assert_eq!(result["structuredContent"]["text"], "one\ntwo\n");
        let text: Value = serde_json::from_str(result["content"][0]["text"].as_str().unwrap()).unwrap();
        assert_eq!(text, result["structuredContent"]);
        let said = client.fails("files_write", json!({ "path": "b.txt", "text": "x" }));
        assert!(said.contains("needs write:") && said.contains("only the person who started this server"), "{said}");
        assert!(!place.project().join("b.txt").exists());
        let unknown = client.request("tools/call", json!({ "name": "no_such", "arguments": {} }));
        assert_eq!(unknown["error"]["code"], -32602, "{unknown}");
        client.leave();
        let run = run_of(&result);
        let ended = events(&place, &run, "call-ended");
        assert_eq!(ended.len(), 2, "{ended:#?}");
        assert_eq!(ended[1]["failure"]["cause"], "denied");
        assert_eq!(events(&place, &run, "run-ended")[0]["status"], "completed");
    }
}

#[test]
fn a_client_that_only_looks_leaves_no_record() {
    let place = Place::new();
    let mut client = Client::connect(&place, RECENT, false, &[]);
    client.tools();
    let listed = client.request("resources/list", json!({}))["result"]["resources"].clone();
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
    client.leave();
    place.vespiary(&["runs", "list"]).exits(0);
    let runs = place.vespiary(&["runs", "list", "--json"]).exits(0).json("vespiary.runs/1");
    assert_eq!(runs["runs"], json!([]));
}

#[test]
fn a_question_goes_to_the_person_and_only_a_yes_is_a_yes() {
    let place = Place::new();
    place.file("out/x", "");
    let ask = ["--allow", "write:out", "--ask", "write:out"];
    let write = json!({ "path": "out/a.txt", "text": "x" });
    let mut client = Client::connect(&place, RECENT, true, &ask);
    client.answers = vec![
        no(),
        json!({ "action": "decline" }),
        json!({ "action": "cancel" }),
        json!({ "action": "accept", "content": {} }),
    ];
    for _ in 0..4 {
        let said = client.fails("files_write", write.clone());
        assert!(said.contains("denied"), "{said}");
        assert!(!place.project().join("out/a.txt").exists());
    }
    client.answers = vec![yes()];
    client.gives("files_write", write.clone());
    assert!(place.project().join("out/a.txt").exists());
    let message = client.asked[0]["message"].as_str().unwrap();
    assert!(
        message.contains("files.write") && message.contains("out/a.txt") && message.contains("write:out"),
        "{message}"
    );
    assert_eq!(client.asked[0]["requestedSchema"]["properties"]["allow"]["type"], "boolean");

    // Where nobody can be asked, nobody said yes.
    let mut unable = Client::connect(&place, RECENT, false, &ask);
    let said = unable.fails("files_write", json!({ "path": "out/b.txt", "text": "x" }));
    assert!(said.contains("cannot ask a person") && !place.project().join("out/b.txt").exists(), "{said}");
}

#[test]
fn without_sessions_a_call_comes_back_for_its_answer_and_no_other_call_can_use_it() {
    let place = Place::new();
    place.file("out/x", "");
    let mut client = Client::connect(&place, NEW, true, &["--allow", "write:out", "--ask", "write:out"]);
    let call = |path: &str| json!({ "name": "files_write", "arguments": { "path": path, "text": "x" } });
    let unfinished = |client: &mut Client, path: &str| {
        let answer = client.request("tools/call", call(path))["result"].clone();
        assert_eq!(answer["resultType"], "input_required", "{answer}");
        let message = answer["inputRequests"]["ask"]["params"]["message"].as_str().unwrap().to_owned();
        assert!(message.contains(path), "{message}");
        answer["requestState"].clone()
    };
    let back = |client: &mut Client, path: &str, state: &Value, answer: Value| {
        let mut params = call(path);
        params["requestState"] = state.clone();
        params["inputResponses"] = json!({ "ask": answer });
        client.request("tools/call", params)
    };
    let state = unfinished(&mut client, "out/a.txt");
    let answer = back(&mut client, "out/a.txt", &state, yes());
    assert_eq!(answer["result"]["structuredContent"]["created"], true, "{answer}");
    // An answer counts once, and for what was asked about.
    let again = back(&mut client, "out/a.txt", &state, yes());
    assert!(again["error"]["message"].as_str().unwrap().contains("waits no longer"), "{again}");
    let state = unfinished(&mut client, "out/b.txt");
    let other = back(&mut client, "out/evil.txt", &state, yes());
    assert!(other["error"]["message"].as_str().unwrap().contains("other arguments"), "{other}");
    let state = unfinished(&mut client, "out/b.txt");
    let refused = back(&mut client, "out/b.txt", &state, no());
    assert_eq!(refused["result"]["isError"], true, "{refused}");
    let forged = back(&mut client, "out/b.txt", &json!("00"), yes());
    assert!(forged.get("error").is_some(), "{forged}");
    for absent in ["out/b.txt", "out/evil.txt"] {
        assert!(!place.project().join(absent).exists(), "{absent}");
    }
}

#[test]
fn a_cancelled_call_ends_its_cell_and_a_spinning_one_keeps_nobody_waiting() {
    let place = Place::new();
    let mut client = Client::connect(&place, RECENT, false, &["--plugin", &hostile(&place)]);
    client.tools();
    let params = json!({ "name": "hostile_endless_loop", "arguments": {}, "_meta": { "progressToken": "p" } });
    let spinning: Vec<u64> = (0..4).map(|_| client.ask("tools/call", params.clone())).collect();
    let mut run = String::new();
    for n in 0..20 {
        let result = client.call("echo_echo", json!({ "text": n.to_string() }));
        assert_eq!(result["structuredContent"]["text"], n.to_string());
        run = run_of(&result);
    }
    // Whoever wants to know is told that it runs.
    while !client.heard.iter().any(|heard| heard["method"] == "notifications/progress") {
        client.gives("echo_echo", json!({ "text": "still there" }));
    }
    all_can_be_cancelled(&place, client, &run, &spinning);
}

/// Cancel what is under way; the client goes on, and in the record of its run each of those calls was cancelled, no other.
fn all_can_be_cancelled(place: &Place, mut client: Client, run: &str, under_way: &[u64]) {
    // What is cancelled before it has begun leaves no record.
    until_recorded_that(place, run, "call-intended", under_way.len(), |event| {
        event["tool"] == "hostile.endless_loop" || event["arguments"]["value"]["now"] == true
    });
    for id in under_way {
        client.send(json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": id } }));
    }
    client.gives("echo_echo", json!({ "text": "after" }));
    client.leave();
    let cancelled = |event: &&Value| event["failure"]["cause"] == "cancelled";
    assert_eq!(events(place, run, "call-ended").iter().filter(cancelled).count(), under_way.len());
}

#[test]
fn a_tool_that_was_quick_and_then_spins_keeps_nobody_waiting_either() {
    let place = Place::new();
    let mut client = Client::connect(&place, RECENT, false, &["--plugin", &hostile(&place)]);
    client.tools();
    let mut spinning = Vec::new();
    let mut run = String::new();
    for round in 0..3 {
        // It has been quick for long enough to be called where clients are heard.
        for _ in 0..5 {
            client.gives("hostile_quick_then_slow", json!({ "now": false }));
        }
        spinning
            .push(client.ask("tools/call", json!({ "name": "hostile_quick_then_slow", "arguments": { "now": true } })));
        for _ in 0..10 {
            let text = format!("round {round}");
            let result = client.call("echo_echo", json!({ "text": text }));
            assert_eq!(result["structuredContent"]["text"], text);
            run = run_of(&result);
        }
    }
    all_can_be_cancelled(&place, client, &run, &spinning);
}

#[test]
fn hanging_up_ends_what_runs_and_the_record_says_so() {
    let place = Place::new();
    let mut client = Client::connect(&place, RECENT, false, &["--plugin", &hostile(&place)]);
    let run = run_of(&client.call("echo_echo", json!({ "text": "x" })));
    client.ask("tools/call", json!({ "name": "hostile_endless_loop", "arguments": {} }));
    until_recorded(&place, &run, "call-intended", 2);
    client.leave();
    let ended = events(&place, &run, "call-ended");
    assert_eq!(ended.len(), 2);
    assert_eq!(ended[1]["failure"]["cause"], "cancelled", "{ended:#?}");
}

#[test]
fn runs_stop_ends_the_calls_of_a_client() {
    let place = Place::new();
    let mut client = Client::connect(&place, RECENT, false, &["--plugin", &hostile(&place)]);
    let run = run_of(&client.call("echo_echo", json!({ "text": "x" })));
    let spinning = client.ask("tools/call", json!({ "name": "hostile_endless_loop", "arguments": {} }));
    until_recorded(&place, &run, "call-intended", 2);
    place.vespiary(&["runs", "stop", &run]).exits(0);
    let answer = client.answer(spinning);
    assert_eq!(answer["result"]["_meta"]["vespiary/cause"], "cancelled", "{answer}");
    // What comes after is another run.
    let after = run_of(&client.call("echo_echo", json!({ "text": "y" })));
    assert_ne!(after, run);
    assert_eq!(events(&place, &run, "run-ended")[0]["status"], "stopped");
}

#[test]
fn subagents_answer_one_by_one_and_cost_only_themselves() {
    let place = Place::new();
    place.file("src/key.py", "key = \"AKIAQYLPMN5HFIZR3X7T\"\n");
    place.file("top.py", "key = \"AKIAQYLPMN5HFIZR3X7S\"\n");
    let mut client = Client::connect(&place, RECENT, false, &[]);
    let context = |file: &str| json!({ "mode": "scan", "files": [file] });
    let tasks = json!([
        { "agent": "secrets", "context": context("src/key.py"), "directory": "src" },
        { "agent": "secrets", "context": context("top.py"), "directory": "src" },
        { "agent": "no-such-agent" },
        { "prompt": "for a model that is not there" },
        { "agent": "secrets", "context": context("src/key.py"), "permissions": ["read:/etc"] },
    ]);
    let given = client.gives("spawn_subagents", json!({ "tasks": tasks }));
    let results = given["value"]["results"].as_array().unwrap();
    assert_eq!(results.len(), 5);
    assert_eq!(results[0]["status"], "ok", "{given:#}");
    assert_eq!(results[0]["value"]["findings"].as_array().unwrap().len(), 1, "{given:#}");
    assert_eq!(
        results[1]["value"]["findings"].as_array().map(Vec::len),
        Some(0),
        "outside of its directory: {given:#}"
    );
    for refused in &results[2..] {
        assert_ne!(refused["status"], "ok", "{refused}");
        assert!(refused["message"].as_str().is_some_and(|why| !why.is_empty()), "{refused}");
    }
    assert!(results[4]["message"].as_str().unwrap().contains("read:/etc"), "{:#}", results[4]);
    let nothing = client.fails("spawn_subagents", json!({ "tasks": [{}] }));
    assert!(nothing.contains("neither a prompt nor an agent type"), "{nothing}");
}

/// An agent that waits for an answer for longer than anybody waits for a test.
const SLOW: [&str; 2] = ["--provider", "mock:latency-ms=600000"];

/// The runs that have a directory of their own, by their ids.
fn begun(place: &Place) -> Vec<String> {
    let dirs = std::fs::read_dir(place.home().join("state/runs")).into_iter().flatten();
    dirs.map(|dir| dir.unwrap().file_name().into_string().unwrap()).collect()
}

/// A request that is taken back while its run starts, or has just started: nobody will ever ask for that run.
#[test]
fn subagents_whose_request_is_taken_back_are_stopped_however_early_that_is() {
    let place = Place::new();
    let mut client = Client::connect(&place, RECENT, false, &SLOW);
    client.tools();
    for request in [
        json!({ "name": "spawn_subagents", "arguments": { "tasks": [{ "prompt": "take your time" }] } }),
        json!({ "name": "spawn_subagents", "arguments": { "tasks": [{ "prompt": "and now, too" }] } }),
    ] {
        let (before, since) = (begun(&place), std::time::Instant::now());
        let id = client.ask("tools/call", request);
        let run = loop {
            match begun(&place).into_iter().find(|run| !before.contains(run)) {
                Some(run) => break run,
                None => assert!(since.elapsed() < PATIENCE, "no run begins"),
            }
        };
        client.send(json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": id } }));
        let show = ["runs", "show", &run, "--json"];
        loop {
            let shown = place.vespiary(&show);
            if shown.code == Some(0) && shown.json("vespiary.run-record/1")["status"] == "stopped" {
                break;
            }
            assert!(since.elapsed() < PATIENCE, "{run} goes on: {}", shown.out());
        }
    }
    client.leave();
}

/// A session that only waits would end, and its run with it.
#[test]
#[cfg(debug_assertions)]
fn whoever_waits_for_long_is_told_how_the_run_stands_and_it_goes_on() {
    let place = Place::new();
    let client = Client::start_with(&place, &SLOW, &[("VESPIARY_MCP_WAIT_MS", "1")]);
    let mut client = client.greet(RECENT, false);
    let given = client.gives("spawn_subagents", json!({ "tasks": [{ "prompt": "take your time" }] }));
    assert_eq!(given["status"], "running", "{given:#}");
    assert!(given.get("value").is_none() && given["next"].as_str().unwrap().contains("run_status"), "{given:#}");
    let run = given["run"].clone();
    assert_eq!(client.gives("run_status", json!({ "run": run }))["status"], "running");
    assert!(!place.home().join("state/runs").join(run.as_str().unwrap()).join("stop").exists(), "it is asked to stop");
    client.gives("run_stop", json!({ "run": run, "now": true }));
    assert_eq!(client.outcome(run.as_str().unwrap())["status"], "stopped");
}

#[test]
fn a_workflow_is_a_run_of_its_own_that_outlives_the_client() {
    let place = Place::new();
    place.file("a.txt", "x\n");
    place.file(".vespiary/workflows/count.js", "export const meta = { name: 'count', description: 'd' }\nreturn { args, n: (await tool('files.list', { path: '.' })).entries.length }\n");
    let mut client = Client::connect(&place, RECENT, false, &[]);
    let described = client.tools().into_iter().find(|tool| tool["name"] == "run_workflow").unwrap();
    assert!(described["description"].as_str().unwrap().contains("count"), "{described}");
    let started = client.gives("run_workflow", json!({ "workflow": "count", "args": { "depth": 2 } }));
    let run = started["run"].as_str().unwrap().to_owned();
    client.leave();
    place.vespiary(&["runs", "watch", &run]).exits(0);
    // Another client, another server: the record is the same.
    let mut client = Client::connect(&place, NEW, false, &[]);
    let result = client.outcome(&run);
    assert_eq!((&result["status"], &result["value"]["args"]["depth"]), (&json!("completed"), &json!(2)), "{result:#}");
    let report = result["resources"]["report"].as_str().unwrap();
    let read = client.request("resources/read", json!({ "uri": report }));
    assert!(read["result"]["contents"][0]["text"].as_str().unwrap().contains("# count"), "{read}");
    let listed = client.request("resources/list", json!({}))["result"]["resources"].clone();
    assert!(listed.as_array().unwrap().iter().any(|one| one["uri"] == format!("vespiary://runs/{run}")), "{listed}");
    for absent in ["vespiary://runs/no-such-run", "file:///etc/passwd", "vespiary://runs/../../x"] {
        let read = client.request("resources/read", json!({ "uri": absent }));
        assert!(read.get("error").is_some(), "{absent}: {read}");
    }
}

#[test]
fn no_request_widens_the_servers_grant() {
    let place = Place::new();
    place.file("src/a.txt", "inside\n");
    place.file("secret.txt", "outside\n");
    let args = ["--only", "--allow", "read:src", "--allow", "tool:*", "--allow", "spawn:5"];
    let mut client = Client::connect(&place, RECENT, true, &args);
    let script = |body: &str| format!("export const meta = {{ name: 'wide', description: 'd' }}\n{body}");
    for permission in
        ["read:.", "read:/etc", "write:src", "net:*", "exec:sh", "env:HOME", "mcp:*", "spawn:6", "model:*"]
    {
        let asked = json!({ "script": script("return 1"), "permissions": [permission] });
        let said = client.fails("run_workflow", asked);
        assert!(said.contains(permission) && said.contains("--allow"), "{permission}: {said}");
        let tasks = json!({ "tasks": [{ "agent": "secrets" }], "permissions": [permission] });
        assert!(client.fails("spawn_subagents", tasks).contains(permission));
    }
    // Nor does the run that is started know another one.
    let body = "return await tool('files.read', { path: 'secret.txt' }).catch((e) => ({ refused: e.message }))";
    let run = client.gives("run_workflow", json!({ "script": script(body) }))["run"].as_str().unwrap().to_owned();
    let result = client.outcome(&run);
    assert!(result["value"]["refused"].as_str().unwrap().contains("needs read:secret.txt"), "{result:#}");
    let started = &events(&place, &run, "run-started")[0];
    assert_eq!(started["grant"], json!(["read:src", "tool:*", "spawn:5"]), "{started:#}");
    // A workflow is named, never a path: a file that is no script would be told of in an error.
    for path in ["../secret.txt", "/etc/passwd", "secret.txt", "src/a.txt"] {
        let said = client.fails("run_workflow", json!({ "workflow": path }));
        assert!(said.contains("does not name a workflow") && !said.contains("outside"), "{said}");
    }
    let both = client.fails("run_workflow", json!({ "workflow": "a", "script": "b" }));
    assert!(both.contains("names a workflow and brings a script"), "{both}");
}

const GATED: &str = "export const meta = { name: 'gated', description: 'd' }\n\
                     const decision = await gate({ title: 'Deploy?', payload: { to: 'prod' } })\nreturn { decision }\n";

#[test]
fn a_gate_is_decided_by_the_person_whatever_the_model_says() {
    let place = Place::new();
    let mut client = Client::connect(&place, RECENT, true, &[]);
    let start = |client: &mut Client| {
        let run = client.gives("run_workflow", json!({ "script": GATED }))["run"].as_str().unwrap().to_owned();
        let waiting = client.outcome(&run);
        assert_eq!(waiting["status"], "awaiting-gate", "{waiting:#}");
        assert_eq!(waiting["gates"][0]["payload"]["to"], "prod");
        run
    };
    let run = start(&mut client);
    // There is nothing in the arguments by which a model could decide.
    for forged in [
        json!({ "run": run, "approved": true }),
        json!({ "run": run, "note": "yes" }),
        json!({ "run": run, "by": "ann" }),
    ] {
        assert!(client.fails("approve", forged).contains("unknown field"));
    }
    client.answers = vec![json!({ "action": "cancel" })];
    let said = client.fails("approve", json!({ "run": run }));
    assert!(said.contains("nobody has decided") && said.contains("runs approve"), "{said}");
    client.answers = vec![yes()];
    let decided = client.gives("approve", json!({ "run": run }));
    assert_eq!(decided["approved"], true, "{decided}");
    let message = client.asked.last().unwrap()["message"].as_str().unwrap();
    assert!(message.contains("Deploy?") && message.contains("prod"), "{message}");
    let result = client.outcome(&run);
    assert_eq!(
        (&result["status"], &result["value"]["decision"]["approved"]),
        (&json!("completed"), &json!(true)),
        "{result:#}"
    );
    assert!(result["value"]["decision"]["by"].as_str().unwrap().ends_with("asked through a test 1"), "{result:#}");
    assert!(client.fails("approve", json!({ "run": run })).contains("has ended"));

    let run = start(&mut client);
    client.answers = vec![no()];
    assert_eq!(client.gives("approve", json!({ "run": run }))["approved"], false);
    assert_eq!(client.outcome(&run)["value"]["decision"]["approved"], false);
}

#[test]
fn a_run_is_a_task_where_the_client_knows_tasks() {
    let place = Place::new();
    let mut client = Client::connect(&place, NEW, true, &[]);
    let made =
        client.request("tools/call", json!({ "name": "run_workflow", "arguments": { "script": GATED } }))["result"]
            .clone();
    assert_eq!((&made["resultType"], &made["status"]), (&json!("task"), &json!("working")), "{made}");
    let id = made["taskId"].clone();
    let until = |client: &mut Client, status: &str| loop {
        let task = client.request("tasks/get", json!({ "taskId": id }))["result"].clone();
        if task["status"] == status {
            return task;
        }
        assert!(["working", "input_required"].contains(&task["status"].as_str().unwrap()), "{task:#}");
    };
    let waiting = until(&mut client, "input_required");
    let (gate, request) = waiting["inputRequests"].as_object().unwrap().iter().next().unwrap();
    assert!(request["params"]["message"].as_str().unwrap().contains("Deploy?"), "{request}");
    let update = json!({ "taskId": id, "inputResponses": { gate: yes() } });
    // A client that says that it can ask nobody is not asked, and its yes is nobody's.
    let able = client.meta.clone();
    let tasks_only = json!({ "extensions": { "io.modelcontextprotocol/tasks": {} } });
    client.meta.as_mut().unwrap()["io.modelcontextprotocol/clientCapabilities"] = tasks_only;
    let seen = client.request("tasks/get", json!({ "taskId": id }))["result"].clone();
    assert!(
        seen.get("inputRequests").is_none() && seen["statusMessage"].as_str().unwrap().contains("runs approve"),
        "{seen:#}"
    );
    let refused = client.request("tasks/update", update.clone());
    assert!(refused["error"]["message"].as_str().unwrap().contains("cannot ask a person"), "{refused}");
    client.meta = able;
    until(&mut client, "input_required");
    assert!(client.request("tasks/update", update).get("error").is_none());
    let done = until(&mut client, "completed");
    assert_eq!(done["result"]["structuredContent"]["value"]["decision"]["approved"], true, "{done:#}");

    // Cancelling a task stops its run.
    let endless =
        "export const meta = { name: 'endless', description: 'd' }\nfor (;;) await tool('echo.echo', { text: 'x' })\n";
    let made =
        client.request("tools/call", json!({ "name": "run_workflow", "arguments": { "script": endless } }))["result"]
            .clone();
    let id = made["taskId"].clone();
    assert!(client.request("tasks/cancel", json!({ "taskId": id })).get("error").is_none());
    loop {
        let task = client.request("tasks/get", json!({ "taskId": id }))["result"].clone();
        match task["status"].as_str().unwrap() {
            "working" => {}
            status => break assert_eq!(status, "cancelled", "{task:#}"),
        }
    }
    let unknown = client.request("tasks/get", json!({ "taskId": "no-such-task" }));
    assert!(unknown["error"]["message"].as_str().unwrap().contains("no task"), "{unknown}");
}

#[test]
fn only_what_was_started_here_can_be_stopped_from_here() {
    let place = Place::new();
    let mine = place.script("log('under way')\nfor (;;) await tool('echo.echo', { text: 'x' })");
    let said = place.run(&mine, &["--detach"]).exits(0);
    let mine = said.out().trim().to_owned();
    let mut client = Client::connect(&place, RECENT, false, &[]);
    let refused = client.fails("run_stop", json!({ "run": mine, "now": true }));
    assert!(refused.contains("a person started it"), "{refused}");
    place.vespiary(&["runs", "stop", &mine, "--now"]).exits(0);
    let endless =
        "export const meta = { name: 'endless', description: 'd' }\nfor (;;) await tool('echo.echo', { text: 'x' })\n";
    let run = client.gives("run_workflow", json!({ "script": endless }))["run"].as_str().unwrap().to_owned();
    client.gives("run_stop", json!({ "run": run, "now": true }));
    assert_eq!(client.outcome(&run)["status"], "stopped");
    assert!(client.fails("run_stop", json!({ "run": run })).contains("goes on no more"));
}

#[test]
fn a_plugin_that_changes_is_offered_anew_and_never_with_more() {
    let place = Place::new();
    let manifest =
        |name: &str, more: &str| format!("name = '{name}'\nversion = '1'\nkind = 'tools'\ndescription = 'd'\n{more}");
    let plugin = place.plugin(&component("plugins/built/echo.wasm"), &manifest("mine", ""));
    let mut client = Client::connect(&place, RECENT, false, &["--plugin", plugin.to_str().unwrap()]);
    let names = |client: &mut Client| -> Vec<String> {
        client.tools().iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
    };
    assert!(names(&mut client).contains(&"mine_echo".to_owned()));
    let changed = |client: &mut Client| {
        client.heard.clear();
        while !client.heard.iter().any(|heard| heard["method"] == "notifications/tools/list_changed") {
            client.request("ping", json!({}));
            thread::sleep(std::time::Duration::from_millis(20));
        }
    };
    std::fs::copy(component("tests/guests/built/hostile.wasm"), &plugin).unwrap();
    changed(&mut client);
    assert!(names(&mut client).contains(&"mine_neighbour".to_owned()), "another component is there");
    let more = "[[needs]]\ncapability = 'read:.'\nreason = 'r'\n";
    std::fs::write(place.path("plugin.toml"), manifest("mine", more)).unwrap();
    changed(&mut client);
    assert!(!names(&mut client).iter().any(|name| name.starts_with("mine_")), "what wants more is not taken up");
    std::fs::write(place.path("plugin.toml"), manifest("mine", "")).unwrap();
    changed(&mut client);
    assert!(names(&mut client).contains(&"mine_neighbour".to_owned()));
}

/// A run that the server starts is a process of its own, which reads the plugin's file anew.
#[test]
fn a_run_has_the_servers_plugins_and_no_wider_ones() {
    let place = Place::new();
    place.file("a/x.txt", "shown\n");
    place.file("b/s.txt", "hidden\n");
    let manifest = |need: &str| {
        format!(
            "name = 'mine'\nversion = '1'\nkind = 'tools'\ndescription = 'd'\n\
             [[needs]]\ncapability = '{need}'\nreason = 'r'\n"
        )
    };
    let plugin = place.plugin(&component("plugins/built/files.wasm"), &manifest("read:a"));
    let mut client = Client::connect(&place, RECENT, false, &["--plugin", plugin.to_str().unwrap()]);
    let read = |client: &mut Client, path: &str| {
        let script = format!(
            "export const meta = {{ name: 'reads', description: 'd' }}\n\
             return await tool('mine.read', {{ path: '{path}' }}).catch((e) => ({{ refused: e.message }}))\n"
        );
        let started = client.gives("run_workflow", json!({ "script": script }));
        client.outcome(started["run"].as_str().unwrap())["value"].clone()
    };
    assert_eq!(read(&mut client, "a/x.txt")["text"], "shown\n");
    assert!(read(&mut client, "b/s.txt")["refused"].is_string());
    // What wants more is no longer there, for the server and for what it starts.
    std::fs::write(place.path("plugin.toml"), manifest("read:.")).unwrap();
    client.heard.clear();
    while !client.heard.iter().any(|heard| heard["method"] == "notifications/tools/list_changed") {
        client.request("ping", json!({}));
        thread::sleep(std::time::Duration::from_millis(20));
    }
    let said = read(&mut client, "b/s.txt");
    assert!(said["refused"].as_str().unwrap().contains("mine"), "{said}");
    // As who looks between the writing and the taking up would have it: the file is another than the server's.
    let args = ["--plugin", plugin.to_str().unwrap(), "--plugin-is", &"0".repeat(64)];
    let script = place.script("return 1\n");
    place.run(&script, &args).exits(3).complains(&["it is not what the server that starts this run took up"]);
}

#[test]
fn escapes_of_a_guest_reach_no_terminal_through_a_client() {
    let place = Place::new();
    let mut client = Client::connect(&place, RECENT, false, &["--plugin", &hostile(&place)]);
    let said = client.fails("hostile_error_escapes", json!({}));
    super::super::assert_harmless(&said);
    assert!(!said.is_empty());
}

#[test]
fn a_trusted_server_is_offered_as_it_was_trusted_and_only_where_it_is_granted() {
    use super::super::servers::{COUNT, NEEDS, place as with_server, trust, with};
    let place = with_server(COUNT);
    let granted = with(NEEDS, &["--allow", "mcp:counter.count"]);
    let offered = |client: &mut Client| client.tools().into_iter().find(|tool| tool["name"] == "counter_count");
    // Nobody has trusted it.
    assert!(offered(&mut Client::connect(&place, RECENT, false, &granted)).is_none());
    trust(&place).exits(0);
    let mut client = Client::connect(&place, RECENT, false, &granted);
    let tool = offered(&mut client).unwrap();
    assert_eq!((&tool["title"], &tool["description"]), (&json!("Count"), &json!("Counts its calls.")));
    // One instance for all that is asked of it.
    for n in 1..=3 {
        assert_eq!(client.gives("counter_count", json!({})), json!({ "n": n, "who": "nobody" }));
    }
    // Trusted, and not granted here.
    let mut other = Client::connect(&place, RECENT, false, NEEDS);
    assert!(offered(&mut other).is_none());
    let said = other.fails("counter_count", json!({}));
    assert!(said.contains("needs mcp:counter.count"), "{said}");
}
