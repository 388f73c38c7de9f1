//! From a name to addresses. Whatever a resolver answers is only a claim: every address is judged before it is connected to.
//! A lookup that nobody waits for any more still holds its thread, so its places are held until it ends, not until it is given
//! up.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;
use vespiary_kernel::ids::RunId;
use vespiary_kernel::net::HostName;
use vespiary_kernel::ports::BoxFuture;

/// Addresses looked at for one name; more are left out.
pub(crate) const ADDRESSES_MAX: usize = 16;

/// Lookups under way at once: each may hold a thread for as long as the system's resolver takes.
const LOOKUPS_MAX: usize = 32;
/// Lookups of one run under way at once, so that no run keeps others from all of them.
const LOOKUPS_OF_RUN_MAX: usize = 8;

/// Finds the addresses of a name.
pub trait Resolver: Send + Sync {
    /// All addresses of `name`, best first, or what went wrong in words.
    fn resolve<'a>(&'a self, name: &'a HostName) -> BoxFuture<'a, Result<Vec<IpAddr>, String>>;
}

/// The system's resolver: `/etc/hosts`, DNS, and whatever else this machine is set up to ask. Nothing is cached here, so that
/// an answer is never older than the request it is judged for.
pub struct SystemResolver {
    lookups: Arc<Semaphore>,
    /// Asks the system, and blocks until it answers.
    ask: fn(&str) -> io::Result<Vec<IpAddr>>,
}

impl Default for SystemResolver {
    fn default() -> Self {
        let ask = |name: &str| Ok((name, 0).to_socket_addrs()?.map(|address: SocketAddr| address.ip()).collect());
        Self { lookups: Arc::new(Semaphore::new(LOOKUPS_MAX)), ask }
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
            let turn = Arc::clone(&self.lookups).acquire_owned().await.map_err(|e| e.to_string())?;
            let (ask, name) = (self.ask, name.clone());
            let lookup = tokio::task::spawn_blocking(move || {
                // Nothing ends a thread that waits for the system, so the turn ends with it.
                let _turn = turn;
                ask(name.as_str())
            });
            lookup.await.map_err(|e| e.to_string())?.map_err(|e| e.to_string())
        })
    }
}

/// A resolver shared by runs.
pub(crate) struct Lookups {
    resolver: Arc<dyn Resolver>,
    /// The places of runs that have lookups under way.
    runs: Mutex<HashMap<RunId, Arc<Semaphore>>>,
}

impl Lookups {
    pub(crate) fn new(resolver: Arc<dyn Resolver>) -> Self {
        Self { resolver, runs: Mutex::default() }
    }

    /// All addresses of `name`, for `run`. Waits while too many of the run's lookups are under way.
    pub(crate) async fn resolve(&self, run: &RunId, name: &HostName) -> Result<Vec<IpAddr>, String> {
        let turn = self.places(run).acquire_owned().await.map_err(|e| e.to_string())?;
        let (resolver, name) = (Arc::clone(&self.resolver), name.clone());
        // A task of its own: it goes on when the request is given up, and holds the turn for as long as the lookup lasts.
        let lookup = tokio::spawn(async move {
            let _turn = turn;
            resolver.resolve(&name).await
        });
        lookup.await.map_err(|e| e.to_string())?
    }

    fn places(&self, run: &RunId) -> Arc<Semaphore> {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        // A run that nobody looks up anything for is no different from a new one. A permit keeps its semaphore alive.
        runs.retain(|known, places| known == run || Arc::strong_count(places) > 1);
        Arc::clone(runs.entry(run.clone()).or_insert_with(|| Arc::new(Semaphore::new(LOOKUPS_OF_RUN_MAX))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;
    use tokio::time::timeout;

    /// Lookups under way in the system, and the most there ever were.
    static NOW: AtomicUsize = AtomicUsize::new(0);
    static MOST: AtomicUsize = AtomicUsize::new(0);

    fn slow(_: &str) -> io::Result<Vec<IpAddr>> {
        MOST.fetch_max(NOW.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(300));
        NOW.fetch_sub(1, Ordering::SeqCst);
        Ok(vec![IpAddr::from([127, 0, 0, 1])])
    }

    /// Both in one test: they count the same lookups.
    #[tokio::test]
    async fn lookups_that_were_given_up_hold_their_places() {
        let name: HostName = match "slow.example.com".parse() {
            Ok(vespiary_kernel::net::NetHost::Name(name)) => name,
            other => panic!("{other:?}"),
        };
        let resolver = SystemResolver { ask: slow, ..SystemResolver::default() };
        for _ in 0..4 * LOOKUPS_MAX {
            timeout(Duration::from_millis(1), resolver.resolve(&name)).await.expect_err("it is given up");
        }
        assert_eq!(MOST.load(Ordering::SeqCst), LOOKUPS_MAX, "no more threads than there are places");
        timeout(Duration::from_secs(20), resolver.resolve(&name)).await.expect("places come back").expect("an answer");

        while NOW.load(Ordering::SeqCst) > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        MOST.store(0, Ordering::SeqCst);
        let lookups = Lookups::new(Arc::new(resolver));
        let (run, other): (RunId, RunId) = ("greedy".parse().unwrap(), "other".parse().unwrap());
        for _ in 0..4 * LOOKUPS_OF_RUN_MAX {
            timeout(Duration::from_millis(1), lookups.resolve(&run, &name)).await.expect_err("it is given up");
        }
        assert_eq!(MOST.load(Ordering::SeqCst), LOOKUPS_OF_RUN_MAX, "a run has its share and no more");
        timeout(Duration::from_secs(20), lookups.resolve(&other, &name)).await.expect("another has its own").unwrap();
        assert!(lookups.runs.lock().unwrap().len() <= 2);
    }
}
