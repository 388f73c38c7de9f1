//! Names media types that would end a header and begin another, or a name that hides its end. The wall: each is refused.

use vespiary_sdk::{Error, Result, report::Artifact, tool};

/// Tries line ends, controls and directions.
#[tool]
pub fn artifact_hostile_types() -> Result<String> {
    for (name, media_type) in [
        ("a.txt", "text/plain\r\nx-evil: 1"),
        ("a.txt", "text/plain\0"),
        ("a.txt", "text/html; charset=\"\x1b[2J\""),
        ("a.txt", "<script>/html"),
        ("invoice\u{202e}txt.exe", "text/plain"),
        ("a\u{9b}31m", "text/plain"),
        ("a\r\nb", "text/plain"),
        ("..\\..\\a", "text/plain"),
    ] {
        if Artifact::create(name, media_type).is_ok() {
            return Ok(format!("{name:?} of type {media_type:?} was taken"));
        }
    }
    Err(Error::failed("artifact: every type and name refused"))
}
