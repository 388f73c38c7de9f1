//! Writes a secret's placeholder into the URL. The wall: denied, and not sent.

use crate::wire::{Target};
use vespiary_sdk::http::{Request, secret};
use vespiary_sdk::{Result, tool};

/// As it is, and percent-encoded.
#[tool]
pub fn secret_in_url(target: Target) -> Result<String> {
    let plain = Request::get(target.url(&format!("/?token={}", secret("TOKEN")))).send();
    let encoded = Request::get(target.url("/?token=%7B%7Bsecret:TOKEN%7D%7D")).send();
    plain.or(encoded)?.text()
}
