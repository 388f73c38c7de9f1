//! Plants what Git would run on the host. The wall: under a broad `write:` everything in `.git` can be read and nothing
//! changed.

use crate::siege::Siege;
use vespiary_sdk::{Result, tool};

/// Plants what Git would run on the host.
#[tool]
pub fn hooks_planted() -> Result<String> {
    let mut siege = Siege::begin()?;
    for path in [".git/hooks/post-checkout", ".git/HEAD", ".git/info/attributes", "sub/.git", "link-to-git/hooks/x", ".git/modules/x/hooks/y"] {
        siege.writes(path);
    }
    let made = siege.dir.create_directory_at("sub/.git");
    siege.tried("a repository of its own", made);
    let linked = siege.dir.symlink_at("notes.txt", ".git/hooks/link");
    siege.tried("a link for a hook", linked);
    let moved = siege.dir.rename_at("notes.txt", &siege.dir, ".git/hooks/moved");
    siege.tried("a file moved in", moved);
    let away = siege.dir.rename_at(".git/hooks", &siege.dir, "hooks");
    siege.tried("the hooks moved out", away);
    let removed = siege.dir.unlink_file_at(".git/HEAD");
    siege.tried("a file removed", removed);
    siege.end()
}
