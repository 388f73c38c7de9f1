//! Where attacks are run: a real sandbox behind a real dispatcher, over a project with bait in and around it. Every attack
//! runs beside a neighbour's call, and its cause is read back from the record, not only from the answer.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use vespiary_kernel::call::{Ending, Failure, Keep, Outcome, ToolCall};
use vespiary_kernel::dispatch::Dispatcher;
use vespiary_kernel::event::Event;
use vespiary_kernel::grant::Grant;
use vespiary_kernel::ids::{CallId, Digest, RunId, ToolName};
use vespiary_kernel::json::Json;
use vespiary_kernel::plugin::{Kind, Manifest, Plugin};
use vespiary_kernel::policy::{Policy, Question};
use vespiary_kernel::ports::{Approver, BoxFuture, Catalog, Log, LogError, Runner};
use vespiary_kernel::principal::{Principal, RunLimits};
use vespiary_kernel::quota::{Capacity, Pool};
use vespiary_sandbox::{Sandbox, SandboxConfig};

/// What lies outside the grant, and must never appear inside an answer.
pub const SECRET: &str = "the-secret-outside";

const CAPACITY: Capacity = Capacity { tools: 64, agents: 16, scripts: 4, running: 64 };

/// Small limits, so that attacks on them end soon.
const QUOTA: &str = "[quota]\ncpu-time-ms-max = 300\nwall-time-ms-max = 1500\nmemory-bytes-max = 33554432\n\
                     result-bytes-max = 65536\nlog-bytes-max = 65536\nartifact-bytes-max = 1048576\ntool-calls-max = 500\n";

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
    pub fn add(&mut self, name: &str, kind: Kind, needs: &str, bytes: Vec<u8>) {
        // An agent waits for its tools, beside everything else that runs here.
        let (kind, quota) = match kind {
            Kind::Tools => ("tools", QUOTA.to_owned()),
            Kind::Agent => ("agent", QUOTA.replace("wall-time-ms-max = 1500", "wall-time-ms-max = 60000")),
            Kind::Engine => ("engine", QUOTA.to_owned()),
        };
        let text = format!("name = '{name}'\nversion = '1'\nkind = '{kind}'\ndescription = 'hostile'\n{quota}{needs}");
        let digest = Digest::of(&bytes);
        let plugin = Plugin::new(Manifest::parse(&text).unwrap(), digest).unwrap();
        self.plugins.insert(name.to_owned(), Arc::new(plugin));
        self.bytes.insert(digest, bytes);
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

struct Nobody;

impl Approver for Nobody {
    fn ask<'a>(&'a self, _: &'a RunId, _: &'a Question) -> BoxFuture<'a, bool> {
        Box::pin(async { false })
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

/// A text file of `tests/guests/wat`, as a component: whole ones as they stand, core modules wrapped in the tool world.
pub fn written(name: &str) -> Vec<u8> {
    let text = std::fs::read_to_string(root().join(format!("tests/guests/wat/{name}.wat"))).unwrap();
    let bytes = wat::parse_str(&text).unwrap();
    if bytes[4] == 0x0d { bytes } else { wrapped(bytes) }
}

fn wrapped(mut module: Vec<u8>) -> Vec<u8> {
    let mut resolve = wit_parser::Resolve::default();
    let (package, _) = resolve.push_dir(root().join("wit")).unwrap();
    let world = resolve.select_world(&[package], Some("tool-plugin")).unwrap();
    wit_component::embed_component_metadata(&mut module, &resolve, world, wit_component::StringEncoding::UTF8, true)
        .unwrap();
    wit_component::ComponentEncoder::default().module(&module).unwrap().encode().unwrap()
}

fn guests() -> Arc<Guests> {
    static GUESTS: OnceLock<Arc<Guests>> = OnceLock::new();
    GUESTS.get_or_init(|| Arc::new(all_guests())).clone()
}

fn all_guests() -> Guests {
    let read = "[[needs]]\ncapability = 'read:.'\nreason = 'bait'\n";
    let write = "[[needs]]\ncapability = 'write:.'\nreason = 'bait'\ntools = ['link_then_read', 'hardlink_out', 'rename_out']\n";
    let tools =
        "[[needs]]\ncapability = 'tool:*'\nreason = 'attack'\n[[needs]]\ncapability = 'read:.'\nreason = 'passed on'\n";
    let mut guests = Guests::default();
    guests.add("hostile", Kind::Tools, &format!("{read}{write}"), built("hostile"));
    guests.add("hostile-agent", Kind::Agent, tools, built("hostile-agent"));
    guests.add(
        "files",
        Kind::Tools,
        &format!("{read}{}", write.replace("'link_then_read', 'hardlink_out', 'rename_out'", "'write'")),
        built("files"),
    );
    for name in super::WRITTEN {
        guests.add(&name.replace('_', "-"), Kind::Tools, "", written(name));
    }
    let good = built("hostile");
    guests.add("truncated", Kind::Tools, "", good[..good.len() / 2].to_vec());
    guests.add(
        "bent",
        Kind::Tools,
        "",
        good.iter().enumerate().map(|(i, b)| if i % 977 == 400 { b ^ 0x55 } else { *b }).collect(),
    );
    guests.add("core", Kind::Tools, "", wat::parse_str("(module)").unwrap());
    guests.add("noise", Kind::Tools, "", (0..4096u32).map(|i| (i * 7 % 251) as u8).collect());
    guests.add("empty", Kind::Tools, "", Vec::new());
    guests.add("oversized", Kind::Tools, "", [good.as_slice(), &vec![0; 80 << 20]].concat());
    guests
}

/// One run over one project.
pub struct Rig {
    pub record: Arc<Record>,
    pub dispatcher: Arc<Dispatcher>,
    pub project: PathBuf,
    pub outside: tempfile::TempDir,
}

impl Rig {
    pub fn new() -> Self {
        let outside = tempfile::tempdir().unwrap();
        let project = outside.path().join("project");
        std::fs::create_dir_all(project.join("inside")).unwrap();
        std::fs::write(outside.path().join("secret.txt"), SECRET).unwrap();
        std::fs::write(project.join("notes.txt"), "a note inside").unwrap();
        std::os::unix::fs::symlink("../secret.txt", project.join("leak")).unwrap();
        std::os::unix::fs::symlink(outside.path(), project.join("leak-dir")).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(project.join("pipe")).status().unwrap().success());
        let record = Arc::new(Record::default());
        let dispatcher = Dispatcher::new(
            record.clone(),
            guests(),
            Policy::default(),
            Pool::new(CAPACITY),
            sandbox(),
            Arc::new(Nobody),
        );
        Self { record, dispatcher, project, outside }
    }

    pub fn who(&self, grant: &[&str]) -> Principal {
        let grant = Grant::of_run(grant.iter().map(|c| c.parse().unwrap()));
        static RUNS: AtomicU64 = AtomicU64::new(0);
        let id = format!("hostile-{}", RUNS.fetch_add(1, Ordering::Relaxed));
        Principal::of_run(id.parse().unwrap(), self.project.clone(), grant, RunLimits::default())
    }

    /// Run one call as `who`, while a neighbour of another plugin call works beside it. The neighbour must not notice, and
    /// the record must tell the same end as the answer.
    pub async fn call_as(&self, who: &Principal, tool: &str, arguments: serde_json::Value) -> Outcome {
        let call = |tool: &str, arguments: serde_json::Value| ToolCall {
            tool: tool.parse().unwrap(),
            arguments: Json::of(&arguments).unwrap(),
            keep: Keep::Value,
        };
        let attack = self.dispatcher.dispatch(who, call(tool, arguments));
        let beside = self.who(&["read:.", "tool:hostile.neighbour"]);
        let neighbour = async {
            for n in 0..5 {
                let said = serde_json::json!({ "text": format!("neighbour {n}") });
                let outcome = self.dispatcher.dispatch(&beside, call("hostile.neighbour", said)).await;
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
        let outcome = self.call_as(&self.who(grant), tool, arguments).await;
        match outcome.ending {
            Ending::Failed(failure) => {
                assert!(!failure.to_string().contains(SECRET), "{tool} leaked through its error: {failure}");
                failure
            }
            Ending::Done(loot) => panic!("{tool} got through: {loot}"),
        }
    }
}

fn sandbox() -> Arc<dyn Runner> {
    static SANDBOX: OnceLock<Arc<Sandbox>> = OnceLock::new();
    SANDBOX.get_or_init(|| Arc::new(Sandbox::new(SandboxConfig::new(CAPACITY, guests())).unwrap())).clone()
}
