//! Answers of earlier runs, taken out of the record before they are asked for, on a thread of their own. Nothing rests on it: what was not
//! read ahead is read when it is wanted.

use super::Recollection;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

/// What is read ahead of being asked for, at most, as bytes of the record.
const AHEAD_BYTES_MAX: usize = 64 << 20;

/// Reads answers ahead. Dropping it ends that, and waits for the one at hand.
#[derive(Debug)]
pub struct ReadAhead {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl ReadAhead {
    /// Whether nothing is left to be read.
    pub fn is_over(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
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
    /// Take answers out of the record before they are asked for, in the order in which they were given, while nothing else is to be done
    /// on a processor. Ends with the returned value.
    pub fn read_ahead(self: &Arc<Self>) -> ReadAhead {
        let over = Arc::new(AtomicBool::new(false));
        let (all, stop) = (Arc::clone(self), Arc::clone(&over));
        let read = move || {
            let mut bytes = 0;
            for finished in all.order.iter().filter_map(|(key, at)| all.finished.get(key)?.get(*at)) {
                bytes += finished.bytes();
                if bytes > AHEAD_BYTES_MAX || stop.load(Ordering::Relaxed) {
                    break;
                }
                if let Some(past) = all.load(finished) {
                    all.ready().insert(finished.first.clone(), past);
                }
            }
        };
        // Without a thread each answer is read when it is asked for.
        ReadAhead { over, thread: thread::Builder::new().name("recall".into()).spawn(read).ok() }
    }
}
