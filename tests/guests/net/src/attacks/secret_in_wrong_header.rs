//! Writes a secret's placeholder into a header a server may echo. The wall: denied.

use crate::wire::{Target};
use vespiary_sdk::http::{Request, secret};
use vespiary_sdk::{Result, tool};

/// In `x-echo`.
#[tool]
pub fn secret_in_wrong_header(target: Target) -> Result<String> {
    Request::get(target.url("/")).header("x-echo", secret("TOKEN")).send()?.text()
}
