//! Starts two agents like itself, which do the same. The walls: three deep, and as many as `spawn:N` says for all below.

use crate::{Outcome, told};
use serde_json::{Value, json};

/// Would never end.
pub fn attack(context: &Value) -> Outcome {
    let own = context["agent"].as_str().unwrap_or("hostile-agent.run");
    let task = json!({ "prompt": "agent_starts_its_like", "context": context }).to_string();
    Ok(told(&[(own, task.clone()), (own, task)]))
}
