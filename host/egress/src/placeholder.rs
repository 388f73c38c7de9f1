//! Placeholders: `{{secret:NAME}}`, which a guest writes where a value shall stand. Each is judged by host and header before
//! its value is read; one that stands anywhere else is refused, so that no guest learns whether it would have worked.

use crate::body::holds;
use crate::secrets::{PLACEHOLDER, Secrets};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use vespiary_kernel::http::{EgressError, NetScope};
use vespiary_kernel::net::{NetTarget, SecretName};
use vespiary_kernel::policy::Denial;

/// Headers that are left out where a value is put in: an answer that is compressed, or cut into slices as the guest likes, could
/// carry the value past the scrubber. A server may answer without either, so the request stays what it was.
const PAST_THE_SCRUBBER: &[&str] = &["accept-encoding", "range", "if-range"];

/// The secrets a request asks for, all of which it may have. Bodies are searched as they pass.
pub(crate) fn judge(
    secrets: &Secrets,
    scope: &NetScope,
    target: &NetTarget,
    headers: &[(String, Vec<u8>)],
) -> Result<Vec<SecretName>, EgressError> {
    if holds(&percent_decoded(target.path_and_query()), PLACEHOLDER.as_bytes()) {
        return Err(EgressError::Denied(misplaced(scope, target, "a URL")));
    }
    let mut wanted = Vec::new();
    for (header, value) in headers {
        for name in names(value) {
            let name = name.map_err(EgressError::BadRequest)?;
            scope.judge_secret(&name, target).map_err(EgressError::Denied)?;
            if let Some(spec) = secrets.spec(&name)
                && spec.header != *header
            {
                let needed = format!("secret:{name}@{} in {header}", target.host());
                let hint = format!("the secret {name} goes into the header {} and no other", spec.header);
                return Err(EgressError::Denied(scope.missing(needed, hint)));
            }
            wanted.push(name);
        }
    }
    Ok(wanted)
}

/// The headers with values in place of placeholders.
pub(crate) fn fill(
    secrets: &Secrets,
    headers: &[(String, Vec<u8>)],
    wanted: &[SecretName],
) -> Result<HeaderMap, EgressError> {
    let unfit = |name: &str| EgressError::BadRequest(format!("the header {name} cannot be sent"));
    let mut filled = HeaderMap::with_capacity(headers.len() + 1);
    for (name, value) in headers {
        if !wanted.is_empty() && PAST_THE_SCRUBBER.contains(&name.as_str()) {
            continue;
        }
        let (value, is_secret) = filled_value(secrets, value, wanted)?;
        let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| unfit(name))?;
        let mut value = HeaderValue::from_maybe_shared(bytes::Bytes::from(value)).map_err(|_| unfit(name))?;
        // Kept out of debug output and of HTTP/2's compression table.
        value.set_sensitive(is_secret);
        filled.append(header, value);
    }
    if !wanted.is_empty() {
        filled.insert("accept-encoding", HeaderValue::from_static("identity"));
    }
    Ok(filled)
}

fn filled_value(secrets: &Secrets, value: &[u8], wanted: &[SecretName]) -> Result<(Vec<u8>, bool), EgressError> {
    let mut rest = value;
    let mut filled = Vec::with_capacity(value.len());
    // Read once, from left to right: a value that looks like a placeholder is not filled again.
    while let Some(at) = rest.windows(PLACEHOLDER.len()).position(|w| w == PLACEHOLDER.as_bytes()) {
        filled.extend_from_slice(&rest[..at]);
        let text = &rest[at..];
        let of = |name: &&SecretName| text.starts_with(format!("{PLACEHOLDER}{name}}}}}").as_bytes());
        let Some(name) = wanted.iter().find(of) else {
            return Err(EgressError::BadRequest("a placeholder was not judged".into()));
        };
        let held =
            secrets.value(name).map_err(|bad| EgressError::Secret { name: name.clone(), why: bad.to_string() })?;
        filled.extend_from_slice(&held);
        rest = &text[PLACEHOLDER.len() + name.as_str().len() + "}}".len()..];
    }
    let is_secret = rest.len() != value.len();
    filled.extend_from_slice(rest);
    Ok((filled, is_secret))
}

/// The names in the placeholders of a header's value, or why one is none.
fn names(value: &[u8]) -> impl Iterator<Item = Result<SecretName, String>> + '_ {
    let begins = PLACEHOLDER.as_bytes();
    value.windows(begins.len()).enumerate().filter(move |(_, window)| *window == begins).map(move |(at, _)| {
        let rest = &value[at + begins.len()..];
        let end = rest.windows(2).position(|w| w == b"}}").ok_or("a placeholder is not closed with '}}'")?;
        std::str::from_utf8(&rest[..end]).map_err(|_| "a placeholder's name is not a name".to_owned())?.parse()
    })
}

/// A placeholder stands where none is ever filled.
pub(crate) fn misplaced(scope: &NetScope, target: &NetTarget, place: &str) -> Denial {
    let hint = format!("a placeholder is filled in the header its secret is bound to, and never sent in {place}");
    scope.missing(format!("a secret for {} in {place}", target.host()), hint)
}

/// A secret would be sent for all to read.
pub(crate) fn in_the_clear(scope: &NetScope, target: &NetTarget, name: &SecretName) -> Denial {
    let hint = "secrets go over https, or to this machine; use https".to_owned();
    scope.missing(format!("secret:{name}@{} over plain http", target.host()), hint)
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let digit = |b: Option<&u8>| b.and_then(|b| char::from(*b).to_digit(16)).and_then(|d| u8::try_from(d).ok());
    let (bytes, mut decoded, mut at) = (text.as_bytes(), Vec::with_capacity(text.len()), 0);
    while let Some(byte) = bytes.get(at) {
        let (byte, by) = match (byte, digit(bytes.get(at + 1)), digit(bytes.get(at + 2))) {
            (b'%', Some(high), Some(low)) => (high << 4 | low, 3),
            _ => (*byte, 1),
        };
        decoded.push(byte);
        at += by;
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_read_where_they_are() {
        let read = |value: &str| names(value.as_bytes()).collect::<Result<Vec<_>, _>>();
        assert_eq!(read("Bearer {{secret:A}}").unwrap(), ["A".parse().unwrap()]);
        assert_eq!(read("{{secret:A}}:{{secret:B_2}}").unwrap().len(), 2);
        assert_eq!(read("no {secret:A} here {{x}}").unwrap().len(), 0);
        for bad in ["{{secret:A", "{{secret:}}", "{{secret:a b}}", "{{secret:{{secret:A}}"] {
            read(bad).expect_err(bad);
        }
        assert_eq!(percent_decoded("/a%7B%7bsecret:X%zz%"), b"/a{{secret:X%zz%");
    }
}
