//! JSON text that is known to be JSON. Values cross every border as text, because the dispatcher judges and records them
//! without needing their shape; this type says that somebody has looked. Never a parsed tree: that is the ends' business.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::IgnoredAny};
use serde_json::value::RawValue;
use std::fmt;
use std::sync::Arc;

/// One JSON value as text. Cloning shares it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Json(Arc<str>);

/// Text that was meant to be JSON.
#[derive(Debug, thiserror::Error)]
#[error("not JSON: {0}")]
pub struct NotJson(#[from] serde_json::Error);

/// JSON of another shape than the reader wanted.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct WrongShape(serde_json::Error);

impl Json {
    /// Check that `text` is one JSON value. Nesting is not bounded here: reading it as a tree is, at 127.
    pub fn parse(text: impl Into<Arc<str>>) -> Result<Self, NotJson> {
        let text = text.into();
        serde_json::from_str::<IgnoredAny>(&text)?;
        Ok(Self(text))
    }

    /// Write a value as JSON. Fails on maps whose keys are not strings.
    pub fn of(value: &impl Serialize) -> Result<Self, NotJson> {
        Ok(Self(serde_json::to_string(value)?.into()))
    }

    /// `null`.
    pub fn null() -> Self {
        Self("null".into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its length in bytes.
    pub fn len_bytes(&self) -> u64 {
        self.0.len() as u64
    }

    /// Read it as a Rust value.
    pub fn read<'a, T: Deserialize<'a>>(&'a self) -> Result<T, WrongShape> {
        serde_json::from_str(&self.0).map_err(WrongShape)
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// Inside a larger document the value stands as itself, not as a quoted string.
impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(&self.0).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Ok(Self(raw.get().into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_whole_value_is_json() {
        for bad in ["", "{", "{}{}", "nul", "{'a':1}", "[1,]", "\"\u{0}\""] {
            assert!(Json::parse(bad).is_err(), "{bad:?} was taken for JSON");
        }
    }

    #[test]
    fn deep_nesting_is_text_that_nobody_can_be_made_to_recurse_into() {
        let deep = Json::parse("[".repeat(100_000) + &"]".repeat(100_000)).unwrap();
        assert!(deep.read::<serde_json::Value>().is_err());
    }

    #[test]
    fn it_embeds_as_itself() {
        let inner = Json::parse(r#"{"a":[1,2]}"#).unwrap();
        let outer = Json::of(&std::collections::BTreeMap::from([("x", inner.clone())])).unwrap();
        assert_eq!(outer.as_str(), r#"{"x":{"a":[1,2]}}"#);
        let back: std::collections::BTreeMap<String, Json> = outer.read().unwrap();
        assert_eq!(back["x"], inner);
    }
}
