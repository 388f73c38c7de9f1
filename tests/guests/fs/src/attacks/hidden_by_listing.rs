//! Lists every directory it can and looks for names that should not be there. The wall: hidden entries are not listed.

use crate::siege::{FOLLOW, OpenFlags, READ, Siege};
use vespiary_sdk::{Result, tool};
use wasip2::filesystem::types::ErrorCode;

/// Lists every directory it can and looks for names that should not be there.
#[tool]
pub fn hidden_by_listing() -> Result<String> {
    let mut siege = Siege::begin()?;
    for path in [".", "sub", ".git", ".ssh", ".aws", "link-to-git"] {
        let Ok(dir) = siege.dir.open_at(FOLLOW, path, OpenFlags::DIRECTORY, READ) else { continue };
        let Ok(stream) = dir.read_directory() else { continue };
        while let Ok(Some(entry)) = stream.read_directory_entry() {
            let hidden = [".env", "id_rsa", "server.pem", "config", "credentials", "work"].contains(&entry.name.as_str());
            siege.tried(&entry.name, if hidden { Ok(()) } else { Err(ErrorCode::NoEntry) });
        }
    }
    siege.end()
}
