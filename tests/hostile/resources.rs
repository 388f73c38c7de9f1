//! Guests that take more than their share: processor, time, memory, tables, stack, and the host's ear. Each ends with the
//! quota's name and what it asked for.

use super::READ;
use super::checks::{failed, limit, trap};
use super::rig::Rig;
use super::stage::play;
use serde_json::json;
use vespiary_kernel::call::{Ending, Failure};

attack!(endless_loop, json!({}), READ, |_rig, f| limit(&f, "cpu-time-ms"));
attack!(quick_then_slow, json!({ "now": true }), READ, |_rig, f| limit(&f, "cpu-time-ms"));
attack!(endless_sleep, json!({}), READ, |_rig, f| limit(&f, "wall-time-ms"));
attack!(memory_growth, json!({}), READ, |_rig, f| limit(&f, "memory-bytes"));
attack!(deep_recursion, json!({}), READ, |_rig, f| {
    // The compiler keeps big frames on a stack of its own, in linear memory; whichever stack ends first.
    trap(&f, &["stack-overflow", "out-of-bounds"]);
});
attack!(huge_result, json!({}), READ, |_rig, f| {
    // The guest itself may run out of memory while it builds the answer; both are walls.
    match &f {
        Failure::Limit(hit) => assert!(matches!(hit.quota.as_str(), "result-bytes" | "memory-bytes"), "{hit}"),
        other => panic!("{other:?}"),
    }
});
attack!(log_flood, json!({}), READ, |_rig, f| limit(&f, "log-bytes"));
attack!(stdout_flood, json!({}), READ, |_rig, f| {
    assert!(matches!(&f, Failure::Limit(hit) if hit.quota == "log-bytes") || failed(&f) == "stdout: closed", "{f:?}");
});
attack!(progress_flood, json!({}), READ, |_rig, f| limit(&f, "log-bytes"));
attack!(artifact_flood, json!({}), READ, |_rig, f| {
    assert!(f.to_string().contains("artifact-bytes"), "{f:?}");
});

attack!(tiny_allocations, json!({}), READ, |_rig, f| limit(&f, "memory-bytes"));
attack!(log_empty_lines, json!({}), READ, |_rig, f| limit(&f, "log-bytes"));
attack!(log_one_message, json!({}), READ, |_rig, f| limit(&f, "log-bytes"));
attack!(log_huge_message, json!({}), READ, |_rig, f| limit(&f, "host-call-bytes"));
attack!(stderr_without_end, json!({}), READ, |_rig, f| limit(&f, "log-bytes"));
attack!(empty_writes, json!({}), READ, |_rig, f| limit(&f, "cpu-time-ms"));
attack!(progress_without_words, json!({}), READ, |_rig, f| limit(&f, "log-bytes"));
attack!(progress_huge_note, json!({}), READ, |_rig, f| limit(&f, "host-call-bytes"));
attack!(artifact_crowd, json!({}), READ, |_rig, f| limit(&f, "artifacts"));
attack!(artifact_unfinished, json!({}), READ, |_rig, f| limit(&f, "open-handles"));
attack!(artifact_dropped, json!({}), READ, |_rig, f| assert!(f.to_string().contains("artifact-bytes"), "{f:?}"));
attack!(sleep_in_many, json!({}), READ, |_rig, f| limit(&f, "wall-time-ms"));
attack!(sleep_past_the_end, json!({}), READ, |_rig, f| limit(&f, "wall-time-ms"));
attack!(sleep_in_turns, json!({}), READ, |_rig, f| match &f {
    Failure::Limit(hit) => assert!(matches!(hit.quota.as_str(), "wall-time-ms" | "cpu-time-ms"), "{hit}"),
    other => panic!("{other:?}"),
});
attack!(poll_crowd, json!({}), READ, |_rig, f| limit(&f, "open-handles"));
attack!(poll_nothing, json!({}), READ, |_rig, f| trap(&f, &["contract"]));
attack!(preopen_crowd, json!({}), READ, |_rig, f| limit(&f, "open-handles"));
attack!(random_flood, json!({}), READ, |_rig, f| trap(&f, &["contract"]));
attack!(random_without_end, json!({}), READ, |_rig, f| limit(&f, "cpu-time-ms"));
attack!(exit_happily, json!({}), READ, |_rig, f| trap(&f, &["exit"]));
attack!(exit_in_anger, json!({}), READ, |_rig, f| trap(&f, &["exit"]));
attack!(open_many_files, json!({ "path": "notes.txt" }), READ, |_rig, f| limit(&f, "open-handles"));

written!(grow_after_refusal, |f| limit(&f, "cpu-time-ms"));
written!(tables_together, |f| limit(&f, "table-elements"));
written!(stack_through_the_host, |f| trap(&f, &["stack-overflow"]));
written!(huge_frames, |f| trap(&f, &["stack-overflow"]));

written!(table_growth, |f| limit(&f, "table-elements"));
written!(call_itself, |f| trap(&f, &["stack-overflow"]));
written!(start_loop, |f| limit(&f, "cpu-time-ms"));
written!(huge_memory, |f| assert!(matches!(f, Failure::Unrunnable(_) | Failure::Limit(_)), "{f:?}"));
written!(many_memories, |f| assert!(matches!(f, Failure::Unrunnable(_) | Failure::Limit(_)), "{f:?}"));

/// The well-behaved one, alone: what every other test relies on.
#[test]
fn neighbour() {
    play(async {
        let rig = Rig::new();
        let outcome = rig.call_as(&rig.who(READ), "hostile.neighbour", json!({ "text": "hello" })).await;
        assert!(matches!(outcome.ending, Ending::Done(value) if value.as_str() == "\"hello\""));
        let (intended, ended) = rig.record.calls();
        assert_eq!((intended, ended), (6, 6));
    });
}

/// The limit is a byte, not a neighbourhood: what lies on it arrives whole, and one byte more does not.
#[test]
fn result_of_length() {
    play(async {
        let rig = Rig::new();
        let answer = |bytes: u64| {
            let rig = &rig;
            async move {
                rig.call_as(&rig.who(READ), "hostile.result_of_length", json!({ "bytes": bytes })).await.into_result()
            }
        };
        assert_eq!(answer(65_536).await.unwrap().len_bytes(), 65_536);
        let Err(Failure::Limit(hit)) = answer(65_537).await else { panic!("a byte too many arrived") };
        assert_eq!((hit.quota.as_str(), hit.limit, hit.used), ("result-bytes", 65_536, 65_537));
    });
}

/// Text that a reader might recurse into arrives as text, and stays text for whoever only passes it on.
#[test]
fn result_deeply_nested() {
    play(async {
        let rig = Rig::new();
        let outcome = rig.call_as(&rig.who(READ), "hostile.result_deeply_nested", json!({})).await;
        let value = outcome.into_result().unwrap();
        assert_eq!(value.len_bytes(), 60_000);
        let why = value.read::<serde_json::Value>().unwrap_err().to_string();
        assert!(why.contains("recursion limit"), "{why}");
    });
}

/// Whatever is JSON is recorded as it was written, also where no reader would agree with another about it.
#[test]
fn result_odd_numbers() {
    play(async {
        let rig = Rig::new();
        let outcome = rig.call_as(&rig.who(READ), "hostile.result_odd_numbers", json!({})).await;
        let value = outcome.into_result().unwrap();
        assert!(value.as_str().contains("1e999") && value.as_str().contains(r#""k":1,"k":2"#), "{value}");
    });
}

/// Names mean nothing: two artifacts of one name are two.
#[test]
fn artifact_same_name() {
    play(async {
        let rig = Rig::new();
        let outcome = rig.call_as(&rig.who(READ), "hostile.artifact_same_name", json!({})).await;
        let kept: Vec<_> = outcome.artifacts.iter().map(|a| (a.name.as_str(), a.content.as_deref().unwrap())).collect();
        let all: [(&str, &[u8]); 4] =
            [("report.txt", b"one"), ("report.txt", b"two"), ("report.txt", b"one"), ("REPORT.TXT", b"three")];
        assert_eq!(kept, all);
        assert_eq!(outcome.artifacts[0].digest, outcome.artifacts[2].digest);
    });
}

/// Arguments come from a script or an agent; the cell has room for them or the call ends, and nobody else is asked to hold
/// them.
#[test]
fn huge_arguments() {
    play(async {
        let rig = Rig::new();
        let text = "x".repeat(6 << 20);
        limit(&rig.attack("cramped.neighbour", json!({ "text": text }), READ).await, "memory-bytes");
    });
}

/// Arguments nested a hundred thousand deep. The guest's reader refuses them, and says so.
#[test]
fn deep_arguments() {
    play(async {
        let rig = Rig::new();
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        let failure = rig.attack_with_text("hostile.neighbour", &format!("{{\"text\":{deep}}}"), READ).await;
        assert!(matches!(&failure, Failure::InvalidArguments(_)), "{failure:?}");
    });
}

/// The clock around the call is far away; the one around each wait is not.
#[test]
fn wait_without_a_word() {
    play(async {
        limit(&Rig::new().attack("idle.endless_sleep", json!({}), READ).await, "idle-time-ms");
    });
}
