//! A plugin as the kernel sees it: its manifest, checked, and the digest of its component. Never the component's bytes.

use crate::capability::Capability;
use crate::ids::{Digest, PluginName};
use crate::pool::CELL_BYTES_MAX;
use crate::quota::{Quota, QuotaRequest};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Needs a manifest may declare. Each call is judged by all of them.
const NEEDS_MAX: usize = 64;

/// Why a manifest was refused. Every fault found is listed, not only the first.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not TOML, or a key or value that does not belong there; the text has line and column.
    #[error("{0}")]
    Shape(#[from] toml::de::Error),
    /// Well-formed, and wrong.
    #[error("{}", .0.join("; "))]
    Faults(Vec<String>),
}

/// What sort of guest a component is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Offers tools (`tool-plugin` world).
    Tools,
    /// Is an agent (`agent-plugin` world).
    Agent,
    /// Runs workflow scripts (`script-engine` world).
    Engine,
    /// Runs host programs. Part of the host and no component; no manifest from outside can say so.
    Program,
    /// Asks a language model. Part of the host and no component; no manifest from outside can say so.
    Model,
    /// Speaks for one MCP server of somebody else's. Part of the host and no component; no manifest from outside can say so.
    Mcp,
}

impl Kind {
    /// Whether a component stands behind it; otherwise the host itself does.
    pub fn is_component(self) -> bool {
        !matches!(self, Self::Program | Self::Model | Self::Mcp)
    }
}

/// How a plugin came to be here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Built into this program and pinned with it.
    Bundled,
    /// Added by somebody.
    Added,
}

/// One thing the plugin declares it needs, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Need {
    /// The capability. `read:.` means: whatever part of the project the caller can read.
    pub capability: Capability,
    /// For the person who decides.
    pub reason: String,
    /// The tools that need it; all of them when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<String>,
    /// It works without: whatever part of it is held is used, and none is no reason to refuse.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
}

/// What the author says of a tool. A hint for people and models; nothing is permitted because of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Annotations {
    /// Changes nothing.
    pub read_only: bool,
    /// Calling it twice is the same as calling it once.
    pub idempotent: bool,
    /// Same arguments and same files give the same answer.
    pub deterministic: bool,
}

/// `plugin.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Unique in a catalog.
    pub name: PluginName,
    /// The plugin's own version.
    pub version: String,
    /// What sort of guest it is.
    pub kind: Kind,
    /// One or two sentences.
    pub description: String,
    /// What it needs.
    #[serde(default)]
    pub needs: Vec<Need>,
    /// Limits it would like in place of the defaults.
    #[serde(default)]
    pub quota: QuotaRequest,
    /// Annotations by tool name.
    #[serde(default)]
    pub tools: BTreeMap<String, Annotations>,
}

impl Manifest {
    /// Read and check the text of a `plugin.toml`.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        let manifest: Manifest = toml::from_str(text)?;
        let mut faults = Vec::new();
        if manifest.description.trim().is_empty() {
            faults.push("description is empty; say in a sentence what the plugin does".to_owned());
        }
        if manifest.needs.len() > NEEDS_MAX {
            faults.push(format!("there are {} needs, and may be {NEEDS_MAX}; name wider ones", manifest.needs.len()));
        }
        for need in &manifest.needs {
            if need.reason.trim().is_empty() {
                faults.push(format!("the need {} has no reason; say why the plugin needs it", need.capability));
            }
        }
        if manifest.kind == Kind::Engine && !manifest.needs.is_empty() {
            faults.push("an engine holds no capability; remove its needs".to_owned());
        }
        faults.extend(manifest.quota.faults());
        if manifest.kind != Kind::Program && manifest.quota.memory_bytes_max.is_some_and(|most| most > CELL_BYTES_MAX) {
            faults.push(format!("memory-bytes-max is more than the {CELL_BYTES_MAX} that a cell can have"));
        }
        if faults.is_empty() { Ok(manifest) } else { Err(ManifestError::Faults(faults)) }
    }
}

/// A plugin that can be called: a checked manifest bound to one component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plugin {
    /// Its name.
    pub name: PluginName,
    /// Its version.
    pub version: String,
    /// What sort of guest it is.
    pub kind: Kind,
    /// One or two sentences.
    pub description: String,
    /// SHA-256 of the component.
    pub digest: Digest,
    /// How it came to be here.
    pub trust: Trust,
    /// Its limits for one call.
    pub quota: Quota,
    /// Annotations by tool name.
    pub annotations: BTreeMap<String, Annotations>,
    /// What it needs.
    pub needs: Vec<Need>,
}

impl Plugin {
    /// Bind a manifest to the component whose digest is `digest`.
    pub fn new(manifest: Manifest, digest: Digest, trust: Trust) -> Result<Self, ManifestError> {
        let quota = manifest.quota.applied_to(&Quota::default()).map_err(ManifestError::Faults)?;
        Ok(Self {
            name: manifest.name,
            version: manifest.version,
            kind: manifest.kind,
            description: manifest.description,
            digest,
            trust,
            quota,
            annotations: manifest.tools,
            needs: manifest.needs,
        })
    }

    /// What the tool `local` needs.
    pub fn needs_of<'a>(&'a self, local: &'a str) -> impl Iterator<Item = &'a Need> {
        self.needs.iter().filter(move |need| need.tools.is_empty() || need.tools.iter().any(|t| t == local))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn plugin(manifest: &str) -> Plugin {
        Plugin::new(Manifest::parse(manifest).unwrap(), Digest::of(b"component"), Trust::Bundled).unwrap()
    }

    #[test]
    fn all_faults_are_reported_at_once() {
        let text = "name='x'\nversion='1'\nkind='engine'\ndescription=' '\n[[needs]]\ncapability='read:.'\nreason=''\n\
                    [quota]\nmemory-bytes-max = 1\n";
        let ManifestError::Faults(faults) = Manifest::parse(text).unwrap_err() else { panic!() };
        assert_eq!(faults.len(), 4, "{faults:?}");
    }

    /// Each call is judged by all of them, one against the other.
    #[test]
    fn a_manifest_that_asks_for_too_much_at_once_is_refused() {
        let manifest = |needs: usize| {
            let need = |n| format!("[[needs]]\ncapability='read:d{n}'\nreason='r'\n");
            let needs = (0..needs).map(need).collect::<String>();
            Manifest::parse(&format!("name='x'\nversion='1'\nkind='tools'\ndescription='d'\n{needs}"))
        };
        manifest(NEEDS_MAX).unwrap();
        let error = manifest(NEEDS_MAX + 1).unwrap_err().to_string();
        assert!(error.contains("65 needs") && error.contains("64"), "{error}");
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_place() {
        let error =
            Manifest::parse("name='x'\nversion='1'\nkind='tools'\ndescription='d'\nnetwork=true\n").unwrap_err();
        assert!(error.to_string().contains("line 5") && error.to_string().contains("network"), "{error}");
    }
}
