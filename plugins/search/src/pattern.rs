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

/// # Errors
/// `InvalidArguments` where the pattern does not compile; the message shows where.
pub(crate) fn matcher(pattern: &str, fixed: bool, case: Case) -> Result<RegexMatcher> {
    let mut builder = RegexMatcherBuilder::new();
    builder
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
