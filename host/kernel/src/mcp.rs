//! MCP servers as calls see them: what a call may ask of one, and which capability it takes. Names and bounds only: which servers
//! there are, what they may hold and whether they are trusted, a pillar finds out.

use crate::ids::PluginName;
use crate::json::Json;
use crate::pattern::McpPattern;
use serde::Deserialize;

/// Longest arguments for a server's tool, bytes.
const ARGUMENTS_BYTES_MAX: usize = 8 << 20;

/// The arguments of a call to an MCP server. Reading them checks every bound, so whoever holds them need not.
#[derive(Debug, Clone)]
pub enum McpArguments {
    /// Call one of its tools.
    Call {
        /// The tool's own name, without the server's.
        tool: String,
        /// What the tool is given: a JSON object.
        arguments: Json,
    },
    /// Tell which tools it is trusted to have.
    List,
}

/// The same as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    tool: Option<String>,
    arguments: Option<Json>,
    #[serde(default)]
    list: bool,
}

impl McpArguments {
    /// The JSON Schema of what a call carries.
    pub const SCHEMA: &'static str = r#"{"type":"object","properties":{"tool":{"type":"string","description":"the name of one of the server's tools, as granted by mcp:SERVER.TOOL"},"arguments":{"type":"object","description":"what the tool is given, as its own schema says"},"list":{"type":"boolean","description":"true, alone: tell the pinned tools with their descriptions and schemas"}},"additionalProperties":false}"#;

    /// Read what a call carries.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn read(arguments: &Json) -> Result<Self, String> {
        const SHAPE: &str = "a server takes {tool, arguments?} or {list: true}";
        let written: Written = arguments.read().map_err(|error| format!("{SHAPE}: {error}"))?;
        match written {
            Written { tool: Some(tool), arguments, list: false } => {
                let arguments = match arguments.filter(|given| given.as_str() != "null") {
                    None => Json::parse("{}").map_err(|error| error.to_string())?,
                    Some(given) if given.as_str().starts_with('{') => given,
                    Some(_) => return Err("arguments are a JSON object, or are left out".into()),
                };
                let found = arguments.as_str().len();
                if found > ARGUMENTS_BYTES_MAX {
                    return Err(format!("the arguments have {found} bytes; at most {ARGUMENTS_BYTES_MAX} are allowed"));
                }
                Ok(Self::Call { tool, arguments })
            }
            Written { tool: None, arguments: None, list: true } => Ok(Self::List),
            _ => Err(format!("{SHAPE}; this says neither one of them nor the other alone")),
        }
    }

    /// The capability that calling this tool of `server` takes; none for what calls no tool.
    ///
    /// # Errors
    /// A name that no capability can spell, so that nobody can be granted it.
    pub fn pattern(&self, server: &PluginName) -> Result<Option<McpPattern>, String> {
        match self {
            Self::Call { tool, .. } => one(server, tool).map(Some),
            Self::List => Ok(None),
        }
    }
}

/// The pattern that means this tool of `server` and no other.
///
/// # Errors
/// A name that no capability can spell.
pub fn one(server: &PluginName, tool: &str) -> Result<McpPattern, String> {
    let shown: String = tool.chars().take(80).collect();
    let refuse = |why: String| format!("{shown:?} cannot be called: {why}");
    if tool.contains('*') {
        return Err(refuse("'*' means many; one is called".into()));
    }
    format!("{server}.{tool}").parse().map_err(refuse)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<McpArguments, String> {
        McpArguments::read(&Json::parse(text.to_owned()).unwrap())
    }

    #[test]
    fn a_call_names_one_tool_and_takes_its_capability() {
        let server: PluginName = "github".parse().unwrap();
        for (text, given) in [
            (r#"{"tool":"issues.list","arguments":{"n":1.50}}"#, r#"{"n":1.50}"#),
            (r#"{"tool":"issues.list"}"#, "{}"),
            (r#"{"tool":"issues.list","arguments":null}"#, "{}"),
        ] {
            let asked = read(text).unwrap();
            assert_eq!(asked.pattern(&server).unwrap().unwrap().as_str(), "github.issues.list");
            assert!(matches!(asked, McpArguments::Call { arguments, .. } if arguments.as_str() == given), "{text}");
        }
        let list = read(r#"{"list":true}"#).unwrap();
        assert!(matches!(list, McpArguments::List) && list.pattern(&server).unwrap().is_none());
    }

    #[test]
    fn what_is_neither_is_refused_in_words() {
        for (text, why) in [
            ("{}", "neither"),
            (r#"{"tool":"x","list":true}"#, "neither"),
            (r#"{"list":true,"arguments":{}}"#, "neither"),
            (r#"{"tool":"x","arguments":[1]}"#, "JSON object"),
            (r#"{"tool":"x","server":"y"}"#, "server"),
            ("[]", "{tool, arguments?}"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn a_name_that_cannot_be_granted_cannot_be_called() {
        let server: PluginName = "s".parse().unwrap();
        for bad in ["", "*", "a*", "a b", "a\n", "\u{e9}", &"x".repeat(200)] {
            assert!(one(&server, bad).is_err(), "{bad:?}");
        }
        assert!(one(&server, "a/b:c@d.e-f_G").is_ok());
    }

    #[test]
    fn the_schema_is_json() {
        Json::parse(McpArguments::SCHEMA).unwrap();
    }
}
