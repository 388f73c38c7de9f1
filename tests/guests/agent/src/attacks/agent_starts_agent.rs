//! Starts an agent, itself. The wall: refused, naming `spawn:1`.

use crate::{Outcome, told};
use serde_json::Value;

/// Would never end.
pub fn attack(_: &Value) -> Outcome {
    Ok(told(&[("hostile-agent.run", r#"{"prompt":"agent_spins","context":null}"#.into())]))
}
