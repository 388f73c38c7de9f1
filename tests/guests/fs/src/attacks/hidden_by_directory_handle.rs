//! Takes a handle of a directory that may be looked at and goes on to what is hidden in it. The wall: a handle is a
//! place, and each path from it is judged.

use crate::siege::{CREATE, FOLLOW, OpenFlags, READ, Siege, WRITE, read};
use vespiary_sdk::{Result, tool};

/// Takes a handle of a directory that may be looked at and goes on to what is hidden in it.
#[tool]
pub fn hidden_by_directory_handle() -> Result<String> {
    let mut siege = Siege::begin()?;
    for (dir, name) in [(".git", "config"), (".ssh", "work"), (".aws", "credentials"), ("sub", ".env"), ("sub", "../.env")] {
        let handle = siege.dir.open_at(FOLLOW, dir, OpenFlags::DIRECTORY, READ);
        let Ok(handle) = handle else { continue };
        let loot = read(&handle, name);
        siege.tried(&format!("{name} in {dir}"), loot);
        let written = handle.open_at(FOLLOW, name, CREATE, WRITE);
        siege.tried(&format!("write {name} in {dir}"), written);
        let renamed = handle.rename_at(name, &siege.dir, "seen");
        siege.tried(&format!("move {name} out of {dir}"), renamed);
    }
    siege.end()
}
