//! `vespiary.toml`, as far as it says which MCP servers a project has: read into servers, and everything in it that is wrong made a
//! fault with its place. Opens nothing.

use super::draft::Draft;
use crate::policy::fault::Fault;
use crate::policy::sheet::{Reading, Value};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use vespiary_mcp::config::{MEMORY_BYTES, REQUESTS_AT_ONCE, REQUESTS_PER_SECOND, ServerConfig};

const KEYS: [&str; 11] = [
    "command",
    "args",
    "env",
    "dir",
    "url",
    "headers",
    "needs",
    "quota",
    "requests-per-second-max",
    "requests-at-once-max",
    "memory-bytes-max",
];

/// The servers that `text` describes, with the line of each, and what is wrong. A server in which anything is wrong is none.
pub(super) fn read(text: &str, file: &Arc<str>, root: &Path) -> (Vec<(ServerConfig, u32)>, Vec<Fault>) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (table, broken) = DeTable::parse_recoverable(text);
    let mut reading = Reading::of(text, file);
    let mut servers = Vec::new();
    if broken.is_empty() {
        of_top(table.get_ref(), root, &mut reading, &mut servers);
    }
    for error in &broken {
        reading.fault(&error.span().unwrap_or(0..0), format!("this is not TOML: {}", error.message()), "correct it");
    }
    (servers, reading.into_faults())
}

fn of_top(table: &DeTable<'_>, root: &Path, reading: &mut Reading<'_>, servers: &mut Vec<(ServerConfig, u32)>) {
    for (key, value) in table.iter() {
        match (key.get_ref().as_ref(), value.get_ref().as_table()) {
            ("mcp", Some(table)) => of_mcp(table, root, reading, servers),
            ("mcp", None) => reading.sort(value, "mcp", "a table", "[mcp.servers.NAME]"),
            (other, _) => reading.unknown(&key.span(), other, "vespiary.toml", &["mcp"]),
        }
    }
}

fn of_mcp(table: &DeTable<'_>, root: &Path, reading: &mut Reading<'_>, servers: &mut Vec<(ServerConfig, u32)>) {
    for (key, value) in table.iter() {
        match (key.get_ref().as_ref(), value.get_ref().as_table()) {
            ("servers", Some(all)) => {
                for (name, value) in all.iter() {
                    let Some(table) = value.get_ref().as_table() else {
                        reading.sort(value, name.get_ref(), "a table", "[mcp.servers.NAME]");
                        continue;
                    };
                    let line = reading.place(&name.span()).line;
                    servers.extend(of_server(name, table, root, reading).map(|server| (server, line)));
                }
            }
            ("servers", None) => reading.sort(value, "mcp.servers", "a table", "[mcp.servers.NAME]"),
            (other, _) => reading.unknown(&key.span(), other, "mcp", &["servers"]),
        }
    }
}

type Key<'i> = Spanned<std::borrow::Cow<'i, str>>;

fn of_server(name: &Key<'_>, table: &DeTable<'_>, root: &Path, reading: &mut Reading<'_>) -> Option<ServerConfig> {
    let mut draft = Draft::default();
    let before = reading.fault_count();
    for (key, value) in table.iter() {
        let name = key.get_ref().as_ref();
        // What could not be read was told, and that is enough to make it no server.
        let _: Option<()> = match name {
            "command" => one(reading, value, name, "command = \"node\"").map(|text| draft.command = Some(text)),
            "url" => one(reading, value, name, "url = \"https://HOST/PATH\"").map(|text| draft.url = Some(text)),
            "dir" => one(reading, value, name, "dir = \"tools\"").map(|text| draft.dir = Some(text)),
            "args" => list(reading, value, name, "args = [\"server.js\"]").map(|texts| draft.args = texts),
            "needs" => list(reading, value, name, "needs = [\"read:server.js\"]").map(|texts| draft.needs = texts),
            "env" => map(reading, value, name, "env = { NAME = \"value\" }").map(|texts| draft.env = texts),
            "headers" => map(reading, value, name, "headers = { Authorization = \"Bearer ${TOKEN}\" }")
                .map(|t| draft.headers = t),
            "requests-per-second-max" => {
                let most = reading.number(value, name, 1, REQUESTS_PER_SECOND.1.into());
                most.map(|most| draft.requests_per_second_max = Some(most))
            }
            "requests-at-once-max" => {
                let most = reading.number(value, name, 1, REQUESTS_AT_ONCE.1.into());
                most.map(|most| draft.requests_at_once_max = Some(most))
            }
            "memory-bytes-max" => {
                let most = reading.number(value, name, MEMORY_BYTES.1, MEMORY_BYTES.2);
                most.map(|most| draft.memory_bytes_max = Some(most))
            }
            "quota" => match value.get_ref().as_table() {
                Some(limits) => {
                    draft.quota = reading.quota_of_call(limits, "quota");
                    Some(())
                }
                None => {
                    reading.sort(value, name, "a table", "quota = { wall-time-ms-max = 60000 }");
                    None
                }
            },
            other => {
                reading.unknown(&key.span(), other, "a server", &KEYS);
                None
            }
        };
    }
    match draft.build(name.get_ref(), root) {
        Ok(server) => (reading.fault_count() == before).then_some(server),
        Err(wrongs) => {
            for wrong in wrongs {
                let span: Range<usize> = table.get(wrong.key).map_or_else(|| name.span(), Spanned::span);
                reading.fault(&span, wrong.what, wrong.next);
            }
            None
        }
    }
}

fn one(reading: &mut Reading<'_>, value: Value<'_, '_>, name: &str, example: &str) -> Option<String> {
    let text = value.get_ref().as_str().map(str::to_owned);
    if text.is_none() {
        reading.sort(value, name, "text", example);
    }
    text
}

fn list(reading: &mut Reading<'_>, value: Value<'_, '_>, name: &str, example: &str) -> Option<Vec<String>> {
    let Some(entries) = value.get_ref().as_array() else {
        reading.sort(value, name, "a list of texts", example);
        return None;
    };
    entries.iter().map(|entry| one(reading, entry, &format!("an entry of {name}"), example)).collect()
}

fn map(reading: &mut Reading<'_>, value: Value<'_, '_>, name: &str, example: &str) -> Option<Vec<(String, String)>> {
    let DeValue::Table(entries) = value.get_ref() else {
        reading.sort(value, name, "a table of texts", example);
        return None;
    };
    let read = entries.iter().map(|(key, value)| {
        let text = one(reading, value, &format!("{name}.{}", key.get_ref()), example)?;
        Some((key.get_ref().to_string(), text))
    });
    read.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        let (servers, faults) = read(text, &"vespiary.toml".into(), Path::new("/p"));
        assert!(servers.is_empty() || faults.is_empty() || text.contains("good"), "{text}");
        faults.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn servers_are_read_with_their_lines() {
        let text = "[mcp.servers.one]\ncommand = 'node'\nargs = ['a']\nneeds = ['read:a']\nquota = { idle-time-ms-max = 9 }\n\
                    [mcp.servers.two]\nurl = 'https://two.example/mcp'\nheaders = { X = '${V}' }\nrequests-per-second-max = 2\n";
        let (servers, faults) = read(text, &"vespiary.toml".into(), Path::new("/p"));
        assert_eq!(faults, []);
        let found: Vec<_> = servers.iter().map(|(server, line)| (server.name.as_str(), *line)).collect();
        assert_eq!(found, [("one", 1), ("two", 6)]);
        assert_eq!(servers[1].0.requests_per_second_max, 2);
    }

    #[test]
    fn a_slip_is_told_with_its_line_and_what_was_meant() {
        for (text, parts) in [
            ("[mcp.servers.s]\ncomand = 'node'\n", &["vespiary.toml:2", "did you mean \"command\"?"][..]),
            ("[mcp.server.s]\ncommand = 'node'\n", &[":1", "did you mean \"servers\"?"]),
            ("[mcq.servers.s]\n", &["did you mean \"mcp\"?"]),
            ("[mcp.servers.s]\ncommand = 'node'\nargs = 'a'\n", &[":3", "must be a list of texts"]),
            ("[mcp.servers.s]\ncommand = 'node'\nenv = { A = 1 }\n", &[":3", "env.A is a whole number"]),
            ("[mcp.servers.s]\ncommand = 'node'\n\nneeds = ['exec:sh']\n", &[":4", "cannot need exec:sh"]),
            ("[mcp.servers.s]\ncommand = 'node'\nrequests-per-second-max = 0\n", &[":3", "between 1 and 1000"]),
            (
                "[mcp.servers.s]\nurl = 'https://a.example'\nquota = { wall-time-max = 1 }\n",
                &["did you mean \"wall-time-ms-max\"?"],
            ),
            ("[mcp.servers.'A B']\ncommand = 'node'\n", &[":1", "rename the server"]),
            ("[mcp.servers.s\n", &["not TOML"]),
        ] {
            let all = faults(text).join("\n");
            for part in parts {
                assert!(all.contains(part), "{text}\n{all} does not say {part}");
            }
        }
    }

    #[test]
    fn one_that_is_wrong_leaves_the_others() {
        let (servers, faults) = read(
            "[mcp.servers.bad]\ncommand = './x'\n[mcp.servers.good]\ncommand = 'node'\n",
            &"f".into(),
            Path::new("/p"),
        );
        assert_eq!((servers.len(), faults.len()), (1, 1));
    }
}
