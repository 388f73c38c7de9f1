//! A server that says exactly what a test tells it to say, a resolver that answers what a test tells it to answer, and an
//! egress between them.

use crate::{EgressConfig, HttpEgress, Resolver, Secrets};
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use vespiary_kernel::account::{Account, Limits, Resource};
use vespiary_kernel::http::{Egress, EgressError, HttpLimits, HttpRequest, HttpResponse, HttpTimes, NetPass, NetScope};
use vespiary_kernel::net::{HostName, NetTarget};
use vespiary_kernel::ports::BoxFuture;

/// Answers given in turn, the last one for ever. An empty answer is silence.
pub(super) type Answers = Vec<Vec<u8>>;

/// A whole response with this body.
pub(super) fn ok(body: &str) -> Answers {
    vec![format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()]
}

/// A server on this machine. It keeps what it was asked.
pub(super) struct Server {
    pub(super) port: u16,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    asked: Mutex<Vec<Vec<u8>>>,
    connections: AtomicUsize,
    closed: tokio::sync::Notify,
}

impl Server {
    pub(super) async fn start(answers: Answers) -> Self {
        Self::drip(answers, usize::MAX, Duration::ZERO).await
    }

    /// Sends its answers in pieces of `piece` bytes, `pause` apart.
    pub(super) async fn drip(answers: Answers, piece: usize, pause: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Seen::default());
        let (kept, answers) = (Arc::clone(&seen), Arc::new(answers));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                kept.connections.fetch_add(1, Ordering::Relaxed);
                let (seen, answers) = (Arc::clone(&kept), Arc::clone(&answers));
                tokio::spawn(async move {
                    let _ = serve(stream, &seen, &answers, piece, pause).await;
                    seen.closed.notify_one();
                });
            }
        });
        Self { port, seen }
    }

    pub(super) fn url(&self, host: &str, path: &str) -> String {
        format!("http://{host}:{}{path}", self.port)
    }

    /// The pattern that grants its address.
    pub(super) fn at(&self, path: &str) -> String {
        format!("127.0.0.1:{}{path}", self.port)
    }

    pub(super) fn asked(&self, n: usize) -> String {
        String::from_utf8_lossy(&self.seen.asked.lock().unwrap()[n]).into_owned()
    }

    pub(super) fn requests(&self) -> usize {
        self.seen.asked.lock().unwrap().len()
    }

    pub(super) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::Relaxed)
    }

    pub(super) async fn closed(&self) {
        self.seen.closed.notified().await;
    }
}

async fn serve(
    mut stream: TcpStream,
    seen: &Seen,
    answers: &Answers,
    piece: usize,
    pause: Duration,
) -> std::io::Result<()> {
    let mut pending = Vec::new();
    loop {
        let Some(request) = read_request(&mut stream, &mut pending).await? else { return Ok(()) };
        let n = {
            let mut asked = seen.asked.lock().unwrap();
            asked.push(request);
            asked.len() - 1
        };
        let answer = &answers[n.min(answers.len() - 1)];
        for part in answer.chunks(piece.min(answer.len().max(1))) {
            stream.write_all(part).await?;
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
        }
        let complete = answer.windows(16).any(|w| w.eq_ignore_ascii_case(b"content-length: "));
        if !complete && !answer.is_empty() {
            return Ok(());
        }
    }
}

/// One request with its body, as bytes.
async fn read_request(stream: &mut TcpStream, pending: &mut Vec<u8>) -> std::io::Result<Option<Vec<u8>>> {
    loop {
        if let Some(end) = pending.windows(4).position(|w| w == b"\r\n\r\n").map(|at| at + 4) {
            let head = String::from_utf8_lossy(&pending[..end]).to_lowercase();
            let length =
                head.split("content-length: ").nth(1).map_or(0, |rest| rest.lines().next().unwrap().parse().unwrap());
            let chunked = head.contains("transfer-encoding: chunked");
            let whole = match chunked {
                false => (pending.len() >= end + length).then_some(end + length),
                true => pending[end..].windows(5).position(|w| w == b"0\r\n\r\n").map(|at| end + at + 5),
            };
            if let Some(whole) = whole {
                return Ok(Some(pending.drain(..whole).collect()));
            }
        }
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer).await? {
            0 => return Ok(None),
            n => pending.extend_from_slice(&buffer[..n]),
        }
    }
}

/// Answers names as told; a list of answers is given one after the other, the last for ever.
#[derive(Default)]
pub(super) struct Names {
    answers: Mutex<HashMap<String, Vec<Vec<IpAddr>>>>,
    pub(super) asked: AtomicUsize,
}

impl Resolver for Names {
    fn resolve<'a>(&'a self, name: &'a HostName) -> BoxFuture<'a, Result<Vec<IpAddr>, String>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let mut answers = self.answers.lock().unwrap();
        let answer = match answers.get_mut(name.as_str()) {
            None => Err("no such name".into()),
            Some(list) if list.len() > 1 => Ok(list.remove(0)),
            Some(list) => Ok(list[0].clone()),
        };
        Box::pin(std::future::ready(answer))
    }
}

pub(super) struct Rig {
    pub(super) egress: HttpEgress,
    pub(super) names: Arc<Names>,
    pub(super) limits: HttpLimits,
    account: Arc<Account>,
}

impl Rig {
    pub(super) fn new() -> Self {
        Self::with(Secrets::default(), Vec::new())
    }

    pub(super) fn with(secrets: Secrets, extra_roots: Vec<Vec<u8>>) -> Self {
        let names = Arc::new(Names::default());
        let config = EgressConfig {
            resolver: Arc::clone(&names) as Arc<dyn Resolver>,
            secrets: Arc::new(secrets),
            extra_roots,
            ..EgressConfig::new()
        };
        Self {
            egress: HttpEgress::new(config).unwrap(),
            names,
            limits: HttpLimits::default(),
            account: account(1_000, 1 << 20, 100 << 20),
        }
    }

    pub(super) fn name(self, name: &str, addresses: &[&str]) -> Self {
        let parsed = addresses.iter().map(|a| a.parse().unwrap()).collect();
        self.names.answers.lock().unwrap().entry(name.into()).or_default().push(parsed);
        self
    }

    pub(super) fn metered(mut self, requests: u64, bytes_out: u64, bytes_in: u64) -> Self {
        self.account = account(requests, bytes_out, bytes_in);
        self
    }

    pub(super) fn limited(mut self, change: impl FnOnce(&mut HttpLimits)) -> Self {
        change(&mut self.limits);
        self
    }

    pub(super) fn used(&self, resource: Resource) -> u64 {
        self.account.used(resource)
    }

    pub(super) fn pass(&self, grants: &[&str]) -> Arc<NetPass> {
        self.pass_of("run", grants)
    }

    /// Grants are `net:` patterns, or `secret:` ones with that prefix.
    pub(super) fn pass_of(&self, run: &str, grants: &[&str]) -> Arc<NetPass> {
        let mut scope = NetScope::default();
        for grant in grants {
            match (grant.strip_prefix("secret:"), grant.strip_prefix("deny:")) {
                (Some(secret), _) => scope.secrets.push(secret.parse().unwrap()),
                (_, Some(rule)) => scope.denied.push(rule.parse().unwrap()),
                _ => scope.allowed.push(grant.parse().unwrap()),
            }
        }
        Arc::new(NetPass::new(run.parse().unwrap(), scope, self.limits, Arc::clone(&self.account)))
    }

    pub(super) async fn open(&self, pass: &Arc<NetPass>, request: HttpRequest) -> Result<HttpResponse, EgressError> {
        self.egress.send(Arc::clone(pass), request).await
    }

    /// The whole exchange, body and all.
    pub(super) async fn send(&self, pass: &Arc<NetPass>, request: HttpRequest) -> Result<Answer, EgressError> {
        let HttpResponse { status, headers, body: mut pieces } = self.open(pass, request).await?;
        let mut body = Vec::new();
        while let Some(piece) = pieces.next().await {
            body.extend_from_slice(&piece?);
        }
        Ok(Answer { status, headers, body })
    }
}

fn account(requests: u64, bytes_out: u64, bytes_in: u64) -> Arc<Account> {
    let limits = Limits::NONE.with(Resource::HttpRequests, requests).with(Resource::HttpBytesOut, bytes_out);
    Account::of_run(limits.with(Resource::HttpBytesIn, bytes_in))
}

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, Vec<u8>)>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(super) fn header(&self, name: &str) -> Option<String> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| String::from_utf8_lossy(v).into_owned())
    }
}

pub(super) fn get(url: &str) -> HttpRequest {
    request("GET", url)
}

pub(super) fn request(method: &str, url: &str) -> HttpRequest {
    let target = NetTarget::of_url(method, url).unwrap();
    HttpRequest { target, headers: Vec::new(), body: None, times: HttpTimes::default() }
}

pub(super) fn post(url: &str, pieces: &[&str]) -> HttpRequest {
    let pieces: Vec<_> = pieces.iter().map(|p| Ok(Bytes::copy_from_slice(p.as_bytes()))).collect();
    HttpRequest { body: Some(Box::pin(stream::iter(pieces))), ..request("POST", url) }
}

pub(super) trait With {
    fn with(self, header: &str, value: &str) -> Self;
}

impl With for HttpRequest {
    fn with(mut self, header: &str, value: &str) -> Self {
        self.headers.push((header.into(), value.into()));
        self
    }
}
