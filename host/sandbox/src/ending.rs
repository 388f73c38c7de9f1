//! How a guest's end becomes a cause. Every way a call can stop is one of the kernel's `Failure`s, with a stable word where
//! programs look and a plain sentence where people do.

use crate::cell::{Cell, HANDLES_MAX, Senses};
use crate::text;
use crate::walls::time_hit;
use vespiary_kernel::call::{Failure, Trap};
use vespiary_kernel::json::Json;
use vespiary_kernel::quota::{LimitHit, Quota};
use wasmtime::component::ResourceTableError;
use wasmtime::{Error, PoolConcurrencyLimitError, WasmBacktrace};
use wasmtime_wasi::I32Exit;

/// The stable word for a stack that ended.
pub(crate) const STACK_OVERFLOW: &str = "stack-overflow";

/// The cause of an error out of Wasmtime: a trap, a refused import, a broken contract.
pub(crate) fn of_error(error: &Error, cell: &Cell, quota: &Quota) -> Failure {
    let trap = error.downcast_ref::<wasmtime::Trap>();
    // First what certainly ended the call, then what probably did: a guest that is denied memory most often dies of it.
    if let Some(hit) = cell.report.log_over() {
        return Failure::Limit(hit);
    }
    if trap == Some(&wasmtime::Trap::Interrupt)
        && let Some(hit) = cell.walls.cpu_spent()
    {
        return Failure::Limit(hit);
    }
    if let Some(hit) = host_side(error, cell, quota) {
        return Failure::Limit(hit);
    }
    if let Some(hit) = cell.walls.refusal().or_else(|| cell.report.refusal()).or_else(|| cell.files.refusal()) {
        return Failure::Limit(hit);
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return Failure::Host(format!("there is no room for another cell: {error}; run with fewer at once"));
    }
    let (kind, message) = match (trap, error.downcast_ref::<I32Exit>()) {
        (Some(trap), _) => (trap_kind(*trap), trap_message(*trap)),
        (None, Some(exit)) => ("exit", format!("it called exit with status {} instead of answering", exit.0)),
        (None, None) => ("contract", error.root_cause().to_string()),
    };
    let message = match cell.report.last_words() {
        Some(words) => format!("{message}; it last said: {words}"),
        None => message,
    };
    Failure::Trapped(Trap { kind: kind.into(), message: text::cause(message) })
}

/// Limits that Wasmtime enforces for us.
fn host_side(error: &Error, cell: &Cell, quota: &Quota) -> Option<LimitHit> {
    if let Some(ResourceTableError::Full) = error.downcast_ref::<ResourceTableError>() {
        let limit = HANDLES_MAX as u64;
        return Some(LimitHit { quota: "open-handles".into(), limit, used: limit + 1 });
    }
    // These errors have no public type; tests fail should their words change.
    if error.root_cause().to_string().contains("instance count too high") {
        let limit = quota.instances_max;
        return Some(LimitHit { quota: "instances".into(), limit, used: limit.saturating_add(1) });
    }
    if error.root_cause().to_string().contains("fuel allocated for hostcalls") {
        // Without frames nothing was running: it was the answer that was too long. A script's is a turn, with a limit of its own.
        let (quota, limit) = match error.downcast_ref::<WasmBacktrace>() {
            None if cell.senses == Senses::Still => ("turn-bytes", cell.host_call_bytes_max),
            None => ("result-bytes", quota.result_bytes_max),
            Some(_) => ("host-call-bytes", cell.host_call_bytes_max),
        };
        return Some(LimitHit { quota: quota.into(), limit, used: cell.host_call_bytes_max.saturating_add(1) });
    }
    None
}

/// The cause of a failure that a guest reported itself: the limit on files it met, where it met one, or its time, where that was
/// up. A guest says in its own words that a disk is full or that a request broke off; what was full is for the host to tell.
pub(crate) fn of_failure(failure: Failure, cell: &Cell, quota: &Quota) -> Failure {
    let Failure::Failed(_) = failure else { return failure };
    if let Some(hit) = cell.files.refusal() {
        return Failure::Limit(hit);
    }
    // A request of the guest's ends at the same moment as the call; on a busy machine the guest hears of it first.
    let wall = cell.walls.clock.wall();
    if wall < quota.wall_time_max {
        return failure;
    }
    Failure::Limit(time_hit("wall-time-ms", quota.wall_time_max, wall))
}

/// A guest's answer, held to the contract.
pub(crate) fn of_answer(answer: String, quota: &Quota) -> Result<Json, Failure> {
    let used = answer.len() as u64;
    if used > quota.result_bytes_max {
        return Err(Failure::Limit(LimitHit { quota: "result-bytes".into(), limit: quota.result_bytes_max, used }));
    }
    json(answer, "its answer")
}

/// JSON a guest handed over, or the breach of contract that it is not.
pub(crate) fn json(text: String, what: &str) -> Result<Json, Failure> {
    Json::parse(text).map_err(|error| breach(format!("{what} is {error}")))
}

/// The guest did something its world forbids.
pub(crate) fn breach(message: String) -> Failure {
    Failure::Trapped(Trap { kind: "contract".into(), message: text::cause(message) })
}

fn trap_kind(trap: wasmtime::Trap) -> &'static str {
    use wasmtime::Trap::*;
    match trap {
        StackOverflow => STACK_OVERFLOW,
        MemoryOutOfBounds | TableOutOfBounds | ArrayOutOfBounds => "out-of-bounds",
        HeapMisaligned => "misaligned",
        IndirectCallToNull | NullReference => "null-reference",
        BadSignature | CastFailure => "type-mismatch",
        IntegerOverflow => "integer-overflow",
        IntegerDivisionByZero => "division-by-zero",
        BadConversionToInteger => "bad-conversion",
        UnreachableCodeReached => "unreachable",
        Interrupt => "interrupted",
        _ => "trap",
    }
}

fn trap_message(trap: wasmtime::Trap) -> String {
    let text = trap.to_string();
    text.strip_prefix("wasm trap: ").unwrap_or(&text).to_owned()
}
