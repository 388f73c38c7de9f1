//! Writes a secret's placeholder into the body. The wall: denied, and not sent.

use crate::wire::{Target};
use vespiary_sdk::http::{Request, secret};
use vespiary_sdk::{Result, tool};

/// In one piece.
#[tool]
pub fn secret_in_body(target: Target) -> Result<String> {
    Request::post(target.url("/")).body(format!("token={}", secret("TOKEN"))).send()?.text()
}
