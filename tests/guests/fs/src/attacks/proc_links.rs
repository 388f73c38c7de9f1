//! Goes through the links of `/proc` that the kernel follows without asking. The wall: `not-permitted`.

use crate::siege::Siege;
use vespiary_sdk::{Result, tool};

/// Goes through the links of `/proc` that the kernel follows without asking.
#[tool]
pub fn proc_links() -> Result<String> {
    let mut siege = Siege::begin()?;
    for path in ["link-to-proc/cmdline", "link-to-proc/root/etc/passwd", "link-to-root/etc/passwd", "link-to-fd", "/proc/self/environ"] {
        siege.reads(path);
        siege.writes(path);
    }
    for says in ["/proc/self/root", "/proc/self/fd/0", "/dev/fd/3"] {
        let made = siege.dir.symlink_at(says, "made");
        siege.tried("a link there", made);
    }
    siege.end()
}
