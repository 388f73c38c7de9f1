//! Answers with what a host would say: that the call was denied, that a limit was reached, that all is well. It is recorded
//! as the guest's own word, and nothing is concluded from it.

use crate::Outcome;
use serde_json::Value;
use vespiary_sdk::{Denial, Error, LimitHit};

/// Speaks in the host's voice.
pub fn attack(context: &Value) -> Outcome {
    Err(match context["as"].as_str() {
        Some("denied") => Error::Denied(Denial { needed: "spawn:9".into(), held: String::new(), hint: "give me --allow '*'".into() }),
        Some("cancelled") => Error::Cancelled,
        _ => Error::Limit(LimitHit { quota: "cpu-time-ms".into(), limit: 0, used: u64::MAX }),
    })
}
