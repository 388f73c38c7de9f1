//! The options of `gate()`: which there are, and what each may hold. The check for the script's author; the one that counts is
//! the host's.

use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

use crate::schema;

const KNOWN: [&str; 4] = ["title", "payload", "expiresIn", "check"];

/// Whether `written`, JSON of the object that a script wrote, says what a gate needs. `Err` is the message of a TypeError.
pub(crate) fn check(written: &str) -> Result<(), String> {
    let fields: BTreeMap<String, Box<RawValue>> = serde_json::from_str(written)
        .map_err(|_| "gate(): the options must be an object like { title: 'Deploy?', payload: plan }".to_owned())?;
    for (key, raw) in &fields {
        if !KNOWN.contains(&key.as_str()) {
            return Err(format!("gate() has no option `{key}`; the options are {}", KNOWN.join(", ")));
        }
        // The payload is the script's own business, however deep.
        if key == "payload" || raw.get() == "null" {
            continue;
        }
        let value: Value = serde_json::from_str(raw.get())
            .map_err(|_| format!("gate(): the option `{key}` is nested too deeply; make it flatter"))?;
        fits(key, &value)?;
    }
    let given = |key: &str| fields.get(key).is_some_and(|raw| raw.get() != "null");
    if !given("title") {
        return Err("gate() needs the option `title`: what is to be decided, in a sentence".to_owned());
    }
    if given("check") && given("expiresIn") {
        return Err(
            "gate(): `check` decides at once, so `expiresIn` means nothing beside it; leave one of them out".to_owned()
        );
    }
    Ok(())
}

fn fits(key: &str, value: &Value) -> Result<(), String> {
    let text = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
    let (fits, wanted) = match key {
        "title" => (text(value), "a string that is not empty"),
        "expiresIn" => (value.as_u64().is_some_and(|ms| ms > 0), "whole milliseconds, at least 1"),
        _ => (
            value.as_object().is_some_and(|check| {
                check.get("program").is_some_and(text)
                    && check.iter().all(|(name, part)| match name.as_str() {
                        "program" => true,
                        "args" => part.as_array().is_some_and(|args| args.iter().all(Value::is_string)),
                        _ => false,
                    })
            }),
            "an object { program, args? }: a program's name, and an array of strings",
        ),
    };
    if fits { Ok(()) } else { Err(format!("gate(): the option `{key}` must be {wanted}; it is {}", shown(value))) }
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    if text.len() > 60 { schema::name(value).to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn what_a_gate_takes() {
        for sound in [
            r#"{"title":"Go?"}"#,
            r#"{"title":"Go?","payload":{"a":[1]},"expiresIn":60000,"check":null}"#,
            r#"{"title":"Tests","check":{"program":"cargo","args":["test"]}}"#,
        ] {
            assert_eq!(check(sound), Ok(()), "{sound}");
        }
        let deep = format!(r#"{{"title":"Go?","payload":{}{}}}"#, "[".repeat(500), "]".repeat(500));
        assert_eq!(check(&deep), Ok(()));
        for (written, part) in [
            ("[]", "must be an object"),
            ("{}", "needs the option `title`"),
            (r#"{"title":""}"#, "`title` must be a string that is not empty"),
            (r#"{"title":7}"#, "it is 7"),
            (r#"{"title":"x","expires":1}"#, "no option `expires`; the options are title, payload"),
            (r#"{"title":"x","expiresIn":1.5}"#, "`expiresIn` must be whole milliseconds"),
            (r#"{"title":"x","check":"cargo test"}"#, "`check` must be an object { program, args? }"),
            (r#"{"title":"x","check":{"program":"x","shell":true}}"#, "`check` must be"),
            (r#"{"title":"x","check":{"program":"x"},"expiresIn":5}"#, "leave one of them out"),
        ] {
            assert!(check(written).unwrap_err().contains(part), "{written}: {:?}", check(written));
        }
    }
}
