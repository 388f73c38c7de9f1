//! Reads a body without end. The wall: limit `http-bytes-in`.

use crate::wire::{Target};
use vespiary_sdk::http::Request;
use vespiary_sdk::{Result, tool};

/// Reads until it is stopped.
#[tool]
pub fn huge_body(target: Target) -> Result<String> {
    let mut response = Request::get(target.url("/")).send()?;
    let mut bytes = 0;
    while let Some(piece) = response.chunk()? {
        bytes += piece.len();
    }
    Ok(format!("{bytes} bytes"))
}
