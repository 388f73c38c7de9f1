//! The server gives back what it was sent. The wall: the value is scrubbed, in the headers and in the body.

use crate::wire::Target;
use vespiary_sdk::Error;
use vespiary_sdk::http::{Request, secret};
use vespiary_sdk::{Result, tool};

/// Fails with all that came back.
#[tool]
pub fn secret_echoed(target: Target) -> Result<String> {
    let request = Request::get(target.url("/")).header("authorization", format!("Bearer {}", secret("TOKEN")));
    let response = request.send()?;
    let header = response.header("x-echo").unwrap_or("nothing").to_owned();
    Err(Error::failed(format!("{header} | {}", response.text()?)))
}
