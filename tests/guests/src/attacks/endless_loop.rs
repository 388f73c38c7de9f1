//! Computes for ever. The wall: limit `cpu-time-ms`.

use vespiary_sdk::{Result, tool};

/// Never returns.
#[tool]
pub fn endless_loop() -> Result<u64> {
    let mut n = 0u64;
    loop {
        n = std::hint::black_box(n.wrapping_mul(6364136223846793005).wrapping_add(1));
        if n == 1 && std::hint::black_box(false) {
            return Ok(n);
        }
    }
}
