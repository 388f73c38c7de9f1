//! The way out to the network, as a trait: what one call may send, within which limits, and why it may not. The pillar that
//! sends implements [`Egress`]; nothing here resolves, connects or knows a secret's value.

use crate::account::{Account, Resource};
use crate::admit::Admitted;
use crate::capability::Capability;
use crate::ids::RunId;
use crate::net::address::{canonical, is_public};
use crate::net::{NetHost, NetPattern, NetTarget, SecretName, SecretPattern};
use crate::policy::Denial;
use crate::ports::BoxFuture;
use crate::quota::{LimitHit, Quota};
use crate::scope::Scope;
use bytes::Bytes;
use core::net::IpAddr;
use futures_util::stream::Stream;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// Sends requests. One for a process: it holds the connections and the rates.
pub trait Egress: Send + Sync {
    /// Judge `request` under `pass`, send it, and give the response once its headers are there. Nothing is sent that the pass
    /// does not permit; redirects come back as responses. Dropping the future, or the response's body, ends the exchange.
    fn send(&self, pass: Arc<NetPass>, request: HttpRequest) -> BoxFuture<'_, Result<HttpResponse, EgressError>>;
}

/// Pieces of a body, in order. An error ends it.
pub type BodyStream = Pin<Box<dyn Stream<Item = Result<Bytes, EgressError>> + Send>>;

/// One request, as a guest asked for it. Placeholders of secrets are still in it.
pub struct HttpRequest {
    /// What is asked of whom.
    pub target: NetTarget,
    /// Names in lower case, values as bytes.
    pub headers: Vec<(String, Vec<u8>)>,
    /// None: no body.
    pub body: Option<BodyStream>,
    /// Times the guest set for itself. They can only shorten what the limits allow.
    pub times: HttpTimes,
}

/// A response whose body is still to come. What it may not reveal has been taken out.
pub struct HttpResponse {
    /// 200 to 599.
    pub status: u16,
    /// Names in lower case, values as bytes.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Not decompressed.
    pub body: BodyStream,
}

impl fmt::Debug for HttpRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpRequest").field("target", &self.target).finish_non_exhaustive()
    }
}

impl fmt::Debug for HttpResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpResponse").field("status", &self.status).finish_non_exhaustive()
    }
}

/// How long each part of an exchange may take; `None` is as long as the limits allow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HttpTimes {
    /// Until there is a connection, TLS included.
    pub connect: Option<Duration>,
    /// From then until the response's headers are there.
    pub first_byte: Option<Duration>,
    /// Between two pieces of the response's body.
    pub idle: Option<Duration>,
}

/// What one request may take. What is counted over a call, an agent and a run stands in
/// their accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpLimits {
    /// Until there is a connection, resolving and TLS included.
    pub connect_time_max: Duration,
    /// From then until the response's headers are there; informational responses do not extend it.
    pub first_byte_time_max: Duration,
    /// Between two pieces of either body.
    pub idle_time_max: Duration,
    /// The whole exchange, waiting for its turn included.
    pub whole_time_max: Duration,
    /// Headers of a request or a response.
    pub headers_max: usize,
    /// Names and values of those headers together.
    pub header_bytes_max: usize,
    /// Requests a run may begin in a second with one host; more wait.
    pub requests_per_second_per_host: u32,
    /// Exchanges a run may have under way with one host; more wait.
    pub concurrent_per_host: u32,
}

impl HttpLimits {
    /// The defaults, with no wait longer than `quota` allows the call.
    pub fn under(quota: &Quota) -> Self {
        let limits = Self::default();
        Self { whole_time_max: limits.whole_time_max.min(quota.wall_time_max), ..limits }
    }
}

/// The waits together are shorter than a cell's own idle limit, so that a guest learns what its server did not do.
impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            connect_time_max: Duration::from_secs(8),
            first_byte_time_max: Duration::from_secs(20),
            idle_time_max: Duration::from_secs(20),
            whole_time_max: Duration::from_secs(120),
            headers_max: 100,
            header_bytes_max: 64 << 10,
            requests_per_second_per_host: 20,
            concurrent_per_host: 8,
        }
    }
}

/// All that one call may do over the network. Made from its receipt, shared by its requests.
#[derive(Debug)]
pub struct NetPass {
    run: RunId,
    scope: NetScope,
    limits: HttpLimits,
    account: Arc<Account>,
}

impl NetPass {
    /// What an admitted call may do; `None` when its scope holds nothing of the network.
    pub fn of(admitted: &Admitted) -> Option<Self> {
        let scope = NetScope::of(admitted.scope());
        let limits = HttpLimits::under(admitted.quota());
        let run = admitted.run().clone();
        (!scope.is_empty()).then(|| Self::new(run, scope, limits, Arc::clone(admitted.account())))
    }

    /// A pass for `run` that counts into `account`: for whoever sends on the host's own behalf.
    pub fn new(run: RunId, scope: NetScope, limits: HttpLimits, account: Arc<Account>) -> Self {
        Self { run, scope, limits, account }
    }

    /// Whose rates are used.
    pub fn run(&self) -> &RunId {
        &self.run
    }

    /// What may be asked of whom.
    pub fn scope(&self) -> &NetScope {
        &self.scope
    }

    /// How long, how large, how fast.
    pub fn limits(&self) -> &HttpLimits {
        &self.limits
    }

    /// Count `amount` against what the call, its agent and its run may use.
    pub fn take(&self, resource: Resource, amount: u64) -> Result<(), EgressError> {
        self.account.take(resource, amount).map_err(EgressError::Limit)
    }
}

/// What a call may ask of whom, and which secrets it may have put into it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetScope {
    /// A request needs one of these.
    pub allowed: Vec<NetPattern>,
    /// A request that one of these could mean is refused, whatever is allowed.
    pub denied: Vec<NetPattern>,
    /// A secret needs one of these.
    pub secrets: Vec<SecretPattern>,
    /// A secret that one of these means is not put in, whatever is allowed.
    pub withheld: Vec<SecretPattern>,
}

impl NetScope {
    /// The part of a call's scope that concerns the network.
    pub fn of(scope: &Scope) -> Self {
        let mut part = Self::default();
        for held in scope.grant().iter() {
            match held {
                Capability::Net(net) => part.allowed.push(net.clone()),
                Capability::Secret(secret) => part.secrets.push(secret.clone()),
                _ => {}
            }
        }
        for hole in scope.holes() {
            match hole {
                Capability::Net(net) => part.denied.push(net.clone()),
                Capability::Secret(secret) => part.withheld.push(secret.clone()),
                _ => {}
            }
        }
        part
    }

    /// Whether anything can be sent at all.
    pub fn is_empty(&self) -> bool {
        self.allowed.is_empty()
    }

    /// Whether `target` may be asked, as far as its name tells.
    pub fn judge(&self, target: &NetTarget) -> Result<(), Denial> {
        self.judge_denied(target)?;
        if self.allowed.iter().any(|pattern| pattern.permits(target)) {
            return Ok(());
        }
        let needed = format!("net:{}", target.smallest());
        let hint = match target.host() {
            // `net:*` looks as if it held this, so say why it does not.
            NetHost::Address(address) if !is_public(*address) => {
                format!(
                    "{address} is not public and is reached only by its own pattern; grant it with --allow '{needed}'"
                )
            }
            _ => format!("grant it with --allow '{needed}'"),
        };
        Err(self.missing(needed, hint))
    }

    /// Whether the connection for `target` may be made to `address`, where its name led. Call it for every address, before
    /// connecting; `judge` comes first.
    pub fn judge_address(&self, target: &NetTarget, address: IpAddr) -> Result<(), Denial> {
        let at = target.at(address);
        self.judge_denied(&at)?;
        let public = is_public(address);
        if public || self.allowed.iter().any(|pattern| pattern.permits_address(target, address)) {
            return Ok(());
        }
        let localhost = matches!(target.host(), NetHost::Name(name) if name.as_str() == "localhost");
        // `localhost` is the one name that can be granted for what it leads to.
        let by_name = localhost && canonical(address).is_loopback();
        let needed = format!("net:{}", if by_name { target.smallest() } else { at.smallest() });
        let hint = format!(
            "{} leads to {}, which is not a public address; if that is meant, grant it with --allow '{needed}'",
            target.host(),
            at.host(),
        );
        Err(self.missing(needed, hint))
    }

    /// Whether the secret `name` may be put into a request for `target`.
    pub fn judge_secret(&self, name: &SecretName, target: &NetTarget) -> Result<(), Denial> {
        let needed = format!("secret:{name}@{}", target.host());
        if let Some(rule) = self.withheld.iter().find(|pattern| pattern.forbids(name, target.host())) {
            return Err(self.forbidden(needed, format!("deny secret:{rule}")));
        }
        if self.secrets.iter().any(|pattern| pattern.permits(name, target.host())) {
            return Ok(());
        }
        let hint = format!("grant it with --allow {needed}");
        Err(self.missing(needed, hint))
    }

    /// A denial of `needed` by this scope.
    pub fn missing(&self, needed: String, hint: String) -> Denial {
        Denial { needed, held: self.to_string(), hint, rule: None }
    }

    fn judge_denied(&self, target: &NetTarget) -> Result<(), Denial> {
        match self.denied.iter().find(|pattern| pattern.forbids(target)) {
            Some(rule) => Err(self.forbidden(format!("net:{}", target.smallest()), format!("deny net:{rule}"))),
            None => Ok(()),
        }
    }

    fn forbidden(&self, needed: String, rule: String) -> Denial {
        let hint = "no grant opens what a rule forbids; change the rule, or ask something else".into();
        Denial { needed, held: self.to_string(), hint, rule: Some(rule) }
    }
}

/// Its capabilities, as a grant lists them.
impl fmt::Display for NetScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nets = self.allowed.iter().map(|pattern| format!("net:{pattern}"));
        let secrets = self.secrets.iter().map(|pattern| format!("secret:{pattern}"));
        f.write_str(&nets.chain(secrets).collect::<Vec<_>>().join(", "))
    }
}

/// Why there is no response, or no more of it. Never holds a secret's value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EgressError {
    /// The scope does not hold it.
    #[error("denied: {0}")]
    Denied(Denial),
    /// The scope does not hold the address the name leads to.
    #[error("denied: {0}")]
    AddressDenied(Denial),
    /// A quota is used up.
    #[error("limit reached: {0}")]
    Limit(LimitHit),
    /// The request is one that is never sent.
    #[error("the request cannot be sent: {0}")]
    BadRequest(String),
    /// The secret is granted, but has no value here.
    #[error("the secret {name} cannot be read: {why}")]
    Secret {
        /// Which.
        name: SecretName,
        /// What is wrong with its source.
        why: String,
    },
    /// The host's name leads nowhere.
    #[error("the name {host} cannot be resolved: {why}")]
    Dns {
        /// The name.
        host: String,
        /// What the resolver said.
        why: String,
    },
    /// No connection.
    #[error("no connection to {peer}: {why}")]
    Connect {
        /// Host and address.
        peer: String,
        /// What the system said.
        why: String,
    },
    /// No trust, or no common TLS.
    #[error("TLS with {peer} failed: {why}")]
    Tls {
        /// Host and address.
        peer: String,
        /// What was wrong.
        why: String,
    },
    /// It took too long.
    #[error("{phase} took longer than {} ms", .after.as_millis())]
    Timeout {
        /// What was being waited for.
        phase: Phase,
        /// The limit.
        after: Duration,
    },
    /// The response is larger than one response may be.
    #[error("the response has {what}, more than the {limit} allowed")]
    Oversized {
        /// What there is too much of.
        what: &'static str,
        /// The most.
        limit: u64,
    },
    /// What the server sent is not HTTP, or ends too early.
    #[error("the server broke HTTP: {0}")]
    Protocol(String),
    /// The guest gave up its own request's body.
    #[error("the request's body was not finished")]
    BodyAborted,
}

/// What a request was waiting for when its time ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Its turn: the host's rate or concurrency.
    Turn,
    /// A connection.
    Connect,
    /// The response's headers.
    FirstByte,
    /// The next piece of a body.
    Idle,
    /// All of it.
    Whole,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Turn => "waiting for a turn with this host",
            Self::Connect => "connecting",
            Self::FirstByte => "waiting for the response",
            Self::Idle => "waiting for more of the body",
            Self::Whole => "the whole exchange",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(allowed: &[&str], denied: &[&str]) -> NetScope {
        let nets = |texts: &[&str]| texts.iter().map(|t| t.parse().unwrap()).collect();
        NetScope {
            allowed: nets(allowed),
            denied: nets(denied),
            secrets: vec!["TOKEN@api.example.com".parse().unwrap()],
            withheld: Vec::new(),
        }
    }

    fn get(url: &str) -> NetTarget {
        NetTarget::of_url("GET", url).unwrap()
    }

    #[test]
    fn a_denial_names_the_smallest_grant() {
        let held = scope(&["GET api.example.com/v1/*"], &[]);
        held.judge(&get("https://api.example.com/v1/models")).unwrap();
        assert_eq!(
            held.judge(&get("https://api.example.com/v2?key=x")).unwrap_err().to_string(),
            "needs net:GET api.example.com/v2; the grant has net:GET api.example.com/v1/*, secret:TOKEN@api.example.com \
             (grant it with --allow 'net:GET api.example.com/v2')"
        );
        let denial = scope(&["*"], &[]).judge(&get("http://127.1:8080/")).unwrap_err();
        assert!(denial.needed == "net:GET 127.0.0.1:8080/" && denial.hint.contains("not public"), "{denial}");
    }

    #[test]
    fn a_name_that_leads_home_is_refused_unless_home_is_granted() {
        let target = get("https://api.example.com/v1/x");
        let held = scope(&["*"], &[]);
        held.judge_address(&target, "93.184.216.34".parse().unwrap()).unwrap();
        for home in ["127.0.0.1", "10.0.0.5", "169.254.169.254", "::ffff:10.0.0.5", "fd00:ec2::254"] {
            let denial = held.judge_address(&target, home.parse().unwrap()).unwrap_err();
            assert!(denial.hint.contains("leads to"), "{denial}");
            scope(&["*", denial.needed.strip_prefix("net:").unwrap()], &[])
                .judge_address(&target, home.parse().unwrap())
                .expect("what the denial names is enough");
        }
        let local = get("http://localhost:8080/");
        let denial = scope(&["*:*"], &[]).judge_address(&local, "127.0.0.1".parse().unwrap()).unwrap_err();
        assert_eq!(denial.needed, "net:GET localhost:8080/");
    }

    #[test]
    fn a_rule_beats_every_grant_also_by_address() {
        let held =
            scope(&["*", "[0.0.0.0/0]:*"], &["evil.example.com:*", "[93.184.0.0/16]:*", "api.example.com/admin/*"]);
        assert!(held.judge(&get("https://evil.example.com/")).unwrap_err().rule.is_some());
        let target = get("https://api.example.com/");
        held.judge(&target).unwrap();
        assert!(held.judge_address(&target, "93.184.216.34".parse().unwrap()).unwrap_err().rule.is_some());
        for path in ["/admin/x", "/ADMIN/x", "/public/../admin/x", "/%61dmin/x", "//admin/x", "/x%2f..%2fadmin"] {
            let denied = held.judge(&get(&format!("https://api.example.com{path}"))).unwrap_err();
            assert!(denied.rule.is_some(), "{path}");
        }
    }

    #[test]
    fn a_rule_for_an_ipv4_network_holds_the_ways_to_it_through_ipv6() {
        let nat64 = ["64:ff9b::93.184.216.34", "64:ff9b:1::93.184.216.34", "2002:5db8:d822::1", "::93.184.216.34"];
        let target = get("https://api.example.com/");
        for rule in ["[93.184.0.0/16]:*", "93.184.216.34", "GET [0.0.0.0/0]:*"] {
            let held = scope(&["*", "[::/0]:*"], &[rule]);
            for way in nat64 {
                let denial = held.judge_address(&target, way.parse().unwrap()).unwrap_err();
                assert!(denial.rule.is_some(), "{rule} {way}: {denial}");
                let denial = held.judge(&get(&format!("https://[{way}]/"))).unwrap_err();
                assert!(denial.rule.is_some(), "{rule} {way}: {denial}");
            }
            // Another network behind the same translator is none of the rule's business, and neither is IPv6 itself.
            if !rule.contains("0.0.0.0") {
                held.judge_address(&target, "64:ff9b::8.8.8.8".parse().unwrap()).unwrap();
                held.judge(&get("https://[64:ff9b::8.8.8.8]/")).unwrap();
            }
            held.judge_address(&target, "2606:4700::1111".parse().unwrap()).unwrap();
            held.judge(&get("https://[::1]/")).unwrap();
        }
    }

    #[test]
    fn a_grant_of_an_ipv4_network_opens_no_way_to_it_through_ipv6() {
        let held = scope(&["[0.0.0.0/0]:*"], &[]);
        for way in ["64:ff9b::93.184.216.34", "64:ff9b::10.0.0.5", "2002:5db8:d822::1"] {
            let denial = held.judge(&get(&format!("https://[{way}]/"))).unwrap_err();
            assert!(denial.rule.is_none(), "{denial}");
        }
        let target = get("https://api.example.com/");
        held.judge_address(&target, "64:ff9b::10.0.0.5".parse().unwrap()).unwrap_err();
    }

    #[test]
    fn secrets_are_judged_by_name_and_host() {
        let mut held = scope(&["*"], &[]);
        let name = "TOKEN".parse().unwrap();
        held.judge_secret(&name, &get("https://api.example.com/")).unwrap();
        let denial = held.judge_secret(&name, &get("https://evil.example.com/")).unwrap_err();
        assert_eq!(denial.needed, "secret:TOKEN@evil.example.com");
        held.withheld.push("TOKEN@*.example.com".parse().unwrap());
        assert!(held.judge_secret(&name, &get("https://api.example.com/")).unwrap_err().rule.is_some());
        held.secrets.push("TOKEN@[64:ff9b::93.184.216.34]".parse().unwrap());
        let there = get("https://[64:ff9b::93.184.216.34]/");
        held.judge_secret(&name, &there).unwrap();
        held.withheld.push("TOKEN@93.184.216.34".parse().unwrap());
        assert!(held.judge_secret(&name, &there).unwrap_err().rule.is_some());
    }
}
