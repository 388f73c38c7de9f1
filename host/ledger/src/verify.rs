//! The proof that a run's record is what was written: every link recomputed, every blob hashed, the index compared. It shows
//! any change by somebody who does not also recompute everything after it; against that, keep a run's head elsewhere.

use crate::chain;
use crate::reader::{KEY_MASK, Reader, RunSummary, Tally};
use crate::store::LedgerError;
use crate::writer::SEQ_BITS;
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Break {
    /// The event's place in its run, from 1; 0 when it is the run's index row.
    pub seq: u64,
    /// What is wrong there.
    pub what: String,
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.seq {
            0 => write!(f, "the run's index row: {}", self.what),
            seq => write!(f, "event {seq}: {}", self.what),
        }
    }
}

impl Reader {
    /// Recompute the chain of a run. Fails only when the file cannot be read; what was tampered with is a verdict.
    pub fn verify(&self, id: &RunId) -> Result<Verdict, LedgerError> {
        // One snapshot for the whole walk, though a run may be going on.
        let snapshot = self.connection.unchecked_transaction().map_err(|e| self.fault(e))?;
        let number = self.number(id)?;
        let walk = Walk {
            reader: self,
            id,
            at: chain::genesis(id),
            seq: 0,
            tally: Tally::default(),
            ended: None,
            blobs: HashSet::new(),
        };
        let verdict = match walk.go(number) {
            Ok(intact) => Ok(Verdict::Intact(intact)),
            Err(Stop::Broken(place)) => Ok(Verdict::Broken(place)),
            Err(Stop::Unreadable(error)) => Err(error),
        };
        drop(snapshot);
        verdict
    }
}

enum Stop {
    Broken(Break),
    Unreadable(LedgerError),
}

struct Walk<'a> {
    reader: &'a Reader,
    id: &'a RunId,
    at: Digest,
    seq: u64,
    tally: Tally,
    ended: Option<(RunStatus, i64)>,
    blobs: HashSet<Digest>,
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
            self.seq += 1;
            let found = (key & KEY_MASK) as u64;
            if found != self.seq {
                return Err(self.broken(format!("it is missing; the next one there is {found}")));
            }
            let body = bytes(row.get_ref(2).map_err(unreadable)?);
            let hash = bytes(row.get_ref(3).map_err(unreadable)?);
            let time_us: i64 = row.get(1).map_err(unreadable)?;
            let event = self.link(time_us, body, hash)?;
            if self.seq == 1 {
                started = Some((title(&event), time_us / 1_000));
            }
            if let Event::RunEnded { status, .. } = &event {
                self.ended = Some((*status, time_us / 1_000));
            }
            self.tally.count(&event);
            self.check_blobs(&event)?;
        }
        let summary = reader.run(self.id).map_err(Stop::Unreadable)?;
        self.check_index(&summary, started)?;
        Ok(Intact { events: self.seq, blobs: self.blobs.len() as u64, head: self.at, ended: self.ended.is_some() })
    }

    fn link(&mut self, time_us: i64, body: &[u8], hash: &[u8]) -> Result<Event, Stop> {
        let link = chain::link(self.id, self.seq, &self.at, time_us, body);
        if link.as_bytes() != hash {
            let what = "its text, time, place or hash is not what was recorded after the event before it";
            return Err(self.broken(what.into()));
        }
        self.at = link;
        serde_json::from_slice(body).map_err(|e| self.broken(format!("it is as written, but not an event: {e}")))
    }

    fn check_blobs(&mut self, event: &Event) -> Result<(), Stop> {
        let mut digests = Vec::new();
        let mut payload = |p: &Payload| {
            if let Payload::Blob { digest, .. } = p {
                digests.push(*digest);
            }
        };
        match event {
            Event::CallIntended { arguments, .. } => payload(arguments),
            Event::RunEnded { value: Some(value), .. } => payload(value),
            Event::CallEnded { value, artifacts, .. } => {
                value.iter().for_each(payload);
                digests.extend(artifacts.iter().map(|a| a.digest));
            }
            _ => {}
        }
        for digest in digests {
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
        let differs = |what: String| Err(Stop::Broken(Break { seq: 0, what }));
        if row.events != self.seq || row.head != self.at {
            let what = format!(
                "it names {} events ending in {}; there are {} ending in {}",
                row.events,
                row.head.short(),
                self.seq,
                self.at.short()
            );
            return differs(what);
        }
        let (status, ended_ms) = self.ended.map_or((RunStatus::Running, None), |(s, ms)| (s, Some(ms)));
        let (title, started_ms) = started.unwrap_or_default();
        if (&row.title, row.status, row.started_ms, row.ended_ms) != (&title, status, started_ms, ended_ms) {
            return differs("its title, status or times are not those of the events".into());
        }
        if row.tally != self.tally {
            return differs("its counts are not those of the events".into());
        }
        Ok(())
    }

    fn broken(&self, what: String) -> Stop {
        Stop::Broken(Break { seq: self.seq, what })
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
