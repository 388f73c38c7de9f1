//! A catalog that outlives its files: a server's, which goes on while somebody builds a plugin anew. A plugin that has changed is
//! taken up if it declares no need that it did not have before; whatever wants more waits until a person starts the server again.

use super::{Entry, Shelf};
use crate::disk;
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use vespiary_kernel::ids::{Digest, ToolName};
use vespiary_kernel::plugin::Plugin;
use vespiary_kernel::ports::Catalog;

/// The shelf there is now, and the one that a person started with: what a plugin may need is measured by that one for ever.
#[derive(Debug)]
pub struct Renewable {
    first: Arc<Shelf>,
    now: RwLock<Arc<Shelf>>,
}

impl Renewable {
    /// Begin with `shelf`, which a person chose.
    pub fn new(shelf: Arc<Shelf>) -> Self {
        Self { first: Arc::clone(&shelf), now: RwLock::new(shelf) }
    }

    /// The shelf there is now. Calls that are under way keep the one they began with.
    pub fn now(&self) -> Arc<Shelf> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Read the plugins at `paths` again and take up those that changed. Gives whether any did, and what was not taken up, and why.
    pub fn renew(&self, paths: &[PathBuf], refuses: impl Fn(&Plugin) -> Option<String>) -> (bool, Vec<String>) {
        let (before, mut after, mut complaints) = (self.now(), self.first.without_files(), Vec::new());
        for path in paths {
            let mut with = after.clone();
            let name = match with.load(path) {
                Ok(name) => name,
                Err(trouble) => {
                    complaints.push(format!("{trouble}; it offers nothing until it can be read"));
                    continue;
                }
            };
            let Some(new) = with.entry(name.as_str()) else { continue };
            let old = self.first.iter().find(|entry| entry.origin == new.origin);
            if let Some(why) = refuses(&new.plugin) {
                complaints.push(format!("{} was not taken up: {why}", path.display()));
            } else if let Some(more) = wants_more(old.map(|old| &*old.plugin), &new.plugin) {
                complaints.push(format!(
                    "{} was not taken up: it now wants {more}; start the server again to let it",
                    path.display()
                ));
            } else {
                after = with;
            }
        }
        // A manifest alone can change, too: what it now allows less of must not stay in force.
        let changed = !before.iter().map(|entry| &entry.plugin).eq(after.iter().map(|entry| &entry.plugin));
        // A comment changes nothing that is offered, and is another file to whoever reads it anew.
        let forms = |shelf: &Shelf| -> Vec<_> { shelf.iter().map(Entry::form).collect() };
        if changed || forms(&before) != forms(&after) {
            *self.now.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(after);
        }
        (changed, complaints)
    }
}

/// What the changed plugin wants that the one a person started with did not: a need for the same tools, another name.
fn wants_more(old: Option<&Plugin>, new: &Plugin) -> Option<String> {
    let Some(old) = old else { return Some("to be known at all".into()) };
    if (&old.name, old.kind) != (&new.name, new.kind) {
        return Some(format!("to be {} where it was {}", new.name, old.name));
    }
    let had = |need: &vespiary_kernel::plugin::Need| {
        old.needs.iter().any(|held| {
            held.capability.covers(&need.capability)
                && (held.tools.is_empty()
                    || !need.tools.is_empty() && need.tools.iter().all(|tool| held.tools.contains(tool)))
        })
    };
    new.needs.iter().find(|need| !had(need)).map(|need| need.capability.to_string())
}

impl Catalog for Renewable {
    fn find(&self, tool: &ToolName) -> Option<Arc<Plugin>> {
        self.now().find(tool)
    }

    fn component(&self, digest: &Digest) -> Option<Cow<'static, [u8]>> {
        self.now().component(digest)
    }

    fn names(&self) -> Vec<String> {
        self.now().names()
    }
}

/// How the files of some plugins look from outside. Two that differ say that something was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look(Vec<Option<disk::Look>>);

impl Look {
    /// At the components at `paths` and their manifests.
    pub fn at(paths: &[PathBuf]) -> Self {
        let files = |path: &PathBuf| [path.clone(), path.with_extension("toml"), path.with_file_name("plugin.toml")];
        Self(paths.iter().flat_map(files).map(|path: PathBuf| disk::look(Path::new(&path))).collect())
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests set up what they look at")]
mod tests {
    use super::*;

    const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

    #[test]
    fn a_changed_plugin_is_taken_up_unless_it_wants_more() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mine.wasm");
        let write = |component: &[u8], needs: &str| {
            std::fs::write(&path, component).unwrap();
            let manifest = format!("name='mine'\nversion='1'\nkind='tools'\ndescription='d'\n{needs}");
            std::fs::write(dir.path().join("mine.toml"), manifest).unwrap();
        };
        let need = |capability: &str| format!("[[needs]]\ncapability='{capability}'\nreason='r'\n");
        write(COMPONENT, &need("read:."));
        let mut shelf = Shelf::bundled().unwrap();
        shelf.load(&path).unwrap();
        let renewable = Renewable::new(Arc::new(shelf));
        let paths = [path.clone()];
        let look = Look::at(&paths);
        assert_eq!(look, Look::at(&paths));
        assert!(!renewable.renew(&paths, |_| None).0);

        let changed = [COMPONENT, b"\0"].concat();
        write(&changed, &need("read:src"));
        assert_ne!(look, Look::at(&paths));
        assert_eq!(renewable.renew(&paths, |_| None), (true, Vec::new()));
        let digest = |renewable: &Renewable| renewable.find(&"mine.x".parse().unwrap()).map(|plugin| plugin.digest);
        assert_eq!(digest(&renewable), Some(Digest::of(&changed)));

        let needs = |renewable: &Renewable| -> Vec<String> {
            let plugin = renewable.find(&"mine.x".parse().unwrap()).unwrap();
            plugin.needs.iter().map(|need| need.capability.to_string()).collect()
        };
        write(&changed, "");
        assert_eq!(renewable.renew(&paths, |_| None), (true, Vec::new()), "the manifest alone");
        assert!(needs(&renewable).is_empty());
        let form = |renewable: &Renewable| renewable.now().entry("mine").unwrap().form();
        let before = form(&renewable);
        write(&changed, "# a comment\n");
        assert_eq!(renewable.renew(&paths, |_| None), (false, Vec::new()), "nothing that is offered");
        assert_ne!(form(&renewable), before, "the runs of a server read the file");
        write(&changed, &need("read:src"));
        assert!(renewable.renew(&paths, |_| None).0);
        assert_eq!(needs(&renewable), ["read:src"]);

        for more in ["read:/etc", "write:src", "net:*"] {
            write(COMPONENT, &need(more));
            let (gone, complaints) = renewable.renew(&paths, |_| None);
            assert!(complaints[0].contains(more) && complaints[0].contains("start the server again"), "{complaints:?}");
            // What it was, it is no longer; what it is, nobody has allowed, however often it is tried.
            assert!(digest(&renewable).is_none() && gone);
            assert_eq!(renewable.renew(&paths, |_| None).1, complaints);
            assert!(digest(&renewable).is_none());
            write(&changed, &need("read:src"));
            renewable.renew(&paths, |_| None);
        }
        let (changed, complaints) = renewable.renew(&paths, |_| Some("the policy says no".into()));
        assert!(changed && complaints[0].contains("the policy says no"));
        std::fs::remove_file(&path).unwrap();
        assert!(renewable.renew(&paths, |_| None).1[0].contains("cannot be loaded"));
    }
}
