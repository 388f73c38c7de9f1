//! Calls itself until the stack ends. The wall: trap `stack-overflow`.

use vespiary_sdk::{Result, tool};

#[inline(never)]
fn descend(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 64]);
    if std::hint::black_box(depth) == u64::MAX { frame[0] } else { descend(depth + 1) + frame[63] }
}

/// Never reaches the bottom.
#[tool]
pub fn deep_recursion() -> Result<u64> {
    Ok(descend(0))
}
