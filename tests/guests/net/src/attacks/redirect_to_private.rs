//! The server redirects to where the guest may not go. The wall: following is a request, and denied.

use crate::wire::{Target, fetch};
use vespiary_sdk::http::Request;
use vespiary_sdk::{Result, tool};

/// Follows a redirect by hand.
#[tool]
pub fn redirect_to_private(target: Target) -> Result<String> {
    let moved = Request::get(target.url("/")).send()?;
    let to = moved.header("location").unwrap_or("nowhere").to_owned();
    vespiary_sdk::report::info(&format!("{} to {to}", moved.status()));
    fetch(to)
}
