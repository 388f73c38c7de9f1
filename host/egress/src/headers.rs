//! Which headers a guest may send and which a response may bring. Headers that speak to the next hop, name another host or
//! ask the server to take the request for a different one are refused, not repaired: whoever sets them has a plan.

use vespiary_kernel::http::{EgressError, HttpLimits};

/// What a guest may not set, and why.
const REFUSED: &[(&[&str], &str)] = &[
    (&["host"], "the host is the one the request was judged for"),
    (
        &["connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "http2-settings", "expect"],
        "it is between the host and the server, not the guest's to set",
    ),
    (
        &["x-http-method-override", "x-http-method", "x-method-override", "x-original-url", "x-rewrite-url"],
        "it asks the server to take the request for another one than was judged",
    ),
];

/// Headers of a response that mean nothing past the connection they came by.
const HOP_BY_HOP: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Judge a request's headers. Gives its declared length, where it declares one.
pub(crate) fn judge(headers: &[(String, Vec<u8>)], limits: &HttpLimits) -> Result<Option<u64>, EgressError> {
    let refuse = |why: String| Err(EgressError::BadRequest(why));
    if headers.len() > limits.headers_max {
        return refuse(format!("it has {} headers, more than the {} allowed", headers.len(), limits.headers_max));
    }
    let bytes = size(headers);
    if bytes > limits.header_bytes_max {
        return refuse(format!("its headers have {bytes} bytes, more than the {} allowed", limits.header_bytes_max));
    }
    let mut length = None;
    for (name, value) in headers {
        if !is_token(name) {
            return refuse("a header's name is not one: use lower-case letters, digits and '-'".into());
        }
        if let Some((_, why)) = REFUSED.iter().find(|(names, _)| names.contains(&name.as_str())) {
            return refuse(format!("the header {name} is refused: {why}"));
        }
        if name.starts_with("proxy-") {
            return refuse(format!("the header {name} is refused: there is no proxy to speak to"));
        }
        if value.iter().any(|b| (*b < 0x20 && *b != b'\t') || *b == 0x7f) {
            return refuse(format!("the value of {name} holds a control character"));
        }
        if name == "content-length" {
            let declared = declared_length(value);
            if declared.is_none() || length.is_some() {
                return refuse("content-length is not one number".into());
            }
            length = declared;
        }
    }
    Ok(length)
}

fn declared_length(value: &[u8]) -> Option<u64> {
    let digits = (1..=19).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
    if digits { std::str::from_utf8(value).ok()?.parse().ok() } else { None }
}

fn is_token(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&b);
    (1..=256).contains(&name.len()) && name.bytes().all(fits)
}

/// Bytes of names and values, and of what stands between them in HTTP/1.1.
pub(crate) fn size(headers: &[(String, Vec<u8>)]) -> usize {
    headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum()
}

/// Whether a response's header is the guest's to see.
pub(crate) fn is_for_guest(name: &str) -> bool {
    !HOP_BY_HOP.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(headers: &[(&str, &str)]) -> Result<Option<u64>, EgressError> {
        let headers: Vec<_> = headers.iter().map(|(n, v)| ((*n).to_owned(), v.as_bytes().to_vec())).collect();
        judge(&headers, &HttpLimits::default())
    }

    #[test]
    fn what_smuggles_is_refused() {
        for (name, value) in [
            ("host", "evil.net"),
            ("Host", "evil.net"),
            ("connection", "close"),
            ("connection", "authorization"),
            ("transfer-encoding", "chunked"),
            ("te", "trailers"),
            ("trailer", "x"),
            ("upgrade", "websocket"),
            ("proxy-authorization", "x"),
            ("proxy-anything", "x"),
            ("http2-settings", "x"),
            ("expect", "100-continue"),
            ("x-http-method-override", "DELETE"),
            ("x-original-url", "/admin"),
            ("x", "a\r\nhost: evil.net"),
            ("x", "a\nb"),
            ("x", "a\0b"),
            ("x", "a\x7fb"),
            ("x\r\nhost", "evil.net"),
            ("x y", "a"),
            ("x:", "a"),
            (":authority", "evil.net"),
            ("", "a"),
            ("ü", "a"),
            ("content-length", "+5"),
            ("content-length", "5, 5"),
            ("content-length", "-1"),
            ("content-length", "0x5"),
            ("content-length", ""),
            ("content-length", "99999999999999999999"),
        ] {
            assert!(matches!(judged(&[(name, value)]), Err(EgressError::BadRequest(_))), "{name}: {value}");
        }
        assert!(judged(&[("content-length", "5"), ("content-length", "5")]).is_err());
        assert_eq!(judged(&[("accept", "a\tb"), ("content-length", "5"), ("x", "\u{fc}")]), Ok(Some(5)));
    }

    #[test]
    fn a_flood_of_headers_is_refused() {
        judged(&[("x", "y"); 100]).unwrap();
        judged(&[("x", "y"); 101]).unwrap_err();
        judged(&[("x", &"y".repeat(65_000))]).unwrap();
        judged(&[("x", &"y".repeat(65_537))]).unwrap_err();
    }
}
