//! Makes files under hidden names, so that a tool of the host would take them for its own. The wall: `not-permitted`,
//! whether or not one is there.

use crate::siege::Siege;
use vespiary_sdk::{Result, tool};

/// Makes files under hidden names, so that a tool of the host would take them for its own.
#[tool]
pub fn hidden_made() -> Result<String> {
    let mut siege = Siege::begin()?;
    for path in [".npmrc", ".netrc", ".pypirc", ".env.local", ".docker/config.json", "new.pem", ".ssh/authorized_keys", ".aws/config"] {
        siege.writes(path);
        let linked = siege.dir.symlink_at("notes.txt", path);
        siege.tried("link it", linked);
        let made = siege.dir.create_directory_at(path);
        siege.tried("make it a directory", made);
    }
    siege.end()
}
