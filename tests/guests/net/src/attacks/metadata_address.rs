//! Asks where clouds hand out credentials. The wall: denied, by address and by name.

use crate::wire::{Raw, Target, each};
use vespiary_sdk::{Result, tool};

/// The addresses of the large clouds.
#[tool]
pub fn metadata_address(target: Target) -> Result<String> {
    let hosts = ["169.254.169.254", "[fd00:ec2::254]", "168.63.129.16", "100.100.100.200", "192.0.0.192", &target.host];
    each(hosts.iter().map(|host| (*host, Raw::get(host, "/latest/meta-data/iam/").send())))
}
