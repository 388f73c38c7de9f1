//! Paths of requests, and the patterns that mean some of them. A path is compared as the server will most likely read it:
//! percent-decoded once. A path that two readers could read differently is in no pattern but "any".

use std::fmt;
use std::str::FromStr;

/// The path of a request, without its query.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NetPath {
    /// Read without doubt: percent-decoded, starting with `/`.
    Clear(String),
    /// Not to be trusted for a comparison, and why.
    Doubtful(&'static str),
}

/// The paths a pattern means, percent-decoded.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PathPattern {
    /// `/v1/*`: all that start so. `/*` is every path, the doubtful ones too.
    Under(String),
    /// `/v1/models`: that path.
    Exact(String),
}

impl NetPath {
    /// Read the path of a request as it stands in the request line, without its query.
    pub fn read(raw: &str) -> Self {
        decoded(raw).map_or_else(Self::Doubtful, Self::Clear)
    }
}

/// The path percent-decoded once, or why two readers could differ about it.
fn decoded(raw: &str) -> Result<String, &'static str> {
    if !raw.starts_with('/') {
        return Err("it does not start with '/'");
    }
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => match rest.next().zip(rest.next()).and_then(|(high, low)| hex(high, low)) {
                Some(b'/') => return Err("it holds an encoded slash"),
                Some(byte) => byte,
                None => return Err("it holds a '%' that encodes nothing"),
            },
            byte => byte,
        });
    }
    let path = String::from_utf8(bytes).map_err(|_| "it is not UTF-8")?;
    if path.contains('\\') {
        return Err("it holds a backslash");
    }
    if path.chars().any(char::is_control) {
        return Err("it holds a control character");
    }
    if path.as_bytes().windows(3).any(|w| w[0] == b'%' && hex(w[1], w[2]).is_some()) {
        return Err("it is encoded twice");
    }
    // Some servers drop what follows ';' in a segment, and some drop spaces, before they look for dots.
    if path.split('/').any(|segment| matches!(own_name(segment), "." | "..")) {
        return Err("it holds a dot segment");
    }
    if careless(&path).contains("//") {
        return Err("it holds an empty segment");
    }
    Ok(path)
}

/// The path as the most careless of servers reads it. What one path begins with, it begins with read so, too.
fn careless(path: &str) -> String {
    path.split('/').map(own_name).collect::<Vec<_>>().join("/").to_ascii_lowercase()
}

/// What is left of a segment where a server drops its parameters and spaces.
fn own_name(segment: &str) -> &str {
    segment.split(';').next().unwrap_or("").trim()
}

fn hex(high: u8, low: u8) -> Option<u8> {
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

impl PathPattern {
    /// Every path.
    pub fn any() -> Self {
        Self::Under("/".into())
    }

    /// Whether this is every path.
    pub fn is_any(&self) -> bool {
        matches!(self, Self::Under(start) if start == "/")
    }

    /// The smallest pattern that permits `path`.
    pub fn only(path: &NetPath) -> Self {
        match path {
            NetPath::Clear(path) => Self::Exact(path.clone()),
            NetPath::Doubtful(_) => Self::any(),
        }
    }

    /// Whether the pattern surely means `path`.
    pub fn permits(&self, path: &NetPath) -> bool {
        match (self, path) {
            (Self::Under(start), NetPath::Clear(path)) => path.starts_with(start.as_str()),
            (Self::Exact(own), NetPath::Clear(path)) => own == path,
            (_, NetPath::Doubtful(_)) => self.is_any(),
        }
    }

    /// Whether the pattern may mean `path`: a doubtful path may be anything, and a server may care neither for upper case nor
    /// for what follows ';' in a segment.
    pub fn may_mean(&self, path: &NetPath) -> bool {
        match (self, path) {
            (Self::Under(start), NetPath::Clear(path)) => careless(path).starts_with(&careless(start)),
            (Self::Exact(own), NetPath::Clear(path)) => careless(own) == careless(path),
            (_, NetPath::Doubtful(_)) => true,
        }
    }

    /// Whether the pattern may mean some path that `held` permits. It may say so of two that have none in common, and never
    /// overlooks one.
    pub fn may_mean_of(&self, held: &PathPattern) -> bool {
        let text = |pattern: &PathPattern| match pattern {
            Self::Under(text) | Self::Exact(text) => careless(text),
        };
        let (own, theirs) = (text(self), text(held));
        let longer = |one: &PathPattern, other: bool| matches!(one, Self::Under(_)) && other;
        own == theirs || longer(self, theirs.starts_with(&own)) || longer(held, own.starts_with(&theirs))
    }

    /// Whether every path that `other` means is meant by this too.
    pub fn covers(&self, other: &PathPattern) -> bool {
        match (self, other) {
            (Self::Under(a), Self::Under(b) | Self::Exact(b)) => b.starts_with(a.as_str()),
            (Self::Exact(a), Self::Exact(b)) => a == b,
            (Self::Exact(_), Self::Under(_)) => false,
        }
    }

    /// The paths both mean. Patterns nest or are apart, so it is one of the two or nothing.
    pub fn meet(&self, other: &PathPattern) -> Option<PathPattern> {
        if self.covers(other) { Some(other.clone()) } else { other.covers(self).then(|| self.clone()) }
    }
}

impl FromStr for PathPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains(['?', '#']) {
            return Err("a pattern ends with its path: queries and fragments are not judged".into());
        }
        if text.chars().any(char::is_whitespace) {
            return Err("write a space in a path as %20".into());
        }
        let (start, under) = match text.strip_suffix('*') {
            Some(start) => (start, true),
            None => (text, false),
        };
        if start.contains('*') {
            return Err("a '*' stands only at the end of a path; write one that is meant as %2A".into());
        }
        let path = decoded(start).map_err(|why| format!("the path {start:?} could be read in two ways: {why}"))?;
        Ok(if under { Self::Under(path) } else { Self::Exact(path) })
    }
}

/// Percent-encoded again; nothing for every path.
impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, star) = match self {
            Self::Under(_) if self.is_any() => return Ok(()),
            Self::Under(start) => (start, "*"),
            Self::Exact(path) => (path, ""),
        };
        for byte in path.bytes() {
            if byte.is_ascii_alphanumeric() || b"/-._~!$&'()+,;=:@".contains(&byte) {
                write!(f, "{}", char::from(byte))?;
            } else {
                write!(f, "%{byte:02X}")?;
            }
        }
        f.write_str(star)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_could_escape_is_in_no_limited_pattern() {
        let pattern: PathPattern = "/v1/*".parse().unwrap();
        for tricky in [
            "/v1/../admin",
            "/v1/..%2fadmin",
            "/v1/%2e%2e/admin",
            "/v1/%2E./admin",
            "/v1/.%2e%2fadmin",
            "/v1/..;/admin",
            "/v1/..;x=1/admin",
            "/v1/..%3b/admin",
            "/v1/..%5cadmin",
            "/v1\\..\\admin",
            "/v1/%252e%252e/admin",
            "/v1/%252fadmin",
            "/v1/./x",
            "/v1//admin",
            "//v1/x",
            "/;/v1/x",
            "/;x=1/v1/x",
            "/%3b/v1/x",
            "/v1/;x/admin",
            "/v1/%20/admin",
            "/v1/%00",
            "/v1/%0d%0aX:%20y",
            "/v1/%zz",
            "/v1/%2",
            "/v1/%",
            "/v1/%c0%ae%c0%ae/x",
            "/v1/..%20/x",
            "/v1/\u{85}",
            "v1/x",
            "",
            "*",
        ] {
            let path = NetPath::read(tricky);
            assert!(matches!(path, NetPath::Doubtful(_)), "{tricky}: {path:?}");
            assert!(!pattern.permits(&path) && PathPattern::any().permits(&path), "{tricky}");
            assert!(pattern.may_mean(&path), "a denial of /v1/* stops {tricky}");
        }
    }

    #[test]
    fn a_denial_holds_whatever_a_server_drops() {
        let means = |pattern: &str, path: &str| pattern.parse::<PathPattern>().unwrap().may_mean(&NetPath::read(path));
        for path in [
            "/admin/secret",
            "/admin;x/secret",
            "/admin;x=1;y/secret",
            "/admin%3Bx/secret",
            "/ADMIN%3bx/secret",
            "/admin%20/secret",
            "/admin;/secret;x",
            "/admin/;x",
            "/;x/admin/secret",
        ] {
            assert!(means("/admin/*", path), "{path}");
        }
        assert!(means("/admin/secret", "/admin;x/secret;y") && means("/admin*", "/admin;x"));
        assert!(means("/admin;x/*", "/admin;x/secret") && means("/a;v=1/admin/*", "/a;v=1/admin;x/secret"));
        for path in ["/public;x/admin/secret", "/administrators;x/secret", "/x;/admin/secret", "/public/x;admin"] {
            assert!(!means("/admin/*", path), "{path}");
        }
    }

    #[test]
    fn a_denial_is_held_against_all_that_is_granted() {
        let about = |rule: &str, held: &str| {
            rule.parse::<PathPattern>().unwrap().may_mean_of(&held.parse::<PathPattern>().unwrap())
        };
        for (rule, held) in [
            ("/admin/*", "/*"),
            ("/*", "/admin/x"),
            ("/admin/*", "/ADMIN/x"),
            ("/admin/*", "/admin;x/*"),
            ("/admin/*", "/adm*"),
            ("/admin/x", "/admin/*"),
            ("/admin/x", "/admin/x;y"),
        ] {
            assert!(about(rule, held), "{rule} {held}");
        }
        for (rule, held) in [("/admin/*", "/v1/*"), ("/admin/*", "/admin"), ("/admin", "/admin/*"), ("/a", "/b")] {
            assert!(!about(rule, held), "{rule} {held}");
        }
    }

    #[test]
    fn plain_paths_are_compared_decoded() {
        let permits = |pattern: &str, path: &str| pattern.parse::<PathPattern>().unwrap().permits(&NetPath::read(path));
        assert!(permits("/v1/*", "/v1/models") && permits("/v1/*", "/v1/") && permits("/v1/*", "/v1/%6dodels"));
        assert!(!permits("/v1/*", "/v1") && !permits("/v1/*", "/v10/x") && !permits("/v1/*", "/V1/x"));
        assert!(permits("/v1/models", "/v1/%6Dodels") && !permits("/v1/models", "/v1/models/"));
        assert!(permits("/a%20b", "/a%20b") && permits("/100%25", "/100%25") && permits("/ü", "/%C3%BC"));
        assert!(permits("/v1/..hidden", "/v1/..hidden") && permits("/.well-known/*", "/.well-known/x"));
        assert!("/ADMIN/*".parse::<PathPattern>().unwrap().may_mean(&NetPath::read("/admin/x")));
    }

    #[test]
    fn one_pattern_has_one_form() {
        for (written, printed) in
            [("/*", ""), ("/%76%31/*", "/v1/*"), ("/a%2Ab", "/a%2Ab"), ("/ü", "/%C3%BC"), ("/v1*", "/v1*"), ("/", "/")]
        {
            let pattern: PathPattern = written.parse().unwrap();
            assert_eq!(pattern.to_string(), printed);
        }
        for bad in [
            "v1",
            "/a*b",
            "/**",
            "/a?b",
            "/a#b",
            "/a b",
            "/../x",
            "/%2e%2e/*",
            "/a/./b",
            "/v1/%2",
            "/a%2fb",
            "/a\\b",
            "//a",
        ] {
            bad.parse::<PathPattern>().expect_err(bad);
        }
    }
}
