//! Uses numbers that might be descriptors of somebody else. The wall: a number it was not given ends the call.

#![allow(unsafe_code, reason = "what no safe guest can do is what is tried here")]

use crate::siege::Descriptor;
use vespiary_sdk::{Result, tool};

/// Uses numbers that might be descriptors of somebody else.
#[tool]
pub fn guessed_descriptors() -> Result<String> {
    let mut loot = Vec::new();
    for number in [0x7fff_ffff, 0, 1, 2, 3, 4, 5, 100, 1_000] {
        // Never dropped: what is not a descriptor must not be given back as one.
        let guessed = std::mem::ManuallyDrop::new(unsafe { Descriptor::from_handle(number) });
        loot.push(format!("{number}: {:?}", guessed.get_type()));
    }
    Ok(loot.join("; "))
}
