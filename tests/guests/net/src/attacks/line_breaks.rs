//! Hides a second request behind line breaks. The wall: neither headers, paths nor authorities can hold one.

use crate::wire::{Raw, Target, each};
use vespiary_sdk::{Result, tool};

/// In a value, a name, a path and an authority.
#[tool]
pub fn line_breaks(target: Target) -> Result<String> {
    let authority = format!("{}:{}", target.host, target.port);
    let value: [(&str, &[u8]); 1] = [("x", b"a\r\n\r\nGET /admin HTTP/1.1\r\nhost: x\r\n\r\n")];
    let bare: [(&str, &[u8]); 1] = [("x", b"a\nb: c")];
    let nul: [(&str, &[u8]); 1] = [("x", b"a\0b")];
    let name: [(&str, &[u8]); 1] = [("x\r\nhost", b"evil")];
    let split = format!("{authority}\r\nx: y");
    each([
        ("value", Raw { headers: &value, ..Raw::get(&authority, "/") }.send()),
        ("line feed", Raw { headers: &bare, ..Raw::get(&authority, "/") }.send()),
        ("nul", Raw { headers: &nul, ..Raw::get(&authority, "/") }.send()),
        ("name", Raw { headers: &name, ..Raw::get(&authority, "/") }.send()),
        ("path", Raw::get(&authority, "/ HTTP/1.1\r\nhost: evil\r\n\r\n").send()),
        ("authority", Raw::get(&split, "/").send()),
        ("absolute path", Raw::get(&authority, "http://127.0.0.1/").send()),
    ])
}
