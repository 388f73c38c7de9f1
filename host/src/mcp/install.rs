//! Entries for this server in the settings of MCP clients: where each client keeps them, and how one is put there with everything
//! else in the file left as it was. Text in, text out; reading and writing are the command's.

use crate::exit::Trouble;
use clap::ValueEnum;
use jsonc_parser::ParseOptions;
use jsonc_parser::cst::{CstInputValue, CstRootNode};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use toml_edit::{Array, DocumentMut, Item, Table, value};

/// A client whose settings are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum App {
    /// Claude Code.
    ClaudeCode,
    /// Cursor.
    Cursor,
    /// Visual Studio Code.
    Vscode,
    /// Codex.
    Codex,
}

/// For whom an entry holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Reach {
    /// Everybody who opens this project.
    Project,
    /// This user, in every project.
    User,
}

/// An entry: how the client starts the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The program.
    pub command: String,
    /// Its arguments.
    pub args: Vec<String>,
}

impl App {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::ClaudeCode, Self::Cursor, Self::Vscode, Self::Codex];

    /// Its name.
    pub fn title(self) -> &'static str {
        match self {
            Self::ClaudeCode => "Claude Code",
            Self::Cursor => "Cursor",
            Self::Vscode => "VS Code",
            Self::Codex => "Codex",
        }
    }

    /// The file that holds its entries, for a project at `root` or below the user's `home`; `config` is where that user's programs keep
    /// their settings.
    pub fn file(self, reach: Reach, root: &Path, home: &Path, config: &Path) -> PathBuf {
        match (self, reach) {
            (Self::ClaudeCode, Reach::Project) => root.join(".mcp.json"),
            (Self::ClaudeCode, Reach::User) => home.join(".claude.json"),
            (Self::Cursor, Reach::Project) => root.join(".cursor/mcp.json"),
            (Self::Cursor, Reach::User) => home.join(".cursor/mcp.json"),
            (Self::Vscode, Reach::Project) => root.join(".vscode/mcp.json"),
            (Self::Vscode, Reach::User) => config.join("Code/User/mcp.json"),
            (Self::Codex, Reach::Project) => root.join(".codex/config.toml"),
            (Self::Codex, Reach::User) => home.join(".codex/config.toml"),
        }
    }

    /// The word for the open project in its settings, where its servers are not started there anyway.
    pub fn project(self) -> Option<&'static str> {
        match self {
            Self::Cursor | Self::Vscode => Some("${workspaceFolder}"),
            Self::ClaudeCode | Self::Codex => None,
        }
    }

    /// The settings `text` with `entry` under `name`, in place of one that was there.
    ///
    /// # Errors
    /// The settings cannot be read; they are then better not written either.
    pub fn with(self, text: &str, name: &str, entry: &Entry) -> Result<String, Trouble> {
        match self.key() {
            Key::Json(key, typed) => in_json(text, key, name, &entry.to_json(typed)),
            Key::Toml(key) => in_toml(text, key, name, entry),
        }
    }

    /// The entry under `name` in the settings `text`; none where there is none that starts a program.
    ///
    /// # Errors
    /// The settings cannot be read.
    pub fn entry(self, text: &str, name: &str) -> Result<Option<Entry>, Trouble> {
        let found: Option<Value> = match self.key() {
            Key::Json(key, _) => {
                let root: Option<Value> =
                    jsonc_parser::parse_to_serde_value(text, &ParseOptions::default()).map_err(unreadable)?;
                root.and_then(|root| root.get(key)?.get(name).cloned())
            }
            Key::Toml(key) => {
                let root: toml::Table = toml::from_str(text).map_err(unreadable)?;
                let found = root.get(key).and_then(|servers| servers.get(name));
                found.map(|found| serde_json::to_value(found).unwrap_or_default())
            }
        };
        let Some(found) = found else { return Ok(None) };
        let Some(command) = found.get("command").and_then(Value::as_str) else { return Ok(None) };
        let args = found.get("args").and_then(Value::as_array).into_iter().flatten();
        let args = args.filter_map(|arg| arg.as_str().map(str::to_owned)).collect();
        Ok(Some(Entry { command: command.to_owned(), args }))
    }

    fn key(self) -> Key {
        match self {
            Self::ClaudeCode | Self::Cursor => Key::Json("mcpServers", false),
            Self::Vscode => Key::Json("servers", true),
            Self::Codex => Key::Toml("mcp_servers"),
        }
    }
}

/// Where entries stand in a file, and whether each says its type.
enum Key {
    Json(&'static str, bool),
    Toml(&'static str),
}

impl Entry {
    fn to_json(&self, typed: bool) -> Value {
        let mut members = Map::new();
        if typed {
            members.insert("type".into(), "stdio".into());
        }
        members.insert("command".into(), self.command.clone().into());
        members.insert("args".into(), json!(self.args));
        Value::Object(members)
    }
}

fn unreadable(error: impl std::fmt::Display) -> Trouble {
    Trouble::usage("the settings cannot be read", error, "correct the file, or put the entry there by hand")
}

fn in_json(text: &str, key: &str, name: &str, entry: &Value) -> Result<String, Trouble> {
    let text = if text.trim().is_empty() { "{}\n" } else { text };
    let root = CstRootNode::parse(text, &ParseOptions::default()).map_err(unreadable)?;
    let not_an_object = |what: &str| unreadable(format!("{what} is no object"));
    let object = root.object_value_or_create().ok_or_else(|| not_an_object("the file"))?;
    let servers = object.object_value_or_create(key).ok_or_else(|| not_an_object(key))?;
    match servers.get(name) {
        Some(there) => there.set_value(input(entry)),
        None => drop(servers.append(name, input(entry))),
    }
    let text = root.to_string();
    Ok(if text.ends_with('\n') { text } else { format!("{text}\n") })
}

fn input(value: &Value) -> CstInputValue {
    match value {
        Value::Null => CstInputValue::Null,
        Value::Bool(value) => CstInputValue::Bool(*value),
        Value::Number(number) => CstInputValue::Number(number.to_string()),
        Value::String(text) => CstInputValue::String(text.clone()),
        Value::Array(items) => CstInputValue::Array(items.iter().map(input).collect()),
        Value::Object(members) => {
            // The program before its arguments, as people write it.
            let order = ["type", "command", "args"];
            let known = order.iter().filter_map(|key| members.get_key_value(*key));
            let others = members.iter().filter(|(key, _)| !order.contains(&key.as_str()));
            CstInputValue::Object(known.chain(others).map(|(key, value)| (key.clone(), input(value))).collect())
        }
    }
}

fn in_toml(text: &str, key: &str, name: &str, entry: &Entry) -> Result<String, Trouble> {
    let mut document: DocumentMut = text.parse().map_err(unreadable)?;
    let servers = document.entry(key).or_insert_with(|| {
        let mut servers = Table::new();
        servers.set_implicit(true);
        Item::Table(servers)
    });
    let servers = servers.as_table_like_mut().ok_or_else(|| unreadable(format!("{key} is no table")))?;
    let mut table = Table::new();
    table["command"] = value(&entry.command);
    table["args"] = value(entry.args.iter().collect::<Array>());
    servers.insert(name, Item::Table(table));
    Ok(document.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry { command: "vespiary".into(), args: ["mcp", "--dir", "."].map(String::from).to_vec() }
    }

    #[test]
    fn an_entry_comes_into_an_empty_file_and_is_found_there() {
        for app in App::ALL {
            for empty in ["", "\n"] {
                let text = app.with(empty, "vespiary", &entry()).unwrap();
                assert_eq!(app.entry(&text, "vespiary").unwrap(), Some(entry()), "{text}");
                assert_eq!(app.entry(&text, "other").unwrap(), None);
                assert_eq!(app.with(&text, "vespiary", &entry()).unwrap(), text, "a second time changes nothing");
            }
        }
    }

    #[test]
    fn everything_else_stays_as_it_was() {
        let json = "{\n  // mine\n  \"mcpServers\": {\n    \"github\": { \"command\": \"gh\", \"args\": [] }, // do not touch\n  },\n  \"z\": 1.50\n}\n";
        let text = App::ClaudeCode.with(json, "vespiary", &entry()).unwrap();
        for part in ["// mine", "// do not touch", "\"github\": { \"command\": \"gh\", \"args\": [] }", "\"z\": 1.50"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let other = Entry { command: "/opt/vespiary".into(), ..entry() };
        let text = App::ClaudeCode.with(&text, "vespiary", &other).unwrap();
        assert_eq!(App::ClaudeCode.entry(&text, "vespiary").unwrap(), Some(other));
        assert_eq!(text.matches("vespiary\":").count(), 1);

        let toml = "# mine\nmodel = \"x\"\n\n[mcp_servers.github] # do not touch\ncommand = \"gh\"\n";
        let text = App::Codex.with(toml, "vespiary", &entry()).unwrap();
        assert!(text.starts_with(toml), "{text}");
        assert!(text.contains("[mcp_servers.vespiary]"), "{text}");
    }

    #[test]
    fn settings_that_cannot_be_read_are_not_written() {
        for (app, text) in [
            (App::ClaudeCode, "{ \"mcpServers\": "),
            (App::ClaudeCode, "[]"),
            (App::Vscode, "{ \"servers\": [] }"),
            (App::Codex, "mcp_servers = 1"),
            (App::Codex, "[["),
        ] {
            let trouble = app.with(text, "vespiary", &entry()).unwrap_err();
            assert!(trouble.next.contains("by hand"), "{text}: {trouble:?}");
        }
    }

    #[test]
    fn each_client_has_its_own_places() {
        let (root, home, config) = (Path::new("/p"), Path::new("/h"), Path::new("/h/.config"));
        let mut all: Vec<PathBuf> = App::ALL
            .iter()
            .flat_map(|app| [Reach::Project, Reach::User].map(|reach| app.file(reach, root, home, config)))
            .collect();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 8);
    }
}
