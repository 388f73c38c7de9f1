//! The MCP servers of others that a project configures: in `.mcp.json`, which it shares with other clients, and in `vespiary.toml`;
//! and what of them is trusted, in `vespiary.lock`. All three came with the project. That they are there starts nothing: a call needs
//! a person's grant for the server's tool and for all that the server needs, and a pin.

mod draft;
pub mod file;
pub mod launch;
mod shared;
mod sheet;

use crate::exit::Trouble;
use crate::policy::fault::Fault;
use std::path::Path;
use std::sync::Arc;
use vespiary_kernel::ids::{Digest, PluginName};
use vespiary_kernel::json::Json;
use vespiary_kernel::plugin::Plugin;
use vespiary_mcp::config::ServerConfig;
use vespiary_mcp::lock::Lock;
use vespiary_mcp::pin::Pin;

/// The servers that are read of one project.
const SERVERS_MAX: usize = 64;

/// One server, and where it is configured.
#[derive(Debug, Clone)]
pub struct Configured {
    /// What is configured.
    pub config: ServerConfig,
    /// The file.
    pub file: Arc<str>,
    /// The line.
    pub line: u32,
}

/// Everything a project says of servers.
#[derive(Debug, Clone, Default)]
pub struct ProjectServers {
    all: Vec<Configured>,
    lock: Lock,
    /// What is wrong in its files. A server in which something is wrong is none; the others can be called.
    pub faults: Vec<Fault>,
    /// The one that a person is about to decide on.
    pub looked_at: Option<PluginName>,
}

/// What stands between a server and a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It is trusted as it is configured. What it says of its tools, the next call will see.
    Pinned,
    /// It is configured otherwise than it was trusted.
    Changed,
    /// Nobody has trusted it.
    NotPinned,
}

impl State {
    /// For people and programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pinned => "pinned",
            Self::Changed => "changed",
            Self::NotPinned => "not pinned",
        }
    }
}

/// A tool of a server, as it was trusted.
#[derive(Debug, Clone)]
pub struct PinnedTool<'a> {
    /// The server.
    pub server: &'a PluginName,
    /// The tool's own name: `tool` in a call of `SERVER.run`.
    pub name: &'a str,
    /// `{name, title, description, inputSchema, outputSchema, annotations}`, as far as the server gave them.
    pub description: &'a Json,
}

impl ProjectServers {
    /// Read a project's files. `taken` are names that servers cannot have.
    pub fn read(root: &Path, taken: impl Fn(&str) -> bool) -> Self {
        let mut all: Vec<Configured> = Vec::new();
        let mut faults = Vec::new();
        type Reader = fn(&str, &Arc<str>, &Path) -> (Vec<(ServerConfig, u32)>, Vec<Fault>);
        for (name, read) in [(file::SHARED, shared::read as Reader), (file::OWN, sheet::read)] {
            let path = root.join(name);
            let file: Arc<str> = path.to_string_lossy().into();
            match file::text(&path) {
                Ok(None) => {}
                Ok(Some(text)) => {
                    let (found, wrong) = read(&text, &file, root);
                    let found =
                        found.into_iter().map(|(config, line)| Configured { config, file: Arc::clone(&file), line });
                    all.extend(found);
                    faults.extend(wrong);
                }
                Err(error) => {
                    faults.push(Fault::of_file(file, format!("it cannot be read: {error}"), "make it a text file"))
                }
            }
        }
        let at = |server: &Configured, what: String, next: &str| Fault {
            line: server.line,
            ..Fault::of_file(Arc::clone(&server.file), what, next)
        };
        let (mut kept, mut twice): (Vec<Configured>, Vec<PluginName>) = (Vec::new(), Vec::new());
        for server in all {
            let name = &server.config.name;
            if taken(name.as_str()) {
                let what = format!("the server {name} has the name of a plugin that is here already");
                faults.push(at(&server, what, "rename the server"));
            } else if let Some(other) = kept.iter().find(|other| other.config.name == *name) {
                let what = format!("the server {name} is configured in {}, line {}, too", other.file, other.line);
                faults.push(at(&server, what, "keep one of the two; until then neither is used"));
                twice.push(name.clone());
            } else if kept.len() == SERVERS_MAX {
                let what = format!("there are more than {SERVERS_MAX} servers");
                faults.push(at(&server, what, "remove some"));
                break;
            } else {
                kept.push(server);
            }
        }
        kept.retain(|server| !twice.contains(&server.config.name));
        let lock = match file::lock(root) {
            Ok(lock) => lock,
            Err(fault) => {
                faults.push(fault);
                Lock::default()
            }
        };
        kept.sort_by(|a, b| a.config.name.cmp(&b.config.name));
        Self { all: kept, lock, faults, looked_at: None }
    }

    /// The servers, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Configured> {
        self.all.iter()
    }

    /// The server of that name.
    ///
    /// # Errors
    /// Where there is none, with the faults that may be the reason.
    pub fn find(&self, name: &str) -> Result<&Configured, Trouble> {
        self.all.iter().find(|server| server.config.name.as_str() == name).ok_or_else(|| {
            let names: Vec<_> = self.all.iter().map(|server| server.config.name.to_string()).collect();
            let there = match names.is_empty() {
                true => "there are no servers".to_owned(),
                false => format!("there are {}", names.join(", ")),
            };
            let faults: String = self.faults.iter().map(|fault| format!("\n{fault}")).collect();
            let next = "configure it in .mcp.json or vespiary.toml of the project (--dir)";
            Trouble::usage(format!("there is no MCP server {name:?}"), format!("{there}{faults}"), next)
        })
    }

    /// What is trusted.
    pub fn lock(&self) -> &Lock {
        &self.lock
    }

    /// How a server stands.
    pub fn state(&self, server: &ServerConfig) -> State {
        match self.lock.pin(&server.name).map(|pin| pin.judge_config(server)) {
            None => State::NotPinned,
            Some(Ok(())) => State::Pinned,
            Some(Err(_)) => State::Changed,
        }
    }

    /// The plugin that stands for a server in the catalog.
    pub fn plugin(&self, server: &ServerConfig) -> Plugin {
        let digest = match self.lock.pin(&server.name) {
            Some(pin) => pin.digest(),
            None => Digest::of(server.rows().join("\n").as_bytes()),
        };
        server.plugin(digest)
    }

    /// Every tool of every server that is trusted as it is configured, as it was trusted. Asks nobody.
    pub fn pinned(&self) -> impl Iterator<Item = PinnedTool<'_>> {
        let trusted = self.all.iter().filter(|server| self.state(&server.config) == State::Pinned);
        let pins = trusted.filter_map(|server| Some((&server.config.name, self.lock.pin(&server.config.name)?)));
        pins.flat_map(|(server, pin): (&PluginName, &Pin)| {
            let tools = pin.tools.iter();
            tools.map(move |(name, tool)| PinnedTool { server, name, description: tool.json() })
        })
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests set up what they look at")]
mod tests {
    use super::*;

    fn project(files: &[(&str, &str)]) -> (tempfile::TempDir, ProjectServers) {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let servers = ProjectServers::read(dir.path(), |name| name == "files");
        (dir, servers)
    }

    #[test]
    fn a_name_belongs_to_one_server_only() {
        let own = "[mcp.servers.both]\ncommand = 'node'\n[mcp.servers.own]\ncommand = 'node'\n[mcp.servers.files]\ncommand = 'sh'\n";
        let shared = r#"{"mcpServers": {"both": {"command": "node"}, "shared": {"command": "node"}}}"#;
        let (_dir, servers) = project(&[(".mcp.json", shared), ("vespiary.toml", own)]);
        let names: Vec<_> = servers.iter().map(|server| server.config.name.to_string()).collect();
        assert_eq!(names, ["own", "shared"]);
        let faults: Vec<_> = servers.faults.iter().map(ToString::to_string).collect();
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(faults[0].contains("vespiary.toml:1") && faults[0].contains(".mcp.json, line 1, too"), "{faults:?}");
        assert!(faults[1].contains("name of a plugin"), "{faults:?}");
        assert!(servers.find("both").unwrap_err().why.contains("neither is used"));
    }

    #[test]
    fn a_project_without_files_has_no_servers_and_no_faults() {
        let (_dir, servers) = project(&[]);
        assert!(servers.iter().next().is_none() && servers.faults.is_empty() && servers.pinned().next().is_none());
        assert!(servers.find("x").unwrap_err().why.contains("there are no servers"));
    }

    #[test]
    fn a_lock_that_was_edited_trusts_nothing_and_is_told() {
        let own = "[mcp.servers.own]\ncommand = 'node'\n";
        let (_dir, servers) = project(&[("vespiary.toml", own), ("vespiary.lock", "version = 7\n")]);
        assert_eq!(servers.state(&servers.find("own").unwrap().config), State::NotPinned);
        assert!(servers.faults[0].to_string().contains("vespiary.lock"), "{:?}", servers.faults);
    }
}
