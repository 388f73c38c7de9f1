//! The host's interfaces, reached past the SDK: the SDK is polite and would refuse half of these attacks itself.

use schemars::JsonSchema;
use serde::Deserialize;
use vespiary_sdk::{Error, Result};
pub use wasip2::filesystem::types::{Descriptor, DescriptorFlags, OpenFlags, PathFlags};

/// What an attack is aimed at.
#[derive(Deserialize, JsonSchema)]
pub struct Target {
    /// The path to reach, as the attack would write it.
    pub path: String,
}

/// The directory the cell was granted.
pub fn granted() -> Result<Descriptor> {
    let mut held = wasip2::filesystem::preopens::get_directories();
    if held.is_empty() {
        return Err(Error::failed("the cell holds no directory"));
    }
    Ok(held.remove(0).0)
}

/// Read a file's first bytes, following whatever the path leads to.
pub fn read(dir: &Descriptor, path: &str) -> Result<String> {
    let file = dir
        .open_at(PathFlags::SYMLINK_FOLLOW, path, OpenFlags::empty(), DescriptorFlags::READ)
        .map_err(|code| refused("open", code))?;
    let (bytes, _) = file.read(4096, 0).map_err(|code| refused("read", code))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The host's refusal, as the attack's failure.
pub fn refused(what: &str, code: wasip2::filesystem::types::ErrorCode) -> Error {
    Error::failed(format!("{what}: {}", code.name()))
}
