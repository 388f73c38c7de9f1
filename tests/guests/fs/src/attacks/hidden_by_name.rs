//! Reads and writes what a broad grant hides, by its name. The wall: absent to the reader, `not-permitted` to the writer.

use crate::siege::{FOLLOW, NOTHING, PathFlags, READ, Siege};
use vespiary_sdk::{Result, tool};

/// Reads and writes what a broad grant hides, by its name.
#[tool]
pub fn hidden_by_name() -> Result<String> {
    let mut siege = Siege::begin()?;
    for path in [".env", "id_rsa", "server.pem", ".git/config", ".aws/credentials", ".ssh/work", "sub/.env"] {
        siege.reads(path);
        siege.writes(path);
        let kept = siege.dir.open_at(PathFlags::empty(), path, NOTHING, READ);
        siege.tried("read it unfollowed", kept);
        let stat = siege.dir.stat_at(FOLLOW, path);
        siege.tried("look at it", stat);
        let hash = siege.dir.metadata_hash_at(FOLLOW, path);
        siege.tried("tell it apart", hash);
        let removed = siege.dir.unlink_file_at(path);
        siege.tried("remove it", removed);
    }
    siege.end()
}
