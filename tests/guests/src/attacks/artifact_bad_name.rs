//! Names an artifact so that whoever saves it writes elsewhere. The wall: the name is refused.

use vespiary_sdk::{Error, Result, report::Artifact, tool};

/// Tries a path, a device, a NUL and a terminal escape.
#[tool]
pub fn artifact_bad_name() -> Result<String> {
    for name in ["../../etc/cron.d/x", "/etc/passwd", "a\0b", "a\x1b[2Jb", "", "..", &"x".repeat(5000)] {
        if Artifact::create(name, "text/plain").is_ok() {
            return Ok(format!("{name:?} was taken"));
        }
    }
    Err(Error::failed("artifact: every name refused"))
}
