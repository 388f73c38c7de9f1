//! Fails with words that would clear a screen, set its title, fill its clipboard and reorder its text. Not refused but
//! disarmed, in every case of error that carries words.

use schemars::JsonSchema;
use serde::Deserialize;
use vespiary_sdk::{Denial, Error, LimitHit, Result, tool};

#[derive(Deserialize, JsonSchema)]
pub struct Case {
    /// Which case of error to fail with.
    case: String,
}

/// What a terminal must not be told.
pub const ESCAPES: &str = "before\x1b[2J\x1b]0;owned\x07\x1b]52;c;b3duZWQ=\x07\x1b]8;;http://evil.example\x1b\\\u{9b}31m\u{90}q\u{202e}\u{2066}\rover\0after";

/// Fails with CASE.
#[tool]
pub fn error_escapes(case: Case) -> Result<String> {
    let words = ESCAPES.to_owned();
    Err(match case.case.as_str() {
        "invalid" => Error::InvalidArguments(words),
        "not-found" => Error::NotFound(words),
        "denied" => Error::Denied(Denial { needed: words.clone(), held: words.clone(), hint: words }),
        "limit" => Error::Limit(LimitHit { quota: format!("{words}\nsecond"), limit: 1, used: 2 }),
        "failed" => Error::Failed(words),
        _ => panic!("{words}"),
    })
}
