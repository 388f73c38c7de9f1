//! Over HTTP.

use super::super::Running;
use super::*;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::{Client as Http, Method, StatusCode, header};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use rustix::process::Signal;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// A server that listens, ended when the test is.
struct Server {
    running: Option<Running>,
    url: String,
}

impl Server {
    fn start(place: &Place, args: &[&str]) -> Self {
        let all = [&["mcp", "--http", "127.0.0.1:0"], args].concat();
        let mut command = place.command_for_signals(&all);
        command.env("VESPIARY_MCP_TOKEN", TOKEN);
        let mut running = Running::start(command);
        running.until_says("MCP at http");
        let said = running.stderr.so_far();
        let url = said.split_once("MCP at ").unwrap().1.split(';').next().unwrap().to_owned();
        Self { running: Some(running), url }
    }

    fn pid(&self) -> u32 {
        self.running.as_ref().unwrap().child.id()
    }

    /// End it as a person would, and see that it ends well.
    fn stop(mut self) {
        let running = self.running.take().unwrap();
        running.send(Signal::TERM);
        running.wait().exits(0);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(running) = &mut self.running {
            let _ = running.child.kill();
        }
    }
}

/// A client that speaks plain HTTP; it would not be made without somebody who could encrypt.
fn client() -> Http {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Http::new()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn post(http: &Http, server: &Server, session: Option<&str>, body: &Value) -> reqwest::RequestBuilder {
    let mut request = http
        .post(&server.url)
        .header(header::AUTHORIZATION, format!("Bearer {TOKEN}"))
        .header(header::ACCEPT, "application/json, text/event-stream")
        .header(header::CONTENT_TYPE, "application/json")
        .body(body.to_string());
    if let Some(session) = session {
        request = request.header("mcp-session-id", session).header("mcp-protocol-version", RECENT);
    }
    request
}

fn hello() -> Value {
    json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": RECENT, "capabilities": {}, "clientInfo": { "name": "over http", "version": "1" } } })
}

fn tool(id: u64, name: &str, arguments: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": { "name": name, "arguments": arguments } })
}

/// The answer to `id` in a stream of events.
async fn answer(response: reqwest::Response, id: u64) -> Value {
    assert_eq!(response.status(), StatusCode::OK);
    let text = response.text().await.unwrap();
    let messages =
        text.lines().filter_map(|line| line.strip_prefix("data:")).filter_map(|data| serde_json::from_str(data).ok());
    let all: Vec<Value> = messages.collect();
    all.iter().find(|message| message["id"] == id).unwrap_or_else(|| panic!("no answer to {id}: {text}")).clone()
}

async fn session(http: &Http, server: &Server) -> String {
    let response = post(http, server, None, &hello()).send().await.unwrap();
    let session = response.headers()["mcp-session-id"].to_str().unwrap().to_owned();
    answer(response, 0).await;
    let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    assert_eq!(post(http, server, Some(&session), &initialized).send().await.unwrap().status(), StatusCode::ACCEPTED);
    session
}

#[test]
fn without_the_token_the_host_and_a_good_origin_nobody_comes_in() {
    let place = Place::new();
    let server = Server::start(&place, &["--allow-origin", "https://app.example.com"]);
    runtime().block_on(async {
        let http = client();
        let request = || {
            http.post(&server.url)
                .header(header::ACCEPT, "application/json, text/event-stream")
                .header(header::CONTENT_TYPE, "application/json")
                .body(hello().to_string())
        };
        let bare = request().send().await.unwrap();
        assert_eq!(bare.status(), StatusCode::UNAUTHORIZED);
        assert!(bare.headers()[header::WWW_AUTHENTICATE].to_str().unwrap().starts_with("Bearer"), "{bare:?}");
        for bad in ["Bearer 0123456789abcdef0123456789abcdee", "Bearer ", "Basic eDp5", TOKEN] {
            let status = request().header(header::AUTHORIZATION, bad).send().await.unwrap().status();
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{bad}");
        }
        let with = |name: header::HeaderName, value: &'static str| {
            post(&http, &server, None, &hello()).header(name, value).send()
        };
        assert_eq!(with(header::HOST, "evil.example.com").await.unwrap().status(), StatusCode::FORBIDDEN);
        for origin in
            ["https://evil.example.com", "null", "http://localhost.evil.example.com", "http://app.example.com"]
        {
            assert_eq!(with(header::ORIGIN, origin).await.unwrap().status(), StatusCode::FORBIDDEN, "{origin}");
        }
        for origin in ["https://app.example.com", "http://localhost:6274"] {
            assert_eq!(with(header::ORIGIN, origin).await.unwrap().status(), StatusCode::OK, "{origin}");
        }
        let large = json!({ "jsonrpc": "2.0", "id": 1, "method": "ping", "params": { "x": "x".repeat(5 << 20) } });
        assert_eq!(post(&http, &server, None, &large).send().await.unwrap().status(), StatusCode::PAYLOAD_TOO_LARGE);
    });
    server.stop();
}

#[test]
fn an_address_that_others_reach_needs_a_name() {
    let place = Place::new();
    let said = place.vespiary(&["mcp", "--http", "0.0.0.0:0"]).exits(2);
    said.complains(&["other machines reach it", "--allow-host"]);
    let said =
        place.vespiary(&["mcp", "--http", "127.0.0.1:0", "--oauth-issuer", "https://login.example.com"]).exits(2);
    said.complains(&["--oauth-audience", "--oauth-jwks"]);
    let short = place.path("token");
    std::fs::write(&short, "guess me\n").unwrap();
    let said = place.vespiary(&["mcp", "--http", "127.0.0.1:0", "--token-file", short.to_str().unwrap()]).exits(2);
    said.complains(&["fewer than 24 characters"]);
}

#[test]
fn a_team_learns_where_to_get_its_token() {
    let place = Place::new();
    let keys = place.path("keys.json");
    std::fs::write(&keys, r#"{"keys":[]}"#).unwrap();
    let team = [
        "--oauth-issuer",
        "https://login.example.com",
        "--oauth-audience",
        "https://tools.example.com/mcp",
        "--oauth-jwks",
        keys.to_str().unwrap(),
        "--oauth-scope",
        "tools",
        "--public-url",
        "https://tools.example.com/mcp",
    ];
    let all = [&["mcp", "--http", "127.0.0.1:0"][..], &team].concat();
    let mut running = Running::start(place.command_for_signals(&all));
    running.until_says("MCP at https://tools.example.com/mcp");
    // The port is the system's choice, and only the table of connections tells it.
    let port = listening_port(running.child.id());
    runtime().block_on(async {
        let http = client();
        let at = |path: &str| format!("http://127.0.0.1:{port}{path}");
        let refused = http.post(at("/mcp")).header(header::AUTHORIZATION, "Bearer x.y.z").send().await.unwrap();
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
        let challenge = refused.headers()[header::WWW_AUTHENTICATE].to_str().unwrap().to_owned();
        let metadata = "https://tools.example.com/.well-known/oauth-protected-resource/mcp";
        assert!(challenge.contains(&format!("resource_metadata=\"{metadata}\"")), "{challenge}");
        assert!(challenge.contains("invalid_token") && challenge.contains("scope=\"tools\""), "{challenge}");
        let told: Value = serde_json::from_str(
            &http.get(at("/.well-known/oauth-protected-resource/mcp")).send().await.unwrap().text().await.unwrap(),
        )
        .unwrap();
        assert_eq!(told["resource"], "https://tools.example.com/mcp");
        assert_eq!(told["authorization_servers"], json!(["https://login.example.com"]));
    });
    running.send(Signal::TERM);
    running.wait().exits(0);
}

/// The port on which the process `pid` listens.
fn listening_port(pid: u32) -> u16 {
    let sockets: Vec<String> = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok()?.to_str().map(str::to_owned))
        .filter_map(|link| Some(link.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let line = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let line = line
        .clone()
        .find(|line| line.get(3) == Some(&"0A") && sockets.iter().any(|inode| line.get(9) == Some(&inode.as_str())));
    u16::from_str_radix(line.unwrap()[1].rsplit(':').next().unwrap(), 16).unwrap()
}

#[test]
fn sessions_are_limited_and_end_when_they_are_deleted() {
    let place = Place::new();
    let server = Server::start(&place, &["--sessions", "3"]);
    runtime().block_on(async {
        let http = client();
        let mut sessions = Vec::new();
        for _ in 0..3 {
            sessions.push(session(&http, &server).await);
        }
        let refused = post(&http, &server, None, &hello()).send().await.unwrap();
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        let result = answer(
            post(&http, &server, Some(&sessions[0]), &tool(1, "echo_echo", json!({ "text": "a" })))
                .send()
                .await
                .unwrap(),
            1,
        )
        .await;
        assert_eq!(result["result"]["structuredContent"]["text"], "a");
        let run = run_of(&result["result"]);
        let delete = http
            .delete(&server.url)
            .header(header::AUTHORIZATION, format!("Bearer {TOKEN}"))
            .header("mcp-session-id", &sessions[0]);
        assert!(delete.send().await.unwrap().status().is_success());
        session(&http, &server).await;
        until_recorded(&place, &run, "run-ended", 1);
    });
    server.stop();
}

/// Of those that come at once no more get in than there are places for, and who keeps no session needs no place.
#[test]
fn places_are_for_sessions_and_each_is_given_once() {
    let place = Place::new();
    let server = Server::start(&place, &["--sessions", "3"]);
    runtime().block_on(async {
        let http = client();
        let hello = hello();
        let all = (0..24).map(|_| post(&http, &server, None, &hello).send());
        let all = futures_util::future::join_all(all).await;
        let count = |status| all.iter().filter(|came| came.as_ref().unwrap().status() == status).count();
        assert_eq!((count(StatusCode::OK), count(StatusCode::SERVICE_UNAVAILABLE)), (3, 21));
        let mut alone = tool(1, "echo_echo", json!({ "text": "a" }));
        alone["params"]["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": NEW, "io.modelcontextprotocol/clientInfo": { "name": "alone", "version": "1" },
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let request = post(&http, &server, None, &alone).header("mcp-protocol-version", NEW);
        let request = request.header("mcp-method", "tools/call").header("mcp-name", "echo_echo");
        let given = answer(request.send().await.unwrap(), 1).await;
        assert_eq!(given["result"]["structuredContent"]["text"], "a", "{given}");
    });
    server.stop();
}

/// A team with one key, and its tokens.
struct Team(Ed25519KeyPair);

const ISSUER: &str = "https://login.example.com";
const AUDIENCE: &str = "https://tools.example.com/mcp";

impl Team {
    fn new() -> Self {
        let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self(Ed25519KeyPair::from_pkcs8(key.as_ref()).unwrap())
    }

    fn keys(&self) -> Value {
        let x = URL_SAFE_NO_PAD.encode(self.0.public_key().as_ref());
        json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": "ed", "alg": "EdDSA", "use": "sig", "x": x }] })
    }

    fn token(&self, subject: &str) -> String {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let claims = json!({ "iss": ISSUER, "aud": AUDIENCE, "sub": subject, "exp": now + 3_600 });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(&json!({ "alg": "EdDSA", "kid": "ed" })), part(&claims));
        let signature = URL_SAFE_NO_PAD.encode(self.0.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }
}

#[test]
fn a_session_is_its_openers_and_nobody_elses() {
    let place = Place::new();
    let (team, keys) = (Team::new(), place.path("keys.json"));
    std::fs::write(&keys, team.keys().to_string()).unwrap();
    let keys = keys.to_str().unwrap();
    let args = ["--oauth-issuer", ISSUER, "--oauth-audience", AUDIENCE, "--oauth-jwks", keys];
    let server = Server::start(&place, &args);
    let (ann, bob) = (team.token("ann"), team.token("bob"));
    let run = runtime().block_on(async {
        let http = client();
        let request = |method: Method, token: &str, session: Option<&str>| {
            let request = http
                .request(method, &server.url)
                .header(header::AUTHORIZATION, format!("Bearer {token}"))
                .header(header::ACCEPT, "application/json, text/event-stream")
                .header(header::CONTENT_TYPE, "application/json");
            match session {
                Some(session) => request.header("mcp-session-id", session).header("mcp-protocol-version", RECENT),
                None => request,
            }
        };
        let post = |token: &str, session: Option<&str>, body: &Value| {
            request(Method::POST, token, session).body(body.to_string())
        };
        let opened = async |token: &str| {
            let response = post(token, None, &hello()).send().await.unwrap();
            let session = response.headers()["mcp-session-id"].to_str().unwrap().to_owned();
            answer(response, 0).await;
            let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
            let heard = post(token, Some(&session), &initialized).send().await.unwrap();
            assert_eq!(heard.status(), StatusCode::ACCEPTED);
            session
        };
        let (hers, his) = (opened(&ann).await, opened(&bob).await);
        let echo = |id: u64, text: &str| tool(id, "echo_echo", json!({ "text": text }));
        let yes = json!({ "jsonrpc": "2.0", "id": 0, "result": yes() });
        for taken in [
            post(&bob, Some(&hers), &echo(1, "his")),
            post(&bob, Some(&hers), &yes),
            request(Method::GET, &bob, Some(&hers)),
            request(Method::DELETE, &bob, Some(&hers)),
            post(&ann, Some(&his), &echo(1, "hers")),
        ] {
            assert_eq!(taken.send().await.unwrap().status(), StatusCode::NOT_FOUND);
        }
        let given = answer(post(&ann, Some(&hers), &echo(2, "hers")).send().await.unwrap(), 2).await;
        assert_eq!(given["result"]["structuredContent"]["text"], "hers", "{given}");
        let deleted = request(Method::DELETE, &ann, Some(&hers)).send().await.unwrap();
        assert!(deleted.status().is_success());
        let gone = post(&ann, Some(&hers), &echo(3, "hers")).send().await.unwrap();
        assert_eq!(gone.status(), StatusCode::NOT_FOUND);
        run_of(&given["result"])
    });
    server.stop();
    assert_eq!(events(&place, &run, "call-intended").len(), 1);
    let started = events(&place, &run, "run-started")[0]["args"].to_string();
    assert!(started.contains("ann") && !started.contains("bob"), "{started}");
}

/// Kibibytes of memory that a process holds, and how many descriptors and threads.
fn held(pid: u32) -> (u64, usize, usize) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let field = |name: &str| -> u64 {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    (field("VmRSS:"), std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count(), field("Threads:") as usize)
}

/// 200 clients at once, a tenth of which go away in the middle of a call. Nothing of them stays.
#[test]
fn clients_that_vanish_leave_nothing_behind() {
    let place = Place::new();
    let plugin = place.plugin(
        &component("tests/guests/built/hostile.wasm"),
        "name = 'hostile'\nversion = '1'\nkind = 'tools'\ndescription = 'd'\n[quota]\ncpu-time-ms-max = 500\nwall-time-ms-max = 2000\n",
    );
    let server = Server::start(&place, &["--plugin", plugin.to_str().unwrap()]);
    let round = |clients: usize| {
        runtime().block_on(async {
            let http = client();
            let work = (0..clients).map(|n| {
                let (http, server) = (http.clone(), &server);
                async move {
                    let session = session(&http, server).await;
                    for call in 1..=5 {
                        let text = format!("{n}-{call}");
                        let sent =
                            post(&http, server, Some(&session), &tool(call, "echo_echo", json!({ "text": text })))
                                .send()
                                .await;
                        assert_eq!(answer(sent.unwrap(), call).await["result"]["structuredContent"]["text"], text);
                    }
                    if n % 10 == 0 {
                        // Gone in the middle of a call; the session is never closed.
                        let spin =
                            post(&http, server, Some(&session), &tool(9, "hostile_endless_loop", json!({}))).send();
                        let _ = tokio::time::timeout(std::time::Duration::from_millis(20), spin).await;
                        return;
                    }
                    let delete = http.delete(&server.url).header(header::AUTHORIZATION, format!("Bearer {TOKEN}"));
                    assert!(delete.header("mcp-session-id", &session).send().await.unwrap().status().is_success());
                }
            });
            futures_util::future::join_all(work).await;
        });
    };
    round(200);
    let settled = |most: usize| {
        let begun = std::time::Instant::now();
        while held(server.pid()).1 > most {
            assert!(begun.elapsed() < PATIENCE, "descriptors stay: {:?}", held(server.pid()));
            thread::sleep(std::time::Duration::from_millis(50));
        }
    };
    settled(80);
    let first = held(server.pid());
    for _ in 0..3 {
        round(200);
    }
    settled(first.1 + 8 + 60);
    let last = held(server.pid());
    assert!(last.2 <= first.2 + 4, "threads: {first:?} {last:?}");
    assert!(last.0 < first.0 + (32 << 10), "memory, KiB: {first:?} {last:?}");
    // No cell is stuck: every call that was begun has an end.
    server.stop();
    let runs = place.vespiary(&["runs", "list", "--limit", "2000", "--json"]).exits(0).json("vespiary.runs/1");
    let runs = runs["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 800);
    assert!(
        runs.iter().all(|run| run["status"] == "completed"),
        "{:?}",
        runs.iter().find(|run| run["status"] != "completed")
    );
    let calls: u64 = runs.iter().map(|run| run["calls"].as_u64().unwrap()).sum();
    assert!((4_000..=4_080).contains(&calls), "{calls}");
}

/// In the revision without sessions every request stands for itself; what one client calls is still one record.
#[test]
fn without_sessions_requests_of_one_client_are_one_record_and_a_question_comes_back() {
    let place = Place::new();
    place.file("out/x", "");
    let server = Server::start(&place, &["--allow", "write:out", "--ask", "write:out"]);
    let call = |name: &str, more: Value| {
        let mut params = json!({ "name": name, "_meta": {
            "io.modelcontextprotocol/protocolVersion": NEW, "io.modelcontextprotocol/clientInfo": { "name": "alone", "version": "1" },
            "io.modelcontextprotocol/clientCapabilities": { "elicitation": { "form": {} } },
        } });
        for (key, value) in more.as_object().unwrap() {
            params[key] = value.clone();
        }
        json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params })
    };
    let runs = runtime().block_on(async {
        let http = client();
        let send = async |name: &str, more: Value| {
            let request = post(&http, &server, None, &call(name, more));
            let request =
                request.header("mcp-protocol-version", NEW).header("mcp-method", "tools/call").header("mcp-name", name);
            answer(request.send().await.unwrap(), 1).await["result"].clone()
        };
        let first = send("echo_echo", json!({ "arguments": { "text": "a" } })).await;
        let write = json!({ "path": "out/a.txt", "text": "x" });
        let asked = send("files_write", json!({ "arguments": write })).await;
        assert_eq!(asked["resultType"], "input_required", "{asked}");
        let back =
            json!({ "arguments": write, "requestState": asked["requestState"], "inputResponses": { "ask": yes() } });
        let wrote = send("files_write", back).await;
        assert_eq!(wrote["structuredContent"]["created"], true, "{wrote}");
        [run_of(&first), run_of(&wrote)]
    });
    assert_eq!(runs[0], runs[1]);
    server.stop();
    assert_eq!(events(&place, &runs[0], "run-ended")[0]["status"], "completed");
}
