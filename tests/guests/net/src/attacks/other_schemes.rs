//! Asks for files and other protocols. The wall: http and https are the only schemes.

use crate::wire::{Raw, Target, each};
use wasip2::http::types::Scheme;
use vespiary_sdk::{Result, tool};

/// Schemes of other worlds.
#[tool]
pub fn other_schemes(target: Target) -> Result<String> {
    let authority = format!("{}:{}", target.host, target.port);
    let schemes = ["file", "ftp", "gopher", "ws", "unix", "httpx"];
    each(schemes.iter().map(|scheme| (*scheme, Raw { scheme: Scheme::Other((*scheme).into()), ..Raw::get(&authority, "/") }.send())))
}
