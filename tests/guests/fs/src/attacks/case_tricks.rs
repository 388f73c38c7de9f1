//! Writes hidden and guarded names in other case, as a file system that ignores case would let pass. The wall: the same
//! as for the name itself.

use crate::siege::Siege;
use vespiary_sdk::{Result, tool};

/// Writes hidden and guarded names in other case, as a file system that ignores case would let pass.
#[tool]
pub fn case_tricks() -> Result<String> {
    let mut siege = Siege::begin()?;
    for path in [".ENV", ".Env", "ID_RSA", "Server.PEM", ".GIT/CONFIG", ".Git/config", ".aws/CREDENTIALS", ".SSH/work"] {
        siege.reads(path);
        siege.writes(path);
    }
    for path in [".GIT/hooks/post-checkout", ".Git/HEAD", "sub/.gIt"] {
        siege.writes(path);
        let made = siege.dir.create_directory_at(path);
        siege.tried("make the directory", made);
    }
    siege.end()
}
