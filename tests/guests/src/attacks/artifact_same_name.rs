//! Leaves three artifacts under one name, and one under that name in capitals. Nothing is refused: each is kept under its own
//! digest, so none can take another's place.

use std::io::Write;
use vespiary_sdk::{Error, Result, report::Artifact, tool};

/// The last one written would win, if names meant anything.
#[tool]
pub fn artifact_same_name() -> Result<Vec<String>> {
    let mut digests = Vec::new();
    for (name, text) in [("report.txt", "one"), ("report.txt", "two"), ("report.txt", "one"), ("REPORT.TXT", "three")] {
        let mut artifact = Artifact::create(name, "text/plain")?;
        artifact.write_all(text.as_bytes()).map_err(|e| Error::failed(e.to_string()))?;
        digests.push(artifact.finish()?.sha256);
    }
    Ok(digests)
}
