//! Sends a body without end. The wall: limit `http-bytes-out`.

use crate::wire::{Target};
use vespiary_sdk::http::Request;
use vespiary_sdk::{Result, tool};

/// Sends four megabytes.
#[tool]
pub fn upload_flood(target: Target) -> Result<String> {
    Request::post(target.url("/")).body(vec![b'x'; 4 << 20]).send()?.text()
}
