//! The shape an answer must have: a JSON Schema, written by a script and held against what an agent says. Both are strangers,
//! and judging one by the other runs in the host, so the work is reckoned before it is done: a few lines of schema can name
//! each other so that a moment becomes a century. Nothing is ever fetched.

mod places;

use crate::brief::{TITLE_BYTES_MAX, WHY_BYTES_MAX, brief};
use places::Places;
use serde_json::Value;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use vespiary_kernel::call::Failure;
use vespiary_kernel::json::Json;
use vespiary_kernel::quota::{LimitHit, Meter};

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

/// Memory that matching by one pattern may take on each thread, and keeps, bytes. Where that is too little, matching is slower.
const PATTERN_CACHE_BYTES_MAX: usize = 512 << 10;

/// Different patterns of one schema: with the longest each, they take 16 MiB and some tenths of a second.
const PATTERNS_MAX: usize = 64;

/// Patterns of all schemas that a run comes with, each schema counted once while it is kept. Compiling them is work that no quota
/// of a cell bounds and no stop interrupts.
const RUN_PATTERNS_MAX: u64 = 8_192;

/// Schemas that are kept ready to judge by, and the patterns in them together.
const KEPT_MAX: usize = 16;
const KEPT_PATTERNS_MAX: usize = 128;

/// A checked schema. It is no more than its text: what judges by it is made when there is an answer, since a thousand agents may
/// wait with one each.
#[derive(Debug, Clone)]
pub struct Shape {
    text: Json,
    shapes: Arc<Shapes>,
}

/// The schemas of a run, or of whoever else judges by many. What judges by those that were used last is kept, for all that have the
/// same text.
#[derive(Debug)]
pub struct Shapes {
    kept: Mutex<VecDeque<Arc<Judge>>>,
    /// Patterns that were compiled to check schemas.
    patterns: Meter,
}

/// A schema ready to judge by.
#[derive(Debug)]
struct Judge {
    text: Json,
    schema: Value,
    patterns: usize,
    validator: jsonschema::Validator,
}

/// Why a schema is not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadSchema {
    /// It is none, or none that can be judged by.
    #[error("{0}")]
    Unfit(String),
    /// The run came with too many.
    #[error("{0}")]
    Limit(LimitHit),
}

impl From<String> for BadSchema {
    fn from(why: String) -> Self {
        Self::Unfit(why)
    }
}

impl Shape {
    /// Check that `schema` is a JSON Schema that can be judged by; the error says why not.
    pub fn new(schema: Value) -> Result<Self, String> {
        Shapes::unbounded().shape(schema).map_err(|bad| bad.to_string())
    }

    /// The schema as text, for the agent.
    pub(crate) fn text(&self) -> &Json {
        &self.text
    }

    /// Give the answer back if it has this shape.
    pub fn hold(&self, answer: Json) -> Result<Json, Failure> {
        let judge = self.shapes.judge(&self.text).map_err(|bad| Failure::Failed(format!("schema: {bad}")))?;
        judge.hold(answer)
    }
}

impl Shapes {
    /// Those of a run, which comes with so many patterns at most.
    pub(crate) fn of_run() -> Arc<Self> {
        Self::within(RUN_PATTERNS_MAX)
    }

    /// Those of one whose schemas are counted elsewhere.
    pub(crate) fn unbounded() -> Arc<Self> {
        Self::within(u64::MAX)
    }

    fn within(patterns_max: u64) -> Arc<Self> {
        Arc::new(Self { kept: Mutex::default(), patterns: Meter::new("run-schema-patterns", patterns_max) })
    }

    /// Check that `schema` is a JSON Schema that can be judged by.
    pub(crate) fn shape(self: &Arc<Self>, schema: Value) -> Result<Shape, BadSchema> {
        let text = Json::of(&schema).map_err(|error| error.to_string())?;
        if self.known(&text).is_none() {
            let judge = Judge::of(text.clone(), schema, |patterns| self.patterns.take(patterns))?;
            self.keep(Arc::new(judge));
        }
        Ok(Shape { text, shapes: Arc::clone(self) })
    }

    /// What judges by a schema that was checked before.
    fn judge(&self, text: &Json) -> Result<Arc<Judge>, BadSchema> {
        if let Some(judge) = self.known(text) {
            return Ok(judge);
        }
        let schema = text.read().map_err(|error| error.to_string())?;
        let judge = Arc::new(Judge::of(text.clone(), schema, |_| Ok(()))?);
        self.keep(Arc::clone(&judge));
        Ok(judge)
    }

    fn known(&self, text: &Json) -> Option<Arc<Judge>> {
        let mut kept = self.kept();
        let at = kept.iter().position(|judge| judge.text == *text)?;
        let judge = kept.remove(at)?;
        kept.push_front(Arc::clone(&judge));
        Some(judge)
    }

    /// Keep it for the next, in place of those that nobody used for longest.
    fn keep(&self, judge: Arc<Judge>) {
        let mut kept = self.kept();
        if kept.iter().any(|other| other.text == judge.text) {
            return;
        }
        kept.push_front(judge);
        let patterns = |kept: &VecDeque<Arc<Judge>>| kept.iter().map(|judge| judge.patterns).sum::<usize>();
        while kept.len() > KEPT_MAX || patterns(&kept) > KEPT_PATTERNS_MAX {
            kept.pop_back();
        }
    }

    /// A poisoned lock only means that a thread died between two changes, each whole by itself.
    fn kept(&self) -> MutexGuard<'_, VecDeque<Arc<Judge>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Judge {
    /// `may_compile` is asked before so many patterns are compiled.
    fn of(
        text: Json,
        mut schema: Value,
        may_compile: impl FnOnce(u64) -> Result<(), LimitHit>,
    ) -> Result<Self, BadSchema> {
        let Value::Object(fields) = &mut schema else {
            return Err(BadSchema::Unfit("it must be an object".into()));
        };
        // References begin at the whole, whatever it calls itself; a name of its own could be another schema's as well.
        for name in ["$id", "id"] {
            if fields.get(name).is_some_and(Value::is_string) {
                fields.remove(name);
            }
        }
        let patterns = bounded(&schema)?;
        may_compile(patterns as u64).map_err(BadSchema::Limit)?;
        let options =
            jsonschema::PatternOptions::regex().size_limit(PATTERN_BYTES_MAX).dfa_size_limit(PATTERN_CACHE_BYTES_MAX);
        let built = jsonschema::options().with_pattern_options(options).build(&schema);
        let validator = built.map_err(|error| brief(error.to_string(), WHY_BYTES_MAX))?;
        Ok(Self { text, schema, patterns, validator })
    }

    fn hold(&self, answer: Json) -> Result<Json, Failure> {
        let value: Value = answer.read().map_err(|e| Failure::Failed(e.to_string()))?;
        let mut reckoning = Reckoning { root: &self.schema, known: HashMap::new() };
        if reckoning.steps(&self.schema, &value, 0).is_none_or(|steps| steps > STEPS_MAX) {
            return Err(Failure::Failed(format!(
                "judging the answer by the schema would take more than {STEPS_MAX} steps; make the schema simpler"
            )));
        }
        match self.validator.validate(&value) {
            Ok(()) => Ok(answer),
            Err(error) => {
                // The answer itself may be megabytes, and whoever waits for this one is told as well.
                let place = brief(error.instance_path().to_string(), TITLE_BYTES_MAX);
                let why = brief(error.masked().to_string(), WHY_BYTES_MAX);
                Err(Failure::Failed(format!("the answer does not satisfy the schema at {place:?}: {why}")))
            }
        }
    }
}

/// The number of patterns in a schema that is bounded in every way there is.
fn bounded(schema: &Value) -> Result<usize, String> {
    if count(schema) > VALUES_MAX {
        return Err(format!("it holds more than {VALUES_MAX} values; make it smaller"));
    }
    let places = Places::of(schema)?;
    let patterns = places.patterns();
    if patterns > PATTERNS_MAX {
        return Err(format!("it has {patterns} different patterns; at most {PATTERNS_MAX} are compiled"));
    }
    Unfolding { root: schema, places: &places, known: HashMap::new(), open: HashSet::new() }.check()?;
    Ok(patterns)
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
    places: &'s Places<'s>,
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
            if !self.places.hold(one) {
                return Err("a $ref in it leads to what is no schema: a value, or what has a name of its own".into());
            }
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
            // What a validator that enters a schema with a name of its own would judge by is another `a0`.
            json!({ "$ref": "#/$defs/s/allOf/0", "$defs": { "a0": {}, "s": {
                "$id": "http://example.com/s", "$defs": { "a0": { "type": "string" } }, "allOf": [{ "$ref": "#/$defs/a0" }]
            } } }),
            json!({ "$schema": "http://json-schema.org/draft-04/schema#", "allOf": [{ "$ref": "#/definitions/s/allOf/0" }],
                "definitions": { "a0": {}, "s": { "id": "http://example.com/s",
                    "definitions": { "a0": { "type": "string" } }, "allOf": [{ "$ref": "#/definitions/a0" }] } } }),
            json!({ "$ref": "#/$defs/s", "$defs": { "s": { "$schema": "http://json-schema.org/draft-04/schema#" } } }),
            // Nobody refers to it, and it takes the name that the whole has where it has none.
            json!({ "$defs": { "s": { "$id": "json-schema:///" } } }),
            json!({ "$schema": "http://json-schema.org/draft-07/schema#", "allOf": [{ "$ref": "#/$defs/allOf/0" }],
                "$defs": { "$id": "http://example.com/s", "allOf": [{}] } }),
            // Data is no schema, and neither is what only looks like one.
            json!({ "$ref": "#/default/s", "default": { "s": { "$id": "http://example.com/s" } } }),
            json!({ "$ref": "#/x-words/s", "x-words": { "s": { "$id": "http://example.com/s" } } }),
            json!({ "$ref": "#/x-words/s/allOf/0", "x-words": { "s": { "$id": "http://example.com/s", "allOf": [{}] } } }),
            json!({ "pattern": "(?<=a)b" }),
            json!({ "pattern": "((((a{50}){50}){50}){50}){50}" }),
            json!({ "type": "nonsense" }),
            json!([]),
        ] {
            assert!(Shape::new(schema.clone()).is_err(), "{schema}");
        }
    }

    #[test]
    fn names_of_properties_are_nobodys_business() {
        for schema in [
            json!({ "type": "object", "required": ["id"], "properties": {
                "id": { "type": "string" }, "$id": { "type": "string" }, "$schema": true, "pattern": { "type": "string" },
                "default": { "properties": { "id": { "$ref": "#/$defs/id" } } }, "enum": { "items": { "const": { "id": "a" } } },
            }, "$defs": { "id": { "enum": [{ "$id": "b", "id": "c" }, "d"], "default": { "id": "e" } } } }),
            json!({ "$schema": "http://json-schema.org/draft-04/schema#", "id": "http://example.com/all",
                "properties": { "id": { "type": "string" } } }),
            json!({ "$schema": "http://json-schema.org/draft-07/schema#", "$id": "http://json-schema.org/draft-07/schema#",
                "properties": { "a": { "$ref": "#/definitions/a" } }, "definitions": { "a": { "type": "string" } } }),
            json!({ "dependencies": { "id": ["name"] }, "errorMessage": { "properties": { "id": "must be there" } } }),
            json!({ "$ref": "#/components/schemas/a", "components": { "schemas": { "a": { "type": "object" } } } }),
        ] {
            Shape::new(schema.clone()).unwrap_or_else(|why| panic!("{schema}: {why}"));
        }
        let named = json!({ "$id": "http://json-schema.org/draft-07/schema#", "$ref": "#/$defs/a",
            "$defs": { "a": { "type": "string" } } });
        assert!(hold(named.clone(), json!("text")).is_ok() && hold(named, json!(1)).is_err());
    }

    #[test]
    fn patterns_are_bounded_together() {
        let with = |patterns: usize| {
            let one = |n: usize| (format!("p{n}"), json!({ "pattern": format!("^a{}$", n % patterns) }));
            json!({ "properties": (0..200).map(one).collect::<serde_json::Map<_, _>>() })
        };
        assert!(Shape::new(with(PATTERNS_MAX)).is_ok(), "the same again is compiled once");
        assert!(Shape::new(with(PATTERNS_MAX + 1)).unwrap_err().contains("patterns"));
        let names: serde_json::Map<_, _> = (0..=PATTERNS_MAX).map(|n| (format!("^a{n}"), json!({}))).collect();
        assert!(Shape::new(json!({ "patternProperties": names })).unwrap_err().contains("patterns"));
    }

    #[test]
    fn the_same_schema_is_made_ready_once_and_few_are_kept() {
        let shapes = Shapes::of_run();
        let schema = |n: usize| json!({ "pattern": format!("^a{n}$") });
        let first = shapes.shape(schema(0)).unwrap();
        let judge = shapes.judge(&first.text).unwrap();
        assert!(Arc::ptr_eq(&judge, &shapes.judge(&shapes.shape(schema(0)).unwrap().text).unwrap()));
        assert_eq!(shapes.patterns.used(), 1, "counted once");
        let all: Vec<_> = (0..200).map(|n| shapes.shape(schema(n)).unwrap()).collect();
        assert_eq!((shapes.kept().len(), shapes.patterns.used()), (KEPT_MAX, 200));
        all.iter().for_each(|shape| drop(shape.hold(Json::of(&json!("b")).unwrap()).unwrap_err()));
        assert_eq!((shapes.kept().len(), shapes.patterns.used()), (KEPT_MAX, 200), "judging by them counts nothing");
        let many = |from: usize| {
            let one = |n: usize| (format!("p{n}"), json!({ "pattern": format!("^b{}$", from + n) }));
            json!({ "properties": (0..PATTERNS_MAX).map(one).collect::<serde_json::Map<_, _>>() })
        };
        for from in [0, 100, 200] {
            shapes.shape(many(from)).unwrap();
        }
        assert!(shapes.kept().iter().map(|judge| judge.patterns).sum::<usize>() <= KEPT_PATTERNS_MAX);
    }

    #[test]
    fn a_run_comes_with_so_many_patterns_and_no_more() {
        let shapes = Shapes::within(2);
        let schema = |n: usize| json!({ "pattern": format!("^a{n}$") });
        let known = [schema(0), schema(1)].map(|schema| shapes.shape(schema).unwrap());
        assert!(matches!(shapes.shape(schema(2)), Err(BadSchema::Limit(hit)) if (hit.limit, hit.used) == (2, 3)));
        shapes.shape(json!({ "type": "string" })).unwrap();
        shapes.shape(schema(1)).unwrap();
        assert!(known.iter().all(|shape| shape.hold(Json::of(&json!(1)).unwrap()).is_ok()));
    }

    #[test]
    fn a_misfit_is_not_told_whole() {
        let long = "x".repeat(1 << 20);
        for (schema, answer) in [
            (json!({ "type": "integer" }), json!(long)),
            (json!({ "items": { "enum": [1] } }), json!([long])),
            (json!({ "additionalProperties": { "type": "integer" } }), json!({ &long: "a" })),
            (json!({ "additionalProperties": false }), json!({ &long: 1 })),
        ] {
            let why = hold(schema.clone(), answer).unwrap_err();
            assert!(why.contains("does not satisfy") && why.len() < 4 << 10, "{schema}: {} bytes", why.len());
        }
    }
}
