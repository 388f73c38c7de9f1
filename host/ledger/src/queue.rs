//! The hand-over between callers and the writer: a vector under a lock, and who waits for what. Here a caller's cost is
//! decided: it moves an event into memory and goes on. No serialization, no hashing, no SQLite in this file.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use vespiary_kernel::event::{Event, Payload};
use vespiary_kernel::ids::RunId;
use vespiary_kernel::ports::LogError;

/// Events in memory at most; past it, callers wait for the disk.
const ENTRIES_MAX: usize = 65_536;

/// Their values and artifacts at most, in bytes. One event that is larger by itself passes when it is alone.
const BYTES_MAX: usize = 64 << 20;

/// How long events gather before they are written when nobody waits for them. Also the most that `kill -9` can lose of what
/// nobody waited for.
const GATHER: Duration = Duration::from_millis(5);

/// After so many empty looks the writer sleeps until it is woken. Until then callers need not wake it, which would cost each
/// of them a system call.
const EMPTY_LOOKS_MAX: u32 = 20;

/// One event on its way to the disk.
pub(crate) struct Entry {
    pub(crate) run: RunId,
    /// Microseconds since 1970 UTC.
    pub(crate) time_us: i64,
    pub(crate) event: Event,
}

impl Entry {
    /// Roughly what it occupies in memory, in bytes.
    pub(crate) fn weight(&self) -> usize {
        size_of::<Self>() + self.parts().sum::<usize>()
    }

    /// The longest of what may be long in it, in bytes.
    pub(crate) fn longest(&self) -> usize {
        self.parts().max().unwrap_or_default()
    }

    /// What may be long in it: its values, artifacts and texts, in bytes each.
    fn parts(&self) -> impl Iterator<Item = usize> {
        let (payloads, artifacts) = self.event.contents();
        let values = payloads.into_iter().map(|payload| match payload {
            Payload::Value(json) => json.as_str().len(),
            Payload::Blob { .. } | Payload::Digest { .. } => 0,
        });
        let files = artifacts.iter().filter_map(|artifact| artifact.content.as_ref()).map(|content| content.len());
        let words = match &self.event {
            Event::RunStarted { args, .. } => args.as_str().len(),
            Event::RunPrepared { settings, .. } => settings.as_str().len(),
            Event::Log { text } => text.len(),
            Event::ClaimJudged { claim, .. } => claim.len(),
            _ => 0,
        };
        values.chain(files).chain([words])
    }
}

/// What the writer is asked to do next.
pub(crate) struct Group {
    /// How many events were ever appended, up to the end of this group.
    pub(crate) upto: u64,
    /// Whether somebody waits for it to be on disk.
    pub(crate) durable: bool,
}

type Waiter = oneshot::Sender<Result<(), LogError>>;

#[derive(Default)]
struct State {
    entries: Vec<Entry>,
    bytes: usize,
    appended: u64,
    durable: u64,
    waiters: Vec<(u64, Waiter)>,
    /// Callers that wait for room.
    blocked: usize,
    failed: Option<LogError>,
    closing: bool,
    asleep: bool,
}

impl State {
    fn is_full(&self, weight: usize) -> bool {
        !self.entries.is_empty() && (self.entries.len() >= ENTRIES_MAX || self.bytes + weight > BYTES_MAX)
    }

    fn is_urgent(&self) -> bool {
        !self.waiters.is_empty() || self.blocked > 0 || self.closing || self.entries.len() >= ENTRIES_MAX / 2
    }
}

/// See the file's header.
#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    work: Condvar,
    room: Condvar,
}

impl Queue {
    // A poisoned lock means that a caller died between two assignments here; every state in between is sound.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Take one event over. Waits while the disk is far behind.
    pub(crate) fn push(&self, entry: Entry) -> Result<(), LogError> {
        let weight = entry.weight();
        let mut state = self.lock();
        while state.failed.is_none() && !state.closing && state.is_full(weight) {
            state.blocked += 1;
            self.work.notify_one();
            state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.blocked -= 1;
        }
        if let Some(error) = &state.failed {
            return Err(error.clone());
        }
        if state.closing {
            return Err(closed());
        }
        state.entries.push(entry);
        state.bytes += weight;
        state.appended += 1;
        let wake = std::mem::take(&mut state.asleep);
        drop(state);
        if wake {
            self.work.notify_one();
        }
        Ok(())
    }

    /// Ask for everything appended so far to be on disk. `None`: it is.
    pub(crate) fn wait(&self) -> Result<Option<oneshot::Receiver<Result<(), LogError>>>, LogError> {
        let mut state = self.lock();
        if let Some(error) = &state.failed {
            return Err(error.clone());
        }
        if state.durable == state.appended {
            return Ok(None);
        }
        let (sender, receiver) = oneshot::channel();
        let position = state.appended;
        state.waiters.push((position, sender));
        state.asleep = false;
        drop(state);
        self.work.notify_one();
        Ok(Some(receiver))
    }

    /// For the writer: swap the gathered events into `into`, which is empty. `None`: closed, and nothing is left to do.
    pub(crate) fn next(&self, into: &mut Vec<Entry>) -> Option<Group> {
        let mut state = self.lock();
        let mut empty_looks = 0;
        while !state.is_urgent() {
            if empty_looks == EMPTY_LOOKS_MAX {
                state.asleep = true;
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.asleep = false;
                empty_looks = 0;
                continue;
            }
            let waited = self.work.wait_timeout(state, GATHER).unwrap_or_else(PoisonError::into_inner);
            state = waited.0;
            match (waited.1.timed_out(), state.entries.is_empty()) {
                (true, true) => empty_looks += 1,
                (true, false) => break,
                (false, _) => {}
            }
        }
        if state.closing && state.entries.is_empty() && state.durable == state.appended {
            return None;
        }
        std::mem::swap(&mut state.entries, into);
        state.bytes = 0;
        let group = Group { upto: state.appended, durable: !state.waiters.is_empty() || state.closing };
        let blocked = state.blocked > 0;
        drop(state);
        if blocked {
            self.room.notify_all();
        }
        Some(group)
    }

    /// For the writer: a group is committed.
    pub(crate) fn done(&self, group: &Group) {
        if !group.durable {
            return;
        }
        let mut state = self.lock();
        state.durable = group.upto;
        let (served, waiting) = std::mem::take(&mut state.waiters).into_iter().partition(|(at, _)| *at <= group.upto);
        state.waiters = waiting;
        drop(state);
        answer(served, &Ok(()));
    }

    /// For the writer: nothing more can be recorded, ever. The first reason stays.
    pub(crate) fn fail(&self, error: LogError) {
        let mut state = self.lock();
        let error = state.failed.get_or_insert(error).clone();
        let unwritten = std::mem::take(&mut state.entries);
        state.bytes = 0;
        let waiters = std::mem::take(&mut state.waiters);
        drop(state);
        self.room.notify_all();
        answer(waiters, &Err(error));
        drop(unwritten);
    }

    /// Accept nothing more; the writer ends when all is written.
    pub(crate) fn close(&self) {
        self.lock().closing = true;
        self.work.notify_one();
        self.room.notify_all();
    }

    /// Why nothing more can be recorded, when that is so.
    pub(crate) fn failure(&self) -> Option<LogError> {
        self.lock().failed.clone()
    }
}

fn answer(waiters: Vec<(u64, Waiter)>, with: &Result<(), LogError>) {
    for (_, waiter) in waiters {
        // Whoever asked may have gone.
        let _ = waiter.send(with.clone());
    }
}

fn closed() -> LogError {
    LogError { what: "the ledger is closed".into(), remedy: "open it again to record more".into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::thread;

    fn entry(text: String) -> Entry {
        Entry { run: "r".parse().unwrap(), time_us: 0, event: Event::Log { text } }
    }

    #[test]
    fn a_caller_waits_for_room_and_goes_on_when_there_is_some() {
        let queue = Arc::new(Queue::default());
        queue.push(entry("x".repeat(BYTES_MAX))).expect("alone, it passes whatever its size");
        let second = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || queue.push(entry("y".into())))
        };
        thread::sleep(Duration::from_millis(50));
        assert!(!second.is_finished(), "it should wait");
        let mut taken = Vec::new();
        let group = queue.next(&mut taken).unwrap();
        assert_eq!((taken.len(), group.upto), (1, 1));
        second.join().unwrap().unwrap();
    }

    #[test]
    fn failing_frees_everybody_with_the_first_reason() {
        let queue = Arc::new(Queue::default());
        queue.push(entry("x".repeat(BYTES_MAX))).unwrap();
        let blocked = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || queue.push(entry("y".into())))
        };
        let waiter = queue.wait().unwrap().unwrap();
        let first = LogError { what: "first".into(), remedy: "r".into() };
        queue.fail(first.clone());
        queue.fail(LogError { what: "second".into(), remedy: "r".into() });
        assert_eq!(blocked.join().unwrap(), Err(first.clone()));
        assert_eq!(waiter.blocking_recv().unwrap(), Err(first.clone()));
        assert_eq!(queue.push(entry("z".into())), Err(first.clone()));
        assert_eq!(queue.wait().unwrap_err(), first);
    }

    #[test]
    fn a_waiter_that_came_during_a_lazy_group_gets_a_durable_one() {
        let queue = Queue::default();
        queue.push(entry("a".into())).unwrap();
        let lazy = queue.next(&mut Vec::new()).unwrap();
        assert!(!lazy.durable);
        let mut waiter = queue.wait().unwrap().expect("written is not yet on disk");
        queue.done(&lazy);
        assert!(waiter.try_recv().is_err(), "a lazy group must not answer it");
        let mut none = Vec::new();
        let forced = queue.next(&mut none).unwrap();
        assert!(forced.durable && none.is_empty());
        queue.done(&forced);
        assert_eq!(waiter.try_recv().unwrap(), Ok(()));
        assert!(queue.wait().unwrap().is_none());
    }
}
