//! Components ready to run: found by digest, checked, compiled once and kept. Compiling happens off the threads that drive
//! cells, at most once at a time for each component, however many calls wait for it.

use crate::bindings::agent::AgentPluginPre;
use crate::bindings::script::ScriptEnginePre;
use crate::bindings::tool::ToolPluginPre;
use crate::cache::Cache;
use crate::cell::Cell;
use crate::compile::Compiler;
use crate::imports::{Imports, Sort};
use crate::precompiled::{self, Intact};
use crate::shape::{self, CompileLimits};
use crate::text;
use crate::walls::time_hit;
use std::borrow::Cow;
use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Waker};
use std::time::Instant;
use tokio::sync::OnceCell;
use tokio::time::timeout;
use vespiary_kernel::call::Failure;
use vespiary_kernel::ids::Digest;
use vespiary_kernel::plugin::{Kind, Plugin};
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
    met: RwLock<HashMap<(Digest, u8, bool), Arc<Entry>>>,
}

struct Shared {
    engine: Engine,
    source: Arc<dyn Catalog>,
    cache: Option<Arc<Cache>>,
    compiler: Option<Compiler>,
    limits: CompileLimits,
}

/// What there is of a component before it runs.
enum Stored {
    /// Compiled already.
    Compiled(Component),
    /// Its bytes, which are those of its digest and of a size that is compiled.
    Bytes(Cow<'static, [u8]>),
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
    pub(crate) fn new(
        engine: Engine,
        source: Arc<dyn Catalog>,
        cache: Option<Arc<Cache>>,
        compiler: Option<Compiler>,
        limits: CompileLimits,
    ) -> Self {
        Self { shared: Arc::new(Shared { engine, source, cache, compiler, limits }), met: RwLock::default() }
    }

    /// The component of `plugin`, linked for its sort. The first caller compiles, the others wait for it.
    pub(crate) async fn find(&self, plugin: &Plugin, imports: &Imports) -> Result<Arc<Entry>, Failure> {
        let (digest, sort) = (plugin.digest, Sort::of(plugin));
        let key = (digest, sort.kind as u8, sort.net);
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
            match self.load(digest).await {
                Ok(component) => Ok(link(&self.shared.engine, &component, sort, imports)),
                // A component that cannot run never can; a host that failed may do better next time.
                Err(failure @ (Failure::Unrunnable(_) | Failure::Limit(_))) => Ok(Err(failure)),
                Err(failure) => Err(failure),
            }
        };
        entry.0.get_or_try_init(load).await?;
        Ok(entry)
    }

    /// Load what is compiled already, so that its first call finds it loaded. Does nothing where it would have to be compiled. Blocks.
    pub(crate) fn prepare(&self, plugin: &Plugin, imports: &Imports) {
        let (digest, sort) = (plugin.digest, Sort::of(plugin));
        let entry = {
            let mut met = self.met.write().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(met.entry((digest, sort.kind as u8, sort.net)).or_default())
        };
        let load = || async {
            let component = self.shared.compiled(&digest).ok_or(())?;
            Ok::<_, ()>(link(&self.shared.engine, &component, sort, imports))
        };
        // Loading waits for nothing, so one poll is all of it; whoever calls the component meanwhile waits for this and does not load it a
        // second time. What does wait is somebody else's loading, and that is as good.
        let _ = pin!(entry.0.get_or_try_init(load)).poll(&mut Context::from_waker(Waker::noop()));
    }

    async fn load(&self, digest: Digest) -> Result<Component, Failure> {
        match self.aside(move |shared| shared.stored(&digest)).await? {
            Stored::Compiled(component) => Ok(component),
            Stored::Bytes(bytes) => self.compile(bytes, Some(digest)).await,
        }
    }

    /// The interfaces and functions the component in `bytes` imports, in its order. Compiles it; the result is not kept.
    pub(crate) async fn imports(&self, bytes: Vec<u8>) -> Result<Vec<String>, Failure> {
        let component = self.compile(Cow::Owned(bytes), None).await?;
        Ok(import_names(&self.shared.engine, &component))
    }

    /// Compile, in a process of its own where there is one for it, and keep the code under `digest`.
    async fn compile(&self, bytes: Cow<'static, [u8]>, digest: Option<Digest>) -> Result<Component, Failure> {
        let Some(compiler) = &self.shared.compiler else {
            return self.aside(move |shared| shared.compile_here(&bytes, digest.as_ref())).await;
        };
        let bytes = self.aside(move |shared| shape::check(&bytes, &shared.limits).map(|()| bytes)).await?;
        let code = compiler.compile(&bytes, &self.shared.engine, &self.shared.limits).await?;
        self.aside(move |shared| {
            let component = precompiled::load(&shared.engine, Intact::vouched_by_compiler(&code))
                .map_err(|error| unloadable(&error))?;
            shared.keep(digest.as_ref(), code.bytes());
            Ok(component)
        })
        .await
    }

    /// Do `work` on a thread that drives no cells, for as long as compiling may take.
    async fn aside<R: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Result<R, Failure> + Send + 'static,
    ) -> Result<R, Failure> {
        let (shared, limit) = (Arc::clone(&self.shared), self.shared.limits.compile_time_max);
        let started = Instant::now();
        match timeout(limit, tokio::task::spawn_blocking(move || work(&shared))).await {
            // What a busy machine wakes us for too late was late all the same.
            Ok(Ok(done)) if started.elapsed() <= limit => done,
            Ok(Err(died)) => Err(Failure::Host(format!("compiling a component failed: {died}"))),
            Ok(Ok(_)) | Err(_) => Err(Failure::Limit(time_hit("compile-time-ms", limit, started.elapsed()))),
        }
    }
}

impl Shared {
    /// The component, where its code is in the cache. A file this engine does not take after all is as good as none.
    fn compiled(&self, digest: &Digest) -> Option<Component> {
        let cache = self.cache.as_ref()?;
        let mapped = cache.read_sealed(digest).and_then(|file| precompiled::map(&self.engine, file.code()).ok());
        // Not every system lets what is in memory be run from there.
        mapped.or_else(|| precompiled::load(&self.engine, cache.read(digest)?.code()).ok())
    }

    fn stored(&self, digest: &Digest) -> Result<Stored, Failure> {
        if let Some(component) = self.compiled(digest) {
            return Ok(Stored::Compiled(component));
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
        Ok(Stored::Bytes(bytes))
    }

    fn compile_here(&self, bytes: &[u8], digest: Option<&Digest>) -> Result<Component, Failure> {
        shape::check(bytes, &self.limits)?;
        let component = Component::from_binary(&self.engine, bytes)
            .map_err(|error| Failure::Unrunnable(text::cause(format!("it does not compile: {error:#}"))))?;
        if let Ok(code) = component.serialize() {
            self.keep(digest, &code);
        }
        Ok(component)
    }

    fn keep(&self, digest: Option<&Digest>, code: &[u8]) {
        if let (Some(cache), Some(digest)) = (&self.cache, digest) {
            // A full disk makes the next start slower, not this one wrong.
            let _ = cache.write(digest, code);
        }
    }
}

/// Why code that this very program compiled just now does not load. Its settings are this engine's, so either the machine is at fault,
/// or the component has more of something than a cell has room for, and always will.
fn unloadable(error: &wasmtime::Error) -> Failure {
    if error.is::<std::io::Error>() || error.is::<rustix::io::Errno>() || error.is::<wasmtime::OutOfMemory>() {
        return Failure::Host(format!("code that was compiled just now does not load: {error:#}"));
    }
    Failure::Unrunnable(text::cause(format!("no cell has room for it: {error:#}")))
}

fn import_names(engine: &Engine, component: &Component) -> Vec<String> {
    component.component_type().imports(engine).map(|(name, _)| name.to_owned()).collect()
}

/// Link a component with what its kind is offered, or say what it wants beyond that.
fn link(engine: &Engine, component: &Component, sort: Sort, imports: &Imports) -> Result<Ready, Failure> {
    let unrunnable = |why: String| Failure::Unrunnable(text::cause(why));
    let excess: Vec<_> =
        import_names(engine, component).into_iter().filter(|name| !Imports::offers(sort, name)).collect();
    if !excess.is_empty() {
        let names = excess.join(", ");
        let why = match excess.iter().all(|name| name.starts_with("wasi:http/")) && sort.kind == Kind::Tools {
            true => "declare in plugin.toml what it needs of the network, for example net:api.example.com",
            false => "no capability of this version grants that, so it would never work",
        };
        return Err(unrunnable(format!("it imports {names}; {why}")));
    }
    let instance = imports
        .linker(sort)
        .instantiate_pre(component)
        .map_err(|error| unrunnable(format!("its imports do not fit this host: {error:#}")))?;
    let (world, linked) = match sort.kind {
        Kind::Tools => ("tool-plugin", ToolPluginPre::new(instance).map(Ready::Tools)),
        Kind::Agent => ("agent-plugin", AgentPluginPre::new(instance).map(Ready::Agent)),
        Kind::Engine => ("script-engine", ScriptEnginePre::new(instance).map(Ready::Engine)),
        Kind::Program | Kind::Model | Kind::Mcp => {
            return Err(unrunnable("it is part of the host and no component".into()));
        }
    };
    linked.map_err(|error| unrunnable(format!("it is not a component of the world vespiary:plugin/{world}: {error:#}")))
}
