//! The options of `agent()`: which there are, and what each may hold. Works on their JSON, so that nothing a script puts
//! into the object (getters, proxies) runs while they are judged.

use serde_json::value::RawValue;
use serde_json::{Map, Value};
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

/// The options to send, as a JSON object: checked, without those that are null, and with the phase the script is in
/// unless it names its own. `Err` is the message of a TypeError.
pub(crate) fn settle(written: &str, phase: Option<&str>) -> Result<String, String> {
    let options: BTreeMap<String, Box<RawValue>> = match serde_json::from_str(written) {
        Ok(options) => options,
        Err(_) => return Err(refusal(written)),
    };
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
            return Err(unknown(key));
        }
        // `context` alone means something as null; elsewhere null and undefined mean "not given". Its values pass
        // through as text: reading floating-point numbers and writing them again could change them.
        if raw.get() == "null" && key != "context" {
            continue;
        }
        if key != "context" {
            let value: Value = serde_json::from_str(raw.get())
                .map_err(|_| format!("agent(): the option `{key}` is nested too deeply; make it flatter"))?;
            check(key, &value).map_err(|problem| format!("agent(): {problem}"))?;
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

fn refusal(written: &str) -> String {
    match serde_json::from_str::<Value>(written) {
        Ok(other) => format!(
            "agent(prompt, options): the options must be an object like {{ label: 'scan' }}, not {}",
            schema::name(&other)
        ),
        Err(_) => "agent(prompt, options): the options are nested too deeply; make them flatter".to_owned(),
    }
}

fn unknown(key: &str) -> String {
    let lower = key.to_lowercase();
    let near = KNOWN.iter().find(|known| {
        let known = known.to_lowercase();
        known == lower
            || known.starts_with(&lower)
            || lower.starts_with(&known)
            || lower.replace(['_', '-'], "") == known
    });
    match near {
        Some(known) => format!("agent() has no option `{key}`; did you mean `{known}`?"),
        None => format!("agent() has no option `{key}`; the options are {}", KNOWN.join(", ")),
    }
}

fn check(key: &str, value: &Value) -> Result<(), String> {
    let wanted = match key {
        "label" | "phase" | "model" | "effort" | "agentType" => {
            text(value).then_some(()).ok_or("a string that is not empty")
        }
        "isolation" => (value == "worktree").then_some(()).ok_or("'worktree'"),
        "tools" | "allow" | "deny" => {
            let list = value.as_array().is_some_and(|list| list.iter().all(text));
            list.then_some(()).ok_or("an array of strings")
        }
        "deps" => value.is_array().then_some(()).ok_or("an array"),
        "quota" => {
            let limits = value.as_object().is_some_and(|limits| limits.values().all(positive));
            limits.then_some(()).ok_or("an object of positive numbers, like { 'wall-time-ms-max': 60000 }")
        }
        "timeout" => value.as_u64().filter(|ms| *ms > 0).map(drop).ok_or("whole milliseconds, at least 1"),
        "retry" => {
            let count = value.as_u64().is_some()
                || value.as_object().is_some_and(|policy: &Map<String, Value>| !policy.is_empty());
            count.then_some(()).ok_or("a whole number of further attempts, or an object that describes them")
        }
        "priority" => (value.is_number() || text(value)).then_some(()).ok_or("a number or a name"),
        "schema" => return schema::check(value),
        _ => Ok(()),
    };
    wanted.map_err(|wanted| {
        let found = value.to_string();
        let found = if found.len() > 60 { schema::name(value).to_owned() } else { found };
        format!("the option `{key}` must be {wanted}; it is {found}")
    })
}

fn text(value: &Value) -> bool {
    value.as_str().is_some_and(|text| !text.is_empty())
}

fn positive(value: &Value) -> bool {
    value.as_f64().is_some_and(|number| number > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let all = r#"{"agentType":"secrets","allow":["read:src"],"context":1,"deny":[],"deps":["a"],"effort":"high","isolation":"worktree","label":"l","model":"m","phase":"p","priority":-1,"quota":{"tool-calls-max":3},"retry":2,"schema":{"type":"object"},"timeout":1500,"tools":["files.read"]}"#;
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
            (r#"{"quota":{"x":"many"}}"#, "`quota` must be an object of positive numbers"),
            (r#"{"timeout":1.5}"#, "`timeout` must be whole milliseconds, at least 1; it is 1.5"),
            (r#"{"timeout":0}"#, "`timeout` must be whole milliseconds"),
            (r#"{"retry":-1}"#, "`retry` must be a whole number"),
            (r#"{"priority":[]}"#, "`priority` must be"),
            (r#"{"deps":{}}"#, "`deps` must be an array"),
            (r#"{"schema":"x"}"#, "schema must be a JSON Schema"),
        ] {
            let said = settle(written, None).expect_err(written);
            assert!(said.contains(message), "{written}: {said}");
        }
    }
}
