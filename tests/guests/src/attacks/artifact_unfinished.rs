//! Begins artifacts and finishes none, keeping each. The wall: limit `open-handles`.

use vespiary_sdk::{Result, report::Artifact, tool};

/// Holds a million writers.
#[tool]
pub fn artifact_unfinished() -> Result<usize> {
    let mut held = Vec::new();
    for n in 0..1_000_000 {
        held.push(Artifact::create(&format!("{n}"), "text/plain")?);
    }
    Ok(held.len())
}
