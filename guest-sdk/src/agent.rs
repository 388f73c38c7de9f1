//! What an agent is to this crate: a task in, an answer out. What lives here: [`Task`] and the JSON around a run. What
//! must never live here: how an agent reaches tools; that is `dispatch`.

use crate::{Error, Result, schema, tool::Outcome, tool::Schemas};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

/// One job for one agent.
#[derive(Clone, Debug)]
pub struct Task<C> {
    /// What to do, in words. A deterministic agent may ignore all but what it documents.
    pub prompt: String,
    /// What to do it to: what the script passed as `context`.
    pub context: C,
    /// JSON Schema the answer must satisfy, where the script gave one.
    pub schema: Option<serde_json::Value>,
}

/// Implemented by `#[agent]` on a type of the function's name, for `agent_plugin!`.
pub trait Agent {
    /// The agent.
    const ENTRY: Entry;
}

/// One agent: summary, schemas and the function behind it.
#[derive(Clone, Copy)]
pub struct Entry {
    summary: &'static str,
    schemas: fn() -> Schemas,
    run: fn(RawTask) -> Result<String>,
}

/// A task as it crosses the border: `context` and `schema` are JSON text.
#[derive(Clone, Debug)]
pub struct RawTask {
    /// What to do, in words.
    pub prompt: String,
    /// Any JSON value.
    pub context: String,
    /// A JSON Schema.
    pub schema: Option<String>,
}

impl Entry {
    /// An agent. Only `#[agent]` has a use for this.
    #[doc(hidden)]
    pub const fn new(summary: &'static str, schemas: fn() -> Schemas, run: fn(RawTask) -> Result<String>) -> Self {
        Self { summary, schemas, run }
    }

    /// What the agent does, from its doc comment.
    pub const fn summary(&self) -> &'static str {
        self.summary
    }

    /// The schemas of context and answer.
    pub fn schemas(&self) -> Schemas {
        (self.schemas)()
    }

    /// Runs the agent on JSON, as the host would, and gives its answer as JSON.
    ///
    /// # Errors
    /// `InvalidArguments` where context or schema do not fit; otherwise what the agent returned.
    pub fn run(&self, task: RawTask) -> Result<String> {
        (self.run)(task)
    }
}

/// A function's `Task<C>`, seen from the macro that knows only its type.
pub trait TaskType {
    /// `C`.
    type Context: DeserializeOwned + JsonSchema;

    /// The task, its JSON parsed.
    ///
    /// # Errors
    /// `InvalidArguments` where context or schema do not fit.
    fn parse(raw: RawTask) -> Result<Self>
    where
        Self: Sized;
}

impl<C: DeserializeOwned + JsonSchema> TaskType for Task<C> {
    type Context = C;

    fn parse(raw: RawTask) -> Result<Self> {
        let context =
            serde_json::from_str(&raw.context).map_err(|error| Error::invalid(format!("context: {error}")))?;
        let schema = raw.schema.as_deref().map(serde_json::from_str).transpose();
        let schema = schema.map_err(|error| Error::invalid(format!("schema: {error}")))?;
        Ok(Self { prompt: raw.prompt, context, schema })
    }
}

#[doc(hidden)]
pub fn describe_agent<T: TaskType, R: Outcome>() -> Schemas {
    Schemas { input: schema::of_context::<T::Context>(), output: schema::of_value::<R::Value>() }
}

#[doc(hidden)]
pub fn run<T: TaskType, R: Outcome>(task: RawTask, agent: impl Fn(T) -> R) -> Result<String> {
    let answer = agent(T::parse(task)?).into_result()?;
    serde_json::to_string(&answer).map_err(|error| Error::failed(format!("the agent's answer is not JSON: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shout(task: Task<Vec<String>>) -> Result<String> {
        Ok(format!("{} {}", task.prompt, task.context.concat()).to_uppercase())
    }

    #[test]
    fn a_task_goes_from_json_to_json() {
        let task = RawTask { prompt: "say".into(), context: r#"["a","b"]"#.into(), schema: Some("{}".into()) };
        assert_eq!(run(task, shout), Ok("\"SAY AB\"".to_owned()));
    }

    #[test]
    fn a_context_that_does_not_fit_is_named() {
        let task = RawTask { prompt: String::new(), context: "null".into(), schema: None };
        assert!(matches!(run(task, shout), Err(Error::InvalidArguments(why)) if why.starts_with("context: ")));
    }
}
