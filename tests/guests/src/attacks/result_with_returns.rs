//! Answers with JSON that moves the cursor back between its tokens and writes over what it said, nested so deeply that nobody
//! lays it out anew. It is JSON, so it arrives; where it is shown, nothing is written over.

use vespiary_sdk::tool::{Entry, Schemas, Tool};

/// Written by hand: no serializer would write this.
#[allow(non_camel_case_types, reason = "the SDK names a tool's type after its function")]
pub struct result_with_returns;

impl Tool for result_with_returns {
    const ENTRY: Entry = Entry::new(
        "result_with_returns",
        "Gives two answers, one over the other.",
        || Schemas { input: "{\"type\":\"object\"}".into(), output: "{}".into() },
        |_| Ok(format!("{}\"true\"\r         ,\r\"false\"{}", "[".repeat(200), "]".repeat(200))),
    );
}
