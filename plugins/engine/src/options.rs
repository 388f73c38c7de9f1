//! The options of `agent()`: which there are, and what each may hold. Works on their JSON, so that nothing a script puts
//! into the object (getters, proxies) runs while they are judged.

use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

use crate::schema;

const KNOWN: [&str; 16] = [
    "label",
    "phase",
    "schema",
    "model",
    "effort",
    "isolation",
    "agentType",
    "tools",
    "allow",
    "deny",
    "quota",
    "timeout",
    "context",
    "deps",
    "retry",
    "priority",
];

/// What `quota` may limit; dollars alone come in parts.
const QUOTAS: [&str; 8] =
    ["toolCalls", "cpuTimeMs", "inputTokens", "outputTokens", "usd", "bytesWritten", "filesWritten", "httpRequests"];

const RETRIES_MAX: u64 = 5;
const BACKOFF_MS_MAX: u64 = 60_000;

/// An agent's place in a panel, which decides some of its options.
pub(crate) struct Seat<'a> {
    /// The function that set up the panel: the first word of labels, where the script gives no other.
    pub(crate) panel: &'a str,
    /// The rest of the label.
    pub(crate) place: &'a str,
    /// What the answer must satisfy: JSON.
    pub(crate) schema: &'a str,
}

/// The options to send, as a JSON object: checked, without those that are null, and with the phase the script is in
/// unless it names its own. `caller` begins the messages. `Err` is the message of a TypeError.
pub(crate) fn settle(
    caller: &str,
    written: &str,
    phase: Option<&str>,
    seat: Option<Seat<'_>>,
) -> Result<String, String> {
    let mut options: BTreeMap<String, Box<RawValue>> = match serde_json::from_str(written) {
        Ok(options) => options,
        Err(_) => return Err(refusal(caller, written)),
    };
    if let Some(seat) = seat {
        seat.take(caller, &mut options)?;
    }
    let mut out = String::with_capacity(written.len() + 32);
    out.push('{');
    let mut add = |key: &str, value: &str| {
        if out.len() > 1 {
            out.push(',');
        }
        out.push_str(&Value::from(key).to_string());
        out.push(':');
        out.push_str(value);
    };
    let mut phase = phase;
    for (key, raw) in &options {
        if !KNOWN.contains(&key.as_str()) {
            return Err(unknown(caller, key));
        }
        // `context` alone means something as null; elsewhere null and undefined mean "not given". Its values pass
        // through as text: reading floating-point numbers and writing them again could change them.
        if raw.get() == "null" && key != "context" {
            continue;
        }
        if key != "context" {
            let value: Value = serde_json::from_str(raw.get())
                .map_err(|_| format!("{caller}: the option `{key}` is nested too deeply; make it flatter"))?;
            check(key, &value).map_err(|problem| format!("{caller}: {problem}"))?;
        }
        if key == "phase" {
            phase = None;
        }
        add(key, raw.get());
    }
    if let Some(title) = phase {
        add("phase", &Value::from(title).to_string());
    }
    out.push('}');
    Ok(out)
}

impl Seat<'_> {
    fn take(&self, caller: &str, options: &mut BTreeMap<String, Box<RawValue>>) -> Result<(), String> {
        if options.get("schema").is_some_and(|schema| schema.get() != "null") {
            return Err(format!("{caller} cannot have the option `schema`; {}() sets it", self.panel));
        }
        let own = match options.get("label").map(|label| serde_json::from_str(label.get())) {
            Some(Ok(Value::String(label))) if !label.is_empty() => label,
            None | Some(Ok(Value::Null)) => self.panel.to_owned(),
            // Left to be refused with the other options.
            Some(_) => return Ok(()),
        };
        let mut set = |key: &str, json: String| {
            let raw = RawValue::from_string(json).map_err(|error| format!("{caller}: {error}"))?;
            options.insert(key.to_owned(), raw);
            Ok::<(), String>(())
        };
        set("label", Value::from(format!("{own} {}", self.place)).to_string())?;
        set("schema", self.schema.to_owned())
    }
}

fn refusal(caller: &str, written: &str) -> String {
    match serde_json::from_str::<Value>(written) {
        Ok(other) => {
            format!("{caller}: the options must be an object like {{ label: 'scan' }}, not {}", schema::name(&other))
        }
        Err(_) => format!("{caller}: the options are nested too deeply; make them flatter"),
    }
}

fn unknown(caller: &str, key: &str) -> String {
    let lower = key.to_lowercase();
    let near = KNOWN.iter().find(|known| {
        let known = known.to_lowercase();
        known == lower
            || known.starts_with(&lower)
            || lower.starts_with(&known)
            || lower.replace(['_', '-'], "") == known
    });
    match near {
        Some(known) => format!("{caller} has no option `{key}`; did you mean `{known}`?"),
        None => format!("{caller} has no option `{key}`; the options are {}", KNOWN.join(", ")),
    }
}

fn check(key: &str, value: &Value) -> Result<(), String> {
    let wanted = match key {
        "label" | "phase" | "model" | "effort" | "agentType" => {
            text(value).then_some(()).ok_or("a string that is not empty")
        }
        "isolation" => (value == "worktree").then_some(()).ok_or("'worktree'"),
        "tools" | "allow" | "deny" | "deps" => {
            let list = value.as_array().is_some_and(|list| list.iter().all(text));
            list.then_some(()).ok_or("an array of strings")
        }
        "quota" => return quota(value),
        "timeout" => value.as_u64().filter(|ms| *ms > 0).map(drop).ok_or("whole milliseconds, at least 1"),
        "retry" => retry(value).then_some(()).ok_or(
            "a whole number of further attempts, from 0 to 5, or { attempts: 1 to 6, backoff: 0 to 60000 milliseconds }",
        ),
        "priority" => {
            let named = value.as_str().is_some_and(|name| matches!(name, "low" | "normal" | "high"));
            named.then_some(()).ok_or("'low', 'normal' or 'high'")
        }
        "schema" => return schema::check(value),
        _ => Ok(()),
    };
    wanted.map_err(|wanted| misfit(key, wanted, value))
}

fn misfit(what: &str, wanted: &str, value: &Value) -> String {
    let found = value.to_string();
    let found = if found.len() > 60 { schema::name(value).to_owned() } else { found };
    format!("the option `{what}` must be {wanted}; it is {found}")
}

fn quota(value: &Value) -> Result<(), String> {
    let limits =
        value.as_object().ok_or_else(|| misfit("quota", "an object of limits, like { toolCalls: 20 }", value))?;
    for (name, limit) in limits {
        if !QUOTAS.contains(&name.as_str()) {
            return Err(format!("the option `quota` has no limit `{name}`; the limits are {}", QUOTAS.join(", ")));
        }
        let (fits, wanted) = if name == "usd" {
            (limit.as_f64().is_some_and(|dollars| dollars >= 0.0), "a number of dollars, at least 0")
        } else {
            (limit.as_u64().is_some(), "a whole number, at least 0")
        };
        if !fits {
            return Err(misfit(&format!("quota.{name}"), wanted, limit));
        }
    }
    Ok(())
}

fn retry(value: &Value) -> bool {
    let Some(policy) = value.as_object() else {
        return value.as_u64().is_some_and(|further| further <= RETRIES_MAX);
    };
    policy.contains_key("attempts")
        && policy.iter().all(|(name, part)| match (name.as_str(), part.as_u64()) {
            ("attempts", Some(attempts)) => (1..=RETRIES_MAX + 1).contains(&attempts),
            ("backoff", Some(ms)) => ms <= BACKOFF_MS_MAX,
            _ => false,
        })
}

fn text(value: &Value) -> bool {
    value.as_str().is_some_and(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settle(written: &str, phase: Option<&str>) -> Result<String, String> {
        super::settle("agent()", written, phase, None)
    }

    #[test]
    fn the_phase_is_inherited_unless_given() {
        assert_eq!(settle("{}", None).unwrap(), "{}");
        assert_eq!(settle("{}", Some("Scan \"a\"")).unwrap(), r#"{"phase":"Scan \"a\""}"#);
        assert_eq!(settle(r#"{"phase":"Mine"}"#, Some("Scan")).unwrap(), r#"{"phase":"Mine"}"#);
        assert_eq!(settle(r#"{"phase":null,"label":"x"}"#, Some("Scan")).unwrap(), r#"{"label":"x","phase":"Scan"}"#);
    }

    #[test]
    fn context_passes_untouched() {
        let context = r#"{"context":{"b":0.1000000000000000055511151231257827,"a":null}}"#;
        assert_eq!(settle(context, None).unwrap(), context);
        assert_eq!(settle(r#"{"context":null}"#, None).unwrap(), r#"{"context":null}"#);
        let deep = format!("{{\"context\":{}{}}}", "[".repeat(100), "]".repeat(100));
        assert_eq!(settle(&deep, None).unwrap(), deep);
    }

    #[test]
    fn every_option_takes_what_it_should() {
        let all = r#"{"agentType":"secrets","allow":["read:src"],"context":1,"deny":[],"deps":["a"],"effort":"high","isolation":"worktree","label":"l","model":"m","phase":"p","priority":"low","quota":{"toolCalls":3,"usd":0.5},"retry":2,"schema":{"type":"object"},"timeout":1500,"tools":["files.read"]}"#;
        assert_eq!(settle(all, None).unwrap(), all);
    }

    #[test]
    fn wrong_options_are_named() {
        for (written, message) in [
            ("[]", "must be an object like { label: 'scan' }, not an array"),
            ("3", "not a number"),
            (r#"{"agent_type":"x"}"#, "no option `agent_type`; did you mean `agentType`?"),
            (r#"{"colour":"x"}"#, "no option `colour`; the options are label, phase"),
            (r#"{"label":1}"#, "`label` must be a string that is not empty; it is 1"),
            (r#"{"isolation":"docker"}"#, "`isolation` must be 'worktree'; it is \"docker\""),
            (r#"{"tools":"files.read"}"#, "`tools` must be an array of strings"),
            (r#"{"quota":3}"#, "`quota` must be an object of limits, like { toolCalls: 20 }; it is 3"),
            (
                r#"{"quota":{"calls":3}}"#,
                "`quota` has no limit `calls`; the limits are toolCalls, cpuTimeMs, inputTokens, outputTokens, usd, bytesWritten, filesWritten, httpRequests",
            ),
            (r#"{"quota":{"toolCalls":1.5}}"#, "`quota.toolCalls` must be a whole number, at least 0; it is 1.5"),
            (r#"{"quota":{"usd":-0.5}}"#, "`quota.usd` must be a number of dollars, at least 0; it is -0.5"),
            (r#"{"quota":{"usd":"1"}}"#, "`quota.usd` must be a number"),
            (r#"{"quota":{"cpuTimeMs":null}}"#, "`quota.cpuTimeMs` must be a whole number"),
            (r#"{"timeout":1.5}"#, "`timeout` must be whole milliseconds, at least 1; it is 1.5"),
            (r#"{"timeout":0}"#, "`timeout` must be whole milliseconds"),
            (r#"{"retry":-1}"#, "`retry` must be a whole number of further attempts, from 0 to 5, or {"),
            (r#"{"retry":6}"#, "; it is 6"),
            (r#"{"retry":true}"#, "`retry` must be a whole number"),
            (r#"{"retry":{}}"#, "{ attempts: 1 to 6, backoff: 0 to 60000 milliseconds }; it is {}"),
            (r#"{"retry":{"backoff":10}}"#, "`retry` must be"),
            (r#"{"retry":{"attempts":0}}"#, "`retry` must be"),
            (r#"{"retry":{"attempts":7}}"#, "`retry` must be"),
            (r#"{"retry":{"attempts":2,"backoff":60001}}"#, "`retry` must be"),
            (r#"{"retry":{"attempts":2,"delay":1}}"#, "`retry` must be"),
            (r#"{"priority":[]}"#, "`priority` must be 'low', 'normal' or 'high'; it is []"),
            (r#"{"priority":1}"#, "`priority` must be"),
            (r#"{"priority":"High"}"#, "`priority` must be"),
            (r#"{"deps":{}}"#, "`deps` must be an array of strings"),
            (r#"{"deps":[1]}"#, "`deps` must be an array of strings"),
            (r#"{"schema":"x"}"#, "schema must be a JSON Schema"),
        ] {
            let said = settle(written, None).expect_err(written);
            assert!(said.contains(message), "{written}: {said}");
        }
    }

    #[test]
    fn the_edges_of_retry_and_quota_fit() {
        for written in [
            r#"{"retry":0}"#,
            r#"{"retry":5}"#,
            r#"{"retry":{"attempts":1}}"#,
            r#"{"retry":{"attempts":6,"backoff":60000}}"#,
            r#"{"quota":{}}"#,
            r#"{"quota":{"bytesWritten":0,"cpuTimeMs":1,"filesWritten":0,"httpRequests":0,"inputTokens":9007199254740991,"outputTokens":0,"toolCalls":0,"usd":0}}"#,
        ] {
            assert_eq!(settle(written, None).unwrap(), written);
        }
    }

    #[test]
    fn a_seat_has_the_panels_schema_and_a_label_of_its_own() {
        let seated = |written: &str| {
            let seat = Seat { panel: "verify", place: "[0] voter 1", schema: r#"{"type":"object"}"# };
            super::settle("verify()'s agent", written, None, Some(seat))
        };
        let schema = r#""schema":{"type":"object"}"#;
        assert_eq!(seated("{}").unwrap(), format!(r#"{{"label":"verify [0] voter 1",{schema}}}"#));
        assert_eq!(
            seated(r#"{"label":"facts","model":"m"}"#).unwrap(),
            format!(r#"{{"label":"facts [0] voter 1","model":"m",{schema}}}"#)
        );
        assert_eq!(seated(r#"{"schema":null,"label":null}"#).unwrap(), seated("{}").unwrap());
        for (written, message) in [
            (r#"{"schema":{"type":"string"}}"#, "verify()'s agent cannot have the option `schema`; verify() sets it"),
            (r#"{"label":7}"#, "verify()'s agent: the option `label` must be a string"),
            (r#"{"label":""}"#, "`label` must be a string that is not empty"),
            (r#"{"colour":1}"#, "verify()'s agent has no option `colour`"),
        ] {
            let said = seated(written).expect_err(written);
            assert!(said.contains(message), "{written}: {said}");
        }
    }
}
