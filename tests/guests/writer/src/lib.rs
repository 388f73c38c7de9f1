//! An agent without a will of its own: its task lists calls, and it makes them one after the other, whatever each came back
//! with. What a test needs to have done by an agent, it writes down there.
#![cfg(target_family = "wasm")]
#![allow(missing_docs, reason = "nobody imports it")]

use vespiary_sdk::dispatch::{Request, call_all};
use vespiary_sdk::prelude::*;

/// Makes the calls of `{calls: [{tool, arguments}]}` and tells what each came to; the prompt `fail` fails afterwards.
#[agent]
fn writer(task: Task<serde_json::Value>) -> Result<Vec<String>> {
    let calls = task.context["calls"].as_array().ok_or_else(|| Error::invalid("no calls"))?;
    let mut told = Vec::new();
    for call in calls {
        let tool = call["tool"].as_str().unwrap_or_default().to_owned();
        let answers = call_all(&[Request { tool, arguments: call["arguments"].to_string() }]);
        told.extend(answers.into_iter().map(|answer| match answer {
            Ok(success) => format!("got {}", success.json()),
            Err(error) => format!("refused {error}"),
        }));
    }
    if task.prompt == "fail" { Err(Error::failed(told.join("; "))) } else { Ok(told) }
}

vespiary_sdk::agent_plugin!(writer);
