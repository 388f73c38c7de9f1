//! Answers with numbers that no machine holds, a key twice and a key that a script might take for its prototype. All of it is
//! JSON, so it arrives unchanged.

use vespiary_sdk::tool::{Entry, Schemas, Tool};

/// Written by hand: no serializer would write this.
#[allow(non_camel_case_types, reason = "the SDK names a tool's type after its function")]
pub struct result_odd_numbers;

/// What it says.
const ODD: &str = r#"{"n":1e999,"m":-0.0,"i":123456789012345678901234567890,"k":1,"k":2,"__proto__":{"polluted":true}}"#;

impl Tool for result_odd_numbers {
    const ENTRY: Entry = Entry::new(
        "result_odd_numbers",
        "Gives numbers that no machine holds.",
        || Schemas { input: "{\"type\":\"object\"}".into(), output: "{}".into() },
        |_| Ok(ODD.into()),
    );
}
