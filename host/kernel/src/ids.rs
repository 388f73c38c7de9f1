//! Names for things, as types: a run is never confused with a plugin, a digest never with free text. Parsing is the only
//! way in, so whoever holds one of these need not check it again. Never a bare string in an interface above this file.

use crate::hex;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A name that breaks the rules of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {kind}: {rule}")]
pub struct BadName {
    text: String,
    kind: &'static str,
    rule: &'static str,
}

impl BadName {
    fn new(text: &str, kind: &'static str, rule: &'static str) -> Self {
        // A name may come from a guest; an error about it must not repeat a megabyte of it.
        let text = text.chars().take(80).collect();
        Self { text, kind, rule }
    }
}

const SEGMENT_RULE: &str = "use 1 to 64 lower-case letters, digits, '-' or '_', starting with a letter";

fn is_segment(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=64).contains(&bytes.len())
        && bytes[0].is_ascii_lowercase()
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'))
}

macro_rules! text_newtype {
    ($name:ident) => {
        impl $name {
            /// The text form.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl TryFrom<String> for $name {
            type Error = BadName;
            fn try_from(text: String) -> Result<Self, BadName> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.as_ref().to_owned()
            }
        }
    };
}

/// One recorded execution of a workflow or of a single call.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(Arc<str>);
text_newtype!(RunId);

impl FromStr for RunId {
    type Err = BadName;
    fn from_str(text: &str) -> Result<Self, BadName> {
        let fits = (1..=48).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if fits {
            Ok(Self(text.into()))
        } else {
            Err(BadName::new(text, "a run id", "use 1 to 48 of a-z, 0-9 and '-'"))
        }
    }
}

/// An agent within its run. Agent 0 is the script, or the person who made a single call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AgentId(pub u32);

impl AgentId {
    /// The run itself, not one of its agents.
    pub const ROOT: AgentId = AgentId(0);
}

impl fmt::Display for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a{}", self.0)
    }
}

/// A call within its run, counted from 1 in the order in which intents were recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CallId(pub u64);

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{}", self.0)
    }
}

/// A plugin's name, unique in its catalog.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PluginName(Arc<str>);
text_newtype!(PluginName);

impl FromStr for PluginName {
    type Err = BadName;
    fn from_str(text: &str) -> Result<Self, BadName> {
        if is_segment(text) { Ok(Self(text.into())) } else { Err(BadName::new(text, "a plugin name", SEGMENT_RULE)) }
    }
}

/// `plugin.tool`: one callable. An agent plugin has exactly one, named `run`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ToolName(Arc<str>);
text_newtype!(ToolName);

impl ToolName {
    /// The tool by which an agent plugin is called.
    pub const AGENT_ENTRY: &'static str = "run";

    /// The tool that asks a model.
    pub fn of_model() -> Self {
        Self("model.run".into())
    }

    /// The entry of the agent plugin `plugin`.
    pub fn of_agent(plugin: &PluginName) -> Self {
        Self(format!("{plugin}.{}", Self::AGENT_ENTRY).into())
    }

    /// The part before the dot.
    pub fn plugin(&self) -> &str {
        self.0.split_once('.').map_or("", |(plugin, _)| plugin)
    }

    /// The part after the dot: the name the component itself knows.
    pub fn local(&self) -> &str {
        self.0.split_once('.').map_or("", |(_, local)| local)
    }
}

impl FromStr for ToolName {
    type Err = BadName;
    fn from_str(text: &str) -> Result<Self, BadName> {
        match text.split_once('.') {
            Some((plugin, local)) if is_segment(plugin) && is_segment(local) => Ok(Self(text.into())),
            _ => Err(BadName::new(text, "a tool name", "write PLUGIN.TOOL, for example files.read")),
        }
    }
}

/// A SHA-256, written as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// A digest computed elsewhere.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The raw 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first 12 hex digits, for people.
    pub fn short(&self) -> String {
        self.to_string()[..12].to_owned()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex::write(&self.0, f)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl FromStr for Digest {
    type Err = BadName;
    fn from_str(text: &str) -> Result<Self, BadName> {
        hex::read(text).map(Self).ok_or_else(|| BadName::new(text, "a SHA-256", "use 64 lower-case hex digits"))
    }
}

// A record holds tens of thousands: no text is set aside for one, neither to write it nor to read it.
impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        hex::deserialize(deserializer).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tool_names_have_two_segments() {
        let name: ToolName = "files.read".parse().unwrap();
        assert_eq!((name.plugin(), name.local()), ("files", "read"));
        for bad in ["files", "files.", ".read", "files.read.more", "Files.read", "files.réad", "files. read", ""] {
            assert!(bad.parse::<ToolName>().is_err(), "{bad:?} was taken for a tool name");
        }
    }

    #[test]
    fn a_digest_reads_back_what_it_prints() {
        let digest = Digest::of(b"abc");
        assert_eq!(digest.to_string(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert!(digest.to_string().to_uppercase().parse::<Digest>().is_err());
        assert!("+a7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".parse::<Digest>().is_err());
    }

    #[test]
    fn an_error_about_a_name_does_not_repeat_all_of_it() {
        let long = "x".repeat(1 << 20);
        assert!(long.parse::<PluginName>().unwrap_err().to_string().len() < 300);
    }
}
