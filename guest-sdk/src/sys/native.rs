//! Stand-ins for the host, for unit tests: what is reported is kept for the thread, tools answer as a test says. What must
//! never live here: anything a cell runs.

use crate::dispatch::{Request, Success};
use crate::report::{ArtifactInfo, Level};
use crate::{Error, Result};
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::fmt::Write;

/// All that was reported on this thread, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reported {
    /// Log lines.
    pub log: Vec<(Level, String)>,
    /// `done`, `total` and note of each progress report.
    pub progress: Vec<(u64, Option<u64>, String)>,
    /// Finished artifacts and their bytes.
    pub artifacts: Vec<(ArtifactInfo, Vec<u8>)>,
}

type Answer = Box<dyn Fn(&str, &serde_json::Value) -> Result<serde_json::Value>>;

thread_local! {
    static REPORTED: RefCell<Reported> = RefCell::default();
    static ANSWER: RefCell<Option<Answer>> = const { RefCell::new(None) };
}

/// Takes all that was reported on this thread since the last time. Native only, for tests.
pub fn taken() -> Reported {
    REPORTED.take()
}

/// Answers every tool call made on this thread from now on: `answer` gets the tool's name and its arguments. Native only,
/// for tests.
pub fn mock(answer: impl Fn(&str, &serde_json::Value) -> Result<serde_json::Value> + 'static) {
    ANSWER.set(Some(Box::new(answer)));
}

pub(crate) fn log(level: Level, message: &str) {
    REPORTED.with_borrow_mut(|reported| reported.log.push((level, message.to_owned())));
}

pub(crate) fn progress(done: u64, total: Option<u64>, note: &str) {
    REPORTED.with_borrow_mut(|reported| reported.progress.push((done, total, note.to_owned())));
}

pub(crate) fn dispatch(requests: &[Request]) -> Vec<Result<Success>> {
    requests.iter().map(answer).collect()
}

fn answer(request: &Request) -> Result<Success> {
    let arguments = serde_json::from_str(&request.arguments)?;
    // Taken out while it runs, so that an answer may itself install another.
    let answer = ANSWER.take().ok_or_else(|| {
        Error::failed(format!("no host answers {} here: install answers with dispatch::mock", request.tool))
    })?;
    let value = answer(&request.tool, &arguments);
    ANSWER.with_borrow_mut(|slot| {
        slot.get_or_insert(answer);
    });
    Ok(Success::new(request.tool.clone(), value?.to_string(), Vec::new()))
}

pub(crate) struct ArtifactWriter {
    name: String,
    media_type: String,
    bytes: Vec<u8>,
}

impl ArtifactWriter {
    pub(crate) fn create(name: &str, media_type: &str) -> Result<Self> {
        if name.is_empty() || name.len() > 255 || name.contains(['/', '\0']) {
            return Err(Error::invalid(format!(
                "`{}` is no artifact name: 1 to 255 bytes without `/` and NUL",
                name.escape_default()
            )));
        }
        Ok(Self { name: name.to_owned(), media_type: media_type.to_owned(), bytes: Vec::new() })
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    pub(crate) fn finish(self) -> Result<ArtifactInfo> {
        let digest = Sha256::digest(&self.bytes);
        let sha256 = digest.iter().fold(String::with_capacity(64), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        let size = self.bytes.len() as u64;
        let info = ArtifactInfo { name: self.name, media_type: self.media_type, sha256, size };
        REPORTED.with_borrow_mut(|reported| reported.artifacts.push((info.clone(), self.bytes)));
        Ok(info)
    }
}
