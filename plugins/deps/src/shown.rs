//! What may be shown of text that comes from files: no credentials of addresses, no control characters, no endless line.

/// Characters that are shown of a text, at most.
const SHOWN_MAX: usize = 160;

/// At most 160 characters on one line, without control characters and without credentials in addresses.
pub(crate) fn shown(text: &str) -> String {
    let mut safe = String::new();
    for word in text.trim().split_inclusive(ends_word) {
        mask(word, &mut safe);
        // A line may be a whole file. What is past the limit is not looked at; a word is looked at whole, lest it is cut before its `@`.
        if safe.len() > 4 * SHOWN_MAX {
            break;
        }
    }
    let clean: String = safe.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SHOWN_MAX + 1).collect();
    match clean.char_indices().nth(SHOWN_MAX) {
        Some((at, _)) => format!("{}…", &clean[..at]),
        None => clean,
    }
}

/// The whole text, `…` in place of what an address says before its host and in its query: passwords, tokens, signatures.
pub(crate) fn masked(text: &str) -> String {
    let mut safe = String::new();
    text.split_inclusive(ends_word).for_each(|word| mask(word, &mut safe));
    safe
}

fn ends_word(c: char) -> bool {
    c.is_whitespace() || c == '"' || c == '\''
}

fn mask(word: &str, safe: &mut String) {
    let body = word.trim_end_matches(ends_word);
    let end = &word[body.len()..];
    let begins = safe.len();
    let mut rest = body;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        safe.push_str(before);
        let authority = after.find('/').unwrap_or(after.len());
        rest = match after[..authority].rfind('@') {
            Some(sign) => {
                safe.push_str("…@");
                &after[sign + 1..]
            }
            None => after,
        };
    }
    if safe.len() == begins {
        rest = without_scheme(body, safe);
    }
    safe.push_str(rest);
    if let Some(query) =
        safe[begins..].find("://").and_then(|at| safe[begins + at..].find('?').map(|q| begins + at + q))
    {
        let fragment = safe[query..].find('#').map_or(safe.len(), |at| query + at);
        safe.replace_range(query + 1..fragment, "…");
    }
    safe.push_str(end);
}

/// Some lock files write an address without its scheme: `user:word@host.tld/path`, or `@user:word@host/path`, which is no scope of a name.
/// Gives what is left to show after who it names.
fn without_scheme<'a>(word: &'a str, safe: &mut String) -> &'a str {
    let begin = |sign: usize| word[..sign].rfind('/').map_or(0, |slash| slash + 1);
    let ends_user = |sign: usize| begins_with_host(&word[sign + 1..]) || word[begin(sign)..sign].starts_with('@');
    let Some((sign, _)) = word.rmatch_indices('@').find(|(sign, _)| ends_user(*sign)) else { return word };
    safe.push_str(&word[..begin(sign)]);
    if begin(sign) < sign {
        safe.push('…');
    }
    &word[sign..]
}

/// Whether a host with a top-level name and a path come next. The version in `name@1.0.0/` is no host.
fn begins_with_host(text: &str) -> bool {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '.'))).unwrap_or(text.len());
    let (host, rest) = text.split_at(end);
    let after_port = rest.strip_prefix(':').map_or(rest, |port| port.trim_start_matches(|c: char| c.is_ascii_digit()));
    let top = host.rsplit_once('.').map_or("", |(_, top)| top);
    top.starts_with(|c: char| c.is_ascii_alphabetic()) && after_port.starts_with('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_short_and_holds_no_credentials() {
        for (text, safe) in [
            (" x = \"https://user:word@host/x\" ", "x = \"https://…@host/x\""),
            ("git+ssh://git@host/x#1", "git+ssh://…@host/x#1"),
            ("lib@https://user:w@rd@host/x@1", "lib@https://…@host/x@1"),
            ("https://host/x.tgz?token=abc#sha1, b", "https://host/x.tgz?…#sha1, b"),
            ("'@user:word@npm.corp/x.tgz':", "'…@npm.corp/x.tgz':"),
            ("/@token@npm.corp:8443/x.tgz", "/…@npm.corp:8443/x.tgz"),
            ("'@user:word@nexus:8081/x.tgz':", "'…@nexus:8081/x.tgz':"),
        ] {
            assert_eq!((shown(text), masked(text.trim())), (safe.to_owned(), safe.to_owned()));
            assert_eq!(shown(safe), safe, "what is safe stays as it is");
        }
        assert_eq!(shown(&"é".repeat(300)).chars().count(), 161);
        let late = format!("{} https://user:{}@host/x", "x".repeat(150), "word".repeat(400));
        assert!(!shown(&late).contains("word"), "an address that is cut shows none of its credentials");
    }

    #[test]
    fn what_is_no_credential_stays() {
        for text in [
            "https://host/@scope/a",
            "\"alias@npm:@scope/real@^2.0.0\":",
            "/@s/d/4.0.0_peer@1.0.0:",
            "@codeload.github.com/org/repo/tar.gz/00",
            "git@github.com:org/repo",
            "a?b=c@d",
        ] {
            assert_eq!(shown(text), text);
        }
    }
}
