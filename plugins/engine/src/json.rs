//! JSON text as it leaves the engine. JavaScript strings may hold half a surrogate pair, which JSON text in UTF-8 may
//! not; here the halves become U+FFFD.

/// The text with every escape of half a surrogate pair replaced. Whole pairs never appear escaped: the serializer
/// writes them as characters.
pub(crate) fn well_formed(text: String) -> String {
    if !text.contains("\\ud") {
        return text;
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(backslash) = rest.find('\\') {
        out.push_str(&rest[..backslash]);
        let escape = &rest[backslash..];
        let surrogate = escape.as_bytes().get(2..4).is_some_and(|head| {
            escape.as_bytes()[1] == b'u'
                && head[0].eq_ignore_ascii_case(&b'd')
                && matches!(head[1], b'8'..=b'9' | b'a'..=b'f' | b'A'..=b'F')
        });
        // Every escape but `\u` is two bytes; taking both keeps `\\ud800`, a backslash and four letters, as it is.
        let length = if surrogate { 6 } else { 2 };
        out.push_str(if surrogate { "\\ufffd" } else { &escape[..2] });
        rest = &escape[length..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_halves_of_pairs_change() {
        for (given, expected) in [
            (r#""plain""#, r#""plain""#),
            (r#""\ud800""#, r#""\ufffd""#),
            (r#""a\udc00b\n\ud83d""#, r#""a\ufffdb\n\ufffd""#),
            (r#""\\ud800 \" \ud7ff""#, r#""\\ud800 \" \ud7ff""#),
        ] {
            assert_eq!(well_formed(given.to_owned()), expected);
        }
    }
}
