//! Goes down and up again further than a stack or a buffer may reach. The wall: an error, soon.

use crate::siege::{FOLLOW, OpenFlags, READ, Siege, granted};
use vespiary_sdk::{Result, tool};
use wasip2::filesystem::types::ErrorCode;

/// Goes down and up again further than a stack or a buffer may reach.
#[tool]
pub fn deep_paths() -> Result<String> {
    let mut siege = Siege::begin()?;
    siege.reads(&("sub/../".repeat(20_000) + ".env"));
    siege.reads(&("../".repeat(20_000) + "secret.txt"));
    siege.reads(&("sub/".repeat(1_000) + &"../".repeat(1_001) + "secret.txt"));
    let (mut dir, mut depth) = (granted()?, 0);
    while depth < 5_000 {
        if dir.create_directory_at("d").is_err() {
            break;
        }
        let Ok(below) = dir.open_at(FOLLOW, "d", OpenFlags::DIRECTORY, READ) else { break };
        (dir, depth) = (below, depth + 1);
    }
    siege.tried("a directory 5,000 deep", if depth < 5_000 { Err(ErrorCode::NameTooLong) } else { Ok(()) });
    siege.end()
}
