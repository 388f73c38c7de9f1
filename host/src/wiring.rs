//! Puts the pillars behind the dispatcher. The only place where sandbox, ledger and fleet meet; each knows just the kernel.

use crate::approve::{AtTerminal, Quietly};
use crate::catalog::renew::Renewable;
use crate::catalog::{Entry, Shelf};
use crate::cli::Permissions;
use crate::disk;
use crate::entries;
use crate::exit::{Exit, Trouble};
use crate::foresee::{Questions, Unrecorded, Unrun};
use crate::paths::Home;
use crate::policy::places::Places;
use crate::policy::secret as policy;
use crate::policy::{Flags, Rules};
use crate::runners::Runners;
use crate::servers::launch::Confining;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::runtime::{Builder, Runtime};
use vespiary_egress::{EgressConfig, HttpEgress, SecretSource, SecretSpec, Secrets};
use vespiary_fleet::model::Models;
use vespiary_kernel::call::Failure;
use vespiary_kernel::capability::Capability;
use vespiary_kernel::dispatch::Dispatcher;
use vespiary_kernel::grant::Grant;
use vespiary_kernel::host::HostLimits;
use vespiary_kernel::http::Egress;
use vespiary_kernel::ids::RunId;
use vespiary_kernel::plugin::Plugin;
use vespiary_kernel::policy::Denial;
use vespiary_kernel::pool::{Capacity, Pool};
use vespiary_kernel::ports::{Approver, Catalog, Log, NoRecall, Recall, Runner};
use vespiary_kernel::quota::Quota;
use vespiary_kernel::reuse::Doubt;
use vespiary_ledger::ledger::Ledger;
use vespiary_ledger::recall::{LastTime, ReadAhead, Recollection, Spent};
use vespiary_ledger::store::LedgerError;
use vespiary_mcp::{Servers, ServersConfig};
use vespiary_programs::{Programs, ProgramsConfig};
use vespiary_sandbox::{Sandbox, SandboxConfig, SandboxError};

/// Earlier workflows whose answers are known to a new one over the same project, and how many runs are looked through for them.
const EARLIER_MAX: usize = 8;
const EARLIER_LOOKED_AT: usize = 200;

/// A dispatcher with everything behind it.
#[derive(Debug)]
pub struct Host {
    /// The door.
    pub dispatcher: Arc<Dispatcher>,
    /// The record.
    pub ledger: Arc<Ledger>,
    /// What could be called when it was opened.
    pub shelf: Arc<Shelf>,
    /// What can be called now.
    pub catalog: Arc<Renewable>,
    /// The cells.
    pub sandbox: Arc<Sandbox>,
    /// Where a person is asked.
    pub terminal: Arc<AtTerminal>,
    /// The places there are, within the machine's limits.
    pub capacity: Capacity,
    /// What the runs before, from which this one goes on, have cost.
    pub spent: Spent,
    /// What the same workflow came to the last time over this project.
    pub last: Option<LastTime>,
    /// What earlier runs answered is read ahead; to be dropped before the ledger is closed.
    pub ahead: Option<ReadAhead>,
}

/// Where a person is asked about calls.
pub enum Person {
    /// At the terminal, quietly.
    AtTerminal(Quietly),
    /// Somewhere else, once it is known how long a question may wait.
    Elsewhere(Box<dyn FnOnce(Duration) -> Arc<dyn Approver>>),
}

impl Person {
    /// At a terminal that nobody else writes to.
    pub fn alone() -> Self {
        Self::AtTerminal(Arc::new(|ask| ask()))
    }
}

/// What a new run is to know of those before it.
#[derive(Debug, Default)]
pub struct Before {
    /// The runs it goes on from, the nearest first.
    pub resumed: Vec<RunId>,
    /// The project, and the workflow, whose earlier runs may answer what is sure to come out the same.
    pub over: Option<(PathBuf, String)>,
    /// What to do about effects that may have been had.
    pub doubt: Option<Doubt>,
    /// Run nothing, record nothing, and keep here what would be asked.
    pub foresee: Option<Arc<Questions>>,
    /// It is one call and no more: what it learns of files is of use to nobody after it.
    pub once: bool,
}

/// What is known, what it has cost, and what the same cost the last time.
type Recalled = (Arc<dyn Recall>, Spent, Option<LastTime>, Option<ReadAhead>);

impl Before {
    /// Whether there is anything to know.
    fn is_some(&self) -> bool {
        !self.resumed.is_empty() || self.over.is_some()
    }

    /// Afterwards, on threads of their own, `sandbox` loads what a run like this called before, and answers are read.
    fn recall(&self, ledger: &Ledger, shelf: &Arc<Shelf>, sandbox: &Arc<Sandbox>) -> Result<Recalled, Trouble> {
        if !self.is_some() {
            return Ok((Arc::new(NoRecall), Spent::default(), None, None));
        }
        let reader = ledger.reader()?;
        let earlier = match &self.over {
            None => Vec::new(),
            Some((root, title)) => {
                reader.workflows_over(&root.display().to_string(), title, EARLIER_MAX, EARLIER_LOOKED_AT)?
            }
        };
        let doubt = self.doubt.unwrap_or(Doubt::Ask);
        let title = self.over.as_ref().map_or("", |(_, title)| title);
        if earlier.is_empty() && self.resumed.is_empty() {
            return Ok((Arc::new(NoRecall), Spent::default(), None, None));
        }
        let all = Arc::new(Recollection::read(reader, title, &self.resumed, &earlier, doubt)?);
        let (spent, last) = (all.spent(), all.last());
        prepare(sandbox, all.usual_tools().into_iter().filter_map(|tool| shelf.find(tool)).collect(), step_behind);
        let ahead = all.read_ahead(step_behind);
        Ok((all, spent, last, Some(ahead)))
    }
}

/// Load compiled code on a thread of its own, which does `first` before all else. Without one, each component is loaded when it is first
/// called.
fn prepare(sandbox: &Arc<Sandbox>, plugins: Vec<Arc<Plugin>>, first: fn()) {
    let sandbox = Arc::clone(sandbox);
    let load = move || {
        first();
        plugins.iter().for_each(|plugin| sandbox.prepare(plugin));
    };
    let _ = std::thread::Builder::new().name("prepare".into()).spawn(load);
}

impl Host {
    /// Open everything, with whoever answers for models. Blocks for the ledger's file and the pool's reservation; compiles nothing.
    pub fn open(
        home: &Home,
        shelf: Shelf,
        at: Capacity,
        rules: Rules,
        person: Person,
        models: Option<Models>,
        before: Before,
    ) -> Result<Self, Trouble> {
        home.create()?;
        raise_descriptor_limit();
        let shelf = Arc::new(shelf);
        let limits = rules.policy.host(HostLimits { cells_memory_bytes: memory_for_cells(), ..HostLimits::default() });
        let at = under(at, &limits);
        let catalog = Arc::new(Renewable::new(Arc::clone(&shelf)));
        let egress = egress(&rules, &limits)?;
        let config = sandbox_config(home, Arc::clone(&catalog) as _, at, &limits).with_egress(Arc::clone(&egress));
        let remembers = !before.once;
        let config = SandboxConfig { worktree_dir: Some(home.worktrees()), remembers, ..config };
        let sandbox = Arc::new(Sandbox::new(config)?);
        if let Some(refused) = sandbox.cache_refused() {
            eprintln!("vespiary: {refused}");
        }
        if before.is_some() {
            // Nothing of a script runs before its engine is there.
            let engine = shelf.engine().ok().map(|entry| Arc::clone(&entry.plugin));
            prepare(&sandbox, engine.into_iter().collect(), || ());
        }
        let ledger = Arc::new(Ledger::open(&home.ledger())?);
        let (quietly, elsewhere): (Quietly, _) = match person {
            Person::AtTerminal(quietly) => (quietly, None),
            Person::Elsewhere(asks) => (Arc::new(|ask| ask()), Some(asks(rules.ask_time_max))),
        };
        let terminal = Arc::new(AtTerminal::new(quietly, rules.ask_time_max));
        let (recall, spent, last, ahead) = before.recall(&ledger, &shelf, &sandbox)?;
        let runners = Runners::new(Arc::clone(&sandbox), programs(), models, Some(servers(&shelf, egress)));
        let (log, runner, approver): (Arc<dyn Log>, Arc<dyn Runner>, Arc<dyn Approver>) = match before.foresee {
            None => {
                let asks = elsewhere.unwrap_or_else(|| Arc::clone(&terminal) as _);
                (Arc::clone(&ledger) as _, Arc::new(runners), asks)
            }
            Some(questions) => (Arc::new(Unrecorded), Arc::new(Unrun(runners)), questions),
        };
        let to_be_called = Arc::clone(&catalog) as _;
        let dispatcher =
            Dispatcher::recalling(log, to_be_called, rules.policy, Pool::new(at), runner, approver, recall);
        Ok(Self { dispatcher, ledger, shelf, catalog, sandbox, terminal, capacity: at, spent, last, ahead })
    }
}

/// Let this process open as many files as its user may. The usual soft limit is 1,024, which a few cells that keep all the
/// handles they can get would use up. Nothing is lost where it cannot be raised: those cells then fail sooner.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// Cells only, for looking at plugins: no ledger is opened, and nothing can be called.
pub fn sandbox(home: &Home, shelf: &Arc<Shelf>, at: Capacity, limits: &HostLimits) -> Result<Sandbox, Trouble> {
    Ok(Sandbox::new(sandbox_config(home, Arc::clone(shelf) as _, at, limits))?)
}

fn sandbox_config(home: &Home, components: Arc<dyn Catalog>, at: Capacity, limits: &HostLimits) -> SandboxConfig {
    let config = SandboxConfig::new(at, components).with(limits);
    let (cache_dir, compiler) = (Some(home.cache().to_owned()), entries::program());
    SandboxConfig { cache_dir, compiler, variables: variables(), ..config }
}

/// The way to the network, with the secrets that policy files declare. Nothing is connected to, and no secret read, before a call
/// that may asks for it.
fn egress(rules: &Rules, limits: &HostLimits) -> Result<Arc<dyn Egress>, Trouble> {
    let wrong = |error: &dyn std::fmt::Display| {
        Trouble::usage("the network cannot be set up", error, "correct [secrets] in the policy files")
    };
    let specs = rules.secrets.iter().map(|secret| {
        let source = match &secret.source {
            policy::SecretSource::Variable(name) => SecretSource::Env(name.to_string()),
            policy::SecretSource::File(path) => SecretSource::File(path.clone()),
            policy::SecretSource::Keyring { service, user } => SecretSource::Keyring(format!("{service}/{user}")),
        };
        SecretSpec { header: secret.header.as_str().to_owned(), ..SecretSpec::new(secret.name.clone(), source) }
    });
    let secrets = Arc::new(Secrets::new(specs).map_err(|e| wrong(&e))?);
    let rate = u32::try_from(limits.http_requests_per_second_per_host).unwrap_or(u32::MAX);
    let config = EgressConfig { secrets, requests_per_second_per_host_max: rate, ..EgressConfig::new() };
    Ok(Arc::new(HttpEgress::new(config).map_err(|e| wrong(&e))?))
}

/// The programs of this machine, for calls that were granted one by name.
pub fn programs() -> Programs {
    Programs::new(ProgramsConfig::new(entries::program()))
}

/// The MCP servers of the project. Nothing is started or connected to before a call that may asks for it.
fn servers(shelf: &Shelf, egress: Arc<dyn Egress>) -> Servers {
    let of = shelf.servers();
    Servers::new(ServersConfig {
        servers: of.iter().map(|server| server.config.clone()).collect(),
        lock: of.lock().clone(),
        looked_at: of.looked_at.clone(),
        launch: Arc::new(Confining(programs())),
        egress,
        variables: variables(),
    })
}

/// As many places as the machine's limits leave.
fn under(at: Capacity, limits: &HostLimits) -> Capacity {
    let most = |of: usize, limit: u64| of.min(usize::try_from(limit).unwrap_or(usize::MAX));
    Capacity {
        tools: most(at.tools, limits.cells_alive),
        agents: most(at.agents, limits.agents_alive),
        models: most(usize::MAX, limits.model_requests),
        memory_bytes_max: at.memory_bytes_max.min(limits.cells_memory_bytes),
        queue_max: most(at.queue_max, limits.queue_length),
        ..at
    }
}

/// How far a thread stands behind those that somebody waits for, as `nice` counts it: a third of a processor that both want.
const BEHIND: i32 = 5;

/// From here on, this thread gives way to others.
pub fn step_behind() {
    // Where it cannot be, what others wait for is a little later.
    let _ = rustix::process::nice(BEHIND);
}

/// Scripts alive at once: a run's own and four that it calls, which mostly wait.
const SCRIPTS: usize = 5;

/// Places for a fleet. Agents that wait for tools keep their memory, so only a few more are alive than can compute.
pub fn capacity_of_fleet() -> Capacity {
    let cores = cores();
    Capacity {
        memory_bytes_max: memory_for_cells(),
        ..Capacity::of_places((cores * 16).clamp(32, 512), (cores * 8).clamp(20, 256), SCRIPTS, cores)
    }
}

/// Places for one call: the tool, or an agent with the tools it has under way at once, and one agent at each depth below it. A small pool
/// is quick to reserve.
pub fn capacity_of_call() -> Capacity {
    Capacity { memory_bytes_max: memory_for_cells(), ..Capacity::of_places(8, 4, 1, cores()) }
}

/// Half of the machine's memory, for all cells together; a gibibyte where it cannot be told.
fn memory_for_cells() -> u64 {
    let info = rustix::system::sysinfo();
    let total = info.totalram.saturating_mul(info.mem_unit.into());
    if total == 0 { 1 << 30 } else { total / 2 }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Places for a server, whose clients do not know of each other: every cell that has a place may compute, so that one that spins takes
/// its share of a processor and not a place that others wait for.
pub fn capacity_of_server() -> Capacity {
    let fleet = capacity_of_fleet();
    Capacity { running: fleet.cells(), ..fleet }
}

/// A runtime for cells, which compute and read files on its threads.
pub fn runtime() -> Result<Runtime, Trouble> {
    built(&mut threads(cores(), "cells"))
}

/// The same for a server: with more threads than processors, so that it is the system that shares them out between calls, and a little
/// behind those that hear clients and answer them.
pub fn runtime_of_server() -> Result<Runtime, Trouble> {
    built(threads((cores() * 4).clamp(8, 128), "cells").on_thread_start(step_behind))
}

/// A runtime for what only waits, apart from cells, none of which can then keep it from its turn.
pub fn runtime_for_waiting() -> Result<Runtime, Trouble> {
    built(&mut threads(2, "waiting"))
}

fn threads(how_many: usize, name: &str) -> Builder {
    let mut threads = Builder::new_multi_thread();
    threads.worker_threads(how_many).thread_name(name).enable_all();
    threads
}

fn built(threads: &mut Builder) -> Result<Runtime, Trouble> {
    threads.build().map_err(|error| {
        Trouble::failed("threads cannot be started", error, "allow this user more threads (ulimit -u)")
    })
}

/// A fresh run id: the time, so that ids sort, and 30 random bits.
pub fn new_run_id() -> Result<RunId, Trouble> {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut random = [0u8; 6];
    getrandom::fill(&mut random)
        .map_err(|error| Trouble::failed("no run id can be made", error, "give this process access to getrandom(2)"))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let time = crate::report::timestamp(u64::try_from(now.as_micros()).unwrap_or(u64::MAX));
    // 2026-11-21T05:00:00Z becomes 20261121-050000.
    let time = time.replace(['-', ':', 'Z'], "").replace('T', "-");
    let tail: String = random.iter().map(|byte| char::from(LETTERS[usize::from(byte & 31)])).collect();
    format!("{time}-{tail}").parse().map_err(|error| Trouble::failed("no run id can be made", error, "check the clock"))
}

/// The project directory, absolute and readable.
pub fn project(dir: &Path) -> Result<PathBuf, Trouble> {
    disk::directory(dir).map_err(|error| {
        Trouble::usage(
            format!("the directory {} cannot be used", dir.display()),
            error,
            "name a directory that you can read with --dir PATH",
        )
    })
}

/// What a person granted: the defaults, unless `--only`, and what `--allow` names.
pub fn grant(given: &Permissions, defaults: impl IntoIterator<Item = Capability>) -> Grant {
    let defaults = defaults.into_iter().filter(|_| !given.only);
    Grant::of_run(defaults.chain(given.allow.iter().cloned()))
}

/// Every rule above a grant: the files at their places, `--policy`, and the flags. An unsound file is an error: while one rule
/// cannot be read, nothing runs.
pub fn rules(home: &Home, named: Option<&Path>, root: &Path, given: &Permissions) -> Result<Rules, Trouble> {
    let flags = Flags { allow: &given.allow, deny: &given.deny, ask: &given.ask };
    Ok(Rules::load(&Places::of(home, named, root), root, flags)?)
}

/// The bundled plugins, and those named with `--plugin`. One that the rules do not admit is refused before anything starts.
pub fn shelf(given: &Permissions, rules: &Rules) -> Result<Shelf, Trouble> {
    let mut shelf = Shelf::bundled()?;
    for path in &given.plugin {
        let name = shelf.load(path)?;
        let entry = shelf.entry(name.as_str());
        let form = entry.and_then(Entry::form);
        if !given.plugin_is.is_empty() && !form.is_some_and(|form| given.plugin_is.contains(&form)) {
            return Err(Trouble {
                exit: Exit::Denied,
                ..Trouble::failed(
                    format!("the plugin {} cannot be used", path.display()),
                    "it is not what the server that starts this run took up: it was changed, and wants more or was not looked at yet",
                    "look at what it needs now with `vespiary plugin inspect`, and start the server again",
                )
            });
        }
        let refused = entry.and_then(|entry| rules.policy.refuses(&entry.plugin));
        if let Some(denial) = refused {
            let doing = format!("the plugin {} cannot be used", path.display());
            return Err(Trouble::of_failure(&doing, &Failure::Denied(denial)));
        }
    }
    Ok(shelf)
}

/// The variables of this process, as they were when it started. Those that are not text cannot be granted.
pub fn variables() -> Arc<BTreeMap<String, String>> {
    static AT_START: OnceLock<Arc<BTreeMap<String, String>>> = OnceLock::new();
    let read = || {
        let text = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
        Arc::new(std::env::vars_os().filter_map(text).collect())
    };
    Arc::clone(AT_START.get_or_init(read))
}

impl From<LedgerError> for Trouble {
    fn from(error: LedgerError) -> Self {
        Trouble { what: "the ledger cannot be used".into(), why: error.what, next: error.remedy, exit: Exit::Failed }
    }
}

impl From<SandboxError> for Trouble {
    fn from(error: SandboxError) -> Self {
        Trouble::failed("no cell can be made", error, "run `vespiary doctor` to check this machine")
    }
}

impl Trouble {
    /// `doing` ended with `failure`.
    pub fn of_failure(doing: &str, failure: &Failure) -> Self {
        let next = match failure {
            Failure::Denied(denial) => denial.hint.clone(),
            Failure::InvalidArguments(_) => {
                "`vespiary plugin inspect NAME --json` shows the schema of the arguments".into()
            }
            Failure::NotFound(_) => {
                "`vespiary plugin list` names the plugins, `vespiary plugin inspect NAME` their tools; files are named as seen from --dir, \
                 and those that hold credentials are there only for who is granted their name, as in --allow read:.env".into()
            }
            Failure::Limit(hit) => match Quota::default().rows().iter().any(|row| row.0 == hit.quota) {
                true => format!(
                    "ask for less at once, or raise {}-max under [quota] in the plugin.toml; a policy may hold it lower",
                    hit.quota
                ),
                false => "ask for less at once; `vespiary policy show` has the limits that a policy can move".into(),
            },
            Failure::Cancelled => "start it again".into(),
            Failure::Trapped(_) => "report it to the plugin's author; nothing else was affected".into(),
            Failure::Unrunnable(_) => "rebuild the component for the worlds of this version".into(),
            Failure::Failed(_) => "correct what it names and call again".into(),
            Failure::Unrecorded(_) | Failure::Host(_) => "run `vespiary doctor` to check this machine".into(),
        };
        let why = match failure {
            // The hint stands on a line of its own.
            Failure::Denied(denial) => Failure::Denied(Denial { hint: String::new(), ..denial.clone() }).to_string(),
            other => other.to_string(),
        };
        let why = why.trim_end_matches(" ()").to_owned();
        Trouble { what: doing.to_owned(), why, next, exit: Exit::of_failure(failure) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_ids_are_fresh_and_sort_by_time() {
        let (a, b) = (new_run_id().unwrap(), new_run_id().unwrap());
        assert_ne!(a, b);
        assert_eq!(a.as_str().len(), "20261121-050000-abcdef".len());
    }

    #[test]
    fn only_drops_the_defaults() {
        let mut given = Permissions {
            allow: vec!["read:src".parse().unwrap()],
            deny: vec![],
            ask: vec![],
            only: false,
            plugin: vec![],
            plugin_is: vec![],
        };
        let defaults = || ["read:.".parse().unwrap(), "tool:*".parse().unwrap()];
        assert_eq!(grant(&given, defaults()).to_string(), "read:., tool:*");
        given.only = true;
        assert_eq!(grant(&given, defaults()).to_string(), "read:src");
    }

    #[test]
    fn a_denial_says_each_thing_once() {
        let denial = Denial { needed: "write:.".into(), held: "read:.".into(), hint: "grant it".into(), rule: None };
        let trouble = Trouble::of_failure("x", &Failure::Denied(denial));
        assert_eq!(
            (trouble.why.as_str(), trouble.next.as_str()),
            ("denied: needs write:.; the grant has read:.", "grant it")
        );
    }

    #[test]
    fn a_missing_project_is_a_usage_error() {
        let trouble = project(Path::new("/nowhere/at/all")).unwrap_err();
        assert_eq!(trouble.exit, Exit::Usage);
        assert!(trouble.next.contains("--dir"));
    }
}
