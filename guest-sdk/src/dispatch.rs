//! The door through which an agent reaches the world. Each request is judged, metered and recorded as a call of its own,
//! under a grant no wider than the agent's. What must never live here: retries or judgement; the host decides.
//!
//! Natively a test installs the answers with [`mock`].

use crate::{Error, Result, report::ArtifactInfo, sys};
use serde::{Serialize, de::DeserializeOwned};

/// The contract's bound on requests in one batch; [`call_all`] splits longer lists.
const REQUESTS_MAX: usize = 1024;

/// A tool to call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `plugin.tool`
    pub tool: String,
    /// Arguments, a JSON object as text.
    pub arguments: String,
}

impl Request {
    /// A request, its arguments written as JSON.
    ///
    /// # Errors
    /// `Failed` where `arguments` cannot be JSON.
    pub fn new(tool: impl Into<String>, arguments: &impl Serialize) -> Result<Self> {
        let tool = tool.into();
        let arguments = serde_json::to_string(arguments)
            .map_err(|error| Error::failed(format!("arguments of {tool} cannot be JSON: {error}")))?;
        Ok(Self { tool, arguments })
    }
}

/// What a tool gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Success {
    tool: String,
    value: String,
    /// Artifacts the call left behind.
    pub artifacts: Vec<ArtifactInfo>,
}

impl Success {
    pub(crate) fn new(tool: String, value: String, artifacts: Vec<ArtifactInfo>) -> Self {
        Self { tool, value, artifacts }
    }

    /// The value, read from JSON.
    ///
    /// # Errors
    /// `Failed` where the value does not have the shape of `R`.
    pub fn value<R: DeserializeOwned>(&self) -> Result<R> {
        serde_json::from_str(&self.value)
            .map_err(|error| Error::failed(format!("{} gave a value of another shape: {error}", self.tool)))
    }

    /// The value as JSON text.
    pub fn json(&self) -> &str {
        &self.value
    }
}

/// Calls one tool and waits for it.
///
/// # Errors
/// What the tool or the host's policy answered; `Failed` where the value does not have the shape of `R`.
pub fn call<R: DeserializeOwned>(tool: &str, arguments: &impl Serialize) -> Result<R> {
    let request = Request::new(tool, arguments)?;
    let mut answers = call_all(std::slice::from_ref(&request));
    answers.pop().unwrap_or_else(|| Err(unanswered(tool)))?.value()
}

/// Calls tools, all at once, and waits for every one. Answers are in the order of the requests; one that fails does not
/// disturb its neighbours.
pub fn call_all(requests: &[Request]) -> Vec<Result<Success>> {
    let mut answers = Vec::with_capacity(requests.len());
    for batch in requests.chunks(REQUESTS_MAX) {
        let mut given = sys::dispatch(batch).into_iter();
        answers.extend(batch.iter().map(|request| given.next().unwrap_or_else(|| Err(unanswered(&request.tool)))));
    }
    answers
}

fn unanswered(tool: &str) -> Error {
    Error::failed(format!("the host gave no answer for {tool}"))
}

#[cfg(not(target_family = "wasm"))]
pub use crate::sys::mock;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn answers_keep_the_order_of_requests_past_one_batch() {
        mock(|name, arguments| match arguments["n"].as_u64() {
            Some(n) if n % 2 == 0 => Ok(json!({ "tool": name, "n": n })),
            _ => Err(Error::not_found("odd")),
        });
        let requests: Vec<_> = (0..2500).map(|n| Request::new("t.t", &json!({ "n": n })).unwrap()).collect();
        let answers = call_all(&requests);
        assert_eq!(answers.len(), 2500);
        assert_eq!(answers[2048].as_ref().unwrap().value::<serde_json::Value>().unwrap()["n"], 2048);
        assert_eq!(answers[2049], Err(Error::not_found("odd")));
    }

    #[test]
    fn a_value_of_another_shape_names_the_tool() {
        mock(|_, _| Ok(json!("text")));
        let error = call::<u32>("files.read", &json!({})).unwrap_err();
        assert!(error.to_string().starts_with("files.read gave a value of another shape"), "{error}");
    }
}
