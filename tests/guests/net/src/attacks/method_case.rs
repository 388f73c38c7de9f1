//! Is granted `GET` and writes `DELETE` in other ways. The wall: a method is compared as it is sent.

use crate::wire::{Raw, Target, each};
use vespiary_sdk::{Result, tool};

/// Cases, spaces and tunnels.
#[tool]
pub fn method_case(target: Target) -> Result<String> {
    let authority = format!("{}:{}", target.host, target.port);
    let methods = ["DELETE", "delete", "Delete", "get", "GETS", "CONNECT", "TRACE", "TRACK"];
    each(methods.iter().map(|method| (*method, Raw { method, ..Raw::get(&authority, "/") }.send())))
}
