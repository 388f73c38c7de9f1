//! Takes memory until none is left. The wall: limit `memory-bytes`.

use vespiary_sdk::{Result, tool};

/// Keeps every megabyte it can get.
#[tool]
pub fn memory_growth() -> Result<usize> {
    let mut held: Vec<Vec<u8>> = Vec::new();
    loop {
        held.push(std::hint::black_box(vec![1u8; 1 << 20]));
        if held.len() > 100_000 {
            return Ok(held.len());
        }
    }
}
