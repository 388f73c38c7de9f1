//! Sets the times of what it must not see, and of what it must not change. The wall: `not-permitted`.

use crate::siege::{FOLLOW, NewTimestamp, PathFlags, Siege};
use vespiary_sdk::{Result, tool};

/// Sets the times of what it must not see, and of what it must not change.
#[tool]
pub fn times_of_hidden() -> Result<String> {
    let mut siege = Siege::begin()?;
    for path in [".env", ".git/config", ".git/HEAD", ".git", "nothing/.env"] {
        for flags in [FOLLOW, PathFlags::empty()] {
            let set = siege.dir.set_times_at(flags, path, NewTimestamp::Now, NewTimestamp::Now);
            siege.tried(path, set);
        }
    }
    siege.end()
}
