//! A script looked at by the engine that would run it, without a run: syntax and `meta`, as `run` checks them first. The engine's
//! cell holds nothing and is asked for nothing else, so there is nothing to record: this is the one place with a dispatcher
//! and no ledger behind it.

use crate::approve::AtTerminal;
use crate::catalog::Shelf;
use crate::exit::Trouble;
use crate::paths::Home;
use crate::policy::Rules;
use crate::runners::Runners;
use crate::wiring;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::runtime::Runtime;
use vespiary_kernel::call::{Ending, Failure, Outcome};
use vespiary_kernel::dispatch::{Dispatcher, Session};
use vespiary_kernel::event::Event;
use vespiary_kernel::grant::Grant;
use vespiary_kernel::host::HostLimits;
use vespiary_kernel::ids::{PluginName, RunId};
use vespiary_kernel::json::Json;
use vespiary_kernel::pool::Pool;
use vespiary_kernel::ports::{BoxFuture, Catalog, Log, LogError};
use vespiary_kernel::principal::{Principal, RunLimits};
use vespiary_kernel::script::ScriptError;

/// An engine that only looks.
pub struct Examiner {
    runtime: Runtime,
    dispatcher: Arc<Dispatcher>,
    who: Principal,
    engine: PluginName,
    session: Option<Session>,
}

impl std::fmt::Debug for Examiner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Examiner").field("engine", &self.engine).finish_non_exhaustive()
    }
}

/// What the engine found: the script's `meta`, or the script's own error.
pub type Examined = Result<Json, ScriptError>;

impl Examiner {
    /// Ready the engine for scripts of the project at `root`. It is opened when it is first asked.
    pub fn new(home: &Home, shelf: Shelf, rules: Rules, root: PathBuf) -> Result<Self, Trouble> {
        home.create()?;
        let engine = shelf.engine()?.plugin.name.clone();
        let (shelf, at) = (Arc::new(shelf), wiring::capacity_of_call());
        let limits = rules.policy.host(HostLimits::default());
        let sandbox = Arc::new(wiring::sandbox(home, &shelf, at, &limits)?);
        let dispatcher = Dispatcher::new(
            Arc::new(NoRun),
            shelf as Arc<dyn Catalog>,
            rules.policy,
            Pool::new(at),
            Arc::new(Runners::new(sandbox, wiring::programs(), None, None)),
            Arc::new(AtTerminal::new(Arc::new(|ask| ask()), rules.ask_time_max)),
        );
        let who = dispatcher.start(wiring::new_run_id()?, root, Grant::none(), RunLimits::default());
        Ok(Self { runtime: wiring::runtime()?, dispatcher, who, engine, session: None })
    }

    /// Look at one script. `Err`: the engine's cell was ended over it, or never began.
    pub fn examine(&mut self, source: &str) -> Result<Examined, Failure> {
        let Self { runtime, dispatcher, who, engine, session } = self;
        runtime.block_on(async {
            let open = match session.take() {
                Some(open) => Ok(open),
                None => dispatcher.open_session(who, engine).await.map_err(cause),
            };
            let mut open = open?;
            let examined = open.check(source).await;
            match &examined {
                // A cell that could be told something is good for the next script too.
                Ok(_) => *session = Some(open),
                Err(failure) => drop(open.close(Ending::Failed(failure.clone()))),
            }
            examined
        })
    }
}

fn cause(outcome: Outcome) -> Failure {
    outcome.into_result().err().unwrap_or_else(|| Failure::Host("the engine did not open".into()))
}

/// What is recorded where nothing is done.
struct NoRun;

impl Log for NoRun {
    fn append(&self, _: &RunId, event: Event) -> Result<(), LogError> {
        match event {
            Event::CallIntended { .. } | Event::CallEnded { .. } => Ok(()),
            _ => Err(LogError {
                what: "a script that is only looked at can do nothing".into(),
                remedy: "run it with `vespiary run`".into(),
            }),
        }
    }

    fn flushed(&self) -> BoxFuture<'_, Result<(), LogError>> {
        Box::pin(async {
            Err(LogError { what: "nothing is recorded here".into(), remedy: "run it with `vespiary run`".into() })
        })
    }
}
