//! What a call of a tool costs over MCP, on standard input and output: `vespiary mcp` against a server that has no sandbox, no
//! record and no protocol beyond what is asked of it, and against whatever other servers are named. They take turns, so that
//! noise hits all of them alike, and only ratios between them are worth keeping.
//!
//! `cargo bench -p vespiary --bench mcp`; `-- --peer 'NAME=COMMAND LINE::TOOL::ARGUMENTS'` measures another server as well,
//! `--rounds N` and `--calls N` how often. The command line is split at spaces. `--spinning TOOL` names a tool of the peers that never
//! ends; without it they are not measured beside one.
#![allow(clippy::disallowed_methods, reason = "a bench starts servers and talks to them")]

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// What this program is started with to be the server without a sandbox.
const BARE: &str = "--serve-bare";

/// The tool of that server that never ends, on a thread of its own: what others take of the processor it takes, too.
const SPIN: &str = "spin";

/// Calls under way at the same time, where they are pipelined.
const AT_ONCE: usize = 64;

/// Calls that never end, beside which others are measured.
const SPINNING: [usize; 2] = [1, 4];

/// Calls before the first that counts: code is compiled, pages and caches come in.
const WARM_UP: usize = 300;

/// How long an answer may take before the server is said to give none.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is echoed.
const ARGUMENTS: &str = r#"{"text":"hello world"}"#;

/// What must stand in every answer.
const ECHOED: &[u8] = b"hello world";

/// A plugin with a tool that spins, and the time to do it.
const HOSTILE: &str = "name = 'hostile'\nversion = '1'\nkind = 'tools'\ndescription = 'spins'\n\
                       [quota]\ncpu-time-ms-max = 3600000\nwall-time-ms-max = 3600000\n";

fn main() {
    let given: Vec<String> = std::env::args().skip(1).collect();
    if given.iter().any(|argument| argument == BARE) {
        return serve_bare();
    }
    let plan = Plan::read(given);
    let place = tempfile::tempdir().unwrap();
    let mut all = vec![Contender::bare(), Contender::ours(place.path())];
    all.extend(plan.peers.iter().map(|peer| Contender::peer(peer, plan.spinning.as_deref())));
    for _ in 0..plan.rounds {
        for contender in &mut all {
            contender.round(plan.calls);
        }
    }
    show(&mut all, |times| &mut times.alone, "one call after the other");
    show_rates(&mut all);
    for (at, spinning) in SPINNING.into_iter().enumerate() {
        beside_spinning(&mut all, at, spinning, plan.calls);
        show(&mut all, |times| &mut times.beside[at], &format!("one after the other, beside {spinning} that spin"));
    }
}

/// What the command line asks for.
struct Plan {
    peers: Vec<String>,
    spinning: Option<String>,
    rounds: usize,
    calls: usize,
}

impl Plan {
    fn read(given: Vec<String>) -> Self {
        let mut plan = Self { peers: Vec::new(), spinning: None, rounds: 10, calls: 1_000 };
        let mut given = given.into_iter();
        while let Some(argument) = given.next() {
            let mut value = || given.next().unwrap_or_else(|| panic!("{argument} needs a value"));
            match argument.as_str() {
                // Cargo's own.
                "--bench" => {}
                "--peer" => plan.peers.push(value()),
                "--spinning" => plan.spinning = Some(value()),
                "--rounds" => plan.rounds = value().parse().expect("--rounds takes a number"),
                "--calls" => plan.calls = value().parse().expect("--calls takes a number"),
                other => panic!("{other} is not known; there are --peer, --spinning, --rounds and --calls"),
            }
        }
        plan
    }
}

/// A server that is measured.
struct Contender {
    name: String,
    server: Server,
    tool: String,
    arguments: String,
    /// A tool of it that never ends.
    spinning: Option<String>,
    /// The server is started anew for calls beside those that spin: nothing else is to suffer from them.
    starts: Box<dyn Fn() -> Command>,
    times: Times,
}

/// What was measured: nanoseconds a call, and calls a second.
#[derive(Default)]
struct Times {
    alone: Vec<u64>,
    rates: Vec<f64>,
    beside: [Vec<u64>; SPINNING.len()],
    /// What it did in place of answering.
    failed: Vec<String>,
}

impl Contender {
    fn new(name: &str, tool: &str, arguments: &str, starts: impl Fn() -> Command + 'static) -> Self {
        let mut server = Server::start(&mut starts());
        for _ in 0..WARM_UP {
            server.call(tool, arguments).unwrap_or_else(|why| panic!("{name}: {why}"));
        }
        Self {
            name: name.into(),
            server,
            tool: tool.into(),
            arguments: arguments.into(),
            spinning: None,
            starts: Box::new(starts),
            times: Times::default(),
        }
    }

    /// This program once more, as a server that only answers.
    fn bare() -> Self {
        let mut bare = Self::new("no sandbox, no record", "echo", ARGUMENTS, || {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.arg(BARE);
            command
        });
        bare.spinning = Some(SPIN.into());
        bare
    }

    /// `vespiary mcp` over an empty project, with the bundled echo.
    fn ours(place: &Path) -> Self {
        let (project, home) = (place.join("project"), place.join("home"));
        std::fs::create_dir_all(&project).unwrap();
        let plugin = place.join("hostile");
        let component = plugin.join("plugin.wasm");
        std::fs::create_dir_all(&plugin).unwrap();
        std::fs::write(plugin.join("plugin.toml"), HOSTILE).unwrap();
        std::fs::copy(built("hostile.wasm"), &component).unwrap();
        let mut ours = Self::new("vespiary mcp", "echo_echo", ARGUMENTS, move || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_vespiary"));
            command.arg("mcp").arg("--plugin").arg(&component).current_dir(&project).env("VESPIARY_HOME", &home);
            command
        });
        ours.spinning = Some("hostile_endless_loop".into());
        ours
    }

    /// A server of somebody else's, as `NAME=COMMAND LINE::TOOL::ARGUMENTS`.
    fn peer(described: &str, spinning: Option<&str>) -> Self {
        let shape = "a peer is NAME=COMMAND LINE::TOOL::ARGUMENTS";
        let (name, rest) = described.split_once('=').expect(shape);
        let (line, rest) = rest.split_once("::").expect(shape);
        let (tool, arguments) = rest.split_once("::").expect(shape);
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        assert!(!words.is_empty(), "{shape}");
        let mut peer = Self::new(name, tool, arguments, move || {
            let mut command = Command::new(&words[0]);
            command.args(&words[1..]);
            command
        });
        peer.spinning = spinning.map(str::to_owned);
        peer
    }

    /// One turn: calls one after the other, and as many again with many under way.
    fn round(&mut self, calls: usize) {
        let Self { server, tool, arguments, times, .. } = self;
        for _ in 0..calls {
            match server.call(tool, arguments) {
                Ok(took) => times.alone.push(took),
                Err(why) => return times.failed.push(why),
            }
        }
        match server.pipelined(tool, arguments, calls) {
            Ok(rate) => times.rates.push(rate),
            Err(why) => {
                times.failed.push(format!("pipelined: {why}"));
                // What is still on its way would be taken for answers to come.
                *server = Server::start(&mut (self.starts)());
            }
        }
    }
}

/// Every server is started anew, has its tool that spins called as often as is said, if it has one, and answers others meanwhile.
fn beside_spinning(all: &mut [Contender], at: usize, spinning: usize, calls: usize) {
    for contender in all {
        let mut server = Server::start(&mut (contender.starts)());
        let Contender { tool, arguments, times, .. } = contender;
        if let Some(spin) = &contender.spinning {
            (0..spinning).for_each(|_| drop(server.send(spin, "{}")));
            thread::sleep(Duration::from_millis(200));
        }
        for call in 0..calls + WARM_UP {
            match server.call(tool, arguments) {
                Ok(took) if call >= WARM_UP => times.beside[at].push(took),
                Ok(_) => {}
                Err(why) => {
                    times.failed.push(format!("beside {spinning} that spin: {why}"));
                    break;
                }
            }
        }
    }
}

/// A server that was started, and the client's end of its two streams.
struct Server {
    process: Child,
    to: ChildStdin,
    lines: Receiver<Vec<u8>>,
    last: u64,
    line: Vec<u8>,
}

impl Server {
    /// Start it and introduce the client.
    fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (to, from) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        let mut server = Self { process, to, lines: listen(from), last: 0, line: Vec::new() };
        let hello = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}"#;
        writeln!(server.to, "{hello}").unwrap();
        server.answer().unwrap_or_else(|why| panic!("{command:?} does not introduce itself: {why}"));
        writeln!(server.to, r#"{{"jsonrpc":"2.0","method":"notifications/initialized"}}"#).unwrap();
        server
    }

    /// Send a call, and give its id.
    fn send(&mut self, tool: &str, arguments: &str) -> Result<u64, String> {
        self.last += 1;
        let id = self.last;
        self.line.clear();
        let params = format_args!(r#"{{"name":"{tool}","arguments":{arguments}}}"#);
        let written = writeln!(self.line, r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{params}}}"#);
        written.and_then(|()| self.to.write_all(&self.line)).map_err(|error| format!("it hung up: {error}"))?;
        Ok(id)
    }

    /// The next answer, whoever's it is: its id and its line.
    fn answer(&mut self) -> Result<(u64, Vec<u8>), String> {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).map_err(|error| match error {
                RecvTimeoutError::Timeout => format!("no answer in {} s", PATIENCE.as_secs()),
                RecvTimeoutError::Disconnected => "it hung up".to_owned(),
            })?;
            if let Some(id) = id(&line) {
                return Ok((id, line));
            }
        }
    }

    /// Make a call and wait for it. Nanoseconds.
    fn call(&mut self, tool: &str, arguments: &str) -> Result<u64, String> {
        let started = Instant::now();
        let asked = self.send(tool, arguments)?;
        let (id, line) = self.answer()?;
        let took = started.elapsed().as_nanos() as u64;
        if id != asked {
            return Err(format!("{id} was answered in place of {asked}"));
        }
        echoed(&line).map(|()| took)
    }

    /// Make `calls` calls, many of them under way at the same time. Calls a second.
    fn pipelined(&mut self, tool: &str, arguments: &str, calls: usize) -> Result<f64, String> {
        let started = Instant::now();
        let mut under_way = VecDeque::with_capacity(AT_ONCE);
        let (mut sent, mut answered) = (0, 0);
        while answered < calls {
            while sent < calls && under_way.len() < AT_ONCE {
                under_way.push_back(self.send(tool, arguments)?);
                sent += 1;
            }
            let (id, line) = self.answer().map_err(|why| format!("{why}, with {answered} of {sent} answered"))?;
            let at = under_way.iter().position(|asked| *asked == id);
            let at = at.ok_or_else(|| format!("{id} was answered, which is not under way"))?;
            under_way.remove(at);
            echoed(&line)?;
            answered += 1;
        }
        Ok(calls as f64 / started.elapsed().as_secs_f64())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What a server says, line by line. A thread of its own: only so can waiting have an end.
fn listen(from: ChildStdout) -> Receiver<Vec<u8>> {
    let (heard, lines) = channel();
    thread::spawn(move || {
        let mut from = BufReader::with_capacity(1 << 16, from);
        loop {
            let mut line = Vec::with_capacity(512);
            match from.read_until(b'\n', &mut line) {
                Ok(read) if read > 0 && heard.send(line).is_ok() => {}
                _ => return,
            }
        }
    });
    lines
}

/// The id of an answer. None: it is none, but a notification. Found by its bytes, not read: the client is to cost little.
fn id(line: &[u8]) -> Option<u64> {
    let rest = &line[find(line, b"\"id\":")? + 5..];
    let digits = rest.iter().skip_while(|byte| **byte == b' ').take_while(|byte| byte.is_ascii_digit());
    digits.fold(None, |id: Option<u64>, digit| Some(id.unwrap_or(0) * 10 + u64::from(digit - b'0')))
}

fn find(line: &[u8], wanted: &[u8]) -> Option<usize> {
    line.windows(wanted.len()).position(|window| window == wanted)
}

fn echoed(line: &[u8]) -> Result<(), String> {
    match find(line, ECHOED) {
        Some(_) => Ok(()),
        None => Err(format!("it answered {}", String::from_utf8_lossy(&line[..line.len().min(300)]).trim())),
    }
}

/// A file of the guests that attack.
fn built(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("tests/guests/built").join(name)
}

/// Print medians, and each as a multiple of the first.
fn show(all: &mut [Contender], of: impl Fn(&mut Times) -> &mut Vec<u64>, what: &str) {
    println!("\n{what}");
    let mut floor = None;
    for Contender { name, times, .. } in all {
        let measured = of(times);
        measured.sort_unstable();
        if measured.is_empty() {
            println!("{name:28} nothing: {}", times.failed.last().map_or("no call was answered", String::as_str));
            continue;
        }
        let at = |part: f64| measured[((measured.len() - 1) as f64 * part) as usize] as f64 / 1e3;
        let floor = *floor.get_or_insert(at(0.5));
        println!("{name:28} p50 {:9.1} us  p99 {:9.1} us  {:6.2}x", at(0.5), at(0.99), at(0.5) / floor);
    }
}

/// Print calls a second, and how many times fewer than the first's they are.
fn show_rates(all: &mut [Contender]) {
    println!("\n{AT_ONCE} calls under way");
    let mut most = None;
    for Contender { name, times, .. } in all {
        times.rates.sort_unstable_by(f64::total_cmp);
        let Some(median) = times.rates.get(times.rates.len() / 2).copied() else {
            println!("{name:28} nothing: {}", times.failed.last().map_or("no call was answered", String::as_str));
            continue;
        };
        let most = *most.get_or_insert(median);
        let failed = if times.failed.is_empty() { String::new() } else { format!("  {} failed", times.failed.len()) };
        println!("{name:28} {median:9.0} calls a second  {:6.2}x{failed}", most / median);
    }
}

/// The floor: what is asked is answered with what stands in it, by the thread that reads it.
fn serve_bare() {
    let (mut from, mut to) = (std::io::stdin().lock(), std::io::stdout().lock());
    let mut line = String::new();
    while from.read_line(&mut line).is_ok_and(|read| read > 0) {
        let asked: serde_json::Value = serde_json::from_str(&line).unwrap();
        line.clear();
        let result = match asked["method"].as_str() {
            Some("initialize") => serde_json::json!({
                "protocolVersion": "2025-06-18", "capabilities": { "tools": {} }, "serverInfo": { "name": "bare", "version": "1" },
            }),
            Some("tools/call") if asked["params"]["name"] == SPIN => {
                thread::spawn(|| {
                    loop {
                        std::hint::spin_loop();
                    }
                });
                continue;
            }
            Some("tools/call") => {
                let given = &asked["params"]["arguments"];
                serde_json::json!({ "content": [{ "type": "text", "text": given.to_string() }], "structuredContent": given })
            }
            _ => continue,
        };
        let answer = serde_json::json!({ "jsonrpc": "2.0", "id": asked["id"], "result": result });
        if writeln!(to, "{answer}").and_then(|()| to.flush()).is_err() {
            return;
        }
    }
}
