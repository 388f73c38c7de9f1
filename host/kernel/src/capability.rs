//! What may be done, in one textual form that is the same in flags, policies, manifests, errors and the ledger. A capability
//! here is only a claim about text: nothing in this file opens a path, resolves a name or knows what exists.
//!
//! | form | permits |
//! |---|---|
//! | `read:PATH` | reading what PATH names and all below it |
//! | `write:PATH` | the same, and creating, changing and removing it |
//! | `net:[METHOD ]HOST[:PORT][/PATH*]` | HTTP requests there |
//! | `env:NAME` | seeing that environment variable |
//! | `secret:NAME@HOST` | sending that secret to that host, without seeing it |
//! | `tool:PLUGIN.TOOL`, `tool:PLUGIN.*`, `tool:*` | calling that tool, all tools of a plugin, any tool |
//! | `mcp:SERVER.TOOL`, `mcp:SERVER.*`, `mcp:*` | calling that tool of an MCP server |
//! | `model:PROVIDER/MODEL`, `model:PROVIDER/*`, `model:*` | asking that model |
//! | `spawn:N` | starting up to N agents |
//! | `exec:PROGRAM` | running that host program, confined |
//!
//! PATH is relative to the run's project directory (`.` is the directory itself) or absolute; see `path` for globs, and `net`
//! for hosts.

use crate::net::{NetPattern, SecretPattern};
use crate::path::ScopePath;
use crate::pattern::{McpPattern, ModelPattern, ToolPattern, VariableName};
use crate::program::ProgramName;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Text that is not a capability.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a capability: {why}")]
pub struct ParseError {
    text: String,
    why: String,
}

/// One thing that may be done.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Capability {
    /// `read:PATH`
    Read(ScopePath),
    /// `write:PATH`; includes reading.
    Write(ScopePath),
    /// `net:...`
    Net(NetPattern),
    /// `env:NAME`
    Env(VariableName),
    /// `secret:NAME@HOST`
    Secret(SecretPattern),
    /// `tool:PATTERN`
    Tool(ToolPattern),
    /// `mcp:PATTERN`
    Mcp(McpPattern),
    /// `model:PATTERN`
    Model(ModelPattern),
    /// `spawn:N`
    Spawn(u32),
    /// `exec:PROGRAM`
    Exec(ProgramName),
}

/// The kinds, as written before the colon.
const KINDS: &str = "read, write, net, env, secret, tool, mcp, model, spawn and exec";

impl Capability {
    /// Whether whoever holds `self` may do all that `other` permits.
    pub fn covers(&self, other: &Capability) -> bool {
        match (self, other) {
            (Self::Read(a), Self::Read(b)) => a.contains(b),
            (Self::Write(a), Self::Write(b)) => a.contains_writing(b),
            (Self::Write(a), Self::Read(b)) => a.clone().for_reading().contains(b),
            (Self::Net(a), Self::Net(b)) => a.covers(b),
            (Self::Env(a), Self::Env(b)) => a == b,
            (Self::Secret(a), Self::Secret(b)) => a.covers(b),
            (Self::Tool(a), Self::Tool(b)) => a.contains(b),
            (Self::Mcp(a), Self::Mcp(b)) => a.contains(b),
            (Self::Model(a), Self::Model(b)) => a.contains(b),
            (Self::Spawn(a), Self::Spawn(b)) => a >= b,
            (Self::Exec(a), Self::Exec(b)) => a == b,
            _ => false,
        }
    }

    /// The most that both permit, if they share anything.
    pub fn meet(&self, other: &Capability) -> Option<Capability> {
        if self.covers(other) {
            return Some(other.clone());
        }
        if other.covers(self) {
            return Some(self.clone());
        }
        match (self, other) {
            (Self::Write(a), Self::Write(b)) => a.meet(b).map(Self::Write),
            (Self::Read(a) | Self::Write(a), Self::Read(b) | Self::Write(b)) => {
                a.meet(b).map(|path| Self::Read(path.for_reading()))
            }
            (Self::Net(a), Self::Net(b)) => a.meet(b).map(Self::Net),
            (Self::Secret(a), Self::Secret(b)) => a.meet(b).map(Self::Secret),
            _ => None,
        }
    }

    /// Whether any part of what `other` permits is permitted by this. Reading `src` is part of writing `src`, and not the other
    /// way.
    pub fn touches(&self, other: &Capability) -> bool {
        match (self, other) {
            (Self::Read(a), Self::Read(b)) | (Self::Write(a), Self::Read(b) | Self::Write(b)) => a.overlaps(b),
            _ => self.kind() == other.kind() && self.meet(other).is_some(),
        }
    }

    /// Whether a rule on `rule`, one that denies or asks, is about any part of this. Denying to read takes from a writer too, who
    /// reads as well; denying to write takes nothing from a reader; denying to start any agents takes the right to start one; and
    /// denying addresses takes from whoever may ask for names, which can lead there.
    pub fn loses_to(&self, rule: &Capability) -> bool {
        match (self, rule) {
            (Self::Spawn(_), Self::Spawn(_)) => true,
            (Self::Net(held), Self::Net(rule)) => held.loses_to(rule),
            (Self::Secret(held), Self::Secret(rule)) => held.loses_to(rule),
            _ => self.touches(rule),
        }
    }

    /// What is left of this when each of `rules` is denied, parts of it aside: itself, a reader where it was a writer, or
    /// nothing.
    pub fn without_all(&self, rules: &[Capability]) -> Option<Capability> {
        rules.iter().try_fold(self.clone(), |held, rule| match (&held, rule) {
            (Self::Write(path), Self::Write(rule)) if rule.includes(path) => {
                Some(Self::Read(path.clone().for_reading()))
            }
            (Self::Spawn(_), Self::Spawn(_)) => None,
            (Self::Read(_), Self::Write(_)) => Some(held),
            _ if rule.takes_all_of(&held) => None,
            _ => Some(held),
        })
    }

    /// Whether nothing is left of `held` when this is denied. Denying to read takes all from a writer, who reads too; what is
    /// hidden needs no naming to be denied.
    pub fn takes_all_of(&self, held: &Capability) -> bool {
        match (self, held) {
            (Self::Read(rule), Self::Read(path) | Self::Write(path)) | (Self::Write(rule), Self::Write(path)) => {
                rule.includes(path)
            }
            (Self::Net(rule), Self::Net(held)) => rule.takes_all_of(held),
            _ => self.covers(held),
        }
    }

    /// Whether holding it lets a call change something outside its cell.
    pub fn has_effects(&self) -> bool {
        match self {
            Self::Write(_) | Self::Exec(_) | Self::Mcp(_) => true,
            Self::Net(net) => net.method.as_ref().is_none_or(|method| !matches!(method.as_str(), "GET" | "HEAD")),
            _ => false,
        }
    }

    /// Whether holding it reaches beyond cells and the project's files: what a locked policy keeps to itself.
    pub fn reaches_out(&self) -> bool {
        matches!(self, Self::Net(_) | Self::Env(_) | Self::Secret(_) | Self::Mcp(_) | Self::Model(_) | Self::Exec(_))
    }

    /// The kind, as written before the colon.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Read(_) => "read",
            Self::Write(_) => "write",
            Self::Net(_) => "net",
            Self::Env(_) => "env",
            Self::Secret(_) => "secret",
            Self::Tool(_) => "tool",
            Self::Mcp(_) => "mcp",
            Self::Model(_) => "model",
            Self::Spawn(_) => "spawn",
            Self::Exec(_) => "exec",
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.kind())?;
        match self {
            Self::Read(path) | Self::Write(path) => write!(f, "{path}"),
            Self::Net(net) => write!(f, "{net}"),
            Self::Env(name) => write!(f, "{name}"),
            Self::Secret(secret) => write!(f, "{secret}"),
            Self::Tool(pattern) => write!(f, "{pattern}"),
            Self::Mcp(pattern) => write!(f, "{pattern}"),
            Self::Model(pattern) => write!(f, "{pattern}"),
            Self::Spawn(n) => write!(f, "{n}"),
            Self::Exec(program) => write!(f, "{program}"),
        }
    }
}

impl FromStr for Capability {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let refuse = |why: String| ParseError { text: text.chars().take(200).collect(), why };
        let Some((kind, rest)) = text.split_once(':') else {
            return Err(refuse("write KIND:WHAT, for example read:src or tool:files.read".into()));
        };
        match kind {
            "read" => rest.parse().map(|path: ScopePath| Self::Read(path.for_reading())).map_err(refuse),
            "write" => rest.parse().map(Self::Write).map_err(refuse),
            "net" => rest.parse().map(Self::Net).map_err(refuse),
            "env" => rest.parse().map(Self::Env).map_err(refuse),
            "secret" => rest.parse().map(Self::Secret).map_err(refuse),
            "tool" => rest.parse().map(Self::Tool).map_err(refuse),
            "mcp" => rest.parse().map(Self::Mcp).map_err(refuse),
            "model" => rest.parse().map(Self::Model).map_err(refuse),
            "exec" => rest.parse().map(Self::Exec).map_err(|e| refuse(e.to_string())),
            "spawn" => {
                // One text for one number: no sign, and no zero in front.
                let plain = rest == "0" || rest.starts_with(|c: char| ('1'..='9').contains(&c));
                let n = if plain { rest.parse().ok() } else { None };
                n.map(Self::Spawn).ok_or_else(|| refuse("spawn takes a whole number, for example spawn:10".into()))
            }
            other => {
                let close = ["read", "write", "net", "env", "secret", "tool", "mcp", "model", "spawn", "exec"]
                    .into_iter()
                    .find(|kind| other.trim().eq_ignore_ascii_case(kind));
                let hint = close.map(|kind| format!("; write {kind}:")).unwrap_or_default();
                Err(refuse(format!("the kinds are {KINDS}, in lower case and without spaces{hint}")))
            }
        }
    }
}

impl TryFrom<String> for Capability {
    type Error = ParseError;
    fn try_from(text: String) -> Result<Self, ParseError> {
        text.parse()
    }
}

impl From<Capability> for String {
    fn from(capability: Capability) -> String {
        capability.to_string()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::path::tests::any_path;
    use proptest::prelude::*;

    fn cap(text: &str) -> Capability {
        text.parse().unwrap()
    }

    pub(crate) fn any_capability() -> impl Strategy<Value = Capability> {
        let net = prop_oneof![
            Just("a.example"),
            Just("*.example"),
            Just("*"),
            Just("GET a.example"),
            Just("a.example:80"),
            Just("a.example/v1/*"),
            Just("POST *.example/v1/x"),
            Just("localhost:*"),
            Just("*:*"),
            Just("127.0.0.1:*"),
            Just("[10.0.0.0/8]"),
            Just("10.0.0.1"),
        ];
        prop_oneof![
            4 => any_path().prop_map(Capability::Read),
            4 => any_path().prop_map(Capability::Write),
            2 => net.prop_map(|n| cap(&format!("net:{n}"))),
            2 => prop_oneof![Just("*"), Just("a.*"), Just("b.*"), Just("a.x"), Just("a.y"), Just("b.x")]
                .prop_map(|t| cap(&format!("tool:{t}"))),
            1 => prop_oneof![Just("mcp:*"), Just("mcp:a.*"), Just("mcp:a.X"), Just("model:a/*"), Just("model:a/b"),
                Just("env:A"), Just("env:B"), Just("exec:make"), Just("secret:K@a.example"), Just("secret:K@*.example")]
                .prop_map(cap),
            1 => (0u32..5).prop_map(Capability::Spawn),
        ]
    }

    #[test]
    fn paths_are_brought_to_one_form() {
        for (written, meant) in
            [("read:./src/", "read:src"), ("read:.", "read:."), ("read:./", "read:."), ("read://etc//x", "read:/etc/x")]
        {
            assert_eq!(cap(written).to_string(), meant);
        }
    }

    #[test]
    fn refused_forms_say_why() {
        for bad in [
            "",
            "read",
            "read:",
            "read:../x",
            "read:a/../b",
            "read:a**",
            "read:a\0b",
            "write:a\\b",
            "READ:a",
            "tool:",
            "tool:files",
            "tool:*.read",
            "spawn:-1",
            "spawn:+1",
            "spawn:",
            "spawn:99999999999",
            "spawn:01",
            "net:",
            "net:https://example.com",
            "env:",
            "env:*",
            "secret:KEY",
            "secret:KEY@*",
            "model:x",
            "mcp:Server.x",
            "exec:",
            "exec:../x",
            "exec:*",
            " read:a",
            "fetch:x",
        ] {
            let error = bad.parse::<Capability>().expect_err(bad).to_string();
            assert!(error.len() > bad.len() + 20, "{error} does not explain itself");
        }
    }

    #[test]
    fn a_sibling_with_the_same_prefix_is_not_below() {
        assert!(!cap("read:src").covers(&cap("read:src-private")));
        assert!(!cap("read:.").covers(&cap("read:/etc")));
        assert!(cap("write:src").covers(&cap("read:src/a")));
        assert!(!cap("read:src").covers(&cap("write:src")));
    }

    #[test]
    fn meeting_a_writer_above_a_reader_gives_a_reader() {
        assert_eq!(cap("write:.").meet(&cap("read:src")), Some(cap("read:src")));
        assert_eq!(cap("read:.").meet(&cap("write:src")), Some(cap("read:src")));
        assert_eq!(cap("write:a*").meet(&cap("read:*b")), Some(cap("read:*b & a*")));
        assert_eq!(cap("read:a").meet(&cap("read:b")), None);
    }

    #[test]
    fn a_denial_takes_what_it_names_and_no_more() {
        assert!(cap("write:.").loses_to(&cap("read:private")) && !cap("read:.").loses_to(&cap("write:.")));
        assert!(cap("spawn:9").loses_to(&cap("spawn:1")) && !cap("tool:a.x").loses_to(&cap("read:.")));
        let left = |held: &str, denied: &[&str]| {
            let denied: Vec<_> = denied.iter().map(|d| cap(d)).collect();
            cap(held).without_all(&denied).map(|left| left.to_string())
        };
        assert_eq!(left("write:out", &["write:."]).as_deref(), Some("read:out"));
        assert_eq!(left("write:out", &["write:.", "read:out"]), None);
        assert_eq!(
            left("write:.", &["write:out"]).as_deref(),
            Some("write:."),
            "a part is a hole, which is the scope's"
        );
        assert_eq!(left("net:a.example", &["net:*"]), None);
        assert_eq!(left("net:localhost", &["net:*"]), None, "of all names, this one too");
    }

    #[test]
    fn a_rule_on_addresses_takes_from_whoever_may_ask_names_and_leaves_a_hole() {
        for (held, rule) in [
            ("net:localhost:8080", "net:[127.0.0.0/8]:*"),
            ("net:*:*", "net:[10.0.0.0/8]:*"),
            ("net:*", "net:93.184.216.34"),
            ("net:*.example", "net:[2000::/3]:*"),
            ("net:GET a.example/v1/*", "net:10.0.0.1/V1/x"),
            ("net:[64:ff9b::/96]:*", "net:10.0.0.1"),
            ("secret:K@[64:ff9b::a00:1]", "secret:K@10.0.0.1"),
        ] {
            assert!(cap(held).loses_to(&cap(rule)), "{rule} is about {held}");
            assert_eq!(cap(held).without_all(&[cap(rule)]), Some(cap(held)), "{rule} leaves a hole in {held}");
        }
        for (held, rule) in [
            ("net:a.example", "net:[10.0.0.0/8]:80"),
            ("net:GET a.example", "net:POST [10.0.0.0/8]"),
            ("net:a.example/v1/*", "net:[10.0.0.0/8]/v2/*"),
            ("net:[10.0.0.0/8]", "net:[192.168.0.0/16]"),
            ("net:[10.0.0.0/8]", "net:a.example"),
            ("secret:K@a.example", "secret:K@10.0.0.1"),
        ] {
            assert!(!cap(held).loses_to(&cap(rule)), "{rule} is not about {held}");
        }
    }

    #[test]
    fn only_safe_methods_have_no_effects() {
        for (text, effects) in [
            ("net:GET a.example", false),
            ("net:HEAD a.example", false),
            ("net:a.example", true),
            ("net:POST a.example", true),
            ("exec:make", true),
            ("mcp:a.b", true),
            ("model:a/b", false),
            ("read:.", false),
        ] {
            assert_eq!(cap(text).has_effects(), effects, "{text}");
        }
    }

    proptest! {
        #[test]
        fn printing_and_parsing_round_trip(c in any_capability()) {
            prop_assert_eq!(c.to_string().parse::<Capability>().unwrap(), c);
        }

        #[test]
        fn covers_is_a_partial_order(a in any_capability(), b in any_capability(), c in any_capability()) {
            prop_assert!(a.covers(&a));
            if a.covers(&b) && b.covers(&a) { prop_assert_eq!(&a, &b); }
            if a.covers(&b) && b.covers(&c) { prop_assert!(a.covers(&c)); }
        }

        #[test]
        fn meet_is_the_greatest_lower_bound(a in any_capability(), b in any_capability(), c in any_capability()) {
            match a.meet(&b) {
                Some(m) => {
                    prop_assert!(a.covers(&m) && b.covers(&m));
                    if a.covers(&c) && b.covers(&c) { prop_assert!(m.covers(&c)); }
                }
                None => prop_assert!(!(a.covers(&c) && b.covers(&c))),
            }
        }

        /// No rule about a part of what is held, or about all of it, is ever left out.
        #[test]
        fn a_rule_takes_from_whatever_it_meets(held in any_capability(), rule in any_capability()) {
            let less = held.without_all(std::slice::from_ref(&rule)).as_ref() != Some(&held);
            if less || held.touches(&rule) { prop_assert!(held.loses_to(&rule)); }
            if rule.covers(&held) { prop_assert!(rule.takes_all_of(&held)); }
        }

        #[test]
        fn parsing_never_panics(text in "\\PC{0,40}") { let _ = text.parse::<Capability>(); }
    }
}
