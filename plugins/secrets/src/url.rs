//! Passwords in addresses: `scheme://user:password@host`.

use std::ops::Range;

/// The password in the address whose `://` is at `at`, and its host.
pub(crate) fn password(text: &[u8], at: usize) -> Option<(Range<usize>, &[u8])> {
    if at == 0 || !text[at - 1].is_ascii_alphanumeric() {
        return None;
    }
    let start = at + 3;
    let end = text.len().min(start + 300);
    let stop = |b: &u8| {
        !b.is_ascii_graphic()
            || matches!(b, b'"' | b'\'' | b'`' | b'<' | b'>' | b'/' | b'?' | b'#' | b',' | b'|' | b'\\')
    };
    // A password may hold a slash that should have been escaped; then the host would be cut off, so it is not taken.
    let authority = &text[start..start + text[start..end].iter().take_while(|b| !stop(b)).count()];
    let sign = memchr::memrchr(b'@', authority)?;
    let colon = memchr::memchr(b':', &authority[..sign])?;
    let host = &authority[sign + 1..];
    let host =
        &host[..host.iter().take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_')).count()];
    (sign > colon + 1 && !host.is_empty()).then_some((start + colon + 1..start + sign, host))
}

/// Hosts that only documentation and tests have.
pub(crate) fn is_staged_host(host: &[u8]) -> bool {
    let host = host.to_ascii_lowercase();
    let ends = |tail: &str| {
        host == tail.as_bytes() || (host.ends_with(tail.as_bytes()) && host[..host.len() - tail.len()].ends_with(b"."))
    };
    ["example.com", "example.org", "example.net", "example", "test", "invalid", "localhost", "domain.com", "domain.tld"]
        .iter()
        .any(|tail| ends(tail))
        || matches!(
            host.as_slice(),
            b"host"
                | b"hostname"
                | b"server"
                | b"proxy"
                | b"127.0.0.1"
                | b"0.0.0.0"
                | b"db"
                | b"some.host"
                | b"www.foo.com"
        )
        || host.starts_with(b"example.")
        || host.starts_with(b"your")
        || host.starts_with(b"my")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Option<(&str, &str)> {
        let (range, host) = password(text.as_bytes(), text.find("://")?)?;
        Some((&text[range], std::str::from_utf8(host).ok()?))
    }

    #[test]
    fn a_password_stands_between_colon_and_sign() {
        assert_eq!(found("url = postgres://app:s3cr3tX@db.internal:5432/app"), Some(("s3cr3tX", "db.internal"))); // pragma: allowlist secret
        assert_eq!(found("https://u:a:b@c@host.tld/"), Some(("a:b@c", "host.tld"))); // pragma: allowlist secret
        for text in [
            "https://host/a:b@c",
            "https://user@host",
            "https://:@host",
            "http://host:80/",
            "://a:b@c",
            "https://user:@host",
        ] {
            assert_eq!(found(text), None, "{text}");
        }
    }

    #[test]
    fn hosts_of_documentation() {
        assert!(is_staged_host(b"example.com") && is_staged_host(b"db.example.org") && is_staged_host(b"localhost"));
        assert!(!is_staged_host(b"db.internal") && !is_staged_host(b"notexample.com"));
    }
}
