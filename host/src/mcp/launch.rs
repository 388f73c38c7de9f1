//! Starts runs for clients. Each is a process of its own that outlives the server and the assistant, exactly as `vespiary run
//! --detach` starts one; what it may do is what the person gave to the server, or less where the client says so.

use crate::catalog::renew::Renewable;
use crate::catalog::{Origin, Shelf};
use crate::cli::{Bounds, Permissions};
use crate::detach::{self, Detached};
use crate::exit::{Exit, Trouble};
use crate::live;
use crate::paths::Home;
use crate::terminal::plain;
use crate::wiring;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use vespiary_kernel::capability::Capability;
use vespiary_kernel::grant::Grant;
use vespiary_kernel::ids::{Digest, RunId};
use vespiary_kernel::json::Json;

/// Runs that clients may have under way at once.
const RUNS_MAX: usize = 16;

/// What every run is started with: the server's own flags.
#[derive(Debug)]
pub struct Launch {
    /// `--policy`.
    pub policy: Option<PathBuf>,
    /// `--deny` and `--ask`.
    pub permissions: Permissions,
    /// The plugins as the server has them.
    pub catalog: Arc<Renewable>,
    /// Who answers for models, and how much each run may use.
    pub bounds: Bounds,
    /// Those under way.
    pub started: Mutex<Vec<Counted>>,
}

/// A run that counts among those under way.
#[derive(Debug)]
pub struct Counted {
    run: RunId,
    /// Its process is about to begin: it has no lock by which it could be seen to live.
    starting: bool,
}

/// A run as a client wants it.
#[derive(Debug)]
pub struct Order {
    /// The script's name, for people.
    pub title: String,
    /// The script.
    pub source: String,
    /// Its arguments.
    pub args: Json,
    /// What it may do: part of what the server was given.
    pub grant: Grant,
    /// Lower limits than the server's.
    pub agents: Option<u32>,
    /// The same for tokens.
    pub tokens: Option<u64>,
    /// The same for millionths of a dollar.
    pub usd_micros: Option<u64>,
    /// The same for time.
    pub time: Option<Duration>,
}

impl Launch {
    /// Start a run over the project at `root`, with the server's plugins as it took them up: what was written to their files since, the
    /// run refuses. Blocks until it is under way, or has said why it is not.
    ///
    /// # Errors
    /// Too many are under way; or it could not begin, and says why.
    pub fn start(&self, home: &Home, root: &Path, order: &Order) -> Result<RunId, Trouble> {
        self.counted(home, |id| self.start_as(home, id, root, order))
    }

    /// Go on with a run that has ended, with the plugins that it had, if the server has them as they are now. Blocks likewise.
    ///
    /// # Errors
    /// As `start`.
    pub fn resume(&self, home: &Home, run: &RunId) -> Result<RunId, Trouble> {
        self.counted(home, |id| {
            let out = live::leave_order(home, id, None)?.out;
            let mut args = self.program();
            args.extend(["runs", "resume", run.as_str(), "--json", "--quiet", "--out"].map(OsString::from));
            args.push(out.into());
            args.extend(forms(&from_files(&self.catalog.now())));
            under_way(home, id, args)
        })
    }

    /// Have `start` start a run that counts among those under way, if another may be.
    fn counted(&self, home: &Home, start: impl FnOnce(&RunId) -> Result<(), Trouble>) -> Result<RunId, Trouble> {
        let id = wiring::new_run_id()?;
        self.begin(&id, |run| live::is_live(home, run))?;
        let started = start(&id);
        let mut all = self.started();
        match &started {
            Ok(()) => all.iter_mut().filter(|counted| counted.run == id).for_each(|counted| counted.starting = false),
            Err(_) => all.retain(|counted| counted.run != id),
        }
        started.map(|()| id)
    }

    fn start_as(&self, home: &Home, id: &RunId, root: &Path, order: &Order) -> Result<(), Trouble> {
        let left = live::leave_order(
            home,
            id,
            Some(live::Order { title: &order.title, source: &order.source, args: &order.args }),
        )?;
        let mut args = self.program();
        args.extend([OsString::from("run"), left.script.into(), "--dir".into(), root.into()]);
        args.push("--args".into());
        args.push(prefixed("@", &left.args));
        args.extend([OsString::from("--out"), left.out.into(), "--json".into(), "--quiet".into(), "--only".into()]);
        // The grant is what the server was given, or less: the process starts with exactly that.
        let lists =
            [("--allow", Vec::from_iter(order.grant.iter())), ("--deny", self.permissions.deny.iter().collect())];
        for (flag, list) in lists.into_iter().chain([("--ask", self.permissions.ask.iter().collect())]) {
            args.extend(
                list.into_iter().flat_map(|held: &Capability| [flag.to_owned(), held.to_string()].map(OsString::from)),
            );
        }
        let shelf = self.catalog.now();
        let plugins = from_files(&shelf);
        args.extend(plugins.iter().flat_map(|(path, _)| ["--plugin".into(), OsString::from(path)]));
        args.extend(forms(&plugins));
        if let Some(provider) = &self.bounds.provider {
            args.extend(["--provider".to_owned(), provider.absolute().to_string()].map(OsString::from));
        }
        let agents = order.agents.map_or(self.bounds.agents, |most| most.clamp(1, self.bounds.agents));
        args.extend(["--agents".to_owned(), agents.to_string()].map(OsString::from));
        if let Some(tokens) = least(self.bounds.tokens, order.tokens) {
            args.extend(["--tokens".to_owned(), tokens.to_string()].map(OsString::from));
        }
        if let Some(usd) = least(self.bounds.usd, order.usd_micros) {
            let dollars = format!("{}.{:06}", usd / 1_000_000, usd % 1_000_000);
            args.extend(["--usd".to_owned(), dollars].map(OsString::from));
        }
        if let Some(time) = least(self.bounds.time, order.time) {
            args.extend(["--time".to_owned(), format!("{}ms", time.as_millis())].map(OsString::from));
        }
        under_way(home, id, args)
    }

    /// The program's own name and what comes before its command.
    fn program(&self) -> Vec<OsString> {
        let mut args = vec![OsString::from("vespiary")];
        if let Some(policy) = &self.policy {
            let policy = std::path::absolute(policy).unwrap_or_else(|_| policy.clone());
            args.extend([OsString::from("--policy"), policy.into()]);
        }
        args
    }

    fn begin(&self, id: &RunId, is_live: impl Fn(&RunId) -> bool) -> Result<(), Trouble> {
        let mut started = self.started();
        started.retain(|counted| counted.starting || is_live(&counted.run));
        if started.len() >= RUNS_MAX {
            return Err(Trouble {
                what: "no further run can be started".into(),
                why: format!("{RUNS_MAX} that were started here are under way"),
                next: "wait until one has ended, or stop one".into(),
                exit: Exit::Denied,
            });
        }
        started.push(Counted { run: id.clone(), starting: true });
        Ok(())
    }

    fn started(&self) -> MutexGuard<'_, Vec<Counted>> {
        self.started.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn under_way(home: &Home, id: &RunId, args: Vec<OsString>) -> Result<(), Trouble> {
    match detach::start(home, id, args)? {
        Detached::Started(_) => Ok(()),
        Detached::Ended(early) => {
            live::remove_order(home, id);
            let said = String::from_utf8_lossy(&early.err);
            Err(Trouble::usage(
                "the run could not begin",
                plain(said.trim()),
                "correct what it names and start it again",
            ))
        }
    }
}

/// The plugins from files, each with what identifies it.
fn from_files(shelf: &Shelf) -> Vec<(&Path, Digest)> {
    shelf
        .iter()
        .filter_map(|entry| match &entry.origin {
            Origin::File(path) => Some((path.as_path(), entry.form()?)),
            Origin::Bundled | Origin::Server(_) => None,
        })
        .collect()
}

/// The flags that let no other plugin in; where there is none, what lets in none at all.
fn forms(plugins: &[(&Path, Digest)]) -> Vec<OsString> {
    let nothing = Digest::of(b"no plugin");
    let forms = plugins.iter().map(|(_, form)| *form).chain(plugins.is_empty().then_some(nothing));
    forms.flat_map(|form| ["--plugin-is".to_owned(), form.to_string()].map(OsString::from)).collect()
}

fn prefixed(prefix: &str, path: &Path) -> OsString {
    let mut text = OsString::from(prefix);
    text.push(path);
    text
}

/// The lower of two limits.
fn least<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_lowers_a_limit_and_never_raises_it() {
        assert_eq!(least(Some(5), Some(9)), Some(5));
        assert_eq!(least(Some(5), Some(2)), Some(2));
        assert_eq!(least(None, Some(2)), Some(2));
        assert_eq!(least(Some(5), None), Some(5));
        assert_eq!(least::<u64>(None, None), None);
    }

    /// A client that asks for many runs at the same moment: none of them can be seen to live yet, and each counts.
    #[test]
    fn runs_that_are_only_starting_count_as_well() {
        let launch = Launch {
            policy: None,
            permissions: Permissions::default(),
            catalog: Arc::new(Renewable::new(Arc::default())),
            bounds: Bounds { provider: None, tokens: None, usd: None, time: None, agents: 1 },
            started: Mutex::default(),
        };
        let id = |n: usize| -> RunId { format!("r-{n}").parse().unwrap() };
        for n in 0..RUNS_MAX {
            launch.begin(&id(n), |_| false).unwrap();
        }
        assert!(launch.begin(&id(RUNS_MAX), |_| false).unwrap_err().why.contains("under way"));
        // One that has begun and ended leaves its place.
        launch.started()[0].starting = false;
        launch.begin(&id(RUNS_MAX), |_| false).unwrap();
        assert!(launch.begin(&id(RUNS_MAX + 1), |_| false).is_err());
    }
}
