//! What may be done, in one textual form that is the same in flags, manifests, errors and the ledger. A capability here is
//! only a claim about text: nothing in this file opens a path or knows what exists.
//!
//! | form | permits |
//! |---|---|
//! | `read:PATH` | reading files and directories at and below PATH |
//! | `write:PATH` | the same, and creating, changing and removing them |
//! | `tool:PLUGIN.TOOL`, `tool:PLUGIN.*`, `tool:*` | calling that tool, all tools of a plugin, any tool |
//! | `spawn:N` | starting up to N agents |
//!
//! PATH is a directory, relative to the run's project directory (`.` is the directory itself) or absolute.

use crate::ids::{PluginName, ToolName};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

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
    /// `tool:PATTERN`
    Tool(ToolPattern),
    /// `spawn:N`
    Spawn(u32),
}

/// A directory as a capability names it: `/`-separated, no `.` or `..` inside, no trailing slash; `.` alone is the project
/// directory and `/` the whole file system.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ScopePath(Arc<str>);

/// Which tools a `tool:` capability means.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ToolPattern {
    /// `*`
    Any,
    /// `PLUGIN.*`
    Plugin(PluginName),
    /// `PLUGIN.TOOL`
    One(ToolName),
}

impl Capability {
    /// Whether whoever holds `self` may do all that `other` permits.
    pub fn covers(&self, other: &Capability) -> bool {
        match (self, other) {
            (Self::Read(a), Self::Read(b)) => a.contains(b),
            (Self::Write(a), Self::Write(b) | Self::Read(b)) => a.contains(b),
            (Self::Tool(a), Self::Tool(b)) => a.contains(b),
            (Self::Spawn(a), Self::Spawn(b)) => a >= b,
            _ => false,
        }
    }

    /// The most that both permit, if they share anything. Directories nest or are apart, and so do tool patterns, so there
    /// is always one answer.
    pub fn meet(&self, other: &Capability) -> Option<Capability> {
        if self.covers(other) {
            return Some(other.clone());
        }
        if other.covers(self) {
            return Some(self.clone());
        }
        match (self, other) {
            // Neither covers the other: the reader holds the deeper path, the writer the shallower, or the reverse.
            (Self::Read(r), Self::Write(w)) | (Self::Write(w), Self::Read(r)) => {
                r.contains(w).then(|| Self::Read(w.clone()))
            }
            _ => None,
        }
    }

    /// Whether holding it lets a call change something outside its cell.
    pub fn has_effects(&self) -> bool {
        matches!(self, Self::Write(_))
    }

    /// The kind, as written before the colon.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Read(_) => "read",
            Self::Write(_) => "write",
            Self::Tool(_) => "tool",
            Self::Spawn(_) => "spawn",
        }
    }
}

impl ScopePath {
    /// The text form, which is also the name under which a cell sees the directory.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the path starts at the file system's root rather than at the project directory.
    pub fn is_absolute(&self) -> bool {
        self.0.starts_with('/')
    }

    /// Whether `other` is this directory or lies below it. Purely textual: a relative and an absolute path never contain
    /// each other, whatever they name on disk.
    pub fn contains(&self, other: &ScopePath) -> bool {
        if self.is_absolute() != other.is_absolute() {
            return false;
        }
        match &*self.0 {
            "." | "/" => true,
            own => other.0.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
        }
    }
}

impl FromStr for ScopePath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("the path is empty; write '.' for the project directory".into());
        }
        if let Some(bad) = text.chars().find(|c| c.is_control() || matches!(c, '*' | '?' | '[' | '\\')) {
            return Err(format!("a path cannot hold {bad:?}; name a directory, everything below it is included"));
        }
        let absolute = text.starts_with('/');
        let mut parts = Vec::new();
        for part in text.split('/') {
            match part {
                "" | "." => {}
                ".." => return Err("'..' is not allowed; name the directory itself".into()),
                part => parts.push(part),
            }
        }
        let joined = parts.join("/");
        Ok(Self(match (absolute, joined.is_empty()) {
            (true, _) => format!("/{joined}").into(),
            (false, true) => ".".into(),
            (false, false) => joined.into(),
        }))
    }
}

impl ToolPattern {
    /// Whether every tool that `other` means is meant by this too.
    pub fn contains(&self, other: &ToolPattern) -> bool {
        match (self, other) {
            (Self::Any, _) => true,
            (Self::Plugin(a), Self::Plugin(b)) => a == b,
            (Self::Plugin(a), Self::One(b)) => a.as_str() == b.plugin(),
            (Self::One(a), Self::One(b)) => a == b,
            _ => false,
        }
    }
}

impl FromStr for ToolPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::Any);
        }
        match text.strip_suffix(".*") {
            Some(plugin) => plugin.parse().map(Self::Plugin).map_err(|e| e.to_string()),
            None => text.parse().map(Self::One).map_err(|e| e.to_string()),
        }
    }
}

impl fmt::Display for ToolPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Plugin(plugin) => write!(f, "{plugin}.*"),
            Self::One(tool) => write!(f, "{tool}"),
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(path) => write!(f, "read:{}", path.0),
            Self::Write(path) => write!(f, "write:{}", path.0),
            Self::Tool(pattern) => write!(f, "tool:{pattern}"),
            Self::Spawn(n) => write!(f, "spawn:{n}"),
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
            "read" => rest.parse().map(Self::Read).map_err(refuse),
            "write" => rest.parse().map(Self::Write).map_err(refuse),
            "tool" => rest.parse().map(Self::Tool).map_err(refuse),
            "spawn" => {
                let plain = !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit());
                let n = if plain { rest.parse().ok() } else { None };
                n.map(Self::Spawn).ok_or_else(|| refuse("spawn takes a whole number, for example spawn:10".into()))
            }
            _ => Err(refuse("the kinds of this version are read, write, tool and spawn".into())),
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
    use proptest::prelude::*;

    fn cap(text: &str) -> Capability {
        text.parse().unwrap()
    }

    pub(crate) fn any_capability() -> impl Strategy<Value = Capability> {
        let path =
            prop_oneof![Just(".".to_owned()), Just("/".to_owned()), "(/)?(a|b|ab)(/(a|b|ab)){0,2}".prop_map(|p| p),];
        prop_oneof![
            path.clone().prop_map(|p| cap(&format!("read:{p}"))),
            path.prop_map(|p| cap(&format!("write:{p}"))),
            prop_oneof![Just("*"), Just("a.*"), Just("b.*"), Just("a.x"), Just("a.y"), Just("b.x")]
                .prop_map(|t| cap(&format!("tool:{t}"))),
            (0u32..5).prop_map(Capability::Spawn),
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
            "read:a*",
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
            "net:example.com",
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
        assert_eq!(cap("read:a").meet(&cap("read:b")), None);
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

        #[test]
        fn parsing_never_panics(text in "\\PC{0,40}") { let _ = text.parse::<Capability>(); }
    }
}
