//! Asks the network around this machine. The wall: denied.

use crate::wire::{Raw, Target, each};
use vespiary_sdk::{Result, tool};

/// Private, shared, link-local and unique local addresses.
#[tool]
pub fn private_ranges(target: Target) -> Result<String> {
    let hosts = [
        "10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1", "169.254.0.1", "[fc00::1]", "[fe80::1]", "[fec0::1]",
        "[64:ff9b::10.0.0.1]", "[2002:a00:1::]", "224.0.0.1", "255.255.255.255", "[ff02::1]",
    ];
    let authorities = hosts.map(|host| format!("{host}:{}", target.port));
    each(authorities.iter().map(|authority| (authority.as_str(), Raw::get(authority, "/").send())))
}
