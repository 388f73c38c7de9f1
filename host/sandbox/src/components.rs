//! Components ready to run: found by digest, checked, compiled once and kept. Compiling happens off the threads that drive
//! cells, at most once at a time for each component, however many calls wait for it.

use crate::bindings::agent::AgentPluginPre;
use crate::bindings::script::ScriptEnginePre;
use crate::bindings::tool::ToolPluginPre;
use crate::cache::Cache;
use crate::cell::Cell;
use crate::imports::Imports;
use crate::precompiled;
use crate::text;
use crate::walls::time_hit;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::sync::OnceCell;
use tokio::time::timeout;
use vespiary_kernel::call::Failure;
use vespiary_kernel::ids::Digest;
use vespiary_kernel::plugin::Kind;
use vespiary_kernel::ports::Catalog;
use wasmtime::Engine;
use wasmtime::component::Component;

/// A component linked for its world; starting it looks nothing up.
pub(crate) enum Ready {
    Tools(ToolPluginPre<Cell>),
    Agent(AgentPluginPre<Cell>),
    Engine(ScriptEnginePre<Cell>),
}

/// What is known of one component: it can run, or it never can and this is why.
#[derive(Default)]
pub(crate) struct Entry(OnceCell<Result<Ready, Failure>>);

/// All components this process has met.
pub(crate) struct Components {
    shared: Arc<Shared>,
    met: RwLock<HashMap<(Digest, u8), Arc<Entry>>>,
}

struct Shared {
    engine: Engine,
    source: Arc<dyn Catalog>,
    cache: Option<Cache>,
    limits: CompileLimits,
}

/// What a component may cost before its first call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CompileLimits {
    pub(crate) bytes_max: u64,
    pub(crate) time_max: Duration,
}

impl Entry {
    fn ready(&self) -> Option<Result<&Ready, Failure>> {
        self.0.get().map(|known| known.as_ref().map_err(Clone::clone))
    }

    /// The component, which `Components::find` has brought in.
    pub(crate) fn get(&self) -> Result<&Ready, Failure> {
        self.ready().unwrap_or_else(|| Err(Failure::Host("a component was used before it was loaded".into())))
    }
}

impl Components {
    pub(crate) fn new(engine: Engine, source: Arc<dyn Catalog>, cache: Option<Cache>, limits: CompileLimits) -> Self {
        Self { shared: Arc::new(Shared { engine, source, cache, limits }), met: RwLock::default() }
    }

    /// The component `digest`, linked as `kind`. The first caller compiles, the others wait for it.
    pub(crate) async fn find(&self, digest: &Digest, kind: Kind, imports: &Imports) -> Result<Arc<Entry>, Failure> {
        let key = (*digest, kind as u8);
        let known = self.met.read().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        let entry = match known {
            Some(entry) if entry.0.initialized() => return Ok(entry),
            Some(entry) => entry,
            None => {
                let mut met = self.met.write().unwrap_or_else(PoisonError::into_inner);
                Arc::clone(met.entry(key).or_default())
            }
        };
        let load = || async {
            match self.load(*digest).await {
                Ok(component) => Ok(link(&self.shared.engine, &component, kind, imports)),
                // A component that cannot run never can; a host that failed may do better next time.
                Err(failure @ (Failure::Unrunnable(_) | Failure::Limit(_))) => Ok(Err(failure)),
                Err(failure) => Err(failure),
            }
        };
        entry.0.get_or_try_init(load).await?;
        Ok(entry)
    }

    async fn load(&self, digest: Digest) -> Result<Component, Failure> {
        self.aside(move |shared| shared.load(&digest)).await
    }

    /// The interfaces and functions the component in `bytes` imports, in its order. Compiles it; the result is not kept.
    pub(crate) async fn imports(&self, bytes: Vec<u8>) -> Result<Vec<String>, Failure> {
        self.aside(move |shared| Ok(import_names(&shared.engine, &shared.compile(&bytes)?))).await
    }

    /// Do `work` on a thread that drives no cells, for as long as compiling may take.
    async fn aside<R: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Result<R, Failure> + Send + 'static,
    ) -> Result<R, Failure> {
        let (shared, limit) = (Arc::clone(&self.shared), self.shared.limits.time_max);
        let started = Instant::now();
        match timeout(limit, tokio::task::spawn_blocking(move || work(&shared))).await {
            Ok(Ok(done)) => done,
            Ok(Err(died)) => Err(Failure::Host(format!("compiling a component failed: {died}"))),
            Err(_) => Err(Failure::Limit(time_hit("compile-time-ms", limit, started.elapsed()))),
        }
    }
}

impl Shared {
    fn load(&self, digest: &Digest) -> Result<Component, Failure> {
        if let Some(entry) = self.cache.as_ref().and_then(|cache| cache.read(digest)) {
            // A file this engine does not take after all is as good as none: compile, and replace it.
            if let Ok(component) = precompiled::load(&self.engine, entry.code()) {
                return Ok(component);
            }
        }
        let bytes = self.source.component(digest).ok_or_else(|| {
            Failure::NotFound(format!("the catalog has no component {}; add the plugin again", digest.short()))
        })?;
        if Digest::of(&bytes) != *digest {
            let short = digest.short();
            return Err(Failure::Unrunnable(format!(
                "its bytes are not those of digest {short}: they were changed after the plugin was added; add it again"
            )));
        }
        let component = self.compile(&bytes)?;
        if let Some(cache) = &self.cache
            && let Ok(code) = component.serialize()
        {
            // A full disk makes the next start slower, not this one wrong.
            let _ = cache.write(digest, &code);
        }
        Ok(component)
    }

    fn compile(&self, bytes: &[u8]) -> Result<Component, Failure> {
        check(bytes, self.limits.bytes_max)?;
        Component::from_binary(&self.engine, bytes)
            .map_err(|error| Failure::Unrunnable(text::cause(format!("it does not compile: {error:#}"))))
    }
}

/// What can be told before compiling.
fn check(bytes: &[u8], bytes_max: u64) -> Result<(), Failure> {
    let refuse = |why: String| Err(Failure::Unrunnable(why));
    if bytes.len() as u64 > bytes_max {
        return refuse(format!("it is {} bytes long; at most {bytes_max} are allowed", bytes.len()));
    }
    match bytes {
        [0, b'a', b's', b'm', 0x0d, 0, 1, 0, ..] => Ok(()),
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => {
            refuse("it is a core WebAssembly module, not a component; make one with `wasm-tools component new`".into())
        }
        [0, b'a', b's', b'm', ..] => refuse("it is WebAssembly of a version this host does not know".into()),
        _ => refuse("it is not WebAssembly: the first four bytes are not \\0asm".into()),
    }
}

fn import_names(engine: &Engine, component: &Component) -> Vec<String> {
    component.component_type().imports(engine).map(|(name, _)| name.to_owned()).collect()
}

/// Link a component with what its kind is offered, or say what it wants beyond that.
fn link(engine: &Engine, component: &Component, kind: Kind, imports: &Imports) -> Result<Ready, Failure> {
    let unrunnable = |why: String| Failure::Unrunnable(text::cause(why));
    let excess: Vec<_> =
        import_names(engine, component).into_iter().filter(|name| !Imports::offers(kind, name)).collect();
    if !excess.is_empty() {
        let names = excess.join(", ");
        return Err(unrunnable(format!(
            "it imports {names}; no capability of this version grants that, so it would never work"
        )));
    }
    let instance = imports
        .linker(kind)
        .instantiate_pre(component)
        .map_err(|error| unrunnable(format!("its imports do not fit this host: {error:#}")))?;
    let (world, linked) = match kind {
        Kind::Tools => ("tool-plugin", ToolPluginPre::new(instance).map(Ready::Tools)),
        Kind::Agent => ("agent-plugin", AgentPluginPre::new(instance).map(Ready::Agent)),
        Kind::Engine => ("script-engine", ScriptEnginePre::new(instance).map(Ready::Engine)),
    };
    linked.map_err(|error| unrunnable(format!("it is not a component of the world vespiary:plugin/{world}: {error:#}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_component_is_told_apart() {
        let why = |bytes: &[u8]| match check(bytes, 64) {
            Err(Failure::Unrunnable(why)) => why,
            other => panic!("{other:?}"),
        };
        assert!(why(b"\0asm\x01\0\0\0").contains("core WebAssembly module"));
        assert!(why(b"\0asm\x0e\0\x01\0").contains("version"));
        assert!(why(b"(component)").contains("not WebAssembly"));
        assert!(why(b"").contains("not WebAssembly"));
        assert!(why(&[0; 65]).contains("at most 64"));
        check(b"\0asm\x0d\0\x01\0", 64).unwrap();
    }
}
