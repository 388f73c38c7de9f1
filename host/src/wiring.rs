//! Puts the pillars behind the dispatcher. The only place where sandbox, ledger and fleet meet; each knows just the kernel.

use crate::approve::{AtTerminal, Quietly};
use crate::catalog::Shelf;
use crate::cli::Permissions;
use crate::disk;
use crate::exit::{Exit, Trouble};
use crate::paths::Home;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::runtime::{Builder, Runtime};
use vespiary_kernel::call::Failure;
use vespiary_kernel::capability::Capability;
use vespiary_kernel::dispatch::Dispatcher;
use vespiary_kernel::grant::Grant;
use vespiary_kernel::ids::RunId;
use vespiary_kernel::policy::{Denial, Policy};
use vespiary_kernel::ports::Catalog;
use vespiary_kernel::quota::{Capacity, Pool};
use vespiary_ledger::ledger::Ledger;
use vespiary_ledger::store::LedgerError;
use vespiary_sandbox::{Sandbox, SandboxConfig, SandboxError};

/// A dispatcher with everything behind it.
#[derive(Debug)]
pub struct Host {
    /// The door.
    pub dispatcher: Arc<Dispatcher>,
    /// The record.
    pub ledger: Arc<Ledger>,
    /// What can be called.
    pub shelf: Arc<Shelf>,
    /// The cells.
    pub sandbox: Arc<Sandbox>,
}

impl Host {
    /// Open everything. Blocks for the ledger's file and the pool's reservation; compiles nothing.
    pub fn open(home: &Home, shelf: Shelf, at: Capacity, policy: Policy, quietly: Quietly) -> Result<Self, Trouble> {
        home.create()?;
        raise_descriptor_limit();
        let shelf = Arc::new(shelf);
        let sandbox = Arc::new(sandbox(home, &shelf, at)?);
        if let Some(refused) = sandbox.cache_refused() {
            eprintln!("vespiary: {refused}");
        }
        let ledger = Arc::new(Ledger::open(&home.ledger())?);
        let dispatcher = Dispatcher::new(
            Arc::clone(&ledger) as _,
            Arc::clone(&shelf) as Arc<dyn Catalog>,
            policy,
            Pool::new(at),
            Arc::clone(&sandbox) as _,
            Arc::new(AtTerminal::new(quietly)),
        );
        Ok(Self { dispatcher, ledger, shelf, sandbox })
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
pub fn sandbox(home: &Home, shelf: &Arc<Shelf>, at: Capacity) -> Result<Sandbox, Trouble> {
    let components = Arc::clone(shelf) as Arc<dyn Catalog>;
    let config = SandboxConfig { cache_dir: Some(home.cache().to_owned()), ..SandboxConfig::new(at, components) };
    Ok(Sandbox::new(config)?)
}

/// Places for a fleet. Agents that wait for tools keep their memory, so only a few more are alive than can compute.
pub fn capacity_of_fleet() -> Capacity {
    let cores = cores();
    Capacity { tools: (cores * 16).clamp(32, 512), agents: (cores * 8).clamp(16, 256), scripts: 1, running: cores }
}

/// Places for one call: the tool, or an agent and the tools it has under way at once. A small pool is quick to reserve.
pub fn capacity_of_call() -> Capacity {
    Capacity { tools: 8, agents: 1, scripts: 1, running: cores() }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// A runtime for cells, which compute and read files on its threads.
pub fn runtime() -> Result<Runtime, Trouble> {
    Builder::new_multi_thread().worker_threads(cores()).thread_name("cells").enable_all().build().map_err(|error| {
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

/// What a person granted, and the rules they set above it.
pub fn permissions(given: &Permissions, defaults: impl IntoIterator<Item = Capability>) -> (Grant, Policy) {
    let defaults = defaults.into_iter().filter(|_| !given.only);
    let grant = Grant::of_run(defaults.chain(given.allow.iter().cloned()));
    (grant, Policy { deny: given.deny.clone(), ask: given.ask.clone() })
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
                "`vespiary plugin list` names the plugins, `vespiary plugin inspect NAME` their tools".into()
            }
            Failure::Limit(hit) => {
                format!("ask for less at once, or raise {}-max under [quota] in the plugin.toml", hit.quota)
            }
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
        };
        let defaults = || ["read:.".parse().unwrap(), "tool:*".parse().unwrap()];
        assert_eq!(permissions(&given, defaults()).0.to_string(), "read:., tool:*");
        given.only = true;
        assert_eq!(permissions(&given, defaults()).0.to_string(), "read:src");
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
