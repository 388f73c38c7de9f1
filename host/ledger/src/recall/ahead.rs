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
        ReadAhead { over, ended, thread: thread::Builder::new().name("recall".into()).spawn(read).ok() }
    }
}
