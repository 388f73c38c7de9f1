//! The instances that live: one for each server and scope, shared by all calls, started by the first of them and ended when nobody
//! has used it for a while. One that fails is started again later and later.

use crate::Server;
use crate::instance::{Instance, Start};
use crate::launch::Launch;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};
use vespiary_kernel::call::Failure;
use vespiary_kernel::capability::Capability;
use vespiary_kernel::http::Egress;
use vespiary_kernel::ids::{PluginName, RunId};
use vespiary_kernel::scope::Scope;

/// How long an instance that nobody uses is kept.
const UNUSED_TIME_MAX: Duration = Duration::from_secs(300);
/// How often unused ones are looked for.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// Instances at once, of all servers.
const INSTANCES_MAX: usize = 64;
/// The first wait after a failure; each next one is twice as long.
const BACKOFF: Duration = Duration::from_millis(250);
/// The longest.
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// A call waits this long for the next attempt. Where it would have to wait longer it is told why, instead.
const PATIENCE: Duration = Duration::from_secs(3);

/// What one instance is for: nobody with another scope ever meets it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    server: PluginName,
    scope: String,
    root: PathBuf,
}

/// Every instance.
pub(crate) struct Pool {
    launch: Arc<dyn Launch>,
    egress: Arc<dyn Egress>,
    variables: Arc<BTreeMap<String, String>>,
    slots: Mutex<HashMap<Key, Arc<Slot>>>,
    looked_after: AtomicBool,
}

/// The place of one instance. Whoever starts it holds the lock; the others wait for the same one.
#[derive(Default)]
pub(crate) struct Slot {
    state: tokio::sync::Mutex<State>,
}

#[derive(Default)]
struct State {
    instance: Option<Arc<Instance>>,
    troubles: Troubles,
}

/// How often it failed, and when it may be tried again.
#[derive(Debug, Default)]
struct Troubles {
    count: u32,
    not_before: Option<Instant>,
    last: String,
}

impl Troubles {
    fn note(&mut self, now: Instant, why: String) {
        self.not_before = Some(now + backoff(self.count));
        self.count = self.count.saturating_add(1);
        self.last = why;
    }

    /// When it may be tried again, or why a call is told at once.
    fn next(&self, now: Instant) -> Result<Instant, Failure> {
        let at = self.not_before.unwrap_or(now).max(now);
        let wait = at - now;
        if wait <= PATIENCE {
            return Ok(at);
        }
        let (count, last) = (self.count, &self.last);
        Err(Failure::Failed(format!(
            "the server has failed {count} times and is tried again in {} s; the last time: {last}",
            wait.as_secs() + 1
        )))
    }
}

/// The wait after so many failures.
fn backoff(failures: u32) -> Duration {
    BACKOFF.saturating_mul(1 << failures.min(20)).min(BACKOFF_MAX)
}

impl Pool {
    pub(crate) fn new(
        launch: Arc<dyn Launch>,
        egress: Arc<dyn Egress>,
        variables: Arc<BTreeMap<String, String>>,
    ) -> Arc<Self> {
        Arc::new(Self { launch, egress, variables, slots: Mutex::default(), looked_after: AtomicBool::new(false) })
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<Key, Arc<Slot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The slot for calls of `server` under `scope` over `root`.
    pub(crate) fn slot(self: &Arc<Self>, server: &Server, scope: &Scope, root: &Path) -> Result<Arc<Slot>, Failure> {
        if !self.looked_after.swap(true, Ordering::AcqRel) {
            tokio::spawn(look_after(Arc::downgrade(self)));
        }
        let key = Key { server: server.config.name.clone(), scope: scope.to_string(), root: root.to_owned() };
        let mut slots = self.slots();
        if let Some(slot) = slots.get(&key) {
            return Ok(Arc::clone(slot));
        }
        if slots.len() >= INSTANCES_MAX {
            // Nobody waits for a slot that only the map holds, so nothing is taken from anybody.
            slots.retain(|_, slot| Arc::strong_count(slot) > 1);
        }
        if slots.len() >= INSTANCES_MAX {
            let why = format!("{INSTANCES_MAX} instances of MCP servers are in use; call again when one is free");
            return Err(Failure::Failed(why));
        }
        Ok(Arc::clone(slots.entry(key).or_default()))
    }

    /// The instance of a slot, started if there is none that lives.
    pub(crate) async fn instance(
        &self,
        slot: &Slot,
        server: &Server,
        scope: &Scope,
        root: &Path,
        run: &RunId,
    ) -> Result<Arc<Instance>, Failure> {
        let mut state = slot.state.lock().await;
        if let Some(instance) = &state.instance {
            match instance.ending().await {
                None => return Ok(Arc::clone(instance)),
                Some(how) => {
                    state.troubles.note(Instant::now(), how);
                    state.instance = None;
                }
            }
        }
        let at = state.troubles.next(Instant::now())?;
        sleep_until(at).await;
        let (launch, egress, variables) = (self.launch.as_ref(), &self.egress, self.variables.as_ref());
        let started = Instance::start(Start { server, scope, root, run, launch, egress, variables }).await;
        match started {
            Ok(instance) => {
                let instance = Arc::new(instance);
                state.instance = Some(Arc::clone(&instance));
                Ok(instance)
            }
            Err(failure) => {
                state.troubles.note(Instant::now(), failure.to_string());
                Err(failure)
            }
        }
    }

    /// End what nobody has used for a while, and forget places in which nothing lives and nothing failed lately.
    fn sweep(&self) {
        let mut ended = Vec::new();
        self.slots().retain(|_, slot| {
            if Arc::strong_count(slot) > 1 {
                return true;
            }
            let Ok(mut state) = slot.state.try_lock() else { return true };
            if state.instance.as_ref().is_some_and(|instance| instance.unused() > UNUSED_TIME_MAX) {
                ended.extend(state.instance.take());
            }
            let waits = state.troubles.not_before.is_some_and(|at| at + BACKOFF_MAX > Instant::now());
            state.instance.is_some() || waits
        });
        // Outside of the lock: ending a program takes a moment.
        drop(ended);
    }
}

impl Slot {
    /// Note that it answered: whatever failed before is forgiven.
    pub(crate) async fn answered(&self) {
        self.state.lock().await.troubles = Troubles::default();
    }
}

async fn look_after(pool: Weak<Pool>) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Some(pool) = pool.upgrade() else { return };
        pool.sweep();
    }
}

/// What an instance is started with: the scope of a call, without the tools it was admitted for. Two calls that differ in nothing
/// else share it.
pub(crate) fn shared_scope(scope: &Scope) -> Scope {
    scope.only(|held| !matches!(held, Capability::Mcp(_) | Capability::Tool(_)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use vespiary_kernel::grant::Grant;

    #[tokio::test(start_paused = true)]
    async fn failures_are_waited_for_longer_and_longer_and_then_told() {
        let mut troubles = Troubles::default();
        let now = Instant::now();
        assert_eq!(troubles.next(now), Ok(now));
        let mut waits = Vec::new();
        for _ in 0..4 {
            troubles.note(now, "it ended with status 1".into());
            waits.push(troubles.next(now).map(|at| (at - now).as_millis()).unwrap_or(0));
        }
        assert_eq!(waits, [250, 500, 1_000, 2_000]);
        troubles.note(now, "it ended with status 1".into());
        let told = troubles.next(now).unwrap_err().to_string();
        assert!(told.contains("failed 5 times") && told.contains("status 1") && told.contains("in 5 s"), "{told}");
        assert_eq!(troubles.next(now + Duration::from_secs(4)), Ok(now + Duration::from_secs(4)));
        assert_eq!(backoff(1_000), BACKOFF_MAX);
    }

    #[test]
    fn calls_that_differ_in_their_tool_alone_share_an_instance() {
        let scope = |held: &[&str]| Scope::whole(Grant::of_run(held.iter().map(|held| held.parse().unwrap())));
        let one = shared_scope(&scope(&["mcp:s.a", "exec:node", "read:src"]));
        let other = shared_scope(&scope(&["mcp:s.b", "exec:node", "read:src"]));
        assert_eq!(one.to_string(), other.to_string());
        assert_ne!(one.to_string(), shared_scope(&scope(&["mcp:s.b", "exec:node", "read:."])).to_string());
    }
}
