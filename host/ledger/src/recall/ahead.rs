//! Answers of earlier runs, taken out of the record before they are asked for, on a thread of their own. Nothing rests on it: what was not
//! read ahead is read when it is wanted.

use super::Recollection;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use vespiary_kernel::json::Json;
use vespiary_kernel::observed::ReadSet;
use vespiary_kernel::reuse::{Past, PastCall};

/// What is read ahead of being asked for, at most, bytes of memory; the answer that goes past that is the last.
const AHEAD_BYTES_MAX: usize = 64 << 20;

/// What a call, an observation or a change takes beside its text, bytes of memory; about.
const ENTRY_BYTES: usize = 200;

/// Reads answers ahead. Dropping it ends that, and waits for the one at hand.
#[derive(Debug)]
pub struct ReadAhead {
    over: Arc<AtomicBool>,
    ended: End,
    thread: Option<JoinHandle<()>>,
}

/// Whether answers are still being read ahead.
#[derive(Debug, Clone, Default)]
pub struct End(Arc<AtomicBool>);

impl End {
    /// Whether nothing is left to be read.
    pub fn is_reached(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Reaches the end with whoever holds it, however that ends.
struct Reaching(End);

impl Drop for Reaching {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

impl ReadAhead {
    /// When it will be over.
    pub fn end(&self) -> End {
        self.ended.clone()
    }
}

impl Drop for ReadAhead {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic there has cost nothing but the answers that it would have read.
            let _ = thread.join();
        }
    }
}

impl Recollection {
    /// Take answers out of the record before they are asked for, in the order in which they were given, on a thread that does `first`
    /// before all else. Ends with the returned value.
    pub fn read_ahead(self: &Arc<Self>, first: impl FnOnce() + Send + 'static) -> ReadAhead {
        let (over, ended) = (Arc::new(AtomicBool::new(false)), End::default());
        let (all, stop, reaching) = (Arc::clone(self), Arc::clone(&over), Reaching(ended.clone()));
        let read = move || {
            let _reaching = reaching;
            first();
            all.read_until(AHEAD_BYTES_MAX, &stop);
        };
        // Without a thread each answer is read when it is asked for.
        ReadAhead { over, ended, thread: thread::Builder::new().name("recall".into()).spawn(read).ok() }
    }

    /// Read answers until they take `bytes_max`, or `stop` says so.
    pub(crate) fn read_until(&self, bytes_max: usize, stop: &AtomicBool) {
        let mut bytes = 0;
        for finished in self.order.iter().filter_map(|(key, at)| self.finished.get(key)?.get(*at)) {
            if bytes >= bytes_max || stop.load(Ordering::Relaxed) {
                break;
            }
            if let Some(past) = self.load(finished) {
                bytes += weight(&past);
                self.ready().insert(finished.first.clone(), past);
            }
        }
    }

    /// How many answers lie ready.
    #[cfg(test)]
    pub(crate) fn ready_count(&self) -> usize {
        self.ready().len()
    }
}

/// What an answer takes in memory, bytes; about. What stands in the record beside it, as a blob, is most of it.
fn weight(past: &Past) -> usize {
    let seen = |reads: &ReadSet| reads.observations.iter().map(|one| ENTRY_BYTES + one.path.len()).sum::<usize>();
    let length = |text: &Json| usize::try_from(text.len_bytes()).unwrap_or(usize::MAX);
    let call = |call: &PastCall| ENTRY_BYTES + length(&call.arguments) + call.reads.as_ref().map_or(0, seen);
    let changed = past.changes.iter().map(|(path, _)| ENTRY_BYTES + path.as_str().len()).sum::<usize>();
    let own = ENTRY_BYTES + length(&past.value) + past.reads.as_ref().map_or(0, seen) + changed;
    past.nested.iter().map(call).fold(own, usize::saturating_add)
}
