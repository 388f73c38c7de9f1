//! Which addresses belong to everybody and which to this machine, its network or its cloud. Numbers only: nothing here
//! resolves a name or opens a socket (`core::net` has no sockets to open).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::fmt;
use std::str::FromStr;

/// The address that is really meant: an IPv4 address written as IPv6 (`::ffff:a.b.c.d`) is that IPv4 address.
pub fn canonical(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

/// The IPv4 addresses to which a packet for this IPv6 address may be carried on: by NAT64, 6to4, Teredo, or one of the older
/// forms that hold an IPv4 address. For prohibitions only: whoever forbids an IPv4 address forbids the ways to it, while
/// permission for it opens none of them. Where a form can be read in several ways, each reading is given.
pub fn carried(address: IpAddr) -> impl Iterator<Item = Ipv4Addr> {
    let found: [Option<Ipv4Addr>; 4] = match canonical(address) {
        IpAddr::V4(_) => [None; 4],
        IpAddr::V6(v6) => {
            let (segments, bytes) = (v6.segments(), v6.octets());
            let at = |at: [usize; 4]| Some(Ipv4Addr::from(at.map(|n| bytes[n])));
            match segments {
                // NAT64's own prefix has the address last.
                [0x64, 0xff9b, 0, 0, 0, 0, ..] => [at([12, 13, 14, 15]), None, None, None],
                // A network's own NAT64 prefix lies in here and may have any of four lengths; byte 8 is always skipped.
                [0x64, 0xff9b, 1, ..] => {
                    [at([6, 7, 9, 10]), at([7, 9, 10, 11]), at([9, 10, 11, 12]), at([12, 13, 14, 15])]
                }
                // 6to4.
                [0x2002, ..] => [at([2, 3, 4, 5]), None, None, None],
                // Teredo: the server, and the client with its bits turned over.
                [0x2001, 0, ..] => {
                    let client = Ipv4Addr::from(!u32::from_be_bytes([bytes[12], bytes[13], bytes[14], bytes[15]]));
                    [at([4, 5, 6, 7]), Some(client), None, None]
                }
                // Neither `::` nor `::1` is an IPv4 address.
                [0, 0, 0, 0, 0, 0, 0, 0 | 1] => [None; 4],
                // `::a.b.c.d` and `::ffff:0:a.b.c.d`.
                [0, 0, 0, 0, 0 | 0xffff, 0, ..] => [at([12, 13, 14, 15]), None, None, None],
                _ => [None; 4],
            }
        }
    };
    found.into_iter().flatten()
}

/// Whether a connection to `address` reaches the public internet and nothing nearer. False for loopback, private, link-local,
/// shared, multicast, reserved and documentation addresses, for what tunnels to them, and for the addresses at which clouds
/// hand out credentials. What is not known to be public is not.
pub fn is_public(address: IpAddr) -> bool {
    match canonical(address) {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    const SPECIAL: &[([u8; 4], u8)] = &[
        ([0, 0, 0, 0], 8),
        ([10, 0, 0, 0], 8),
        ([100, 64, 0, 0], 10),
        ([127, 0, 0, 0], 8),
        // Azure's metadata and agent service answers here, to its own virtual machines.
        ([168, 63, 129, 16], 32),
        // Link-local, and with it 169.254.169.254, where most clouds hand out credentials.
        ([169, 254, 0, 0], 16),
        ([172, 16, 0, 0], 12),
        ([192, 0, 0, 0], 24),
        ([192, 0, 2, 0], 24),
        ([192, 88, 99, 0], 24),
        ([192, 168, 0, 0], 16),
        ([198, 18, 0, 0], 15),
        ([198, 51, 100, 0], 24),
        ([203, 0, 113, 0], 24),
        ([224, 0, 0, 0], 4),
        ([240, 0, 0, 0], 4),
    ];
    let special =
        |(base, prefix): &([u8; 4], u8)| (u32::from(address) ^ u32::from_be_bytes(*base)) >> (32 - prefix) == 0;
    !SPECIAL.iter().any(special)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let s = address.segments();
    // NAT64 carries an IPv4 address in its last half; the address it leads to is the one that counts.
    if s[..6] == [0x64, 0xff9b, 0, 0, 0, 0] {
        return is_public_v4(Ipv4Addr::from((u32::from(s[6]) << 16) | u32::from(s[7])));
    }
    // Of the whole space only 2000::/3 is handed out as public; loopback, ULA, link-local, site-local, multicast, discard-only
    // and the remaining forms of embedded IPv4 all lie outside it.
    let unicast = s[0] & 0xe000 == 0x2000;
    // 2001::/23 are protocols' own: Teredo, benchmarking, ORCHID. 2002::/16 is 6to4, which wraps an IPv4 address of any sort.
    let protocol = s[0] == 0x2001 && s[1] < 0x200;
    let documentation = (s[0] == 0x2001 && s[1] == 0xdb8) || (s[0] == 0x3fff && s[1] < 0x1000);
    unicast && !protocol && !documentation && s[0] != 0x2002
}

/// A block of addresses: one, or all that share a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Network {
    base: IpAddr,
    prefix: u8,
}

impl Network {
    /// The network of one address.
    pub fn of(address: IpAddr) -> Self {
        let base = canonical(address);
        Self { base, prefix: bits(base) }
    }

    /// The one address it has, when it has only one.
    pub fn single(&self) -> Option<IpAddr> {
        (self.prefix == bits(self.base)).then_some(self.base)
    }

    /// Whether its addresses are those of IPv4.
    pub fn is_ipv4(&self) -> bool {
        self.base.is_ipv4()
    }

    /// Whether `address` lies in it.
    pub fn holds(&self, address: IpAddr) -> bool {
        self.contains(&Self::of(address))
    }

    /// Whether all of `other` lies in it.
    pub fn contains(&self, other: &Network) -> bool {
        self.is_ipv4() == other.is_ipv4()
            && self.prefix <= other.prefix
            && masked(number(other.base), bits(self.base), self.prefix) == number(self.base)
    }
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

/// `number` with all but its first `prefix` of `bits` bits cleared.
fn masked(number: u128, bits: u8, prefix: u8) -> u128 {
    let low = u32::from(bits - prefix);
    number.checked_shr(low).and_then(|high| high.checked_shl(low)).unwrap_or(0)
}

/// `ADDRESS/PREFIX`, as it stands between brackets.
impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (address, prefix) = text.split_once('/').ok_or("write a network as [ADDRESS/PREFIX]")?;
        let written: IpAddr =
            address.parse().map_err(|_| format!("{address:?} is no address; write for example [10.0.0.0/8]"))?;
        let most = bits(written);
        let plain = (1..=3).contains(&prefix.len()) && prefix.bytes().all(|b| b.is_ascii_digit());
        let prefix: u8 = plain
            .then(|| prefix.parse().ok().filter(|p: &u8| *p <= most && p.to_string() == prefix))
            .flatten()
            .ok_or_else(|| format!("the prefix of {address} is a number from 0 to {most}"))?;
        if masked(number(written), most, prefix) != number(written) {
            let network = match written {
                IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from(masked(number(written), most, prefix) as u32)),
                IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from(masked(number(written), most, prefix))),
            };
            return Err(format!("{text} is not the start of its network; write [{network}/{prefix}]"));
        }
        match canonical(written) {
            // A block of IPv4-mapped addresses is a block of IPv4 addresses; a wider one is IPv6's own.
            base @ IpAddr::V4(_) if written.is_ipv6() && prefix >= 96 => Ok(Self { base, prefix: prefix - 96 }),
            _ => Ok(Self { base: written, prefix }),
        }
    }
}

/// As it stands in a pattern: a bare IPv4 address, and everything else in brackets.
impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.single() {
            Some(IpAddr::V4(v4)) => write!(f, "{v4}"),
            Some(IpAddr::V6(v6)) => write!(f, "[{v6}]"),
            None => write!(f, "[{}/{}]", self.base, self.prefix),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_near_is_not_public() {
        for near in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "10.255.255.255",
            "100.64.0.1",
            "100.100.100.200",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "168.63.129.16",
            "169.254.169.254",
            "169.254.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.9",
            "224.0.0.1",
            "239.255.255.250",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:0:10.0.0.1",
            "64:ff9b::127.0.0.1",
            "64:ff9b::169.254.169.254",
            "64:ff9b:1::8.8.8.8",
            "100::1",
            "2001::1",
            "2001:0:4136:e378:8000:63bf:3fff:fdd2",
            "2001:2::1",
            "2001:10::1",
            "2001:20::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:a9fe:a9fe::1",
            "2002:808:808::1",
            "3fff::1",
            "3fff:fff::1",
            "5f00::1",
            "4000::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
            "ff0e::1",
        ] {
            assert!(!is_public(near.parse().unwrap()), "{near}");
        }
    }

    #[test]
    fn the_public_internet_is_public() {
        for far in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "168.63.129.15",
            "169.253.255.255",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.167.255.255",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700::1111",
            "2001:200::1",
            "2001:4860:4860::8888",
            "2003::1",
            "2a00:1450::1",
            "3ffe::1",
            "3fff:1000::1",
            "64:ff9b::8.8.8.8",
            "::ffff:8.8.8.8",
        ] {
            assert!(is_public(far.parse().unwrap()), "{far}");
        }
    }

    #[test]
    fn an_address_within_an_address_is_found() {
        for (outer, inner) in [
            ("64:ff9b::10.1.2.3", "10.1.2.3"),
            ("64:ff9b::169.254.169.254", "169.254.169.254"),
            ("64:ff9b:1:a01:2:300::", "10.1.2.3"),
            ("64:ff9b:1:aa0a:1:203::", "10.1.2.3"),
            ("64:ff9b:1:aaaa:a:102:300:0", "10.1.2.3"),
            ("64:ff9b:1:aaaa:aa:aaaa:10.1.2.3", "10.1.2.3"),
            ("2002:a01:203::1", "10.1.2.3"),
            ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "65.54.227.120"),
            ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "192.0.2.45"),
            ("::10.1.2.3", "10.1.2.3"),
            ("::ffff:0:10.1.2.3", "10.1.2.3"),
        ] {
            let found: Vec<_> = carried(outer.parse().unwrap()).collect();
            assert!(found.contains(&inner.parse().unwrap()), "{outer} holds {found:?}");
        }
        for plain in ["10.1.2.3", "::ffff:10.1.2.3", "::", "::1", "2606:4700::1111", "fd00::a01:203", "fe80::1"] {
            assert_eq!(carried(plain.parse().unwrap()).count(), 0, "{plain}");
        }
    }

    #[test]
    fn networks_hold_what_shares_their_prefix() {
        let net = |text: &str| text.parse::<Network>().unwrap();
        assert!(net("10.0.0.0/8").holds("10.9.8.7".parse().unwrap()));
        assert!(net("10.0.0.0/8").holds("::ffff:10.9.8.7".parse().unwrap()));
        assert!(!net("10.0.0.0/8").holds("11.0.0.0".parse().unwrap()));
        assert!(net("0.0.0.0/0").contains(&net("10.0.0.0/8")) && !net("::/0").contains(&net("10.0.0.0/8")));
        assert!(net("fd00::/8").contains(&net("fd12::/16")) && !net("fd12::/16").contains(&net("fd00::/8")));
        for (written, printed) in [
            ("10.0.0.0/8", "[10.0.0.0/8]"),
            ("10.0.0.1/32", "10.0.0.1"),
            ("fd00:0::/8", "[fd00::/8]"),
            ("::1/128", "[::1]"),
            ("::ffff:10.0.0.0/104", "[10.0.0.0/8]"),
            ("::ffff:0:0/96", "[0.0.0.0/0]"),
        ] {
            assert_eq!(net(written).to_string(), printed);
        }
        for bad in ["10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/+8", "10.0.0.0/08", "10.0.0.0/", "10/8", "::1/64", "x/8"] {
            bad.parse::<Network>().expect_err(bad);
        }
        assert!("10.0.0.1/8".parse::<Network>().unwrap_err().contains("[10.0.0.0/8]"));
    }
}
