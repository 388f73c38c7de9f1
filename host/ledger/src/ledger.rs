//! The ledger as the rest of the program holds it: append quickly, wait for the disk where that matters, read elsewhere.

use crate::feed::{Feed, Feeds, Followers};
use crate::queue::{Entry, Queue};
use crate::reader::Reader;
use crate::store::{self, FaultKind, LedgerError};
use crate::writer::{self, BLOB_BYTES_MAX, Writer};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use vespiary_kernel::event::Event;
use vespiary_kernel::ids::RunId;
use vespiary_kernel::ports::{BoxFuture, Log, LogError};

/// A ledger open for writing.
///
/// # What is promised
///
/// - `append` returns once the event is in memory, in order. It reaches the operating system within about 5 ms and the
///   disk with the next flush or checkpoint, so a killed process can lose those 5 ms of what nobody waited for, a power cut
///   what was not flushed. Either way what is left is a whole prefix of each chain.
/// - `flushed` resolves only after an fsync that covers everything appended before the call. Whoever changes the world waits
///   for it first.
/// - After the first fault nothing more is written, and every `append` and `flushed` returns that fault. An event too large for any
///   ledger is no fault of it: `append` refuses that one, and goes on with the others.
pub struct Ledger {
    queue: Arc<Queue>,
    feeds: Arc<Feeds>,
    path: PathBuf,
    part_bytes_max: usize,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger").field("path", &self.path).finish_non_exhaustive()
    }
}

/// What a test makes small.
pub(crate) struct Limits {
    pub(crate) busy_max: Duration,
    pub(crate) pages_max: Option<u32>,
    /// The longest value, artifact or text.
    pub(crate) part_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { busy_max: store::BUSY_MAX, pages_max: None, part_bytes_max: BLOB_BYTES_MAX }
    }
}

impl Ledger {
    /// Open the ledger at `path` and create it (0600, in a directory of 0700) where there is none. Fails with a remedy when the
    /// file is held by another process for 5 s, damaged, something else, of a newer schema, or cannot be written.
    pub fn open(path: &Path) -> Result<Self, LedgerError> {
        Self::open_within(path, &Limits::default())
    }

    pub(crate) fn open_within(path: &Path, limits: &Limits) -> Result<Self, LedgerError> {
        let connection = store::open_writer(path, limits.busy_max)?;
        if let Some(pages) = limits.pages_max {
            let limit = connection.pragma_update_and_check(None, "max_page_count", pages, |row| row.get::<_, i64>(0));
            limit.map_err(|e| LedgerError::sqlite(path, e))?;
        }
        let queue = Arc::new(Queue::default());
        let feeds = Arc::<Feeds>::default();
        let writer = Writer::new(connection, path.to_owned(), Followers::new(Arc::clone(&feeds)));
        let theirs = Arc::clone(&queue);
        let thread = thread::Builder::new().name("ledger".into()).spawn(move || writer::run(writer, &theirs));
        let thread = thread.map_err(|e| {
            let what = format!("cannot start the ledger's thread: {e}");
            LedgerError::new(FaultKind::Other, what, "raise the limit on processes (ulimit -u)")
        })?;
        let part_bytes_max = limits.part_bytes_max;
        Ok(Self { queue, feeds, path: path.to_owned(), part_bytes_max, writer: Mutex::new(Some(thread)) })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A reader of the same file; it sees what is committed.
    pub fn reader(&self) -> Result<Reader, LedgerError> {
        Reader::open(&self.path)
    }

    /// What is recorded of `run` from now on, as it is committed. A run has one feed; a new one ends that before it.
    pub fn follow(&self, run: &RunId) -> Feed {
        self.feeds.of(run)
    }

    /// End the feed of `run`. What was committed before `flushed` last resolved is in it.
    pub fn unfollow(&self, run: &RunId) {
        self.feeds.end(run);
    }

    /// Write everything to disk and end the writer. Later appends are refused. Blocks; a second call only reports.
    pub fn close(&self) -> Result<(), LogError> {
        self.queue.close();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            // A panic there has been turned into a failure that is reported here.
            let _ = writer.join();
        }
        self.queue.failure().map_or(Ok(()), Err)
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        // Nobody is left to tell; whoever cares called `close`.
        let _ = self.close();
    }
}

impl Log for Ledger {
    fn append(&self, run: &RunId, event: Event) -> Result<(), LogError> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let time_us = i64::try_from(since.as_micros()).unwrap_or(i64::MAX);
        let entry = Entry { run: run.clone(), time_us, event };
        // Said here, to whoever asks: within the writer's group it would take what others recorded with it.
        let (bytes, most) = (entry.longest(), self.part_bytes_max);
        if bytes > most {
            return Err(LogError {
                what: format!("{bytes} bytes are too many for one value of a ledger; {most} fit"),
                remedy: "split it, or leave less at once".into(),
            });
        }
        self.queue.push(entry)
    }

    fn flushed(&self) -> BoxFuture<'_, Result<(), LogError>> {
        // Asked for now, not when first polled: "so far" is the moment of the call.
        let asked = self.queue.wait();
        Box::pin(async move {
            let Some(receiver) = asked? else { return Ok(()) };
            receiver.await.unwrap_or_else(|_| {
                let what = "the ledger's writer is gone".to_owned();
                Err(self.queue.failure().unwrap_or(LogError { what, remedy: "start the run again".into() }))
            })
        })
    }
}
