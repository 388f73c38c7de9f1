//! Opens a FIFO, a socket and a device, to read, to write and to wait. The wall: `not-permitted` at once.

use crate::siege::{FOLLOW, NOTHING, READ, Siege, WRITE};
use vespiary_sdk::{Result, tool};

/// Opens a FIFO, a socket and a device, to read, to write and to wait.
#[tool]
pub fn special_files() -> Result<String> {
    let mut siege = Siege::begin()?;
    for path in ["pipe", "socket", "link-to-pipe", "link-to-device"] {
        siege.reads(path);
        siege.writes(path);
        let both = siege.dir.open_at(FOLLOW, path, NOTHING, READ | WRITE);
        siege.tried("open it for both", both);
    }
    siege.end()
}
