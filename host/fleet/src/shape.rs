//! The shape an answer must have: a JSON Schema, written by a script and held against what an agent says. Both are strangers,
//! and judging one by the other runs in the host, so the work is reckoned before it is done: a few lines of schema can name
//! each other so that a moment becomes a century. Nothing is ever fetched.

use serde_json::Value;
use std::collections::{HashMap, HashSet};
use vespiary_kernel::call::Failure;
use vespiary_kernel::json::Json;

/// Values in a schema.
const VALUES_MAX: usize = 20_000;

/// How far a schema may reach when every reference in it is followed once.
const UNFOLDED_MAX: u64 = 100_000;

/// Schemas within schemas, references counted: each costs the validator a frame on its stack.
const DEPTH_MAX: usize = 128;

/// The same while an answer is walked through, so that an answer cannot make a schema that names itself deeper.
const WALK_DEPTH_MAX: usize = 256;

/// Steps for one answer. A million take some tens of milliseconds.
const STEPS_MAX: u64 = 4_000_000;

/// Pairs of a schema and a value that are reckoned for one answer; more would cost more memory than the answer itself.
const PAIRS_MAX: usize = 500_000;

/// What a character of a text costs where a pattern is held against it: the largest pattern is slow.
const STEPS_A_CHARACTER: u64 = 16;

/// Memory one pattern may compile to, bytes. Bounds the time of a match together with the text's length.
const PATTERN_BYTES_MAX: usize = 256 << 10;

/// A checked schema.
#[derive(Debug)]
pub struct Shape {
    text: Json,
    schema: Value,
    validator: jsonschema::Validator,
}

impl Shape {
    /// Check that `schema` is a JSON Schema that can be judged by; the error says why not.
    pub fn new(schema: Value) -> Result<Self, String> {
        if !schema.is_object() {
            return Err("it must be an object".into());
        }
        if count(&schema) > VALUES_MAX {
            return Err(format!("it holds more than {VALUES_MAX} values; make it smaller"));
        }
        Unfolding { root: &schema, known: HashMap::new(), open: HashSet::new() }.check()?;
        let patterns = jsonschema::PatternOptions::regex().size_limit(PATTERN_BYTES_MAX);
        let validator =
            jsonschema::options().with_pattern_options(patterns).build(&schema).map_err(|e| e.to_string())?;
        let text = Json::of(&schema).map_err(|e| e.to_string())?;
        Ok(Self { text, schema, validator })
    }

    /// The schema as text, for the agent.
    pub(crate) fn text(&self) -> &Json {
        &self.text
    }

    /// Give the answer back if it has this shape.
    pub fn hold(&self, answer: Json) -> Result<Json, Failure> {
        let value: Value = answer.read().map_err(|e| Failure::Failed(e.to_string()))?;
        let mut reckoning = Reckoning { root: &self.schema, known: HashMap::new() };
        if reckoning.steps(&self.schema, &value, 0).is_none_or(|steps| steps > STEPS_MAX) {
            return Err(Failure::Failed(format!(
                "judging the answer by the schema would take more than {STEPS_MAX} steps; make the schema simpler"
            )));
        }
        match self.validator.validate(&value) {
            Ok(()) => Ok(answer),
            Err(error) => Err(Failure::Failed(format!(
                "the answer does not satisfy the schema at {:?}: {error}",
                error.instance_path().to_string()
            ))),
        }
    }
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(fields) => fields.values().map(count).sum(),
        _ => 0,
    }
}

/// What a schema within a schema is held against.
enum Against<'s> {
    /// The same value.
    Same,
    /// Each element of an array.
    Elements,
    /// Each member of an object.
    Members,
    /// The member of that name.
    Member(&'s str),
    /// Each name of an object.
    Names,
}

/// The schemas directly within `schema`, the ones it refers to included.
fn within<'s>(root: &'s Value, schema: &'s Value) -> Result<Vec<(Against<'s>, &'s Value)>, String> {
    let mut found = Vec::new();
    let Value::Object(fields) = schema else { return Ok(found) };
    for (keyword, value) in fields {
        match (keyword.as_str(), value) {
            ("allOf" | "anyOf" | "oneOf", Value::Array(all)) => {
                found.extend(all.iter().map(|one| (Against::Same, one)));
            }
            ("not" | "if" | "then" | "else", one) => found.push((Against::Same, one)),
            ("dependentSchemas" | "dependencies", Value::Object(all)) => {
                found.extend(all.values().map(|one| (Against::Same, one)));
            }
            ("items" | "prefixItems", Value::Array(all)) => {
                found.extend(all.iter().map(|one| (Against::Elements, one)));
            }
            ("items" | "additionalItems" | "contains" | "unevaluatedItems", one) => {
                found.push((Against::Elements, one));
            }
            ("properties", Value::Object(all)) => {
                found.extend(all.iter().map(|(name, one)| (Against::Member(name), one)));
            }
            ("patternProperties", Value::Object(all)) => {
                found.extend(all.values().map(|one| (Against::Members, one)));
            }
            ("additionalProperties" | "unevaluatedProperties", one) => found.push((Against::Members, one)),
            ("propertyNames", one) => found.push((Against::Names, one)),
            ("$ref", Value::String(reference)) => found.push((Against::Same, referred(root, reference)?)),
            ("$dynamicRef" | "$recursiveRef" | "$dynamicAnchor" | "$recursiveAnchor", _) => {
                return Err(format!("{keyword} is not supported; use $ref"));
            }
            ("$id", _) if !std::ptr::eq(schema, root) => {
                return Err("only the whole schema may have an $id; leave it out here".into());
            }
            _ => {}
        }
    }
    Ok(found)
}

/// What a reference names: a place in this schema, and nothing elsewhere.
fn referred<'s>(root: &'s Value, reference: &str) -> Result<&'s Value, String> {
    let unknown = || format!("$ref {:?} names nothing in it", reference.chars().take(80).collect::<String>());
    match reference.strip_prefix('#') {
        None => Err(format!("{}; only references that begin with '#' are followed", unknown())),
        Some("") => Ok(root),
        Some(pointer) if pointer.starts_with('/') && !pointer.contains('%') => {
            root.pointer(pointer).ok_or_else(unknown)
        }
        Some(_) => Err(format!("{}; write the place as #/$defs/NAME", unknown())),
    }
}

/// How far a schema reaches when its references are followed.
struct Unfolding<'s> {
    root: &'s Value,
    known: HashMap<*const Value, u64>,
    open: HashSet<*const Value>,
}

impl<'s> Unfolding<'s> {
    fn check(mut self) -> Result<(), String> {
        let reach = self.reach(self.root, 0)?;
        if reach > UNFOLDED_MAX {
            return Err("it names itself over and over: followed once each, its references reach too far".into());
        }
        Ok(())
    }

    fn reach(&mut self, schema: &'s Value, depth: usize) -> Result<u64, String> {
        let place = std::ptr::from_ref(schema);
        if let Some(known) = self.known.get(&place) {
            return Ok(*known);
        }
        // A schema that names itself is followed when an answer is walked through, as far as that goes.
        if !self.open.insert(place) {
            return Ok(1);
        }
        if depth > DEPTH_MAX {
            return Err(format!("it is more than {DEPTH_MAX} schemas deep; make it flatter"));
        }
        let mut reach = 1u64;
        for (_, one) in within(self.root, schema)? {
            reach = reach.saturating_add(self.reach(one, depth + 1)?);
        }
        self.open.remove(&place);
        self.known.insert(place, reach);
        Ok(reach)
    }
}

/// How many steps it takes to hold a value against a schema, each pair of the two reckoned once.
struct Reckoning<'s> {
    root: &'s Value,
    known: HashMap<(*const Value, *const Value), u64>,
}

impl<'s> Reckoning<'s> {
    /// `None`: too many to be worth reckoning.
    fn steps(&mut self, schema: &'s Value, value: &Value, depth: usize) -> Option<u64> {
        let pair = (std::ptr::from_ref(schema), std::ptr::from_ref(value));
        if let Some(known) = self.known.get(&pair) {
            return Some(*known);
        }
        if depth > WALK_DEPTH_MAX || self.known.len() > PAIRS_MAX {
            return None;
        }
        let mut steps = own(schema, value);
        for (against, one) in within(self.root, schema).ok()? {
            let mut add = |held: &Value| {
                steps = steps.saturating_add(self.steps(one, held, depth + 1)?);
                (steps <= STEPS_MAX).then_some(())
            };
            match (against, value) {
                (Against::Same, value) => add(value)?,
                (Against::Elements, Value::Array(items)) => items.iter().try_for_each(add)?,
                (Against::Members, Value::Object(fields)) => fields.values().try_for_each(add)?,
                (Against::Member(name), Value::Object(fields)) => fields.get(name).map_or(Some(()), add)?,
                (Against::Names, Value::Object(fields)) => {
                    let characters: u64 = fields.keys().map(|name| name.len() as u64).sum();
                    steps = steps.saturating_add(characters.saturating_mul(STEPS_A_CHARACTER));
                }
                _ => {}
            }
        }
        // What is not evaluated yet is found out by evaluating the rest once more.
        if schema.get("unevaluatedItems").is_some() || schema.get("unevaluatedProperties").is_some() {
            steps = steps.saturating_mul(2);
        }
        self.known.insert(pair, steps);
        Some(steps)
    }
}

/// What one schema costs by itself: its size, and the texts its patterns are held against.
fn own(schema: &Value, value: &Value) -> u64 {
    let Value::Object(fields) = schema else { return 1 };
    let listed = |keyword: &str| fields.get(keyword).map_or(0, |list| count(list) as u64);
    let names = |fields: &serde_json::Map<String, Value>| fields.keys().map(|name| name.len() as u64).sum::<u64>();
    let characters = match value {
        Value::String(text) if fields.contains_key("pattern") => text.len() as u64,
        Value::Object(members) => match fields.get("patternProperties") {
            Some(Value::Object(patterns)) => names(members).saturating_mul(patterns.len() as u64),
            _ => 0,
        },
        _ => 0,
    };
    let compared = listed("enum").saturating_add(listed("const")).saturating_mul(1 + count(value) as u64 / 8);
    (1 + fields.len() as u64 + listed("required"))
        .saturating_add(compared)
        .saturating_add(characters.saturating_mul(STEPS_A_CHARACTER))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn hold(schema: Value, answer: Value) -> Result<(), String> {
        let shape = Shape::new(schema)?;
        shape.hold(Json::of(&answer).unwrap()).map(drop).map_err(|failure| failure.to_string())
    }

    /// Each level names the next one twice.
    fn doubling(levels: usize, word: &str, last: Value) -> Value {
        let mut defs = serde_json::Map::new();
        for level in 0..levels {
            let next = json!({ "$ref": format!("#/$defs/a{}", level + 1) });
            defs.insert(format!("a{level}"), json!({ word: [next, next] }));
        }
        defs.insert(format!("a{levels}"), last);
        json!({ "$ref": "#/$defs/a0", "$defs": defs })
    }

    #[test]
    fn what_people_write_is_judged() {
        let tree = json!({
            "$id": "https://example.com/tree", "type": "object", "required": ["name"], "properties": {
                "name": { "type": "string", "pattern": "^\\w{1,64}$" },
                "children": { "type": "array", "items": { "$ref": "#" } },
                "kind": { "enum": ["a", "b"] },
            }, "additionalProperties": false
        });
        let leaf = json!({ "name": "leaf", "kind": "b" });
        assert_eq!(hold(tree.clone(), json!({ "name": "root", "children": [leaf, leaf] })), Ok(()));
        let wrong = hold(tree.clone(), json!({ "name": "root", "children": [{ "name": 1 }] })).unwrap_err();
        assert!(wrong.contains("/children/0/name"), "{wrong}");
        let many: Vec<_> = (0..10_000).map(|n| json!({ "name": format!("n{n}") })).collect();
        assert_eq!(hold(tree, json!({ "name": "root", "children": many })), Ok(()));
    }

    #[test]
    fn what_unfolds_without_end_is_refused_before_anything_is_judged() {
        for word in ["allOf", "anyOf", "oneOf"] {
            let why = Shape::new(doubling(40, word, json!({}))).unwrap_err();
            assert!(why.contains("reach too far"), "{why}");
        }
        let chain = |levels: usize| {
            let defs: serde_json::Map<_, _> = (0..levels)
                .map(|n| (format!("a{n}"), json!({ "$ref": format!("#/$defs/a{}", (n + 1).min(levels - 1)) })))
                .collect();
            json!({ "$ref": "#/$defs/a0", "$defs": defs })
        };
        assert!(Shape::new(chain(9_000)).unwrap_err().contains("deep"));
        assert!(Shape::new(json!({ "enum": vec![1; VALUES_MAX] })).unwrap_err().contains("values"));
    }

    #[test]
    fn what_an_answer_makes_endless_is_refused_with_it() {
        // Two ways down at each level of the answer, and neither ends well.
        let schema = json!({ "$ref": "#/$defs/a", "$defs": { "a": {
            "anyOf": [{ "items": { "$ref": "#/$defs/a" }, "minItems": 1 }, { "items": { "$ref": "#/$defs/a" }, "maxItems": 9 }]
        } } });
        let mut answer = json!(1);
        for _ in 0..100 {
            answer = json!([answer]);
        }
        let began = std::time::Instant::now();
        assert!(hold(schema.clone(), answer).unwrap_err().contains("steps"));
        assert!(hold(schema, json!([[[1]]])).is_ok());
        let text = "a".repeat(1 << 20);
        assert!(hold(json!({ "pattern": "^(a+)+$" }), json!(text)).unwrap_err().contains("steps"));
        assert!(hold(json!({ "pattern": "^(a+)+$" }), json!("aaab")).unwrap_err().contains("schema"));
        assert!(began.elapsed() < std::time::Duration::from_secs(60), "{:?}", began.elapsed());
    }

    #[test]
    fn nothing_is_looked_for_elsewhere() {
        for schema in [
            json!({ "$ref": "http://example.com/a" }),
            json!({ "$ref": "file:///etc/passwd" }),
            json!({ "$ref": "#anchor", "$anchor": "anchor" }),
            json!({ "$dynamicRef": "#a" }),
            json!({ "properties": { "a": { "$id": "http://example.com/b" } } }),
            json!({ "$ref": "#/$defs/missing" }),
            json!({ "pattern": "(?<=a)b" }),
            json!({ "pattern": "((((a{50}){50}){50}){50}){50}" }),
            json!({ "type": "nonsense" }),
            json!([]),
        ] {
            assert!(Shape::new(schema.clone()).is_err(), "{schema}");
        }
    }
}
