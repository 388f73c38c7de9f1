//! Asks for a tool that its grant does not hold. The wall: refused, naming the capability that is missing.

use crate::{Outcome, told};
use serde_json::Value;

/// Searches without the right to.
pub fn attack(_: &Value) -> Outcome {
    Ok(told(&[("search.grep", r#"{"pattern":"x"}"#.into())]))
}
