//! Language models as calls see them: how one is named, and what it is asked. Names and bounds only: who answers, and what it
//! costs, a provider says.

use crate::json::Json;
use crate::pattern::ModelPattern;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Longest prompt, bytes.
const PROMPT_BYTES_MAX: usize = 4 << 20;
/// Longest word for effort, bytes.
const EFFORT_BYTES_MAX: usize = 32;

/// One model of one provider: `mock/standard`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ModelName(ModelPattern);

/// Text that does not name a model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} does not name a model: {why}; write PROVIDER/MODEL")]
pub struct BadModel {
    text: String,
    why: String,
}

impl ModelName {
    /// The provider's name.
    pub fn provider(&self) -> &str {
        self.parts().0
    }

    /// The provider's own name for the model.
    pub fn model(&self) -> &str {
        self.parts().1
    }

    /// The pattern that means this model and no other.
    pub fn pattern(&self) -> &ModelPattern {
        &self.0
    }

    fn parts(&self) -> (&str, &str) {
        self.0.as_str().split_once('/').unwrap_or_default()
    }
}

impl FromStr for ModelName {
    type Err = BadModel;

    fn from_str(text: &str) -> Result<Self, BadModel> {
        let refuse = |why: String| BadModel { text: text.chars().take(80).collect(), why };
        let pattern: ModelPattern = text.parse().map_err(refuse)?;
        if pattern.as_str().contains('*') {
            return Err(refuse("'*' means many; one is asked".into()));
        }
        Ok(Self(pattern))
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TryFrom<String> for ModelName {
    type Error = BadModel;
    fn try_from(text: String) -> Result<Self, BadModel> {
        text.parse()
    }
}

impl From<ModelName> for String {
    fn from(name: ModelName) -> String {
        name.to_string()
    }
}

/// The arguments of a call that asks a model. Reading them checks every bound, so whoever holds one need not.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelArguments {
    /// Which model.
    pub model: ModelName,
    /// What to do.
    pub prompt: String,
    /// What to do it to; `null` when there is nothing.
    #[serde(default = "Json::null")]
    pub context: Json,
    /// The JSON Schema the answer must satisfy. Without one it is text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Json>,
    /// How much the model is to think, in the provider's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effort: Option<String>,
}

impl ModelArguments {
    /// The JSON Schema of what a call carries.
    pub const SCHEMA: &'static str = r#"{"type":"object","properties":{"model":{"type":"string","description":"PROVIDER/MODEL, as granted by model:"},"prompt":{"type":"string"},"context":{"description":"any JSON value; given to the model after the prompt"},"schema":{"type":"object","description":"the JSON Schema of the answer; without one it is text"},"effort":{"type":"string"}},"required":["model","prompt"],"additionalProperties":false}"#;

    /// Read what a call carries.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn read(arguments: &Json) -> Result<Self, String> {
        let read: Self = arguments.read().map_err(|error| error.to_string())?;
        if read.prompt.len() > PROMPT_BYTES_MAX {
            let found = read.prompt.len();
            return Err(format!("the prompt has {found} bytes; at most {PROMPT_BYTES_MAX} are allowed"));
        }
        if read.effort.as_ref().is_some_and(|effort| effort.len() > EFFORT_BYTES_MAX) {
            return Err(format!("effort is a word of at most {EFFORT_BYTES_MAX} bytes"));
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_provider_and_one_of_its_models() {
        let name: ModelName = "mock/fast:1".parse().unwrap();
        assert_eq!((name.provider(), name.model(), name.to_string().as_str()), ("mock", "fast:1", "mock/fast:1"));
        for bad in ["", "*", "mock", "mock/", "mock/f*", "Mock/x", "mock/a b"] {
            assert!(bad.parse::<ModelName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn arguments_are_read_or_refused_in_words() {
        let read = |text: &str| ModelArguments::read(&Json::parse(text.to_owned()).unwrap());
        let given = read(r#"{"model":"mock/x","prompt":"p","context":{"n":1.50},"schema":{"type":"object"}}"#).unwrap();
        assert_eq!((given.context.as_str(), given.schema.unwrap().as_str()), (r#"{"n":1.50}"#, r#"{"type":"object"}"#));
        for (text, why) in [
            (r#"{"prompt":"p"}"#, "model"),
            (r#"{"model":"mock/*","prompt":"p"}"#, "means many"),
            (r#"{"model":"mock/x","prompt":"p","temperature":2}"#, "temperature"),
        ] {
            assert!(read(text).unwrap_err().contains(why), "{text}");
        }
        assert!(serde_json::from_str::<serde_json::Value>(ModelArguments::SCHEMA).is_ok());
    }
}
