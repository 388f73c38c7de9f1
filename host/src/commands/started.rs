//! What a run is started with, as its record keeps it, and what one goes on from.

use crate::cli::RunArgs;
use crate::workflows::Script;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use vespiary_kernel::capability::Capability;
use vespiary_kernel::ids::RunId;
use vespiary_kernel::json::Json;
use vespiary_kernel::reuse::Doubt;

/// What a run goes on from.
#[derive(Debug)]
pub(super) struct Onward {
    /// The runs before it, the nearest first.
    pub(super) runs: Vec<RunId>,
    /// Their script, or the one in its place.
    pub(super) script: Script,
    /// The script's arguments.
    pub(super) args: Json,
    /// What to do about effects that may have been had.
    pub(super) doubt: Doubt,
    /// Only say what would run.
    pub(super) plan: bool,
}

/// What a run is started with, as its record keeps it for whoever goes on with it. Paths are absolute.
#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Started {
    pub(super) agents: u32,
    pub(super) at_once: Option<u32>,
    pub(super) time_ms: Option<u64>,
    pub(super) tokens: Option<u64>,
    pub(super) usd_micros: Option<u64>,
    pub(super) provider: Option<String>,
    pub(super) allow: Vec<Capability>,
    pub(super) deny: Vec<Capability>,
    pub(super) ask: Vec<Capability>,
    pub(super) only: bool,
    pub(super) plugins: Vec<PathBuf>,
    pub(super) policy: Option<PathBuf>,
    pub(super) out: PathBuf,
}

impl Default for Started {
    fn default() -> Self {
        Self {
            agents: 1_000,
            at_once: None,
            time_ms: None,
            tokens: None,
            usd_micros: None,
            provider: None,
            allow: Vec::new(),
            deny: Vec::new(),
            ask: Vec::new(),
            only: false,
            plugins: Vec::new(),
            policy: None,
            out: "vespiary-report".into(),
        }
    }
}

impl Started {
    pub(super) fn with(args: &RunArgs, policy: Option<&Path>) -> Self {
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let given = &args.permissions;
        Self {
            agents: args.bounds.agents,
            at_once: args.at_once,
            time_ms: args.bounds.time.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
            tokens: args.bounds.tokens,
            usd_micros: args.bounds.usd,
            provider: args.bounds.provider.as_ref().map(|provider| provider.absolute().to_string()),
            allow: given.allow.clone(),
            deny: given.deny.clone(),
            ask: given.ask.clone(),
            only: given.only,
            plugins: given.plugin.iter().map(|path| absolute(path)).collect(),
            policy: policy.map(absolute),
            out: absolute(&args.out),
        }
    }
}
