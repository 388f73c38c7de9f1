//! What the agents of a phase may spend together, as `meta.phases` says: `{ title: 'Scan', budget: { tokens: 50000, usd: 2 } }`. An agent
//! belongs to the phase that it names, or that the script was in when it asked for it.

use serde::Deserialize;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use vespiary_kernel::account::Ceiling;
use vespiary_kernel::json::Json;
use vespiary_kernel::principal::Principal;
use vespiary_kernel::script::{ErrorKind, ScriptError};

/// The phases of a run that have a budget, and who starts their agents.
#[derive(Debug, Default)]
pub(crate) struct Phases(Mutex<HashMap<String, Principal>>);

#[derive(Deserialize)]
struct Meta {
    #[serde(default)]
    phases: Vec<Written>,
}

#[derive(Deserialize)]
struct Written {
    title: String,
    #[serde(default)]
    budget: Option<Json>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Spending {
    tokens: Option<u64>,
    usd: Option<f64>,
}

impl Phases {
    /// Give the phases of a script their budgets. Where two scripts of a run name the same phase, it has the one that was there first.
    ///
    /// # Errors
    /// A budget that is none.
    pub(crate) fn add(&self, who: &Principal, meta: &Json) -> Result<(), ScriptError> {
        let Ok(Meta { phases }) = meta.read() else { return Ok(()) };
        for (at, Written { title, budget }) in phases.into_iter().enumerate() {
            let Some(budget) = budget else { continue };
            let wrong = |why: &dyn std::fmt::Display| ScriptError {
                kind: ErrorKind::Meta,
                message: format!(
                    "meta.phases[{at}].budget must be an object like {{ tokens: 50000, usd: 2 }}, either or both: {why}"
                ),
                line: 0,
                column: 0,
                stack: String::new(),
            };
            let Spending { tokens, usd } = budget.read().map_err(|error| wrong(&error))?;
            let sound = |usd: f64| (usd.is_finite() && usd >= 0.0).then(|| (usd * 1e6).floor() as u64);
            let usd_micros_max = match usd {
                None => None,
                Some(usd) => Some(sound(usd).ok_or_else(|| wrong(&format_args!("usd is {usd}")))?),
            };
            let most = Ceiling { tokens_max: tokens, usd_micros_max, ..Ceiling::default() };
            let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            known.entry(title).or_insert_with(|| who.in_phase(&most));
        }
        Ok(())
    }

    /// Who starts an agent of this phase; `who` where the phase has no budget.
    pub(crate) fn starter(&self, phase: Option<&str>, who: &Principal) -> Principal {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        phase.and_then(|title| known.get(title)).unwrap_or(who).clone()
    }
}
