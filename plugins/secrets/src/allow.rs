//! Comments by which an author says that a string is no secret.

use regex::bytes::{Regex, RegexBuilder};
use std::sync::LazyLock;

static SAME_LINE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?i)pragma:\s?(?:allow|white)list[ -]secret|gitleaks:\s?allow|vespiary:\s?allow[ -]secret|trufflehog:\s?ignore|ggignore|\bnosec\b|noqa:[^\n]*\bS10[5-7]\b|nosemgrep|detect-secrets:\s?(?:disable|ignore)",
    )
});
static LINE_BEFORE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r"(?i)pragma:\s?(?:allow|white)list[ -]nextline[ -]secret|vespiary:\s?allow[ -]next[ -]?line[ -]secret")
});

#[expect(clippy::expect_used, reason = "both patterns are compiled by the unit test")]
fn pattern(text: &str) -> Regex {
    RegexBuilder::new(text).unicode(false).build().expect("a built-in pattern")
}

/// The comment that allows what stands on `line`, if there is one on it or on the line before.
pub(crate) fn allowed(line: &[u8], before: Option<&[u8]>) -> Option<String> {
    let on_line = SAME_LINE.find(line);
    let found = on_line.or_else(|| before.and_then(|before| LINE_BEFORE.find(before)))?;
    Some(String::from_utf8_lossy(found.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_comment_allows_its_line() {
        for comment in [
            "# pragma: allowlist secret",
            "// gitleaks:allow",
            "# vespiary:allow secret",
            "# nosec",
            "# nosec B105",
            "# noqa: S105",
            "-- trufflehog:ignore",
        ] {
            assert!(allowed(format!("password = 'x' {comment}").as_bytes(), None).is_some(), "{comment}");
        }
        assert!(allowed(b"x", Some(b"# pragma: allowlist nextline secret")).is_some());
        assert!(allowed(b"x", Some(b"# pragma: allowlist secret")).is_none());
        assert!(allowed(b"nosecret = 1", None).is_none());
    }
}
