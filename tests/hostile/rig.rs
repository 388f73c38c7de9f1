//! Where attacks are run: a real sandbox behind a real dispatcher, over a project with bait in and around it. Every attack
//! runs beside a neighbour's call, and its cause is read back from the record, not only from the answer.

use super::stage;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use vespiary::runners::Runners;
use vespiary_kernel::call::{Ending, Failure, Keep, Outcome, ToolCall};
use vespiary_kernel::dispatch::Dispatcher;
use vespiary_kernel::event::Event;
use vespiary_kernel::grant::Grant;
use vespiary_kernel::ids::{CallId, Digest, RunId, ToolName};
use vespiary_kernel::json::Json;
use vespiary_kernel::plugin::{Kind, Manifest, Plugin, Trust};
use vespiary_kernel::policy::{Answer, Policy};
use vespiary_kernel::pool::{Capacity, Pool};
use vespiary_kernel::ports::{Approver, Asked, BoxFuture, Catalog, Log, LogError};
use vespiary_kernel::principal::{Principal, RunLimits};
use vespiary_mcp::Servers;
use vespiary_programs::{Programs, ProgramsConfig};
use vespiary_sandbox::{Sandbox, SandboxConfig};

/// What lies outside the grant, and must never appear inside an answer.
pub const SECRET: &str = "the-secret-outside";

const CAPACITY: Capacity = Capacity::of_places(64, 16, 4, 64);

/// Small limits, so that attacks on them end soon.
pub const QUOTA: &str = "[quota]\ncpu-time-ms-max = 300\nwall-time-ms-max = 1500\nmemory-bytes-max = 33554432\n\
                     result-bytes-max = 65536\nlog-bytes-max = 65536\nartifact-bytes-max = 1048576\ntool-calls-max = 500\n";

/// The same for guests that attack other limits than that on processor time, which a busy machine must not let end first.
pub fn patient() -> String {
    QUOTA
        .replace("cpu-time-ms-max = 300", "cpu-time-ms-max = 5000")
        .replace("wall-time-ms-max = 1500", "wall-time-ms-max = 4000")
}

/// The record, kept where a test can read it.
#[derive(Default)]
pub struct Record(Mutex<Vec<(RunId, Event)>>);

impl Log for Record {
    fn append(&self, run: &RunId, event: Event) -> Result<(), LogError> {
        self.0.lock().unwrap().push((run.clone(), event));
        Ok(())
    }

    fn flushed(&self) -> BoxFuture<'_, Result<(), LogError>> {
        Box::pin(async { Ok(()) })
    }
}

impl Record {
    /// How a call ended, according to the record.
    pub fn ended(&self, run: &RunId, call: CallId) -> Option<Option<Failure>> {
        self.0.lock().unwrap().iter().find_map(|(of, event)| match event {
            Event::CallEnded { call: ended, failure, .. } if of == run && *ended == call => Some(failure.clone()),
            _ => None,
        })
    }

    /// All that was recorded of a run, in its order.
    pub fn of(&self, run: &RunId) -> Vec<Event> {
        let events = self.0.lock().unwrap();
        events.iter().filter(|(of, _)| of == run).map(|(_, event)| event.clone()).collect()
    }

    /// Calls recorded as intended, and as ended.
    pub fn calls(&self) -> (usize, usize) {
        let events = self.0.lock().unwrap();
        let intended = events.iter().filter(|(_, e)| matches!(e, Event::CallIntended { .. })).count();
        (intended, events.iter().filter(|(_, e)| matches!(e, Event::CallEnded { .. })).count())
    }
}

/// The components of the suite.
#[derive(Default)]
pub struct Guests {
    plugins: BTreeMap<String, Arc<Plugin>>,
    bytes: BTreeMap<Digest, Vec<u8>>,
}

impl Guests {
    /// Add a plugin under the suite's small limits. `needs` is what its manifest declares.
    pub fn add(&mut self, name: &str, kind: Kind, needs: &str, bytes: Vec<u8>) {
        let quota = match kind {
            Kind::Tools => QUOTA.to_owned(),
            // An agent waits for its tools, beside everything else that runs here, and holds what it asks with.
            Kind::Agent => QUOTA
                .replace("wall-time-ms-max = 1500", "wall-time-ms-max = 60000")
                .replace("memory-bytes-max = 33554432", "memory-bytes-max = 67108864"),
            // The engine itself stops a script at 192 MiB, and is left room beside that.
            Kind::Engine | Kind::Program | Kind::Model | Kind::Mcp => {
                "[quota]\ncpu-time-ms-max = 5000\nmemory-bytes-max = 268435456\n".to_owned()
            }
        };
        self.add_with(name, kind, needs, bytes, &quota);
    }

    /// Add a plugin with limits of its own, as a manifest's `[quota]` says them.
    pub fn add_with(&mut self, name: &str, kind: Kind, needs: &str, bytes: Vec<u8>, quota: &str) {
        let kind = match kind {
            Kind::Tools => "tools",
            Kind::Agent => "agent",
            Kind::Engine => "engine",
            Kind::Program => "program",
            Kind::Model => "model",
            Kind::Mcp => "mcp",
        };
        let text = format!("name = '{name}'\nversion = '1'\nkind = '{kind}'\ndescription = 'hostile'\n{quota}{needs}");
        self.add_manifest(&text, bytes);
    }

    /// Add the plugin that a whole manifest describes.
    pub fn add_manifest(&mut self, text: &str, bytes: Vec<u8>) {
        let digest = Digest::of(&bytes);
        let plugin = Plugin::new(Manifest::parse(text).unwrap(), digest, Trust::Added).unwrap();
        self.plugins.insert(plugin.name.to_string(), Arc::new(plugin));
        self.bytes.insert(digest, bytes);
    }

    /// Give out `other` wherever the component `bytes` is asked for.
    pub fn swap(&mut self, bytes: &[u8], other: Vec<u8>) {
        self.bytes.insert(Digest::of(bytes), other);
    }
}

impl Catalog for Guests {
    fn find(&self, tool: &ToolName) -> Option<Arc<Plugin>> {
        self.plugins.get(tool.plugin()).cloned()
    }

    fn component(&self, digest: &Digest) -> Option<Cow<'static, [u8]>> {
        self.bytes.get(digest).cloned().map(Cow::Owned)
    }

    fn names(&self) -> Vec<String> {
        self.plugins.keys().cloned().collect()
    }
}

pub struct Nobody;

impl Approver for Nobody {
    fn ask<'a>(&'a self, _: Asked<'a>) -> BoxFuture<'a, Answer> {
        Box::pin(async { Answer::Nobody("nobody is here".into()) })
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// A built component: the committed one, or the one a fresh rebuild left where `VESPIARY_GUESTS_DIR` says.
pub fn built(name: &str) -> Vec<u8> {
    let fresh = std::env::var_os("VESPIARY_GUESTS_DIR").map(|dir| Path::new(&dir).join(format!("{name}.wasm")));
    let homes = ["tests/guests/built", "plugins/built"].map(|dir| root().join(dir).join(format!("{name}.wasm")));
    let path = fresh.into_iter().chain(homes).find(|path| path.exists());
    std::fs::read(path.unwrap_or_else(|| panic!("no component {name}; run cargo xtask guests"))).unwrap()
}

/// Every text file of `tests/guests/wat` and its folders, as a component: whole ones as they stand, core modules wrapped in
/// the world of their folder. What a name begins with tells how its strings are written, where that is not UTF-8.
fn written(guests: &mut Guests) {
    for (dir, kind, world) in [("wat", Kind::Tools, "tool"), ("wat/agents", Kind::Agent, "agent")] {
        let mut resolve = wit_parser::Resolve::default();
        resolve.push_dir(root().join("wit")).unwrap();
        let package = resolve.push_file(root().join("tests/guests/wat/worlds.wit")).unwrap();
        let world = resolve.select_world(&[package], Some(world)).unwrap();
        for entry in std::fs::read_dir(root().join("tests/guests").join(dir)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "wat") {
                continue;
            }
            let name = path.file_stem().unwrap().to_str().unwrap();
            let bytes = wat::parse_file(&path).unwrap_or_else(|error| panic!("{error}"));
            let is_component = bytes[4] == 0x0d;
            let component = if is_component { bytes } else { wrapped(bytes, &resolve, world, encoding(name)) };
            let needs = match kind {
                Kind::Tools => READS_THE_PROJECT,
                Kind::Agent => TOOLS_TO_ASK_FOR,
                Kind::Engine | Kind::Program | Kind::Model | Kind::Mcp => "",
            };
            guests.add(&name.replace('_', "-"), kind, needs, component);
        }
    }
}

fn encoding(name: &str) -> wit_component::StringEncoding {
    use wit_component::StringEncoding::{CompactUTF16, UTF8, UTF16};
    match name.split('_').next() {
        Some("utf16") => UTF16,
        Some("latin1") => CompactUTF16,
        _ => UTF8,
    }
}

fn wrapped(
    mut module: Vec<u8>,
    resolve: &wit_parser::Resolve,
    world: wit_parser::WorldId,
    encoding: wit_component::StringEncoding,
) -> Vec<u8> {
    wit_component::embed_component_metadata(&mut module, resolve, world, encoding, true).unwrap();
    wit_component::ComponentEncoder::default().module(&module).unwrap().encode().unwrap()
}

/// The catalog of the suite, made once.
pub fn all_guests() -> Arc<Guests> {
    static GUESTS: OnceLock<Arc<Guests>> = OnceLock::new();
    GUESTS
        .get_or_init(|| {
            let mut guests = Guests::default();
            super::add_guests(&mut guests);
            written(&mut guests);
            Arc::new(guests)
        })
        .clone()
}

/// What an agent declares: any tool, and a directory to pass on to one.
const TOOLS_TO_ASK_FOR: &str =
    "[[needs]]\ncapability = 'tool:*'\nreason = 'attack'\n[[needs]]\ncapability = 'read:.'\nreason = 'passed on'\n";

const READS_THE_PROJECT: &str = "[[needs]]\ncapability = 'read:.'\nreason = 'bait'\n";

/// The plugins that every attack may need.
pub fn guests(guests: &mut Guests) {
    let read = READS_THE_PROJECT;
    let write = "[[needs]]\ncapability = 'write:.'\nreason = 'bait'\ntools = ['link_then_read', 'hardlink_out', 'rename_out']\n";
    guests.add("hostile", Kind::Tools, &format!("{read}{write}"), built("hostile"));
    guests.add("hostile-agent", Kind::Agent, TOOLS_TO_ASK_FOR, built("hostile-agent"));
    // The same, which may have agents of its own.
    let leads = "[[needs]]\ncapability = 'spawn:1000'\nreason = 'attack'\n";
    guests.add("hostile-lead", Kind::Agent, &format!("{TOOLS_TO_ASK_FOR}{leads}"), built("hostile-agent"));
    // The same component under wide limits: a slow machine must not look like a hurt neighbour. And with little patience.
    guests.add_with("quiet", Kind::Tools, read, built("hostile"), "");
    guests.add_with("idle", Kind::Tools, read, built("hostile"), "[quota]\nidle-time-ms-max = 300\n");
    // And under narrow ones, so that little is much.
    let cramped = "[quota]\nmemory-bytes-max = 4194304\n";
    guests.add_with("cramped", Kind::Tools, read, built("hostile"), cramped);
    guests.add_with("cramped-agent", Kind::Agent, TOOLS_TO_ASK_FOR, built("hostile-agent"), cramped);
    guests.add(
        "files",
        Kind::Tools,
        &format!("{read}{}", write.replace("'link_then_read', 'hardlink_out', 'rename_out'", "'write'")),
        built("files"),
    );
    guests.add("engine", Kind::Engine, "", built("engine"));
}

/// Every guest, and one plugin that is none.
struct Beside(Arc<dyn Catalog>, Arc<Plugin>);

impl Catalog for Beside {
    fn find(&self, tool: &ToolName) -> Option<Arc<Plugin>> {
        if tool.plugin() == self.1.name.as_str() { Some(Arc::clone(&self.1)) } else { self.0.find(tool) }
    }

    fn component(&self, digest: &Digest) -> Option<Cow<'static, [u8]>> {
        self.0.component(digest)
    }

    fn names(&self) -> Vec<String> {
        self.0.names()
    }
}

/// One run over one project.
pub struct Rig {
    pub record: Arc<Record>,
    pub dispatcher: Arc<Dispatcher>,
    pub sandbox: Arc<Sandbox>,
    pub project: PathBuf,
    pub outside: tempfile::TempDir,
}

impl Rig {
    pub fn new() -> Self {
        let record = Arc::new(Record::default());
        Self { record: Arc::clone(&record), ..Self::logging_to(record) }
    }

    /// A rig whose record is another; what `record` and the neighbours say of it means nothing.
    pub fn logging_to(log: Arc<dyn Log>) -> Self {
        Self::built(log, sandbox())
    }

    /// A rig on a sandbox of its own.
    pub fn on(sandbox: Arc<Sandbox>) -> Self {
        let record = Arc::new(Record::default());
        Self { record: Arc::clone(&record), ..Self::built(record, sandbox) }
    }

    fn built(log: Arc<dyn Log>, sandbox: Arc<Sandbox>) -> Self {
        let outside = tempfile::tempdir().unwrap();
        let project = outside.path().join("project");
        std::fs::create_dir_all(project.join("inside")).unwrap();
        std::fs::write(outside.path().join("secret.txt"), SECRET).unwrap();
        std::fs::write(project.join("notes.txt"), "a note inside").unwrap();
        std::os::unix::fs::symlink("../secret.txt", project.join("leak")).unwrap();
        std::os::unix::fs::symlink(outside.path(), project.join("leak-dir")).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(project.join("pipe")).status().unwrap().success());
        let dispatcher = Dispatcher::new(
            log,
            all_guests(),
            Policy::default(),
            Pool::new(CAPACITY),
            Arc::new(Runners::new(Arc::clone(&sandbox), programs(), None, None)),
            Arc::new(Nobody),
        );
        Self { record: Arc::default(), dispatcher, sandbox, project, outside }
    }

    /// The same project, in which calls of `plugin` go to `servers`.
    pub fn with_servers(self, plugin: Plugin, servers: Servers) -> Self {
        let catalog = Arc::new(Beside(all_guests(), Arc::new(plugin)));
        let runners = Runners::new(Arc::clone(&self.sandbox), programs(), None, Some(servers));
        let log: Arc<dyn Log> = Arc::clone(&self.record) as _;
        let pool = Pool::new(CAPACITY);
        let dispatcher = Dispatcher::new(log, catalog, Policy::default(), pool, Arc::new(runners), Arc::new(Nobody));
        Self { dispatcher, ..self }
    }

    /// The same project under a policy that denies this.
    pub fn denying(self, denied: &[&str]) -> Self {
        let policy = Policy::of_run(denied.iter().map(|text| text.parse().unwrap()).collect(), Vec::new());
        let runners = Runners::new(Arc::clone(&self.sandbox), programs(), None, None);
        let log: Arc<dyn Log> = Arc::clone(&self.record) as _;
        let pool = Pool::new(CAPACITY);
        let dispatcher = Dispatcher::new(log, all_guests(), policy, pool, Arc::new(runners), Arc::new(Nobody));
        Self { dispatcher, ..self }
    }

    pub fn who(&self, grant: &[&str]) -> Principal {
        self.who_within(grant, RunLimits::default())
    }

    /// A run that may use no more than `limits`.
    pub fn who_within(&self, grant: &[&str], limits: RunLimits) -> Principal {
        let grant = Grant::of_run(grant.iter().map(|c| c.parse().unwrap()));
        static RUNS: AtomicU64 = AtomicU64::new(0);
        let id = format!("hostile-{}", RUNS.fetch_add(1, Ordering::Relaxed));
        self.dispatcher.start(id.parse().unwrap(), self.project.clone(), grant, limits)
    }

    /// Run one call as `who`, while a neighbour of another plugin call works beside it. The neighbour must not notice, and
    /// the record must tell the same end as the answer.
    pub async fn call_as(&self, who: &Principal, tool: &str, arguments: serde_json::Value) -> Outcome {
        self.call_with_text(who, tool, Json::of(&arguments).unwrap()).await
    }

    async fn call_with_text(&self, who: &Principal, tool: &str, arguments: Json) -> Outcome {
        let call = |tool: &str, arguments: Json| ToolCall { tool: tool.parse().unwrap(), arguments, keep: Keep::Value };
        let attack = self.dispatcher.dispatch(who, call(tool, arguments));
        let beside = self.who(&["read:.", "tool:quiet.neighbour"]);
        let neighbour = async {
            for n in 0..5 {
                let said = Json::of(&serde_json::json!({ "text": format!("neighbour {n}") })).unwrap();
                let outcome = self.dispatcher.dispatch(&beside, call("quiet.neighbour", said)).await;
                match outcome.ending {
                    Ending::Done(value) => assert_eq!(value.as_str(), format!("\"neighbour {n}\"")),
                    Ending::Failed(failure) => panic!("the neighbour of {tool} was hurt: {failure}"),
                }
                tokio::task::yield_now().await;
            }
        };
        let (outcome, ()) = tokio::join!(attack, neighbour);
        let recorded = self
            .record
            .ended(who.run().id(), outcome.call.expect("the call was recorded"))
            .expect("its end was recorded");
        match &outcome.ending {
            Ending::Done(_) => assert_eq!(recorded, None),
            Ending::Failed(failure) => assert_eq!(recorded.as_ref(), Some(failure)),
        }
        outcome
    }

    /// Run an attack that must fail, and give its cause.
    pub async fn attack(&self, tool: &str, arguments: serde_json::Value, grant: &[&str]) -> Failure {
        self.refused(tool, self.call_as(&self.who(grant), tool, arguments).await)
    }

    /// The same with arguments that no JSON tree could hold.
    pub async fn attack_with_text(&self, tool: &str, arguments: &str, grant: &[&str]) -> Failure {
        let arguments = Json::parse(arguments).unwrap();
        self.refused(tool, self.call_with_text(&self.who(grant), tool, arguments).await)
    }

    fn refused(&self, tool: &str, outcome: Outcome) -> Failure {
        match outcome.ending {
            Ending::Failed(failure) => {
                assert!(!failure.to_string().contains(SECRET), "{tool} leaked through its error: {failure}");
                failure
            }
            Ending::Done(loot) => panic!("{tool} got through: {loot}"),
        }
    }
}

/// One sandbox for all tests of a process, so that they are each other's neighbours; one for each attack where the host is
/// compared before and after, so that the sandbox's own threads and directories are compared with it.
fn sandbox() -> Arc<Sandbox> {
    static SHARED: OnceLock<Arc<Sandbox>> = OnceLock::new();
    let fresh = || {
        let worktree_dir = Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("hostile-worktrees"));
        let config = SandboxConfig { worktree_dir, ..SandboxConfig::new(CAPACITY, all_guests()) };
        Arc::new(
            Sandbox::new(SandboxConfig { cache_dir: Some(cache()), egress: Some(super::network::egress()), ..config })
                .unwrap(),
        )
    };
    if stage::alone() { fresh() } else { SHARED.get_or_init(fresh).clone() }
}

/// The programs of this machine, behind the launcher that is shipped.
pub fn programs() -> Programs {
    Programs::new(ProgramsConfig::new(Some(env!("CARGO_BIN_EXE_vespiary").into())))
}

/// Compiled guests, kept from one pass of the tests to the next.
fn cache() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("hostile-cache")
}
