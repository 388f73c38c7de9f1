//! The one room for `unsafe`: turning compiled code from the cache back into a component. Nothing else may live here, and
//! nothing may be added that does not need the word.

#![allow(unsafe_code, reason = "compiled code is machine code: the engine cannot verify it and says so with `unsafe`")]

use crate::compile::Code;
use std::os::fd::{AsRawFd, OwnedFd};
use wasmtime::component::Component;
use wasmtime::{Engine, Error};

/// Machine code that this program wrote and that nobody changed since: the receipt without which nothing is mapped.
pub(crate) struct Intact<'a>(&'a [u8]);

impl<'a> Intact<'a> {
    /// To be called by the cache alone, after it found the file in a directory that only its owner can write, under the name
    /// of this component, this engine configuration and this Wasmtime, and the BLAKE3 in its header matched `code`.
    pub(crate) fn vouched_by_cache(code: &'a [u8]) -> Self {
        Self(code)
    }

    /// Of code that a process of this program wrote into a pipe which nobody else holds, for the same settings.
    pub(crate) fn vouched_by_compiler(code: &'a Code) -> Self {
        Self(code.bytes())
    }
}

/// The same in a file that cannot be changed any more, under whatever name.
pub(crate) struct IntactFile<'a>(&'a OwnedFd);

impl<'a> IntactFile<'a> {
    /// To be called by the cache alone, under the same conditions, and once the file is sealed against writing, growing and shrinking.
    pub(crate) fn vouched_by_cache(file: &'a OwnedFd) -> Self {
        Self(file)
    }
}

/// Make a component of compiled code by mapping it. The pages are those of the sealed file: nobody can cut them off.
///
/// Fails where `load` does, and where this system has no `/proc` or maps no such file for running.
pub(crate) fn map(engine: &Engine, code: IntactFile<'_>) -> Result<Component, Error> {
    let path = format!("/proc/self/fd/{}", code.0.as_raw_fd());
    // SAFETY: as for `load`; and the file neither is nor becomes another one: it is sealed, and this process holds it open under
    // this number for as long as it takes to open it once more.
    unsafe { Component::deserialize_file(engine, path) }
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
