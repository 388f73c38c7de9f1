//! A dispatcher around a real sandbox: a catalog of guests in memory, a log that keeps nothing, nobody to ask.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vespiary_kernel::call::{Ending, Failure, Keep, Outcome, ToolCall, Trap};
use vespiary_kernel::dispatch::{Dispatcher, Session};
use vespiary_kernel::event::Event;
use vespiary_kernel::grant::Grant;
use vespiary_kernel::ids::{Digest, RunId, ToolName};
use vespiary_kernel::json::Json;
use vespiary_kernel::plugin::{Manifest, Plugin, Trust};
use vespiary_kernel::policy::{Answer, Policy};
use vespiary_kernel::pool::{Capacity, Pool};
use vespiary_kernel::ports::{Approver, Asked, BoxFuture, Catalog, Log, LogError};
use vespiary_kernel::principal::{Principal, RunLimits};
use vespiary_kernel::quota::LimitHit;
use vespiary_sandbox::{Sandbox, SandboxConfig};

/// Guests by name.
#[derive(Default)]
pub(crate) struct Guests {
    plugins: HashMap<String, Arc<Plugin>>,
    components: HashMap<Digest, Vec<u8>>,
}

impl Guests {
    /// Add a guest. `manifest` is what stands in its `plugin.toml` beside name, version, kind and description.
    pub(crate) fn with(mut self, name: &str, kind: &str, component: Vec<u8>, manifest: &str) -> Self {
        let text = format!("name='{name}'\nversion='1.0.0'\nkind='{kind}'\ndescription='a guest'\n{manifest}");
        let digest = Digest::of(&component);
        let plugin = Plugin::new(Manifest::parse(&text).unwrap(), digest, Trust::Added).unwrap();
        self.plugins.insert(name.into(), Arc::new(plugin));
        self.components.insert(digest, component);
        self
    }

    /// The plugin `name`.
    pub(crate) fn plugin(&self, name: &str) -> Arc<Plugin> {
        Arc::clone(&self.plugins[name])
    }
}

impl Catalog for Guests {
    fn find(&self, tool: &ToolName) -> Option<Arc<Plugin>> {
        self.plugins.get(tool.plugin()).cloned()
    }

    fn component(&self, digest: &Digest) -> Option<Cow<'static, [u8]>> {
        self.components.get(digest).cloned().map(Cow::Owned)
    }

    fn names(&self) -> Vec<String> {
        self.plugins.keys().cloned().collect()
    }
}

struct Nobody;

impl Log for Nobody {
    fn append(&self, _: &RunId, _: Event) -> Result<(), LogError> {
        Ok(())
    }

    fn flushed(&self) -> BoxFuture<'_, Result<(), LogError>> {
        Box::pin(async { Ok(()) })
    }
}

impl Approver for Nobody {
    fn ask<'a>(&'a self, _: Asked<'a>) -> BoxFuture<'a, Answer> {
        Box::pin(async { Answer::Nobody("nobody is here".into()) })
    }
}

/// Everything a call needs.
#[derive(Clone)]
pub(crate) struct Nest {
    pub(crate) sandbox: Arc<Sandbox>,
    pub(crate) dispatcher: Arc<Dispatcher>,
    root: PathBuf,
}

pub(crate) const ROOM: Capacity = Capacity::of_places(64, 4, 2, 64);

impl Nest {
    /// Room for many, no cache.
    pub(crate) fn of(guests: Guests) -> Self {
        let guests = Arc::new(guests);
        Self::built(SandboxConfig::new(ROOM, guests))
    }

    /// As `config` says.
    pub(crate) fn built(config: SandboxConfig) -> Self {
        let (capacity, catalog) = (config.capacity, Arc::clone(&config.components));
        let sandbox = Arc::new(Sandbox::new(config).expect("this machine runs WebAssembly"));
        let runner: Arc<dyn vespiary_kernel::ports::Runner> = sandbox.clone();
        let (pool, nobody) = (Pool::new(capacity), Arc::new(Nobody));
        let dispatcher = Dispatcher::new(nobody.clone(), catalog, Policy::default(), pool, runner, nobody);
        Self { sandbox, dispatcher, root: std::env::temp_dir() }
    }

    /// The same nest over another project.
    pub(crate) fn at(mut self, root: &Path) -> Self {
        self.root = root.into();
        self
    }

    pub(crate) fn person(&self, grant: &[&str]) -> Principal {
        let grant = Grant::of_run(grant.iter().map(|text| text.parse().unwrap()));
        self.dispatcher.start("test".parse().unwrap(), self.root.clone(), grant, RunLimits::default())
    }

    /// Call `tool` as somebody who holds all tools.
    pub(crate) async fn call(&self, tool: &str, arguments: &str) -> Outcome {
        self.call_with(tool, arguments, &["tool:*"]).await
    }

    pub(crate) async fn call_with(&self, tool: &str, arguments: &str, grant: &[&str]) -> Outcome {
        let call =
            ToolCall { tool: tool.parse().unwrap(), arguments: Json::parse(arguments).unwrap(), keep: Keep::Value };
        self.dispatcher.dispatch(&self.person(grant), call).await
    }

    pub(crate) async fn session(&self, engine: &str) -> Session {
        let who = self.person(&[]);
        match self.dispatcher.open_session(&who, &engine.parse().unwrap()).await {
            Ok(session) => session,
            Err(outcome) => panic!("{:?}", outcome.ending),
        }
    }
}

/// The value a call gave.
pub(crate) fn value(outcome: &Outcome) -> &str {
    match &outcome.ending {
        Ending::Done(value) => value.as_str(),
        Ending::Failed(failure) => panic!("no value: {failure}"),
    }
}

/// Why a call gave none.
pub(crate) fn failure(outcome: &Outcome) -> &Failure {
    match &outcome.ending {
        Ending::Failed(failure) => failure,
        Ending::Done(value) => panic!("it gave {value}"),
    }
}

/// The limit that ended a call.
pub(crate) fn limit(outcome: &Outcome) -> &LimitHit {
    match failure(outcome) {
        Failure::Limit(hit) => hit,
        other => panic!("not a limit: {other}"),
    }
}

/// The trap that ended a call.
pub(crate) fn trap(outcome: &Outcome) -> &Trap {
    match failure(outcome) {
        Failure::Trapped(trap) => trap,
        other => panic!("not a trap: {other}"),
    }
}
