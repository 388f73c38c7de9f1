//! Asks with seventeen mebibytes of arguments. The wall: limit `host-call-bytes`, before they are copied.

use crate::Outcome;
use serde_json::Value;
use vespiary_sdk::dispatch::{Request, call_all};

/// One request, far too long.
pub fn attack(_: &Value) -> Outcome {
    let mut arguments = String::with_capacity((17 << 20) + 16);
    arguments.push_str("{\"path\":\"");
    arguments.extend(std::iter::repeat_n('x', 17 << 20));
    arguments.push_str("\"}");
    let answers = call_all(&[Request { tool: "files.read".into(), arguments }]);
    Ok(vec![format!("{} answers", answers.len())])
}
