//! Which tools, servers and models a capability means: names with a `*` in the place of their last part. Of two such patterns
//! one contains the other or they share nothing, so their order is a forest.

use crate::ids::{PluginName, ToolName};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Bytes of a server's tool name or of a model's name.
const NAME_BYTES_MAX: usize = 128;

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

/// Two names with a separator, the last of which may end in `*`: which tools of MCP servers (`SERVER.TOOL`) or which models
/// (`PROVIDER/MODEL`) are meant. `*` alone means all.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Remote<const SEPARATOR: char> {
    text: Arc<str>,
}

/// Which tools of MCP servers an `mcp:` capability means.
pub type McpPattern = Remote<'.'>;

/// Which models a `model:` capability means.
pub type ModelPattern = Remote<'/'>;

impl<const SEPARATOR: char> Remote<SEPARATOR> {
    /// The text form.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether everything that `other` means is meant by this too.
    pub fn contains(&self, other: &Self) -> bool {
        match self.text.strip_suffix('*') {
            Some(prefix) => other.text.starts_with(prefix),
            None => self.text == other.text,
        }
    }
}

impl<const SEPARATOR: char> FromStr for Remote<SEPARATOR> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self { text: "*".into() });
        }
        let (whose, which) = text.split_once(SEPARATOR).ok_or_else(|| {
            format!("write two names with {SEPARATOR:?} between them, the last may end in '*', or '*' alone")
        })?;
        let whose_fits = (1..=64).contains(&whose.len())
            && whose.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'));
        if !whose_fits {
            return Err(format!("{whose:?} must be 1 to 64 lower-case letters, digits, '-' or '_'"));
        }
        let plain = which.strip_suffix('*').unwrap_or(which);
        let plain_fits =
            plain.len() <= NAME_BYTES_MAX && plain.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./:@".contains(&b));
        if which.is_empty() || !plain_fits {
            return Err(format!(
                "{which:?} must be 1 to {NAME_BYTES_MAX} letters, digits or -_./:@, with '*' at most at the end"
            ));
        }
        Ok(Self { text: text.into() })
    }
}

impl<const SEPARATOR: char> fmt::Display for Remote<SEPARATOR> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The name of an environment variable.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VariableName(Arc<str>);

impl VariableName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for VariableName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut bytes = text.bytes();
        let fits = text.len() <= 128
            && bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
            && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if fits {
            Ok(Self(text.into()))
        } else {
            Err("name one variable: letters, digits and '_', for example env:LANG".into())
        }
    }
}

impl fmt::Display for VariableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_and_servers_are_two_names() {
        let model = |text: &str| text.parse::<ModelPattern>();
        assert!(model("anthropic/*").unwrap().contains(&model("anthropic/claude-x").unwrap()));
        assert!(model("anthropic/claude-*").unwrap().contains(&model("anthropic/claude-x*").unwrap()));
        assert!(
            !model("a/*").unwrap().contains(&model("ab/x").unwrap())
                && model("*").unwrap().contains(&model("a/*").unwrap())
        );
        for bad in ["", "a", "a/", "A/x", "a/x*y", "*/x", "a/b c", "a/é"] {
            assert!(model(bad).is_err(), "{bad}");
        }
        assert!("github.create_issue".parse::<McpPattern>().is_ok() && "github/x".parse::<McpPattern>().is_err());
    }

    #[test]
    fn a_variable_is_one_name() {
        for bad in ["", "1A", "A-B", "A*", "A=B", "LÄNG"] {
            assert!(bad.parse::<VariableName>().is_err(), "{bad}");
        }
        assert_eq!("_LANG2".parse::<VariableName>().unwrap().as_str(), "_LANG2");
    }
}
