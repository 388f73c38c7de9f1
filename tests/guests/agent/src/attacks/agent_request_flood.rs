//! Asks without end. The wall: limit `tool-calls`, told to the agent, who may then only give up.

use crate::Outcome;
use serde_json::Value;
use vespiary_sdk::Error;
use vespiary_sdk::dispatch::{Request, call_all};

/// A thousand requests at a time.
pub fn attack(context: &Value) -> Outcome {
    let request = Request { tool: "files.read".into(), arguments: context.to_string() };
    let mut answered = 0u32;
    loop {
        for answer in call_all(&vec![request.clone(); 1000]) {
            if let Err(Error::Limit(hit)) = answer {
                return Err(Error::Limit(hit));
            }
            answered += 1;
        }
        if answered > 10_000_000 {
            return Ok(vec!["nobody stopped me".into()]);
        }
    }
}
