//! Limits of size, number and time, each with the server that tries to get past it.

use super::rig::{Rig, Server, get, ok, post};
use std::time::{Duration, Instant};
use vespiary_kernel::http::{EgressError, HttpTimes, Phase};

const SOON: Duration = Duration::from_millis(300);

fn quota(error: EgressError) -> String {
    match error {
        EgressError::Limit(hit) => hit.quota,
        other => panic!("expected a limit, got {other:?}"),
    }
}

#[tokio::test]
async fn requests_and_bytes_end_with_the_quotas_name() {
    let server = Server::start(ok(&"y".repeat(10_000))).await;
    let url = server.url("127.0.0.1", "/");
    let rig = Rig::new().metered(2, 1 << 20, 1 << 20);
    let pass = rig.pass(&[&server.at("")]);
    rig.send(&pass, get(&url)).await.unwrap();
    rig.send(&pass, get(&url)).await.unwrap();
    assert_eq!(quota(rig.send(&pass, get(&url)).await.unwrap_err()), "run-http-requests");
    let rig = Rig::new().metered(10, 1 << 20, 9_000);
    assert_eq!(quota(rig.send(&rig.pass(&[&server.at("")]), get(&url)).await.unwrap_err()), "run-http-bytes-in");
    let rig = Rig::new().metered(10, 1_000, 1 << 20);
    let flood = post(&url, &["z".repeat(600).as_str(); 3]);
    assert_eq!(quota(rig.send(&rig.pass(&[&server.at("")]), flood).await.unwrap_err()), "run-http-bytes-out");
}

#[tokio::test]
async fn an_endless_body_is_cut_off() {
    let endless = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{}", "5\r\nhello\r\n".repeat(200_000));
    let server = Server::start(vec![endless.into_bytes()]).await;
    let rig = Rig::new().metered(10, 1 << 20, 100_000);
    let error = rig.send(&rig.pass(&[&server.at("")]), get(&server.url("127.0.0.1", "/"))).await.unwrap_err();
    assert_eq!(quota(error), "run-http-bytes-in");
}

/// The phase in which time ran out, and that it did not take much longer than it may.
async fn late(rig: &Rig, server: &Server, times: HttpTimes) -> Phase {
    let mut request = get(&server.url("127.0.0.1", "/"));
    request.times = times;
    let start = Instant::now();
    let error = rig.send(&rig.pass(&[&server.at("")]), request).await.unwrap_err();
    assert!(start.elapsed() < SOON * 8, "{:?}", start.elapsed());
    match error {
        EgressError::Timeout { phase, .. } => phase,
        other => panic!("expected a timeout, got {other:?}"),
    }
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up() {
    let server = Server::start(vec![Vec::new()]).await;
    let rig = Rig::new().limited(|l| (l.connect_time_max, l.first_byte_time_max) = (SOON, SOON));
    assert_eq!(late(&rig, &server, HttpTimes::default()).await, Phase::FirstByte);
    let longer = HttpTimes { first_byte: Some(Duration::from_secs(3600)), ..HttpTimes::default() };
    assert_eq!(late(&rig, &server, longer).await, Phase::FirstByte, "a guest cannot raise a limit");
    let patient = Rig::new().limited(|l| l.connect_time_max = SOON);
    let shorter = HttpTimes { first_byte: Some(SOON), ..HttpTimes::default() };
    assert_eq!(late(&patient, &server, shorter).await, Phase::FirstByte, "it can lower one");
}

#[tokio::test]
async fn informational_responses_do_not_extend_the_wait() {
    let flood = "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n".repeat(2_000).into_bytes();
    let server = Server::drip(vec![flood], 43, Duration::from_millis(5)).await;
    let rig = Rig::new().limited(|l| (l.connect_time_max, l.first_byte_time_max) = (SOON, SOON));
    assert_eq!(late(&rig, &server, HttpTimes::default()).await, Phase::FirstByte);
}

#[tokio::test]
async fn a_body_that_drips_is_cut_off() {
    let slow = Server::drip(ok(&"y".repeat(50)), 60, Duration::from_secs(20)).await;
    let rig = Rig::new().limited(|l| l.idle_time_max = SOON);
    assert_eq!(late(&rig, &slow, HttpTimes::default()).await, Phase::Idle);
    // Always in time for the idle limit, and still not for ever.
    let drip = Server::drip(ok(&"y".repeat(500)), 5, Duration::from_millis(40)).await;
    let rig = Rig::new().limited(|l| (l.idle_time_max, l.whole_time_max) = (SOON, SOON * 2));
    assert_eq!(late(&rig, &drip, HttpTimes::default()).await, Phase::Whole);
}

#[tokio::test]
async fn a_request_body_that_never_comes_is_given_up() {
    let server = Server::start(ok("x")).await;
    let rig = Rig::new().limited(|l| l.idle_time_max = SOON);
    let mut request = post(&server.url("127.0.0.1", "/"), &[]);
    request.body = Some(Box::pin(futures_util::stream::pending()));
    let error = rig.send(&rig.pass(&[&server.at("")]), request).await.unwrap_err();
    assert!(matches!(error, EgressError::Timeout { phase: Phase::Idle, .. }), "{error}");
}

#[tokio::test]
async fn too_many_and_too_long_headers_are_refused() {
    let many: String = (0..150).map(|n| format!("x-{n}: y\r\n")).collect();
    let long = format!("x: {}\r\n", "y".repeat(70_000));
    let endless: String = (0..100_000).map(|n| format!("x-{n}: {}\r\n", "y".repeat(50))).collect();
    for headers in [many, long, endless] {
        let server =
            Server::start(vec![format!("HTTP/1.1 200 OK\r\n{headers}content-length: 0\r\n\r\n").into_bytes()]).await;
        let rig = Rig::new();
        let error = rig.send(&rig.pass(&[&server.at("")]), get(&server.url("127.0.0.1", "/"))).await.unwrap_err();
        assert!(matches!(error, EgressError::Oversized { .. } | EgressError::Protocol(_)), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_breaks_http_is_told_apart() {
    for broken in [
        "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
        "HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nZZ\r\nhello\r\n0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        "not http at all\r\n\r\n",
    ] {
        let server = Server::drip(vec![broken.into()], usize::MAX, Duration::ZERO).await;
        let rig =
            Rig::new().limited(|l| (l.first_byte_time_max, l.idle_time_max, l.connect_time_max) = (SOON, SOON, SOON));
        let error = rig.send(&rig.pass(&[&server.at("")]), get(&server.url("127.0.0.1", "/"))).await.unwrap_err();
        assert!(matches!(error, EgressError::Protocol(_) | EgressError::Timeout { .. }), "{broken}: {error:?}");
    }
}

#[tokio::test]
async fn only_so_many_exchanges_are_under_way() {
    let server = Server::start(vec![Vec::new()]).await;
    let rig = Rig::new().limited(|l| l.concurrent_per_host = 2);
    let pass = rig.pass(&[&server.at("")]);
    let send = || rig.send(&pass, get(&server.url("127.0.0.1", "/")));
    let (mut first, mut second) = (Box::pin(send()), Box::pin(send()));
    // The server never answers: both are under way until they are dropped.
    while server.connections() < 2 {
        let waited = tokio::time::timeout(SOON, async { tokio::join!(&mut first, &mut second) }).await;
        assert!(waited.is_err(), "{waited:?}");
    }
    let mut third = Box::pin(send());
    assert!(tokio::time::timeout(SOON, &mut third).await.is_err(), "it waits for its turn");
    assert_eq!(server.connections(), 2);
    drop(first);
    while server.connections() < 3 {
        assert!(tokio::time::timeout(SOON, &mut third).await.is_err());
    }
}

#[tokio::test]
async fn a_closed_port_is_told_apart() {
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let rig = Rig::new();
    let error = rig.send(&rig.pass(&[&free.to_string()]), get(&format!("http://{free}/"))).await.unwrap_err();
    assert!(matches!(&error, EgressError::Connect { why, .. } if why.contains("refused")), "{error}");
}
