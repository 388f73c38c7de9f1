//! Answers with thirty thousand nested arrays, for a reader that recurses. The answer is sound JSON and arrives as the text
//! it is; whoever wants it as a tree is told that it is too deep.

use vespiary_sdk::tool::{Entry, Schemas, Tool};

/// Written by hand: the SDK would have to build the tree.
#[allow(non_camel_case_types, reason = "the SDK names a tool's type after its function")]
pub struct result_deeply_nested;

impl Tool for result_deeply_nested {
    const ENTRY: Entry = Entry::new(
        "result_deeply_nested",
        "Gives arrays in arrays.",
        || Schemas { input: "{\"type\":\"object\"}".into(), output: "{}".into() },
        |_| Ok("[".repeat(30_000) + &"]".repeat(30_000)),
    );
}
