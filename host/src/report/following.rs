//! The record of a run, read while it is written, so that little is left to be read when the run ends and its report is due. It is handed
//! on by the ledger as it is committed; what was left out of that is read from the ledger. All on a thread of its own.

use super::coverage::{Found, Reading};
use super::record::{Folding, Record};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use vespiary_kernel::event::Event;
use vespiary_kernel::ids::{AgentId, CallId, RunId};
use vespiary_ledger::feed::Feed;
use vespiary_ledger::ledger::Ledger;
use vespiary_ledger::reader::{Reader, Recorded};
use vespiary_ledger::store::LedgerError;

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
    /// Whether that one ended the run.
    ended: bool,
}

/// A run whose record is being read. Dropping it ends that.
pub struct Following {
    reading: Option<JoinHandle<Gathered>>,
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
        let (feed, of, id) = (ledger.follow(run), Arc::clone(ledger), run.clone());
        let follow = move || {
            first();
            let mut gathered = Gathered::none(&id);
            gathered.follow(&feed, &of, &id);
            gathered
        };
        // Without a thread, all of it is read at the end.
        let reading = thread::Builder::new().name("following".into()).spawn(follow).ok();
        Self { reading, ledger: Arc::clone(ledger), run: run.clone() }
    }

    /// All of the record, now that nothing is added to it any more. What could be read stands beside the reason why the rest could not.
    pub fn finish(mut self) -> (Gathered, Option<LedgerError>) {
        let mut gathered = self.end().unwrap_or_else(|| Gathered::none(&self.run));
        if gathered.ended {
            return (gathered, None);
        }
        let rest = self.ledger.reader().and_then(|reader| gathered.read_on(&reader, &self.run));
        (gathered, rest.err())
    }

    fn end(&mut self) -> Option<Gathered> {
        self.ledger.unfollow(&self.run);
        self.reading.take()?.join().ok()
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        // Its connection, if it needed one, is closed by then.
        self.end();
    }
}

impl Gathered {
    fn none(run: &RunId) -> Self {
        let (record, reading) = (Record::fold(run.clone()), Reading::default());
        Self { record, reading, asked: HashMap::new(), seq: 0, ended: false }
    }

    /// Take what is new, until there is no more or what was left out cannot be read.
    fn follow(&mut self, feed: &Feed, ledger: &Ledger, run: &RunId) {
        let mut reader = None;
        while let Some(events) = feed.next() {
            if events.first().is_some_and(|first| first.seq > self.seq + 1) {
                if reader.is_none() {
                    reader = ledger.reader().ok();
                }
                // Whoever reads the rest meets the fault again, and says so.
                let Some(Ok(())) = reader.as_ref().map(|reader| self.read_on(reader, run)) else { return };
            }
            for event in events {
                if event.seq > self.seq {
                    self.add(event, None);
                }
            }
        }
    }

    fn read_on(&mut self, reader: &Reader, run: &RunId) -> Result<(), LedgerError> {
        for event in reader.events_after(run, self.seq)? {
            self.add(event?, Some(reader));
        }
        Ok(())
    }

    /// The next event, its values whole or to be had from `reader`.
    fn add(&mut self, Recorded { seq, time_us, event, .. }: Recorded, reader: Option<&Reader>) {
        self.seq = seq;
        match &event {
            Event::CallIntended { call, agent, .. } => {
                self.asked.insert(*call, *agent);
            }
            Event::CallEnded { call, .. } => {
                let found = self.asked.remove(call).and_then(|agent| Found::of(&event, agent));
                found.iter().for_each(|found| self.reading.add(found, reader));
            }
            _ => {}
        }
        self.ended = matches!(event, Event::RunEnded { .. });
        self.record.add(u64::try_from(time_us).unwrap_or(0), event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use vespiary_kernel::event::{Payload, RunStatus};
    use vespiary_kernel::grant::Grant;
    use vespiary_kernel::json::Json;
    use vespiary_kernel::ports::Log;

    fn started() -> Event {
        let (title, args, grant) = ("audit".into(), Json::null(), Grant::none());
        Event::RunStarted { version: "0".into(), title, script: None, args, root: "/p".into(), grant }
    }

    /// A call of the first agent that read one file, and with it so much that the ledger keeps it as a blob.
    fn call(number: u64, file: &str) -> [Event; 2] {
        let (call, tool) = (CallId(number), "files.read".parse().unwrap());
        let looked_at = (0..100).map(|n| (format!("a/directory/with/a/long/name/{n}"), false));
        let arguments = Payload::Value(Json::null());
        let ended = super::super::coverage::tests::ended(number, looked_at.chain([(file.to_owned(), true)]));
        [Event::CallIntended { call, agent: AgentId(1), tool, arguments }, ended]
    }

    fn append(ledger: &Ledger, run: &RunId, events: impl IntoIterator<Item = Event>) {
        for event in events {
            ledger.append(run, event).unwrap();
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(ledger.flushed()).unwrap();
    }

    fn gathered(dir: &Path, follow_late: bool, is_ended: bool) {
        let ledger = Arc::new(Ledger::open(&dir.join("ledger.db")).unwrap());
        let run: RunId = "r-1".parse().unwrap();
        let follow = || Following::start(&ledger, &run, || ());
        let early = (!follow_late).then(follow);
        append(&ledger, &run, [started()].into_iter().chain(call(1, "one")));
        let following = early.unwrap_or_else(follow);
        append(&ledger, &run, call(2, "two"));
        if is_ended {
            append(&ledger, &run, [Event::RunEnded { status: RunStatus::Completed, value: None, error: None }]);
        }
        let (gathered, fault) = following.finish();
        assert!(fault.is_none(), "{fault:?}");
        let reader = ledger.reader().unwrap();
        assert_eq!(gathered.seq, reader.run(&run).unwrap().events);
        let (record, read) = (gathered.record.finish(), Record::read(&reader, &run).unwrap());
        assert_eq!((record.calls, &record.title, record.status), (read.calls, &read.title, read.status));
        assert_eq!(record.ended_us, read.ended_us);
        let there =
            super::super::there::Files { paths: ["one", "two", "three"].map(String::from).into(), partial: false };
        assert_eq!(gathered.reading.coverage(&there).unwrap().named, ["three"]);
    }

    #[test]
    fn whatever_was_not_handed_on_is_read_from_the_ledger() {
        for (follow_late, is_ended) in [(false, true), (true, true), (false, false), (true, false)] {
            gathered(tempfile::tempdir().unwrap().path(), follow_late, is_ended);
        }
    }
}
