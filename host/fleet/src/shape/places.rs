//! The schemas in a schema: where a reference may lead. Whoever judges by one follows names of its own within it to other
//! places than a pointer does, so there are none: each reference begins at the whole and ends at a schema found here.

use serde_json::{Map, Value};
use std::collections::HashSet;

/// Keywords with a schema, or an array of them.
const SCHEMAS: [&str; 16] = [
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "if",
    "then",
    "else",
    "items",
    "prefixItems",
    "additionalItems",
    "contains",
    "unevaluatedItems",
    "additionalProperties",
    "unevaluatedProperties",
    "propertyNames",
    "contentSchema",
];

/// Keywords with a schema for each name; the names are anybody's.
const NAMES: [&str; 6] =
    ["properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies"];

/// Keywords with values of any sort, in which nothing is a schema.
const DATA: [&str; 5] = ["const", "enum", "default", "examples", "example"];

/// What makes an object a schema by itself, with names and rules of its own, where its value is text. A property of such a name
/// has a schema for its value.
const OWN: [&str; 3] = ["$id", "id", "$schema"];

/// Every schema in a schema.
#[derive(Debug, Default)]
pub(super) struct Places<'s> {
    known: HashSet<*const Value>,
    patterns: HashSet<&'s str>,
}

/// What a value stands below.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Below {
    Nothing,
    Keywords,
    /// A word that is no keyword: it may hold schemas, and may hold anything else.
    Words,
}

impl Below {
    fn keyword(self) -> Self {
        if self == Self::Words { self } else { Self::Keywords }
    }
}

impl<'s> Places<'s> {
    /// All of them; the error names what must not stand within.
    pub(super) fn of(root: &'s Value) -> Result<Self, String> {
        let mut places = Self::default();
        places.schema(root, Below::Nothing)?;
        Ok(places)
    }

    /// Whether a schema, or what may be one, stands here.
    pub(super) fn hold(&self, schema: &Value) -> bool {
        self.known.contains(&std::ptr::from_ref(schema))
    }

    /// How many different patterns there are.
    pub(super) fn patterns(&self) -> usize {
        self.patterns.len()
    }

    // As deep as the value itself, which was read with a bound on that.
    fn schema(&mut self, value: &'s Value, below: Below) -> Result<(), String> {
        if let Value::Array(all) = value {
            all.iter().try_for_each(|one| self.schema(one, below))?;
        }
        let Value::Object(fields) = value else {
            self.known.insert(value);
            return Ok(());
        };
        if !may_enter(fields, below)? {
            return Ok(());
        }
        self.known.insert(value);
        for (keyword, one) in fields {
            match (keyword.as_str(), one) {
                (word, _) if DATA.contains(&word) => {}
                (word, Value::Object(named)) if NAMES.contains(&word) => self.named(word, named, below.keyword())?,
                (word, one) if NAMES.contains(&word) || SCHEMAS.contains(&word) => self.schema(one, below.keyword())?,
                ("pattern", Value::String(pattern)) => drop(self.patterns.insert(pattern)),
                (_, one) => self.schema(one, Below::Words)?,
            }
        }
        Ok(())
    }

    fn named(&mut self, keyword: &str, named: &'s Map<String, Value>, below: Below) -> Result<(), String> {
        if !may_enter(named, below)? {
            return Ok(());
        }
        if keyword == "patternProperties" {
            self.patterns.extend(named.keys().map(String::as_str));
        }
        named.values().try_for_each(|one| self.schema(one, below))
    }
}

/// Whether what stands in these fields can be part of the whole. Below a word that is no keyword it may be anything: then it is no
/// schema, and nothing refers to it.
fn may_enter(fields: &Map<String, Value>, below: Below) -> Result<bool, String> {
    let own = OWN.iter().find(|name| fields.get(**name).is_some_and(Value::is_string));
    match (own, below) {
        (None, _) | (_, Below::Nothing) => Ok(true),
        (Some(_), Below::Words) => Ok(false),
        (Some(name), Below::Keywords) => {
            Err(format!("only the whole schema may have {name:?}; leave it out of what stands within"))
        }
    }
}
