//! The script bridge, natively: whatever the source and whatever it is answered, the engine ends in a state and never in a
//! panic, numbers its requests in order, and says only JSON. Input: a source; after each `---`, an answer (JSON, or `!code message`).
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::time::{Duration, Instant};
use vespiary_engine::bridge::{Action, Budget, Completion, Request, Settlement};
use vespiary_engine::engine::{Engine, State, Turn};
use vespiary_fuzz::parts;

/// Natively no cell ends a loop; this does.
const TIME_MAX: Duration = Duration::from_millis(500);

fuzz_target!(|data: &[u8]| {
    let parts = parts(data);
    let source = String::from_utf8_lossy(parts[0]);
    let mut engine = Engine::new().expect("an engine");
    let begun = Instant::now();
    engine.interrupt_when(move || begun.elapsed() > TIME_MAX);
    let checked = engine.check(&source);
    if let Ok(meta) = &checked {
        json(meta);
    }
    let mut turn = engine.start(&source, r#"{"n":1,"list":["a",null]}"#, Budget { total: Some(1_000), spent: 0 });
    assert!(checked.is_ok() || matches!(turn.state, State::Failed(_)), "it runs and was refused");
    // Each turn is looked at once: its requests continue the numbers of the one before.
    let mut last = 0;
    let mut waiting = look(&turn, &mut last);
    for answer in parts[1..].iter().chain([&b"null"[..]].iter()).take(16) {
        if turn.state != State::Waiting || begun.elapsed() > TIME_MAX {
            break;
        }
        // Also to requests that nobody made, and twice to the same.
        let ids = waiting.iter().copied().chain([0, last, last + 1, u64::MAX]);
        let completions = ids.map(|id| Completion { id, settlement: settlement(answer) }).collect();
        turn = engine.step(completions, last);
        waiting = look(&turn, &mut last);
    }
});

/// The requests that wait for an answer, after everything in the turn was looked at.
fn look(turn: &Turn, last: &mut u64) -> Vec<u64> {
    match &turn.state {
        State::Waiting => {}
        State::Done(value) => json(value),
        State::Failed(fault) => assert!(!fault.message.is_empty(), "a failure without words"),
    }
    let mut waiting = Vec::new();
    for Request { id, action } in &turn.requests {
        assert_eq!(*id, *last + 1, "requests are numbered in order");
        *last = *id;
        match action {
            Action::Agent { options, .. } => json(options),
            Action::Tool { arguments: given, .. } | Action::Workflow { args: given, .. } => json(given),
            Action::Gate(options) => json(options),
            Action::Verdict { votes, .. } => {
                json(votes);
                continue;
            }
            Action::Phase(_) | Action::Log(_) => continue,
        }
        waiting.push(*id);
    }
    waiting
}

fn settlement(answer: &[u8]) -> Settlement {
    let text = String::from_utf8_lossy(answer).into_owned();
    match text.strip_prefix('!').and_then(|rest| rest.split_once(' ')) {
        Some((code, message)) => {
            Settlement::Rejected { code: code.into(), message: message.into(), detail: "null".into() }
        }
        // The host hands over only JSON.
        None if serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok() => Settlement::Resolved(text),
        None => Settlement::Resolved("[]".into()),
    }
}

fn json(text: &str) {
    assert!(serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok(), "not JSON: {text}");
}
