//! Asks for a tool that writes, though its own grant only reads. The wall: refused, naming `tool:files.write`.

use crate::{Outcome, told};
use serde_json::{Value, json};

/// Overwrites the context's file.
pub fn attack(context: &Value) -> Outcome {
    Ok(told(&[("files.write", json!({ "path": context["path"], "text": "owned" }).to_string())]))
}
