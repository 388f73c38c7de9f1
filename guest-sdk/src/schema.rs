//! JSON Schemas from Rust types. What lives here: the one choice of schema dialect and shape. What must never live here:
//! knowledge of any tool.

use schemars::{JsonSchema, Schema, generate::SchemaSettings};

/// Schema of a tool's arguments: always an object, as the contract demands.
pub(crate) fn of_arguments<T: JsonSchema>() -> String {
    let schema = of_input_value::<T>();
    let is_object = schema.get("type").and_then(|kind| kind.as_str()) == Some("object");
    assert!(is_object, "{} is not a struct: a tool's arguments are a JSON object", T::schema_name());
    text(&schema)
}

/// Schema of an agent's context: any JSON value.
pub(crate) fn of_context<T: JsonSchema>() -> String {
    text(&of_input_value::<T>())
}

/// Schema of what a tool or agent returns.
pub(crate) fn of_value<T: JsonSchema>() -> String {
    text(&settings().for_serialize().into_generator().into_root_schema_for::<T>())
}

fn of_input_value<T: JsonSchema>() -> Schema {
    settings().into_generator().into_root_schema_for::<T>()
}

/// Subschemas are written in place: models and many clients do not follow `$ref`.
fn settings() -> SchemaSettings {
    SchemaSettings::draft2020_12().with(|settings| {
        settings.meta_schema = None;
        settings.inline_subschemas = true;
    })
}

fn text(schema: &Schema) -> String {
    schema.as_value().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::{Deserialize, Serialize};

    #[derive(Deserialize, Serialize, JsonSchema)]
    struct Inner {
        /// How many.
        count: u32,
    }

    #[derive(Deserialize, JsonSchema)]
    struct Outer {
        /// What to count.
        #[allow(dead_code)]
        inner: Inner,
        /// Where to stop.
        #[allow(dead_code)]
        stop: Option<u32>,
    }

    #[test]
    fn field_docs_are_descriptions_and_nothing_is_referred_to() {
        let schema: serde_json::Value = serde_json::from_str(&of_arguments::<Outer>()).unwrap();
        assert_eq!(schema["properties"]["inner"]["properties"]["count"]["description"], "How many.");
        assert_eq!(schema["properties"]["stop"]["description"], "Where to stop.");
        assert_eq!(schema["required"], serde_json::json!(["inner"]));
        assert!(schema.get("$defs").is_none());
    }

    #[test]
    #[should_panic(expected = "a tool's arguments are a JSON object")]
    fn arguments_that_are_no_struct_are_refused() {
        of_arguments::<Vec<u8>>();
    }
}
