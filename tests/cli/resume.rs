//! Runs that go on: after a stop, after `kill -9` at any moment, with a script that was edited, over files that changed. What was
//! finished is neither made again nor paid for again; what is known beforehand can be told beforehand.

use super::worktree::WRITER;
use super::{Place, Said, component, files_below};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

/// How often the fleet is killed here; `VESPIARY_TEST_KILLS` asks for more.
const KILLS: u64 = 5;
/// Agents of that fleet; `VESPIARY_TEST_AGENTS`.
const AGENTS: u64 = 48;

fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a whole number"))
}

fn kinds() -> PathBuf {
    component("tests/workflows/kinds.js")
}

/// A project that `kinds.js` works on.
fn place(agents: u64) -> (Place, PathBuf) {
    let place = Place::new();
    for i in 0..agents {
        place.file(format!("src/{i}.txt"), format!("nothing secret in file {i}\n"));
    }
    let plugin = place.plugin(&component("tests/guests/built/writer-agent.wasm"), WRITER);
    (place, plugin)
}

fn args_of(plugin: &std::path::Path, agents: u64) -> Vec<String> {
    let agents = format!("agents={agents}");
    let args = ["--arg", &agents, "--allow", "write:.", "--provider", "mock:latency-ms=10,tokens=7", "--json"];
    args.into_iter().map(str::to_owned).chain(["--plugin".into(), plugin.to_str().unwrap().into()]).collect()
}

fn start(place: &Place, plugin: &std::path::Path, agents: u64) -> Said {
    let args = args_of(plugin, agents);
    place.run(&kinds(), &args.iter().map(String::as_str).collect::<Vec<_>>())
}

/// The events of one run, in their order, each as its name and its members.
fn events(place: &Place, run: &str) -> Vec<(String, Value)> {
    let shown = place.vespiary(&["runs", "show", run, "--events", "--verify", "--json"]).exits(0);
    let shown = shown.json("vespiary.run-record/1");
    assert_eq!(shown["verified"]["intact"], true, "{}", shown["verified"]);
    let event = |recorded: &Value| {
        let event = recorded["event"].as_object().unwrap().iter().next().unwrap();
        (event.0.clone(), event.1.clone())
    };
    shown["record"].as_array().unwrap().iter().map(event).collect()
}

/// Every run of the place, the first one first.
fn runs(place: &Place) -> Vec<String> {
    let said = place.vespiary(&["runs", "list", "--limit", "1000", "--json"]).exits(0).json("vespiary.runs/1");
    let mut ids: Vec<String> =
        said["runs"].as_array().unwrap().iter().map(|run| run["run"].as_str().unwrap().to_owned()).collect();
    ids.reverse();
    ids
}

/// How often each call ran to its end, over all runs: by tool and arguments. What was done in a worktree that died with its
/// process counts for nothing, and is left out; so are the engine and what an agent only read.
fn ran(place: &Place) -> BTreeMap<String, u64> {
    let mut ran = BTreeMap::new();
    for run in runs(place) {
        let events = events(place, &run);
        let mut isolated: HashMap<u64, bool> = HashMap::new();
        for (name, event) in &events {
            if name == "agent-started" {
                isolated.insert(event["agent"].as_u64().unwrap(), event["isolated"] == true);
            }
        }
        let taken: Vec<u64> = events
            .iter()
            .filter(|(name, event)| name == "agent-ended" && event["failure"].is_null())
            .map(|(_, event)| event["agent"].as_u64().unwrap())
            .collect();
        let mut asked: HashMap<u64, (u64, String)> = HashMap::new();
        for (name, event) in &events {
            let call = event["call"].as_u64().unwrap_or_default();
            match name.as_str() {
                "call-intended" => {
                    let what = format!("{} {}", event["tool"].as_str().unwrap(), event["arguments"]);
                    asked.insert(call, (event["agent"].as_u64().unwrap(), what));
                }
                "call-ended" => {
                    let (agent, what) = &asked[&call];
                    let counts = !isolated.get(agent).copied().unwrap_or(false) || taken.contains(agent);
                    let kept = !event["key"].is_null() && !event["value"].is_null() && event["reused"].is_null();
                    if counts && kept {
                        *ran.entry(what.clone()).or_default() += 1;
                    }
                }
                _ => {}
            }
        }
    }
    ran
}

/// The project's files below these directories, by name.
fn written(place: &Place) -> Vec<(PathBuf, Vec<u8>)> {
    let below = |dir: &str| files_below(&place.project().join(dir)).unwrap_or_default();
    let mut all: Vec<_> = ["out", "log", "own"].into_iter().flat_map(below).collect();
    // What was being written when the process was killed lies beside its place, whole.
    all.retain(|(path, _)| !path.file_name().unwrap().to_str().unwrap().starts_with(".vespiary-"));
    for (path, _) in &mut all {
        *path = path.strip_prefix(place.project()).unwrap().to_owned();
    }
    all.sort();
    all
}

#[test]
fn killed_at_any_moment_and_resumed_a_run_comes_to_the_same() {
    let (kills, agents) = (setting("VESPIARY_TEST_KILLS", KILLS), setting("VESPIARY_TEST_AGENTS", AGENTS));
    let (whole, plugin) = place(agents);
    let begun = Instant::now();
    let expected = start(&whole, &plugin, agents).exits(0).json("vespiary.run/1");
    let took = begun.elapsed();
    let files = written(&whole);
    assert_eq!(expected["value"]["missing"], 0, "{expected:#}");

    let (mut moments, mut executed, mut taken_over) = (Vec::new(), 0, 0);
    for kill in 0..kills {
        let (place, plugin) = place(agents);
        let args = args_of(&plugin, agents);
        let args = place.run_args(&kinds(), &args.iter().map(String::as_str).collect::<Vec<_>>());
        let running =
            super::Running::start(place.command_for_signals(&args.iter().map(String::as_str).collect::<Vec<_>>()));
        // Spread over the whole of the run, without a clock that every kill would meet at the same place.
        let moment = took.mul_f64((kill as f64 * 0.618_034).fract());
        thread::sleep(moment);
        running.send(Signal::KILL);
        let said = running.wait();
        moments.push(moment.as_millis());
        // Killed before there was a ledger, it never began.
        let begun = place.vespiary(&["runs", "list", "--json"]).code == Some(0) && !runs(&place).is_empty();
        let document = if said.code == Some(0) {
            said.json("vespiary.run/1")
        } else if !begun {
            start(&place, &plugin, agents).exits(0).json("vespiary.run/1")
        } else {
            // Every third is killed once more while it goes on.
            if kill % 3 == 2 {
                let again = super::Running::start(place.command_for_signals(&["runs", "resume", "last", "--json"]));
                thread::sleep(took.mul_f64((kill as f64 * 0.414_214).fract() / 2.0));
                again.send(Signal::KILL);
                again.wait();
            }
            let plan = place.vespiary(&["runs", "resume", "last", "--plan", "--json"]).exits(0).json("vespiary.plan/1");
            let resumed = place.vespiary(&["runs", "resume", "last", "--json"]);
            let resumed = match resumed.code {
                // The second kill came after its end.
                Some(2) if resumed.err().contains("has completed") => {
                    assert_eq!(plan["complete"], true);
                    let last = place.vespiary(&["runs", "show", "last", "--json"]).exits(0);
                    assert_eq!(last.json("vespiary.run-record/1")["status"], "completed");
                    executed += ran(&place).values().sum::<u64>();
                    continue;
                }
                _ => resumed.exits(0).json("vespiary.run/1"),
            };
            let reused = plan["reused"].as_array().unwrap().len() as u64;
            assert!(resumed["reused"].as_u64().unwrap() >= reused, "{plan:#}");
            taken_over += reused;
            resumed
        };
        assert_eq!(document["value"], expected["value"], "killed after {moment:?}");
        assert_eq!(document["status"], "completed");
        assert_eq!(document["changes"]["digest"], expected["changes"]["digest"], "killed after {moment:?}");
        assert_eq!(written(&place), files, "killed after {moment:?}");
        let ran = ran(&place);
        let twice: Vec<_> = ran.iter().filter(|(_, times)| **times > 1).collect();
        assert!(twice.is_empty(), "killed after {moment:?}, these finished and ran again: {twice:?}");
        executed += ran.values().sum::<u64>();
    }
    println!("{kills} kills of {agents} agents, after {moments:?} ms of {} ms", took.as_millis());
    println!("{executed} calls ran to their end, none of them twice; {taken_over} answers were taken over");
}

#[test]
fn a_plan_tells_what_would_run_and_changes_nothing() {
    let (place, plugin) = place(12);
    let script = place.script(
        "const ask = n => agent(`question ${n}`, { label: `q${n}` })\n\
         const first = await parallel([1, 2, 3].map(n => () => ask(n)))\n\
         const files = await tool('files.list', { path: 'src' })\n\
         if (args.more) await ask(4)\n\
         return { first, files: files.entries.length }\n",
    );
    let _ = plugin;
    let ran = place.run(&script, &["--provider", "mock:tokens=5", "--json"]).exits(0).json("vespiary.run/1");
    let plan = || place.vespiary(&["runs", "resume", "last", "--plan", "--json"]).exits(0).json("vespiary.plan/1");
    let known = plan();
    assert_eq!((&known["complete"], known["reused"].as_array().unwrap().len()), (&json!(true), 4), "{known:#}");
    assert_eq!(known["reused"][0]["from"]["run"], ran["run"]);

    // The list of files is another now, and whatever follows from it is not known.
    place.file("src/new.txt", "new\n");
    let before = fs::read(place.ledger()).unwrap();
    let told = plan();
    let labels: Vec<&Value> = told["to_run"].as_array().unwrap().iter().map(|job| &job["label"]).collect();
    assert_eq!((&told["complete"], labels), (&json!(false), vec![&json!("files.list")]));
    assert_eq!(told["reused"].as_array().unwrap().len(), 3);
    let words = place.vespiary(&["runs", "resume", "last", "--plan"]).exits(0);
    assert!(words.out().contains("3 answers known already") && words.out().contains("files.list"), "{}", words.out());
    assert_eq!(fs::read(place.ledger()).unwrap(), before, "a plan is not recorded");
    assert_eq!(runs(&place).len(), 1);

    // An edited script keeps what is the same in it.
    let edited = fs::read_to_string(&script).unwrap().replace("if (args.more)", "");
    fs::write(&script, edited).unwrap();
    let said = place.vespiary(&["runs", "resume", "last", "--script", script.to_str().unwrap(), "--json"]);
    let document = said.exits(0).json("vespiary.run/1");
    assert_eq!(
        (&document["reused"], &document["resumes"], &document["tokens"]),
        (&json!(3), &ran["run"], &json!(5 + 3))
    );
    assert_eq!((&document["value"]["first"], &document["value"]["files"]), (&ran["value"]["first"], &json!(13)));
}

#[test]
fn what_was_paid_for_counts_and_is_not_paid_again() {
    let place = Place::new();
    let script = place.script(
        "const answers = []\n\
         for (let n = 0; n < 6; n++) answers.push(await agent(`question ${n}`))\n\
         return { answers, spent: budget.spent() }\n",
    );
    let provider = ["--provider", "mock:tokens=100", "--json"];
    let first = place.run(&script, &[&provider[..], &["--tokens", "350"]].concat()).exits(4);
    let first = first.json("vespiary.run/1");
    let spent = first["tokens"].as_u64().unwrap();
    assert!(spent > 0 && first["status"] == "out-of-budget", "{first:#}");
    // The same limit is the same limit.
    let again = place.vespiary(&["runs", "resume", "last", "--json"]).exits(4).json("vespiary.run/1");
    assert_eq!((&again["status"], &again["tokens"]), (&json!("out-of-budget"), &json!(0)), "{again:#}");
    let whole = place.vespiary(&["runs", "resume", "last", "--tokens", "100000", "--json"]).exits(0);
    let whole = whole.json("vespiary.run/1");
    let total = whole["value"]["spent"].as_u64().unwrap();
    assert_eq!(total, spent + whole["tokens"].as_u64().unwrap());
    assert_eq!(whole["value"]["answers"].as_array().unwrap().len(), 6);
    place.vespiary(&["runs", "resume", "last"]).exits(2).complains(&[
        "cannot be resumed",
        "it has completed",
        "--script",
    ]);
}

#[test]
fn an_answer_is_used_again_only_while_everything_it_was_made_from_is_the_same() {
    let place = Place::new();
    for n in 0..20 {
        place.file(format!("src/{n}.txt"), format!("file {n}\n"));
    }
    let script = place.script(
        "const scan = n => agent('x', { label: `scan ${n}`, agentType: 'secrets', context: { mode: 'scan', files: [`src/${n}.txt`] } })\n\
         const found = await parallel(Array.from({ length: 20 }, (_, n) => () => scan(n)))\n\
         return found.map(f => f.findings.length)\n",
    );
    let run = |args: &[&str]| place.run(&script, &[args, &["--json"]].concat()).exits(0).json("vespiary.run/1");
    let first = run(&[]);
    assert_eq!(first["reused"], 0);
    // What an answer rests on is in the record of each run that takes it over, with the call that ran.
    for _ in 0..2 {
        let again = run(&[]);
        assert_eq!(again["reused"], 20);
        let events = events(&place, again["run"].as_str().unwrap());
        let taken: Vec<&Value> = events.iter().map(|(_, event)| event).filter(|e| !e["reused"].is_null()).collect();
        assert_eq!(taken.len(), 20);
        for event in taken {
            let rests_on = event["rests_on"]["value"].as_array().unwrap();
            assert_eq!((rests_on.len(), &rests_on[0]["tool"]), (1, &json!("files.read")), "{event:#}");
            assert_eq!((&rests_on[0]["origin"]["run"], &event["reused"]["run"]), (&first["run"], &first["run"]));
        }
    }
    place.file("src/7.txt", format!("aws_{}_key = '{}'\n", "secret_access", super::audit::secret()));
    let changed = run(&[]);
    assert_eq!(changed["reused"], 19);
    assert!(changed["value"][7].as_u64().unwrap() > 0, "{changed:#}");
    // Another rule shows other files: nothing that rests on the old ones is handed on.
    let denied = place.run(&script, &["--deny", "read:src/3.txt", "--json"]);
    let denied = denied.json("vespiary.run/1");
    assert_eq!(denied["reused"], 0, "{denied:#}");
    assert_eq!(run(&["--fresh"])["reused"], 0);
}

#[test]
fn an_effect_in_doubt_is_asked_about() {
    let place = Place::new();
    place.file("a.txt", "one\n");
    // An edit is not the same when made twice, so nobody repeats it unasked. Killed in the middle of a long list of them.
    let script = place.script(
        "log('under way')\n\
         for (let n = 0; ; n++) await tool('files.edit', { path: 'a.txt', old: n % 2 ? 'two' : 'one', new: n % 2 ? 'one' : 'two' })\n",
    );
    let mut doubts = 0;
    for _ in 0..40 {
        let args = place.run_args(&script, &["--allow", "write:a.txt"]);
        let mut running =
            super::Running::start(place.command_for_signals(&args.iter().map(String::as_str).collect::<Vec<_>>()));
        running.until_says("under way");
        thread::sleep(Duration::from_millis(25));
        running.send(Signal::KILL);
        running.wait();
        let plan = place.vespiary(&["runs", "resume", "last", "--plan", "--json"]).exits(0).json("vespiary.plan/1");
        if plan["questions"].as_array().unwrap().is_empty() {
            continue;
        }
        doubts += 1;
        assert!(plan["questions"][0].as_str().unwrap().contains("was interrupted, and may have done this"), "{plan:#}");
        // Nobody is at the terminal: it fails, and says what to do.
        let said = place.vespiary(&["runs", "resume", "last"]).exits(1);
        said.complains(&["denied", "was interrupted", "--in-doubt redo"]);
        break;
    }
    assert!(doubts > 0, "forty kills never met a call under way");
}

/// A worktree keeps what is written, and nothing else: what a program did is done, and whether the second one did is not known.
#[test]
fn what_an_isolated_agent_did_outside_is_neither_done_again_nor_forgotten() {
    let place = Place::new();
    // With the network, that is: a program that can neither write nor send has changed nothing.
    let manifest = WRITER.replace("'write:.'", "'exec:sh'") + "[[needs]]\ncapability = 'net:*:*'\nreason = 'r'\n";
    let plugin = place.plugin(&component("tests/guests/built/writer-agent.wasm"), &manifest);
    let script = place.script(
        "const sh = text => ({ tool: 'exec.run', arguments: { program: 'sh', args: ['-c', text] } })\n\
         const calls = [sh('echo done'), sh('sleep 600')]\n\
         log('under way')\n\
         return await agent('go', { agentType: 'writer', isolation: 'worktree', context: { calls } })\n",
    );
    let args =
        place.run_args(&script, &["--allow", "exec:sh", "--allow", "net:*:*", "--plugin", plugin.to_str().unwrap()]);
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let mut running = super::Running::start(place.command_for_signals(&args));
    running.until_says("under way");
    // The agent itself and its two programs.
    let until = Instant::now() + Duration::from_secs(120);
    let admitted = |run: &str| events(&place, run).iter().filter(|(name, _)| name == "call-admitted").count();
    while runs(&place).first().is_none_or(|run| admitted(run) < 3) {
        assert!(Instant::now() < until, "the second program never began");
        thread::sleep(Duration::from_millis(50));
    }
    running.send(Signal::KILL);
    running.wait();
    place.vespiary(&["runs", "resume", "last", "--json"]);
    let events = events(&place, &runs(&place)[1]);
    let of = |sort: &str| -> Vec<&Value> {
        events.iter().filter(|(name, _)| name == sort).map(|(_, event)| event).collect()
    };
    let programs: Vec<_> = of("call-intended")
        .into_iter()
        .filter(|event| event["tool"] == "exec.run")
        .map(|event| &event["call"])
        .collect();
    let ends: Vec<_> = of("call-ended").into_iter().filter(|event| programs.contains(&&event["call"])).collect();
    assert_eq!(ends.len(), 2, "{ends:#?}");
    assert!(ends[0]["reused"].is_object() && ends[0]["failure"].is_null(), "{:#}", ends[0]);
    assert!(ends[1]["failure"].to_string().contains("was interrupted"), "{:#}", ends[1]);
    assert!(of("call-admitted").iter().all(|event| !programs.contains(&&event["call"])), "neither ran");
}

#[test]
fn a_project_that_has_moved_is_still_the_same() {
    let place = Place::new();
    place.file("src/a.txt", "nothing\n");
    let script = place.script(
        "const scan = await agent('x', { agentType: 'secrets', context: { mode: 'scan', files: ['src/a.txt'] } })\n\
         return { scan, said: await agent('a question') }\n",
    );
    let ran = place.run(&script, &["--provider", "mock", "--json"]).exits(0).json("vespiary.run/1");
    let moved = place.path("moved");
    fs::rename(place.project(), &moved).unwrap();
    fs::create_dir(place.project()).unwrap();
    let script = fs::canonicalize(&script).unwrap();
    let resume = ["runs", "resume", "last", "--json", "--script", script.to_str().unwrap()];
    let there = [&resume[..], &["--dir", moved.to_str().unwrap()]].concat();
    let again = place.vespiary(&there).exits(0).json("vespiary.run/1");
    assert_eq!((&again["reused"], &again["value"]), (&json!(2), &ran["value"]));
    assert_eq!(again["dir"], fs::canonicalize(&moved).unwrap().to_str().unwrap());
}

#[test]
fn two_processes_do_not_go_on_with_the_same_run() {
    let place = Place::new();
    let script = place.script("log('under way')\nreturn await agent('slow')\n");
    let args = place.run_args(&script, &["--provider", "mock:latency-ms=60000"]);
    let mut running =
        super::Running::start(place.command_for_signals(&args.iter().map(String::as_str).collect::<Vec<_>>()));
    running.until_says("under way");
    place.vespiary(&["runs", "resume", "last"]).exits(2).complains(&["another process drives it", "runs watch"]);
    running.send(Signal::KILL);
    running.wait();
    // Its lease died with it. What goes on can do so without a terminal, too.
    let detached = place.vespiary(&["runs", "resume", "last", "--provider", "mock", "--detach"]).exits(0);
    place.vespiary(&["runs", "watch", detached.out().trim()]).exits(0);
    let ended = place.vespiary(&["runs", "show", detached.out().trim(), "--json"]).exits(0);
    assert_eq!(ended.json("vespiary.run-record/1")["status"], "completed");
    place.vespiary(&["call", "files.read", r#"{"path":"missing"}"#]).exits(1);
    place.vespiary(&["runs", "resume", "last"]).exits(2).complains(&["holds no script", "vespiary run"]);
}

#[test]
fn a_run_that_waits_for_a_person_goes_on_once_somebody_has_decided() {
    let place = Place::new();
    for name in ["src/a.js", "src/b.js", "src/c.js", "src/notes.md"] {
        place.file(name, "client.call()\n");
    }
    let script = component("tests/workflows/migrate.js");
    let waits = place.run(&script, &["--provider", "mock:tokens=5", "--json"]).exits(5).json("vespiary.run/1");
    assert_eq!((&waits["status"], &waits["agents"]), (&json!("awaiting-gate"), &json!(3)));
    let plan = || place.vespiary(&["runs", "resume", "last", "--plan", "--json"]).exits(0).json("vespiary.plan/1");
    let asks = plan();
    assert_eq!(asks["to_run"], json!([{ "label": "Migrate 3 files to the new client?", "agent_type": "gate" }]));
    assert_eq!(asks["reused"].as_array().unwrap().len(), 4);
    // Undecided, it waits again, and nothing was paid for twice.
    let again = place.vespiary(&["runs", "resume", "last", "--json"]).exits(5).json("vespiary.run/1");
    assert_eq!((&again["tokens"], &again["reused"]), (&json!(0), &json!(4)), "{again:#}");

    place.vespiary(&["runs", "approve", "last", "--note", "go ahead"]).exits(0);
    let told = plan();
    assert_eq!(told["to_run"].as_array().unwrap().len(), 3, "the migrations themselves: {told:#}");
    let whole = place.vespiary(&["runs", "resume", "last", "--json"]).exits(0).json("vespiary.run/1");
    assert_eq!((&whole["value"]["of"], &whole["agents"]), (&json!(3), &json!(9)), "{whole:#}");
    assert!(whole["value"]["approvedBy"].as_str().is_some_and(|by| !by.is_empty()), "{whole:#}");

    // Of another matter nothing was said.
    place.file("src/d.js", "client.call()\n");
    let other = place.vespiary(&["runs", "resume", "last", "--script", script.to_str().unwrap(), "--json"]).exits(5);
    assert_eq!(other.json("vespiary.run/1")["status"], "awaiting-gate");
}

/// A script that ends badly and then, as an author would do, is corrected and gone on with.
fn corrected(place: &Place, script: &std::path::Path, args: &[&str]) -> (Value, Value) {
    place.run(script, &[args, &["--json"]].concat()).exits(1);
    let whole = fs::read_to_string(script).unwrap();
    fs::write(script, whole.replace("throw new Error('not yet')", "")).unwrap();
    let (path, resume) = (script.to_str().unwrap(), ["runs", "resume", "last", "--script"]);
    let ask = |more: &str| place.vespiary(&[&resume[..], &[path, more, "--json"]].concat()).exits(0);
    let plan = ask("--plan").json("vespiary.plan/1");
    (plan, ask("--quiet").json("vespiary.run/1"))
}

#[test]
fn each_of_several_equal_requests_keeps_its_own_answer() {
    let place = Place::new();
    let answers = place.path("answers.jsonl");
    let line = |answer: &str| format!("{{\"contains\": \"same\", \"answer\": \"{answer}\", \"times\": 1}}\n");
    fs::write(&answers, ["one", "two", "three"].map(line).concat()).unwrap();
    let script = place.script(
        "const all = await parallel([1, 2, 3].map(() => () => agent('the same question')))\n\
         throw new Error('not yet')\n\
         return all.toSorted()\n",
    );
    // Nobody could answer again: each line of the file answers once.
    let provider = format!("scripted:{}", answers.display());
    let (plan, whole) = corrected(&place, &script, &["--provider", &provider]);
    assert_eq!((&plan["complete"], &whole["tokens"]), (&json!(true), &json!(0)));
    assert_eq!(whole["value"], json!(["one", "three", "two"]));
}

#[test]
fn what_the_run_changed_itself_is_not_held_against_it() {
    let place = Place::new();
    place.file("out/x.txt", "one\n");
    let script = place.script(
        "const { text } = await tool('files.read', { path: 'out/x.txt' })\n\
         await tool('files.edit', { path: 'out/x.txt', old: text, new: text + 'and more\\n' })\n\
         throw new Error('not yet')\n\
         return text\n",
    );
    let (plan, whole) = corrected(&place, &script, &["--allow", "write:out"]);
    assert_eq!((&plan["complete"], &whole["value"]), (&json!(true), &json!("one\n")), "{plan:#}");
    assert_eq!(fs::read_to_string(place.project().join("out/x.txt")).unwrap(), "one\nand more\n");
}

#[test]
fn a_stored_change_set_counts_again_only_above_what_it_was_made_from() {
    let place = Place::new();
    let plugin = place.plugin(&component("tests/guests/built/writer-agent.wasm"), WRITER);
    let numbered = |text: &str| format!("one\n{text}\nthree\n");
    for name in ["src/a.txt", "src/b.txt"] {
        place.file(name, numbered("two"));
    }
    let script = place.script(
        "const edit = path => ({ tool: 'files.edit', arguments: { path, old: 'two', new: 'TWO' } })\n\
         const all = await parallel(['src/a.txt', 'src/b.txt'].map(path => () => agent('go', {\n\
           label: path, agentType: 'writer', isolation: 'worktree', context: { calls: [edit(path)] } })))\n\
         return all.length\n",
    );
    let args = ["--allow", "write:.", "--plugin", plugin.to_str().unwrap(), "--json"];
    let ran = place.run(&script, &args).exits(0).json("vespiary.run/1");
    let resume = ["runs", "resume", "last", "--script", script.to_str().unwrap(), "--json"];
    let plan = || place.vespiary(&[&resume[..], &["--plan"]].concat()).exits(0).json("vespiary.plan/1");
    assert_eq!(plan()["complete"], true);
    let again = place.vespiary(&resume).exits(0).json("vespiary.run/1");
    assert_eq!((&again["changes"]["digest"], &again["reused"]), (&ran["changes"]["digest"], &json!(2)));

    // Somebody has worked on one of the two files: whatever was changed above its old content is changed anew.
    place.file("src/b.txt", format!("{}four\n", numbered("two")));
    let told = plan();
    assert_eq!(told["to_run"], json!([{ "label": "src/b.txt", "agent_type": "writer" }]), "{told:#}");
    place.vespiary(&[&resume[..], &["--apply"]].concat()).exits(0);
    let content = |name| fs::read_to_string(place.project().join(name)).unwrap();
    assert_eq!((content("src/a.txt"), content("src/b.txt")), (numbered("TWO"), format!("{}four\n", numbered("TWO"))));
}
