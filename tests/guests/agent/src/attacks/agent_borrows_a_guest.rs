//! Has a hostile tool do what it may not do itself: loop, eat memory and lie. The wall: the tool's own limits, and the agent
//! is only told of them.

use crate::{Outcome, told};
use serde_json::Value;

/// Uses somebody else's hands.
pub fn attack(_: &Value) -> Outcome {
    let tools = ["endless_loop", "memory_growth", "invalid_json_result", "exit_happily", "panic_with_words"];
    Ok(tools.iter().flat_map(|tool| told(&[(&format!("hostile.{tool}"), "{}".into())])).collect())
}
