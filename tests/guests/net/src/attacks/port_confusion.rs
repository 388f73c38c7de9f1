//! Is granted a host without a port. The wall: that is https on 443, and nothing else.

use crate::wire::{Raw, Target, each};
use wasip2::http::types::Scheme;
use vespiary_sdk::{Result, tool};

/// Other ports and the other scheme.
#[tool]
pub fn port_confusion(target: Target) -> Result<String> {
    let (host, port) = (&target.host, target.port);
    let plain = [format!("{host}:{port}"), format!("{host}:80"), format!("{host}:443"), format!("{host}:0{port}"), host.clone()];
    let secure = [format!("{host}:{port}"), format!("{host}:80"), format!("{host}:+443"), format!("{host}:65979"), format!("{host}:")];
    let plain = plain.iter().map(|authority| (authority.as_str(), Raw::get(authority, "/").send()));
    let secure = secure
        .iter()
        .map(|authority| (authority.as_str(), Raw { scheme: Scheme::Https, ..Raw::get(authority, "/") }.send()));
    each(plain.chain(secure))
}
