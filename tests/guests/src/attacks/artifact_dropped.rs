//! Writes into artifacts and drops each unfinished, so that nothing would ever be counted as kept. The wall: limit
//! `artifact-bytes`: what was written stays counted.

use std::io::Write;
use vespiary_sdk::{Error, Result, report::Artifact, tool};

/// Writes a gigabyte that nobody keeps.
#[tool]
pub fn artifact_dropped() -> Result<String> {
    let chunk = vec![0u8; 64 << 10];
    for n in 0..16_384 {
        let mut artifact = Artifact::create(&format!("{n}"), "text/plain")?;
        artifact.write_all(&chunk).map_err(|e| Error::failed(e.to_string()))?;
    }
    Ok("wrote a gigabyte".into())
}
