//! What a guest tells its host: log lines, progress, artifacts. None of it carries authority; all of it is counted. What
//! must never live here: results; a tool returns those.
//!
//! Natively, where there is no host, everything reported is kept for the thread and handed out by [`taken`].

use crate::{Result, sys};
use std::io;

/// How much a log line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// For whoever writes the plugin.
    Debug,
    /// Worth a line in the call's log.
    Info,
    /// The result may be less than was asked for.
    Warn,
    /// Something failed.
    Error,
}

/// Adds a line for whoever writes the plugin.
pub fn debug(message: impl AsRef<str>) {
    sys::log(Level::Debug, message.as_ref());
}

/// Adds a line to the call's log.
pub fn info(message: impl AsRef<str>) {
    sys::log(Level::Info, message.as_ref());
}

/// Adds a line that says the result may be less than was asked for.
pub fn warn(message: impl AsRef<str>) {
    sys::log(Level::Warn, message.as_ref());
}

/// Adds a line that says something failed. Return an [`crate::Error`] to fail the call itself.
pub fn error(message: impl AsRef<str>) {
    sys::log(Level::Error, message.as_ref());
}

/// Says how far the call is. `total` is in the same unit as `done`; `None` where it is not known.
pub fn progress(done: u64, total: Option<u64>, note: impl AsRef<str>) {
    sys::progress(done, total, note.as_ref());
}

/// Bytes a call left behind, kept by the host under their digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArtifactInfo {
    /// File name suggested by the guest.
    pub name: String,
    /// IANA media type.
    pub media_type: String,
    /// Lower-case hex SHA-256 of the bytes.
    pub sha256: String,
    /// Length in bytes.
    pub size: u64,
}

/// A large result, written in pieces through [`io::Write`]. Dropping it unfinished discards it.
pub struct Artifact(sys::ArtifactWriter);

impl Artifact {
    /// Begins an artifact. `name` is a file name without `/` and NUL, at most 255 bytes.
    ///
    /// # Errors
    /// `InvalidArguments` for a bad name or media type, `Limit` where no more artifacts are allowed.
    pub fn create(name: &str, media_type: &str) -> Result<Self> {
        sys::ArtifactWriter::create(name, media_type).map(Self)
    }

    /// Seals it: the host keeps the bytes and lists the artifact in the call's outcome.
    ///
    /// # Errors
    /// What the host says, where it cannot keep the bytes.
    pub fn finish(self) -> Result<ArtifactInfo> {
        self.0.finish()
    }
}

impl io::Write for Artifact {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(not(target_family = "wasm"))]
pub use crate::sys::{Reported, taken};

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn what_was_reported_can_be_taken() {
        warn("odd");
        progress(1, Some(2), "half");
        let mut artifact = Artifact::create("a.txt", "text/plain").unwrap();
        artifact.write_all(b"abc").unwrap();
        let info = artifact.finish().unwrap();
        assert_eq!(info.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");

        let reported = taken();
        assert_eq!(reported.log, [(Level::Warn, "odd".to_owned())]);
        assert_eq!(reported.progress, [(1, Some(2), "half".to_owned())]);
        assert_eq!(reported.artifacts, [(info, b"abc".to_vec())]);
        assert_eq!(taken(), Reported::default());
    }

    #[test]
    fn an_artifact_dropped_unfinished_is_discarded() {
        drop(Artifact::create("a.txt", "text/plain").unwrap());
        assert!(taken().artifacts.is_empty());
    }

    #[test]
    fn a_name_with_a_slash_is_refused() {
        assert!(Artifact::create("a/b", "text/plain").is_err());
    }
}
