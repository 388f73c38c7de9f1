//! MCP servers of others, as their users meet them: configured, looked at, trusted, called, changed.

use super::{Place, Said};
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::thread;

/// A server with the tools of `TOOLS`, that counts its calls.
const SERVER: &str = r#"
say() { printf '%s\n' "$1"; }
n=0
while IFS= read -r line; do
  id=${line#*'"id":'}; id=${id%%[,\}]*}
  case $line in
    *'"method":"initialize"'*) say '{"jsonrpc":"2.0","id":'"$id"',"result":{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"counter","version":"1"}}}' ;;
    *'"method":"tools/list"'*) say '{"jsonrpc":"2.0","id":'"$id"',"result":{"tools":['"$TOOLS"']}}' ;;
    *'"method":"tools/call"'*) n=$((n+1)); say '{"jsonrpc":"2.0","id":'"$id"',"result":{"content":[],"structuredContent":{"n":'$n',"who":"'"$WHO"'"}}}' ;;
  esac
done
"#;
pub(super) const COUNT: &str =
    r#"{"name":"count","title":"Count","description":"Counts its calls.","inputSchema":{"type":"object"}}"#;
const CONFIG: &str = "[mcp.servers.counter]\ncommand = 'sh'\nargs = ['server.sh']\nenv = { WHO = '${WHO:-nobody}' }\n\
                      needs = ['read:server.sh']\n";
pub(super) const NEEDS: &[&str] = &["--allow", "exec:sh", "--allow", "env:WHO"];

pub(super) fn place(tools: &str) -> Place {
    let place = Place::new();
    place.file("vespiary.toml", CONFIG);
    place.file("server.sh", format!("TOOLS='{tools}'\n{SERVER}"));
    place
}

pub(super) fn with<'a>(first: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    first.iter().chain(more).copied().collect()
}

pub(super) fn trust(place: &Place) -> Said {
    place.vespiary(&with(&["mcp", "trust", "counter", "--yes"], NEEDS))
}

fn call(place: &Place) -> Said {
    let call = ["call", "counter.run", r#"{"tool":"count"}"#, "--json", "--allow", "mcp:counter.count"];
    place.vespiary(&with(&call, NEEDS))
}

#[test]
fn a_server_is_called_once_it_is_granted_and_trusted() {
    let place = place(COUNT);
    let listed = place.vespiary(&["mcp", "servers", "--json"]).exits(0).json("vespiary.mcp-servers/1");
    assert_eq!(listed["servers"][0]["state"], "not-pinned");
    assert_eq!(listed["servers"][0]["needs"], serde_json::json!(["exec:sh", "env:WHO", "read:server.sh"]));
    let refused = call(&place).exits(3).json("vespiary.call/1");
    assert_eq!(refused["failure"]["cause"], "denied");
    assert!(refused["failure"]["detail"]["hint"].as_str().unwrap().contains("vespiary mcp trust counter"));

    place.vespiary(&["mcp", "trust", "counter", "--yes"]).exits(3).complains(&["needs exec:sh", "--allow exec:sh"]);
    let seen = trust(&place).exits(0).out();
    for part in
        ["counter 1", "sh server.sh", "exec:sh, env:WHO", "Count", "Counts its calls.", "is trusted now: 1 tool"]
    {
        assert!(seen.contains(part), "{part}: {seen}");
    }
    let value = call(&place).exits(0).json("vespiary.call/1")["value"].clone();
    assert_eq!(value, serde_json::json!({ "n": 1, "who": "nobody" }));
    trust(&place).exits(0).out().contains("was trusted so already").then_some(()).expect("nothing changed");

    let denied = place.vespiary(&with(&["call", "counter.run", r#"{"tool":"count"}"#], NEEDS));
    denied.exits(3).complains(&["needs mcp:counter.count", "--allow mcp:counter.count"]);
    let explained =
        place.vespiary(&with(&["policy", "explain", "counter.run", r#"{"tool":"count"}"#], NEEDS)).exits(3).out();
    assert!(explained.contains("mcp:counter.count"), "{explained}");

    place.vespiary(&["mcp", "untrust", "counter"]).exits(0);
    call(&place).exits(3);
}

#[test]
fn a_variable_reaches_the_server_that_was_granted_it_and_its_absence_is_told() {
    let place = place(COUNT);
    place.file("vespiary.toml", CONFIG.replace(":-nobody", ""));
    trust(&place).exits(1).complains(&["the variable WHO is not set"]);
    let mut command = place.command(&with(&["mcp", "trust", "counter", "--yes"], NEEDS));
    command.env("WHO", "somebody");
    super::Running::start(command).wait().exits(0);
    let call = ["call", "counter.run", r#"{"tool":"count"}"#, "--json", "--allow", "mcp:counter.*"];
    let mut command = place.command(&with(&call, NEEDS));
    command.env("WHO", "somebody");
    assert_eq!(super::Running::start(command).wait().exits(0).json("vespiary.call/1")["value"]["who"], "somebody");
}

#[test]
fn what_changes_is_shown_and_must_be_trusted_again() {
    let place = place(COUNT);
    trust(&place).exits(0);
    let other = COUNT.replace("Counts its calls.", "Counts \\u001b[2Jits calls, and yours.");
    place.file("server.sh", format!("TOOLS='{other},{}'\n{SERVER}", COUNT.replace("\"count\"", "\"fresh\"")));
    let refused = call(&place).exits(3).json("vespiary.call/1");
    let rule = refused["failure"]["detail"]["rule"].as_str().unwrap().to_owned();
    assert!(rule.contains("description of that tool changed"), "{rule}");
    // Nobody is there to ask.
    let asked = place.vespiary(&with(&["mcp", "trust", "counter"], NEEDS)).exits(3).stays_harmless();
    let out = asked.out();
    for part in ["~ tool count: description", "+ tool fresh", "was described as", "and yours"] {
        assert!(out.contains(part), "{part}: {out}");
    }
    asked.complains(&["nobody is at the terminal"]);
    call(&place).exits(3);
    trust(&place).exits(0);
    call(&place).exits(0);

    place.file("vespiary.toml", CONFIG.replace("nobody", "everybody"));
    let listed = place.vespiary(&["mcp", "servers", "--json"]).exits(0).json("vespiary.mcp-servers/1");
    assert_eq!(listed["servers"][0]["state"], "changed");
    let refused = call(&place).exits(3).json("vespiary.call/1");
    assert!(refused["failure"]["detail"]["rule"].as_str().unwrap().contains("configuration has changed"));
}

#[test]
fn a_whole_fleet_shares_one_instance() {
    let place = place(COUNT);
    trust(&place).exits(0);
    let script = place.script(
        "const all = await Promise.all(Array.from({ length: 15 }, () => tool('counter.run', { tool: 'count' })))\n\
         return all.map(answer => answer.n).sort((a, b) => a - b)\n",
    );
    let run = place.run(&script, &with(&["--json", "--allow", "mcp:counter.*"], NEEDS)).exits(0);
    let shape: serde_json::Value = serde_json::from_str(&run.out()).unwrap();
    let counted: Vec<u64> = serde_json::from_value(shape["value"].clone()).unwrap_or_else(|_| panic!("{shape}"));
    assert_eq!(counted, (1..=15).collect::<Vec<_>>(), "each call was counted by the same server");
}

#[test]
fn what_is_wrong_in_a_file_is_told_with_its_place() {
    let place = place(COUNT);
    place.file(".mcp.json", "{\"mcpServers\": {\n  \"old\": {\"type\": \"sse\", \"url\": \"https://a.example\"},\n  \"files\": {\"command\": \"sh\"}\n}}");
    place.file("vespiary.toml", format!("{CONFIG}comand = 'x'\n"));
    let listed = place.vespiary(&["mcp", "servers"]).exits(2).out();
    for part in [
        ".mcp.json:2",
        "not spoken here",
        ".mcp.json:3",
        "name of a plugin",
        "vespiary.toml:6",
        "did you mean \"command\"?",
    ] {
        assert!(listed.contains(part), "{part}: {listed}");
    }
    call(&place).exits(2).complains(&["no plugin named \"counter\"", "did you mean \"command\"?"]);
    place.file("notes.txt", "still read");
    place.vespiary(&["call", "files.read", r#"{"path":"notes.txt"}"#]).exits(0);
}

#[test]
fn no_tool_changes_what_is_trusted() {
    let place = place(COUNT);
    trust(&place).exits(0);
    for file in ["vespiary.lock", "vespiary.toml", ".mcp.json"] {
        let write = format!(r#"{{"path":"{file}","text":"x","overwrite":true}}"#);
        place.vespiary(&["call", "files.write", &write, "--allow", "write:."]).exits(3);
    }
    place.file(".mcp.json", "{}");
    let named = r#"{"path":".mcp.json","text":"{ }","overwrite":true}"#;
    place.vespiary(&["call", "files.write", named, "--allow", "write:.mcp.json"]).exits(0);
}

/// A server over HTTP that answers `replies`, or sends everybody elsewhere. Its address.
fn http(redirects: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || answer(stream, redirects));
        }
    });
    format!("127.0.0.1:{}", address.port())
}

fn answer(stream: std::net::TcpStream, redirects: bool) {
    let mut reader = BufReader::new(&stream);
    let (mut length, mut token) = (0, String::new());
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if let Some(value) = lower.strip_prefix("authorization:") {
            token = value.trim().to_owned();
        }
        line.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let asked: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let result = match asked["method"].as_str() {
        Some("initialize") => serde_json::json!({
            "protocolVersion": "2025-06-18", "capabilities": { "tools": {} }, "serverInfo": { "name": "far", "version": "1" },
        }),
        Some("tools/list") => serde_json::json!({ "tools": [{ "name": "who", "inputSchema": { "type": "object" } }] }),
        Some("tools/call") => serde_json::json!({ "content": [{ "type": "text", "text": token }] }),
        _ => serde_json::Value::Null,
    };
    let reply = serde_json::json!({ "jsonrpc": "2.0", "id": asked["id"], "result": result }).to_string();
    let head = match (redirects, asked["id"].is_null()) {
        (true, _) => "HTTP/1.1 307 Temporary Redirect\r\nlocation: http://127.0.0.1:9/elsewhere".to_owned(),
        (_, true) if body.is_empty() => "HTTP/1.1 405 Method Not Allowed".to_owned(),
        (_, true) => "HTTP/1.1 202 Accepted".to_owned(),
        _ => "HTTP/1.1 200 OK\r\ncontent-type: application/json".to_owned(),
    };
    let reply = if head.contains(" 200 ") { reply } else { String::new() };
    let _ = write!(&stream, "{head}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{reply}", reply.len());
}

#[test]
fn a_server_elsewhere_is_called_through_the_egress() {
    let place = Place::new();
    let peer = http(false);
    let config = format!(
        r#"{{"mcpServers": {{"far": {{"type": "http", "url": "http://{peer}/mcp", "headers": {{"Authorization": "Bearer ${{T}}"}}}}}}}}"#
    );
    place.file(".mcp.json", config);
    let net = format!("net:{peer}");
    let run = |args: &[&str]| {
        let mut command = place.command(args);
        command.env("T", "sesame");
        super::Running::start(command).wait()
    };
    run(&["mcp", "trust", "far", "--yes", "--allow", "env:T"]).exits(3).complains(&[&net]);
    run(&["mcp", "trust", "far", "--yes", "--allow", "env:T", "--allow", &net]).exits(0);
    assert!(!fs::read_to_string(place.project().join("vespiary.lock")).unwrap().contains("sesame"));
    let call = ["call", "far.run", r#"{"tool":"who"}"#, "--allow", "env:T", "--allow", "mcp:far.who", "--allow"];
    assert!(run(&with(&call, &[&net])).exits(0).out().contains("bearer sesame"));
    run(&with(&call, &["net:*"])).exits(3);
}

#[test]
fn a_redirect_is_told_and_not_followed() {
    let place = Place::new();
    let peer = http(true);
    place.file("vespiary.toml", format!("[mcp.servers.far]\nurl = 'http://{peer}/mcp'\n"));
    let net = format!("net:{peer}");
    let said = place.vespiary(&["mcp", "trust", "far", "--yes", "--allow", &net, "--allow", "net:127.0.0.1:9"]);
    said.exits(1)
        .complains(&["it redirects (HTTP 307) to http://127.0.0.1:9/elsewhere", "write it as the server's url"]);
}

/// A server of notes, for the book's examples.
const NOTES: &str = r#"
const schema = { type: 'object', properties: { text: { type: 'string' } }, required: ['text'] }
require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
  const { id, method, params } = JSON.parse(line)
  const reply = (result) => console.log(JSON.stringify({ jsonrpc: '2.0', id, result }))
  if (method === 'initialize')
    reply({ protocolVersion: '2025-06-18', capabilities: { tools: {} }, serverInfo: { name: 'notes', version: '1' } })
  if (method === 'tools/list') reply({ tools: [{ name: 'search', description: 'Finds notes.', inputSchema: schema }] })
  if (method === 'tools/call')
    reply({ content: [{ type: 'text', text: [params.arguments.text, process.env.TOKEN, process.env.MODE].join(' ') }] })
})
"#;

/// What stands between the fences of that kind in the book's chapter, one after the other.
fn in_the_book(kind: &str) -> Vec<&'static str> {
    let chapter = include_str!("../../docs/mcp-servers.md");
    chapter.split(&format!("```{kind}\n")).skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

/// Whoever copies them has something that works.
#[test]
fn the_examples_in_the_book_can_be_followed() {
    for (file, kind) in [(".mcp.json", "json"), ("vespiary.toml", "toml")] {
        let place = Place::new();
        place.file(file, in_the_book(kind)[0]);
        let listed = place.vespiary(&["mcp", "servers", "--json"]).exits(0).json("vespiary.mcp-servers/1");
        assert_eq!(listed["servers"].as_array().map(Vec::len), Some(2), "{file}: {listed:#}");
        assert_eq!(listed["faults"], serde_json::json!([]), "{file}: {listed:#}");
    }
    if std::process::Command::new("node").arg("--version").output().is_err() {
        return;
    }
    let place = Place::new();
    place.file("vespiary.toml", in_the_book("toml")[0]);
    place.file("tools/notes.js", NOTES);
    let bin = place.path("bin");
    fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(super::PROGRAM, bin.join("vespiary")).unwrap();
    let path = std::env::join_paths(
        std::iter::once(bin).chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
    )
    .unwrap();
    let lines = in_the_book("console")[0].replace("\\\n", " ");
    let lines: Vec<&str> = lines.lines().filter_map(|line| line.strip_prefix("$ ")).collect();
    assert_eq!(lines.len(), 4, "{lines:?}");
    for line in lines {
        // Nobody is there to be asked.
        let line = line.replace("mcp trust", "mcp trust --yes");
        let mut command = std::process::Command::new("setsid");
        command.args(["--wait", "sh", "-c"]);
        let mut command = place.prepared(command, &[&line]);
        command.env("PATH", &path).env("NOTES_TOKEN", "sesame");
        let said = super::Running::start(command).wait().exits(0).out();
        let expected = match line.split(' ').nth(1) {
            Some("call") => "bees sesame fast",
            _ => "notes",
        };
        assert!(said.contains(expected), "{line}: {said}");
    }
}

#[test]
fn nothing_to_do_is_said() {
    let place = Place::new();
    place.vespiary(&["mcp", "trust", "nobody"]).exits(2).complains(&["no MCP server \"nobody\"", ".mcp.json"]);
    place.vespiary(&["mcp", "untrust", "nobody"]).exits(0);
    assert!(place.vespiary(&["mcp", "servers"]).exits(0).out().contains("no MCP servers"));
}
