//! Declares one length and sends another. The wall: it is refused, and nothing more is sent.

use crate::wire::{Raw, Target, each};
use vespiary_sdk::{Result, tool};

/// Too long, and too short.
#[tool]
pub fn lying_length(target: Target) -> Result<String> {
    let authority = format!("{}:{}", target.host, target.port);
    let declared: [(&str, &[u8]); 1] = [("content-length", b"4")];
    let raw = |body| Raw { method: "POST", headers: &declared, body, ..Raw::get(&authority, "/") };
    each([("longer", raw(b"GET /admin").send()), ("shorter", raw(b"ab").send()), ("none", raw(b"").send())])
}
