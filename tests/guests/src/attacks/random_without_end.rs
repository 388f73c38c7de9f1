//! Asks for a little randomness, for ever. The wall: limit `cpu-time-ms`: the host's work counts as the guest's.

use vespiary_sdk::{Result, tool};

/// Drinks the host's entropy.
#[tool]
pub fn random_without_end() -> Result<u64> {
    let mut sum = 0u64;
    loop {
        let bytes = wasip2::random::insecure::get_insecure_random_bytes(64 << 10);
        sum = std::hint::black_box(sum.wrapping_add(u64::from(bytes[0])));
        drop(wasip2::random::random::get_random_bytes(64 << 10));
    }
}
