//! Questions to a ledger, over a read-only connection of their own: they work while a run is being written, and cannot
//! change anything.

use crate::store::{self, FaultKind, LedgerError};
use crate::writer::SEQ_BITS;
use rusqlite::{Connection, OptionalExtension, Row};
use serde::de::DeserializeOwned;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use vespiary_kernel::event::{Event, Payload, RunStatus};
use vespiary_kernel::ids::{Digest, RunId};
use vespiary_kernel::json::Json;

/// Events fetched at a time.
const PAGE: i64 = 256;

/// A ledger open for reading.
pub struct Reader {
    pub(crate) connection: Connection,
    pub(crate) path: PathBuf,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("path", &self.path).finish_non_exhaustive()
    }
}

/// What a run's events count up to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Agents started.
    pub agents: u64,
    /// Agents that failed.
    pub agents_failed: u64,
    /// Calls asked for, the script's engine included.
    pub calls: u64,
    /// Calls that gave no value.
    pub calls_failed: u64,
}

impl Tally {
    pub(crate) fn count(&mut self, event: &Event) {
        match event {
            Event::AgentStarted { .. } => self.agents += 1,
            Event::AgentEnded { failure: Some(_), .. } => self.agents_failed += 1,
            Event::CallIntended { .. } => self.calls += 1,
            Event::CallEnded { failure: Some(_), .. } => self.calls_failed += 1,
            _ => {}
        }
    }
}

/// One run, in a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunSummary {
    /// Its id.
    pub id: RunId,
    /// The script's name, or the tool of a single call.
    pub title: String,
    /// How it stands. `Running` may also mean that its process was killed.
    pub status: RunStatus,
    /// Milliseconds since 1970 UTC.
    pub started_ms: i64,
    /// Milliseconds since 1970 UTC; none while it runs.
    pub ended_ms: Option<i64>,
    /// What it did.
    pub tally: Tally,
    /// Events recorded.
    pub events: u64,
    /// The hash of its last event: whoever keeps it elsewhere can later tell whether the whole run was rewritten.
    pub head: Digest,
}

/// One event as it stands in the ledger.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// Its place in the run, from 1.
    pub seq: u64,
    /// Microseconds since 1970 UTC, by the clock of the machine that recorded it.
    pub time_us: i64,
    /// What happened.
    pub event: Event,
    /// Its link in the chain.
    pub hash: Digest,
}

impl Reader {
    /// Open the ledger at `path`. Fails when there is none, it is damaged, something else, or of another schema.
    pub fn open(path: &Path) -> Result<Self, LedgerError> {
        Ok(Self { connection: store::open_reader(path, store::BUSY_MAX)?, path: path.to_owned() })
    }

    /// The latest runs, newest first, at most `limit`.
    pub fn runs(&self, limit: usize) -> Result<Vec<RunSummary>, LedgerError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let sql = format!("SELECT {SUMMARY} FROM runs ORDER BY number DESC LIMIT ?1");
        let step = || -> rusqlite::Result<Vec<_>> {
            self.connection.prepare_cached(&sql)?.query_map([limit], summary)?.collect()
        };
        step().map_err(|e| self.fault(e))
    }

    /// One run. Fails with `Missing` when there is no such run.
    pub fn run(&self, id: &RunId) -> Result<RunSummary, LedgerError> {
        let sql = format!("SELECT {SUMMARY} FROM runs WHERE id = ?1");
        let step = || self.connection.prepare_cached(&sql)?.query_row([id.as_str()], summary).optional();
        step().map_err(|e| self.fault(e))?.ok_or_else(|| self.no_run(id))
    }

    pub(crate) fn summary(&self, id: &RunId) -> rusqlite::Result<RunSummary> {
        let sql = format!("SELECT {SUMMARY} FROM runs WHERE id = ?1");
        self.connection.prepare_cached(&sql)?.query_row([id.as_str()], summary)
    }

    /// The events of a run after its `seq`th, in order: what has happened since somebody last looked.
    pub fn events_after(&self, id: &RunId, seq: u64) -> Result<Events<'_>, LedgerError> {
        let mut events = self.events(id)?;
        events.after += i64::try_from(seq).unwrap_or(KEY_MASK).min(KEY_MASK);
        Ok(events)
    }

    /// The events of a run in order, read a page at a time, so that a run of any length needs little memory.
    pub fn events(&self, id: &RunId) -> Result<Events<'_>, LedgerError> {
        let first = self.number(id)? << SEQ_BITS;
        Ok(Events {
            reader: self,
            run: id.clone(),
            after: first,
            last: first | KEY_MASK,
            page: VecDeque::new(),
            page_size: PAGE,
            end: false,
        })
    }

    /// The events of a run in order, each as its place and its text, until `each` wants no more. For who needs little of many: nothing is
    /// taken apart or copied.
    pub(crate) fn bodies(
        &self,
        id: &RunId,
        mut each: impl FnMut(u64, &str) -> ControlFlow<()>,
    ) -> Result<(), LedgerError> {
        let first = self.number(id)? << SEQ_BITS;
        let sql = "SELECT key, body FROM events WHERE key > ?1 AND key <= ?2 ORDER BY key";
        let mut statement = self.connection.prepare_cached(sql).map_err(|e| self.fault(e))?;
        let mut rows = statement.query([first, first | KEY_MASK]).map_err(|e| self.fault(e))?;
        while let Some(row) = rows.next().map_err(|e| self.fault(e))? {
            let key: i64 = row.get(0).map_err(|e| self.fault(e))?;
            let body = row.get_ref(1).map_err(|e| self.fault(e))?;
            let body = body.as_str().map_err(|e| self.fault(e.into()))?;
            if each((key & KEY_MASK) as u64, body).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// The first two events of a run: its start, and for a workflow what it takes to go on with it.
    pub(crate) fn opening(&self, id: &RunId) -> Result<Vec<Event>, LedgerError> {
        let mut events = self.events(id)?;
        events.page_size = 2;
        events.take(2).map(|recorded| recorded.map(|recorded| recorded.event)).collect()
    }

    /// The runs that began after `id`, in their order.
    pub(crate) fn started_after(&self, id: &RunId) -> Result<Vec<RunId>, LedgerError> {
        let number = self.number(id)?;
        let step = || -> rusqlite::Result<Vec<String>> {
            let mut statement =
                self.connection.prepare_cached("SELECT id FROM runs WHERE number > ?1 ORDER BY number")?;
            statement.query_map([number], |row| row.get(0))?.collect()
        };
        let ids = step().map_err(|e| self.fault(e))?;
        ids.iter().map(|id| id.parse().map_err(|error| self.no_id(id, &error))).collect()
    }

    fn no_id(&self, id: &str, error: &dyn fmt::Display) -> LedgerError {
        let what = format!("{} has a run named {id:?}: {error}", self.path.display());
        LedgerError::new(FaultKind::Corrupt, what, "`vespiary audit verify` tells what was changed")
    }

    /// The bytes of a blob; `None` when the ledger does not have it. Fails with `Corrupt` when they are not the bytes named.
    pub fn blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>, LedgerError> {
        let sql = "SELECT content FROM blobs WHERE digest = ?1";
        let step = || self.connection.prepare_cached(sql)?.query_row([digest.as_bytes()], |row| row.get(0)).optional();
        let content: Option<Vec<u8>> = step().map_err(|e| self.fault(e))?;
        match content {
            Some(bytes) if Digest::of(&bytes) != *digest => Err(LedgerError::new(
                FaultKind::Corrupt,
                format!("the blob {} of {} was changed", digest.short(), self.path.display()),
                "do not trust this value; restore the ledger from a copy",
            )),
            content => Ok(content),
        }
    }

    /// The value of a payload, from its blob where it was moved there; `None` when only its digest was kept.
    pub fn value(&self, payload: &Payload) -> Result<Option<Json>, LedgerError> {
        let digest = match payload {
            Payload::Value(json) => return Ok(Some(json.clone())),
            Payload::Digest { .. } => return Ok(None),
            Payload::Blob { digest, .. } => digest,
        };
        let text = String::from_utf8(self.kept(digest)?).map_err(|error| self.damaged(digest, error))?;
        Json::parse(text).map(Some).map_err(|error| self.damaged(digest, error))
    }

    /// The same, read as a Rust value: who wants only parts of a long one has it looked through once, and not twice.
    pub fn read<T: DeserializeOwned>(&self, payload: &Payload) -> Result<Option<T>, LedgerError> {
        let wrong = |error: serde_json::Error| {
            let what = format!("a value of {} has another shape than this program wrote: {error}", self.path.display());
            LedgerError::new(FaultKind::Corrupt, what, "`vespiary audit verify` tells whether it was changed")
        };
        self.bytes(payload)?.map(|bytes| serde_json::from_slice(&bytes)).transpose().map_err(wrong)
    }

    /// The JSON text of a payload, which was looked at when it was written.
    pub(crate) fn bytes<'a>(&self, payload: &'a Payload) -> Result<Option<Cow<'a, [u8]>>, LedgerError> {
        Ok(match payload {
            Payload::Value(json) => Some(Cow::Borrowed(json.as_str().as_bytes())),
            Payload::Digest { .. } => None,
            Payload::Blob { digest, .. } => Some(Cow::Owned(self.kept(digest)?)),
        })
    }

    /// The bytes of a blob that a value was moved to.
    fn kept(&self, digest: &Digest) -> Result<Vec<u8>, LedgerError> {
        self.blob(digest)?.ok_or_else(|| self.damaged(digest, "it is missing"))
    }

    fn damaged(&self, digest: &Digest, why: impl fmt::Display) -> LedgerError {
        let what = format!("the blob {} of {}: {why}", digest.short(), self.path.display());
        LedgerError::new(FaultKind::Corrupt, what, "restore the ledger from a copy")
    }

    pub(crate) fn number(&self, id: &RunId) -> Result<i64, LedgerError> {
        let sql = "SELECT number FROM runs WHERE id = ?1";
        let step = || self.connection.prepare_cached(sql)?.query_row([id.as_str()], |row| row.get(0)).optional();
        step().map_err(|e| self.fault(e))?.ok_or_else(|| self.no_run(id))
    }

    pub(crate) fn fault(&self, error: rusqlite::Error) -> LedgerError {
        LedgerError::sqlite(&self.path, error)
    }

    fn no_run(&self, id: &RunId) -> LedgerError {
        LedgerError::new(
            FaultKind::Missing,
            format!("there is no run {id} in {}", self.path.display()),
            "`vespiary runs list` names those there are",
        )
    }
}

/// The low bits of a key: an event's place in its run.
pub(crate) const KEY_MASK: i64 = (1 << SEQ_BITS) - 1;

const SUMMARY: &str =
    "id, title, status, started_ms, ended_ms, agents, agents_failed, calls, calls_failed, events, head";

fn summary(row: &Row<'_>) -> rusqlite::Result<RunSummary> {
    fn parsed<T, E: std::error::Error + Send + Sync + 'static>(
        column: usize,
        result: Result<T, E>,
    ) -> rusqlite::Result<T> {
        result.map_err(|e| rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, e.into()))
    }
    let status = row.get::<_, String>(2)?;
    Ok(RunSummary {
        id: parsed(0, row.get::<_, String>(0)?.parse())?,
        title: row.get(1)?,
        status: parsed(2, serde_json::from_value(serde_json::Value::String(status)))?,
        started_ms: row.get(3)?,
        ended_ms: row.get(4)?,
        tally: Tally { agents: row.get(5)?, agents_failed: row.get(6)?, calls: row.get(7)?, calls_failed: row.get(8)? },
        events: row.get(9)?,
        head: Digest::from_bytes(row.get(10)?),
    })
}

pub(crate) fn unreadable(run: &RunId, seq: u64, error: &serde_json::Error) -> LedgerError {
    let what = format!("event {seq} of run {run} cannot be read: {error}");
    LedgerError::new(FaultKind::Corrupt, what, "`vespiary runs show --verify` tells whether it was changed")
}

/// A run's events, in order. After an error it ends.
#[derive(Debug)]
pub struct Events<'a> {
    reader: &'a Reader,
    run: RunId,
    after: i64,
    last: i64,
    page: VecDeque<(i64, i64, String, [u8; 32])>,
    page_size: i64,
    end: bool,
}

impl Events<'_> {
    fn fetch(&mut self) -> rusqlite::Result<()> {
        let sql = "SELECT key, time_us, body, hash FROM events WHERE key > ?1 AND key <= ?2 ORDER BY key LIMIT ?3";
        let mut statement = self.reader.connection.prepare_cached(sql)?;
        let rows = statement.query_map([self.after, self.last, self.page_size], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })?;
        for row in rows {
            self.page.push_back(row?);
        }
        Ok(())
    }
}

impl Iterator for Events<'_> {
    type Item = Result<Recorded, LedgerError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.page.is_empty() && !self.end {
            if let Err(error) = self.fetch() {
                self.end = true;
                return Some(Err(self.reader.fault(error)));
            }
            self.end = self.page.is_empty();
        }
        let (key, time_us, body, hash) = self.page.pop_front()?;
        self.after = key;
        let seq = (key & KEY_MASK) as u64;
        match serde_json::from_str(&body) {
            Ok(event) => Some(Ok(Recorded { seq, time_us, event, hash: Digest::from_bytes(hash) })),
            Err(error) => {
                (self.end, self.page) = (true, VecDeque::new());
                Some(Err(unreadable(&self.run, seq, &error)))
            }
        }
    }
}
