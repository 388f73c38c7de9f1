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

/// What a host says about the password before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Host {
    /// Only documentation and tests have it.
    Staged,
    /// The name of a role, as documentation has it and networks of containers too: `db`, `server`.
    Role,
    /// One machine or service.
    Named,
}

/// Judge a host.
pub(crate) fn host_of(host: &[u8]) -> Host {
    let host = host.to_ascii_lowercase();
    let ends =
        |tail: &&[u8]| host == **tail || (host.ends_with(tail) && host[..host.len() - tail.len()].ends_with(b"."));
    let first = host.split(|&b| b == b'.').next().unwrap_or_default();
    if STAGED_TAILS.iter().any(ends)
        || STAGED_HOSTS.contains(&host.as_slice())
        || STAGED_LABELS.contains(&first)
        || STAND_INS.iter().any(|start| first.starts_with(start))
    {
        Host::Staged
    } else if ROLES.contains(&host.as_slice()) {
        Host::Role
    } else {
        Host::Named
    }
}

const STAGED_TAILS: [&[u8]; 9] = [
    b"example.com",
    b"example.org",
    b"example.net",
    b"example",
    b"test",
    b"invalid",
    b"localhost",
    b"domain.com",
    b"domain.tld",
];
const STAGED_HOSTS: [&[u8]; 7] =
    [b"host", b"hostname", b"127.0.0.1", b"0.0.0.0", b"some.host", b"www.foo.com", b"mysite.com"];
/// First parts of a host. `mydb.corp.io` is one machine, `myhost.com` and `mydomain.com` are none.
const STAGED_LABELS: [&[u8]; 9] =
    [b"example", b"your", b"myhost", b"myhostname", b"myserver", b"mydomain", b"myproxy", b"my-host", b"my-server"];
/// How hosts begin that are to be replaced.
const STAND_INS: [&[u8]; 12] = [
    b"your-",
    b"your_",
    b"yourhost",
    b"yourserver",
    b"yourdomain",
    b"yourcompany",
    b"yoursite",
    b"yourapp",
    b"yourdb",
    b"yourdatabase",
    b"yourproject",
    b"yourcluster",
];
const ROLES: [&[u8]; 6] = [b"db", b"server", b"proxy", b"database", b"mydb", b"my-db"];

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
        for host in [
            "example.com",
            "db.example.org",
            "localhost",
            "host",
            "myhost",
            "myhost.com",
            "yourhost",
            "your-db.internal",
            "yourcompany.com",
        ] {
            assert_eq!(host_of(host.as_bytes()), Host::Staged, "{host}");
        }
        for host in ["db", "server"] {
            assert_eq!(host_of(host.as_bytes()), Host::Role, "{host}");
        }
        for host in [
            "db.internal",
            "notexample.com",
            "mysql",
            "mysql.prod.corp.io",
            "mydb.prod.corp.io",
            "mycompany.redis.cache.windows.net",
            "myriad.io",
            "youronlinechoices.com",
        ] {
            assert_eq!(host_of(host.as_bytes()), Host::Named, "{host}");
        }
    }
}
