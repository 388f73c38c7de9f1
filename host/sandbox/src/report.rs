//! What a guest tells its host: log lines, standard output, progress, artifacts. All of it is counted here as it arrives;
//! none of it carries authority.

use crate::bindings::report::{Host, HostArtifactWriter, Level as GuestLevel};
use crate::bindings::types;
use crate::cell::Cell;
use crate::text;
use bytes::Bytes;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use vespiary_kernel::account::{self, Account};
use vespiary_kernel::call::{Artifact, Failure, Level, LogLine};
use vespiary_kernel::ids::Digest;
use vespiary_kernel::quota::{LimitHit, Meter, Quota};
use wasmtime::component::Resource;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

/// What a line costs beyond its text, so that empty lines are not free.
const LINE_COST: u64 = 16;

/// Artifacts one call may leave.
const ARTIFACTS_MAX: usize = 1_024;

/// The sum of what one cell said.
#[derive(Debug)]
pub(crate) struct Report {
    said: Arc<Said>,
    artifacts: Vec<Artifact>,
    account: Arc<Account>,
    refused: Option<LimitHit>,
}

/// Log lines. Shared with the standard streams, which Wasmtime owns.
#[derive(Debug)]
pub(crate) struct Said {
    meter: Meter,
    inner: Mutex<Lines>,
}

#[derive(Debug, Default)]
struct Lines {
    whole: Vec<LogLine>,
    /// What stdout and stderr wrote after their last line end.
    open: [Vec<u8>; 2],
    over: Option<LimitHit>,
}

/// The guest wrote more than its log quota; the call ends. The cause is kept in `Said`.
#[derive(Debug, thiserror::Error)]
#[error("the log quota is used up")]
struct LogOver;

impl Report {
    pub(crate) fn new(quota: &Quota, account: Arc<Account>) -> Self {
        let said = Said { meter: Meter::new("log-bytes", quota.log_bytes_max), inner: Mutex::default() };
        Self { said: Arc::new(said), artifacts: Vec::new(), account, refused: None }
    }

    /// A standard stream of the cell that writes into its log.
    pub(crate) fn stream(&self, level: Level) -> LogStream {
        LogStream { said: Arc::clone(&self.said), level }
    }

    /// Where the host itself writes about the cell's requests.
    pub(crate) fn network(&self) -> LogStream {
        self.stream(Level::Warn)
    }

    /// The log quota, when it was passed: that ended the call.
    pub(crate) fn log_over(&self) -> Option<LimitHit> {
        self.said.lines().over.clone()
    }

    /// The artifact quota, when a write was refused: the likely reason when a guest dies afterwards.
    pub(crate) fn refusal(&self) -> Option<LimitHit> {
        self.refused.clone()
    }

    /// The last thing the guest called an error: a panic message, most often.
    pub(crate) fn last_words(&self) -> Option<String> {
        let lines = self.said.lines();
        lines.whole.iter().rev().find(|line| line.level >= Level::Warn).map(|line| line.text.clone())
    }

    pub(crate) fn log_bytes(&self) -> u64 {
        self.said.meter.used()
    }

    pub(crate) fn artifact_bytes(&self) -> u64 {
        self.account.used(account::Resource::ArtifactBytes)
    }

    /// Count words that left the cell another way than through `report`: a script's, in its requests.
    pub(crate) fn count(&self, words: &str) -> Result<(), LimitHit> {
        self.said.meter.take(words.len() as u64 + LINE_COST)
    }

    /// All lines and artifacts, also those of a call that failed.
    pub(crate) fn take(&mut self) -> (Vec<LogLine>, Vec<Artifact>) {
        let mut lines = self.said.lines();
        lines.close(Level::Info);
        lines.close(Level::Warn);
        (std::mem::take(&mut lines.whole), std::mem::take(&mut self.artifacts))
    }
}

impl Said {
    /// A poisoned lock only means that a thread died while it appended a line; the lines before it stand.
    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, amount: u64) -> Result<(), LogOver> {
        self.meter.take(amount).map_err(|hit| {
            self.lines().over = Some(hit);
            LogOver
        })
    }

    fn log(&self, level: Level, message: String) -> Result<(), LogOver> {
        let breaks = message.bytes().filter(|b| *b == b'\n').count() as u64;
        self.take(message.len() as u64 + LINE_COST * (breaks + 1))?;
        let mut lines = self.lines();
        if breaks == 0 {
            lines.whole.push(LogLine { level, text: text::line(message) });
        } else {
            lines.whole.extend(message.lines().map(|one| LogLine { level, text: text::line(one.to_owned()) }));
        }
        Ok(())
    }

    fn print(&self, level: Level, bytes: &[u8]) -> Result<(), LogOver> {
        let ends = bytes.iter().filter(|b| **b == b'\n').count() as u64;
        self.take(bytes.len() as u64 + LINE_COST * ends)?;
        let mut lines = self.lines();
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            lines.open[stream_index(level)].extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                lines.close(level);
            }
        }
        Ok(())
    }
}

impl Lines {
    fn close(&mut self, level: Level) {
        let open = std::mem::take(&mut self.open[stream_index(level)]);
        if open.is_empty() {
            return;
        }
        let text = String::from_utf8_lossy(&open);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        self.whole.push(LogLine { level, text: text::line(text.to_owned()) });
    }
}

fn stream_index(level: Level) -> usize {
    usize::from(level >= Level::Warn)
}

impl Host for Cell {
    fn log(&mut self, level: GuestLevel, message: String) -> wasmtime::Result<()> {
        let level = match level {
            GuestLevel::Debug => Level::Debug,
            GuestLevel::Info => Level::Info,
            GuestLevel::Warn => Level::Warn,
            GuestLevel::Error => Level::Error,
        };
        Ok(self.report.said.log(level, message)?)
    }

    fn progress(&mut self, _done: u64, _total: Option<u64>, note: String) -> wasmtime::Result<()> {
        // Nobody listens yet; what a flood of it would cost is counted all the same, so that guests are held to it.
        Ok(self.report.said.take(1 + note.len() as u64)?)
    }
}

/// An artifact being written.
#[derive(Debug)]
#[allow(unreachable_pub, reason = "the generated bindings name it in a `pub use`")]
pub struct Writer {
    name: String,
    media_type: String,
    bytes: Vec<u8>,
}

impl HostArtifactWriter for Cell {
    fn create(
        &mut self,
        name: String,
        media_type: String,
    ) -> wasmtime::Result<Result<Resource<Writer>, types::ToolError>> {
        if let Err(why) = check_name(&name).and_then(|()| check_media_type(&media_type)) {
            return Ok(Err(types::ToolError::InvalidArguments(why)));
        }
        Ok(Ok(self.table.push(Writer { name, media_type, bytes: Vec::new() })?))
    }

    fn write(&mut self, writer: Resource<Writer>, bytes: Vec<u8>) -> wasmtime::Result<Result<(), types::ToolError>> {
        if let Err(hit) = self.report.account.take(account::Resource::ArtifactBytes, bytes.len() as u64) {
            return Ok(Err(self.refuse(hit)));
        }
        self.table.get_mut(&writer)?.bytes.extend_from_slice(&bytes);
        Ok(Ok(()))
    }

    fn finish(&mut self, writer: Resource<Writer>) -> wasmtime::Result<Result<types::Artifact, types::ToolError>> {
        let Writer { name, media_type, bytes } = self.table.delete(writer)?;
        if self.report.artifacts.len() == ARTIFACTS_MAX {
            let limit = ARTIFACTS_MAX as u64;
            return Ok(Err(self.refuse(LimitHit { quota: "artifacts".into(), limit, used: limit + 1 })));
        }
        let (digest, size) = (Digest::of(&bytes), bytes.len() as u64);
        let artifact = Artifact { name, media_type, digest, bytes: size, content: Some(bytes.into()) };
        let answer = to_guest(&artifact);
        self.report.artifacts.push(artifact);
        Ok(Ok(answer))
    }

    fn drop(&mut self, writer: Resource<Writer>) -> wasmtime::Result<()> {
        // The bytes stay counted: a guest that keeps starting over does not get the quota back.
        self.table.delete(writer)?;
        Ok(())
    }
}

impl Cell {
    fn refuse(&mut self, hit: LimitHit) -> types::ToolError {
        self.report.refused = Some(hit.clone());
        self.told.tell(Failure::Limit(hit))
    }
}

/// An artifact as guests see it.
pub(crate) fn to_guest(artifact: &Artifact) -> types::Artifact {
    types::Artifact {
        name: artifact.name.clone(),
        media_type: artifact.media_type.clone(),
        sha256: artifact.digest.to_string(),
        size: artifact.bytes,
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let why = match name {
        "" => "it is empty",
        "." | ".." => "it names a directory",
        name if name.len() > 255 => "it is longer than 255 bytes",
        name if name.contains(['/', '\\']) => "it holds a path separator; give a file name only",
        name if name != text::line(name.to_owned()) => "it holds a control character",
        _ => return Ok(()),
    };
    Err(format!("an artifact cannot be named {:?}: {why}", name.chars().take(80).collect::<String>()))
}

fn check_media_type(media_type: &str) -> Result<(), String> {
    let token =
        |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b));
    let essence = media_type.split(';').next().unwrap_or_default().trim_end();
    let plain = media_type.len() <= 127 && media_type.bytes().all(|b| (b' '..=b'~').contains(&b));
    match essence.split_once('/') {
        Some((kind, sub)) if plain && token(kind) && token(sub) => Ok(()),
        _ => Err(format!(
            "{:?} is not a media type; write for example text/plain",
            media_type.chars().take(80).collect::<String>()
        )),
    }
}

/// Standard output or standard error of a cell: lines in its log.
#[derive(Debug, Clone)]
pub(crate) struct LogStream {
    said: Arc<Said>,
    level: Level,
}

impl LogStream {
    /// Write one whole line, unless the log quota is used up.
    pub(crate) fn line(&self, text: String) {
        let _ = self.said.log(self.level, text);
    }
}

impl IsTerminal for LogStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LogStream {
    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        // Only asked for by WASI 0.3, which is not linked.
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for LogStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.said.print(self.level, &bytes).map_err(|over| StreamError::Trap(over.into()))
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(64 << 10)
    }
}

#[async_trait]
impl Pollable for LogStream {
    async fn ready(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_becomes_lines_however_it_is_cut() {
        let mut report = Report::new(&Quota::default(), Account::alone(&Quota::default()));
        let (mut out, mut err) = (report.stream(Level::Info), report.stream(Level::Warn));
        for piece in ["on", "e\ntwo\r\n", "\u{1b}[2Jth"] {
            out.write(Bytes::copy_from_slice(piece.as_bytes())).unwrap();
            err.write(Bytes::from_static(b"!")).unwrap();
        }
        let (lines, _) = report.take();
        let texts: Vec<_> = lines.iter().map(|line| line.text.as_str()).collect();
        assert_eq!(texts, ["one", "two", "\\u{1b}[2Jth", "!!!"]);
    }

    #[test]
    fn output_past_the_quota_traps_and_says_why() {
        let quota = Quota { log_bytes_max: 100, ..Quota::default() };
        let report = Report::new(&quota, Account::alone(&quota));
        let mut out = report.stream(Level::Info);
        out.write(Bytes::from_static(&[b'x'; 100])).unwrap();
        assert!(report.log_over().is_none());
        assert!(matches!(out.write(Bytes::from_static(b"y")), Err(StreamError::Trap(_))));
        let over = report.log_over().expect("the cause is kept");
        assert_eq!((over.quota.as_str(), over.limit, over.used), ("log-bytes", 100, 101));
    }

    fn cell(artifact_bytes_max: u64) -> Cell {
        let quota = Quota { artifact_bytes_max, ..Quota::default() };
        Cell::empty(&quota, Account::alone(&quota), crate::cell::Senses::Real, crate::fs::Files::default())
    }

    fn begin(cell: &mut Cell) -> Resource<Writer> {
        cell.create("a.txt".into(), "text/plain".into()).unwrap().unwrap()
    }

    #[test]
    fn a_finished_artifact_is_kept_and_an_unfinished_one_is_not() {
        let mut cell = cell(100);
        let (kept, dropped) = (begin(&mut cell), begin(&mut cell));
        for piece in ["ab", "c"] {
            let again = Resource::new_borrow(kept.rep());
            cell.write(again, piece.into()).unwrap().unwrap();
        }
        HostArtifactWriter::drop(&mut cell, dropped).unwrap();
        let told = cell.finish(kept).unwrap().unwrap();
        assert_eq!((told.sha256, told.size), (Digest::of(b"abc").to_string(), 3));
        let (_, artifacts) = cell.report.take();
        assert_eq!(artifacts.len(), 1);
        assert_eq!(artifacts[0].content.as_deref(), Some(&b"abc"[..]));
    }

    #[test]
    fn artifact_bytes_are_counted_over_all_writers_and_never_given_back() {
        let mut cell = cell(10);
        for written in [6, 4] {
            let writer = begin(&mut cell);
            let borrowed = Resource::new_borrow(writer.rep());
            cell.write(borrowed, vec![0; written]).unwrap().unwrap();
            HostArtifactWriter::drop(&mut cell, writer).unwrap();
        }
        let writer = begin(&mut cell);
        let Err(types::ToolError::Limit(hit)) = cell.write(writer, vec![0]).unwrap() else { panic!() };
        assert_eq!((hit.quota.as_str(), hit.limit, hit.used), ("artifact-bytes", 10, 11));
        assert_eq!(cell.report.refusal().map(|hit| hit.used), Some(11));
    }

    #[test]
    fn names_that_could_leave_a_directory_are_refused() {
        for bad in ["", ".", "..", "a/b", "a\\b", "a\0", "a\nb", &"x".repeat(256)] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
        check_name("report.sarif").unwrap();
        for bad in ["", "text", "text/", "/plain", "te xt/plain", "text/plain\r\nx: y"] {
            assert!(check_media_type(bad).is_err(), "{bad:?}");
        }
        check_media_type("text/plain; charset=utf-8").unwrap();
    }
}
