//! Secrets: put in where they are bound, refused everywhere else, and never seen again.
#![allow(clippy::disallowed_methods, reason = "keeps a secret in a file")]

use super::rig::{Rig, Server, With, get, ok, post};
use crate::{SecretSource, SecretSpec, Secrets};
use futures_util::StreamExt;
use std::time::Duration;
use vespiary_kernel::http::{EgressError, HttpRequest};

const VALUE: &str = "tok_4f9a8c7e/+secret==";

fn rig() -> (Rig, tempfile::TempDir) {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("token");
    std::fs::write(&path, format!("{VALUE}\n")).unwrap();
    let spec = |name: &str, header: &str| SecretSpec {
        name: name.parse().unwrap(),
        source: SecretSource::File(path.clone()),
        header: header.into(),
    };
    let missing = SecretSpec::new("GONE".parse().unwrap(), SecretSource::File(temp.path().join("gone")));
    let secrets = Secrets::new([spec("TOKEN", "authorization"), spec("KEY", "X-Api-Key"), missing]).unwrap();
    (
        Rig::with(secrets, Vec::new()).name("api.example.com", &["127.0.0.1"]).name("evil.example.com", &["127.0.0.1"]),
        temp,
    )
}

fn grants(server: &Server) -> Vec<String> {
    vec![
        format!("*.example.com:{}", server.port),
        server.at(""),
        "secret:TOKEN@api.example.com".into(),
        "secret:KEY@api.example.com".into(),
        "secret:GONE@api.example.com".into(),
        "secret:NOBODY@api.example.com".into(),
    ]
}

macro_rules! pass {
    ($rig:expr, $server:expr) => {
        $rig.pass(&grants(&$server).iter().map(String::as_str).collect::<Vec<_>>())
    };
}

#[tokio::test]
async fn a_placeholder_becomes_the_value_on_the_wire_only() {
    let server = Server::start(ok("fine")).await;
    let (rig, _temp) = rig();
    let request = get(&server.url("api.example.com", "/"))
        .with("authorization", "Bearer {{secret:TOKEN}}")
        .with("x-api-key", "{{secret:KEY}}")
        .with("accept-encoding", "gzip")
        .with("range", "bytes=0-9")
        .with("if-range", "\"tag\"");
    rig.send(&pass!(rig, server), request).await.unwrap();
    let asked = server.asked(0);
    assert!(!asked.contains("range"), "{asked}");
    assert!(asked.contains(&format!("authorization: Bearer {VALUE}\r\n")), "{asked}");
    assert!(asked.contains(&format!("x-api-key: {VALUE}\r\n")), "{asked}");
    assert!(asked.contains("accept-encoding: identity\r\n") && !asked.contains("gzip"), "{asked}");
}

#[tokio::test]
async fn a_placeholder_anywhere_else_is_refused_and_not_sent() {
    let server = Server::start(ok("fine")).await;
    let (rig, _temp) = rig();
    let pass = pass!(rig, server);
    let url = |host: &str, path: &str| server.url(host, path);
    let token = "Bearer {{secret:TOKEN}}";
    let denied: Vec<HttpRequest> = vec![
        get(&url("evil.example.com", "/")).with("authorization", token),
        get(&url("127.0.0.1", "/")).with("authorization", token),
        get(&url("api.example.com", "/")).with("x-other", token),
        get(&url("api.example.com", "/")).with("authorization", "{{secret:KEY}}"),
        get(&url("api.example.com", "/?q=%7B%7Bsecret:TOKEN%7D%7D")),
        get(&url("api.example.com", "/?q={{secret:TOKEN}}")),
        get(&url("api.example.com", "/%7b{secret:TOKEN}}")),
        get(&url("api.example.com", "/")).with("authorization", "{{secret:OTHER}}"),
        post(&url("api.example.com", "/"), &["a={{secret:TOKEN}}"]),
        post(&url("api.example.com", "/"), &["a={{se", "cre", "t:TOKEN}}"]),
    ];
    for request in denied {
        let what = format!("{:?} {:?}", request.target, request.headers.len());
        let error = rig.send(&pass, request).await.unwrap_err();
        assert!(matches!(error, EgressError::Denied(_)), "{what}: {error:?}");
        assert!(!error.to_string().contains(VALUE));
    }
    let open = get(&url("api.example.com", "/")).with("authorization", "{{secret:TOKEN");
    assert!(matches!(rig.send(&pass, open).await.unwrap_err(), EgressError::BadRequest(_)));
    for name in ["GONE", "NOBODY"] {
        let request = get(&url("api.example.com", "/")).with("authorization", &format!("{{{{secret:{name}}}}}"));
        assert!(matches!(rig.send(&pass, request).await.unwrap_err(), EgressError::Secret { .. }), "{name}");
    }
    for n in 0..server.requests() {
        assert!(!server.asked(n).contains(VALUE) && !server.asked(n).contains("TOKEN}}"));
    }
}

#[tokio::test]
async fn a_secret_never_leaves_this_machine_in_the_clear() {
    let (rig, _temp) = rig();
    let rig = rig.name("remote.example.com", &["93.184.216.34"]);
    let pass = rig.pass(&["remote.example.com:9", "secret:TOKEN@remote.example.com"]);
    let request = get("http://remote.example.com:9/").with("authorization", "{{secret:TOKEN}}");
    let error = rig.send(&pass, request).await.unwrap_err();
    assert!(matches!(&error, EgressError::Denied(d) if d.hint.contains("https")), "{error}");
}

#[tokio::test]
async fn what_a_server_echoes_is_scrubbed() {
    let hex: String = VALUE.bytes().map(|b| format!("{b:02x}")).collect();
    let body =
        format!("raw {VALUE} json \"{}\" hex {hex} url tok_4f9a8c7e%2F%2Bsecret%3D%3D end", VALUE.replace('/', "\\/"));
    let answer = format!("HTTP/1.1 200 OK\r\nx-echo: {VALUE}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let server = Server::drip(vec![answer.into_bytes()], 7, Duration::from_millis(1)).await;
    let (rig, _temp) = rig();
    let request = get(&server.url("api.example.com", "/")).with("authorization", "{{secret:TOKEN}}");
    let answer = rig.send(&pass!(rig, server), request).await.unwrap();
    assert_eq!(answer.header("x-echo").unwrap(), "[secret:TOKEN]");
    assert_eq!(answer.header("content-length"), None, "the length is no longer that one");
    assert_eq!(answer.text(), "raw [secret:TOKEN] json \"[secret:TOKEN]\" hex [secret:TOKEN] url [secret:TOKEN] end",);
}

#[tokio::test]
async fn an_error_does_not_tell_what_was_echoed() {
    let answer = format!("{VALUE} is no status line\r\n\r\n");
    let server = Server::start(vec![answer.into_bytes()]).await;
    let (rig, _temp) = rig();
    let request = get(&server.url("api.example.com", "/")).with("authorization", "{{secret:TOKEN}}");
    let error = rig.send(&pass!(rig, server), request).await.unwrap_err();
    assert!(matches!(error, EgressError::Protocol(_)) && !error.to_string().contains(VALUE), "{error}");
}

#[tokio::test]
async fn a_compressed_echo_is_refused() {
    let answer = "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\nabc";
    let server = Server::start(vec![answer.into()]).await;
    let (rig, _temp) = rig();
    let pass = pass!(rig, server);
    let request = get(&server.url("api.example.com", "/")).with("authorization", "{{secret:TOKEN}}");
    assert!(matches!(rig.send(&pass, request).await.unwrap_err(), EgressError::Protocol(_)));
    rig.send(&pass, get(&server.url("api.example.com", "/"))).await.expect("without a secret nothing is wrong with it");
}

#[tokio::test]
async fn a_sliced_echo_is_refused() {
    let slice = &VALUE[..10];
    let answer =
        format!("HTTP/1.1 206 Partial Content\r\ncontent-range: bytes 0-9/22\r\ncontent-length: 10\r\n\r\n{slice}");
    let server = Server::start(vec![answer.into_bytes()]).await;
    let (rig, _temp) = rig();
    let pass = pass!(rig, server);
    let sliced = |request: HttpRequest| request.with("range", "bytes=0-9");
    let request = get(&server.url("api.example.com", "/")).with("authorization", "{{secret:TOKEN}}");
    let error = rig.send(&pass, sliced(request)).await.unwrap_err();
    assert!(matches!(&error, EgressError::Protocol(why) if why.contains("a part of its answer")), "{error}");
    let plain = rig.send(&pass, sliced(get(&server.url("api.example.com", "/")))).await.expect("no secret was sent");
    assert!(plain.status == 206 && server.asked(1).contains("range: bytes=0-9\r\n"), "{}", server.asked(1));
}

#[tokio::test]
async fn an_echo_escaped_byte_by_byte_is_scrubbed() {
    let echoes = [
        "tok_4f9a8c7e/%2Bsecret%3D%3D",
        "tok_4f9a8c7e%2F+secret==",
        "tok_4f9a8c7e/\\u002Bsecret\\u003d=",
        "tok_4f9a8c7e&#x2F;&#43;secret&#x3D;&equals;",
    ];
    let body = echoes.join(" | ");
    let answer = format!("HTTP/1.1 200 OK\r\nx-echo: {}\r\ncontent-length: {}\r\n\r\n{body}", echoes[0], body.len());
    let server = Server::drip(vec![answer.into_bytes()], 5, Duration::from_millis(1)).await;
    let (rig, _temp) = rig();
    let request = get(&server.url("api.example.com", "/")).with("authorization", "{{secret:TOKEN}}");
    let answer = rig.send(&pass!(rig, server), request).await.unwrap();
    assert_eq!(answer.header("x-echo").unwrap(), "[secret:TOKEN]");
    assert_eq!(answer.text(), ["[secret:TOKEN]"; 4].join(" | "));
}

#[tokio::test]
async fn a_stream_of_events_is_not_held_back() {
    let answer = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: one\n\n";
    let mut drip = answer.as_bytes().to_vec();
    drip.extend_from_slice(b"data: two\n\n");
    let server = Server::drip(vec![drip], answer.len(), Duration::from_secs(3)).await;
    let (rig, _temp) = rig();
    let request = get(&server.url("api.example.com", "/")).with("authorization", "{{secret:TOKEN}}");
    let mut response = rig.open(&pass!(rig, server), request).await.unwrap();
    let first = tokio::time::timeout(Duration::from_secs(1), response.body.next()).await.expect("no waiting");
    assert_eq!(first.unwrap().unwrap(), "data: one\n\n");
}
