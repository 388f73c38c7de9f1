//! `.mcp.json`, the file that a project shares with other clients: read into servers. What others keep in it beside that is
//! none of our business and left alone; what we cannot use is a fault with its place. Opens nothing.

use super::draft::Draft;
use crate::policy::fault::{Fault, Lines};
use serde_json::{Map, Value};
use std::path::Path;
use std::sync::Arc;
use vespiary_mcp::config::ServerConfig;

/// The servers that `text` describes, with the line of each, and what is wrong. A server in which anything is wrong is none.
pub(super) fn read(text: &str, file: &Arc<str>, root: &Path) -> (Vec<(ServerConfig, u32)>, Vec<Fault>) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = Lines::of(text);
    let fault = |line: u32, column: u32, what: String, next: &str| Fault {
        line,
        column,
        ..Fault::of_file(Arc::clone(file), what, next)
    };
    let value: Value = match serde_json::from_str(text) {
        Ok(value) => value,
        Err(error) => {
            let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
            let (line, column) = (number(error.line()), number(error.column()));
            return (Vec::new(), vec![fault(line, column, format!("this is not JSON: {error}"), "correct it")]);
        }
    };
    const SHAPE: &str = r#"write {"mcpServers": {"NAME": {"command": "PROGRAM", "args": []}}}"#;
    let all = match value.get("mcpServers") {
        Some(Value::Object(all)) => all,
        Some(_) => return (Vec::new(), vec![fault(0, 0, "mcpServers is no object".into(), SHAPE)]),
        // A file of others, in which there is nothing for us.
        None if value.is_object() => return (Vec::new(), Vec::new()),
        None => return (Vec::new(), vec![fault(0, 0, "this is no object".into(), SHAPE)]),
    };
    let (mut servers, mut faults) = (Vec::new(), Vec::new());
    for (name, value) in all {
        let quoted = Value::String(name.clone()).to_string();
        let (line, column) = text.find(&quoted).map_or((0, 0), |at| lines.place(at));
        let Value::Object(members) = value else {
            faults.push(fault(line, column, format!("the server {name} is no object"), SHAPE));
            continue;
        };
        let built = draft(members).and_then(|draft| {
            draft.build(name, root).map_err(|wrongs| {
                wrongs.into_iter().map(|wrong| (format!("the server {name}: {}", wrong.what), wrong.next)).collect()
            })
        });
        match built {
            Ok(server) => servers.push((server, line)),
            Err(wrongs) => faults.extend(wrongs.into_iter().map(|(what, next)| fault(line, column, what, &next))),
        }
    }
    (servers, faults)
}

/// What is said of a server, or everything that is wrong and what to do.
fn draft(members: &Map<String, Value>) -> Result<Draft, Vec<(String, String)>> {
    let mut wrongs = Vec::new();
    let mut say = |what: String, next: &str| wrongs.push((what, next.to_owned()));
    let mut text = |name: &str| match members.get(name) {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text.clone()),
        Some(_) => {
            say(format!("{name} is not text"), "write it in quotes");
            None
        }
    };
    let (command, url, dir, sort) = (text("command"), text("url"), text("cwd"), text("type"));
    let args = match members.get("args") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(all)) if all.iter().all(Value::is_string) => {
            all.iter().filter_map(|arg| Some(arg.as_str()?.to_owned())).collect()
        }
        Some(_) => {
            say("args is not a list of texts".into(), r#"write "args": ["server.js"]"#);
            Vec::new()
        }
    };
    let mut map = |name: &str| match members.get(name) {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Object(all)) if all.values().all(Value::is_string) => {
            all.iter().filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
        }
        Some(_) => {
            say(format!("{name} is not an object of texts"), "write each value in quotes");
            Vec::new()
        }
    };
    let (env, headers) = (map("env"), map("headers"));
    match sort.as_deref() {
        None | Some("stdio" | "http" | "streamable-http" | "streamableHttp") => {}
        Some("sse") => say(
            "it speaks the old transport of two addresses (\"sse\"), which is not spoken here".into(),
            "use the server's address for streamable HTTP, with \"type\": \"http\"",
        ),
        Some(other) => {
            say(format!("its type is {other:?}"), "write \"type\": \"stdio\" or \"type\": \"http\"");
        }
    }
    if wrongs.is_empty() {
        Ok(Draft { command, args, env, dir, url, headers, ..Draft::default() })
    } else {
        Err(wrongs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> (Vec<(ServerConfig, u32)>, Vec<Fault>) {
        read(text, &".mcp.json".into(), Path::new("/p"))
    }

    #[test]
    fn what_other_clients_write_is_read() {
        let text = r#"{
  "inputs": [],
  "mcpServers": {
    "one": { "type": "stdio", "command": "node", "args": ["a.js"], "env": { "T": "${T}" }, "disabled": false },
    "two": { "type": "http", "url": "https://two.example/mcp", "headers": { "Authorization": "Bearer ${T}" } }
  }
}"#;
        let (servers, faults) = of(text);
        assert_eq!(faults, []);
        let found: Vec<_> = servers.iter().map(|(server, line)| (server.name.as_str(), *line)).collect();
        assert_eq!(found, [("one", 4), ("two", 5)]);
        assert_eq!(of("{}"), (vec![], vec![]));
    }

    #[test]
    fn what_cannot_be_used_is_told() {
        for (text, parts) in [
            ("{", &["not JSON"][..]),
            ("[]", &["no object"]),
            (r#"{"mcpServers": []}"#, &["no object"]),
            ("{\"mcpServers\": {\n\"a\": 1}}", &[".mcp.json:2", "no object"]),
            (
                "{\"mcpServers\": {\n\"a\": {\"type\": \"sse\", \"url\": \"https://a.example\"}}}",
                &[":2", "not spoken here"],
            ),
            (r#"{"mcpServers": {"a": {"type": "websocket", "url": "https://a.example"}}}"#, &["\"websocket\""]),
            (r#"{"mcpServers": {"a": {"command": "node", "args": "x"}}}"#, &["list of texts"]),
            (r#"{"mcpServers": {"a": {"command": "node", "env": {"N": 1}}}}"#, &["object of texts"]),
            (r#"{"mcpServers": {"Big Name": {"command": "node"}}}"#, &["rename the server"]),
        ] {
            let (servers, faults) = of(text);
            let all: String = faults.iter().map(ToString::to_string).collect();
            assert!(servers.is_empty() && parts.iter().all(|part| all.contains(part)), "{text}: {all}");
        }
    }
}
