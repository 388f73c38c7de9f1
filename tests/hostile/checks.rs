//! What an attack must end in, as assertions that say what came instead.

use vespiary_kernel::call::Failure;

pub fn failed(failure: &Failure) -> &str {
    match failure {
        Failure::Failed(why) => why,
        other => panic!("expected the guest to be told, got {other:?}"),
    }
}

#[track_caller]
pub fn limit(failure: &Failure, quota: &str) {
    match failure {
        Failure::Limit(hit) => assert_eq!(hit.quota, quota, "{hit}"),
        other => panic!("expected the limit {quota}, got {other:?}"),
    }
}

#[track_caller]
pub fn trap(failure: &Failure, kinds: &[&str]) {
    match failure {
        Failure::Trapped(trap) => assert!(kinds.contains(&trap.kind.as_str()), "{trap:?}"),
        other => panic!("expected a trap of {kinds:?}, got {other:?}"),
    }
}

#[track_caller]
pub fn unrunnable(failure: &Failure, part: &str) {
    match failure {
        Failure::Unrunnable(why) => assert!(why.contains(part), "{why}"),
        other => panic!("expected the component to be refused, got {other:?}"),
    }
}

/// No character is in `text` that a terminal would obey or that reorders what is read; `breaks` may be.
#[track_caller]
pub fn harmless(text: &str, breaks: bool) {
    let hostile = |c: char| {
        (c.is_control() && !(breaks && c == '\n') && c != '\t')
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
    };
    assert!(!text.contains(hostile), "{:?}", text.lines().find(|line| line.contains(hostile)).unwrap_or(text));
}
