//! Exchanges with servers on this machine: what goes out, what comes back, what does not.

mod denied;
mod limits;
mod rig;
mod secret;
mod tls;

use rig::{Rig, Server, With, get, ok, post};
use std::time::Duration;
use vespiary_kernel::account::Resource;
use vespiary_kernel::http::EgressError;

#[tokio::test]
async fn a_granted_request_is_sent_as_it_was_judged() {
    let server = Server::start(ok("hello")).await;
    let rig = Rig::new().name("api.example.com", &["127.0.0.1"]);
    let pass = rig.pass(&[&format!("GET api.example.com:{}/v1/*", server.port), &server.at("")]);
    let answer = rig.send(&pass, get(&server.url("API.example.com.", "/v1/x?q=1"))).await.unwrap();
    assert_eq!((answer.status, answer.text()), (200, "hello".into()));
    let asked = server.asked(0);
    assert!(asked.starts_with("GET /v1/x?q=1 HTTP/1.1\r\n"), "{asked}");
    assert!(asked.to_lowercase().contains(&format!("host: api.example.com:{}\r\n", server.port)), "{asked}");
    assert!(!asked.to_lowercase().contains("user-agent"), "nothing is told about this host: {asked}");
    assert_eq!(rig.used(Resource::HttpRequests), 1);
    assert!(rig.used(Resource::HttpBytesOut) > 20 && rig.used(Resource::HttpBytesIn) >= 5);
}

#[tokio::test]
async fn a_redirect_comes_back_as_a_response() {
    let answer = "HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/latest\r\ncontent-length: 0\r\n\r\n";
    let server = Server::start(vec![answer.into()]).await;
    let rig = Rig::new();
    let pass = rig.pass(&[&server.at("")]);
    let answer = rig.send(&pass, get(&server.url("127.0.0.1", "/"))).await.unwrap();
    assert_eq!((answer.status, answer.header("location")), (302, Some("http://169.254.169.254/latest".into())));
    let next = rig.send(&pass, get("http://169.254.169.254/latest")).await.unwrap_err();
    assert!(matches!(next, EgressError::Denied(d) if d.needed == "net:GET 169.254.169.254:80/latest"));
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn bodies_go_both_ways_and_are_counted() {
    let server = Server::start(ok(&"y".repeat(10_000))).await;
    let rig = Rig::new();
    let pass = rig.pass(&[&server.at("")]);
    let answer = rig.send(&pass, post(&server.url("127.0.0.1", "/"), &["ab", "", "cde"])).await.unwrap();
    assert_eq!(answer.body.len(), 10_000);
    assert!(server.asked(0).contains("ab") && server.asked(0).contains("cde"));
    assert!(rig.used(Resource::HttpBytesIn) >= 10_000);
    let declared = post(&server.url("127.0.0.1", "/"), &["abc", "de"]).with("content-length", "5");
    rig.send(&pass, declared).await.unwrap();
    assert!(server.asked(1).to_lowercase().contains("content-length: 5\r\n"), "{}", server.asked(1));
    for wrong in ["4", "6"] {
        let lying = post(&server.url("127.0.0.1", "/"), &["abc", "de"]).with("content-length", wrong);
        let error = rig.send(&pass, lying).await.unwrap_err();
        assert!(matches!(&error, EgressError::BadRequest(why) if why.contains("content-length")), "{error}");
    }
}

#[tokio::test]
async fn a_compressed_body_is_passed_on_as_it_is() {
    let gzip = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x4b\x4c\x4a\x06\x00\xc2\x41\x24\x35\x03\x00\x00\x00";
    let mut answer =
        format!("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n", gzip.len()).into_bytes();
    answer.extend_from_slice(gzip);
    let server = Server::start(vec![answer]).await;
    let rig = Rig::new();
    let answer = rig.send(&rig.pass(&[&server.at("")]), get(&server.url("127.0.0.1", "/"))).await.unwrap();
    assert_eq!(answer.body, gzip);
    assert!(!server.asked(0).to_lowercase().contains("accept-encoding"));
}

#[tokio::test]
async fn connections_are_used_again_only_for_the_same_judgement() {
    let server = Server::start(ok("x")).await;
    let rig = Rig::new().name("a.example.com", &["127.0.0.1"]).name("b.example.com", &["127.0.0.1"]);
    let grants = [&*format!("*.example.com:{}", server.port), &server.at("")];
    let pass = rig.pass(&grants);
    for _ in 0..5 {
        rig.send(&pass, get(&server.url("a.example.com", "/"))).await.unwrap();
    }
    assert_eq!((server.connections(), server.requests(), rig.egress.connections.kept()), (1, 5, 1));
    rig.send(&pass, get(&server.url("b.example.com", "/"))).await.unwrap();
    assert_eq!(server.connections(), 2, "another name is another peer");
    let other_run = rig.pass_of("another-run", &grants);
    rig.send(&other_run, get(&server.url("a.example.com", "/"))).await.unwrap();
    assert_eq!(server.connections(), 3, "what one run opened is not another's");
}

#[tokio::test]
async fn dropping_a_response_ends_the_exchange() {
    let server = Server::start(ok(&"z".repeat(50_000_000))).await;
    let rig = Rig::new();
    let pass = rig.pass(&[&server.at("")]);
    drop(rig.open(&pass, get(&server.url("127.0.0.1", "/"))).await.unwrap());
    tokio::time::timeout(Duration::from_secs(5), server.closed()).await.expect("the connection was given up");
}
