//! From arguments to a matcher. What must never live here: files.

use grep_regex::{RegexMatcher, RegexMatcherBuilder};
use ignore::overrides::{Override, OverrideBuilder};
use vespiary_sdk::prelude::*;

/// How upper and lower case compare.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Case {
    /// `a` is not `A`.
    #[default]
    Sensitive,
    /// `a` is `A`.
    Insensitive,
    /// Insensitive, unless the pattern contains an upper-case letter.
    Smart,
}

/// Bytes of a compiled pattern, and of what is remembered while it runs. Both, with a file, fit the memory of a cell; a
/// pattern past the first is refused, one past the second runs slower.
const COMPILED_BYTES_MAX: usize = 16 << 20;
const REMEMBERED_BYTES_MAX: usize = 16 << 20;

/// # Errors
/// `InvalidArguments` where the pattern does not compile; the message shows where.
pub(crate) fn matcher(pattern: &str, fixed: bool, case: Case) -> Result<RegexMatcher> {
    let mut builder = RegexMatcherBuilder::new();
    builder
        .size_limit(COMPILED_BYTES_MAX)
        .dfa_size_limit(REMEMBERED_BYTES_MAX)
        // `$` matches before CR LF, too. Lines end with LF all the same, so a pattern may name a CR.
        .crlf(true)
        .line_terminator(Some(b'\n'))
        .multi_line(true)
        .fixed_strings(fixed)
        .case_insensitive(case == Case::Insensitive)
        .case_smart(case == Case::Smart);
    builder.build(pattern).map_err(|error| {
        let hint = if fixed { "" } else { "\nTo search for the text as it stands, set fixed." };
        Error::invalid(format!("pattern {pattern:?}: {error}{hint}"))
    })
}

/// # Errors
/// `InvalidArguments` where a glob does not compile.
pub(crate) fn globs(globs: &[String]) -> Result<Override> {
    let mut builder = OverrideBuilder::new(".");
    for glob in globs {
        builder.add(glob).map_err(|error| Error::invalid(format!("glob {glob:?}: {error}")))?;
    }
    builder.build().map_err(|error| Error::invalid(format!("globs: {error}")))
}
