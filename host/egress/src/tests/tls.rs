//! TLS: a certificate nobody trusts ends the exchange, a configured root makes it work, and the name is the judged one.

use super::rig::{Rig, get};
use crate::{EgressConfig, EgressRefused, HttpEgress, Secrets};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use vespiary_kernel::http::EgressError;

/// A TLS server for `name`: its port, and its certificate as PEM.
async fn server(name: &str) -> (u16, Vec<u8>) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed([name.to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![CertificateDer::from(cert.der().to_vec())], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut tls) = acceptor.accept(stream).await else { return };
                let name = tls.get_ref().1.server_name().unwrap_or("nobody").to_owned();
                let _ = tls.read(&mut [0; 1024]).await;
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{name}", name.len());
                let _ = tls.write_all(answer.as_bytes()).await;
                let _ = tls.shutdown().await;
            });
        }
    });
    (port, cert.pem().into_bytes())
}

#[tokio::test]
async fn trust_is_what_was_configured_and_no_more() {
    let (port, pem) = server("api.example.com").await;
    let grants = [format!("*.example.com:{port}"), format!("127.0.0.1:{port}")];
    let grants: Vec<_> = grants.iter().map(String::as_str).collect();
    let stranger = Rig::new().name("api.example.com", &["127.0.0.1"]);
    let url = |host: &str| format!("https://{host}:{port}/");
    let error = stranger.send(&stranger.pass(&grants), get(&url("api.example.com"))).await.unwrap_err();
    assert!(matches!(error, EgressError::Tls { .. }), "{error}");
    let friend = Rig::with(Secrets::default(), vec![pem])
        .name("api.example.com", &["127.0.0.1"])
        .name("other.example.com", &["127.0.0.1"]);
    let answer = friend.send(&friend.pass(&grants), get(&url("api.example.com"))).await.unwrap();
    assert_eq!(answer.text(), "api.example.com", "the name the server sees is the judged one");
    let error = friend.send(&friend.pass(&grants), get(&url("other.example.com"))).await.unwrap_err();
    assert!(matches!(error, EgressError::Tls { .. }), "a certificate is for its name: {error}");
}

#[test]
fn a_root_that_is_none_is_named() {
    let config = EgressConfig { extra_roots: vec![b"not PEM".to_vec()], ..EgressConfig::new() };
    assert!(matches!(HttpEgress::new(config), Err(EgressRefused::Root { index: 0, .. })));
}
