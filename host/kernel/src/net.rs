//! What a call may reach over the network, and which secret may go where: patterns with an order, and requests in the form
//! in which they are judged. Pure text and numbers: nothing here resolves, connects or knows a secret's value.
//!
//! | form | permits |
//! |---|---|
//! | `net:api.example.com` | `https` on port 443, any method, any path |
//! | `net:GET api.example.com/v1/*` | only `GET`, only paths that start with `/v1/` |
//! | `net:*.example.com:8443` | every name below `example.com`, `http` or `https` on that port |
//! | `net:example.com:80`, `net:example.com:*` | plain `http`; any port |
//! | `net:*` | every name that leads to public addresses; not `localhost` |
//! | `net:127.0.0.1:8080`, `net:[10.0.0.0/8]:*` | those addresses, also where a permitted name leads to them |
//! | `secret:TOKEN@api.example.com` | putting the secret `TOKEN` into requests to that host |
//!
//! A name says nothing about where it leads. Addresses that are not public (see [`address::is_public`]) are reached only
//! where a pattern names them as addresses; `localhost` by name means loopback.

pub mod address;
mod host;
mod path;
mod target;

pub use address::Network;
pub use host::{HostName, HostPattern, NetHost};
pub use path::{NetPath, PathPattern};
pub use target::{BadTarget, NetTarget, Scheme, URL_BYTES_MAX};

use core::net::IpAddr;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// An HTTP method: upper case, as registered. Methods are compared byte by byte, and some servers do not: `get` is refused
/// rather than taken for something other than `GET`. `CONNECT` opens a tunnel nobody can judge, and `TRACE` and `TRACK`
/// return what the host added to a request: no capability grants those.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Method(Arc<str>);

/// The ports a pattern means, and how they may be spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PortPattern {
    /// `:*`: all of them, either scheme.
    Any,
    /// That port: 443 with `https` only, 80 with `http` only, any other with either.
    Number(u16),
}

/// The requests a `net:` capability means: all whose method, host, port and path it means.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NetPattern {
    /// None is any.
    pub method: Option<Method>,
    /// Whom to ask.
    pub host: HostPattern,
    /// Where.
    pub port: PortPattern,
    /// For what.
    pub path: PathPattern,
}

/// The uses a `secret:` capability means: putting this secret into requests to these hosts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SecretPattern {
    /// Which secret.
    pub name: SecretName,
    /// Who may see it: a name, the names below one, or one address.
    pub host: HostPattern,
}

/// A secret's name: 1 to 64 letters, digits and `_`, not starting with a digit.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SecretName(Arc<str>);

impl Method {
    /// The text form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl SecretName {
    /// The text form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl PortPattern {
    /// Whether the pattern means speaking `scheme` at `port`.
    pub fn permits(self, scheme: Scheme, port: u16) -> bool {
        match self {
            Self::Any => true,
            Self::Number(443) => scheme == Scheme::Https && port == 443,
            Self::Number(80) => scheme == Scheme::Http && port == 80,
            Self::Number(own) => own == port,
        }
    }

    /// Whether all that `other` means is meant by this too.
    pub fn covers(self, other: PortPattern) -> bool {
        self == Self::Any || self == other
    }
}

impl NetPattern {
    /// Whether whoever holds `self` may do all that `other` permits.
    pub fn covers(&self, other: &NetPattern) -> bool {
        (self.method.is_none() || self.method == other.method)
            && self.host.covers(&other.host)
            && self.port.covers(other.port)
            && self.path.covers(&other.path)
    }

    /// The most that both permit, if they share anything.
    pub fn meet(&self, other: &NetPattern) -> Option<NetPattern> {
        let method = match (&self.method, &other.method) {
            (Some(a), Some(b)) if a != b => return None,
            (a, b) => a.as_ref().or(b.as_ref()).cloned(),
        };
        let port = if self.port.covers(other.port) { other.port } else { self.port };
        Some(NetPattern {
            method,
            host: self.host.meet(&other.host)?,
            port: (self.port.covers(port) && other.port.covers(port)).then_some(port)?,
            path: self.path.meet(&other.path)?,
        })
    }

    /// Whether it permits the request as named: before its name is resolved.
    pub fn permits(&self, target: &NetTarget) -> bool {
        self.means(target) && self.path.permits(target.path())
    }

    /// Whether it permits the request to be made to `address`, where the host's name led and which is not public. That takes
    /// a pattern which would permit the same request to the address itself; or `localhost`, by that name, for loopback.
    pub fn permits_address(&self, target: &NetTarget, address: IpAddr) -> bool {
        let at = target.at(address);
        let loopback = || match (&self.host, at.host()) {
            (HostPattern::Name(name), NetHost::Address(address)) => {
                name.is_localhost() && address.is_loopback() && self.permits(target)
            }
            _ => false,
        };
        self.permits(&at) || loopback()
    }

    /// Whether, as a prohibition, it stops the request: it permits it, or would if a doubtful path were read some other way or
    /// the address were the IPv4 address within it.
    pub fn forbids(&self, target: &NetTarget) -> bool {
        self.host.forbids(target.host()) && self.speaks(target) && self.path.may_mean(target.path())
    }

    /// Whether a prohibition of `rule` may stop some request that this permits. Where a name leads is known only request by
    /// request, so a rule on addresses takes from whoever may ask for names.
    pub fn loses_to(&self, rule: &NetPattern) -> bool {
        let methods = self.method.is_none() || rule.method.is_none() || self.method == rule.method;
        let ports = self.port.covers(rule.port) || rule.port.covers(self.port);
        let is_network = |host: &HostPattern| matches!(host, HostPattern::Network(_));
        let leads_there = is_network(&rule.host) && !is_network(&self.host);
        let hosts = leads_there || self.host.loses_to(&rule.host);
        methods && ports && hosts && rule.path.may_mean_of(&self.path)
    }

    /// Whether a prohibition of this stops every request that `held` permits.
    pub fn takes_all_of(&self, held: &NetPattern) -> bool {
        (self.method.is_none() || self.method == held.method)
            && self.host.takes_all_of(&held.host)
            && self.port.covers(held.port)
            && self.path.covers(&held.path)
    }

    fn means(&self, target: &NetTarget) -> bool {
        self.host.permits(target.host()) && self.speaks(target)
    }

    /// Whether method, scheme and port are meant.
    fn speaks(&self, target: &NetTarget) -> bool {
        self.method.as_ref().is_none_or(|method| method == target.method())
            && self.port.permits(target.scheme(), target.port())
    }
}

impl SecretPattern {
    /// Whether whoever holds `self` may do all that `other` permits.
    pub fn covers(&self, other: &SecretPattern) -> bool {
        self.name == other.name && self.host.covers(&other.host)
    }

    /// The most that both permit, if they share anything.
    pub fn meet(&self, other: &SecretPattern) -> Option<SecretPattern> {
        if self.name != other.name {
            return None;
        }
        Some(Self { name: self.name.clone(), host: self.host.meet(&other.host)? })
    }

    /// Whether the secret `name` may go to `host`.
    pub fn permits(&self, name: &SecretName, host: &NetHost) -> bool {
        self.name == *name && self.host.permits(host)
    }

    /// Whether a prohibition of `rule` may keep the secret from some host to which this may send it.
    pub fn loses_to(&self, rule: &SecretPattern) -> bool {
        self.name == rule.name && self.host.loses_to(&rule.host)
    }

    /// Whether, as a prohibition, it keeps the secret `name` from `host`.
    pub fn forbids(&self, name: &SecretName, host: &NetHost) -> bool {
        self.name == *name && self.host.forbids(host)
    }
}

impl FromStr for Method {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fits = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
        if !(1..=32).contains(&text.len()) || !text.bytes().all(fits) || !text.as_bytes()[0].is_ascii_uppercase() {
            return Err("a method is written in capital letters, for example GET".into());
        }
        match text {
            "CONNECT" | "TRACE" | "TRACK" => Err(format!("the method {text} is never sent")),
            _ => Ok(Self(text.into())),
        }
    }
}

impl FromStr for SecretName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bytes = text.as_bytes();
        let fits = (1..=64).contains(&bytes.len())
            && !bytes[0].is_ascii_digit()
            && bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_');
        fits.then(|| Self(text.into()))
            .ok_or_else(|| "a secret's name has 1 to 64 letters, digits or '_' and starts with no digit".into())
    }
}

impl FromStr for PortPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let number = text.parse::<u16>().ok().filter(|port| *port != 0 && port.to_string() == text);
        number.map(Self::Number).ok_or_else(|| "a port is a number from 1 to 65535, or '*'".into())
    }
}

impl FromStr for NetPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (method, rest) = match text.split_once(' ') {
            Some((method, rest)) => (Some(method.parse()?), rest),
            None => (None, text),
        };
        if rest.contains("://") {
            return Err("write net:api.example.com or net:api.example.com/PATH, not a URL".into());
        }
        // The slash of a network's prefix stands in brackets.
        let host_end = rest.strip_prefix('[').and_then(|inside| inside.find(']')).map_or(0, |at| at + 2);
        let path_at = rest[host_end..].find('/').map_or(rest.len(), |at| at + host_end);
        let (authority, path) = rest.split_at(path_at);
        let (host, port) = target::split_port(authority)?;
        let host: HostPattern = host.parse()?;
        if port.is_none() && is_like_network(&host, path) {
            return Err(format!(
                "write a network in brackets: [ADDRESS{path}]; or, where it is a path, the port before it"
            ));
        }
        Ok(Self {
            method,
            host,
            port: port.map_or(Ok(PortPattern::Number(443)), str::parse)?,
            path: if path.is_empty() { PathPattern::any() } else { path.parse()? },
        })
    }
}

impl FromStr for SecretPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, host) =
            text.split_once('@').ok_or("write NAME@HOST, for example secret:GITHUB_TOKEN@api.github.com")?;
        let name = name.parse()?;
        match host.parse()? {
            HostPattern::AnyName => Err("a secret goes to hosts that are named, not to '*'".into()),
            HostPattern::Network(network) if network.single().is_none() => {
                Err("a secret goes to hosts that are named, not to a network".into())
            }
            host => Ok(Self { name, host }),
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// With its colon; nothing for 443.
impl fmt::Display for PortPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str(":*"),
            Self::Number(443) => Ok(()),
            Self::Number(port) => write!(f, ":{port}"),
        }
    }
}

impl fmt::Display for NetPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(method) = &self.method {
            write!(f, "{method} ")?;
        }
        let path = self.path.to_string();
        let port = match self.port {
            // Left out elsewhere.
            PortPattern::Number(443) if is_like_network(&self.host, &path) => ":443".to_owned(),
            port => port.to_string(),
        };
        write!(f, "{}{port}{path}", self.host)
    }
}

/// Whether a path right after an address would be taken for the length of a network's prefix.
fn is_like_network(host: &HostPattern, path: &str) -> bool {
    let digits =
        path.strip_prefix('/').is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()));
    digits && matches!(host, HostPattern::Network(_))
}

impl fmt::Display for SecretPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.host)
    }
}

#[cfg(test)]
pub(crate) mod tests;
