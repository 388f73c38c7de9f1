//! Asks for hidden and outside files in batches, past the standard interface. The wall: judged as there.

use vespiary_sdk::{Error, Result, tool};

/// Asks for hidden and outside files in batches, past the standard interface.
#[tool]
pub fn batch_of_hidden() -> Result<String> {
    let paths = [".env", "id_rsa", ".git/config", "link-to-env", "../secret.txt", "/etc/passwd", "leak", "pipe", ".ENV", "sub/../.env", "shared/../.env"];
    let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
    let mut refusals = Vec::new();
    for (path, read) in paths.iter().zip(vespiary_sdk::fs::read_many(&paths, u64::MAX)) {
        match read {
            Ok((bytes, _)) => return Ok(format!("{path}: {}", String::from_utf8_lossy(&bytes))),
            Err(error) => refusals.push(format!("{path}: {:?}", error.kind())),
        }
    }
    Err(Error::failed(refusals.join("; ")))
}
