//! The plugins that are part of the host and no component: `exec`, whose one tool runs a host program where `exec:PROGRAM` was
//! granted by name, and `model`, whose one tool asks a model where `model:PROVIDER/MODEL` was. What they promise is written
//! beside the code that keeps it; here they are only put on the shelf.

use super::{Entry, Origin};
use crate::exit::Trouble;
use std::borrow::Cow;
use std::sync::Arc;
use vespiary_kernel::ids::Digest;
use vespiary_kernel::plugin::{Manifest, Plugin, Trust};

pub(super) fn programs() -> Result<Entry, Trouble> {
    entry(vespiary_programs::MANIFEST)
}

pub(super) fn models() -> Result<Entry, Trouble> {
    entry(vespiary_fleet::model::MANIFEST)
}

fn entry(manifest: &'static str) -> Result<Entry, Trouble> {
    let broken = |error: &dyn std::fmt::Display| {
        Trouble::failed("a part of the host cannot be described", error, "build Vespiary from a complete source tree")
    };
    let parsed = Manifest::parse(manifest).map_err(|e| broken(&e))?;
    // There is no component; what stands for it in the record is what was promised.
    let plugin = Plugin::new(parsed, Digest::of(manifest.as_bytes()), Trust::Bundled).map_err(|e| broken(&e))?;
    Ok(Entry {
        plugin: Arc::new(plugin),
        origin: Origin::Bundled,
        manifest: None,
        component: Cow::Borrowed(manifest.as_bytes()),
    })
}
