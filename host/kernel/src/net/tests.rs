//! The laws of network patterns: one text form, a partial order, a meet that is the greatest lower bound, and that all three
//! agree with what is permitted.

use super::*;
use proptest::prelude::*;

fn net(text: &str) -> NetPattern {
    text.parse().unwrap_or_else(|why| panic!("{text}: {why}"))
}

fn target(method: &str, url: &str) -> NetTarget {
    NetTarget::of_url(method, url).unwrap_or_else(|why| panic!("{url}: {why}"))
}

const HOSTS: &[&str] = &[
    "*",
    "*.com",
    "*.example.com",
    "example.com",
    "a.example.com",
    "b.a.example.com",
    "localhost",
    "127.0.0.1",
    "[::1]",
    "[127.0.0.0/8]",
    "[0.0.0.0/0]",
    "[10.0.0.0/8]",
    "[::/0]",
    "[fd00::/8]",
    "[fd00:ec2::254]",
    "[::ffff:10.0.0.0/104]",
];
const URL_HOSTS: &[&str] = &[
    "example.com",
    "a.example.com",
    "b.a.example.com",
    "localhost",
    "127.0.0.1",
    "10.1.2.3",
    "[::1]",
    "[fd00:ec2::254]",
    "[64:ff9b::10.1.2.3]",
    "[64:ff9b::8.8.8.8]",
];

const ADDRESSES: &[&str] =
    &["127.0.0.1", "10.1.2.3", "8.8.8.8", "::1", "fd00:ec2::254", "64:ff9b::10.1.2.3", "2002:a01:203::1"];

/// Patterns that meet often.
pub(crate) fn any_net() -> impl Strategy<Value = NetPattern> {
    let method = prop_oneof![Just(""), Just("GET "), Just("POST ")];
    let host = prop::sample::select(HOSTS);
    let port = prop_oneof![Just(""), Just(":80"), Just(":443"), Just(":8080"), Just(":*")];
    let path = prop_oneof![
        Just(""),
        Just("/*"),
        Just("/"),
        Just("/v1"),
        Just("/v1/*"),
        Just("/V1/*"),
        Just("/v1;x/*"),
        Just("/v1*"),
        Just("/v1/a"),
        Just("/%38"),
        Just("/%76%31/b*")
    ];
    (method, host, port, path).prop_map(|(method, host, port, path)| net(&format!("{method}{host}{port}{path}")))
}

pub(crate) fn any_secret() -> impl Strategy<Value = SecretPattern> {
    let host = prop_oneof![
        Just("*.example.com"),
        Just("a.example.com"),
        Just("example.com"),
        Just("127.0.0.1"),
        Just("[::1]")
    ];
    (prop_oneof![Just("A"), Just("B_1")], host).prop_map(|(name, host)| format!("{name}@{host}").parse().unwrap())
}

fn any_target() -> impl Strategy<Value = NetTarget> {
    let method = prop_oneof![Just("GET"), Just("POST"), Just("PUT")];
    let port = prop_oneof![Just(""), Just(":80"), Just(":443"), Just(":8080")];
    let path = prop_oneof![
        Just(""),
        Just("/v1"),
        Just("/v1/a"),
        Just("/v1/b?q"),
        Just("/v1/../x"),
        Just("/v1/..%2fx"),
        Just("/V1/a"),
        Just("/v1;y/a"),
        Just("/v1/a%3By"),
        Just("/;y/v1/a")
    ];
    (method, prop_oneof![Just("http"), Just("https")], prop::sample::select(URL_HOSTS), port, path)
        .prop_map(|(method, scheme, host, port, path)| target(method, &format!("{scheme}://{host}{port}{path}")))
}

fn any_address() -> impl Strategy<Value = IpAddr> {
    prop::sample::select(ADDRESSES).prop_map(|text| text.parse().unwrap())
}

#[test]
fn a_rule_for_addresses_concerns_whoever_may_ask_names() {
    for (held, rule) in [
        ("*", "[93.184.0.0/16]"),
        ("api.example.com:*", "[93.184.0.0/16]"),
        ("[64:ff9b::/96]:*", "10.0.0.0"),
        ("localhost:8080", "[127.0.0.0/8]:*"),
        ("localhost:8080", "*:*"),
        ("GET api.example.com/v1/*", "api.example.com/V1;x/a"),
        ("api.example.com", "api.example.com/admin/*"),
    ] {
        assert!(net(held).loses_to(&net(rule)), "{held} {rule}");
    }
    for (held, rule) in [
        ("GET *", "POST [93.184.0.0/16]"),
        ("*:80", "[93.184.0.0/16]"),
        ("a.example.com", "b.example.com"),
        ("[10.0.0.0/8]", "*"),
        ("[10.0.0.0/8]", "[192.168.0.0/16]"),
        ("GET api.example.com/v1/*", "api.example.com/admin/*"),
        ("*:*", "localhost:*"),
    ] {
        assert!(!net(held).loses_to(&net(rule)), "{held} {rule}");
    }
}

#[test]
fn one_pattern_has_one_form() {
    for (written, printed) in [
        ("api.example.com", "api.example.com"),
        ("API.Example.com.:443/*", "api.example.com"),
        ("GET api.example.com/v1/*", "GET api.example.com/v1/*"),
        ("*.example.com:8443/a%20b", "*.example.com:8443/a%20b"),
        ("*", "*"),
        ("*:*", "*:*"),
        ("bücher.example:80", "xn--bcher-kva.example:80"),
        ("127.1:8080", "127.0.0.1:8080"),
        ("0x7f000001", "127.0.0.1"),
        ("0177.0.0.1/x", "127.0.0.1/x"),
        ("[127.0.0.1]", "127.0.0.1"),
        ("[::ffff:127.0.0.1]:1", "127.0.0.1:1"),
        ("[10.0.0.0/8]:*/v1/*", "[10.0.0.0/8]:*/v1/*"),
        ("[fd00:0::/8]", "[fd00::/8]"),
        ("[::1/128]", "[::1]"),
    ] {
        assert_eq!(net(written).to_string(), printed, "{written}");
    }
}

#[test]
fn refused_forms_say_why() {
    for (bad, part) in [
        ("", "empty"),
        ("https://api.example.com", "not a URL"),
        ("GET http://x/", "not a URL"),
        ("user@example.com", "user"),
        ("user:pw@example.com", "user"),
        ("get example.com", "capital"),
        ("CONNECT example.com", "never"),
        ("GET", "*"),
        ("GET  example.com", "host"),
        ("*foo.com", "*.example.com"),
        ("foo.*", "*.example.com"),
        ("::1", "brackets"),
        ("[::1", "closed"),
        ("[::1]x", "follows"),
        ("10.0.0.0/8", "[ADDRESS/8]"),
        ("[10.0.0.1/8]", "[10.0.0.0/8]"),
        ("example.com:", "port"),
        ("example.com:0", "port"),
        ("example.com:080", "port"),
        ("example.com:65536", "port"),
        ("example.com:8?", "port"),
        ("example.com/a?b", "queries"),
        ("example.com/../x", "two ways"),
        ("example.com?x", "hold"),
        ("a..b", "label"),
        ("exa mple.com", "capital"),
        ("example.com /x", "capital"),
        ("example.com/a b", "capital"),
    ] {
        // "GET" alone is a host of one label, in capitals: canonical, and no mistake we can see.
        if bad == "GET" {
            assert_eq!(net(bad).to_string(), "get");
            continue;
        }
        let why = bad.parse::<NetPattern>().expect_err(bad);
        assert!(why.contains(part), "{bad}: {why}");
    }
    for bad in [
        "",
        "A",
        "A@",
        "@example.com",
        "A@*",
        "A@[10.0.0.0/8]",
        "1A@x.com",
        "A-B@x.com",
        "A@x.com/y",
        "A@x.com:1",
        "A@u@x",
    ] {
        bad.parse::<SecretPattern>().expect_err(bad);
    }
    format!("{}@x.com", "A".repeat(65)).parse::<SecretPattern>().unwrap_err();
}

#[test]
fn a_port_implies_its_scheme() {
    let permits = |pattern: &str, url: &str| net(pattern).permits(&target("GET", url));
    assert!(permits("x.com", "https://x.com/") && !permits("x.com", "http://x.com/"));
    assert!(!permits("x.com", "http://x.com:443/") && !permits("x.com:80", "https://x.com:80/"));
    assert!(permits("x.com:80", "http://x.com/") && !permits("x.com:80", "https://x.com/"));
    assert!(permits("x.com:8080", "http://x.com:8080/") && permits("x.com:8080", "https://x.com:8080/"));
    assert!(permits("x.com:*", "http://x.com:443/") && permits("x.com:*", "https://x.com/"));
}

#[test]
fn a_name_never_opens_an_address() {
    let metadata = "169.254.169.254".parse().unwrap();
    let home: IpAddr = "127.0.0.1".parse().unwrap();
    let request = target("GET", "http://innocent.example.com:80/latest");
    let opens = |pattern: &str, address| net(pattern).permits_address(&request, address);
    for pattern in [
        "*:*",
        "innocent.example.com:80",
        "*.example.com:*",
        "127.0.0.1:8080",
        "POST 169.254.169.254:80",
        "localhost:80",
    ] {
        assert!(!opens(pattern, metadata) && !opens(pattern, home), "{pattern}");
    }
    assert!(opens("169.254.169.254:80", metadata) && opens("[169.254.0.0/16]:*", metadata));
    assert!(!opens("169.254.169.254:80/user-data", metadata), "the path counts there too");
    let local = target("GET", "http://localhost:8080/");
    assert!(net("localhost:8080").permits_address(&local, home));
    assert!(net("localhost:8080").permits_address(&local, "::1".parse().unwrap()));
    assert!(net("localhost:8080").permits_address(&local, "::ffff:127.0.0.1".parse().unwrap()));
    assert!(!net("localhost:8080").permits_address(&local, "10.0.0.1".parse().unwrap()));
    assert!(!net("localhost:9090").permits_address(&local, home) && !net("*:*").permits_address(&local, home));
}

#[test]
fn loopback_by_name_is_part_of_no_wildcard() {
    for wide in ["*:*", "*:8080", "GET *:*", "*"] {
        assert!(
            !net(wide).covers(&net("localhost:8080")) && net(wide).meet(&net("localhost:8080")).is_none(),
            "{wide}"
        );
        assert!(!net(wide).permits(&target("GET", "http://localhost:8080/")), "{wide}");
    }
    assert!(net("localhost:*").covers(&net("GET localhost:8080")) && net("*:*").covers(&net("a.localhost:8080")));
    assert!(net("*:*").forbids(&target("GET", "http://localhost:8080/")), "as a prohibition it means this name, too");
}

/// The laws below by example would need luck to meet the few hosts that matter together: here are all of them.
#[test]
fn whoever_is_covered_reaches_no_more_and_what_is_denied_is_reached_by_nobody() {
    let patterns: Vec<_> = HOSTS.iter().map(|host| net(&format!("{host}:*"))).collect();
    let targets: Vec<_> = URL_HOSTS.iter().map(|host| target("GET", &format!("http://{host}:8080/"))).collect();
    for (a, b, t) in patterns.iter().flat_map(|a| {
        let targets = &targets;
        patterns.iter().flat_map(move |b| targets.iter().map(move |t| (a, b, t)))
    }) {
        if a.covers(b) {
            assert!(a.permits(t) || !b.permits(t), "{a} covers {b}");
        }
        if a.takes_all_of(b) {
            assert!(a.forbids(t) || !b.permits(t), "{a} denied takes all of {b}");
        }
        for to in ADDRESSES.iter().map(|to| to.parse().unwrap()) {
            if a.covers(b) {
                assert!(a.permits_address(t, to) || !b.permits_address(t, to), "{a} covers {b} at {to}");
            }
            let led_there = matches!(t.host(), NetHost::Name(_)) && a.forbids(&t.at(to));
            if b.permits(t) && (a.forbids(t) || led_there) {
                assert!(b.loses_to(a), "{a} denied stops {} of {b}", t.smallest());
            }
        }
    }
}

#[test]
fn secrets_go_where_they_are_bound() {
    let pattern: SecretPattern = "TOKEN@*.example.com".parse().unwrap();
    let may = |name: &str, host: &str| pattern.permits(&name.parse().unwrap(), &host.parse().unwrap());
    assert!(may("TOKEN", "api.example.com") && !may("TOKEN", "example.com") && !may("token", "api.example.com"));
    assert!(!may("TOKEN", "api.example.com.evil.net"));
}

#[test]
fn a_path_of_digits_after_an_address_is_no_network() {
    for (url, form) in [
        ("http://10.0.0.1/8", "GET 10.0.0.1:80/8"),
        ("https://10.0.0.1/8", "GET 10.0.0.1:443/8"),
        ("https://[fd00::1]/64", "GET [fd00::1]:443/64"),
        ("https://a.example/8", "GET a.example/8"),
    ] {
        let smallest = target("GET", url).smallest();
        assert_eq!(smallest.to_string(), form);
        assert_eq!(net(form), smallest);
    }
    for bad in ["10.0.0.0/8", "[fd00::]/8"] {
        let why = bad.parse::<NetPattern>().unwrap_err();
        assert!(why.contains("in brackets"), "{why}");
    }
    assert_eq!(net("10.0.0.1/%38").to_string(), "10.0.0.1:443/8");
}

proptest! {
    #[test]
    fn printing_and_parsing_round_trip(a in any_net(), b in any_net(), s in any_secret()) {
        prop_assert_eq!(net(&a.to_string()), a.clone());
        prop_assert_eq!(s.to_string().parse::<SecretPattern>().unwrap(), s);
        if let Some(m) = a.meet(&b) { prop_assert_eq!(net(&m.to_string()), m); }
    }

    #[test]
    fn covers_is_a_partial_order(a in any_net(), b in any_net(), c in any_net()) {
        prop_assert!(a.covers(&a));
        if a.covers(&b) && b.covers(&a) { prop_assert_eq!(&a, &b); }
        if a.covers(&b) && b.covers(&c) { prop_assert!(a.covers(&c)); }
    }

    #[test]
    fn meet_is_the_greatest_lower_bound(a in any_net(), b in any_net(), c in any_net()) {
        prop_assert_eq!(a.meet(&b), b.meet(&a));
        match a.meet(&b) {
            Some(m) => {
                prop_assert!(a.covers(&m) && b.covers(&m));
                if a.covers(&c) && b.covers(&c) { prop_assert!(m.covers(&c)); }
            }
            None => prop_assert!(!(a.covers(&c) && b.covers(&c))),
        }
    }

    #[test]
    fn secrets_obey_the_same_laws(a in any_secret(), b in any_secret(), c in any_secret()) {
        if a.covers(&b) && b.covers(&a) { prop_assert_eq!(&a, &b); }
        match a.meet(&b) {
            Some(m) => prop_assert!(a.covers(&m) && b.covers(&m) && (!(a.covers(&c) && b.covers(&c)) || m.covers(&c))),
            None => prop_assert!(!(a.covers(&c) && b.covers(&c))),
        }
    }

    /// The order on text is the order on what happens: a larger pattern permits more, a meet exactly what both permit.
    #[test]
    fn order_agrees_with_what_is_permitted(a in any_net(), b in any_net(), t in any_target(), to in any_address()) {
        if a.covers(&b) && b.permits(&t) { prop_assert!(a.permits(&t)); }
        // Also where the name leads to what is not public.
        if a.covers(&b) && b.permits_address(&t, to) { prop_assert!(a.permits_address(&t, to)); }
        let both = a.permits(&t) && b.permits(&t);
        prop_assert_eq!(both, a.meet(&b).is_some_and(|m| m.permits(&t)));
        if a.permits(&t) { prop_assert!(a.forbids(&t)); }
        prop_assert!(t.smallest().permits(&t));
        // The smallest pattern is a part of every pattern that permits the request: nothing smaller would do.
        prop_assert_eq!(a.permits(&t), a.covers(&t.smallest()));
    }

    /// What a rule for an IPv4 network stops, it stops through NAT64 as well; a grant for it permits there nothing more.
    #[test]
    fn rules_reach_through_nat64_and_grants_do_not(
        base in any::<u32>(), prefix in 0u8..=32, inner in any::<u32>(), near in any::<bool>()
    ) {
        let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
        let (base, inner) = (base & mask, if near { (base & mask) | (inner & !mask) } else { inner });
        let pattern = net(&format!("[{}/{prefix}]:*", core::net::Ipv4Addr::from(base)));
        let inner = core::net::Ipv4Addr::from(inner);
        let direct = target("GET", &format!("https://{inner}/"));
        let through = target("GET", &format!("https://[64:ff9b::{inner}]/"));
        prop_assert_eq!(pattern.forbids(&through), pattern.forbids(&direct));
        prop_assert!(!pattern.permits(&through));
    }

    /// No rule is left out that would stop something which is permitted.
    #[test]
    fn what_loses_to_no_rule_is_stopped_by_none(held in any_net(), rule in any_net(), t in any_target(), to in any_address()) {
        if !held.loses_to(&rule) {
            prop_assert!(!held.permits(&t) || !rule.forbids(&t));
            // An address leads nowhere but to itself.
            let leads = matches!(t.host(), NetHost::Name(_));
            prop_assert!(!leads || !held.permits(&t) || !rule.forbids(&t.at(to)));
        }
        if rule.takes_all_of(&held) { prop_assert!(!held.permits(&t) || rule.forbids(&t)); }
    }

    #[test]
    fn parsing_never_panics_and_prints_what_it_parses(text in "\\PC{0,40}") {
        if let Ok(pattern) = text.parse::<NetPattern>() { prop_assert_eq!(net(&pattern.to_string()), pattern); }
        let _ = text.parse::<SecretPattern>();
        let _ = NetTarget::of_url("GET", &text);
    }

    #[test]
    fn hostlike_text_prints_what_it_parses(text in "(GET )?[a-zA-Z0-9.*\\[\\]:/%_üＡ。-]{1,30}") {
        if let Ok(pattern) = text.parse::<NetPattern>() { prop_assert_eq!(net(&pattern.to_string()), pattern); }
        if let Ok(t) = NetTarget::of_url("GET", &format!("https://{text}")) { prop_assert!(t.smallest().permits(&t)); }
    }
}
