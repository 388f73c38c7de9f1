//! The options of `agent()`, parsed once. The engine checks them for the script's author; this is the check that counts,
//! since an engine is a guest. What this version cannot honour is refused, never silently dropped.

use crate::brief::{TITLE_BYTES_MAX, brief};
use crate::deps;
use crate::jobs::thrown;
use crate::shape::{BadSchema, Shape, Shapes};
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use vespiary_kernel::account::Ceiling;
use vespiary_kernel::call::Failure;
use vespiary_kernel::capability::Capability;
use vespiary_kernel::grant::Grant;
use vespiary_kernel::ids::{PluginName, ToolName};
use vespiary_kernel::json::Json;
use vespiary_kernel::pattern::ToolPattern;
use vespiary_kernel::principal::Isolation;
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
    // A component agent has no model, so for one these change nothing.
    model: Option<String>,
    effort: Option<String>,
    isolation: Option<Value>,
    quota: Option<Spending>,
    deps: Option<Vec<String>>,
    retry: Option<Again>,
    priority: Option<Priority>,
}

/// What an agent may use, as a script writes it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Spending {
    tool_calls: Option<u64>,
    cpu_time_ms: Option<u64>,
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    usd: Option<f64>,
    bytes_written: Option<u64>,
    files_written: Option<u64>,
    http_requests: Option<u64>,
}

/// How often an agent that failed is run again, as a script writes it.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Again {
    Retries(u32),
    Attempts(Attempts),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Attempts {
    attempts: u32,
    #[serde(default)]
    backoff: u64,
}

/// Who is started first, of those that wait, and given up last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Last.
    Low,
    /// Unless something is said.
    #[default]
    Normal,
    /// First.
    High,
}

/// How often an agent that failed is run again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// How often it is run at most.
    pub attempts: u32,
    /// The wait before the second; each next one is twice as long.
    pub backoff: Duration,
}

/// The most entries of `tools`, `allow` and `deny` each: every one is compared with all others, and with all that the run holds.
const LISTED_MAX: usize = 256;

/// The most attempts, and the longest first wait, milliseconds.
const ATTEMPTS_MAX: u32 = 6;
const BACKOFF_MS_MAX: u64 = 60_000;

/// Who does an agent's work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Brain {
    /// An agent plugin.
    Component(PluginName),
    /// A model, by the name the script gave, if it gave one.
    Model(Option<String>),
}

/// What an agent is to be, checked.
#[derive(Debug)]
pub struct AgentOptions {
    /// For people, cut where it is long; empty when the script gave none.
    pub label: String,
    /// What agents that wait for this one know it by; empty when the script gave no label.
    pub(crate) named: String,
    /// The phase it belongs to.
    pub phase: Option<String>,
    /// Who does the work.
    pub brain: Brain,
    /// How much a model is to think.
    pub effort: Option<String>,
    /// How often it is run.
    pub retry: Retry,
    /// When it is started, among those that wait.
    pub priority: Priority,
    /// What it may use, beside what any agent may.
    pub spending: Ceiling,
    /// What to do it to.
    pub context: Json,
    /// The shape the answer must have.
    pub schema: Option<Shape>,
    /// How long it may take in all.
    pub timeout: Option<Duration>,
    /// Where it writes.
    pub isolation: Isolation,
    /// The labels of the agents it waits for, each once.
    pub deps: Vec<String>,
    tools: Option<Vec<ToolPattern>>,
    allow: Option<Vec<Capability>>,
    deny: Vec<Capability>,
}

impl AgentOptions {
    /// Parse the options object; the error is what the script's `agent()` throws. `shapes` are those of its run.
    pub(crate) fn parse(options: &Json, shapes: &Arc<Shapes>) -> Result<Self, Rejection> {
        let written: Written = options.read().map_err(|e| invalid(format!("agent() options: {e}")))?;
        let brain = match written.agent_type {
            Some(name) => Brain::Component(name.parse().map_err(|e| invalid(format!("agentType: {e}")))?),
            None => Brain::Model(written.model),
        };
        let isolation = match &written.isolation {
            None => Isolation::Shared,
            Some(Value::String(word)) if word == "worktree" => Isolation::Worktree,
            Some(other) => return Err(invalid(format!("isolation is {other}; the only one there is is 'worktree'"))),
        };
        listed("tools", written.tools.as_deref().unwrap_or_default())?;
        listed("allow", written.allow.as_deref().unwrap_or_default())?;
        listed("deny", written.deny.as_deref().unwrap_or_default())?;
        let schema = written.schema.map(|schema| checked_schema(schema, shapes)).transpose()?;
        let label = written.label.unwrap_or_default();
        let tools = written.tools.map(|tools| tools.iter().map(|t| pattern(t)).collect()).transpose()?;
        Ok(Self {
            named: deps::kept(label.clone()),
            label: brief(label, TITLE_BYTES_MAX),
            phase: written.phase,
            brain,
            effort: written.effort,
            retry: written.retry.map(retry).transpose()?.unwrap_or(Retry { attempts: 1, backoff: Duration::ZERO }),
            priority: written.priority.unwrap_or_default(),
            spending: written.quota.map(spending).transpose()?.unwrap_or_default(),
            context: written.context.unwrap_or_else(Json::null),
            schema,
            timeout: written.timeout.map(milliseconds).transpose()?,
            isolation,
            deps: written.deps.map(deps::checked).transpose()?.unwrap_or_default(),
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
        left.push(Capability::Tool(ToolPattern::One(self.entry())));
        Ok(left)
    }

    /// The tool that starts it.
    pub fn entry(&self) -> ToolName {
        match &self.brain {
            Brain::Component(name) => ToolName::of_agent(name),
            Brain::Model(_) => ToolName::of_model(),
        }
    }

    /// What it is, for people and the record.
    pub fn kind(&self) -> &str {
        match &self.brain {
            Brain::Component(name) => name.as_str(),
            Brain::Model(_) => "model",
        }
    }
}

fn retry(again: Again) -> Result<Retry, Rejection> {
    let (attempts, backoff) = match again {
        Again::Retries(retries) => (retries.saturating_add(1), 0),
        Again::Attempts(Attempts { attempts, backoff }) => (attempts, backoff),
    };
    if !(1..=ATTEMPTS_MAX).contains(&attempts) || backoff > BACKOFF_MS_MAX {
        return Err(invalid(format!(
            "retry is a number of retries from 0 to {}, or {{ attempts: 1 to {ATTEMPTS_MAX}, backoff: 0 to {BACKOFF_MS_MAX} }}",
            ATTEMPTS_MAX - 1
        )));
    }
    Ok(Retry { attempts, backoff: Duration::from_millis(backoff) })
}

fn spending(written: Spending) -> Result<Ceiling, Rejection> {
    let dollars = |usd: f64| {
        // A float to an integer saturates; what is negative or no number is refused first.
        if usd.is_finite() && usd >= 0.0 {
            Ok((usd * 1e6).floor() as u64)
        } else {
            Err(invalid(format!("quota.usd is {usd}")))
        }
    };
    Ok(Ceiling {
        tool_calls_max: written.tool_calls,
        cpu_time_us_max: written.cpu_time_ms.map(|ms| ms.saturating_mul(1_000)),
        input_tokens_max: written.input_tokens,
        output_tokens_max: written.output_tokens,
        usd_micros_max: written.usd.map(dollars).transpose()?,
        bytes_written_max: written.bytes_written,
        files_written_max: written.files_written,
        http_requests_max: written.http_requests,
        ..Ceiling::default()
    })
}

/// How much of a capability a denial takes away.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Denies {
    All,
    Part,
}

/// What `denied` takes from `held`, if anything. Denying to write takes nothing from a reader; denying to read takes all from
/// a writer, who reads too; denying addresses takes a part from whoever may ask for names.
fn denies(denied: &Capability, held: &Capability) -> Option<Denies> {
    held.loses_to(denied).then(|| if denied.takes_all_of(held) { Denies::All } else { Denies::Part })
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

fn listed<T>(option: &str, entries: &[T]) -> Result<(), Rejection> {
    if entries.len() <= LISTED_MAX {
        return Ok(());
    }
    Err(reject("limit", format!("{option} has {} entries; at most {LISTED_MAX} are allowed", entries.len())))
}

fn checked_schema(schema: Value, shapes: &Arc<Shapes>) -> Result<Shape, Rejection> {
    shapes.shape(schema).map_err(|bad| match bad {
        BadSchema::Unfit(why) => invalid(format!("schema is not a JSON Schema that can be judged by: {why}")),
        BadSchema::Limit(hit) => thrown(&Failure::Limit(hit)),
    })
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
        AgentOptions::parse(&Json::parse(text).unwrap(), &Shapes::unbounded())
    }

    fn wanted(options: &str, parent: &[&str]) -> Vec<String> {
        let parent = Grant::of_run(parent.iter().map(|t| t.parse().unwrap()));
        parse(options).unwrap().wanted(&parent).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_by_name() {
        for (options, part) in [
            (r#"{"agentType":"x","isolation":"container"}"#, "isolation"),
            (r#"{"agentType":"x","isolation":true}"#, "isolation"),
            (r#"{"agentType":"x","retry":9}"#, "retry"),
            (r#"{"agentType":"x","retry":{"attempts":0}}"#, "retry"),
            (r#"{"agentType":"x","deps":[""]}"#, "deps"),
            (r#"{"agentType":"x","deps":"a"}"#, "sequence"),
            (r#"{"agentType":"x","quota":{"usd":-1}}"#, "usd"),
            (r#"{"agentType":"x","quota":{"calls":1}}"#, "calls"),
            (r#"{"agentType":"x","priority":"urgent"}"#, "urgent"),
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

    #[test]
    fn denying_addresses_of_what_is_held_by_name_is_refused_not_ignored() {
        for (held, denied) in [("net:localhost:8080", "net:[127.0.0.0/8]:*"), ("net:*:*", "net:[10.0.0.0/8]:*")] {
            let parent = Grant::of_run([held.parse().unwrap()]);
            let options = parse(&format!(r#"{{"agentType":"x","deny":["{denied}"]}}"#)).unwrap();
            let why = options.wanted(&parent).unwrap_err().message;
            assert!(why.contains(&format!("{denied} is part of {held}")), "{why}");
        }
        let parent = ["net:localhost:8080", "net:a.example", "tool:*"];
        assert_eq!(
            wanted(r#"{"agentType":"x","deny":["net:[10.0.0.0/8]:9","net:*:*"]}"#, &parent),
            ["tool:*", "tool:x.run"]
        );
    }

    #[test]
    fn lists_that_would_be_compared_without_end_are_refused() {
        for (option, entry) in [("allow", "read:a"), ("deny", "read:a"), ("tools", "files.t")] {
            let of = |entries: usize| {
                let entries: Vec<_> = (0..entries).map(|n| format!("{entry}{n}")).collect();
                parse(&serde_json::json!({ "agentType": "x", option: entries }).to_string())
            };
            let refused = of(LISTED_MAX + 1).unwrap_err();
            assert_eq!(refused.code, "limit");
            assert!(refused.message.contains(option) && refused.message.contains("257"), "{}", refused.message);
            of(LISTED_MAX).unwrap();
        }
    }

    #[test]
    fn a_long_label_is_cut_for_people_and_told_apart_by_all_of_it() {
        let long = "x".repeat(1 << 20);
        let of = |end: &str| parse(&serde_json::json!({ "label": format!("{long}{end}") }).to_string()).unwrap();
        let (a, b) = (of("a"), of("b"));
        assert!(a.label == b.label && a.label.ends_with('…') && a.label.len() < 210, "{}", a.label.len());
        assert!(a.named != b.named && a.named.len() < 300, "{}", a.named);
        let waits = parse(&serde_json::json!({ "deps": [format!("{long}a")] }).to_string()).unwrap();
        assert_eq!(waits.deps, [a.named]);
    }
}
