//! Asks with arguments that different readers read differently: a key twice, a NUL in a path, a number for a path, a second
//! document behind the first. The wall: each is refused.

use crate::{Outcome, told};
use serde_json::Value;

/// Hopes for two readers.
pub fn attack(_: &Value) -> Outcome {
    let odd = [
        r#"{"path":"notes.txt","path":"../secret.txt"}"#, r#"{"path":"notes.txt\u0000../secret.txt"}"#, r#"{"path":1e999}"#,
        r#"{"path":"notes.txt"}{"path":"../secret.txt"}"#, r#"{"path":"..\\secret.txt"}"#, r#"{"path":"\ud800"}"#,
        r#"{"path":null}"#, r#"["notes.txt"]"#, r#"{"__proto__":{"path":"notes.txt"}}"#, "null", "", "\u{feff}{}",
    ];
    Ok(told(&odd.map(|arguments| ("files.read", arguments.to_owned()))))
}
