//! The options of `agent()`, parsed once. The engine checks them for the script's author; this is the check that counts,
//! since an engine is a guest. What this version cannot honour is refused, never silently dropped.

use serde::Deserialize;
use serde_json::Value;
use std::time::Duration;
use vespiary_kernel::capability::{Capability, ToolPattern};
use vespiary_kernel::grant::Grant;
use vespiary_kernel::ids::{PluginName, ToolName};
use vespiary_kernel::json::Json;
use vespiary_kernel::script::Rejection;

/// As a script writes them.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Written {
    label: Option<String>,
    phase: Option<String>,
    schema: Option<Value>,
    agent_type: Option<String>,
    context: Option<Json>,
    timeout: Option<serde_json::Number>,
    tools: Option<Vec<String>>,
    allow: Option<Vec<Capability>>,
    deny: Option<Vec<Capability>>,
    // Hints for a model; a component agent has none, so they change nothing.
    #[serde(rename = "model")]
    _model: Option<String>,
    #[serde(rename = "effort")]
    _effort: Option<String>,
    isolation: Option<Value>,
    quota: Option<Value>,
    deps: Option<Value>,
    retry: Option<Value>,
    priority: Option<Value>,
}

/// What an agent is to be, checked.
#[derive(Debug)]
pub struct AgentOptions {
    /// For people; empty when the script gave none.
    pub label: String,
    /// The phase it belongs to.
    pub phase: Option<String>,
    /// The agent plugin.
    pub agent_type: PluginName,
    /// What to do it to.
    pub context: Json,
    /// The schema the answer must satisfy, and its checker.
    pub schema: Option<(Json, jsonschema::Validator)>,
    /// How long it may take in all.
    pub timeout: Option<Duration>,
    tools: Option<Vec<ToolPattern>>,
    allow: Option<Vec<Capability>>,
    deny: Vec<Capability>,
}

impl AgentOptions {
    /// Parse the options object; the error is what the script's `agent()` throws.
    pub fn parse(options: &Json) -> Result<Self, Rejection> {
        let written: Written = options.read().map_err(|e| invalid(format!("agent() options: {e}")))?;
        let unsupported = [
            ("isolation", written.isolation.is_some()),
            ("quota", written.quota.is_some()),
            ("deps", written.deps.is_some()),
            ("retry", written.retry.is_some()),
            ("priority", written.priority.is_some()),
        ];
        if let Some((name, _)) = unsupported.iter().find(|(_, given)| *given) {
            return Err(reject(
                "unsupported",
                format!("agent() option {name:?} is not supported by this version; remove it"),
            ));
        }
        let Some(agent_type) = written.agent_type else {
            let message = "agent() without agentType asks for a model, and this version has no model provider; \
                           name a component agent, for example { agentType: 'secrets' }";
            return Err(reject("no-provider", message));
        };
        let agent_type = agent_type.parse().map_err(|e| invalid(format!("agentType: {e}")))?;
        let schema = written.schema.map(checked_schema).transpose()?;
        let tools = written.tools.map(|tools| tools.iter().map(|t| pattern(t)).collect()).transpose()?;
        Ok(Self {
            label: written.label.unwrap_or_default(),
            phase: written.phase,
            agent_type,
            context: written.context.unwrap_or_else(Json::null),
            schema,
            timeout: written.timeout.map(milliseconds).transpose()?,
            tools,
            allow: written.allow,
            deny: written.deny.unwrap_or_default(),
        })
    }

    /// The capabilities the agent is to hold. `allow` replaces the directories it would inherit, `tools` the tools; `deny`
    /// takes away what it names. The parent's grant decides later whether it may have them.
    pub fn wanted(&self, parent: &Grant) -> Result<Vec<Capability>, Rejection> {
        let allow_names_tools = self.allow.iter().flatten().any(|c| matches!(c, Capability::Tool(_)));
        let inherited = parent.without_spawn();
        let mut wanted: Vec<Capability> = self.allow.clone().unwrap_or_default();
        wanted.extend(self.tools.iter().flatten().cloned().map(Capability::Tool));
        for held in inherited.iter() {
            let replaced = match held {
                Capability::Tool(_) => self.tools.is_some() || allow_names_tools,
                _ => self.allow.is_some(),
            };
            if !replaced {
                wanted.push(held.clone());
            }
        }
        let mut left = Vec::with_capacity(wanted.len() + 1);
        for capability in wanted {
            let taken = |how| self.deny.iter().find(|denied| denies(denied, &capability) == Some(how));
            if taken(Denies::All).is_some() {
                continue;
            }
            if let Some(denied) = taken(Denies::Part) {
                let why =
                    format!("deny {denied} is part of {capability}; name what the agent may have with allow or tools");
                return Err(invalid(why));
            }
            left.push(capability);
        }
        // Starting the agent is a call like any other, made in the agent's own name.
        left.push(Capability::Tool(ToolPattern::One(ToolName::of_agent(&self.agent_type))));
        Ok(left)
    }
}

/// How much of a capability a denial takes away.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Denies {
    All,
    Part,
}

/// What `denied` takes from `held`, if anything. Denying to write takes nothing from a reader; denying to read takes all from
/// a writer, who reads too.
fn denies(denied: &Capability, held: &Capability) -> Option<Denies> {
    denied.meet(held).filter(|shared| shared.kind() == denied.kind())?;
    let whole = match (denied, held) {
        (Capability::Read(denied), Capability::Write(held)) => denied.contains(held),
        (denied, held) => denied.covers(held),
    };
    Some(if whole { Denies::All } else { Denies::Part })
}

fn pattern(text: &str) -> Result<ToolPattern, Rejection> {
    text.parse().map_err(|e| invalid(format!("tools: {e}")))
}

fn milliseconds(timeout: serde_json::Number) -> Result<Duration, Rejection> {
    let whole = timeout.as_u64().filter(|ms| *ms > 0);
    whole
        .map(Duration::from_millis)
        .ok_or_else(|| invalid(format!("timeout is {timeout}; give whole milliseconds, at least 1")))
}

fn checked_schema(schema: Value) -> Result<(Json, jsonschema::Validator), Rejection> {
    if !schema.is_object() {
        return Err(invalid("schema is not a JSON Schema: it must be an object"));
    }
    let validator =
        jsonschema::validator_for(&schema).map_err(|e| invalid(format!("schema is not a JSON Schema: {e}")))?;
    let text = Json::of(&schema).map_err(|e| invalid(format!("schema: {e}")))?;
    Ok((text, validator))
}

/// An exception for the script.
pub(crate) fn reject(code: &str, message: impl Into<String>) -> Rejection {
    Rejection { code: code.to_owned(), message: message.into(), detail: Json::null() }
}

pub(crate) fn invalid(message: impl Into<String>) -> Rejection {
    reject("invalid-arguments", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<AgentOptions, Rejection> {
        AgentOptions::parse(&Json::parse(text).unwrap())
    }

    fn wanted(options: &str, parent: &[&str]) -> Vec<String> {
        let parent = Grant::of_run(parent.iter().map(|t| t.parse().unwrap()));
        parse(options).unwrap().wanted(&parent).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_by_name() {
        for (options, part) in [
            ("{}", "no model provider"),
            (r#"{"agentType":"x","isolation":"worktree"}"#, "isolation"),
            (r#"{"agentType":"x","retry":2}"#, "retry"),
            (r#"{"agentType":"x","colour":"red"}"#, "colour"),
            (r#"{"agentType":"x","timeout":-1}"#, "timeout"),
            (r#"{"agentType":"x","schema":{"type":"nonsense"}}"#, "schema"),
            (r#"{"agentType":"x","schema":[]}"#, "schema"),
            (r#"{"agentType":"x","tools":["files"]}"#, "tools"),
            (r#"{"agentType":"x","allow":["read:.."]}"#, "read:.."),
        ] {
            let rejection = parse(options).unwrap_err();
            assert!(rejection.message.contains(part), "{options}: {}", rejection.message);
        }
    }

    #[test]
    fn an_agent_inherits_all_but_spawning_unless_told_otherwise() {
        let parent = ["read:.", "tool:*", "spawn:9"];
        assert_eq!(wanted(r#"{"agentType":"x"}"#, &parent), ["read:.", "tool:*", "tool:x.run"]);
        assert_eq!(
            wanted(r#"{"agentType":"x","tools":["files.read"]}"#, &parent),
            ["tool:files.read", "read:.", "tool:x.run"]
        );
        assert_eq!(wanted(r#"{"agentType":"x","allow":["read:src"]}"#, &parent), ["read:src", "tool:*", "tool:x.run"]);
        assert_eq!(wanted(r#"{"agentType":"x","deny":["read:."]}"#, &parent), ["tool:*", "tool:x.run"]);
    }

    #[test]
    fn denying_to_write_leaves_the_reader_alone() {
        let parent = ["read:.", "write:out", "tool:*"];
        let options = r#"{"agentType":"x","deny":["write:."]}"#;
        assert_eq!(wanted(options, &parent), ["read:.", "tool:*", "tool:x.run"]);
        assert_eq!(wanted(r#"{"agentType":"x","deny":["read:out","read:."]}"#, &parent), ["tool:*", "tool:x.run"]);
    }

    #[test]
    fn denying_a_part_of_a_directory_is_refused_not_ignored() {
        let parent = Grant::of_run(["read:.".parse().unwrap()]);
        let options = parse(r#"{"agentType":"x","deny":["read:private"]}"#).unwrap();
        assert!(options.wanted(&parent).unwrap_err().message.contains("read:private is part of read:."));
    }
}
