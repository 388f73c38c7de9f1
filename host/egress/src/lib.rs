//! Vespiary's way out: sends what a call may send over HTTP, and nothing else. Each request is judged, its host resolved
//! once, every address judged, and the connection pinned to those addresses; sizes, rates and times are held; secrets are
//! put in on the way out and scrubbed from what comes back. What a call may do, its pass says. Reqwest is named only here.
#![deny(unsafe_code)]

mod body;
mod connections;
pub mod fetch;
mod headers;
mod placeholder;
mod rates;
mod resolve;
mod scrub;
mod secrets;
mod send;

#[cfg(test)]
mod tests;

pub use resolve::{Resolver, SystemResolver};
pub use scrub::{ScrubStream, Scrubber};
pub use secrets::{BadSecret, SecretSource, SecretSpec, Secrets};

use crate::connections::Connections;
use crate::rates::Rates;
use crate::resolve::Lookups;
use std::fmt;
use std::sync::Arc;
use vespiary_kernel::http::{Egress, EgressError, HttpRequest, HttpResponse, NetPass};
use vespiary_kernel::ports::BoxFuture;

/// What an egress is built from.
pub struct EgressConfig {
    /// Finds the addresses of names.
    pub resolver: Arc<dyn Resolver>,
    /// Secrets that may be put into requests.
    pub secrets: Arc<Secrets>,
    /// Certificates (PEM) that are trusted beside the public roots, for servers of one's own.
    pub extra_roots: Vec<Vec<u8>>,
    /// Exchanges under way at once, over all runs.
    pub concurrent_max: usize,
    /// Requests a run may begin in a second with one host, whatever a pass says; more wait.
    pub requests_per_second_per_host_max: u32,
}

impl EgressConfig {
    /// The system's resolver, no secrets, the public roots, 256 exchanges at once, no rate but the pass's.
    pub fn new() -> Self {
        Self {
            resolver: Arc::new(SystemResolver::default()),
            secrets: Arc::new(Secrets::default()),
            extra_roots: Vec::new(),
            concurrent_max: 256,
            requests_per_second_per_host_max: u32::MAX,
        }
    }
}

impl Default for EgressConfig {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for EgressConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EgressConfig").field("concurrent_max", &self.concurrent_max).finish_non_exhaustive()
    }
}

/// Why there is no egress.
#[derive(Debug, thiserror::Error)]
pub enum EgressRefused {
    /// One of the extra roots is no certificate.
    #[error("extra root {index} is not a PEM certificate: {why}")]
    Root {
        /// Its place in the configuration, from 0.
        index: usize,
        /// What is wrong with it.
        why: String,
    },
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
}

/// Sends requests. One for a process: it holds the connections, the rates and the secrets.
pub struct HttpEgress {
    lookups: Lookups,
    secrets: Arc<Secrets>,
    connections: Connections,
    rates: Rates,
}

impl HttpEgress {
    /// Set up trust, and nothing more: connections are made when they are needed.
    pub fn new(config: EgressConfig) -> Result<Self, EgressRefused> {
        Ok(Self {
            lookups: Lookups::new(config.resolver),
            secrets: config.secrets,
            connections: Connections::new(&config.extra_roots)?,
            rates: Rates::new(config.concurrent_max, config.requests_per_second_per_host_max),
        })
    }
}

impl Egress for HttpEgress {
    fn send(&self, pass: Arc<NetPass>, request: HttpRequest) -> BoxFuture<'_, Result<HttpResponse, EgressError>> {
        Box::pin(self.exchange(pass, request))
    }
}

impl fmt::Debug for HttpEgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpEgress").finish_non_exhaustive()
    }
}
