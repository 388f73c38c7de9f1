//! Asks under a name of eight mebibytes. The wall: refused, and the refusal does not repeat it.

use crate::{Outcome, told};
use serde_json::Value;

/// A name that fills a page.
pub fn attack(context: &Value) -> Outcome {
    let name = format!("files.{}", "r".repeat(8 << 20));
    Ok(told(&[(&name, context.to_string())]))
}
