//! `vespiary mcp` as its clients use it: lines of JSON-RPC on its two streams, and requests over HTTP.

mod entries;
mod http;
mod stdio;

use super::{PATIENCE, PROGRAM, Place, component};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

/// Revisions that are spoken: the oldest, later ones with a handshake, and the one without.
const OLDEST: &str = "2024-11-05";
const OLD: &str = "2025-06-18";
const RECENT: &str = "2025-11-25";
const NEW: &str = "2026-07-28";

/// A plugin with tools that attack, and one that does not.
const HOSTILE: &str = "name = 'hostile'\nversion = '1'\nkind = 'tools'\ndescription = 'd'\n\
                       [quota]\ncpu-time-ms-max = 3600000\nwall-time-ms-max = 3600000\n";

/// A server, and the client that talks to it.
struct Client {
    server: Child,
    to: Option<ChildStdin>,
    from: Receiver<Value>,
    last: u64,
    /// Sent with every request of a revision without a handshake.
    meta: Option<Value>,
    /// What the person answers, one question after the other.
    answers: Vec<Value>,
    /// What they were asked.
    asked: Vec<Value>,
    /// Notifications, in the order in which they came.
    heard: Vec<Value>,
}

impl Client {
    /// A server that is started with `args`, and nothing said yet.
    fn start(place: &Place, args: &[&str]) -> Self {
        Self::start_with(place, args, &[])
    }

    /// The same, with variables beside those of the test itself.
    fn start_with(place: &Place, args: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(PROGRAM);
        command.arg("mcp").args(args).current_dir(place.project()).env("VESPIARY_HOME", place.home());
        command.envs(variables.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut server = command.spawn().unwrap();
        let (to, out) = (server.stdin.take(), server.stdout.take().unwrap());
        let (sender, from) = channel();
        thread::spawn(move || {
            for line in BufReader::new(out).lines() {
                let line = line.unwrap();
                let message = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        Self { server, to, from, last: 0, meta: None, answers: Vec::new(), asked: Vec::new(), heard: Vec::new() }
    }

    /// The same, after the handshake of `revision`. With `able`, the client can ask a person.
    fn connect(place: &Place, revision: &str, able: bool, args: &[&str]) -> Self {
        Self::start(place, args).greet(revision, able)
    }

    fn greet(mut self, revision: &str, able: bool) -> Self {
        let client = &mut self;
        let capabilities = if able { json!({ "elicitation": {} }) } else { json!({}) };
        let about = json!({ "name": "a test", "version": "1" });
        if revision == NEW {
            let capabilities = match able {
                true => json!({ "elicitation": { "form": {} }, "extensions": { "io.modelcontextprotocol/tasks": {} } }),
                false => json!({}),
            };
            client.meta = Some(json!({
                "io.modelcontextprotocol/protocolVersion": revision, "io.modelcontextprotocol/clientInfo": about,
                "io.modelcontextprotocol/clientCapabilities": capabilities,
            }));
            return self;
        }
        let hello = json!({ "protocolVersion": revision, "capabilities": capabilities, "clientInfo": about });
        let welcome = client.request("initialize", hello);
        assert_eq!(welcome["result"]["protocolVersion"], revision, "{welcome}");
        client.send(json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        self
    }

    fn send(&mut self, message: Value) {
        writeln!(self.to.as_mut().unwrap(), "{message}").unwrap();
    }

    /// Ask for something, and do not wait for it. Gives its id.
    fn ask(&mut self, method: &str, mut params: Value) -> u64 {
        self.last += 1;
        if let Some(meta) = &self.meta {
            for (key, value) in meta.as_object().unwrap() {
                params["_meta"][key] = value.clone();
            }
        }
        self.send(json!({ "jsonrpc": "2.0", "id": self.last, "method": method, "params": params }));
        self.last
    }

    /// The answer to request `id`. Meanwhile the person answers, and what is heard is kept.
    #[track_caller]
    fn answer(&mut self, id: u64) -> Value {
        loop {
            let message =
                self.from.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no answer to {id}: {:?}", self.heard));
            match (message.get("method"), message.get("id")) {
                (Some(method), Some(theirs)) => {
                    assert_eq!(method, "elicitation/create", "{message}");
                    self.asked.push(message["params"].clone());
                    assert!(!self.answers.is_empty(), "asked once too often: {message}");
                    let answer = self.answers.remove(0);
                    let theirs = theirs.clone();
                    self.send(json!({ "jsonrpc": "2.0", "id": theirs, "result": answer }));
                }
                (Some(_), None) => self.heard.push(message),
                (None, Some(got)) if *got == json!(id) => return message,
                (None, _) => self.heard.push(message),
            }
        }
    }

    #[track_caller]
    fn request(&mut self, method: &str, params: Value) -> Value {
        let id = self.ask(method, params);
        self.answer(id)
    }

    /// Call a tool, and give what it said, be it an error or not.
    #[track_caller]
    fn call(&mut self, tool: &str, arguments: Value) -> Value {
        let answer = self.request("tools/call", json!({ "name": tool, "arguments": arguments }));
        assert!(answer.get("error").is_none(), "{answer}");
        answer["result"].clone()
    }

    /// The structured content of a call that succeeds.
    #[track_caller]
    fn gives(&mut self, tool: &str, arguments: Value) -> Value {
        let result = self.call(tool, arguments);
        assert_ne!(result["isError"], true, "{result}");
        result["structuredContent"].clone()
    }

    /// The text of a call that fails.
    #[track_caller]
    fn fails(&mut self, tool: &str, arguments: Value) -> String {
        let result = self.call(tool, arguments);
        assert_eq!(result["isError"], true, "{result}");
        assert!(result.get("structuredContent").is_none(), "{result}");
        result["content"][0]["text"].as_str().unwrap().to_owned()
    }

    /// The tools that are listed, over all pages.
    fn tools(&mut self) -> Vec<Value> {
        let (mut tools, mut params) = (Vec::new(), json!({}));
        loop {
            let page = self.request("tools/list", params)["result"].clone();
            tools.extend(page["tools"].as_array().unwrap().clone());
            match page.get("nextCursor") {
                Some(cursor) => params = json!({ "cursor": cursor }),
                None => return tools,
            }
        }
    }

    /// Wait until a run has ended, and give its result.
    #[track_caller]
    fn outcome(&mut self, run: &str) -> Value {
        loop {
            // A gate that an earlier part of the run has decided stands open for a moment.
            let result = self.gives("run_result", json!({ "run": run }));
            if result["status"] != "running"
                && self.gives("run_status", json!({ "run": run }))["status"] == result["status"]
            {
                return result;
            }
            thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    /// Hang up, and wait for the server to end by itself.
    fn leave(mut self) {
        drop(self.to.take());
        let status = self.server.wait().unwrap();
        assert!(status.success(), "{status}");
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// A yes, as a client sends it.
fn yes() -> Value {
    json!({ "action": "accept", "content": { "allow": true } })
}

fn no() -> Value {
    json!({ "action": "accept", "content": { "allow": false } })
}

/// The hostile plugin beside the project, as an argument.
fn hostile(place: &Place) -> String {
    place.plugin(&component("tests/guests/built/hostile.wasm"), HOSTILE).to_str().unwrap().to_owned()
}

/// Every event of the latest record that has `kind`.
fn events(place: &Place, run: &str, kind: &str) -> Vec<Value> {
    let show = ["runs", "show", run, "--verify", "--events", "--json"];
    let record = place.vespiary(&show).exits(0).json("vespiary.run-record/1");
    let events = record["record"].as_array().unwrap().iter().map(|recorded| recorded["event"].clone());
    events.filter_map(|event| event.get(kind).cloned()).collect()
}

/// Wait until `many` events of that kind are on disk. What only reads is written there a little after it happens.
fn until_recorded(place: &Place, run: &str, kind: &str, many: usize) {
    until_recorded_that(place, run, kind, many, |_| true);
}

/// The same of those that `fits` takes.
fn until_recorded_that(place: &Place, run: &str, kind: &str, many: usize, fits: impl Fn(&&Value) -> bool) {
    let begun = std::time::Instant::now();
    let there = || events(place, run, kind).iter().filter(&fits).count();
    while place.vespiary(&["runs", "show", run]).code != Some(0) || there() < many {
        assert!(begun.elapsed() < PATIENCE, "{many} of {kind} are not in the record of {run}");
    }
}

/// The run that a call belongs to.
fn run_of(result: &Value) -> String {
    result["_meta"]["vespiary/run"].as_str().unwrap().to_owned()
}
