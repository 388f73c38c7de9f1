//! One request, read and held still: the form in which it is judged is the form in which it is sent. Two readings of one
//! text, the parser's and the server's, are how requests get past a guard; what allows two is refused here.

use super::address::canonical;
use super::host::{HostPattern, NetHost};
use super::path::{NetPath, PathPattern};
use super::{Method, NetPattern, PortPattern};
use core::net::IpAddr;
use std::fmt;

/// The longest authority plus path and query that is looked at, bytes.
pub const URL_BYTES_MAX: usize = 16 << 10;

/// `http` or `https`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// As it stands in a URL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port when a URL names none.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// What a request asks of whom.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NetTarget {
    scheme: Scheme,
    method: Method,
    host: NetHost,
    port: u16,
    path: NetPath,
    /// The path and query as they go on the wire: visible ASCII, starting with `/`.
    path_and_query: String,
}

/// A request that cannot be judged, because it cannot be read in one way only.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the request cannot be judged: {why}")]
pub struct BadTarget {
    /// What is wrong with it; repeats nothing but single characters and the host.
    pub why: String,
}

impl NetTarget {
    /// Read the parts of a request: `authority` is `HOST[:PORT]`, `path_and_query` as in a request line (empty is `/`).
    pub fn of_parts(method: &str, scheme: Scheme, authority: &str, path_and_query: &str) -> Result<Self, BadTarget> {
        let refuse = |why: String| BadTarget { why };
        let method = method.parse().map_err(refuse)?;
        if authority.len() + path_and_query.len() > URL_BYTES_MAX {
            return Err(refuse(format!("its URL is longer than {URL_BYTES_MAX} bytes")));
        }
        let (host, port) = split_port(authority).map_err(refuse)?;
        let host = host.parse().map_err(refuse)?;
        let port = match port {
            None => scheme.default_port(),
            Some(digits) => digits
                .bytes()
                .all(|b| b.is_ascii_digit())
                .then(|| digits.parse().ok().filter(|port| *port != 0))
                .flatten()
                .ok_or_else(|| refuse("the port is not a number from 1 to 65535".into()))?,
        };
        let path_and_query = if path_and_query.is_empty() { "/" } else { path_and_query };
        if !path_and_query.starts_with('/') {
            return Err(refuse("the path does not start with '/'".into()));
        }
        if let Some(bad) = path_and_query.chars().find(|c| !c.is_ascii_graphic() || *c == '#') {
            return Err(refuse(format!("the path or query holds {bad:?}; percent-encode it")));
        }
        let path = NetPath::read(path_and_query.split('?').next().unwrap_or("/"));
        Ok(Self { scheme, method, host, port, path, path_and_query: path_and_query.to_owned() })
    }

    /// Read a request for an absolute `http` or `https` URL. A fragment is left out, as it is not sent.
    pub fn of_url(method: &str, url: &str) -> Result<Self, BadTarget> {
        let refuse = |why: &str| BadTarget { why: why.into() };
        let (scheme, rest) = url.split_once("://").ok_or_else(|| refuse("write an absolute URL: https://HOST/PATH"))?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return Err(refuse("the scheme is neither http nor https")),
        };
        let sent = rest.split('#').next().unwrap_or("");
        let (authority, path) = sent.split_at(sent.find(['/', '?', '\\']).unwrap_or(sent.len()));
        match path.strip_prefix('?') {
            Some(query) => Self::of_parts(method, scheme, authority, &format!("/?{query}")),
            None => Self::of_parts(method, scheme, authority, path),
        }
    }

    /// The same request, made to an address instead of the host's name.
    pub fn at(&self, address: IpAddr) -> Self {
        Self { host: NetHost::Address(canonical(address)), ..self.clone() }
    }

    /// The smallest pattern that permits it: what to grant.
    pub fn smallest(&self) -> NetPattern {
        let named = PortPattern::Number(self.port);
        NetPattern {
            method: Some(self.method.clone()),
            host: HostPattern::only(&self.host),
            // Plain HTTP on 443, or TLS on 80, is permitted by no number.
            port: if named.permits(self.scheme, self.port) { named } else { PortPattern::Any },
            path: PathPattern::only(&self.path),
        }
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The host, in its one form.
    pub fn host(&self) -> &NetHost {
        &self.host
    }

    /// The port, also when the URL named none.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The path as it is compared.
    pub fn path(&self) -> &NetPath {
        &self.path
    }

    /// The path and query as they are sent.
    pub fn path_and_query(&self) -> &str {
        &self.path_and_query
    }

    /// `HOST[:PORT]` as it stands in a Host header: without the scheme's own port.
    pub fn authority(&self) -> String {
        if self.port == self.scheme.default_port() {
            self.host.to_string()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// `METHOD scheme://host:port/path`, without the query, which may hold what nobody should read in a log.
impl fmt::Display for NetTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path_and_query.split('?').next().unwrap_or("/");
        write!(f, "{} {}://{}{path}", self.method, self.scheme.as_str(), self.authority())
    }
}

/// `HOST[:PORT]` at its colon. The colons of an IPv6 address stand in brackets.
pub(super) fn split_port(text: &str) -> Result<(&str, Option<&str>), String> {
    let after_brackets = match text.strip_prefix('[') {
        Some(inside) => inside.find(']').map(|at| at + 2).ok_or("a '[' is not closed")?,
        None => 0,
    };
    if text.contains('@') {
        return Err("user information ('user:password@') does not belong in an authority".into());
    }
    let (bracketed, rest) = text.split_at(after_brackets);
    match rest.split_once(':') {
        None if rest.is_empty() || bracketed.is_empty() => Ok((text, None)),
        Some((between, _)) if !between.is_empty() && !bracketed.is_empty() => Err(format!("{between:?} follows a ']'")),
        Some((_, port)) if port.contains(':') => Err("an IPv6 address stands in brackets, for example [::1]".into()),
        Some((_, "")) => Err("a ':' is followed by no port".into()),
        Some((host, port)) => Ok((if bracketed.is_empty() { host } else { bracketed }, Some(port))),
        None => Err(format!("{rest:?} follows a ']'")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_read_in_one_way() {
        for (url, meant) in [
            ("https://Example.com", "GET https://example.com/"),
            ("HTTPS://example.com:443/a?b=c#d", "GET https://example.com/a"),
            ("http://example.com:8080?x", "GET http://example.com:8080/"),
            ("http://127.1/", "GET http://127.0.0.1/"),
            ("http://[::ffff:127.0.0.1]:1/", "GET http://127.0.0.1:1/"),
            ("https://[::1]/", "GET https://[::1]/"),
            ("https://example.com:080/", "GET https://example.com:80/"),
        ] {
            assert_eq!(NetTarget::of_url("GET", url).as_ref().map(ToString::to_string), Ok(meant.into()), "{url}");
        }
        for bad in [
            "example.com",
            "ftp://example.com/",
            "https:example.com",
            "https:/example.com",
            "https:///x",
            "https://",
            "//example.com",
            "https://user@example.com/",
            "https://a:b@example.com/",
            "https://example.com@evil.net/",
            "https://example.com:/",
            "https://example.com:0/",
            "https://example.com:65536/",
            "https://example.com:+443/",
            "https://example.com:4 43/",
            "https://example.com\\@evil.net/",
            "https://example.com\\.evil.net/",
            "https://exam ple.com/",
            "https://example.com/a b",
            "https://example.com/\r\nHost: evil.net",
            "https://example.com/ü",
            "https://[::1/",
            "https://[::1]x/",
            "https://[::1]x:1/",
            "https://::1/",
            "https://example.com%2eevil.net/",
            " https://example.com/",
            "https://example.com/\0",
            "https://*/",
        ] {
            NetTarget::of_url("GET", bad).expect_err(bad);
        }
        for method in ["get", "Get", "", "GE T", "GET\r\n", "CONNECT", "TRACE", "G:T", &"A".repeat(33)] {
            NetTarget::of_url(method, "https://example.com/").expect_err(method);
        }
    }

    #[test]
    fn what_to_grant_would_permit_it() {
        for (method, url, needed) in [
            ("GET", "https://api.example.com/v1/x?token=1", "GET api.example.com/v1/x"),
            ("POST", "http://127.1:8080/", "POST 127.0.0.1:8080/"),
            ("PUT", "http://example.com/%2e%2e/x", "PUT example.com:80"),
            ("GET", "http://example.com:443/x", "GET example.com:*/x"),
            ("GET", "https://[::1]:8443/a%20b*", "GET [::1]:8443/a%20b%2A"),
        ] {
            let target = NetTarget::of_url(method, url).unwrap();
            let smallest = target.smallest();
            assert_eq!(smallest.to_string(), needed);
            assert!(smallest.permits(&target) && needed.parse::<NetPattern>().unwrap() == smallest);
        }
    }

    #[test]
    fn the_query_is_never_printed() {
        let target = NetTarget::of_url("GET", "https://example.com/a?key=hidden").unwrap();
        assert!(!target.to_string().contains("hidden") && !target.smallest().to_string().contains("hidden"));
        assert_eq!(target.path_and_query(), "/a?key=hidden");
    }
}
