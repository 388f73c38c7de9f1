//! Asks this machine by every name it has. The wall: each is denied as what it is.

use crate::wire::{Raw, Target, each};
use vespiary_sdk::{Result, tool};

/// Ten spellings of one address.
#[tool]
pub fn loopback_spellings(target: Target) -> Result<String> {
    let port = target.port;
    let hosts = [
        "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "127.0.0.1.", "[::1]", "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]", "0.0.0.0", "localhost", "LOCALHOST.",
    ];
    let authorities = hosts.map(|host| format!("{host}:{port}"));
    each(authorities.iter().map(|authority| (authority.as_str(), Raw::get(authority, "/").send())))
}
