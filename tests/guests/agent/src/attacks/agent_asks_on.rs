//! Asks on after it was told that its calls are used up, twenty thousand times. The wall: it is told so each time, and
//! nothing more is run or recorded.

use crate::Outcome;
use serde_json::Value;
use vespiary_sdk::dispatch::{Request, call_all};

/// Does not take no for an answer.
pub fn attack(context: &Value) -> Outcome {
    let request = Request { tool: "files.read".into(), arguments: context.to_string() };
    let (mut got, mut refused) = (0, 0);
    for _ in 0..20 {
        for answer in call_all(&vec![request.clone(); 1000]) {
            if answer.is_ok() { got += 1 } else { refused += 1 }
        }
    }
    Ok(vec![format!("got {got}, refused {refused}")])
}
