//! Holds a reader and writes by every way there is. The wall: `not-permitted`.

use crate::siege::{CREATE, DescriptorFlags, FOLLOW, NOTHING, NewTimestamp, OpenFlags, READ, Siege, WRITE};
use vespiary_sdk::{Error, Result, tool};

/// Holds a reader and writes by every way there is.
#[tool]
pub fn reader_that_writes() -> Result<String> {
    let mut siege = Siege::begin()?;
    for path in ["notes.txt", "sub/visible", "new"] {
        siege.writes(path);
    }
    let below = siege.dir.open_at(FOLLOW, "sub", OpenFlags::DIRECTORY, READ | DescriptorFlags::MUTATE_DIRECTORY);
    let below = below.map_err(|code| Error::failed(code.name()))?;
    let file = siege.dir.open_at(FOLLOW, "notes.txt", NOTHING, READ).map_err(|code| Error::failed(code.name()))?;
    siege.tried("make a directory", below.create_directory_at("made"));
    siege.tried("make a file", below.open_at(FOLLOW, "made", CREATE, WRITE));
    siege.tried("make a link", below.symlink_at("visible", "made"));
    siege.tried("remove", below.unlink_file_at("visible"));
    siege.tried("move", below.rename_at("visible", &below, "moved"));
    siege.tried("set times", below.set_times_at(FOLLOW, "visible", NewTimestamp::Now, NewTimestamp::Now));
    siege.tried("set its times", file.set_times(NewTimestamp::Now, NewTimestamp::Now));
    siege.tried("set times of the directory", below.set_times(NewTimestamp::Now, NewTimestamp::Now));
    siege.tried("write", file.write(b"x", 0));
    siege.tried("empty", file.set_size(0));
    siege.tried("write a stream", file.write_via_stream(0));
    siege.tried("append", file.append_via_stream());
    siege.tried("remove a directory", siege.dir.remove_directory_at("empty"));
    siege.end()
}
