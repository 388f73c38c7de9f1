//! Asks for more random bytes than there are bytes. The wall: a trap, before anything is allocated.

use vespiary_sdk::{Result, tool};

/// Wants 2^64 - 1 bytes.
#[tool]
pub fn random_flood() -> Result<usize> {
    Ok(wasip2::random::random::get_random_bytes(u64::MAX).len())
}
