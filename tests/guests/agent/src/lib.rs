//! A hostile agent. The prompt names the attack, the context its target; the answer tells what each request came back with,
//! so that a test can see both the refusal and that the agent went on.
#![cfg(target_family = "wasm")]
#![allow(missing_docs, reason = "nobody imports it")]

use vespiary_sdk::dispatch::{Request, call_all};
use vespiary_sdk::prelude::*;

/// Attacks the dispatcher: agent_calls_ungranted_tool, agent_widens_grant, agent_starts_agent, agent_forged_names,
/// agent_request_flood, agent_looks_for_files, agent_spins.
#[agent]
fn hostile(task: Task<serde_json::Value>) -> Result<Vec<String>> {
    let path = task.context["path"].as_str().unwrap_or("secret.txt");
    let read = serde_json::json!({ "path": path });
    match task.prompt.as_str() {
        "agent_calls_ungranted_tool" => told(&[("search.grep", r#"{"pattern":"x"}"#.into())]),
        "agent_widens_grant" => {
            told(&[("files.write", serde_json::json!({ "path": path, "text": "owned" }).to_string())])
        }
        "agent_starts_agent" => told(&[("hostile-agent.run", r#"{"prompt":"agent_spins","context":null}"#.into())]),
        "agent_forged_names" => told(&[
            ("files.read\0", read.to_string()),
            ("FILES.READ", read.to_string()),
            ("../files.read", read.to_string()),
            ("engine.run", "{}".into()),
            ("files.read", "{\"path\":".into()),
        ]),
        "agent_request_flood" => {
            let request = Request { tool: "files.read".into(), arguments: read.to_string() };
            let mut answered = 0u32;
            loop {
                for answer in call_all(&vec![request.clone(); 1000]) {
                    if let Err(vespiary_sdk::Error::Limit(hit)) = answer {
                        return Err(vespiary_sdk::Error::Limit(hit));
                    }
                    answered += 1;
                }
                if answered > 10_000_000 {
                    return Ok(vec!["nobody stopped me".into()]);
                }
            }
        }
        "agent_looks_for_files" => {
            Ok(wasip2::filesystem::preopens::get_directories().into_iter().map(|(_, name)| name).collect())
        }
        "agent_spins" => loop {
            std::hint::black_box(());
        },
        other => Err(Error::invalid(format!("no attack named {other:?}"))),
    }
}

fn told(requests: &[(&str, String)]) -> Result<Vec<String>> {
    let requests: Vec<_> = requests
        .iter()
        .map(|(tool, arguments)| Request { tool: (*tool).into(), arguments: arguments.clone() })
        .collect();
    Ok(call_all(&requests)
        .into_iter()
        .map(|answer| match answer {
            Ok(success) => format!("got {}", success.json()),
            Err(error) => format!("refused {error}"),
        })
        .collect())
}

vespiary_sdk::agent_plugin!(hostile);
