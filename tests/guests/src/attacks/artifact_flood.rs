//! Writes artifacts without end. The wall: limit `artifact-bytes`, told to the guest as an error.

use std::io::Write;
use vespiary_sdk::{Error, Result, report::Artifact, tool};

/// Fills the host's disk, if it can.
#[tool]
pub fn artifact_flood() -> Result<String> {
    let chunk = vec![0u8; 1 << 20];
    for n in 0..10_000 {
        let mut artifact = Artifact::create(&format!("{n}.bin"), "application/octet-stream")?;
        for _ in 0..64 {
            artifact.write_all(&chunk).map_err(|e| Error::failed(e.to_string()))?;
        }
        artifact.finish()?;
    }
    Ok("wrote 640 gigabytes".into())
}
