//! A hostile agent. The prompt names the attack, one file of `attacks/` each, and the context its target; the answer tells
//! what each request came back with, so that a test can see both the refusal and that the agent went on.
#![cfg(target_family = "wasm")]
#![allow(missing_docs, unreachable_pub, reason = "each file says what it attacks; nobody imports them")]

use vespiary_sdk::dispatch::{Request, call_all};
use vespiary_sdk::prelude::*;

/// One line for each request, or why the agent gave up.
pub type Outcome = Result<Vec<String>>;

macro_rules! attacks {
    ($($name:ident),+ $(,)?) => {
        mod attacks { $(pub mod $name;)+ }

        fn attack(name: &str, context: &serde_json::Value) -> Outcome {
            match name {
                $(stringify!($name) => attacks::$name::attack(context),)+
                other => Err(Error::invalid(format!("no attack named {other:?}"))),
            }
        }
    };
}

attacks!(
    agent_calls_ungranted_tool,
    agent_widens_grant,
    agent_starts_agent,
    agent_starts_its_like,
    agent_forged_names,
    agent_confusable_names,
    agent_huge_name,
    agent_request_flood,
    agent_asks_on,
    agent_huge_request,
    agent_deep_request,
    agent_odd_arguments,
    agent_asks_the_same,
    agent_reads_outside,
    agent_borrows_a_guest,
    agent_looks_for_files,
    agent_spins,
    agent_answers_with_a_forgery,
);

/// Attacks the dispatcher in the way the prompt names.
#[agent]
fn hostile(task: Task<serde_json::Value>) -> Result<Vec<String>> {
    attack(&task.prompt, &task.context)
}

/// Ask for all of `requests` at once, and tell how each was answered.
pub fn told(requests: &[(&str, String)]) -> Vec<String> {
    let requests: Vec<_> = requests
        .iter()
        .map(|(tool, arguments)| Request { tool: (*tool).into(), arguments: arguments.clone() })
        .collect();
    call_all(&requests)
        .into_iter()
        .map(|answer| match answer {
            Ok(success) => format!("got {}", success.json()),
            Err(error) => format!("refused {error}"),
        })
        .collect()
}

vespiary_sdk::agent_plugin!(hostile);
