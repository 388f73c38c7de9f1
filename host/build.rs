//! Gathers the bundled plugins: each `plugins/NAME/plugin.toml` with the component `plugins/built/NAME.wasm`, pinned to the
//! SHA-256 that `plugins/built/BUILD.toml` records. A component that is missing or differs from its pin stops the build.
#![allow(
    clippy::disallowed_methods,
    reason = "a build script reads the source tree and writes to its output directory"
)]

use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins");
    // A new plugin comes with a new component, so watching these sees it; the plugins' sources do not matter here.
    println!("cargo::rerun-if-changed={}", plugins.join("built").display());
    match table(&plugins) {
        Ok(table) => {
            let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("bundled.rs");
            if let Err(error) = fs::write(&out, table) {
                stop(&format!("{} cannot be written: {error}", out.display()));
            }
        }
        Err(why) => stop(&why),
    }
}

fn stop(why: &str) {
    println!("cargo::error={why}; `cargo xtask guests` builds and pins the bundled components");
}

/// Rust source of the table that `src/catalog/bundled.rs` includes.
fn table(plugins: &Path) -> Result<String, String> {
    let built = plugins.join("built");
    let pins = pins(&built.join("BUILD.toml"))?;
    let mut table = String::from("&[\n");
    for name in names(plugins)? {
        let manifest = plugins.join(&name).join("plugin.toml");
        let component = built.join(format!("{name}.wasm"));
        println!("cargo::rerun-if-changed={}", manifest.display());
        let bytes = fs::read(&component).map_err(|e| format!("{} cannot be read: {e}", component.display()))?;
        let digest = Sha256::digest(&bytes);
        let hex = digest.iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        match pins.get(&name) {
            Some(pin) if *pin == hex => {}
            Some(pin) => return Err(format!("{} has the SHA-256 {hex}; its pin is {pin}", component.display())),
            None => return Err(format!("{} has no pin in BUILD.toml", component.display())),
        }
        let _ = writeln!(
            table,
            "    Bundled {{ manifest: include_str!({manifest:?}), component: include_bytes!({component:?}), sha256: {:?} }},",
            digest.as_slice()
        );
    }
    table.push_str("]\n");
    Ok(table)
}

/// The plugins that have a manifest, sorted.
fn names(plugins: &Path) -> Result<Vec<String>, String> {
    let entries = fs::read_dir(plugins).map_err(|e| format!("{} cannot be read: {e}", plugins.display()))?;
    let mut names: Vec<String> = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.path().join("plugin.toml").is_file())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    Ok(names)
}

/// Plugin name to lower-case hex SHA-256.
fn pins(path: &Path) -> Result<BTreeMap<String, String>, String> {
    #[derive(serde::Deserialize)]
    struct Build {
        components: BTreeMap<String, Component>,
    }
    #[derive(serde::Deserialize)]
    struct Component {
        sha256: String,
    }
    let text = fs::read_to_string(path).map_err(|e| format!("{} cannot be read: {e}", path.display()))?;
    let build: Build = toml::from_str(&text).map_err(|e| format!("{} is not understood: {e}", path.display()))?;
    Ok(build.components.into_iter().map(|(name, component)| (name, component.sha256)).collect())
}
