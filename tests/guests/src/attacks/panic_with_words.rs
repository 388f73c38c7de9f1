//! Panics. The wall: trap `unreachable`, with the panic's words in the log.

use vespiary_sdk::{Result, tool};

/// Indexes past the end.
#[tool]
pub fn panic_with_words() -> Result<u8> {
    let bytes = std::hint::black_box(vec![1u8]);
    Ok(bytes[std::hint::black_box(7)])
}
