//! Requests that are never sent. Each test also looks at the server: nothing may have arrived there.

use super::rig::{Rig, Server, With, get, ok, request};
use std::sync::atomic::Ordering;
use vespiary_kernel::account::Resource;
use vespiary_kernel::http::EgressError;

#[tokio::test]
async fn a_name_that_leads_to_a_private_address_is_refused() {
    let server = Server::start(ok("private")).await;
    for home in ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "0.0.0.0"] {
        let rig = Rig::new().name("innocent.example.com", &[home]);
        let error = rig.send(&rig.pass(&["*:*"]), get(&server.url("innocent.example.com", "/"))).await.unwrap_err();
        let EgressError::AddressDenied(denial) = &error else { panic!("{home}: {error}") };
        assert!(
            denial.needed.starts_with("net:GET ") && denial.hint.contains("innocent.example.com leads to"),
            "{denial}"
        );
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn one_private_address_among_public_ones_spoils_them() {
    let rig = Rig::new().name("mixed.example.com", &["93.184.216.34", "127.0.0.1"]);
    let error = rig.send(&rig.pass(&["*:*"]), get("http://mixed.example.com:9/")).await.unwrap_err();
    assert!(matches!(error, EgressError::AddressDenied(_)), "{error}");
}

#[tokio::test]
async fn an_answer_that_changes_is_judged_again_and_the_checked_one_is_connected() {
    let server = Server::start(ok("x")).await;
    let grants = [&*format!("rebind.example.com:{}", server.port), &server.at("")];
    // Granted first, metadata afterwards: the second request resolves for itself and is refused.
    let rig = Rig::new().name("rebind.example.com", &["127.0.0.1"]).name("rebind.example.com", &["169.254.169.254"]);
    let pass = rig.pass(&grants);
    let url = server.url("rebind.example.com", "/");
    rig.send(&pass, get(&url)).await.unwrap();
    assert_eq!(rig.names.asked.load(Ordering::Relaxed), 1, "one request asks once: no second answer can slip in");
    let error = rig.send(&pass, get(&url)).await.unwrap_err();
    assert!(matches!(error, EgressError::AddressDenied(_)), "an open connection is no way around it: {error}");
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn localhost_by_name_is_loopback_only() {
    let server = Server::start(ok("x")).await;
    let rig = Rig::new().name("localhost", &["127.0.0.1"]).name("localhost", &["10.0.0.1"]);
    let pass = rig.pass(&[&format!("localhost:{}", server.port)]);
    rig.send(&pass, get(&server.url("localhost", "/"))).await.unwrap();
    let error = rig.send(&pass, get(&server.url("localhost", "/"))).await.unwrap_err();
    assert!(matches!(error, EgressError::AddressDenied(_)), "{error}");
    let rig = Rig::new().name("localhost", &["127.0.0.1"]);
    let error = rig.send(&rig.pass(&["*:*"]), get(&server.url("localhost", "/"))).await.unwrap_err();
    let (EgressError::Denied(denial) | EgressError::AddressDenied(denial)) = &error else { panic!("{error}") };
    assert!(denial.needed.starts_with("net:GET localhost:"), "{denial}");
}

#[tokio::test]
async fn scheme_method_port_and_path_are_held() {
    let server = Server::start(ok("x")).await;
    let rig = Rig::new();
    let pass = rig.pass(&[&format!("GET {}", server.at("/v1/*")), "deny:127.0.0.1:*/v1/secret*"]);
    for (method, path) in [
        ("POST", "/v1/x"),
        ("GET", "/v2/x"),
        ("GET", "/v1"),
        ("GET", "/v1/../admin"),
        ("GET", "/v1/..%2fadmin"),
        ("GET", "/v1/%2e%2e/admin"),
        ("GET", "/v1/secret"),
        ("GET", "/v1/SECRETS"),
    ] {
        let error = rig.send(&pass, request(method, &server.url("127.0.0.1", path))).await.unwrap_err();
        assert!(matches!(&error, EgressError::Denied(_)), "{method} {path}: {error}");
    }
    let other_port = format!("http://127.0.0.1:{}/v1/x", server.port ^ 1);
    assert!(matches!(rig.send(&pass, get(&other_port)).await.unwrap_err(), EgressError::Denied(_)));
    assert_eq!((server.connections(), rig.used(Resource::HttpRequests)), (0, 0), "a denial costs nothing");
}

#[tokio::test]
async fn smuggled_headers_are_refused() {
    let server = Server::start(ok("x")).await;
    let rig = Rig::new();
    let pass = rig.pass(&[&server.at("")]);
    for (name, value) in
        [("host", "evil.net"), ("transfer-encoding", "chunked"), ("x", "a\r\nx-evil: 1"), ("connection", "x")]
    {
        let error = rig.send(&pass, get(&server.url("127.0.0.1", "/")).with(name, value)).await.unwrap_err();
        assert!(matches!(error, EgressError::BadRequest(_)), "{error}");
    }
    let error = rig.send(&pass, get(&server.url("127.0.0.1", "/")).with("content-length", "5")).await.unwrap_err();
    assert!(matches!(error, EgressError::BadRequest(_)), "{error}");
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_name_that_leads_nowhere_says_so() {
    let rig = Rig::new().name("empty.example.com", &[]);
    for host in ["missing.example.com", "empty.example.com"] {
        let error = rig.send(&rig.pass(&["*"]), get(&format!("https://{host}/"))).await.unwrap_err();
        assert!(matches!(&error, EgressError::Dns { host: named, .. } if named == host), "{error}");
    }
}
