//! Which guests there are and what each needs to be built. What lives here: reading the workspace. What must never live
//! here: building.
#![allow(clippy::disallowed_methods, reason = "asks cargo about the workspace")]

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The workspace, as cargo tells it.
#[derive(Debug)]
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    /// Where guests are compiled, apart from the host so that neither waits for the other's lock.
    pub(crate) guest_target: PathBuf,
    /// In the order of their names.
    pub(crate) guests: Vec<Guest>,
}

/// One crate that becomes one component, or several where its examples are components too.
#[derive(Debug)]
pub(crate) struct Guest {
    pub(crate) package: String,
    /// Name of its folder, and of its component.
    pub(crate) name: String,
    /// Where its components are kept under version control.
    pub(crate) built: PathBuf,
    /// Each cdylib target.
    pub(crate) outputs: Vec<Output>,
    pub(crate) needs: Needs,
}

/// One cdylib target and the component it becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Output {
    pub(crate) target: String,
    pub(crate) component: String,
}

/// `[package.metadata.vespiary]` of a guest's Cargo.toml.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Needs {
    /// Name of the component, where it is not the folder's.
    name: Option<String>,
    /// Only `wasm32-unknown-unknown` is built: other targets bring the preview-1 adapter, and with it a slow start.
    target: Option<String>,
    /// C compiler, where a dependency is written in C.
    pub(crate) cc: Option<String>,
    /// Archiver that belongs to `cc`.
    pub(crate) ar: Option<String>,
    /// Flags for `cc`.
    pub(crate) cflags: Option<String>,
    /// The export to run before the snapshot; by default `describe` of the plugin's interface.
    pub(crate) init: Option<String>,
    /// `false` for a guest that is not to be snapshotted.
    pub(crate) snapshot: Option<bool>,
}

pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// Where guests live, below the workspace root.
const PLUGINS: &str = "plugins";
const HOSTILE: &str = "tests/guests";

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_root: PathBuf,
    target_directory: PathBuf,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
    targets: Vec<Target>,
    metadata: Option<PackageMetadata>,
}

#[derive(Deserialize)]
struct PackageMetadata {
    vespiary: Option<Needs>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
    crate_types: Vec<String>,
}

impl Workspace {
    pub(crate) fn find() -> Result<Self> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        // `cargo run` says where the crate lies now; the same program may have been built elsewhere.
        let here = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let output = Command::new(cargo)
            .args(["metadata", "--no-deps", "--format-version", "1"])
            .current_dir(&here)
            .output()
            .context("cannot run `cargo metadata`")?;
        ensure!(output.status.success(), "`cargo metadata` failed:\n{}", String::from_utf8_lossy(&output.stderr));
        let metadata = serde_json::from_slice(&output.stdout).context("a Cargo.toml of the workspace")?;
        Self::of(metadata)
    }

    fn of(metadata: Metadata) -> Result<Self> {
        let root = metadata.workspace_root;
        let mut guests = Vec::new();
        for package in metadata.packages {
            guests.extend(Guest::of(&root, package)?);
        }
        guests.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(Self { guest_target: metadata.target_directory.join("guests"), root, guests })
    }

    /// The guests named, or all of them.
    pub(crate) fn chosen(&self, names: &[String]) -> Result<Vec<&Guest>> {
        if names.is_empty() {
            return Ok(self.guests.iter().collect());
        }
        names.iter().map(|name| self.guest(name)).collect()
    }

    fn guest(&self, name: &str) -> Result<&Guest> {
        let known = || self.guests.iter().map(|guest| guest.name.as_str()).collect::<Vec<_>>().join(", ");
        let found = self.guests.iter().find(|guest| guest.name == name);
        found.with_context(|| format!("there is no guest `{name}`; there are: {}", known()))
    }
}

impl Guest {
    fn of(root: &Path, package: Package) -> Result<Option<Self>> {
        let folder = package.manifest_path.parent().unwrap_or(root);
        let place = folder.strip_prefix(root).unwrap_or(folder);
        let built = if place.parent() == Some(Path::new(PLUGINS)) {
            root.join(PLUGINS).join("built")
        } else if place.starts_with(HOSTILE) {
            root.join(HOSTILE).join("built")
        } else {
            return Ok(None);
        };
        let needs = package.metadata.and_then(|metadata| metadata.vespiary).unwrap_or_default();
        let folder_name = place.file_name().and_then(|name| name.to_str());
        let name = needs.name.clone().or_else(|| folder_name.map(str::to_owned));
        let name = name.with_context(|| format!("the folder {} has no UTF-8 name", place.display()))?;
        if let Some(target) = needs.target.as_deref().filter(|target| *target != TARGET) {
            bail!(
                "{name} asks for target {target}; guests are built for {TARGET} only: change {}",
                package.manifest_path.display()
            );
        }
        let cdylibs =
            package.targets.into_iter().filter(|target| target.crate_types.iter().any(|kind| kind == "cdylib"));
        let outputs: Vec<_> = cdylibs.map(|target| Output::of(target, &name)).collect();
        Ok((!outputs.is_empty()).then_some(Self { package: package.name, name, built, outputs, needs }))
    }
}

impl Output {
    /// The library becomes the guest's own component; an example becomes one of its own name.
    fn of(target: Target, guest: &str) -> Self {
        let is_example = target.kind.iter().any(|kind| kind == "example");
        let component = if is_example { target.name.replace('_', "-") } else { guest.to_owned() };
        Self { target: target.name, component }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn workspace(packages: serde_json::Value) -> Result<Workspace> {
        let metadata = json!({ "packages": packages, "workspace_root": "/w", "target_directory": "/w/target" });
        Workspace::of(serde_json::from_value(metadata).unwrap())
    }

    fn package(folder: &str, metadata: serde_json::Value, targets: serde_json::Value) -> serde_json::Value {
        json!({ "name": "p", "manifest_path": format!("/w/{folder}/Cargo.toml"), "targets": targets, "metadata": metadata })
    }

    fn cdylib(name: &str, kind: &str) -> serde_json::Value {
        json!({ "name": name, "kind": [kind], "crate_types": ["cdylib"] })
    }

    #[test]
    fn only_cdylibs_in_the_guests_places_are_guests() {
        let packages = json!([
            package("plugins/search", json!(null), json!([cdylib("vespiary_search", "cdylib")])),
            package("plugins/plain", json!(null), json!([{ "name": "x", "kind": ["lib"], "crate_types": ["lib"] }])),
            package("host/kernel", json!(null), json!([cdylib("odd", "cdylib")])),
            package(
                "tests/guests",
                json!({ "vespiary": { "name": "hostile" } }),
                json!([cdylib("spin_for_ever", "example")])
            ),
        ]);
        let workspace = workspace(packages).unwrap();
        let names: Vec<_> = workspace.guests.iter().map(|guest| guest.name.as_str()).collect();
        assert_eq!(names, ["hostile", "search"]);
        assert_eq!(workspace.guests[0].outputs[0].component, "spin-for-ever");
        assert_eq!(workspace.guests[0].built, Path::new("/w/tests/guests/built"));
        assert_eq!(workspace.guests[1].outputs[0].component, "search");
        assert_eq!(workspace.guests[1].built, Path::new("/w/plugins/built"));
    }

    #[test]
    fn needs_are_read_and_other_targets_refused() {
        let with = |needs| json!([package("plugins/e", json!({ "vespiary": needs }), json!([cdylib("e", "cdylib")]))]);
        let workspace_of = workspace(with(json!({ "cc": "clang-19", "init": "initialize" }))).unwrap();
        assert_eq!(workspace_of.guests[0].needs.cc.as_deref(), Some("clang-19"));
        let error = workspace(with(json!({ "target": "wasm32-wasip1" }))).unwrap_err();
        assert!(error.to_string().contains("guests are built for wasm32-unknown-unknown only"), "{error}");
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let packages = json!([package("plugins/search", json!(null), json!([cdylib("s", "cdylib")]))]);
        let error = workspace(packages).unwrap().chosen(&["serach".to_owned()]).unwrap_err();
        assert_eq!(error.to_string(), "there is no guest `serach`; there are: search");
    }
}
