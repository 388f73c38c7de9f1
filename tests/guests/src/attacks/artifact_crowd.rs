//! Leaves a million artifacts of one byte each. The wall: limit `artifacts`, told to the guest as an error.

use std::io::Write;
use vespiary_sdk::{Error, Result, report::Artifact, tool};

/// Fills the host's lists, if it can.
#[tool]
pub fn artifact_crowd() -> Result<String> {
    for n in 0..1_000_000 {
        let mut artifact = Artifact::create(&format!("{n}"), "text/plain")?;
        artifact.write_all(b"x").map_err(|e| Error::failed(e.to_string()))?;
        artifact.finish()?;
    }
    Ok("left a million".into())
}
