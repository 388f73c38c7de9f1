//! What the way out costs, as ratios measured in one interleaved run: a refusal, a request over a kept connection against the
//! same request by plain reqwest, and scrubbing against copying. `cargo bench -p vespiary-egress`.
#![allow(clippy::disallowed_methods, reason = "a bench keeps secrets in files and answers its own requests")]

use futures_util::StreamExt;
use std::hint::black_box;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use vespiary_egress::{EgressConfig, HttpEgress, Resolver, Scrubber, SecretSource, SecretSpec, Secrets};
use vespiary_kernel::account::{Account, Limits};
use vespiary_kernel::http::{Egress, EgressError, HttpLimits, HttpRequest, HttpTimes, NetPass, NetScope};
use vespiary_kernel::net::{HostName, NetTarget};
use vespiary_kernel::ports::BoxFuture;

const ROUNDS: usize = 60;
/// Rounds that are not counted.
const WARM_UP: usize = 5;
const BODY_BYTES: usize = 4_096;
const PIECE_BYTES: usize = 64 << 10;

fn main() {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(denied());
    runtime.block_on(pooled());
    scrubbed();
}

/// Names lead to a private address.
struct Private;

impl Resolver for Private {
    fn resolve<'a>(&'a self, _: &'a HostName) -> BoxFuture<'a, Result<Vec<IpAddr>, String>> {
        Box::pin(std::future::ready(Ok(vec![IpAddr::from([10, 0, 0, 1])])))
    }
}

fn egress() -> HttpEgress {
    HttpEgress::new(EgressConfig { resolver: Arc::new(Private), ..EgressConfig::new() }).expect("an egress")
}

/// A pass that no count or rate holds up.
fn pass(grants: &[&str]) -> Arc<NetPass> {
    let allowed = grants.iter().map(|grant| grant.parse().expect("a pattern")).collect();
    let scope = NetScope { allowed, ..NetScope::default() };
    let limits = HttpLimits { requests_per_second_per_host: u32::MAX, ..HttpLimits::default() };
    Arc::new(NetPass::new("bench".parse().expect("a run id"), scope, limits, Account::of_run(Limits::NONE)))
}

fn get(target: &NetTarget) -> HttpRequest {
    HttpRequest { target: target.clone(), headers: Vec::new(), body: None, times: HttpTimes::default() }
}

/// Requests that are refused, by their name and by the address that the name leads to. Nothing is connected to.
async fn denied() {
    let egress = egress();
    let pass = pass(&["*.example.com", "GET docs.rs/std/*", "api.github.com"]);
    let refused = |host: &str| NetTarget::of_url("GET", &format!("https://{host}/v1/x?q=1")).expect("a target");
    let (by_name, by_address) = (refused("evil.net"), refused("api.example.com"));
    let (mut names, mut addresses) = (Vec::new(), Vec::new());
    for _ in 0..20_000 {
        let started = Instant::now();
        let denied = egress.send(Arc::clone(&pass), get(&by_name)).await;
        names.push(started.elapsed());
        assert!(matches!(denied, Err(EgressError::Denied(_))));
        let started = Instant::now();
        let denied = egress.send(Arc::clone(&pass), get(&by_address)).await;
        addresses.push(started.elapsed());
        assert!(matches!(denied, Err(EgressError::AddressDenied(_))));
    }
    show("denied by its name, of three grants", &mut names, None);
    show("denied by its address", &mut addresses, None);
}

/// One request after the other over a kept connection, taking turns with plain reqwest.
async fn pooled() {
    let port = serve();
    let url = format!("http://127.0.0.1:{port}/v1/x?q=1");
    let target = NetTarget::of_url("GET", &url).expect("a target");
    let (egress, pass) = (egress(), pass(&[&format!("127.0.0.1:{port}")]));
    let provider = rustls::crypto::ring::default_provider();
    provider.install_default().expect("no other provider");
    let plain = reqwest::Client::builder().no_proxy().tcp_nodelay(true).build().expect("a client");
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        for _ in 0..100 {
            let started = Instant::now();
            let answer = egress.send(Arc::clone(&pass), get(&target)).await.expect("an answer");
            let length = answer.body.fold(0, async |sum, piece| sum + piece.expect("a piece").len()).await;
            note(&mut ours, started, round);
            assert_eq!(length, BODY_BYTES);
        }
        for _ in 0..100 {
            let started = Instant::now();
            let answer = plain.get(&url).send().await.expect("an answer");
            let length = answer.bytes().await.expect("a body").len();
            note(&mut theirs, started, round);
            assert_eq!(length, BODY_BYTES);
        }
    }
    println!();
    let floor = show("plain reqwest, kept connection, 4 KiB", &mut theirs, None);
    show("through the egress", &mut ours, Some(floor));
}

/// Answers everything alike, on a thread of its own. Gives its port.
fn serve() -> u16 {
    let (told, port) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime: Runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            told.send(listener.local_addr().expect("an address").port()).expect("somebody asked");
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream));
            }
        });
    });
    port.recv().expect("a server")
}

async fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let body = "y".repeat(BODY_BYTES);
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {BODY_BYTES}\r\n\r\n{body}");
    let mut asked = Vec::new();
    loop {
        while !asked.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut asked).await? == 0 {
                return Ok(());
            }
        }
        asked.clear();
        stream.write_all(answer.as_bytes()).await?;
    }
}

/// A body in pieces, through scrubbers that know more and more secrets, taking turns. Timed by the piece.
fn scrubbed() {
    let text = include_str!("../src/send.rs").repeat(200);
    let pieces = || text.as_bytes().chunks_exact(PIECE_BYTES);
    let mut copied = Vec::new();
    let mut scrubbers = [1, 20].map(|secrets| (secrets, knowing(secrets), Vec::new()));
    for round in 0..ROUNDS / 2 {
        for piece in pieces() {
            let started = Instant::now();
            black_box(black_box(piece).to_vec());
            note(&mut copied, started, round);
        }
        for (_, scrubber, times) in &mut scrubbers {
            let mut stream = scrubber.stream();
            let mut clean = 0;
            for piece in pieces() {
                let started = Instant::now();
                clean += black_box(stream.push(piece)).len();
                note(times, started, round);
            }
            assert_eq!(clean + stream.finish().len(), pieces().len() * PIECE_BYTES, "nothing in it is a secret");
        }
    }
    println!();
    let floor = show("copied, source text, 64 KiB", &mut copied, None);
    for (secrets, _, mut times) in scrubbers {
        let p50 = show(&format!("scrubbed of {secrets}"), &mut times, Some(floor));
        println!("    {:.0} MB a second", PIECE_BYTES as f64 / p50.as_secs_f64() / 1e6);
    }
}

/// A scrubber that knows so many tokens, which begin in as many ways.
fn knowing(secrets: u64) -> Scrubber {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let specs = (0..secrets).map(|n| {
        let path = directory.path().join(n.to_string());
        std::fs::write(&path, token(n)).expect("written");
        SecretSpec::new(format!("TOKEN_{n}").parse().expect("a name"), SecretSource::File(path))
    });
    let secrets = Secrets::new(specs).expect("each has a name of its own");
    assert!(secrets.read_all().is_empty(), "each can be read");
    secrets.scrubber()
}

/// Forty letters and digits that look random.
fn token(seed: u64) -> String {
    let digits: Vec<char> = ('a'..='z').chain('A'..='Z').chain('0'..='9').collect();
    let mut state = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let next = || {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        digits[(state >> 33) as usize % digits.len()]
    };
    std::iter::repeat_with(next).take(40).collect()
}

fn note(times: &mut Vec<Duration>, started: Instant, round: usize) {
    let elapsed = started.elapsed();
    if round >= WARM_UP {
        times.push(elapsed);
    }
}

fn show(what: &str, times: &mut [Duration], to: Option<Duration>) -> Duration {
    times.sort_unstable();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
    let us = |time: Duration| time.as_secs_f64() * 1e6;
    let ratio = to.map_or(String::new(), |to| format!("  {:.2}x", us(at(0.5)) / us(to)));
    println!("{what:40} p50 {:10.2} us  p99 {:10.2} us{ratio}", us(at(0.5)), us(at(0.99)));
    at(0.5)
}
