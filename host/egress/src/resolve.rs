//! From a name to addresses. Whatever a resolver answers is only a claim: every address is judged before it is connected to.

use std::fmt;
use std::net::IpAddr;
use tokio::sync::Semaphore;
use vespiary_kernel::net::HostName;
use vespiary_kernel::ports::BoxFuture;

/// Addresses looked at for one name; more are left out.
pub(crate) const ADDRESSES_MAX: usize = 16;

/// Lookups under way at once: each may hold a thread for as long as the system's resolver takes.
const LOOKUPS_MAX: usize = 32;

/// Finds the addresses of a name.
pub trait Resolver: Send + Sync {
    /// All addresses of `name`, best first, or what went wrong in words.
    fn resolve<'a>(&'a self, name: &'a HostName) -> BoxFuture<'a, Result<Vec<IpAddr>, String>>;
}

/// The system's resolver: `/etc/hosts`, DNS, and whatever else this machine is set up to ask. Nothing is cached here, so that
/// an answer is never older than the request it is judged for.
pub struct SystemResolver {
    lookups: Semaphore,
}

impl Default for SystemResolver {
    fn default() -> Self {
        Self { lookups: Semaphore::new(LOOKUPS_MAX) }
    }
}

impl fmt::Debug for SystemResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SystemResolver")
    }
}

impl Resolver for SystemResolver {
    fn resolve<'a>(&'a self, name: &'a HostName) -> BoxFuture<'a, Result<Vec<IpAddr>, String>> {
        Box::pin(async move {
            let _turn = self.lookups.acquire().await.map_err(|e| e.to_string())?;
            let found = tokio::net::lookup_host((name.as_str(), 0)).await.map_err(|e| e.to_string())?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}
