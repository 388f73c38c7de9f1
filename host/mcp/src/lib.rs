//! MCP servers of others, as tools under Vespiary's policy. What is configured is data (`config`), what is trusted is a pin
//! (`pin`, `lock`), and a call runs only where both agree and the dispatcher admitted it. One instance of a server serves every
//! call of the same scope; it is started by whoever the roof gives (`launch`), or spoken to through the kernel's egress. Nothing
//! here reads a file, starts a program or opens a connection by itself. The protocol's client is named only here.
#![forbid(unsafe_code)]

mod call;
pub mod config;
mod ears;
mod guard;
mod instance;
pub mod launch;
pub mod lock;
pub mod pin;
mod pool;
mod rate;
mod run;
mod text;
mod way;

use crate::config::ServerConfig;
use crate::launch::Launch;
use crate::lock::Lock;
use crate::pin::Pin;
use crate::pool::Pool;
use crate::rate::Rate;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use vespiary_kernel::http::Egress;
use vespiary_kernel::ids::PluginName;

/// What the pillar is given by the roof.
pub struct ServersConfig {
    /// Every server that can be called.
    pub servers: Vec<ServerConfig>,
    /// What is trusted of them.
    pub lock: Lock,
    /// The one server that may be looked at although nothing of it is pinned: a person is about to decide on it. Its tools can
    /// be listed, and none of them called.
    pub looked_at: Option<PluginName>,
    /// Starts programs.
    pub launch: Arc<dyn Launch>,
    /// Sends requests.
    pub egress: Arc<dyn Egress>,
    /// Environment variables that can be granted.
    pub variables: Arc<BTreeMap<String, String>>,
}

/// Runs calls of MCP servers. One for a process: it holds the instances.
pub struct Servers {
    known: BTreeMap<PluginName, Arc<Server>>,
    looked_at: Option<PluginName>,
    pool: Arc<Pool>,
}

/// One server: what is configured, what is trusted, and how fast it may be asked.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) config: ServerConfig,
    pub(crate) pin: Option<Pin>,
    pub(crate) rate: Rate,
}

impl Servers {
    /// Nothing is started or connected to before a call asks for it.
    pub fn new(config: ServersConfig) -> Self {
        let ServersConfig { servers, lock, looked_at, launch, egress, variables } = config;
        let known = servers.into_iter().map(|config| {
            let rate = Rate::new(config.requests_per_second_max, config.requests_at_once_max);
            let pin = lock.pin(&config.name).cloned();
            (config.name.clone(), Arc::new(Server { config, pin, rate }))
        });
        Self { known: known.collect(), looked_at, pool: Pool::new(launch, egress, variables) }
    }
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Servers").field("known", &self.known.keys()).finish_non_exhaustive()
    }
}
