//! The agent: a task in, findings or a verdict out. Shapes only; the work is in `source`, `scan` and `refute`.

use crate::finding::Finding;
use crate::refute::{self, Claim, Refutation};
use crate::source::{self, Scanned, Skipped};
use vespiary_sdk::prelude::*;

/// What to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Look for secrets in `files`.
    #[default]
    Scan,
    /// Try to refute `finding`.
    Refute,
}

/// What to do it to.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[schemars(transform = warmed)]
pub struct Context {
    /// `scan` (the default) or `refute`.
    #[serde(default)]
    pub mode: Mode,
    /// Files to scan, relative to the project. Folders are not opened: list them first.
    #[serde(default)]
    pub files: Vec<String>,
    /// Begin no further file once those before it were this many bytes long together; what is left comes back in `left`. Without it
    /// all are scanned.
    #[serde(default)]
    pub bytes_max: Option<u64>,
    /// For `refute`: the finding, as a scan gave it. Only rule, path, line and fingerprint are read.
    #[serde(default)]
    pub finding: Option<Claim>,
}

/// Builds what every scan needs. A host that freezes a component after start-up asks for the schemas first, so the frozen memory
/// holds it and no cell builds it again.
fn warmed(_schema: &mut schemars::Schema) {
    crate::scan::warm();
}

/// The answer, in one of two shapes.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Answer {
    /// To `scan`.
    Scan(Report),
    /// To `refute`.
    Refute(Refutation),
}

/// What a scan found.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Report {
    /// By file in the order asked, then by line.
    pub findings: Vec<Finding>,
    /// Files scanned.
    pub scanned: usize,
    /// How long they are together, as far as they were scanned.
    pub bytes: u64,
    /// Files not scanned, or not to their end.
    pub skipped: Vec<Skipped>,
    /// Files that were not begun, since `bytes_max` was reached before them: ask for them again.
    pub left: Vec<String>,
}

/// Finds credentials in files: tokens and keys by their providers' forms, private keys, passwords in addresses and random-looking
/// values under telling names. Evidence is redacted. With mode `refute` it takes an independent second look at one finding.
#[agent]
pub fn secrets(task: Task<Context>) -> Result<Answer> {
    match task.context.mode {
        Mode::Scan => {
            let bytes_max = task.context.bytes_max.unwrap_or(u64::MAX);
            let Scanned { findings, files, bytes, skipped, left } = source::scan_all(&task.context.files, bytes_max)?;
            Ok(Answer::Scan(Report { findings, scanned: files, bytes, skipped, left: left.to_vec() }))
        }
        Mode::Refute => {
            let claim = task.context.finding.ok_or_else(|| {
                Error::invalid(
                    "mode `refute` needs `finding`: pass one entry of a scan's `findings` as context.finding",
                )
            })?;
            refute::refute(&claim).map(Answer::Refute)
        }
    }
}

vespiary_sdk::agent_plugin!(secrets);

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use vespiary_sdk::agent::{Agent, RawTask};
    use vespiary_sdk::dispatch;

    fn run(context: Value) -> Result<Value> {
        let task = RawTask { prompt: String::new(), context: context.to_string(), schema: None };
        <secrets as Agent>::ENTRY.run(task).map(|answer| serde_json::from_str(&answer).unwrap())
    }

    #[test]
    fn a_finding_goes_from_scan_to_refutation() {
        let token = ["q7ZxKp2mVt9L", "wRb4Ns8Dy3Hc6J"].concat();
        let text = format!("# settings\napi_token = '{token}'\n");
        dispatch::mock(move |_, arguments| {
            assert_eq!(arguments["path"], "app/settings.py");
            Ok(
                json!({"path": "app/settings.py", "size": text.len(), "encoding": "utf-8", "text": text, "offset": 0, "bytes": text.len()}),
            )
        });
        let report = run(json!({"mode": "scan", "files": ["app/settings.py"]})).unwrap();
        assert_eq!(report["scanned"], 1);
        let finding = &report["findings"][0];
        assert_eq!((finding["rule"].as_str(), finding["line"].as_u64()), (Some("token-literal"), Some(2)));
        assert!(!report.to_string().contains(&token[..6]));
        let verdict = run(json!({"mode": "refute", "finding": finding})).unwrap();
        assert_eq!(verdict["verdict"], "confirmed", "{verdict}");
    }

    #[test]
    fn a_refutation_without_a_finding_says_what_is_missing() {
        assert!(
            matches!(run(json!({"mode": "refute"})), Err(Error::InvalidArguments(why)) if why.contains("context.finding"))
        );
        assert!(matches!(run(json!({"mode": "guess"})), Err(Error::InvalidArguments(_))));
    }
}
