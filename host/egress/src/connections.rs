//! Connections, each pinned to addresses that were judged. A connection is used again only by a request of the same run, for
//! the same scheme, host and port, whose own judgement ended in the same addresses: pooling never skips a check.

use crate::EgressRefused;
use reqwest::dns::{Name, Resolve, Resolving};
use reqwest::{Client, redirect, retry};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use vespiary_kernel::ids::RunId;
use vespiary_kernel::net::{NetHost, NetTarget, Scheme};

/// Peers whose connections are kept.
const PEERS_KEPT: usize = 64;
/// Idle connections kept for one peer, and for how long.
const IDLE_KEPT: usize = 4;
const IDLE_TIME_MAX: Duration = Duration::from_secs(30);

/// Headers a response may have before it is given up unread. The pass's own limit is checked after that.
const HEADERS_READ_MAX: usize = 256;
const HEADER_BYTES_READ_MAX: u32 = 256 << 10;

/// Who is spoken to, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Peer {
    run: RunId,
    scheme: Scheme,
    host: NetHost,
    port: u16,
    /// Sorted, so that a resolver that rotates its answers names the same peer.
    addresses: Vec<IpAddr>,
    connect_time_max: Duration,
}

/// The clients of recent peers, most recent first.
pub(crate) struct Connections {
    tls: ClientConfig,
    recent: Mutex<VecDeque<(Peer, Client)>>,
}

impl Connections {
    pub(crate) fn new(extra_roots: &[Vec<u8>]) -> Result<Self, EgressRefused> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        for (index, pem) in extra_roots.iter().enumerate() {
            let refuse = |why: String| EgressRefused::Root { index, why };
            let mut found = 0;
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|e| refuse(e.to_string()))?;
                roots.add(certificate).map_err(|e| refuse(e.to_string()))?;
                found += 1;
            }
            if found == 0 {
                return Err(refuse("it holds no certificate".into()));
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| EgressRefused::Tls(e.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { tls, recent: Mutex::default() })
    }

    /// A client that can reach `target` at `addresses` and nobody else. All of them were judged for this request.
    pub(crate) fn client(
        &self,
        run: &RunId,
        target: &NetTarget,
        addresses: &[IpAddr],
        connect_time_max: Duration,
    ) -> Result<Client, String> {
        let mut sorted = addresses.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        let peer = Peer {
            run: run.clone(),
            scheme: target.scheme(),
            host: target.host().clone(),
            port: target.port(),
            addresses: sorted,
            connect_time_max,
        };
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = recent.iter().position(|(known, _)| *known == peer)
            && let Some(found) = recent.remove(at)
        {
            let client = found.1.clone();
            recent.push_front(found);
            return Ok(client);
        }
        let client = self.build(&peer, addresses).map_err(|e| e.to_string())?;
        recent.truncate(PEERS_KEPT - 1);
        recent.push_front((peer, client.clone()));
        Ok(client)
    }

    /// How it speaks TLS: with these roots and no others.
    pub(crate) fn tls(&self) -> ClientConfig {
        self.tls.clone()
    }

    fn build(&self, peer: &Peer, addresses: &[IpAddr]) -> reqwest::Result<Client> {
        let mut builder = Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .referer(false)
            .dns_resolver(NoResolver)
            .tls_backend_preconfigured(self.tls.clone())
            .connect_timeout(peer.connect_time_max)
            .pool_idle_timeout(IDLE_TIME_MAX)
            .pool_max_idle_per_host(IDLE_KEPT)
            .http1_max_headers(HEADERS_READ_MAX)
            .http2_max_header_list_size(HEADER_BYTES_READ_MAX)
            .tcp_nodelay(true);
        if let NetHost::Name(name) = &peer.host {
            let pinned: Vec<_> = addresses.iter().map(|address| SocketAddr::new(*address, peer.port)).collect();
            builder = builder.resolve_to_addrs(name.as_str(), &pinned);
        }
        builder.build()
    }

    /// Peers whose connections are kept now.
    #[cfg(test)]
    pub(crate) fn kept(&self) -> usize {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// A name that was not pinned leads nowhere.
struct NoResolver;

impl Resolve for NoResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let refused = format!("{} was not resolved and judged before", name.as_str());
        Box::pin(std::future::ready(Err(refused.into())))
    }
}
