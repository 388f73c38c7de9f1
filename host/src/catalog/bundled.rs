//! The plugins built into the program. Their digests were pinned when they were built and checked when this program was
//! (`build.rs`), so starting need not hash them; `vespiary doctor` does.

use super::{Entry, Origin};
use crate::disk;
use crate::exit::Trouble;
use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;
use vespiary_kernel::ids::Digest;
use vespiary_kernel::plugin::{Manifest, Plugin, Trust};

struct Bundled {
    manifest: &'static str,
    component: &'static [u8],
    sha256: [u8; 32],
}

const BUNDLED: &[Bundled] = include!(concat!(env!("OUT_DIR"), "/bundled.rs"));

/// Names a directory of freshly built components to use in place of the bundled ones. Only a debug build looks at it: in a
/// released program the environment must not be able to replace trusted code.
const OVERRIDE: &str = "VESPIARY_GUESTS_DIR";

pub(super) fn entries() -> Result<Vec<Entry>, Trouble> {
    let fresh = if cfg!(debug_assertions) { std::env::var_os(OVERRIDE) } else { None };
    if let Some(dir) = &fresh {
        eprintln!("vespiary: using components from {}, because {OVERRIDE} is set", dir.display());
    }
    BUNDLED.iter().map(|bundled| entry(bundled, fresh.as_deref().map(Path::new))).collect()
}

fn entry(bundled: &Bundled, fresh: Option<&Path>) -> Result<Entry, Trouble> {
    let broken = |error: &dyn std::fmt::Display| {
        Trouble::failed("a bundled plugin cannot be used", error, "build Vespiary from a complete source tree")
    };
    let manifest = Manifest::parse(bundled.manifest).map_err(|e| broken(&e))?;
    let (component, digest) = match fresh {
        None => (Cow::Borrowed(bundled.component), Digest::from_bytes(bundled.sha256)),
        Some(dir) => {
            let path = dir.join(format!("{}.wasm", manifest.name));
            let bytes = disk::read(&path, u64::MAX).map_err(|error| {
                Trouble::usage(format!("{} cannot be read", path.display()), error, format!("unset {OVERRIDE}"))
            })?;
            let digest = Digest::of(&bytes);
            (Cow::Owned(bytes), digest)
        }
    };
    let plugin = Plugin::new(manifest, digest, Trust::Bundled).map_err(|e| broken(&e))?;
    Ok(Entry { plugin: Arc::new(plugin), origin: Origin::Bundled, manifest: None, component })
}
