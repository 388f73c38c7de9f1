//! Whether an object can be taken for a JSON Schema. Catches what people write by mistake (an example instead of a
//! schema, a type that does not exist) before an agent is spent on it; the host validates answers.

use serde_json::{Map, Value};

const TYPES: [&str; 7] = ["string", "number", "integer", "boolean", "array", "object", "null"];

/// Keywords whose value is a schema.
const ONE: [&str; 9] = [
    "not",
    "if",
    "then",
    "else",
    "contains",
    "propertyNames",
    "additionalProperties",
    "unevaluatedProperties",
    "unevaluatedItems",
];
/// Keywords whose value is an array of schemas.
const MANY: [&str; 4] = ["allOf", "anyOf", "oneOf", "prefixItems"];
/// Keywords whose value maps names to schemas.
const NAMED: [&str; 5] = ["properties", "patternProperties", "$defs", "definitions", "dependentSchemas"];
/// The other keywords that make an object a schema.
const PLAIN: [&str; 32] = [
    "$id",
    "$schema",
    "$ref",
    "$anchor",
    "$dynamicRef",
    "$dynamicAnchor",
    "$comment",
    "type",
    "enum",
    "const",
    "items",
    "required",
    "title",
    "description",
    "default",
    "examples",
    "format",
    "pattern",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "uniqueItems",
    "minProperties",
    "maxProperties",
    "nullable",
    "deprecated",
];

/// `Err` says what is no schema, beginning with its path from `schema`.
pub(crate) fn check(schema: &Value) -> Result<(), String> {
    subschema(schema, "schema", true)
}

fn subschema(schema: &Value, path: &str, top: bool) -> Result<(), String> {
    let fields = match schema {
        Value::Object(fields) => fields,
        Value::Bool(_) if !top => return Ok(()),
        other => {
            return Err(format!(
                "{path} must be a JSON Schema, an object like {{ type: 'object', properties: {{ ... }} }}; it is {}",
                name(other)
            ));
        }
    };
    if !fields.is_empty() && !fields.keys().any(|key| is_keyword(key)) {
        let key = fields.keys().next().map_or("", String::as_str);
        return Err(format!(
            "{path} has no JSON Schema keyword; to ask for an object with `{key}`, write {{ type: 'object', properties: {{ {key}: {{ ... }} }} }}"
        ));
    }
    kind(fields, path)?;
    if let Some(required) = fields.get("required")
        && !required.as_array().is_some_and(|names| names.iter().all(Value::is_string))
    {
        return Err(format!("{path}.required must be an array of property names"));
    }
    if let Some(choices) = fields.get("enum")
        && choices.as_array().is_none_or(Vec::is_empty)
    {
        return Err(format!("{path}.enum must be an array of at least one value"));
    }
    nested(fields, path)
}

fn kind(fields: &Map<String, Value>, path: &str) -> Result<(), String> {
    let known = |value: &Value| value.as_str().is_some_and(|name| TYPES.contains(&name));
    match fields.get("type") {
        None => Ok(()),
        Some(value) if known(value) => Ok(()),
        Some(Value::Array(list)) if !list.is_empty() && list.iter().all(known) => Ok(()),
        Some(other) => Err(format!("{path}.type is {other}; the types are {}", TYPES.join(", "))),
    }
}

fn nested(fields: &Map<String, Value>, path: &str) -> Result<(), String> {
    for (key, value) in fields {
        let here = format!("{path}.{key}");
        match key.as_str() {
            "items" => match value {
                Value::Array(list) => list.iter().try_for_each(|one| subschema(one, &here, false))?,
                one => subschema(one, &here, false)?,
            },
            word if ONE.contains(&word) => subschema(value, &here, false)?,
            word if MANY.contains(&word) => {
                let list = value.as_array().filter(|list| !list.is_empty());
                let list = list.ok_or_else(|| format!("{here} must be an array of at least one schema"))?;
                list.iter().try_for_each(|one| subschema(one, &here, false))?;
            }
            word if NAMED.contains(&word) => {
                let map =
                    value.as_object().ok_or_else(|| format!("{here} must be an object that maps names to schemas"))?;
                map.iter().try_for_each(|(name, one)| subschema(one, &format!("{here}.{name}"), false))?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn is_keyword(key: &str) -> bool {
    key == "unevaluatedItems"
        || PLAIN.contains(&key)
        || ONE.contains(&key)
        || MANY.contains(&key)
        || NAMED.contains(&key)
}

/// What a value is, in the words of its author.
pub(crate) fn name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn schemas_pass() {
        for schema in [
            json!({}),
            json!({"type": "string"}),
            json!({"type": ["string", "null"], "enum": ["a", null]}),
            json!({"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}, "type": {"type": "string"}}, "additionalProperties": false}),
            json!({"anyOf": [{"const": 1}, {"$ref": "#/$defs/x"}], "$defs": {"x": true}}),
            json!({"type": "array", "items": {"type": "array", "items": {}}}),
        ] {
            assert_eq!(check(&schema), Ok(()), "{schema}");
        }
    }

    #[test]
    fn what_is_no_schema_is_named_with_its_path() {
        for (schema, message) in [
            (json!("string"), "schema must be a JSON Schema"),
            (json!(true), "it is a boolean"),
            (json!([]), "it is an array"),
            (json!({"verdict": "yes or no"}), "schema has no JSON Schema keyword; to ask for an object with `verdict`"),
            (json!({"type": "text"}), "schema.type is \"text\""),
            (json!({"type": []}), "schema.type is []"),
            (json!({"properties": ["a"]}), "schema.properties must be an object"),
            (json!({"properties": {"a": "string"}}), "schema.properties.a must be a JSON Schema"),
            (json!({"properties": {"a": {"items": {"type": "int"}}}}), "schema.properties.a.items.type is \"int\""),
            (json!({"required": "a"}), "schema.required must be"),
            (json!({"enum": []}), "schema.enum must be"),
            (json!({"anyOf": {}}), "schema.anyOf must be"),
        ] {
            let said = check(&schema).expect_err(&schema.to_string());
            assert!(said.contains(message), "{schema}: {said}");
        }
    }
}
