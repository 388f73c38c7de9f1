//! Who asks. A run is started once by a person; everybody else in it is a child that holds no more than its parent.

use crate::capability::Capability;
use crate::grant::Grant;
use crate::ids::{AgentId, CallId, RunId};
use crate::policy::Denial;
use crate::quota::{LimitHit, Meter};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Limits that a whole run shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunLimits {
    /// Agents ever started.
    pub agents_max: u64,
    /// Calls ever dispatched.
    pub calls_max: u64,
}

impl Default for RunLimits {
    fn default() -> Self {
        Self { agents_max: 1_000, calls_max: 1_000_000 }
    }
}

/// What all principals of one run share.
#[derive(Debug)]
pub struct Run {
    id: RunId,
    root: PathBuf,
    agents: Meter,
    calls: Meter,
    last_agent: AtomicU32,
    last_call: AtomicU64,
}

impl Run {
    /// The run's id.
    pub fn id(&self) -> &RunId {
        &self.id
    }

    /// The project directory on the host, to which relative capability paths refer.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Agents started so far.
    pub fn agents(&self) -> u64 {
        self.agents.used()
    }

    /// Calls dispatched so far.
    pub fn calls(&self) -> u64 {
        self.calls.used()
    }
}

/// Somebody in a run, with what they hold. A principal never becomes another one but by [`Principal::spawn`], which only
/// narrows:
///
/// ```compile_fail,E0616
/// use vespiary_kernel::{grant::Grant, principal::Principal};
/// fn widen(mut who: Principal, grant: Grant) -> Principal { who.grant = grant; who }
/// ```
#[derive(Debug, Clone)]
pub struct Principal {
    run: Arc<Run>,
    agent: AgentId,
    grant: Grant,
    inside: bool,
}

/// Why an agent was not started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpawnRefused {
    /// It wanted more than its parent holds.
    #[error("{0}")]
    Denied(Denial),
    /// The run has started as many agents as it may.
    #[error("{0}")]
    Limit(LimitHit),
}

impl Principal {
    /// The person who starts a run over the project at `root`, and the only source of authority in it.
    pub fn of_run(id: RunId, root: PathBuf, grant: Grant, limits: RunLimits) -> Self {
        let run = Run {
            id,
            root,
            agents: Meter::new("agents", limits.agents_max),
            calls: Meter::new("calls", limits.calls_max),
            last_agent: AtomicU32::new(0),
            last_call: AtomicU64::new(0),
        };
        Self { run: Arc::new(run), agent: AgentId::ROOT, grant, inside: false }
    }

    /// A new agent that holds exactly `wanted`, or, when it names nothing, all that its parent holds but the right to start
    /// agents. The parent must hold `spawn:1` or more.
    pub fn spawn(&self, wanted: Option<&[Capability]>) -> Result<Principal, SpawnRefused> {
        let one = Capability::Spawn(1);
        if !self.grant.covers(&one) {
            return Err(SpawnRefused::Denied(Denial::missing(&one, &self.grant)));
        }
        let grant = match wanted {
            Some(wanted) => self.grant.attenuate(wanted).map_err(SpawnRefused::Denied)?,
            None => self.grant.without_spawn(),
        };
        self.run.agents.take(1).map_err(SpawnRefused::Limit)?;
        let agent = AgentId(self.run.last_agent.fetch_add(1, Ordering::Relaxed) + 1);
        Ok(Self { run: Arc::clone(&self.run), agent, grant, inside: false })
    }

    /// The same somebody as seen from inside its own cell, held to `scope`. Crate-private: only the dispatcher narrows a
    /// principal without asking it.
    pub(crate) fn within(&self, scope: Grant) -> Principal {
        debug_assert!(scope.iter().all(|c| self.grant.covers(c)), "a scope is always part of the grant");
        Self { run: Arc::clone(&self.run), agent: self.agent, grant: scope, inside: true }
    }

    /// Whether this is an agent asking from inside its cell, and not whoever started it.
    pub(crate) fn is_inside(&self) -> bool {
        self.inside
    }

    /// Take the next call number, if the run may make another call.
    pub(crate) fn next_call(&self) -> Result<CallId, LimitHit> {
        self.run.calls.take(1)?;
        Ok(CallId(self.run.last_call.fetch_add(1, Ordering::Relaxed) + 1))
    }

    /// The run.
    pub fn run(&self) -> &Arc<Run> {
        &self.run
    }

    /// Which agent; `AgentId::ROOT` for the run itself.
    pub fn agent(&self) -> AgentId {
        self.agent
    }

    /// What it holds.
    pub fn grant(&self) -> &Grant {
        &self.grant
    }
}
