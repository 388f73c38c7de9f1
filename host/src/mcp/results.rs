//! What comes of a call, as a client reads it: text for the model, structured content for programs, and in `_meta` where it stands in
//! the record. A failure says what, why, and what to do next; what a terminal would obey is made harmless.

use crate::exit::Trouble;
use crate::mcp::offers::{Offer, VALUE};
use crate::mcp::own::ONLY_A_PERSON;
use crate::terminal::plain;
use rmcp::model::{CallToolResult, ContentBlock, JsonObject, MetaObject};
use serde_json::{Map, Value};
use vespiary_kernel::call::{Ending, Failure, Outcome};
use vespiary_kernel::ids::RunId;

/// The longest message of an error, characters.
const ERROR_CHARS_MAX: usize = 4_000;

/// An outcome as a client reads it.
pub(super) fn result(offer: &Offer, run: &RunId, outcome: Outcome) -> CallToolResult {
    let mut about = JsonObject::new();
    about.insert("vespiary/run".into(), run.as_str().into());
    if let Some(call) = outcome.call {
        about.insert("vespiary/call".into(), call.0.into());
    }
    match outcome.ending {
        Ending::Done(value) => {
            let parsed: Value = value.read().unwrap_or(Value::Null);
            if offer.of_server.is_some()
                && let Some(content) = content_of_server(&parsed)
            {
                let mut result = CallToolResult::success(content);
                result.meta = Some(MetaObject(about));
                return result;
            }
            match offer.wraps {
                true => {
                    let text = match &parsed {
                        Value::String(text) => plain(text).into_owned(),
                        _ => value.as_str().to_owned(),
                    };
                    said(text, Value::Object(Map::from_iter([(VALUE.to_owned(), parsed)])), &about)
                }
                false => said(value.as_str().to_owned(), parsed, &about),
            }
        }
        Ending::Failed(failure) => {
            about.insert("vespiary/cause".into(), failure.cause().into());
            let more = if matches!(failure, Failure::Denied(_)) { format!("\n{ONLY_A_PERSON}") } else { String::new() };
            failed_in_words(&format!("{failure}{more}"), about)
        }
    }
}

/// What a server said that has no structure of its own, block by block, with what a terminal would obey made harmless.
fn content_of_server(value: &Value) -> Option<Vec<ContentBlock>> {
    let members = value.as_object().filter(|members| members.len() == 1)?;
    let mut blocks: Vec<Value> = members.get("content")?.as_array()?.clone();
    for block in &mut blocks {
        if let Some(Value::String(text)) = block.get_mut("text") {
            *text = plain(text).into_owned();
        }
    }
    serde_json::from_value(Value::Array(blocks)).ok()
}

fn said(text: String, structured: Value, about: &JsonObject) -> CallToolResult {
    let mut result = CallToolResult::success(vec![ContentBlock::text(text)]);
    result.structured_content = Some(structured);
    result.meta = (!about.is_empty()).then(|| MetaObject(about.clone()));
    result
}

/// What a tool of the server itself gave.
pub(super) fn done(value: Value, about: &JsonObject) -> CallToolResult {
    said(value.to_string(), value, about)
}

/// What could not be done, as the failure of a call.
pub(super) fn failed(trouble: &Trouble) -> CallToolResult {
    failed_in_words(&in_words(trouble), JsonObject::new())
}

/// The same in words that are there already.
pub(super) fn failed_in_words(text: &str, about: JsonObject) -> CallToolResult {
    let text: String = plain(text).chars().take(ERROR_CHARS_MAX).collect();
    let mut result = CallToolResult::error(vec![ContentBlock::text(text)]);
    result.meta = (!about.is_empty()).then_some(MetaObject(about));
    result
}

/// What, why, and what to do next, in lines.
pub(super) fn in_words(trouble: &Trouble) -> String {
    let Trouble { what, why, next, .. } = trouble;
    if next.is_empty() { format!("{what}: {why}") } else { format!("{what}: {why}\nnext: {next}") }
}
