//! A provider without a model: it makes up answers that fit the schema, the same ones for the same prompt and seed. For trying
//! a workflow before it costs anything, and for tests; nothing it says means anything.

use serde_json::{Map, Value};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;
use vespiary_fleet::provider::{ModelAnswer, ModelRequest, Price, Provider, ProviderError};
use vespiary_kernel::ids::Digest;
use vespiary_kernel::model::ModelName;
use vespiary_kernel::ports::BoxFuture;

/// How deep an answer goes; below that, what need not be there is left out.
const DEPTH_MAX: usize = 12;
/// The longest array, and the longest text that a schema's least length asks for.
const LENGTH_MAX: u64 = 1_000;

/// How the made-up answers are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MockSettings {
    /// Other answers for another seed.
    pub seed: u64,
    /// How long each answer takes, milliseconds.
    pub latency_ms: u64,
    /// The part of requests that fail for now, from 0 to 1.
    pub fail: f64,
    /// The part of prompts that are refused for good, from 0 to 1.
    pub refuse: f64,
    /// Tokens billed for each answer; 0: a fourth of its bytes.
    pub tokens: u64,
    /// US dollars for a million tokens sent.
    pub price_in: f64,
    /// US dollars for a million tokens received.
    pub price_out: f64,
}

impl Default for MockSettings {
    fn default() -> Self {
        Self { seed: 0, latency_ms: 0, fail: 0.0, refuse: 0.0, tokens: 0, price_in: 0.0, price_out: 0.0 }
    }
}

impl FromStr for MockSettings {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut settings = Self::default();
        for setting in text.split(',') {
            let (name, value) = setting.split_once('=').ok_or_else(|| format!("{setting:?} has no value"))?;
            let whole = || value.parse::<u64>().map_err(|_| format!("{name} is {value:?}; give a whole number"));
            let number = |most: f64| {
                let number = value.parse::<f64>().ok().filter(|n| (0.0..=most).contains(n));
                number.ok_or_else(|| format!("{name} is {value:?}; give a number between 0 and {most}"))
            };
            match name {
                "seed" => settings.seed = whole()?,
                "latency-ms" => settings.latency_ms = whole()?,
                "tokens" => settings.tokens = whole()?,
                "fail" => settings.fail = number(1.0)?,
                "refuse" => settings.refuse = number(1.0)?,
                "price-in" => settings.price_in = number(1e6)?,
                "price-out" => settings.price_out = number(1e6)?,
                _ => {
                    let known = "seed, latency-ms, fail, refuse, tokens, price-in and price-out";
                    return Err(format!("there is no setting {name:?}; there are {known}"));
                }
            }
        }
        Ok(settings)
    }
}

impl fmt::Display for MockSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, latency_ms, fail, refuse, tokens, price_in, price_out } = self;
        write!(f, "seed={seed},latency-ms={latency_ms},fail={fail},refuse={refuse},tokens={tokens},")?;
        write!(f, "price-in={price_in},price-out={price_out}")
    }
}

/// The provider.
#[derive(Debug)]
pub struct Mock {
    settings: MockSettings,
}

impl Mock {
    /// One that answers so.
    pub fn new(settings: MockSettings) -> Self {
        Self { settings }
    }

    fn chance(&self, of: &str, request: &ModelRequest, attempt: u32) -> Chance {
        let text = format!("{}\0{of}\0{attempt}\0{}\0{}", self.settings.seed, request.model, request.prompt);
        Chance::of(text.as_bytes())
    }

    fn answer(&self, request: &ModelRequest) -> Result<ModelAnswer, ProviderError> {
        if self.chance("refuse", request, 0).part() < self.settings.refuse {
            return Err(ProviderError::Permanent(
                "the mock refuses this prompt, as --provider mock:refuse asks".into(),
            ));
        }
        if self.chance("fail", request, request.attempt).part() < self.settings.fail {
            let why = "the mock fails this once, as --provider mock:fail asks".into();
            return Err(ProviderError::Temporary { why, retry_after: Some(Duration::ZERO) });
        }
        let mut chance = self.chance("answer", request, 0);
        let schema = request.schema.as_ref().and_then(|schema| schema.read::<Value>().ok());
        let mut text = match &schema {
            Some(schema) => made_up(schema, schema, &mut chance, 0).to_string(),
            None => format!("A made-up answer, {:08x}, to: {}", chance.next() as u32, first_line(&request.prompt)),
        };
        let billed = match self.settings.tokens {
            0 => tokens(&text),
            set => set,
        };
        // As a model that is cut off at its limit.
        if billed > request.output_tokens_max {
            text.truncate(
                text.floor_char_boundary(usize::try_from(request.output_tokens_max * 4).unwrap_or(usize::MAX)),
            );
        }
        let output_tokens = billed.min(request.output_tokens_max);
        Ok(ModelAnswer { text, input_tokens: tokens(&request.prompt), output_tokens })
    }
}

impl Provider for Mock {
    fn name(&self) -> &str {
        "mock"
    }

    fn default_model(&self) -> &str {
        "standard"
    }

    fn price(&self, _: &ModelName) -> Price {
        // Dollars for a million are millionths of a dollar for one; a float to an integer saturates.
        let micros = |dollars: f64| (dollars * 1e6) as u64;
        Price { input: micros(self.settings.price_in), output: micros(self.settings.price_out) }
    }

    fn input_tokens_max(&self, request: &ModelRequest) -> u64 {
        tokens(&request.prompt)
    }

    fn ask(&self, request: ModelRequest) -> BoxFuture<'_, Result<ModelAnswer, ProviderError>> {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(self.settings.latency_ms)).await;
            self.answer(&request)
        })
    }
}

/// A rough count, the one that providers give as a rule of thumb.
pub(super) fn tokens(text: &str) -> u64 {
    (text.len() as u64).div_ceil(4).max(1)
}

pub(super) fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let kept = &line[..line.floor_char_boundary(80)];
    if kept.len() < line.len() { format!("{kept}…") } else { kept.to_owned() }
}

/// Numbers that look random and follow from a text.
struct Chance {
    seed: [u8; 32],
    drawn: u64,
}

impl Chance {
    fn of(text: &[u8]) -> Self {
        Self { seed: *Digest::of(text).as_bytes(), drawn: 0 }
    }

    fn next(&mut self) -> u64 {
        self.drawn += 1;
        let mixed = [self.seed.as_slice(), &self.drawn.to_le_bytes()].concat();
        let bytes = *Digest::of(&mixed).as_bytes();
        bytes[..8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    /// From 0 up to, not including, 1.
    fn part(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// From `least` to `most`, both included.
    fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.next() % (most.saturating_sub(least)).saturating_add(1).max(1)
    }
}

/// A value that fits `schema`, as far as its common keywords say. What it cannot fit, the check of the answer finds.
fn made_up(root: &Value, schema: &Value, chance: &mut Chance, depth: usize) -> Value {
    let Value::Object(rules) = schema else { return Value::from(true) };
    if let Some(value) = rules.get("const") {
        return value.clone();
    }
    if let Some(Value::Array(values)) = rules.get("enum")
        && !values.is_empty()
    {
        return values[chance.next() as usize % values.len()].clone();
    }
    if let Some(Value::String(reference)) = rules.get("$ref")
        && depth < DEPTH_MAX * 2
        && let Some(target) = reference.strip_prefix('#').and_then(|pointer| root.pointer(pointer))
    {
        return made_up(root, target, chance, depth + 1);
    }
    for keyword in ["anyOf", "oneOf"] {
        if let Some(Value::Array(all)) = rules.get(keyword)
            && !all.is_empty()
        {
            // Deep down the last is most likely the one that ends.
            let at = if depth < DEPTH_MAX { chance.next() as usize % all.len() } else { all.len() - 1 };
            return made_up(root, &all[at], chance, depth + 1);
        }
    }
    let typed = match rules.get("type") {
        Some(Value::String(word)) => word.as_str(),
        Some(Value::Array(words)) if !words.is_empty() => words[0].as_str().unwrap_or("null"),
        _ if rules.contains_key("properties") => "object",
        _ if rules.contains_key("items") => "array",
        _ => "string",
    };
    match typed {
        "object" => object(root, rules, chance, depth),
        "array" => array(root, rules, chance, depth),
        "string" => text(rules, chance),
        "integer" => whole(rules, chance),
        "number" => number(rules, chance),
        "boolean" => Value::from(chance.next().is_multiple_of(2)),
        _ => Value::Null,
    }
}

fn object(root: &Value, rules: &Map<String, Value>, chance: &mut Chance, depth: usize) -> Value {
    let required: Vec<&str> =
        rules.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let empty = Map::new();
    let properties = rules.get("properties").and_then(Value::as_object).unwrap_or(&empty);
    let mut made = Map::new();
    for (name, schema) in properties {
        let needed = required.contains(&name.as_str());
        if needed || (depth < DEPTH_MAX && !chance.next().is_multiple_of(4)) {
            made.insert(name.clone(), made_up(root, schema, chance, depth + 1));
        }
    }
    for name in required {
        made.entry(name).or_insert_with(|| Value::from("made up"));
    }
    Value::Object(made)
}

fn array(root: &Value, rules: &Map<String, Value>, chance: &mut Chance, depth: usize) -> Value {
    let bound = |name: &str| rules.get(name).and_then(Value::as_u64);
    let least = bound("minItems").unwrap_or(0).min(LENGTH_MAX);
    let wanted = if depth < DEPTH_MAX { chance.between(least, least + 3) } else { least };
    let length = wanted.min(bound("maxItems").unwrap_or(LENGTH_MAX)).max(least);
    let items = rules.get("items").unwrap_or(&Value::Bool(true));
    (0..length).map(|_| made_up(root, items, chance, depth + 1)).collect()
}

fn text(rules: &Map<String, Value>, chance: &mut Chance) -> Value {
    let bound = |name: &str| rules.get(name).and_then(Value::as_u64);
    let mut text = match rules.get("format").and_then(Value::as_str) {
        Some("date") => "2000-01-01".to_owned(),
        Some("date-time") => "2000-01-01T00:00:00Z".to_owned(),
        Some("email") => "nobody@example.com".to_owned(),
        Some("uri") => "https://example.com/".to_owned(),
        _ => format!("made up {:08x}", chance.next() as u32),
    };
    let least = usize::try_from(bound("minLength").unwrap_or(0).min(LENGTH_MAX)).unwrap_or(0);
    while text.len() < least {
        text.push('.');
    }
    if let Some(most) = bound("maxLength") {
        text.truncate(usize::try_from(most).unwrap_or(usize::MAX).max(least));
    }
    Value::from(text)
}

fn whole(rules: &Map<String, Value>, chance: &mut Chance) -> Value {
    let bound = |name: &str, beside: &str, step: i64| {
        let exact = rules.get(name).and_then(Value::as_f64).map(|n| n as i64);
        exact.or_else(|| rules.get(beside).and_then(Value::as_f64).map(|n| (n as i64).saturating_add(step)))
    };
    let least = bound("minimum", "exclusiveMinimum", 1).unwrap_or(0);
    let most = bound("maximum", "exclusiveMaximum", -1).unwrap_or(least.saturating_add(100)).max(least);
    let step = rules.get("multipleOf").and_then(Value::as_i64).filter(|step| *step > 0).unwrap_or(1);
    let drawn = least.saturating_add_unsigned(chance.between(0, most.abs_diff(least)));
    let rounded = drawn - drawn.rem_euclid(step);
    Value::from(if rounded < least { rounded.saturating_add(step) } else { rounded })
}

fn number(rules: &Map<String, Value>, chance: &mut Chance) -> Value {
    let bound = |name: &str, beside: &str| {
        rules.get(name).and_then(Value::as_f64).or_else(|| rules.get(beside).and_then(Value::as_f64))
    };
    let least = bound("minimum", "exclusiveMinimum").unwrap_or(0.0);
    let most = bound("maximum", "exclusiveMaximum").unwrap_or(least + 1.0).max(least);
    // The middle of the two never is one of them, unless they are one.
    Value::from(least + (most - least) * (0.25 + chance.part() / 2.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use vespiary_fleet::shape::Shape;
    use vespiary_kernel::json::Json;

    fn request(prompt: &str, schema: Option<Value>) -> ModelRequest {
        ModelRequest {
            model: "mock/standard".parse().unwrap(),
            prompt: prompt.into(),
            schema: schema.map(|schema| Json::of(&schema).unwrap()),
            effort: None,
            output_tokens_max: 1_000,
            attempt: 0,
        }
    }

    #[test]
    fn the_same_is_answered_to_the_same_and_fits_the_schema() {
        let schema = json!({
            "type": "object", "required": ["a", "n", "list", "pick"], "additionalProperties": false,
            "properties": {
                "a": { "type": "string", "minLength": 20, "maxLength": 24 },
                "n": { "type": "integer", "minimum": 5, "maximum": 9, "multipleOf": 3 },
                "x": { "type": "number", "exclusiveMinimum": 0, "maximum": 1 },
                "list": { "type": "array", "minItems": 2, "maxItems": 3, "items": { "$ref": "#/$defs/b" } },
                "pick": { "enum": ["one", "two"] },
            },
            "$defs": { "b": { "anyOf": [{ "type": "boolean" }, { "type": "null" }] } },
        });
        let shape = Shape::new(schema.clone()).unwrap();
        for n in 0..200 {
            let asked = request(&format!("prompt {n}"), Some(schema.clone()));
            let mock = Mock::new(MockSettings::default());
            let answer = mock.answer(&asked).unwrap();
            assert_eq!(mock.answer(&asked), Ok(answer.clone()));
            shape.hold(Json::parse(answer.text).unwrap()).unwrap();
            assert!(
                answer.output_tokens <= asked.output_tokens_max && answer.input_tokens <= mock.input_tokens_max(&asked)
            );
        }
        let other = Mock::new(MockSettings { seed: 1, ..MockSettings::default() });
        let asked = request("p", None);
        assert_ne!(other.answer(&asked), Mock::new(MockSettings::default()).answer(&asked));
    }

    #[test]
    fn it_fails_as_often_as_it_is_told() {
        let mock = Mock::new(MockSettings { fail: 0.3, refuse: 0.2, ..MockSettings::default() });
        let (mut failed, mut refused) = (0, 0);
        for n in 0..1_000 {
            match mock.answer(&request(&n.to_string(), None)) {
                Err(ProviderError::Temporary { .. }) => failed += 1,
                Err(ProviderError::Permanent(_)) => refused += 1,
                Ok(_) => {}
            }
        }
        assert!((150..250).contains(&refused) && (190..290).contains(&failed), "{refused} {failed}");
    }

    #[test]
    fn an_answer_is_cut_at_its_limit() {
        let mock = Mock::new(MockSettings { tokens: 500, ..MockSettings::default() });
        let answer = mock.answer(&ModelRequest { output_tokens_max: 3, ..request("p", None) }).unwrap();
        assert_eq!((answer.output_tokens, answer.text.len()), (3, 12));
    }
}
