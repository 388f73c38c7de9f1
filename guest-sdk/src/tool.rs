//! What a tool is to this crate: an entry in a constant table. What lives here: the table, its lookup and the JSON around
//! a call. What must never live here: bindings; those are in `bindings.rs`.

use crate::{Error, Result, schema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Implemented by `#[tool]` on a type of the function's name; `tool_plugin!` collects the entries.
pub trait Tool {
    /// The tool's row in its plugin's table.
    const ENTRY: Entry;
}

/// One tool: name, description, schemas and the function behind it.
#[derive(Clone, Copy)]
pub struct Entry {
    name: &'static str,
    description: &'static str,
    schemas: fn() -> Schemas,
    call: fn(&str) -> Result<String>,
}

/// The JSON Schemas (2020-12) of one callable, as JSON text.
#[derive(Clone, Debug)]
pub struct Schemas {
    /// Schema of what goes in.
    pub input: String,
    /// Schema of what comes out.
    pub output: String,
}

impl Entry {
    /// A row. Only `#[tool]` has a use for this.
    #[doc(hidden)]
    pub const fn new(
        name: &'static str,
        description: &'static str,
        schemas: fn() -> Schemas,
        call: fn(&str) -> Result<String>,
    ) -> Self {
        Self { name, description, schemas, call }
    }

    /// The tool's name, as in `plugin.name`.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// What the tool does, from its doc comment.
    pub const fn description(&self) -> &'static str {
        self.description
    }

    /// The schemas of arguments and value.
    pub fn schemas(&self) -> Schemas {
        (self.schemas)()
    }

    /// Runs the tool on JSON arguments, as the host would, and gives its value as JSON.
    ///
    /// # Errors
    /// `InvalidArguments` where the text does not fit the argument struct; otherwise what the tool returned.
    pub fn call(&self, arguments: &str) -> Result<String> {
        (self.call)(arguments)
    }
}

/// What a `#[tool]` or `#[agent]` function may return: a `Result` whose error converts into [`Error`].
pub trait Outcome {
    /// The value on success.
    type Value: Serialize + JsonSchema;

    /// The outcome with this crate's error.
    ///
    /// # Errors
    /// The error the function returned, converted.
    fn into_result(self) -> Result<Self::Value>;
}

impl<T: Serialize + JsonSchema, E: Into<Error>> Outcome for std::result::Result<T, E> {
    type Value = T;

    fn into_result(self) -> Result<T> {
        self.map_err(Into::into)
    }
}

#[doc(hidden)]
/// The argument of a tool that takes none.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoArguments {}

#[doc(hidden)]
pub fn describe<A: JsonSchema, R: Outcome>() -> Schemas {
    Schemas { input: schema::of_arguments::<A>(), output: schema::of_value::<R::Value>() }
}

#[doc(hidden)]
pub fn call<A: DeserializeOwned, R: Outcome>(arguments: &str, tool: impl Fn(A) -> R) -> Result<String> {
    let arguments = serde_json::from_str(arguments).map_err(|error| Error::invalid(error.to_string()))?;
    let value = tool(arguments).into_result()?;
    serde_json::to_string(&value).map_err(|error| Error::failed(format!("the tool's value is not JSON: {error}")))
}

#[doc(hidden)]
/// Finds a tool in a plugin's table and runs it.
pub fn dispatch(tools: &[Entry], name: &str, arguments: &str) -> Result<String> {
    match tools.iter().find(|tool| tool.name == name) {
        Some(tool) => tool.call(arguments),
        None => {
            let known: Vec<_> = tools.iter().map(|tool| tool.name).collect();
            Err(Error::not_found(format!("no tool `{name}` in this plugin; it has: {}", known.join(", "))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize, JsonSchema)]
    struct Sum {
        left: i64,
        right: i64,
    }

    fn add(sum: Sum) -> Result<i64> {
        sum.left.checked_add(sum.right).ok_or_else(|| Error::invalid("the sum is past 64 bits"))
    }

    const TABLE: &[Entry] = &[Entry::new("add", "Adds.", describe::<Sum, Result<i64>>, |text| call(text, add))];

    #[test]
    fn a_call_goes_from_json_to_json() {
        assert_eq!(dispatch(TABLE, "add", r#"{"left":2,"right":3}"#), Ok("5".to_owned()));
    }

    #[test]
    fn bad_arguments_name_the_field() {
        let error = dispatch(TABLE, "add", r#"{"left":2}"#).unwrap_err();
        assert!(matches!(&error, Error::InvalidArguments(why) if why.contains("missing field `right`")), "{error}");
    }

    #[test]
    fn an_unknown_tool_lists_the_known_ones() {
        let error = dispatch(TABLE, "subtract", "{}").unwrap_err();
        assert_eq!(error, Error::not_found("no tool `subtract` in this plugin; it has: add"));
    }

    #[test]
    fn what_the_tool_refuses_is_passed_on() {
        let error = dispatch(TABLE, "add", r#"{"left":9223372036854775807,"right":1}"#).unwrap_err();
        assert_eq!(error, Error::invalid("the sum is past 64 bits"));
    }
}
