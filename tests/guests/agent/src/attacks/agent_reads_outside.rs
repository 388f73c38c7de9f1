//! Asks a tool that it may call for a file that neither of them may read. The wall: the tool's cell does not hold it.

use crate::{Outcome, told};
use serde_json::{Value, json};

/// Has somebody else climb out.
pub fn attack(_: &Value) -> Outcome {
    let paths = ["../secret.txt", "/etc/passwd", "leak", "leak-dir/secret.txt", "inside/../../secret.txt"];
    Ok(told(&paths.map(|path| ("files.read", json!({ "path": path }).to_string()))))
}
