//! The writer's thread: one group of events becomes one transaction, whole or not at all. The only place that inserts.

use crate::chain;
use crate::feed::Followers;
use crate::queue::{Entry, Queue};
use crate::reader::{Recorded, Tally};
use crate::store::{FaultKind, LedgerError};
use crate::succession::{self, Before};
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::HashMap;
use std::path::PathBuf;
use vespiary_kernel::call::Artifact;
use vespiary_kernel::event::{Event, Payload, RunStatus};
use vespiary_kernel::ids::{Digest, RunId};
use vespiary_kernel::ports::LogError;
use vespiary_kernel::quota::STORED_BYTES_MAX;

/// A value longer than this many bytes becomes a blob: reading a run's events stays cheap, and equal values are kept once.
const INLINE_BYTES_MAX: usize = 4 << 10;

/// Bits of an event's key that count within its run.
pub(crate) const SEQ_BITS: u32 = 32;

/// The most bytes of one value or artifact that can be stored. SQLite's own limit for a row, 1,000,000,000 bytes, must lie above, with
/// room for what else is in the row. No call can leave more, since the kernel bounds its artifacts by the same number.
pub(crate) const BLOB_BYTES_MAX: usize = STORED_BYTES_MAX as usize;

const _: () = assert!(STORED_BYTES_MAX < 990_000_000 && usize::BITS >= 32);

/// Where one run's chain stands, and what its index row must learn of the group at hand.
struct Head {
    number: i64,
    seq: u64,
    hash: Digest,
    news: Tally,
    ended: Option<(RunStatus, i64)>,
    touched: bool,
}

pub(crate) struct Writer {
    connection: Connection,
    path: PathBuf,
    heads: HashMap<RunId, Head>,
    durable: Option<bool>,
    body: Vec<u8>,
    followers: Followers,
}

/// Write groups until the queue is closed. After the first fault nothing is written any more.
pub(crate) fn run(mut writer: Writer, queue: &Queue) {
    // Should this thread panic, callers must hear of it rather than wait for ever.
    struct Alarm<'a>(&'a Queue);
    impl Drop for Alarm<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                let what = "the ledger's writer broke down".into();
                self.0.fail(LogError { what, remedy: "start the run again, and report the panic above".into() });
            }
        }
    }
    let alarm = Alarm(queue);
    let mut entries = Vec::new();
    while let Some(group) = queue.next(&mut entries) {
        match writer.write(&mut entries, group.durable) {
            // Whoever waits for the disk finds it in the feed, too.
            Ok(()) => queue.done(&group),
            Err(error) => {
                queue.fail(LogError::from(&error));
                break;
            }
        }
    }
    drop(alarm);
}

impl Writer {
    pub(crate) fn new(connection: Connection, path: PathBuf, followers: Followers) -> Self {
        Self { connection, path, heads: HashMap::new(), durable: None, body: Vec::new(), followers }
    }

    /// Write all of `entries`, which is emptied, as one transaction. With `durable` it and everything committed before it are on
    /// disk when this returns.
    fn write(&mut self, entries: &mut Vec<Entry>, durable: bool) -> Result<(), LedgerError> {
        self.followers.begin();
        // Whoever follows what is written need not wait for the disk as well.
        if durable && !entries.is_empty() && self.followers.are_there() {
            self.commit(entries, false)?;
            self.followers.hand_on();
        }
        self.commit(entries, durable)?;
        self.followers.hand_on();
        Ok(())
    }

    fn commit(&mut self, entries: &mut Vec<Entry>, durable: bool) -> Result<(), LedgerError> {
        self.set_durable(durable)?;
        self.execute("BEGIN IMMEDIATE")?;
        let written = self.write_all(entries).and_then(|()| self.execute("COMMIT"));
        if written.is_err() && !self.connection.is_autocommit() {
            // The fault itself is what counts; closing the connection rolls back as well.
            let _ = self.execute("ROLLBACK");
        }
        written
    }

    /// NORMAL hands a commit to the operating system; FULL also waits for the disk, and because all commits go through one
    /// log file, for every earlier one too.
    fn set_durable(&mut self, durable: bool) -> Result<(), LedgerError> {
        if self.durable != Some(durable) {
            let level = if durable { "full" } else { "normal" };
            self.connection.pragma_update(None, "synchronous", level).map_err(|e| self.fault(e))?;
            self.durable = Some(durable);
        }
        Ok(())
    }

    fn write_all(&mut self, entries: &mut Vec<Entry>) -> Result<(), LedgerError> {
        if entries.is_empty() {
            // Only asked to reach the disk: a commit that changes nothing would not touch it.
            return self.execute("UPDATE runs SET events = events WHERE number = (SELECT max(number) FROM runs)");
        }
        for entry in entries.drain(..) {
            self.write_one(entry)?;
        }
        self.update_index()
    }

    fn write_one(&mut self, entry: Entry) -> Result<(), LedgerError> {
        let followed = self.followers.look(&entry);
        let Entry { run, time_us, mut event } = entry;
        self.move_to_blobs(&mut event)?;
        self.body.clear();
        serde_json::to_writer(&mut self.body, &event)
            .map_err(|e| refused(&run, format!("an event is not JSON: {e}")))?;
        if !self.heads.contains_key(&run) {
            let head = self.head_of(&run, &event, time_us)?;
            self.heads.insert(run.clone(), head);
        } else if matches!(event, Event::RunStarted { .. }) {
            return Err(taken(&run));
        }
        let Some(head) = self.heads.get_mut(&run) else { unreachable!("inserted above") };
        head.seq += 1;
        if head.seq >> SEQ_BITS != 0 {
            return Err(refused(&run, "it has 4,294,967,295 events, the most a run can have".into()));
        }
        head.hash = chain::link(&run, head.seq, &head.hash, time_us, &self.body);
        head.touched = true;
        head.news.count(&event);
        if let Event::RunEnded { status, .. } = &event {
            head.ended = Some((*status, time_us / 1_000));
        }
        let key = head.number << SEQ_BITS | head.seq as i64;
        let body = std::str::from_utf8(&self.body).map_err(|e| refused(&run, e.to_string()))?;
        let insert = "INSERT INTO events (key, time_us, body, hash) VALUES (?1, ?2, ?3, ?4)";
        let (seq, hash) = (head.seq, head.hash);
        self.connection
            .prepare_cached(insert)
            .and_then(|mut s| s.execute(params![key, time_us, body, hash.as_bytes()]))
            .map_err(|e| self.fault(e))?;
        if let Some(whole) = followed {
            self.followers.keep(&run, whole, Recorded { seq, time_us, event, hash });
        }
        Ok(())
    }

    /// The head of a run this thread has not met: from the file, or a new one when the event begins a run. Then its text, which is
    /// in `body`, learns which run stands before it.
    fn head_of(&mut self, run: &RunId, event: &Event, time_us: i64) -> Result<Head, LedgerError> {
        let known: Option<(i64, i64, [u8; 32])> = self
            .connection
            .prepare_cached("SELECT number, events, head FROM runs WHERE id = ?1")
            .and_then(|mut s| s.query_row([run.as_str()], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?))).optional())
            .map_err(|e| self.fault(e))?;
        let head = |number, seq, hash| Head { number, seq, hash, news: Tally::default(), ended: None, touched: false };
        match (known, event) {
            (Some(_), Event::RunStarted { .. }) => Err(taken(run)),
            (Some((number, events, hash)), _) => {
                let events = u64::try_from(events).map_err(|e| refused(run, e.to_string()))?;
                Ok(head(number, events, Digest::from_bytes(hash)))
            }
            (None, Event::RunStarted { title, .. }) => {
                // Within the transaction, so that no other process can begin one in between.
                let before = self.latest()?;
                succession::tell(&mut self.body, before.as_ref()).map_err(|e| refused(run, e.to_string()))?;
                let genesis = chain::genesis(run);
                let insert = "INSERT INTO runs (id, title, status, started_ms, head) VALUES (?1, ?2, ?3, ?4, ?5)";
                let status = RunStatus::Running.as_str();
                self.connection
                    .prepare_cached(insert)
                    .and_then(|mut s| {
                        s.execute(params![run.as_str(), title, status, time_us / 1_000, genesis.as_bytes()])
                    })
                    .map_err(|e| self.fault(e))?;
                Ok(head(self.connection.last_insert_rowid(), 0, genesis))
            }
            (None, _) => Err(refused(run, "its first event is not its start".into())),
        }
    }

    /// The run that was begun last.
    fn latest(&self) -> Result<Option<Before>, LedgerError> {
        let sql = "SELECT id, hash FROM runs LEFT JOIN events ON key = (number << 32) | 1 ORDER BY number DESC LIMIT 1";
        let latest: Option<(String, Option<[u8; 32]>)> = self
            .connection
            .prepare_cached(sql)
            .and_then(|mut s| s.query_row([], |r| Ok((r.get(0)?, r.get(1)?))).optional())
            .map_err(|e| self.fault(e))?;
        let Some((id, first)) = latest else { return Ok(None) };
        let run: RunId = id.parse().map_err(|error| {
            let what = format!("the latest run of the ledger {} is named {id:?}: {error}", self.path.display());
            LedgerError::new(FaultKind::Corrupt, what, "`vespiary audit verify` tells what was changed")
        })?;
        // One without events was changed behind our back; verifying tells, and what is named here is what was there.
        let first = first.map_or_else(|| chain::genesis(&run), Digest::from_bytes);
        Ok(Some(Before { run, first }))
    }

    /// Tell each run's index row what the group brought.
    fn update_index(&mut self) -> Result<(), LedgerError> {
        let update = "UPDATE runs SET agents = agents + ?2, agents_failed = agents_failed + ?3, calls = calls + ?4, \
                      calls_failed = calls_failed + ?5, events = ?6, head = ?7, status = coalesce(?8, status), \
                      ended_ms = coalesce(?9, ended_ms) WHERE number = ?1";
        let step = || -> rusqlite::Result<()> {
            let mut statement = self.connection.prepare_cached(update)?;
            for head in self.heads.values().filter(|head| head.touched) {
                let Tally { agents, agents_failed, calls, calls_failed } = head.news;
                let (status, ended) = head.ended.unzip();
                statement.execute(params![
                    head.number,
                    agents,
                    agents_failed,
                    calls,
                    calls_failed,
                    head.seq,
                    head.hash.as_bytes(),
                    status.map(RunStatus::as_str),
                    ended,
                ])?;
            }
            Ok(())
        };
        step().map_err(|e| self.fault(e))?;
        // A run that ended is forgotten here: should it say more, its row in the file knows where it stands.
        self.heads.retain(|_, head| head.ended.is_none());
        for head in self.heads.values_mut() {
            (head.news, head.touched) = (Tally::default(), false);
        }
        Ok(())
    }

    fn move_to_blobs(&self, event: &mut Event) -> Result<(), LedgerError> {
        let (payloads, artifacts) = event.contents_mut();
        payloads.into_iter().try_for_each(|payload| self.move_value(payload))?;
        self.move_contents(artifacts)
    }

    fn move_contents(&self, artifacts: &mut [Artifact]) -> Result<(), LedgerError> {
        for artifact in artifacts {
            if let Some(content) = artifact.content.take() {
                self.store(&artifact.digest, &content)?;
            }
        }
        Ok(())
    }

    fn move_value(&self, payload: &mut Payload) -> Result<(), LedgerError> {
        if let Payload::Value(json) = payload
            && json.as_str().len() > INLINE_BYTES_MAX
        {
            let (digest, bytes) = (Digest::of(json.as_str().as_bytes()), json.len_bytes());
            self.store(&digest, json.as_str().as_bytes())?;
            *payload = Payload::Blob { digest, bytes };
        }
        Ok(())
    }

    fn store(&self, digest: &Digest, content: &[u8]) -> Result<(), LedgerError> {
        let insert = "INSERT INTO blobs (digest, content) VALUES (?1, ?2) ON CONFLICT (digest) DO NOTHING";
        self.connection
            .prepare_cached(insert)
            .and_then(|mut s| s.execute(params![digest.as_bytes(), content]))
            .map_err(|e| self.fault(e))?;
        Ok(())
    }

    fn execute(&self, sql: &str) -> Result<(), LedgerError> {
        self.connection.prepare_cached(sql).and_then(|mut s| s.execute([])).map_err(|e| self.fault(e))?;
        Ok(())
    }

    fn fault(&self, error: rusqlite::Error) -> LedgerError {
        LedgerError::sqlite(&self.path, error)
    }
}

fn refused(run: &RunId, why: String) -> LedgerError {
    LedgerError::new(FaultKind::Refused, format!("run {run} cannot be recorded: {why}"), "report this as a fault")
}

fn taken(run: &RunId) -> LedgerError {
    LedgerError::new(FaultKind::Refused, format!("run {run} is recorded already"), "start it under a new id")
}
