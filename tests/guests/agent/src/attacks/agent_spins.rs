//! Computes for ever. The wall: limit `cpu-time-ms`.

use crate::Outcome;
use serde_json::Value;

/// Never asks for anything.
pub fn attack(_: &Value) -> Outcome {
    loop {
        std::hint::black_box(());
    }
}
