//! Answers with text that is not JSON, to upset whoever parses it. The wall: trap `contract`.

use vespiary_sdk::tool::{Entry, Schemas, Tool};

/// Written by hand, because the SDK's macro cannot be made to answer wrongly.
#[allow(non_camel_case_types, reason = "the SDK names a tool's type after its function")]
pub struct invalid_json_result;

impl Tool for invalid_json_result {
    const ENTRY: Entry = Entry::new(
        "invalid_json_result",
        "Gives an unclosed object.",
        || Schemas { input: "{\"type\":\"object\"}".into(), output: "{}".into() },
        |_| Ok("{\"a\": [1, 2".into()),
    );
}
