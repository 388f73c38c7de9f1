//! Is quick as often as it is asked to be, to be called where clients are heard, and then computes for ever there. The walls: limit
//! `cpu-time-ms`, and that such a call goes on elsewhere.

use schemars::JsonSchema;
use serde::Deserialize;
use vespiary_sdk::{Result, tool};

/// Whether it is time.
#[derive(Deserialize, JsonSchema)]
pub struct QuickThenSlow {
    now: bool,
}

/// Returns at once, or never.
#[tool]
pub fn quick_then_slow(args: QuickThenSlow) -> Result<u64> {
    let mut n = 0u64;
    while args.now {
        n = std::hint::black_box(n.wrapping_mul(6364136223846793005).wrapping_add(1));
    }
    Ok(n)
}
