//! Asks under names that look like a granted tool's to a careless reader, and with arguments that are no JSON. The wall: each
//! is refused.

use crate::{Outcome, told};
use serde_json::Value;

/// Spells `files.read` wrongly.
pub fn attack(context: &Value) -> Outcome {
    Ok(told(&[
        ("files.read\0", context.to_string()),
        ("FILES.READ", context.to_string()),
        ("../files.read", context.to_string()),
        ("engine.run", "{}".into()),
        ("files.read", "{\"path\":".into()),
    ]))
}
