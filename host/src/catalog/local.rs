//! A component from a file, with its manifest beside it. Only bytes and text are looked at here: what the component imports
//! is the sandbox's to judge, and nothing of it is compiled before it is called.

use super::{Entry, Origin};
use crate::disk;
use crate::exit::Trouble;
use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vespiary_kernel::ids::Digest;
use vespiary_kernel::plugin::{Kind, Manifest, Plugin, Trust};

/// The largest component that is read from a file. QuickJS compiled to WebAssembly takes 1.2 MiB.
const COMPONENT_BYTES_MAX: u64 = 64 << 20;
/// The largest manifest.
const MANIFEST_BYTES_MAX: u64 = 1 << 20;

/// Read the component at `path` and the manifest beside it: `NAME.toml` for `NAME.wasm`, or else `plugin.toml`.
pub(super) fn load(path: &Path) -> Result<Entry, Trouble> {
    let component = disk::read(path, COMPONENT_BYTES_MAX).map_err(|error| {
        Trouble::usage(
            format!("the plugin {} cannot be loaded", path.display()),
            error,
            "name a WebAssembly component file",
        )
    })?;
    if !component.starts_with(b"\0asm") {
        return Err(Trouble::usage(
            format!("the plugin {} cannot be loaded", path.display()),
            "it is not WebAssembly in binary form",
            "name the .wasm file that the plugin's build made",
        ));
    }
    let (manifest_path, text) = manifest_beside(path)?;
    let refused = |error: &dyn std::fmt::Display| {
        Trouble::usage(format!("{} was refused", manifest_path.display()), error, "correct the manifest")
    };
    let manifest = Manifest::parse(&text).map_err(|e| refused(&e))?;
    if manifest.kind == Kind::Engine {
        return Err(refused(&"kind = \"engine\" is for the bundled script engine alone"));
    }
    if !manifest.kind.is_component() {
        return Err(refused(&"that kind is for parts of the host alone; write kind = \"tools\" or \"agent\""));
    }
    let plugin = Plugin::new(manifest, Digest::of(&component), Trust::Added).map_err(|e| refused(&e))?;
    let origin = Origin::File(std::path::absolute(path).unwrap_or_else(|_| path.to_owned()));
    let manifest = Some(Digest::of(text.as_bytes()));
    Ok(Entry { plugin: Arc::new(plugin), origin, manifest, component: Cow::Owned(component) })
}

fn manifest_beside(path: &Path) -> Result<(PathBuf, String), Trouble> {
    let candidates = [path.with_extension("toml"), path.with_file_name("plugin.toml")];
    for candidate in &candidates {
        match disk::read_text(candidate, MANIFEST_BYTES_MAX) {
            Ok(text) => return Ok((candidate.clone(), text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(Trouble::usage(
                    format!("{} cannot be read", candidate.display()),
                    error,
                    "make it a readable file in UTF-8, or remove it",
                ));
            }
        }
    }
    Err(Trouble::usage(
        format!("the plugin {} has no manifest", path.display()),
        format!("neither {} nor {} exists", candidates[0].display(), candidates[1].display()),
        "write one: name, version, kind, description and the capabilities it needs",
    ))
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests set up what they look at")]
mod tests {
    use super::*;

    fn load_with(component: &[u8], manifest: Option<&str>) -> Result<Entry, Trouble> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mine.wasm");
        std::fs::write(&path, component).unwrap();
        if let Some(manifest) = manifest {
            std::fs::write(dir.path().join("mine.toml"), manifest).unwrap();
        }
        load(&path)
    }

    const GOOD: &str = "name='mine'\nversion='1'\nkind='tools'\ndescription='d'\n";

    #[test]
    fn a_component_is_bound_to_its_manifest() {
        let entry = load_with(b"\0asm\x0d\0\x01\0", Some(GOOD)).unwrap();
        assert_eq!(entry.plugin.digest, Digest::of(b"\0asm\x0d\0\x01\0"));
        assert!(matches!(entry.origin, Origin::File(_)));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (component, manifest, expected) in [
            (&b"#!/bin/sh"[..], Some(GOOD), "not WebAssembly"),
            (b"\0asm", None, "exists"),
            (b"\0asm", Some("name='mine'"), "missing field"),
            (b"\0asm", Some("name='mine'\nversion='1'\nkind='engine'\ndescription='d'\n"), "bundled script engine"),
        ] {
            let trouble = load_with(component, manifest).unwrap_err();
            assert!(trouble.why.contains(expected), "{trouble:?} does not say {expected}");
        }
    }
}
