//! Asks for its directory again and again and keeps every answer. The wall: limit `open-handles`.

use vespiary_sdk::{Result, tool};

/// Collects directories.
#[tool]
pub fn preopen_crowd() -> Result<usize> {
    let mut held = Vec::new();
    for _ in 0..1_000_000 {
        held.extend(wasip2::filesystem::preopens::get_directories());
    }
    Ok(held.len())
}
