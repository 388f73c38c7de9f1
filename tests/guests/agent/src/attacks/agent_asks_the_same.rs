//! Asks the same twice in one batch and once more after it, hoping that one record stands for all. Nothing is refused: each
//! is a call of its own in the record.

use crate::{Outcome, told};
use serde_json::Value;

/// Three times the same.
pub fn attack(context: &Value) -> Outcome {
    let one = ("files.read", context.to_string());
    let mut all = told(&[one.clone(), one.clone()]);
    all.extend(told(&[one]));
    Ok(all)
}
