//! Takes memory in the smallest pieces and keeps every one. The wall: limit `memory-bytes`.

use vespiary_sdk::{Result, tool};

/// Keeps boxes of eight bytes.
#[tool]
pub fn tiny_allocations() -> Result<usize> {
    let mut held: Vec<Box<u64>> = Vec::new();
    loop {
        held.push(std::hint::black_box(Box::new(7)));
        if held.len() > 1 << 30 {
            return Ok(held.len());
        }
    }
}
