//! Gives back what it is given: the smallest useful plugin, for trying out a set-up and for measuring what a call costs.
//! What must never live here: a second tool; this one is the yardstick.

use vespiary_sdk::prelude::*;

/// What to give back, and what was given back.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Echo {
    /// Any text.
    pub text: String,
}

/// Give back the text it is given, unchanged.
#[tool]
pub fn echo(given: Echo) -> Result<Echo> {
    Ok(given)
}

vespiary_sdk::tool_plugin!(echo);

#[cfg(test)]
mod tests {
    use super::*;
    use vespiary_sdk::tool::Tool;

    #[test]
    fn text_comes_back_unchanged() {
        let text = "a\u{0}\u{1f41d}\n".to_owned();
        assert_eq!(echo(Echo { text: text.clone() }), Ok(Echo { text }));
    }

    #[test]
    fn json_comes_back_as_it_went_in() {
        let json = r#"{"text":"a \"quoted\" word"}"#;
        assert_eq!(<echo as Tool>::ENTRY.call(json), Ok(json.to_owned()));
    }
}
