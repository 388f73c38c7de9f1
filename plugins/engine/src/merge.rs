//! `merge()`: many values made one by a named strategy, with a record of whose each part is. Works on their JSON text, as
//! the script's engine writes it: equal numbers and strings have equal text there, and what passes through stays as it is.

use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::value::RawValue;

/// Nesting of values that are compared or merged field by field; the stack of a cell has room for far more.
const DEPTH_MAX: usize = 100;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Strategy {
    Concat,
    Union,
    First,
    Last,
    Majority,
    Deep,
    Max,
    Min,
    Sum,
}

const STRATEGIES: [(&str, Strategy); 9] = [
    ("concat", Strategy::Concat),
    ("union", Strategy::Union),
    ("first", Strategy::First),
    ("last", Strategy::Last),
    ("majority", Strategy::Majority),
    ("deep", Strategy::Deep),
    ("max", Strategy::Max),
    ("min", Strategy::Min),
    ("sum", Strategy::Sum),
];

/// A value, or a part of one.
#[derive(Clone, Copy)]
struct Part<'a> {
    /// Index of the value it belongs to.
    from: usize,
    json: &'a str,
}

/// Parts that are equal, as the first of them is written.
struct Group<'a> {
    json: &'a str,
    /// Ascending, each once.
    from: Vec<usize>,
}

/// What is told beside the merged value. Paths are JSON pointers into it.
#[derive(Default)]
struct Notes {
    conflicts: Vec<String>,
    provenance: Vec<String>,
}

/// Merge the elements of a JSON array: `{ value, conflicts, provenance, skipped }` as JSON. Null elements are counted and
/// otherwise ignored. `Err` is the message of a TypeError.
pub(crate) fn merge(values: &str, strategy: &str, key: Option<&str>) -> Result<String, String> {
    let Some((_, chosen)) = STRATEGIES.iter().find(|(name, _)| *name == strategy) else {
        let names: Vec<&str> = STRATEGIES.iter().map(|(name, _)| *name).collect();
        return Err(format!("merge() has no strategy {}; the strategies are {}", quoted(strategy), names.join(", ")));
    };
    if key.is_some() && *chosen != Strategy::Union {
        return Err(format!(
            "merge() takes the option `key` with the strategy \"union\" only, not with \"{strategy}\""
        ));
    }
    let all = elements(values)?;
    let parts: Vec<Part<'_>> =
        all.iter().enumerate().filter(|(_, json)| **json != "null").map(|(from, json)| Part { from, json }).collect();
    let mut notes = Notes::default();
    let value = match chosen {
        Strategy::Concat => concat(&parts, &mut notes)?,
        Strategy::Union => union(&parts, key, &mut notes)?,
        Strategy::First => one(parts.first(), &mut notes),
        Strategy::Last => one(parts.last(), &mut notes),
        Strategy::Majority => majority(&parts, &mut notes)?,
        Strategy::Deep if parts.is_empty() => "null".to_owned(),
        Strategy::Deep => deep("", &parts, 0, &mut notes)?,
        Strategy::Max => extreme(&parts, "max", |new, best| new > best, &mut notes)?,
        Strategy::Min => extreme(&parts, "min", |new, best| new < best, &mut notes)?,
        Strategy::Sum => sum(&parts, &mut notes)?,
    };
    Ok(format!(
        r#"{{"value":{value},"conflicts":[{}],"provenance":{{{}}},"skipped":{}}}"#,
        notes.conflicts.join(","),
        notes.provenance.join(","),
        all.len() - parts.len()
    ))
}

// --- strategies -----------------------------------------------------------------------------------------------------

fn concat(parts: &[Part<'_>], notes: &mut Notes) -> Result<String, String> {
    let mut joined = Vec::new();
    for part in parts {
        for json in array(part, "concat")? {
            notes.came(&format!("/{}", joined.len()), &[part.from]);
            joined.push(json);
        }
    }
    Ok(format!("[{}]", joined.join(",")))
}

fn union(parts: &[Part<'_>], key: Option<&str>, notes: &mut Notes) -> Result<String, String> {
    // Items that count as the same, in the order in which the first of each was met.
    let mut kinds: Vec<Vec<Part<'_>>> = Vec::new();
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    for part in parts {
        for json in array(part, "union")? {
            let identity = match key.map(|key| field(json, key)).transpose()?.flatten() {
                Some(name) => format!("key {}", canonical(name, 0)?),
                None => canonical(json, 0)?,
            };
            let at = *known.entry(identity).or_insert(kinds.len());
            if at == kinds.len() {
                kinds.push(Vec::new());
            }
            kinds[at].push(Part { from: part.from, json });
        }
    }
    let mut kept = Vec::with_capacity(kinds.len());
    for (at, kind) in kinds.iter().enumerate() {
        let groups = groups(kind)?;
        let path = format!("/{at}");
        notes.came(&path, &groups[0].from);
        if groups.len() > 1 {
            notes.conflict(&path, &groups);
        }
        kept.push(groups[0].json);
    }
    Ok(format!("[{}]", kept.join(",")))
}

fn one(part: Option<&Part<'_>>, notes: &mut Notes) -> String {
    let Some(part) = part else { return "null".to_owned() };
    notes.came("", &[part.from]);
    part.json.to_owned()
}

fn majority(parts: &[Part<'_>], notes: &mut Notes) -> Result<String, String> {
    if parts.is_empty() || !parts.iter().all(Part::is_object) {
        return elect("", parts, notes);
    }
    by_field(parts)?
        .into_iter()
        .map(|(name, parts)| Ok((elect(&pointer("", &name), &parts, notes)?, name)))
        .collect::<Result<Vec<_>, String>>()
        .map(object)
}

/// The value that most of the parts have; null where two have the same number.
fn elect(path: &str, parts: &[Part<'_>], notes: &mut Notes) -> Result<String, String> {
    let groups = groups(parts)?;
    let most = groups.iter().map(|group| group.from.len()).max().unwrap_or(0);
    let mut first = groups.iter().filter(|group| group.from.len() == most);
    match (first.next(), first.next()) {
        (Some(winner), None) => {
            notes.came(path, &winner.from);
            Ok(winner.json.to_owned())
        }
        (Some(_), Some(_)) => {
            notes.conflict(path, &groups);
            Ok("null".to_owned())
        }
        (None, _) => Ok("null".to_owned()),
    }
}

fn deep(path: &str, parts: &[Part<'_>], depth: usize, notes: &mut Notes) -> Result<String, String> {
    if depth > DEPTH_MAX {
        return Err(too_deep());
    }
    if parts.iter().all(Part::is_object) {
        let fields = by_field(parts)?;
        if !fields.is_empty() {
            return fields
                .into_iter()
                .map(|(name, parts)| Ok((deep(&pointer(path, &name), &parts, depth + 1, notes)?, name)))
                .collect::<Result<Vec<_>, String>>()
                .map(object);
        }
    }
    let groups = groups(parts)?;
    if groups.len() > 1 {
        notes.conflict(path, &groups);
        return Ok("null".to_owned());
    }
    notes.came(path, &groups[0].from);
    Ok(groups[0].json.to_owned())
}

fn extreme(
    parts: &[Part<'_>],
    strategy: &str,
    better: impl Fn(f64, f64) -> bool,
    notes: &mut Notes,
) -> Result<String, String> {
    let mut best: Option<(f64, Group<'_>)> = None;
    for part in parts {
        let new = number(part, strategy)?;
        match &mut best {
            Some((old, group)) if !better(new, *old) => {
                if !better(*old, new) {
                    group.from.push(part.from);
                }
            }
            _ => best = Some((new, Group { json: part.json, from: vec![part.from] })),
        }
    }
    let Some((_, group)) = best else { return Ok("null".to_owned()) };
    notes.came("", &group.from);
    Ok(group.json.to_owned())
}

fn sum(parts: &[Part<'_>], notes: &mut Notes) -> Result<String, String> {
    let mut total = 0.0;
    for part in parts {
        total += number(part, "sum")?;
    }
    let from: Vec<usize> = parts.iter().map(|part| part.from).collect();
    if !from.is_empty() {
        notes.came("", &from);
    }
    if !f64::is_finite(total) {
        return Err("merge(): the sum is too large for a number".to_owned());
    }
    // Without an exponent or with one, the shortest text that reads as the same number.
    Ok(format!("{total:?}"))
}

// --- parts ----------------------------------------------------------------------------------------------------------

impl Part<'_> {
    fn is_object(&self) -> bool {
        self.json.starts_with('{')
    }

    fn misfit(&self, strategy: &str, wanted: &str) -> String {
        let found = match self.json.as_bytes().first() {
            Some(b'{') => "an object",
            Some(b'[') => "an array",
            Some(b'"') => "a string",
            Some(b't' | b'f') => "a boolean",
            _ => "a number",
        };
        format!("merge(): the strategy \"{strategy}\" takes {wanted}; value [{}] is {found}", self.from)
    }
}

fn array<'a>(part: &Part<'a>, strategy: &str) -> Result<Vec<&'a str>, String> {
    if !part.json.starts_with('[') {
        return Err(part.misfit(strategy, "arrays"));
    }
    elements(part.json)
}

fn number(part: &Part<'_>, strategy: &str) -> Result<f64, String> {
    if !part.json.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
        return Err(part.misfit(strategy, "numbers"));
    }
    part.json.parse().map_err(|_| part.misfit(strategy, "numbers"))
}

/// The parts of every field, in the order of the fields' names.
fn by_field<'a>(parts: &[Part<'a>]) -> Result<BTreeMap<String, Vec<Part<'a>>>, String> {
    let mut found: BTreeMap<String, Vec<Part<'a>>> = BTreeMap::new();
    for part in parts {
        for (name, json) in fields(part.json)? {
            found.entry(name).or_default().push(Part { from: part.from, json });
        }
    }
    Ok(found)
}

/// Equal parts together, in the order in which the first of each was met.
fn groups<'a>(parts: &[Part<'a>]) -> Result<Vec<Group<'a>>, String> {
    let mut found: Vec<Group<'a>> = Vec::new();
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    for part in parts {
        let at = *known.entry(canonical(part.json, 0)?).or_insert(found.len());
        if at == found.len() {
            found.push(Group { json: part.json, from: Vec::new() });
        }
        let from = &mut found[at].from;
        if from.last() != Some(&part.from) {
            from.push(part.from);
        }
    }
    Ok(found)
}

// --- text -----------------------------------------------------------------------------------------------------------

/// The same text for the same value, whatever the order of its fields.
fn canonical(json: &str, depth: usize) -> Result<String, String> {
    if depth > DEPTH_MAX {
        return Err(too_deep());
    }
    match json.as_bytes().first() {
        Some(b'{') => fields(json)?
            .into_iter()
            .map(|(name, json)| Ok((canonical(json, depth + 1)?, name)))
            .collect::<Result<Vec<_>, String>>()
            .map(object),
        Some(b'[') => {
            let items: Result<Vec<_>, _> = elements(json)?.into_iter().map(|json| canonical(json, depth + 1)).collect();
            Ok(format!("[{}]", items?.join(",")))
        }
        _ => Ok(json.to_owned()),
    }
}

fn elements(json: &str) -> Result<Vec<&str>, String> {
    let items: Vec<&RawValue> = serde_json::from_str(json).map_err(unreadable)?;
    Ok(items.into_iter().map(RawValue::get).collect())
}

fn fields(json: &str) -> Result<BTreeMap<String, &str>, String> {
    let fields: BTreeMap<String, &RawValue> = serde_json::from_str(json).map_err(unreadable)?;
    Ok(fields.into_iter().map(|(name, json)| (name, json.get())).collect())
}

fn field<'a>(json: &'a str, key: &str) -> Result<Option<&'a str>, String> {
    if json.starts_with('{') { Ok(fields(json)?.remove(key)) } else { Ok(None) }
}

/// An object of values and their names.
fn object(fields: Vec<(String, String)>) -> String {
    let fields: Vec<String> = fields.into_iter().map(|(json, name)| format!("{}:{json}", quoted(&name))).collect();
    format!("{{{}}}", fields.join(","))
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

fn pointer(path: &str, name: &str) -> String {
    format!("{path}/{}", name.replace('~', "~0").replace('/', "~1"))
}

fn indices(from: &[usize]) -> String {
    let from: Vec<String> = from.iter().map(usize::to_string).collect();
    format!("[{}]", from.join(","))
}

fn too_deep() -> String {
    "merge(): a value is nested too deeply; make it flatter".to_owned()
}

fn unreadable(error: serde_json::Error) -> String {
    format!("merge(): a value cannot be read: {error}")
}

impl Notes {
    fn came(&mut self, path: &str, from: &[usize]) {
        self.provenance.push(format!("{}:{}", quoted(path), indices(from)));
    }

    fn conflict(&mut self, path: &str, groups: &[Group<'_>]) {
        let values: Vec<String> = groups
            .iter()
            .map(|group| format!(r#"{{"value":{},"from":{}}}"#, group.json, indices(&group.from)))
            .collect();
        self.conflicts.push(format!(r#"{{"path":{},"values":[{}]}}"#, quoted(path), values.join(",")));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn merged(values: Value, strategy: &str, key: Option<&str>) -> Value {
        let text = merge(&values.to_string(), strategy, key).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    fn plain(value: Value, provenance: Value, skipped: usize) -> Value {
        json!({"value": value, "conflicts": [], "provenance": provenance, "skipped": skipped})
    }

    #[test]
    fn lists_are_joined_with_and_without_repetition() {
        let lists = json!([[1, {"a": 1, "b": 2}], null, [{"b": 2, "a": 1}, 1, 1, null], []]);
        assert_eq!(
            merged(lists.clone(), "concat", None),
            plain(
                json!([1, {"a": 1, "b": 2}, {"a": 1, "b": 2}, 1, 1, null]),
                json!({"/0": [0], "/1": [0], "/2": [2], "/3": [2], "/4": [2], "/5": [2]}),
                1
            )
        );
        assert_eq!(
            merged(lists, "union", None),
            plain(json!([1, {"a": 1, "b": 2}, null]), json!({"/0": [0, 2], "/1": [0, 2], "/2": [2]}), 1)
        );
    }

    #[test]
    fn items_with_one_key_are_one_item_and_differences_are_conflicts() {
        let lists =
            json!([[{"id": "a", "n": 1}, {"id": "b"}, "a"], [{"id": "a", "n": 2}], [{"id": "a", "n": 1}, {"n": 3}]]);
        assert_eq!(
            merged(lists, "union", Some("id")),
            json!({
                "value": [{"id": "a", "n": 1}, {"id": "b"}, "a", {"n": 3}],
                "conflicts": [{"path": "/0", "values": [
                    {"value": {"id": "a", "n": 1}, "from": [0, 2]}, {"value": {"id": "a", "n": 2}, "from": [1]}]}],
                "provenance": {"/0": [0, 2], "/1": [0], "/2": [0], "/3": [2]},
                "skipped": 0,
            })
        );
    }

    #[test]
    fn one_value_is_taken_from_an_end() {
        let values = json!([null, {"b": 1, "a": 2}, 3, null]);
        assert_eq!(merged(values.clone(), "first", None), plain(json!({"b": 1, "a": 2}), json!({"": [1]}), 2));
        assert_eq!(merged(values, "last", None), plain(json!(3), json!({"": [2]}), 2));
        // As it was written, fields in their order.
        assert!(merge(r#"[{"b":1,"a":1e+21}]"#, "first", None).unwrap().starts_with(r#"{"value":{"b":1,"a":1e+21},"#));
    }

    #[test]
    fn a_majority_decides_each_field() {
        let values = json!([{"a": 1, "b": "x", "c": [1]}, {"a": 1, "b": "y"}, null, {"a": 2, "b": null, "c": [1]}]);
        assert_eq!(
            merged(values, "majority", None),
            json!({
                "value": {"a": 1, "b": null, "c": [1]},
                "conflicts": [{"path": "/b", "values": [
                    {"value": "x", "from": [0]}, {"value": "y", "from": [1]}, {"value": null, "from": [3]}]}],
                "provenance": {"/a": [0, 1], "/c": [0, 3]},
                "skipped": 1,
            })
        );
        assert_eq!(merged(json!(["x", "y", "y", {}]), "majority", None), plain(json!("y"), json!({"": [1, 2]}), 0));
        assert_eq!(merged(json!([true, false]), "majority", None)["conflicts"][0]["path"], json!(""));
    }

    #[test]
    fn objects_are_merged_to_their_leaves() {
        let values =
            json!([{"a": {"x": 1, "y/~": [1]}, "only": {}}, {"a": {"x": 1, "z": 3}}, {"a": {"x": 2, "y/~": [1]}}]);
        assert_eq!(
            merged(values, "deep", None),
            json!({
                "value": {"a": {"x": null, "y/~": [1], "z": 3}, "only": {}},
                "conflicts": [{"path": "/a/x", "values": [{"value": 1, "from": [0, 1]}, {"value": 2, "from": [2]}]}],
                "provenance": {"/a/y~1~0": [0, 2], "/a/z": [1], "/only": [0]},
                "skipped": 0,
            })
        );
        assert_eq!(
            merged(json!([{"a": {"b": 1}}, {"a": 7}]), "deep", None)["conflicts"],
            json!([{"path": "/a", "values": [{"value": {"b": 1}, "from": [0]}, {"value": 7, "from": [1]}]}])
        );
        assert_eq!(merged(json!([[1], [1]]), "deep", None), plain(json!([1]), json!({"": [0, 1]}), 0));
        assert_eq!(merged(json!([{}, {"k": 1}]), "deep", None), plain(json!({"k": 1}), json!({"/k": [1]}), 0));
    }

    #[test]
    fn numbers_are_compared_and_added() {
        let values = json!([2, null, 0.1, 2, -3]);
        assert_eq!(merged(values.clone(), "max", None), plain(json!(2), json!({"": [0, 3]}), 1));
        assert_eq!(merged(values.clone(), "min", None), plain(json!(-3), json!({"": [4]}), 1));
        assert_eq!(merged(values, "sum", None)["provenance"], json!({"": [0, 2, 3, 4]}));
        assert!(merge("[0.1,0.2]", "sum", None).unwrap().contains(r#""value":0.30000000000000004,"#));
        assert!(merge("[1e+300,1e+300]", "sum", None).unwrap().contains(r#""value":2e300,"#));
        assert!(merge("[1e+308,1e+308]", "sum", None).unwrap_err().contains("too large"));
    }

    #[test]
    fn nothing_merges_to_nothing() {
        for (strategy, value) in [
            ("concat", json!([])),
            ("union", json!([])),
            ("first", json!(null)),
            ("last", json!(null)),
            ("majority", json!(null)),
            ("deep", json!(null)),
            ("max", json!(null)),
            ("min", json!(null)),
            ("sum", json!(0.0)),
        ] {
            assert_eq!(merged(json!([null, null]), strategy, None), plain(value, json!({}), 2), "{strategy}");
        }
    }

    #[test]
    fn what_a_strategy_cannot_take_is_named() {
        for (values, strategy, key, message) in [
            (
                "[]",
                "average",
                None,
                "no strategy \"average\"; the strategies are concat, union, first, last, majority, deep, max, min, sum",
            ),
            ("[[1],2]", "concat", None, "the strategy \"concat\" takes arrays; value [1] is a number"),
            ("[{}]", "union", None, "takes arrays; value [0] is an object"),
            ("[null,\"5\"]", "sum", None, "takes numbers; value [1] is a string"),
            ("[true]", "max", None, "takes numbers; value [0] is a boolean"),
            ("[[1]]", "min", None, "takes numbers; value [0] is an array"),
            ("[[1]]", "concat", Some("id"), "`key` with the strategy \"union\" only"),
        ] {
            let said = merge(values, strategy, key).expect_err(values);
            assert!(said.contains(message), "{values} {strategy}: {said}");
        }
        let deep = format!("[{}1{}]", "[".repeat(200), "]".repeat(200));
        assert!(merge(&deep, "majority", None).unwrap_err().contains("nested too deeply"));
        let deep = format!("[{}1{}]", "{\"a\":".repeat(200), "}".repeat(200));
        assert!(merge(&deep, "deep", None).unwrap_err().contains("nested too deeply"));
        assert!(merge(&deep, "last", None).is_ok());
    }
}
