//! Which tools a client is offered: those that the server's grant and the policy let be called, under names that every client
//! takes. What a plugin says of itself is passed on as it was checked; a hint permits nothing.

use crate::catalog::Shelf;
use crate::mcp::quick::Quickness;
use crate::servers::PinnedTool;
use crate::terminal::clipped;
use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use vespiary_kernel::capability::Capability;
use vespiary_kernel::dispatch::needs_of_call;
use vespiary_kernel::grant::Grant;
use vespiary_kernel::ids::ToolName;
use vespiary_kernel::json::Json;
use vespiary_kernel::plugin::{Kind, Need, Plugin};
use vespiary_kernel::policy::{Case, Policy, Verdict};
use vespiary_kernel::ports::Catalog as _;
use vespiary_kernel::program::{ProgramArguments, ProgramResult};
use vespiary_sandbox::Sandbox;
use vespiary_sandbox::describe::{Description, ToolDescription};

/// Tools in one page of a list.
pub const PAGE: usize = 100;

/// How much of the schema of an agent's context is told, characters.
const CONTEXT_CHARS_MAX: usize = 2_000;

/// The member that holds a value that is no object: structured content is one.
pub const VALUE: &str = "value";

/// A tool of a plugin, as a client sees it.
#[derive(Debug, Clone)]
pub struct Offer {
    /// What the client is told.
    pub tool: Tool,
    /// What is called.
    pub call: ToolName,
    /// Its own name, where it is a tool of an MCP server, which is called through the server's one entry.
    pub of_server: Option<String>,
    /// Whether its value is put into an object.
    pub wraps: bool,
    /// Whether a call could be allowed. Others are not listed; one that is made all the same is denied and recorded like any.
    pub granted: bool,
    /// How quick its calls are.
    pub quickness: Arc<Quickness>,
}

/// All of them, by the client's name.
#[derive(Debug, Default)]
pub struct Offers {
    by_name: BTreeMap<String, Arc<Offer>>,
    /// Agent plugins that can be started: what each does, and takes as context.
    pub agents: Vec<String>,
}

impl Offers {
    /// What somebody who holds `grant` under `policy` can call. A plugin that cannot describe itself offers nothing; why is told
    /// to `complain`. Names in `taken` are the server's own.
    pub async fn gather(
        shelf: &Shelf,
        sandbox: &Sandbox,
        policy: &Policy,
        grant: &Grant,
        taken: &[&str],
        complain: &(dyn Fn(String) + Sync),
    ) -> Self {
        let mut offers = Self::default();
        let all = shelf.iter().map(|entry| async {
            let plugin = &entry.plugin;
            match plugin.kind {
                Kind::Tools | Kind::Agent => Some((plugin, sandbox.describe(plugin).await)),
                Kind::Program => Some((plugin, Ok(programs_own(plugin, grant)))),
                // Those of servers follow, as they were trusted: nobody is asked for them.
                Kind::Engine | Kind::Model | Kind::Mcp => None,
            }
        });
        for (plugin, described) in futures_util::future::join_all(all).await.into_iter().flatten() {
            match described {
                Ok(Description::Tools(tools)) => {
                    for tool in tools {
                        let granted = can_be_called(policy, grant, plugin, &tool.name);
                        offers.put(offer(plugin, tool, granted), taken);
                    }
                }
                Ok(Description::Agent(agent)) => {
                    let context = clipped(agent.context_schema.as_str(), CONTEXT_CHARS_MAX);
                    offers.agents.push(format!("{}: {} Its context: {context}", plugin.name, agent.summary));
                }
                Ok(Description::Engine) => {}
                Err(failure) => complain(format!("the plugin {} offers nothing: {failure}", plugin.name)),
            }
        }
        for tool in shelf.servers().pinned() {
            match of_server(shelf, policy, grant, &tool) {
                Ok(offer) => offers.put(offer, taken),
                Err(why) => {
                    complain(format!("the tool {:?} of {} is not offered: {why}", clipped(tool.name, 80), tool.server))
                }
            }
        }
        offers
    }

    /// The tool that a client calls `name`.
    pub fn find(&self, name: &str) -> Option<&Arc<Offer>> {
        self.by_name.get(name)
    }

    /// Those that are granted, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Offer> {
        self.by_name.values().map(Arc::as_ref).filter(|offer| offer.granted)
    }

    /// Two tools of different plugins can come to the same name; the later one has a number behind it.
    fn put(&mut self, mut offer: Offer, taken: &[&str]) {
        let plain = offer.tool.name.to_string();
        let is_free = |name: &String| !self.by_name.contains_key(name) && !taken.contains(&name.as_str());
        let numbered = (2..).map(|n: u32| format!("{plain}_{n}"));
        let Some(name) = std::iter::once(plain.clone()).chain(numbered).find(is_free) else { return };
        offer.tool.name = name.clone().into();
        self.by_name.insert(name, Arc::new(offer));
    }
}

/// Whether a call could be allowed, perhaps after asking. What depends on arguments is judged when it is called.
fn can_be_called(policy: &Policy, grant: &Grant, plugin: &Plugin, tool: &ToolName) -> bool {
    !matches!(policy.judge(Case { tool, grant, plugin, extra: &[] }), Verdict::Deny(_))
}

/// A tool of an MCP server, as a person trusted it.
fn of_server(shelf: &Shelf, policy: &Policy, grant: &Grant, pinned: &PinnedTool<'_>) -> Result<Offer, String> {
    let call: ToolName = format!("{}.{}", pinned.server, ToolName::AGENT_ENTRY).parse().map_err(|e| format!("{e}"))?;
    let plugin = shelf.find(&call).ok_or("the server is not configured")?;
    let mut tool: Tool = pinned.description.read().map_err(|error| error.to_string())?;
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    tool.name = format!("{}_{}", pinned.server, pinned.name).chars().map(plain).collect::<String>().into();
    let arguments = Json::of(&json!({ "tool": pinned.name })).map_err(|error| error.to_string())?;
    let extra = needs_of_call(&plugin, &arguments, grant).map_err(|failure| failure.to_string())?;
    let granted =
        !matches!(policy.judge(Case { tool: &call, grant, plugin: &plugin, extra: &extra }), Verdict::Deny(_));
    let quickness = Arc::new(Quickness::new(false));
    Ok(Offer { tool, call, of_server: Some(pinned.name.to_owned()), wraps: false, granted, quickness })
}

/// The host's own tool, where any program was granted.
fn programs_own(plugin: &Plugin, grant: &Grant) -> Description {
    let name = format!("{}.{}", plugin.name, ToolName::AGENT_ENTRY).parse();
    let schemas = (Json::parse(ProgramArguments::SCHEMA), Json::parse(ProgramResult::SCHEMA));
    let granted: Vec<String> =
        grant.iter().filter(|held| matches!(held, Capability::Exec(_))).map(ToString::to_string).collect();
    let (Ok(name), (Ok(input_schema), Ok(output_schema))) = (name, schemas) else { return Description::Engine };
    if granted.is_empty() {
        return Description::Tools(Vec::new());
    }
    let description = format!("{} Granted: {}.", plugin.description, granted.join(", "));
    Description::Tools(vec![ToolDescription { name, description, input_schema, output_schema }])
}

fn offer(plugin: &Plugin, described: ToolDescription, granted: bool) -> Offer {
    let ToolDescription { name: call, description, input_schema, output_schema } = described;
    let hints = plugin.annotations.get(call.local()).copied().unwrap_or_default();
    let needs: Vec<&Need> = plugin.needs_of(call.local()).collect();
    let reaches_out =
        |need: &&Need| matches!(need.capability, Capability::Net(_) | Capability::Secret(_) | Capability::Model(_));
    let (output, wraps) = output_schema_of(object(&output_schema));
    let title = title(&call);
    let annotations = ToolAnnotations::with_title(title.clone())
        .read_only(hints.read_only)
        .destructive(!hints.read_only)
        .idempotent(hints.idempotent)
        .open_world(plugin.kind == Kind::Program || needs.iter().any(reaches_out));
    let name = format!("{}_{}", call.plugin(), call.local()).replace('-', "_");
    let tool = Tool::new(name, description, input_schema_of(object(&input_schema)))
        .with_title(title)
        .with_annotations(annotations)
        .with_raw_output_schema(Arc::new(output));
    let quickness = Arc::new(Quickness::new(plugin.kind == Kind::Tools && needs.is_empty()));
    Offer { tool, call, of_server: None, wraps, granted, quickness }
}

/// `files.read_lines` for people: `Files: read lines`.
fn title(tool: &ToolName) -> String {
    let words = |name: &str| name.replace(['-', '_'], " ");
    let plugin = words(tool.plugin());
    let mut letters = plugin.chars();
    let first = letters.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}: {}", letters.as_str(), words(tool.local()))
}

fn object(schema: &Json) -> JsonObject {
    let mut schema = Value::Object(schema.read().unwrap_or_default());
    plain_formats(&mut schema);
    match schema {
        Value::Object(schema) => schema,
        _ => JsonObject::new(),
    }
}

/// Leave out the formats that only Rust knows: clients warn of each.
fn plain_formats(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            let is_number =
                |format: &str| format.starts_with("uint") || format.starts_with("int") || format == "double";
            if members.get("format").and_then(Value::as_str).is_some_and(is_number) {
                members.remove("format");
            }
            members.values_mut().for_each(plain_formats);
        }
        Value::Array(items) => items.iter_mut().for_each(plain_formats),
        _ => {}
    }
}

fn input_schema_of(mut schema: JsonObject) -> JsonObject {
    schema.entry("type").or_insert_with(|| "object".into());
    schema
}

/// The schema of structured content, which is an object: another value is put into one.
fn output_schema_of(mut schema: JsonObject) -> (JsonObject, bool) {
    if schema.get("type").is_some_and(|kind| kind == "object") {
        return (schema, false);
    }
    // References in it start from the root.
    let shared: Vec<(String, Value)> =
        ["$defs", "definitions", "$schema"].iter().filter_map(|key| schema.remove_entry(*key)).collect();
    let mut outer = Map::from_iter([
        ("type".to_owned(), Value::from("object")),
        ("properties".to_owned(), json!({ VALUE: schema })),
        ("required".to_owned(), json!([VALUE])),
    ]);
    outer.extend(shared);
    (outer, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(text: &str) -> JsonObject {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn structured_content_is_always_an_object() {
        let plain = schema(r#"{"type":"object","properties":{"a":{"type":"string"}}}"#);
        assert_eq!(output_schema_of(plain.clone()), (plain, false));
        let list = schema(r##"{"type":"array","items":{"$ref":"#/$defs/A"},"$defs":{"A":{"type":"string"}}}"##);
        let (wrapped, wraps) = output_schema_of(list);
        assert!(wraps);
        let expected = schema(
            r##"{"type":"object","properties":{"value":{"type":"array","items":{"$ref":"#/$defs/A"}}},"required":["value"],"$defs":{"A":{"type":"string"}}}"##,
        );
        assert_eq!(wrapped, expected);
    }

    #[test]
    fn two_tools_never_have_one_name() {
        let mut offers = Offers::default();
        let put = |offers: &mut Offers, call: &str| {
            let call: ToolName = call.parse().unwrap();
            let name = format!("{}_{}", call.plugin(), call.local());
            let tool = Tool::new(name, "d", JsonObject::new());
            let quickness = Arc::new(Quickness::new(false));
            offers.put(Offer { tool, call, of_server: None, wraps: false, granted: true, quickness }, &["run_status"]);
        };
        for call in ["a_b.c", "a.b_c", "run.status"] {
            put(&mut offers, call);
        }
        let names: Vec<_> = offers.iter().map(|offer| (offer.tool.name.to_string(), offer.call.to_string())).collect();
        let expected = [("a_b_c", "a_b.c"), ("a_b_c_2", "a.b_c"), ("run_status_2", "run.status")];
        assert_eq!(names, expected.map(|(name, call)| (name.to_owned(), call.to_owned())));
    }

    #[test]
    fn titles_read_like_words() {
        assert_eq!(title(&"files.read".parse().unwrap()), "Files: read");
        assert_eq!(title(&"my-tools.find_all".parse().unwrap()), "My tools: find all");
    }
}
