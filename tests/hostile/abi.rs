//! Guests that lie at the border: about pointers, lengths, encodings, cases and handles. The host believes nothing it has not
//! checked, so each ends with a trap whose kind is the breach.

use super::READ;
use super::checks::{limit, trap};
use super::rig::Rig;
use super::stage::play;
use serde_json::json;
use vespiary_kernel::call::Failure;
use vespiary_kernel::json::Json;

attack!(invalid_json_result, json!({}), READ, |_rig, f| trap(&f, &["contract"]));
written!(lying_pointer, |f| trap(&f, &["out-of-bounds", "contract"]));
written!(lying_length, |f| assert!(matches!(f, Failure::Limit(_) | Failure::Trapped(_)), "{f:?}"));
written!(bad_utf8, |f| trap(&f, &["contract"]));
written!(lying_realloc, |f| trap(&f, &["out-of-bounds", "contract"]));
written!(bad_variant, |f| trap(&f, &["contract"]));

/// The contract's own word for a breach, or the engine's for reaching past the memory.
const BREACH: &[&str] = &["contract", "out-of-bounds"];

written!(pointer_at_end, |f| trap(&f, BREACH));
written!(length_overflow, |f| trap(&f, BREACH));
written!(answer_misaligned, |f| trap(&f, BREACH));
written!(answer_over_itself, |f| trap(&f, &["contract"]));
written!(surrogate_utf8, |f| trap(&f, &["contract"]));
written!(overlong_utf8, |f| trap(&f, &["contract"]));
written!(cut_utf8, |f| trap(&f, &["contract"]));
written!(bad_error_case, |f| trap(&f, &["contract"]));
written!(bad_level, |f| trap(&f, &["contract"]));
written!(bad_option, |f| trap(&f, &["contract"]));
written!(log_past_the_end, |f| trap(&f, BREACH));
written!(handle_zero, |f| trap(&f, &["contract"]));
written!(handle_forged, |f| trap(&f, &["contract"]));
written!(handle_of_all_ones, |f| trap(&f, &["contract"]));
written!(handle_of_another_type, |f| trap(&f, &["contract"]));
written!(directory_as_writer, |f| trap(&f, &["contract"]));
written!(use_after_finish, |f| trap(&f, &["contract"]));
written!(use_after_drop, |f| trap(&f, &["contract"]));
written!(dropped_twice, |f| trap(&f, &["contract"]));
written!(finished_twice, |f| trap(&f, &["contract"]));
written!(return_pointer_misaligned, |f| trap(&f, BREACH));
written!(return_pointer_outside, |f| trap(&f, BREACH));
written!(list_longer_than_memory, |f| assert!(matches!(&f, Failure::Limit(_) | Failure::Trapped(_)), "{f:?}"));
written!(realloc_traps, |f| trap(&f, &["unreachable"]));
written!(realloc_loops, |f| limit(&f, "cpu-time-ms"));
written!(realloc_leaves, |f| trap(&f, &["trap"]));
written!(realloc_eats, |f| limit(&f, "memory-bytes"));
written!(realloc_recurses, |f| trap(&f, &["stack-overflow"]));
written!(realloc_changes_its_mind, |f| trap(&f, BREACH));
written!(clean_up_loops, |f| limit(&f, "cpu-time-ms"));
written!(clean_up_traps, |f| trap(&f, &["unreachable"]));
written!(clean_up_leaves, |f| trap(&f, &["trap"]));
written!(start_traps, |f| trap(&f, &["unreachable"]));
written!(jump_through_null, |f| trap(&f, &["null-reference"]));
written!(jump_past_the_table, |f| trap(&f, &["out-of-bounds"]));
written!(jump_to_another_type, |f| trap(&f, &["type-mismatch"]));
written!(utf16_surrogate, |f| trap(&f, &["contract"]));
written!(utf16_misaligned, |f| trap(&f, BREACH));
written!(utf16_length_overflow, |f| trap(&f, BREACH));
written!(latin1_lying_tag, |f| trap(&f, BREACH));

/// What a guest does to its own memory is its own affair: the host writes where it was told, and reads it back from there.
#[test]
fn realloc_null() {
    play(async {
        let rig = Rig::new();
        let outcome = rig.call_as(&rig.who(READ), "realloc-null.anything", json!({ "a": 1 })).await;
        assert_eq!(outcome.into_result().unwrap().as_str(), r#"{"a":1}"#);
    });
}

/// The host has read a guest's words before it answers over them.
#[test]
fn return_over_arguments() {
    play(async {
        let rig = Rig::new();
        let outcome = rig.call_as(&rig.who(READ), "return-over-arguments.anything", json!({})).await;
        let [artifact] = &outcome.artifacts[..] else { panic!("{outcome:?}") };
        let kept = (artifact.name.as_str(), artifact.media_type.as_str(), artifact.content.as_deref().unwrap());
        assert_eq!(kept, ("a.txt", "text/plain", &b"text/plain"[..]));
    });
}

/// A value is text, whatever the encoding it came in; the places that show it escape what a terminal would obey.
#[test]
fn latin1_controls() {
    play(async {
        let rig = Rig::new();
        let value = rig.call_as(&rig.who(READ), "latin1-controls.anything", json!({})).await.into_result().unwrap();
        assert_eq!(value.as_str(), "\"\u{9b}31m\"");
    });
}

/// An agent made of text, asked to do its worst.
async fn agent(name: &str) -> (Rig, Result<Json, Failure>) {
    let rig = Rig::new();
    let plugin = name.replace('_', "-");
    let grant = ["read:.", "tool:files.read", &format!("tool:{plugin}.run")].map(str::to_owned);
    let grant: Vec<&str> = grant.iter().map(String::as_str).collect();
    let task = json!({ "prompt": "p" });
    let outcome = rig.call_as(&rig.who(&grant), &format!("{plugin}.run"), task).await;
    (rig, outcome.into_result())
}

macro_rules! written_agent {
    ($name:ident, |$failure:ident| $check:expr) => {
        #[test]
        fn $name() {
            play(async {
                let $failure = agent(stringify!($name)).await.1.unwrap_err();
                $check;
            });
        }
    };
}

written_agent!(agent_requests_past_the_end, |f| trap(&f, BREACH));
written_agent!(agent_request_count_overflow, |f| trap(&f, BREACH));
written_agent!(agent_requests_misaligned, |f| trap(&f, BREACH));
written_agent!(agent_room_misaligned, |f| trap(&f, BREACH));
written_agent!(agent_asks_from_realloc, |f| trap(&f, &["trap"]));

/// While a cell is being built, nothing of the host's is within reach.
#[test]
fn agent_asks_at_start() {
    play(async {
        let (rig, answer) = agent("agent_asks_at_start").await;
        trap(&answer.unwrap_err(), &["null-reference"]);
        assert_eq!(rig.record.calls(), (6, 6), "nothing but the agent and its neighbour was recorded");
    });
}

/// The bound on a batch is the host's to keep; the SDK that splits longer lists is the guest's. The guest answers only if
/// every answer was a refusal.
async fn batch_is_refused(name: &str) {
    let (rig, answer) = agent(name).await;
    assert_eq!(answer.unwrap().as_str(), "null");
    assert_eq!(rig.record.calls(), (6, 6), "nothing but the agent and its neighbour was recorded");
}

#[test]
fn agent_batch_too_large() {
    play(async { batch_is_refused("agent_batch_too_large").await });
}

#[test]
fn agent_batch_of_a_hundred_thousand() {
    play(async { batch_is_refused("agent_batch_of_a_hundred_thousand").await });
}
