//! Building all guests, and checking that what is kept is what the sources give. What must never live here: how one is
//! built; that is `toolchain` and `component`.
#![allow(clippy::disallowed_methods, reason = "writes components")]

use crate::component;
use crate::guest::{Guest, Workspace};
use crate::record::{Built, Comparison, Record};
use crate::toolchain::Toolchain;
use anyhow::{Context, Result, bail};
use std::path::Path;

/// One finished component.
struct Finished {
    name: String,
    component: Vec<u8>,
    built: Built,
}

/// Builds the guests named, or all, and records them.
pub(crate) fn build(only: &[String]) -> Result<()> {
    let workspace = Workspace::find()?;
    let toolchain = Toolchain::find()?;
    println!("with {}", toolchain.identity);
    for guest in workspace.chosen(only)? {
        let mut record = Record::read(&guest.built)?;
        for finished in make(&workspace, &toolchain, guest)? {
            write(&guest.built, &finished)?;
            println!("{:>9}  {}", kilobytes(finished.built.bytes), finished.name);
            record.components.insert(finished.name, finished.built);
        }
        record.write(&guest.built)?;
    }
    Ok(())
}

/// Builds the guests named, or all, and compares. Fails where the same toolchain gives other bytes than are kept.
pub(crate) fn check(only: &[String]) -> Result<()> {
    let workspace = Workspace::find()?;
    let toolchain = Toolchain::find()?;
    println!("with {}", toolchain.identity);
    let fresh = workspace.guest_target.join("fresh");
    let (mut wrong, mut incomparable) = (Vec::new(), false);
    for guest in workspace.chosen(only)? {
        let record = Record::read(&guest.built)?;
        for finished in make(&workspace, &toolchain, guest)? {
            write(&fresh, &finished)?;
            let comparison = record.compare(&guest.built, &finished.name, &finished.built);
            println!("{}  {}", sentence(&comparison), finished.name);
            match comparison {
                Comparison::Same => {}
                Comparison::OtherToolchain => incomparable = true,
                Comparison::Stale | Comparison::Unrecorded | Comparison::Tampered => wrong.push(finished.name),
            }
        }
    }
    if incomparable {
        println!(
            "Some components were made by another toolchain, so their bytes cannot be compared. Test the fresh ones instead:\n  \
             VESPIARY_GUESTS_DIR={} cargo test",
            fresh.display()
        );
    }
    if !wrong.is_empty() {
        bail!("not what the sources give: {}. Run `cargo xtask guests` and commit what it writes.", wrong.join(", "));
    }
    Ok(())
}

fn sentence(comparison: &Comparison) -> &'static str {
    match comparison {
        Comparison::Same => "same bytes       ",
        Comparison::Stale => "OTHER BYTES      ",
        Comparison::OtherToolchain => "other toolchain  ",
        Comparison::Unrecorded => "NOT RECORDED     ",
        Comparison::Tampered => "FILE NOT RECORDED",
    }
}

fn make(workspace: &Workspace, toolchain: &Toolchain, guest: &Guest) -> Result<Vec<Finished>> {
    let mut finished = Vec::new();
    for (output, module) in toolchain.compile(workspace, guest)? {
        let component = finish(guest, &module).with_context(|| format!("cannot finish {}", output.component))?;
        let built = Built::of(&component, &toolchain.identity);
        finished.push(Finished { name: output.component, component, built });
    }
    Ok(finished)
}

fn finish(guest: &Guest, module: &[u8]) -> Result<Vec<u8>> {
    let component = component::encode(module)?;
    match guest.needs.snapshot {
        Some(false) => Ok(component),
        // wasmtime's error is of its own kind; here it is only shown.
        Some(true) | None => {
            component::snapshot(&component, guest.needs.init.as_deref()).map_err(|error| anyhow::anyhow!("{error:#}"))
        }
    }
}

fn write(folder: &Path, finished: &Finished) -> Result<()> {
    let path = folder.join(format!("{}.wasm", finished.name));
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&path, &finished.component))
        .with_context(|| format!("cannot write {}", path.display()))
}

fn kilobytes(bytes: u64) -> String {
    format!("{:.1} KB", bytes as f64 / 1000.0)
}
