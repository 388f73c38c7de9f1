//! The proof that a run's record is what was written: every link recomputed, every blob hashed, the index compared; of a whole ledger,
//! also that each run stands behind the one behind which it was begun. It shows any change by somebody who does not also recompute
//! everything after it, later runs included; against that, keep a run's head elsewhere.

use crate::chain::{self, Chain};
use crate::reader::{KEY_MASK, Reader, RunSummary, Tally};
use crate::store::LedgerError;
use crate::succession::Succession;
use crate::writer::SEQ_BITS;
use rusqlite::OptionalExtension as _;
use rusqlite::types::ValueRef;
use std::collections::HashSet;
use std::fmt;
use vespiary_kernel::event::{Event, Payload, RunStatus};
use vespiary_kernel::ids::{Digest, RunId};

/// What verifying found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Everything is as it was written.
    Intact(Intact),
    /// Something is not; the first such place.
    Broken(Break),
}

/// A run whose record holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intact {
    /// Events checked.
    pub events: u64,
    /// Blobs checked.
    pub blobs: u64,
    /// The hash of the last event.
    pub head: Digest,
    /// Whether the run recorded its end. It does not when it still goes on or was killed.
    pub ended: bool,
}

/// The first place at which a record is not what was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Break {
    /// The event's place in its run, from 1; 0 when it is about no event.
    pub seq: u64,
    /// What is wrong there.
    pub what: String,
    /// What should be there; may be empty.
    pub expected: String,
    /// What is there; may be empty.
    pub found: String,
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.seq > 0 {
            write!(f, "event {}: ", self.seq)?;
        }
        f.write_str(&self.what)?;
        if !self.expected.is_empty() {
            write!(f, " (expected {}, found {})", self.expected, self.found)?;
        }
        Ok(())
    }
}

impl Reader {
    /// Recompute the chain of a run. Fails only when the file cannot be read; what was tampered with is a verdict.
    pub fn verify(&self, id: &RunId) -> Result<Verdict, LedgerError> {
        // One snapshot for the whole walk, though a run may be going on.
        let snapshot = self.connection.unchecked_transaction().map_err(|e| self.fault(e))?;
        let verdict = self.verify_now(id);
        drop(snapshot);
        verdict
    }

    /// The same, in the snapshot that is open.
    pub(crate) fn verify_now(&self, id: &RunId) -> Result<Verdict, LedgerError> {
        self.walk(id, &mut HashSet::new())
    }

    /// Verify every run, that each stands where it was begun, and that there is nothing beside them: no event without its run, no
    /// blob that no event names, no gap in the numbers of rows. Tells `each` of a run, newest last; gives what is wrong with the
    /// whole.
    pub fn verify_all(&self, mut each: impl FnMut(&str, Verdict)) -> Result<Vec<Break>, LedgerError> {
        let snapshot = self.connection.unchecked_transaction().map_err(|e| self.fault(e))?;
        let whole = |what: String| Break { what, ..Break::default() };
        let mut wrong = Vec::new();
        let sound: String =
            self.connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(|e| self.fault(e))?;
        if sound != "ok" {
            wrong.push(whole(format!("the ledger's file is damaged: {sound}")));
        }
        let (mut named, mut all_hold) = (HashSet::new(), true);
        let ids = {
            let mut statement = self
                .connection
                .prepare("SELECT CAST(id AS BLOB), number FROM runs ORDER BY number")
                .map_err(|e| self.fault(e))?;
            let ids = statement
                .query_map([], |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get(1)?)))
                .map_err(|e| self.fault(e))?;
            ids.collect::<Result<Vec<_>, _>>().map_err(|e| self.fault(e))?
        };
        let mut succession = Succession::default();
        for (id, number) in ids {
            let text = String::from_utf8_lossy(&id).into_owned();
            let verdict = match text.parse() {
                Ok(id) => {
                    wrong.extend(self.misplaced(&id, number, &mut succession)?);
                    self.walk(&id, &mut named)?
                }
                Err(error) => Verdict::Broken(whole(format!("{INDEX}: {error}"))),
            };
            all_hold &= matches!(verdict, Verdict::Intact(_));
            each(&text, verdict);
        }
        let loose = "SELECT key >> 32, key & 4294967295 FROM events \
                     WHERE key >> 32 NOT IN (SELECT number FROM runs) OR key & 4294967295 = 0 ORDER BY key LIMIT 1";
        let loose: Option<(i64, i64)> = self
            .connection
            .query_row(loose, [], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()
            .map_err(|e| self.fault(e))?;
        if let Some((run, seq)) = loose {
            wrong.push(whole(format!("event {seq} of run number {run} belongs to no run that is there")));
        }
        for table in ["runs", "blobs"] {
            let gap = format!("SELECT count(*), coalesce(min(number), 1), coalesce(max(number), 0) FROM {table}");
            let (count, first, last): (i64, i64, i64) = self
                .connection
                .query_row(&gap, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
                .map_err(|e| self.fault(e))?;
            if (first, last) != (1, count) {
                let (expected, found) = (format!("1 to {count}"), format!("{first} to {last}"));
                wrong.push(Break {
                    expected,
                    found,
                    ..whole(format!("the rows of {table} are not numbered without a gap"))
                });
            }
        }
        if all_hold {
            wrong.extend(self.unnamed_blob(&named)?);
        }
        drop(snapshot);
        Ok(wrong)
    }

    /// What is wrong with the place of the run of that number among the others. Whether its start is as it was written, its own
    /// events tell.
    fn misplaced(&self, id: &RunId, number: i64, among: &mut Succession) -> Result<Option<Break>, LedgerError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT body, hash FROM events WHERE key = ?1")
            .map_err(|e| self.fault(e))?;
        let mut rows = statement.query([number << SEQ_BITS | 1]).map_err(|e| self.fault(e))?;
        let Some(row) = rows.next().map_err(|e| self.fault(e))? else {
            return Ok(among.next(id, b"", chain::genesis(id)));
        };
        let hash = <[u8; 32]>::try_from(bytes(row.get_ref(1).map_err(|e| self.fault(e))?));
        let first = hash.map_or_else(|_| chain::genesis(id), Digest::from_bytes);
        Ok(among.next(id, bytes(row.get_ref(0).map_err(|e| self.fault(e))?), first))
    }

    /// A blob that nothing names; what is wrong with those that are named, their events tell.
    fn unnamed_blob(&self, named: &HashSet<Digest>) -> Result<Option<Break>, LedgerError> {
        let mut statement = self.connection.prepare("SELECT digest FROM blobs").map_err(|e| self.fault(e))?;
        let mut rows = statement.query([]).map_err(|e| self.fault(e))?;
        while let Some(row) = rows.next().map_err(|e| self.fault(e))? {
            let found = bytes(row.get_ref(0).map_err(|e| self.fault(e))?);
            let digest = <[u8; 32]>::try_from(found).ok().map(Digest::from_bytes);
            if !digest.is_some_and(|digest| named.contains(&digest)) {
                let name = digest.map_or("without a digest".into(), |digest| digest.to_string());
                return Ok(Some(Break { what: format!("the blob {name} belongs to no event"), ..Break::default() }));
            }
        }
        Ok(None)
    }

    fn walk(&self, id: &RunId, named: &mut HashSet<Digest>) -> Result<Verdict, LedgerError> {
        let number = self.number(id)?;
        let (chain, tally) = (Chain::of(id), Tally::default());
        let walk = Walk { reader: self, id, chain, tally, ended: None, blobs: HashSet::new(), named };
        match walk.go(number) {
            Ok(intact) => Ok(Verdict::Intact(intact)),
            Err(Stop::Broken(place)) => Ok(Verdict::Broken(place)),
            Err(Stop::Unreadable(error)) => Err(error),
        }
    }
}

/// The row that sums a run up. It is not in the chain.
const INDEX: &str = "the run's index row";

/// Every blob that an event names.
pub(crate) fn blobs_of(event: &Event) -> Vec<Digest> {
    let (payloads, artifacts) = event.contents();
    let values = payloads.into_iter().filter_map(|payload| match payload {
        Payload::Blob { digest, .. } => Some(*digest),
        Payload::Value(_) | Payload::Digest { .. } => None,
    });
    values.chain(artifacts.iter().map(|artifact| artifact.digest)).collect()
}

enum Stop {
    Broken(Break),
    Unreadable(LedgerError),
}

struct Walk<'a> {
    reader: &'a Reader,
    id: &'a RunId,
    chain: Chain,
    tally: Tally,
    ended: Option<(RunStatus, i64)>,
    blobs: HashSet<Digest>,
    /// The blobs of all runs that are walked.
    named: &'a mut HashSet<Digest>,
}

impl Walk<'_> {
    fn go(mut self, number: i64) -> Result<Intact, Stop> {
        let reader = self.reader;
        let unreadable = |e| Stop::Unreadable(reader.fault(e));
        let sql = "SELECT key, time_us, body, hash FROM events WHERE key > ?1 AND key <= ?2 ORDER BY key";
        let mut statement = reader.connection.prepare_cached(sql).map_err(unreadable)?;
        let first = number << SEQ_BITS;
        let mut rows = statement.query([first, first | KEY_MASK]).map_err(unreadable)?;
        let mut started = None;
        while let Some(row) = rows.next().map_err(unreadable)? {
            let key: i64 = row.get(0).map_err(unreadable)?;
            let body = bytes(row.get_ref(2).map_err(unreadable)?);
            let hash = bytes(row.get_ref(3).map_err(unreadable)?);
            let time_us: i64 = row.get(1).map_err(unreadable)?;
            let found = (key & KEY_MASK) as u64;
            let event = self.chain.link(self.id, found, time_us, body, hash).map_err(Stop::Broken)?;
            if self.chain.seq == 1 {
                started = Some((title(&event), time_us / 1_000));
            }
            if let Event::RunEnded { status, .. } = &event {
                self.ended = Some((*status, time_us / 1_000));
            }
            self.tally.count(&event);
            self.check_blobs(&event)?;
        }
        let summary = reader.summary(self.id).map_err(|error| match error.sqlite_error_code() {
            Some(_) => unreadable(error),
            // The file can be read, and what stands there is nothing that was ever written.
            None => Stop::Broken(Break { what: format!("{INDEX}: {error}"), ..Break::default() }),
        })?;
        self.check_index(&summary, started)?;
        Ok(Intact {
            events: self.chain.seq,
            blobs: self.blobs.len() as u64,
            head: self.chain.at,
            ended: self.ended.is_some(),
        })
    }

    fn check_blobs(&mut self, event: &Event) -> Result<(), Stop> {
        for digest in blobs_of(event) {
            self.named.insert(digest);
            if !self.blobs.insert(digest) {
                continue;
            }
            match self.reader.blob(&digest) {
                Ok(Some(_)) => {}
                Ok(None) => return Err(self.broken(format!("its blob {digest} is missing"))),
                Err(error) if error.kind == crate::store::FaultKind::Corrupt => {
                    return Err(self.broken(format!("its blob {digest} was changed")));
                }
                Err(error) => return Err(Stop::Unreadable(error)),
            }
        }
        Ok(())
    }

    /// The index row is not in the chain, so it is held against what the chain says. This is also what shows that events were
    /// cut off at the end.
    fn check_index(&self, row: &RunSummary, started: Option<(String, i64)>) -> Result<(), Stop> {
        let differs = |what: &str| Err(Stop::Broken(Break { what: format!("{INDEX}: {what}"), ..Break::default() }));
        if row.events != self.chain.seq || row.head != self.chain.at {
            let words = |events: u64, head: &Digest| format!("{events} events ending in {}", head.short());
            let (expected, found) = (words(row.events, &row.head), words(self.chain.seq, &self.chain.at));
            let what = format!("{INDEX}: it tells of other events than there are");
            return Err(Stop::Broken(Break { seq: 0, what, expected, found }));
        }
        let (status, ended_ms) = self.ended.map_or((RunStatus::Running, None), |(s, ms)| (s, Some(ms)));
        let (title, started_ms) = started.unwrap_or_default();
        if (&row.title, row.status, row.started_ms, row.ended_ms) != (&title, status, started_ms, ended_ms) {
            return differs("its title, status or times are not those of the events");
        }
        if row.tally != self.tally {
            return differs("its counts are not those of the events");
        }
        Ok(())
    }

    fn broken(&self, what: String) -> Stop {
        Stop::Broken(Break { seq: self.chain.seq, what, ..Break::default() })
    }
}

fn bytes(value: ValueRef<'_>) -> &[u8] {
    match value {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes,
        // Of another type than was written: no bytes, which no hash matches.
        _ => &[],
    }
}

fn title(event: &Event) -> String {
    match event {
        Event::RunStarted { title, .. } => title.clone(),
        _ => String::new(),
    }
}
