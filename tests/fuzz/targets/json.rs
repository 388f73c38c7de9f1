//! JSON text: what is taken for JSON is JSON for everybody, stands in a document as itself, and is harmless and unchanged
//! where it is printed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use serde_json::value::RawValue;
use vespiary_kernel::json::Json;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(json) = Json::parse(text) else {
        assert!(serde_json::from_str::<Value>(text).is_err(), "{text} is JSON and was refused");
        return;
    };
    assert!(serde_json::from_str::<&RawValue>(text).is_ok(), "{text} is no JSON and was taken");
    let document = Json::of(&[&json, &json]).expect("it can stand in a document");
    let inner: Vec<Json> = document.read().expect("the document can be read");
    assert!(inner.len() == 2 && inner[0] == inner[1], "it became something else in a document");
    assert_eq!(inner[0].as_str(), text.trim_matches([' ', '\t', '\n', '\r']), "it changed in a document");

    let printed = vespiary::terminal::json(text);
    let hostile = |c: char| (c.is_control() && !matches!(c, '\n' | '\t')) || ('\u{2028}'..='\u{202e}').contains(&c);
    assert!(!printed.contains(hostile), "{printed:?} would be obeyed by a terminal");
    match (serde_json::from_str::<Value>(text), serde_json::from_str::<Value>(&printed)) {
        (Ok(before), Ok(after)) => assert_eq!(before, after, "printing changed it"),
        // Nested more deeply than a tree is read.
        (Err(_), Err(_)) => {}
        (before, after) => panic!("{before:?} is printed as {after:?}"),
    }
});
