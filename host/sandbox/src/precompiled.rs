//! The one room for `unsafe`: turning compiled code from the cache back into a component. Nothing else may live here, and
//! nothing may be added that does not need the word.

#![allow(unsafe_code, reason = "compiled code is machine code: the engine cannot verify it and says so with `unsafe`")]

use crate::compile::Code;
use wasmtime::component::Component;
use wasmtime::{Engine, Error};

/// Machine code that this program wrote and that nobody changed since: the receipt without which nothing is mapped.
pub(crate) struct Intact<'a>(&'a [u8]);

impl<'a> Intact<'a> {
    /// To be called by the cache alone, after it found the file in a directory that only its owner can write, under the name
    /// of this component, this engine configuration and this Wasmtime, and the SHA-256 in its header matched `code`.
    pub(crate) fn vouched_by_cache(code: &'a [u8]) -> Self {
        Self(code)
    }

    /// Of code that a process of this program wrote into a pipe which nobody else holds, for the same settings.
    pub(crate) fn vouched_by_compiler(code: &'a Code) -> Self {
        Self(code.bytes())
    }
}

/// Make a component of compiled code. The bytes are copied, not mapped from the file: a file that is truncated later
/// cannot pull pages out from under a running cell.
///
/// Fails when the code was made by another Wasmtime or with other settings.
pub(crate) fn load(engine: &Engine, code: Intact<'_>) -> Result<Component, Error> {
    // SAFETY: `deserialize` demands bytes that `Component::serialize` made and that nobody modified. `Intact` is made only by
    // the cache, which checked exactly that: whoever could forge the file's header could also replace this program, since
    // both belong to the same user. And by a compiler process, which is this program: a component that could make it write
    // anything else would have taken over this process, were it compiled here.
    unsafe { Component::deserialize(engine, code.0) }
}
