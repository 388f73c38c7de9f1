//! What can be called: the bundled plugins, and components a person named on the command line. A name belongs to one plugin
//! only, and a bundled name can never be taken over.

pub mod bundled;
pub mod local;
mod program;
pub mod renew;

use crate::exit::Trouble;
use crate::servers::ProjectServers;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vespiary_kernel::ids::{Digest, PluginName, ToolName};
use vespiary_kernel::plugin::{Kind, Plugin};
use vespiary_kernel::ports::Catalog;

/// Where a component came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Built into this program.
    Bundled,
    /// A file named by a person.
    File(PathBuf),
    /// A server that a project configures, in this file.
    Server(PathBuf),
}

/// One plugin with its component.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The checked manifest, bound to the component.
    pub plugin: Arc<Plugin>,
    /// Where it came from.
    pub origin: Origin,
    /// SHA-256 of the manifest's text, where it was read from a file.
    manifest: Option<Digest>,
    component: Cow<'static, [u8]>,
}

impl Entry {
    /// What identifies a plugin from a file: its component and all that its manifest says.
    pub fn form(&self) -> Option<Digest> {
        let manifest = self.manifest?;
        Some(Digest::of(&[self.plugin.digest.as_bytes().as_slice(), manifest.as_bytes().as_slice()].concat()))
    }

    /// The component's length in bytes.
    pub fn component_bytes(&self) -> usize {
        self.component.len()
    }

    /// Whether the component is the one its digest names. Reads all of it.
    pub fn is_intact(&self) -> bool {
        Digest::of(&self.component) == self.plugin.digest
    }
}

/// The catalog of one invocation.
#[derive(Debug, Clone, Default)]
pub struct Shelf {
    entries: BTreeMap<PluginName, Entry>,
    by_digest: HashMap<Digest, PluginName>,
    servers: Arc<ProjectServers>,
}

impl Shelf {
    /// The bundled plugins and nothing else.
    pub fn bundled() -> Result<Self, Trouble> {
        let mut shelf = Self::default();
        for entry in bundled::entries()? {
            shelf.put(entry)?;
        }
        shelf.put(program::programs()?)?;
        Ok(shelf)
    }

    /// Add the plugin that asks models.
    pub fn with_models(mut self) -> Result<Self, Trouble> {
        self.put(program::models()?)?;
        Ok(self)
    }

    /// Add the MCP servers that the project at `root` configures. What is wrong in its files is told where somebody asks for one.
    pub fn with_servers(mut self, root: &Path) -> Result<Self, Trouble> {
        let servers = ProjectServers::read(root, |name| self.entry(name).is_some());
        for server in servers.iter() {
            let origin = Origin::Server(PathBuf::from(&*server.file));
            let plugin = Arc::new(servers.plugin(&server.config));
            self.put(Entry { plugin, origin, manifest: None, component: Cow::Borrowed(&[]) })?;
        }
        self.servers = Arc::new(servers);
        Ok(self)
    }

    /// Let the tools of this server be listed although nothing of it is trusted: a person is about to decide.
    pub fn looking_at(mut self, server: PluginName) -> Self {
        Arc::make_mut(&mut self.servers).looked_at = Some(server);
        self
    }

    /// All but what was read from files of components.
    pub fn without_files(&self) -> Self {
        let stays = |entry: &Entry| !matches!(entry.origin, Origin::File(_));
        let kept = self.entries.iter().filter(|(_, entry)| stays(entry));
        let entries: BTreeMap<_, _> = kept.map(|(name, entry)| (name.clone(), entry.clone())).collect();
        let by_digest = entries.iter().map(|(name, entry)| (entry.plugin.digest, name.clone())).collect();
        Self { entries, by_digest, servers: Arc::clone(&self.servers) }
    }

    /// The MCP servers among them.
    pub fn servers(&self) -> &ProjectServers {
        &self.servers
    }

    /// Put the component at `path` on the shelf, and say what its name is.
    pub fn load(&mut self, path: &Path) -> Result<PluginName, Trouble> {
        let entry = local::load(path)?;
        let name = entry.plugin.name.clone();
        self.put(entry)?;
        Ok(name)
    }

    fn put(&mut self, entry: Entry) -> Result<(), Trouble> {
        let name = entry.plugin.name.clone();
        if let Some(taken) = self.entries.get(&name) {
            let by = match &taken.origin {
                Origin::Bundled => "a bundled plugin".to_owned(),
                Origin::File(path) | Origin::Server(path) => path.display().to_string(),
            };
            return Err(Trouble::usage(
                format!("the plugin {name} cannot be added"),
                format!("the name is taken by {by}"),
                "give it another name in its plugin.toml",
            ));
        }
        self.by_digest.insert(entry.plugin.digest, name.clone());
        self.entries.insert(name, entry);
        Ok(())
    }

    /// The plugins, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// The plugin called `name`.
    pub fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.values().find(|entry| entry.plugin.name.as_str() == name)
    }

    /// The plugin that runs workflow scripts.
    pub fn engine(&self) -> Result<&Entry, Trouble> {
        self.iter().find(|entry| entry.plugin.kind == Kind::Engine && entry.origin == Origin::Bundled).ok_or_else(
            || {
                Trouble::failed(
                    "scripts cannot be run",
                    "no script engine is built into this program",
                    "build Vespiary from a complete source tree",
                )
            },
        )
    }
}

impl Catalog for Shelf {
    fn find(&self, tool: &ToolName) -> Option<Arc<Plugin>> {
        self.entry(tool.plugin()).map(|entry| Arc::clone(&entry.plugin))
    }

    fn component(&self, digest: &Digest) -> Option<Cow<'static, [u8]>> {
        let name = self.by_digest.get(digest)?;
        self.entries.get(name).map(|entry| entry.component.clone())
    }

    fn names(&self) -> Vec<String> {
        self.iter().filter(|entry| entry.plugin.kind != Kind::Engine).map(|e| e.plugin.name.to_string()).collect()
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests set up what they look at")]
mod tests {
    use super::*;

    #[test]
    fn every_bundled_component_is_what_its_pin_says() {
        let shelf = Shelf::bundled().unwrap();
        for entry in shelf.iter() {
            assert!(entry.is_intact(), "{}", entry.plugin.name);
            let is_component = entry.component.starts_with(b"\0asm");
            assert_eq!(is_component, entry.plugin.kind.is_component(), "{}", entry.plugin.name);
        }
        for name in ["files", "search", "git", "secrets", "deps"] {
            assert!(shelf.entry(name).is_some(), "{name} is not bundled");
        }
        assert!(shelf.engine().is_ok());
    }

    #[test]
    fn a_bundled_name_cannot_be_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("x.wasm"), b"\0asm\x0d\0\x01\0").unwrap();
        let manifest = |name: &str| format!("name='{name}'\nversion='1'\nkind='tools'\ndescription='d'\n");
        std::fs::write(dir.path().join("plugin.toml"), manifest("files")).unwrap();
        let mut shelf = Shelf::bundled().unwrap();
        let trouble = shelf.load(&dir.path().join("x.wasm")).unwrap_err();
        assert!(trouble.why.contains("a bundled plugin"), "{trouble:?}");
        std::fs::write(dir.path().join("plugin.toml"), manifest("mine")).unwrap();
        assert_eq!(shelf.load(&dir.path().join("x.wasm")).unwrap().as_str(), "mine");
        assert!(shelf.find(&"mine.x".parse().unwrap()).is_some());
        assert!(shelf.load(&dir.path().join("x.wasm")).is_err(), "the same name twice");
    }
}
