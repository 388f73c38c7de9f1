//! The record of a run, read while it is written, so that little is left to be read when the run ends and its report is due. It reads what
//! is committed, on a thread and a connection of its own, and holds nobody up.

use super::coverage::{Found, Reading};
use super::record::{Folding, Record};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use vespiary_kernel::event::Event;
use vespiary_kernel::ids::{AgentId, CallId, RunId};
use vespiary_ledger::ledger::Ledger;
use vespiary_ledger::reader::Reader;
use vespiary_ledger::store::{FaultKind, LedgerError};

/// How long it is until the record is looked at again: after something was new, and at most.
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(160);

/// What was read of a run.
pub struct Gathered {
    /// All but what agents read.
    pub record: Folding,
    /// What agents read.
    pub reading: Reading,
    /// Who asked for calls that have not ended.
    asked: HashMap<CallId, AgentId>,
    /// The place of the last event that was read.
    seq: u64,
}

/// A run whose record is being read. Dropping it ends that.
pub struct Following {
    reading: Option<JoinHandle<Gathered>>,
    over: Option<Sender<()>>,
    ledger: Arc<Ledger>,
    run: RunId,
}

impl fmt::Debug for Following {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Following").field("run", &self.run).finish_non_exhaustive()
    }
}

impl Following {
    /// Begin, on a thread that does `first` before all else.
    pub fn start(ledger: &Arc<Ledger>, run: &RunId, first: fn()) -> Self {
        let (over, ended) = mpsc::channel();
        let (of, id) = (Arc::clone(ledger), run.clone());
        let follow = move || {
            first();
            let mut gathered = Gathered::none(&id);
            if let Ok(reader) = of.reader() {
                gathered.follow(&reader, &id, &ended);
            }
            gathered
        };
        // Without a thread, all of it is read at the end.
        let reading = thread::Builder::new().name("following".into()).spawn(follow).ok();
        Self { reading, over: Some(over), ledger: Arc::clone(ledger), run: run.clone() }
    }

    /// All of the record, now that nothing is added to it any more. What could be read stands beside the reason why the rest could not.
    pub fn finish(mut self) -> (Gathered, Option<LedgerError>) {
        let mut gathered = self.end().unwrap_or_else(|| Gathered::none(&self.run));
        let rest = self.ledger.reader().and_then(|reader| gathered.read_on(&reader, &self.run));
        (gathered, rest.err())
    }

    fn end(&mut self) -> Option<Gathered> {
        self.over = None;
        self.reading.take()?.join().ok()
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        // Its connection is closed by then.
        self.end();
    }
}

impl Gathered {
    fn none(run: &RunId) -> Self {
        Self { record: Record::fold(run.clone()), reading: Reading::default(), asked: HashMap::new(), seq: 0 }
    }

    /// Read what is new, again and again, until nobody adds to it any more or it cannot be read.
    fn follow(&mut self, reader: &Reader, run: &RunId, ended: &Receiver<()>) {
        let mut pause = PAUSE_MIN;
        while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(pause) {
            let before = self.seq;
            match self.read_on(reader, run) {
                Ok(()) => {}
                // It has not begun.
                Err(error) if error.kind == FaultKind::Missing => {}
                // Whoever reads the rest meets it again, and says so.
                Err(_) => return,
            }
            pause = if self.seq == before { (pause * 2).min(PAUSE_MAX) } else { PAUSE_MIN };
        }
    }

    fn read_on(&mut self, reader: &Reader, run: &RunId) -> Result<(), LedgerError> {
        for event in reader.events_after(run, self.seq)? {
            let event = event?;
            self.seq = event.seq;
            match &event.event {
                Event::CallIntended { call, agent, .. } => {
                    self.asked.insert(*call, *agent);
                }
                Event::CallEnded { call, .. } => {
                    let found = self.asked.remove(call).and_then(|agent| Found::of(&event.event, agent));
                    found.iter().for_each(|found| self.reading.add(found, reader));
                }
                _ => {}
            }
            self.record.add(u64::try_from(event.time_us).unwrap_or(0), event.event);
        }
        Ok(())
    }
}
