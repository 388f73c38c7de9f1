//! Compares the answers for hidden names that exist with those for hidden names that do not. The wall: they are the same.

use crate::siege::{CREATE, FOLLOW, NOTHING, OpenFlags, PathFlags, READ, WRITE, granted};
use vespiary_sdk::{Error, Result, tool};
use wasip2::filesystem::types::ErrorCode;

/// Compares the answers for hidden names that exist with those for hidden names that do not.
#[tool]
pub fn existence_oracle() -> Result<String> {
    let dir = granted()?;
    let answers = |path: &str| {
        let name = |code: ErrorCode| code.name().to_owned();
        let mut told = Vec::new();
        for flags in [NOTHING, CREATE, CREATE | OpenFlags::EXCLUSIVE, OpenFlags::TRUNCATE, OpenFlags::DIRECTORY] {
            for access in [READ, WRITE] {
                told.push(dir.open_at(FOLLOW, path, flags, access).err().map(name));
            }
        }
        told.push(dir.stat_at(FOLLOW, path).err().map(name));
        told.push(dir.readlink_at(path).err().map(name));
        told.push(dir.unlink_file_at(path).err().map(name));
        told.push(dir.remove_directory_at(path).err().map(name));
        told.push(dir.create_directory_at(path).err().map(name));
        told.push(dir.symlink_at("x", path).err().map(name));
        told.push(dir.rename_at(path, &dir, "seen").err().map(name));
        told.push(dir.rename_at("notes.txt", &dir, path).err().map(name));
        told.push(dir.link_at(PathFlags::empty(), path, &dir, "seen").err().map(name));
        told
    };
    for (there, nowhere) in [(".env", ".env.nowhere"), ("id_rsa", "id_dsa"), (".git/config", ".git/config.worktree"), ("sub/.env", "sub/.netrc")] {
        let (one, other) = (answers(there), answers(nowhere));
        if one != other {
            return Ok(format!("{there} is told from {nowhere}: {one:?} {other:?}"));
        }
    }
    Err(Error::failed("nothing is told apart"))
}
