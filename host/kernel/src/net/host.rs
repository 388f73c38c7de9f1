//! Hosts, in one form each however they were written, and the patterns that mean some of them. Nothing here resolves a name.

use super::address::{Network, canonical, carried};
use core::net::IpAddr;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A name as DNS knows it: lower case, A-labels, no trailing dot. Never an address in disguise.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostName(Arc<str>);

/// One host, as a request names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NetHost {
    /// By name.
    Name(HostName),
    /// By address; IPv4-mapped IPv6 is IPv4.
    Address(IpAddr),
}

/// The hosts a pattern means.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostPattern {
    /// `*`: every name but `localhost`, which opens loopback and is named by those who mean it; no address.
    AnyName,
    /// `*.example.com`: every name below, at any depth; not `example.com` itself.
    Below(HostName),
    /// `example.com`: that name.
    Name(HostName),
    /// `127.0.0.1`, `[::1]`, `[10.0.0.0/8]`: addresses, where a request names one or a name leads to one.
    Network(Network),
}

impl HostName {
    /// The text form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is `localhost`: the one name that is permitted to lead to loopback, and so no part of what `*` permits.
    pub fn is_localhost(&self) -> bool {
        self.as_str() == "localhost"
    }

    /// Whether this name lies strictly below `other`.
    pub fn is_below(&self, other: &HostName) -> bool {
        self.0.strip_suffix(&*other.0).is_some_and(|rest| rest.ends_with('.'))
    }

    /// What a URL parser made of a name, held to what DNS can carry.
    fn of_domain(domain: &str) -> Result<Self, String> {
        let name = domain.strip_suffix('.').unwrap_or(domain);
        if name.len() > 253 || name.split('.').any(|label| label.len() > 63) {
            return Err("the name is too long for DNS: 63 bytes a label, 253 in all".into());
        }
        if name.split('.').any(str::is_empty) {
            return Err(format!("{domain:?} has an empty label; check its dots"));
        }
        let fits = |c: &u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'-' | b'_' | b'.');
        match name.bytes().find(|c| !fits(c)) {
            Some(c) => Err(format!("a host name cannot hold {:?}", char::from(c))),
            None => Ok(Self(name.into())),
        }
    }
}

/// As the URL standard reads a host: `127.1`, `0x7f000001` and `１２７.0.0.1` are addresses, an IDN becomes its A-label. An
/// IPv6 address stands in brackets.
impl FromStr for NetHost {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("the host is empty".into());
        }
        if text.len() > 1024 {
            return Err("the host is too long".into());
        }
        // Percent-encoding would be another spelling of the same name, and nobody needs it.
        let odd =
            |c: char| c.is_control() || c.is_whitespace() || matches!(c, '%' | '@' | '/' | '\\' | '?' | '#' | '*');
        if let Some(bad) = text.chars().find(|c| odd(*c)) {
            return Err(format!("a host cannot hold {bad:?}"));
        }
        if !text.starts_with('[') && text.contains(':') {
            return Err("an IPv6 address stands in brackets, for example [::1]".into());
        }
        match url::Host::parse(text) {
            Ok(url::Host::Domain(domain)) => HostName::of_domain(&domain).map(Self::Name),
            Ok(url::Host::Ipv4(address)) => Ok(Self::Address(address.into())),
            Ok(url::Host::Ipv6(address)) => Ok(Self::Address(canonical(address.into()))),
            Err(error) => Err(format!("{text:?} is no host: {error}")),
        }
    }
}

impl HostPattern {
    /// Whether the pattern means `host`.
    pub fn permits(&self, host: &NetHost) -> bool {
        match (self, host) {
            (Self::AnyName, NetHost::Name(name)) => !name.is_localhost(),
            (Self::Below(parent), NetHost::Name(name)) => name.is_below(parent),
            (Self::Name(own), NetHost::Name(name)) => own == name,
            (Self::Network(network), NetHost::Address(address)) => network.holds(*address),
            _ => false,
        }
    }

    /// Whether, as a prohibition, it stops requests to `host`: it means the host, `localhost` among all names too, or an IPv4
    /// address to which that leads from within IPv6, as through NAT64.
    pub fn forbids(&self, host: &NetHost) -> bool {
        let carried_there = || match (self, host) {
            (Self::Network(network), NetHost::Address(address)) => {
                carried(*address).any(|inner| network.holds(inner.into()))
            }
            _ => false,
        };
        let any_name = matches!((self, host), (Self::AnyName, NetHost::Name(_)));
        any_name || self.permits(host) || carried_there()
    }

    /// Whether a prohibition of `rule` may stop requests to some host that this means. Where names lead is not looked at.
    pub fn loses_to(&self, rule: &HostPattern) -> bool {
        let carried_there = || match (self, rule) {
            (Self::Network(own), Self::Network(rule)) => !own.is_ipv4() && rule.is_ipv4(),
            _ => false,
        };
        rule.takes_all_of(self) || self.meet(rule).is_some() || carried_there()
    }

    /// Whether a prohibition of this stops requests to every host that `held` means.
    pub fn takes_all_of(&self, held: &HostPattern) -> bool {
        self.covers(held) || matches!((self, held), (Self::AnyName, Self::Name(_)))
    }

    /// Whether every host that `other` means is meant by this too.
    pub fn covers(&self, other: &HostPattern) -> bool {
        match (self, other) {
            (Self::AnyName, Self::AnyName | Self::Below(_)) => true,
            (Self::AnyName, Self::Name(name)) => !name.is_localhost(),
            (Self::Below(a), Self::Below(b)) => a == b || b.is_below(a),
            (Self::Below(a), Self::Name(b)) => b.is_below(a),
            (Self::Name(a), Self::Name(b)) => a == b,
            (Self::Network(a), Self::Network(b)) => a.contains(b),
            _ => false,
        }
    }

    /// The hosts both mean. Patterns nest or are apart, so it is one of the two or nothing.
    pub fn meet(&self, other: &HostPattern) -> Option<HostPattern> {
        if self.covers(other) { Some(other.clone()) } else { other.covers(self).then(|| self.clone()) }
    }

    /// The pattern that means this host and no other.
    pub fn only(host: &NetHost) -> Self {
        match host {
            NetHost::Name(name) => Self::Name(name.clone()),
            NetHost::Address(address) => Self::Network(Network::of(*address)),
        }
    }
}

impl FromStr for HostPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::AnyName);
        }
        if let Some(parent) = text.strip_prefix("*.") {
            return match parent.parse::<NetHost>()? {
                NetHost::Name(name) => Ok(Self::Below(name)),
                NetHost::Address(_) => Err("'*.' stands before a name; write a network as [10.0.0.0/8]".into()),
            };
        }
        if text.contains('*') {
            return Err("'*' stands alone or as '*.' before a name, for example *.example.com".into());
        }
        if let Some(inside) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            if inside.contains('/') {
                return inside.parse().map(Self::Network);
            }
            // An IPv4 address needs no brackets, but means what it says in them.
            if let Ok(address) = inside.parse::<IpAddr>() {
                return Ok(Self::Network(Network::of(address)));
            }
        }
        text.parse().map(|host| Self::only(&host))
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// As it stands in a URL.
impl fmt::Display for NetHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Address(address) => Network::of(*address).fmt(f),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AnyName => f.write_str("*"),
            Self::Below(parent) => write!(f, "*.{parent}"),
            Self::Name(name) => name.fmt(f),
            Self::Network(network) => network.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_host_has_one_form() {
        for (written, meant) in [
            ("Example.COM", "example.com"),
            ("example.com.", "example.com"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("BÜCHER.example", "xn--bcher-kva.example"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("ex\u{ad}ample.com", "example.com"),
            ("ｅｘａｍｐｌｅ。ｃｏｍ", "example.com"),
            ("my_host.internal", "my_host.internal"),
            ("127.1", "127.0.0.1"),
            ("127.0.0.1.", "127.0.0.1"),
            ("2130706433", "127.0.0.1"),
            ("0x7f000001", "127.0.0.1"),
            ("0x7f.1", "127.0.0.1"),
            ("0177.0.0.1", "127.0.0.1"),
            ("１２７.0.0.1", "127.0.0.1"),
            ("①②⑦.0.0.1", "127.0.0.1"),
            ("[::1]", "[::1]"),
            ("[0:0:0:0:0:0:0:1]", "[::1]"),
            ("[::ffff:127.0.0.1]", "127.0.0.1"),
            ("[::ffff:7f00:1]", "127.0.0.1"),
            ("[FD00:EC2::254]", "[fd00:ec2::254]"),
        ] {
            assert_eq!(written.parse::<NetHost>().as_ref().map(ToString::to_string), Ok(meant.to_owned()), "{written}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        let long = format!("{}.com", "a".repeat(64));
        for bad in [
            "",
            ".",
            "..",
            "a..b",
            ".a",
            "a.b..",
            "a b",
            "a\tb",
            "a\0b",
            "a%2eb",
            "user@host",
            "a/b",
            "a\\b",
            "a?b",
            "a#b",
            "a,b",
            "a!b",
            "a*b",
            "::1",
            "[::1",
            "::1]",
            "[::1%eth0]",
            "[1.2.3.4]",
            "1.2.3.4.5",
            "256.1.1.1",
            "a.1",
            "1.2.3.09",
            "xn--a",
            "[]",
            "[10.0.0.0/8]",
            &long,
        ] {
            bad.parse::<NetHost>().expect_err(bad);
        }
    }

    #[test]
    fn wildcards_mean_what_lies_below() {
        let pattern: HostPattern = "*.Example.com.".parse().unwrap();
        let permits = |host: &str| pattern.permits(&host.parse().unwrap());
        assert_eq!(pattern.to_string(), "*.example.com");
        assert!(permits("a.example.com") && permits("a.b.example.com"));
        assert!(!permits("example.com") && !permits("badexample.com") && !permits("example.com.evil.net"));
        let any: HostPattern = "*".parse().unwrap();
        let all = |host: &str| any.permits(&host.parse().unwrap());
        assert!(all("example.com") && all("a.localhost") && all("localhost.example.com") && !all("8.8.8.8"));
        for bad in ["*foo.com", "foo.*", "a.*.com", "**", "*.", "*.*", "*.127.0.0.1", "*.[::1]", "[*]"] {
            bad.parse::<HostPattern>().expect_err(bad);
        }
    }

    #[test]
    fn any_name_is_no_grant_of_localhost_and_a_prohibition_of_it() {
        let any: HostPattern = "*".parse().unwrap();
        for written in ["localhost", "LOCALHOST.", "ｌｏｃａｌｈｏｓｔ"] {
            let (host, pattern): (NetHost, HostPattern) = (written.parse().unwrap(), written.parse().unwrap());
            assert!(!any.permits(&host) && !any.covers(&pattern) && any.meet(&pattern).is_none(), "{written}");
            assert!(any.forbids(&host) && any.takes_all_of(&pattern) && pattern.loses_to(&any), "{written}");
            assert!(pattern.permits(&host) && pattern.covers(&pattern));
        }
        // Who holds every other name loses nothing when this one is denied.
        assert!(!any.loses_to(&"localhost".parse().unwrap()) && any.loses_to(&"a.localhost".parse().unwrap()));
    }

    #[test]
    fn rules_of_one_family_concern_another_only_where_one_carries_the_other() {
        let pattern = |text: &str| text.parse::<HostPattern>().unwrap();
        assert!(pattern("[64:ff9b::/96]").loses_to(&pattern("10.0.0.1")));
        assert!(!pattern("10.0.0.1").loses_to(&pattern("[64:ff9b::/96]")));
        assert!(!pattern("10.0.0.1").loses_to(&pattern("[192.168.0.0/16]")));
        assert!(!pattern("[fd00::/8]").loses_to(&pattern("[::1]")));
    }
}
