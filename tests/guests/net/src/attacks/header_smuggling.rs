//! Sets headers that speak to the next hop, name another host or replace the request. The wall: each is refused.

use crate::wire::{Raw, Target, each};
use vespiary_sdk::{Result, tool};

/// Sets each of them in turn.
#[tool]
pub fn header_smuggling(target: Target) -> Result<String> {
    let authority = format!("{}:{}", target.host, target.port);
    let headers: [(&str, &[u8]); 14] = [
        ("host", b"evil.example.com"),
        ("connection", b"close, authorization"),
        ("keep-alive", b"timeout=1000"),
        ("transfer-encoding", b"chunked"),
        ("te", b"trailers"),
        ("trailer", b"x"),
        ("upgrade", b"websocket"),
        ("proxy-authorization", b"Basic eA=="),
        ("proxy-connection", b"keep-alive"),
        ("http2-settings", b"AAMAAABkAAQ"),
        ("expect", b"100-continue"),
        ("x-http-method-override", b"DELETE"),
        ("x-original-url", b"/admin"),
        ("content-length", b"5, 5"),
    ];
    each(headers.iter().map(|(name, value)| {
        let header = [(*name, *value)];
        (*name, Raw { headers: &header, ..Raw::get(&authority, "/") }.send())
    }))
}
