//! A circuit breaker for a provider: after many failures in a row it is left alone for a while, and then tried with one request.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Requests in a row that fail for now, of any agents, before no more are made for a while: a provider that is down is not
/// asked a thousand times more, and agents do not wait for it.
pub(crate) const FAILURES_IN_A_ROW_MAX: u32 = 16;
/// How long that is. Then one request is made, and what comes of it decides.
pub(crate) const PAUSE: Duration = Duration::from_secs(30);

/// A circuit breaker: whether the provider is worth asking.
#[derive(Debug, Default)]
pub(crate) struct Breaker(Mutex<Circuit>);

#[derive(Debug, Default)]
struct Circuit {
    failures: u32,
    /// Until then nobody asks.
    open_until: Option<Instant>,
    why: String,
}

impl Breaker {
    /// Why not to ask now. Once the pause is over one request may be made, and the next only after another.
    pub(crate) fn refuses(&self) -> Option<String> {
        let mut circuit = self.circuit();
        let until = circuit.open_until?;
        let now = Instant::now();
        if now >= until {
            circuit.open_until = Some(now + PAUSE);
            return None;
        }
        let (failures, seconds) = (circuit.failures, (until - now).as_secs() + 1);
        Some(format!(
            "{failures} requests in a row failed, the last with: {}; the provider is not asked for another {seconds} s",
            circuit.why
        ))
    }

    /// The provider is there.
    pub(crate) fn answered(&self) {
        *self.circuit() = Circuit::default();
    }

    /// A request failed for now.
    pub(crate) fn failed(&self, why: &str) {
        let mut circuit = self.circuit();
        circuit.failures = circuit.failures.saturating_add(1);
        why.clone_into(&mut circuit.why);
        if circuit.failures >= FAILURES_IN_A_ROW_MAX {
            circuit.open_until = Some(Instant::now() + PAUSE);
        }
    }

    fn circuit(&self) -> MutexGuard<'_, Circuit> {
        // Whoever panicked holding it had written one of its fields; any of them is a sound state.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
