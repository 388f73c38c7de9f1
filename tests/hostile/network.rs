//! Attacks over the network, each a tool of `tests/guests/net`, against servers on this machine and names that lead where a
//! test says. A refusal is looked for in three places: what the guest was told, what was recorded, and what the server saw.

use super::checks::{failed, limit, unrunnable};
use super::rig::{Guests, Rig, built, patient};
use super::stage;
use serde_json::json;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;
use vespiary_egress::{EgressConfig, HttpEgress, Resolver, SecretSource, SecretSpec, Secrets};
use vespiary_kernel::call::{Ending, Failure, Outcome};
use vespiary_kernel::http::Egress;
use vespiary_kernel::net::HostName;
use vespiary_kernel::plugin::Kind;
use vespiary_kernel::policy::Denial;
use vespiary_kernel::ports::BoxFuture;

/// The value behind `{{secret:TOKEN}}`. No guest may ever see it.
const VALUE: &str = "tok-5e9d/71c+secret-value";

/// What the suite's plugin declares. Everything is optional: each test grants what its attack needs.
const NEEDS: &str = "[[needs]]\ncapability = 'net:*:*'\nreason = 'attack'\noptional = true\n\
    [[needs]]\ncapability = 'net:[0.0.0.0/0]:*'\nreason = 'attack'\noptional = true\n\
    [[needs]]\ncapability = 'net:[::/0]:*'\nreason = 'attack'\noptional = true\n\
    [[needs]]\ncapability = 'secret:TOKEN@*.example.com'\nreason = 'attack'\noptional = true\n";

/// The plugins of these attacks: the hostile one, and the same component with nothing declared.
pub fn guests(guests: &mut Guests) {
    let small = "http-requests-max = 10\nhttp-bytes-in-max = 1048576\nhttp-bytes-out-max = 1048576\n";
    guests.add_with("hostile-net", Kind::Tools, NEEDS, built("hostile-net"), &format!("{}{small}", patient()));
    guests.add("undeclared", Kind::Tools, "", built("hostile-net"));
}

/// The way out of every sandbox of the suite.
pub fn egress() -> Arc<dyn Egress> {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("hostile-token-{}", std::process::id()));
    std::fs::write(&file, VALUE).unwrap();
    let secrets = Secrets::new([SecretSpec::new("TOKEN".parse().unwrap(), SecretSource::File(file.clone()))]).unwrap();
    assert!(secrets.read_all().is_empty());
    std::fs::remove_file(&file).unwrap();
    let config = EgressConfig { resolver: names(), secrets: Arc::new(secrets), ..EgressConfig::new() };
    Arc::new(HttpEgress::new(config).unwrap())
}

/// Where names lead. A list of answers is given one after the other, the last for ever.
#[derive(Default)]
struct Names(Mutex<HashMap<String, Vec<IpAddr>>>);

fn names() -> Arc<Names> {
    static NAMES: OnceLock<Arc<Names>> = OnceLock::new();
    Arc::clone(NAMES.get_or_init(Arc::default))
}

impl Resolver for Names {
    fn resolve<'a>(&'a self, name: &'a HostName) -> BoxFuture<'a, Result<Vec<IpAddr>, String>> {
        let mut names = self.0.lock().unwrap();
        let answer = match names.get_mut(name.as_str()) {
            None => Err("no such name".into()),
            Some(list) if list.len() > 1 => Ok(vec![list.remove(0)]),
            Some(list) => Ok(list.clone()),
        };
        Box::pin(std::future::ready(answer))
    }
}

/// How a server answers one request.
enum Answer {
    /// These bytes, then the end of the connection.
    Bytes(Vec<u8>),
    /// These bytes, and again these others until nobody listens, with a pause between.
    Endless(Vec<u8>, Vec<u8>, Duration),
}

fn ok(body: &str) -> Answer {
    let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    Answer::Bytes([head.as_bytes(), body.as_bytes()].concat())
}

/// A server on this machine, and all that was sent to it. Dropping it ends its threads.
struct Server {
    port: u16,
    asked: Arc<Mutex<Vec<u8>>>,
    over: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl Server {
    fn start(answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (asked, over) = (Arc::<Mutex<Vec<u8>>>::default(), Arc::<AtomicBool>::default());
        let (kept, end, answer) = (Arc::clone(&asked), Arc::clone(&over), Arc::new(answer));
        let accepting = std::thread::spawn(move || {
            let mut serving = Vec::new();
            for stream in listener.incoming().flatten() {
                if end.load(Ordering::Relaxed) {
                    break;
                }
                let (kept, end, answer) = (Arc::clone(&kept), Arc::clone(&end), Arc::clone(&answer));
                serving.push(std::thread::spawn(move || serve(stream, &kept, &end, &*answer)));
            }
            serving.into_iter().for_each(|thread| thread.join().unwrap());
        });
        Self { port, asked, over, accepting: Some(accepting) }
    }

    fn asked(&self) -> String {
        String::from_utf8_lossy(&self.asked.lock().unwrap()).into_owned()
    }

    /// Grants for requests to `host`, and to the address it leads to.
    fn grants(&self, host: &str, rest: &str) -> Vec<String> {
        let port = self.port;
        vec![format!("net:{host}:{port}{rest}"), format!("net:127.0.0.1:{port}{rest}"), "tool:*".into()]
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // One more connection, to wake who waits for the next.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        self.accepting.take().unwrap().join().unwrap();
    }
}

fn serve(mut stream: TcpStream, kept: &Mutex<Vec<u8>>, over: &AtomicBool, answer: &dyn Fn(&str) -> Answer) {
    let moment = Some(Duration::from_millis(50));
    stream.set_read_timeout(moment).unwrap();
    stream.set_write_timeout(moment).unwrap();
    let mut request = Vec::new();
    let mut buffer = [0; 65_536];
    let complete = |request: &[u8]| {
        let text = String::from_utf8_lossy(request);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
        match head.to_lowercase().split_once("content-length: ") {
            Some((_, rest)) => body.len() >= rest.lines().next().unwrap().parse().unwrap_or(0),
            None => !head.to_lowercase().contains("chunked") || body.ends_with("0\r\n\r\n"),
        }
    };
    while !complete(&request) {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(n) => {
                request.extend_from_slice(&buffer[..n]);
                kept.lock().unwrap().extend_from_slice(&buffer[..n]);
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock && !over.load(Ordering::Relaxed) => {}
            Err(_) => return,
        }
    }
    match answer(&String::from_utf8_lossy(&request)) {
        Answer::Bytes(bytes) => drop(stream.write_all(&bytes)),
        Answer::Endless(first, again, pause) => {
            let mut sent = stream.write_all(&first);
            while sent.is_ok() && !over.load(Ordering::Relaxed) {
                std::thread::sleep(pause);
                sent = stream.write_all(&again);
            }
        }
    }
}

/// One attack on one server, by a name of its own.
struct Attack {
    rig: Rig,
    server: Server,
    host: String,
}

impl Attack {
    /// The server, and a name that leads to `addresses` one after the other.
    fn named(host: &str, addresses: &[&str], answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Self {
        let leads = addresses.iter().map(|a| a.parse().unwrap()).collect();
        names().0.lock().unwrap().insert(host.into(), leads);
        Self { rig: Rig::new(), server: Server::start(answer), host: host.into() }
    }

    fn new(tool: &str, answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Self {
        // Names cannot hold '_' everywhere, and need not.
        Self::named(&format!("{}.example.com", tool.replace('_', "-")), &["127.0.0.1"], answer)
    }

    async fn outcome(&self, tool: &str, grants: &[String]) -> Outcome {
        let grants: Vec<_> = grants.iter().map(String::as_str).collect();
        let target = json!({ "host": self.host, "port": self.server.port });
        let outcome = self.rig.call_as(&self.rig.who(&grants), &format!("hostile-net.{tool}"), target).await;
        let told = format!("{:?} {:?}", outcome.ending, outcome.log);
        assert!(!told.contains(VALUE), "{tool} saw the secret: {told}");
        outcome
    }

    /// Run an attack that must fail, and give its cause.
    async fn run(&self, tool: &str, grants: &[String]) -> Failure {
        match self.outcome(tool, grants).await.ending {
            Ending::Failed(failure) => failure,
            Ending::Done(loot) => panic!("{tool} got through: {loot}"),
        }
    }
}

#[track_caller]
fn denied(failure: &Failure) -> &Denial {
    match failure {
        Failure::Denied(denial) => denial,
        other => panic!("expected a denial, got {other:?}"),
    }
}

/// Every one of an attack's tries was refused.
#[track_caller]
fn all_refused(failure: &Failure, tries: usize) {
    // A name that held a line break is told on two lines.
    let told = failed(failure).replace("\\u{d}\n", "\\u{d}");
    assert_eq!(told.lines().count(), tries, "{told}");
    let refused = [
        "HttpRequestDenied",
        "DestinationIpProhibited",
        "HttpRequestUriInvalid",
        "InternalError",
        "refused when it was set",
        "HeaderError::",
        "handle: ",
    ];
    for line in told.lines() {
        assert!(refused.iter().any(|how| line.contains(how)), "{line}");
    }
}

/// An attack of many tries, with these grants for its host; nothing may reach the server.
macro_rules! tries {
    ($name:ident, $tries:expr, |$attack:ident| $grants:expr) => {
        #[test]
        fn $name() {
            stage::play(async {
                let $attack = Attack::new(stringify!($name), |_| ok("loot"));
                all_refused(&$attack.run(stringify!($name), &$grants).await, $tries);
                assert_eq!($attack.server.asked(), "", "nothing was sent");
            });
        }
    };
}

/// An attack that must end as `check` says, with its host granted.
macro_rules! ends {
    ($name:ident, $answer:expr, |$attack:ident, $failure:ident| $check:expr) => {
        #[test]
        fn $name() {
            stage::play(async {
                let $attack = Attack::new(stringify!($name), $answer);
                let grants = $attack.server.grants(&$attack.host, "");
                let $failure = $attack.run(stringify!($name), &grants).await;
                $check;
            });
        }
    };
}

fn any_name() -> Vec<String> {
    vec!["net:*:*".into(), "tool:*".into()]
}

#[test]
fn granted() {
    stage::play(async {
        let attack = Attack::new("granted", |_| ok("as asked"));
        let grants = attack.server.grants(&attack.host, "/v1/*");
        let outcome = attack.outcome("granted", &grants).await;
        assert!(
            matches!(&outcome.ending, Ending::Done(value) if value.as_str() == "\"as asked\""),
            "{:?}",
            outcome.ending
        );
        let bytes = "connection".len() + "close".len() + "content-length".len() + "8".len() + 8 + "as asked".len();
        assert_eq!((outcome.usage.http_requests, outcome.usage.http_bytes_in), (1, bytes as u64));
        assert!(attack.server.asked().starts_with("GET /v1/x HTTP/1.1\r\n"));
    });
}

#[test]
fn nothing_granted() {
    stage::play(async {
        let attack = Attack::new("nothing_granted", |_| ok("loot"));
        let failure = attack.run("nothing_granted", &["tool:*".into()]).await;
        let denial = denied(&failure);
        assert_eq!(denial.needed, format!("net:GET {}:{}/", attack.host, attack.server.port));
        assert!(denial.hint.contains(&denial.needed), "{denial}");
        assert_eq!(attack.server.asked(), "");
    });
}

#[test]
fn loopback_spellings() {
    stage::play(async {
        let attack = Attack::named("localhost", &["127.0.0.1"], |_| ok("loot"));
        let outcome = attack.outcome("loopback_spellings", &any_name()).await;
        let Ending::Failed(failure) = &outcome.ending else { panic!("{:?}", outcome.ending) };
        all_refused(failure, 12);
        let log: String = outcome.log.iter().map(|line| format!("{}\n", line.text)).collect();
        let needed = format!("needs net:GET 127.0.0.1:{}/", attack.server.port);
        assert!(log.matches(&needed).count() >= 8, "each spelling is denied as what it is: {log}");
        assert_eq!(attack.server.asked(), "");
    });
}

tries!(private_ranges, 13, |_attack| any_name());

#[test]
fn metadata_address() {
    stage::play(async {
        let attack = Attack::named("metadata.google.internal", &["169.254.169.254"], |_| ok("loot"));
        all_refused(&attack.run("metadata_address", &any_name()).await, 6);
    });
}

#[test]
fn name_to_private() {
    stage::play(async {
        let attack = Attack::new("name_to_private", |_| ok("loot"));
        let failure = attack.run("name_to_private", &any_name()).await;
        let denial = denied(&failure);
        assert_eq!(denial.needed, format!("net:GET 127.0.0.1:{}/", attack.server.port));
        assert!(denial.hint.contains("leads to 127.0.0.1"), "{denial}");
        assert_eq!(attack.server.asked(), "");
    });
}

/// A network that a rule denies is denied through NAT64 as well.
#[test]
fn denied_network_through_nat64() {
    stage::play(async {
        let attack = Attack::named("nat64.example.com", &["64:ff9b::93.184.216.34"], |_| ok("loot"));
        let attack = Attack { rig: attack.rig.denying(&["net:[93.184.0.0/16]:*"]), ..attack };
        let failure = attack.run("name_to_private", &any_name()).await;
        assert_eq!(denied(&failure).rule.as_deref(), Some("deny net:[93.184.0.0/16]:*"), "{failure}");
    });
}

#[test]
fn rebinding() {
    stage::play(async {
        let attack = Attack::named("rebinding.example.com", &["127.0.0.1", "169.254.169.254"], |_| ok("first"));
        let grants = attack.server.grants(&attack.host, "");
        let failure = attack.run("rebinding", &grants).await;
        assert!(denied(&failure).needed.starts_with("net:GET 169.254.169.254:"), "{failure}");
        assert_eq!(attack.server.asked().matches("HTTP/1.1").count(), 1);
    });
}

ends!(
    redirect_to_private,
    |_| Answer::Bytes(
        b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/latest\r\nconnection: close\r\n\r\n".to_vec()
    ),
    |attack, f| {
        assert_eq!(denied(&f).needed, "net:GET 169.254.169.254:80/latest");
        assert_eq!(attack.server.asked().matches("HTTP/1.1").count(), 1);
    }
);

tries!(header_smuggling, 14, |attack| attack.server.grants(&attack.host, ""));
tries!(line_breaks, 7, |attack| attack.server.grants(&attack.host, ""));
tries!(userinfo, 6, |attack| attack.server.grants(&attack.host, ""));
tries!(path_escape, 14, |attack| attack.server.grants(&attack.host, "/v1/*"));
tries!(other_schemes, 6, |attack| attack.server.grants(&attack.host, ""));
tries!(method_case, 8, |attack| {
    let port = attack.server.port;
    [format!("net:GET {}:{port}", attack.host), format!("net:GET 127.0.0.1:{port}"), "tool:*".into()]
});
tries!(port_confusion, 10, |attack| [format!("net:{}", attack.host), "net:[127.0.0.0/8]:*".into(), "tool:*".into()]);

fn endless_body(_: &str) -> Answer {
    let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    Answer::Endless(head, [b"4000\r\n".as_slice(), &[b'x'; 0x4000], b"\r\n"].concat(), Duration::ZERO)
}

ends!(huge_body, endless_body, |_a, f| limit(&f, "http-bytes-in"));
ends!(ignores_the_limit, endless_body, |_a, f| limit(&f, "http-bytes-in"));
ends!(
    slow_drip,
    |_| {
        let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
        Answer::Endless(head, b"1\r\nx\r\n".to_vec(), Duration::from_millis(30))
    },
    |_a, f| limit(&f, "wall-time-ms")
);
ends!(never_answers, |_| Answer::Endless(Vec::new(), Vec::new(), Duration::from_millis(50)), |_a, f| limit(
    &f,
    "wall-time-ms"
));
ends!(
    informational_flood,
    |_| {
        let hint = b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n".to_vec();
        Answer::Endless(Vec::new(), hint, Duration::from_millis(1))
    },
    |_a, f| limit(&f, "wall-time-ms")
);
ends!(
    huge_headers,
    |_| {
        let header = format!("x-more: {}\r\n", "y".repeat(1_000)).into_bytes();
        Answer::Endless(b"HTTP/1.1 200 OK\r\n".to_vec(), header, Duration::ZERO)
    },
    |_a, f| assert!(failed(&f).contains("broke HTTP"), "{f}")
);

/// 100,000 zeros, packed into 132 bytes.
fn bomb() -> Vec<u8> {
    let begin = b"\x1f\x8b\x08\0\0\0\0\0\x02\x03\xed\xc1\x31\x01\0\0\0\xc2\xa0\xf5Om\r\x0f\xa0";
    let end = b"\x80W\x03}\x95\x11\xd4\xa0\x86\x01\0";
    [begin.as_slice(), &vec![0; 132 - begin.len() - end.len()], end].concat()
}

ends!(
    gzip_bomb,
    |_| {
        let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-encoding: gzip\r\ncontent-length: 132\r\n\r\n";
        Answer::Bytes([head.as_bytes(), &bomb()].concat())
    },
    |_a, f| assert_eq!(failed(&f), "bytes: 132")
);
ends!(
    short_response,
    |_| Answer::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nshort".to_vec()),
    |_a, f| assert!(failed(&f).contains("broke"), "{f}")
);

#[test]
fn lying_length() {
    stage::play(async {
        let attack = Attack::new("lying_length", |_| ok("loot"));
        let failure = attack.run("lying_length", &attack.server.grants(&attack.host, "")).await;
        assert_eq!(failed(&failure).lines().count(), 3, "{failure}");
        assert!(!attack.server.asked().contains("admin"), "{}", attack.server.asked());
    });
}

ends!(upload_flood, |_| ok("enough"), |attack, f| {
    limit(&f, "http-bytes-out");
    assert!(attack.server.asked().len() <= 1 << 20);
});
ends!(request_flood, |_| ok("again?"), |attack, f| {
    limit(&f, "http-requests");
    assert_eq!(attack.server.asked().matches("HTTP/1.1").count(), 10);
});
ends!(
    many_open,
    |_| Answer::Endless(
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n".to_vec(),
        Vec::new(),
        Duration::from_millis(50)
    ),
    |attack, f| {
        limit(&f, "wall-time-ms");
        assert_eq!(attack.server.asked().matches("HTTP/1.1").count(), 8, "no more than eight at once with one host");
    }
);

/// A secret granted for `api.example.com`, and an attack that asks `host`.
async fn with_secret(
    tool: &str,
    host: &str,
    answer: impl Fn(&str) -> Answer + Send + Sync + 'static,
) -> (Attack, Failure) {
    let attack = Attack::named(host, &["127.0.0.1"], answer);
    let mut grants = attack.server.grants(host, "");
    grants.push("secret:TOKEN@api.example.com".into());
    let failure = attack.run(tool, &grants).await;
    (attack, failure)
}

macro_rules! secret_refused {
    ($name:ident, $host:literal, $part:literal) => {
        #[test]
        fn $name() {
            stage::play(async {
                let (attack, failure) = with_secret(stringify!($name), $host, |_| ok("loot")).await;
                assert!(denied(&failure).to_string().contains($part), "{failure}");
                let asked = attack.server.asked();
                assert!(!asked.contains(VALUE) && !asked.contains("secret:TOKEN"), "{asked}");
            });
        }
    };
}

secret_refused!(secret_in_url, "api.example.com", "in a URL");
secret_refused!(secret_in_body, "api.example.com", "in a body");
secret_refused!(secret_in_wrong_header, "api.example.com", "authorization and no other");
secret_refused!(secret_to_wrong_host, "evil.example.com", "secret:TOKEN@evil.example.com");

#[test]
fn secret_echoed() {
    stage::play(async {
        let echo = |request: &str| {
            let sent = request.split("authorization: ").nth(1).unwrap_or("").lines().next().unwrap_or("").to_owned();
            let hex: String = sent.bytes().map(|b| format!("{b:02x}")).collect();
            let body = format!("{{\"raw\":\"{sent}\",\"hex\":\"{hex}\"}}");
            let head = format!("x-echo: {sent}\r\nconnection: close\r\ncontent-length: {}", body.len());
            Answer::Bytes(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}").into_bytes())
        };
        let (attack, failure) = with_secret("secret_echoed", "api.example.com", echo).await;
        assert!(attack.server.asked().contains(&format!("authorization: Bearer {VALUE}\r\n")), "the server got it");
        let hidden =
            "Bearer [secret:TOKEN] | {\"raw\":\"Bearer [secret:TOKEN]\",\"hex\":\"42656172657220[secret:TOKEN]\"}";
        assert_eq!(failed(&failure), hidden);
    });
}

/// The same, each byte written as it is or escaped, as the writers of URLs, JSON and HTML see fit.
#[test]
fn secret_echoed_in_escapes() {
    stage::play(async {
        let echo = |request: &str| {
            let sent = request.split("authorization: ").nth(1).unwrap_or("").lines().next().unwrap_or("").to_owned();
            let url = sent.replace(' ', "%20").replace('+', "%2B");
            let json = sent.replace('/', "\\/").replace('+', "\\u002B");
            let html = sent.replace('+', "&#43;").replace('/', "&#x2F;");
            let body = format!("{url} {json} {html}");
            let head = format!("x-echo: {url}\r\nconnection: close\r\ncontent-length: {}", body.len());
            Answer::Bytes(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}").into_bytes())
        };
        let (_attack, failure) = with_secret("secret_echoed", "api.example.com", echo).await;
        let hidden = "Bearer%20[secret:TOKEN] | Bearer%20[secret:TOKEN] Bearer [secret:TOKEN] Bearer [secret:TOKEN]";
        assert_eq!(failed(&failure), hidden);
    });
}

/// A component that imports HTTP and declared nothing is not even linked.
#[test]
fn an_undeclared_import_is_refused() {
    stage::play(async {
        let attack = Attack::new("undeclared", |_| ok("loot"));
        let who = attack.rig.who(&["net:*:*", "tool:*"]);
        let outcome = attack.rig.call_as(&who, "undeclared.granted", json!({ "host": attack.host, "port": 1 })).await;
        let failure = outcome.into_result().unwrap_err();
        unrunnable(&failure, "wasi:http/");
        assert!(failure.to_string().contains("plugin.toml"), "{failure}");
    });
}
