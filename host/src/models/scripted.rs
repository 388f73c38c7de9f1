//! A provider that answers from a file: one JSON object a line, each an answer and the prompts it is for. For demonstrations
//! and tests that must say the same each time.
//!
//! `{"contains": "text of the prompt", "answer": "text, or any JSON value", "times": 2, "latency_ms": 10, "input_tokens": 5,
//! "output_tokens": 7, "fail": "why"}`. In place of `contains`, `prompt` is the whole of what the script wrote. The first line
//! that fits and has not been used up answers. With `fail` the request fails: for now, so that it is made again.

use super::mock::{first_line, tokens};
use crate::disk;
use crate::exit::Trouble;
use serde::Deserialize;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use vespiary_fleet::provider::{ModelAnswer, ModelRequest, Price, Provider, ProviderError};
use vespiary_kernel::model::ModelName;
use vespiary_kernel::ports::BoxFuture;

/// The longest file, bytes.
const FILE_BYTES_MAX: u64 = 64 << 20;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    contains: Option<String>,
    prompt: Option<String>,
    answer: Option<Value>,
    fail: Option<String>,
    times: Option<u64>,
    #[serde(default)]
    latency_ms: u64,
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
}

impl Line {
    fn fits(&self, prompt: &str) -> bool {
        // What a script wrote comes first; context and schema follow after an empty line.
        let whole =
            |own: &str| prompt.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with("\n\n"));
        self.prompt.as_deref().is_none_or(whole) && self.contains.as_deref().is_none_or(|part| prompt.contains(part))
    }
}

/// The provider.
#[derive(Debug)]
pub struct Scripted {
    file: PathBuf,
    lines: Vec<Line>,
    used: Mutex<Vec<u64>>,
}

impl Scripted {
    /// Read the answers in `file`; every line that is none is named.
    pub fn read(file: &Path) -> Result<Self, Trouble> {
        let what = format!("the answers in {} cannot be used", file.display());
        let next = "give one JSON object a line, for example {\"contains\": \"review\", \"answer\": \"fine\"}";
        let text = disk::read_text(file, FILE_BYTES_MAX).map_err(|why| Trouble::usage(what.clone(), why, next))?;
        let (mut lines, mut faults) = (Vec::new(), Vec::new());
        for (at, text) in text.lines().enumerate().filter(|(_, text)| !text.trim().is_empty()) {
            match serde_json::from_str::<Line>(text) {
                Err(error) => faults.push(format!("line {}: {error}", at + 1)),
                Ok(line) if line.answer.is_some() == line.fail.is_some() => {
                    faults.push(format!("line {}: it needs either an answer or fail", at + 1));
                }
                Ok(line) => lines.push(line),
            }
        }
        if !faults.is_empty() {
            return Err(Trouble::usage(what, faults.join("; "), next));
        }
        let used = Mutex::new(vec![0; lines.len()]);
        Ok(Self { file: file.to_owned(), lines, used })
    }

    /// The first line that fits and is not used up, used once more.
    fn take(&self, prompt: &str) -> Option<&Line> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |at: &usize| {
            let line = &self.lines[*at];
            line.fits(prompt) && line.times.is_none_or(|times| used[*at] < times)
        };
        let at = (0..self.lines.len()).find(fits)?;
        used[at] += 1;
        Some(&self.lines[at])
    }

    async fn answer(&self, request: ModelRequest) -> Result<ModelAnswer, ProviderError> {
        let Some(line) = self.take(&request.prompt) else {
            let why = format!(
                "{} has no answer left for the prompt that begins {:?}; add a line for it",
                self.file.display(),
                first_line(&request.prompt)
            );
            return Err(ProviderError::Permanent(why));
        };
        tokio::time::sleep(Duration::from_millis(line.latency_ms)).await;
        if let Some(why) = &line.fail {
            return Err(ProviderError::Temporary { why: why.clone(), retry_after: Some(Duration::ZERO) });
        }
        let text = match &line.answer {
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
            None => String::new(),
        };
        let output_tokens = line.output_tokens.unwrap_or_else(|| tokens(&text)).min(request.output_tokens_max);
        Ok(ModelAnswer {
            input_tokens: line.input_tokens.unwrap_or_else(|| tokens(&request.prompt)),
            output_tokens,
            text,
        })
    }
}

impl Provider for Scripted {
    fn name(&self) -> &str {
        "scripted"
    }

    fn default_model(&self) -> &str {
        "standard"
    }

    fn price(&self, _: &ModelName) -> Price {
        Price::default()
    }

    fn input_tokens_max(&self, request: &ModelRequest) -> u64 {
        let set = self.lines.iter().filter(|line| line.fits(&request.prompt)).filter_map(|line| line.input_tokens);
        set.max().unwrap_or(0).max(tokens(&request.prompt))
    }

    fn ask(&self, request: ModelRequest) -> BoxFuture<'_, Result<ModelAnswer, ProviderError>> {
        Box::pin(self.answer(request))
    }
}
