//! A small body that would unpack into a large one. The wall: nothing is unpacked on the host.

use crate::wire::{Target};
use vespiary_sdk::Error;
use vespiary_sdk::http::Request;
use vespiary_sdk::{Result, tool};

/// Tells how many bytes arrived.
#[tool]
pub fn gzip_bomb(target: Target) -> Result<String> {
    let response = Request::get(target.url("/")).header("accept-encoding", "gzip").send()?;
    Err(Error::failed(format!("bytes: {}", response.bytes()?.len())))
}
