//! A run's record, handed on within the process as it is committed: who follows a run need not read back what was just written. A feed
//! may leave something out, and whoever reads it tells by the places of the events; the record itself has all.

use crate::queue::Entry;
use crate::reader::Recorded;
use std::collections::HashMap;
use std::fmt;
use std::mem;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use vespiary_kernel::event::Payload;
use vespiary_kernel::ids::RunId;

/// What one feed may hold that nobody has taken yet, in bytes. What does not fit is left out.
const BYTES_MAX: usize = 16 << 20;

/// What a run's record grows by, from when it was asked for.
pub struct Feed {
    groups: Receiver<Group>,
    held: Arc<AtomicUsize>,
}

/// What was committed together, of one run.
struct Group {
    events: Vec<Recorded>,
    bytes: usize,
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed").field("held", &self.held).finish_non_exhaustive()
    }
}

impl Feed {
    /// The next events, in order, their values whole. Waits for some; `None` once there will be no more. The first ones' place tells
    /// whether some were left out before.
    pub fn next(&self) -> Option<Vec<Recorded>> {
        let Group { events, bytes } = self.groups.recv().ok()?;
        self.held.fetch_sub(bytes, Ordering::Relaxed);
        Some(events)
    }
}

/// Where the writer finds who follows what.
#[derive(Default)]
pub(crate) struct Feeds(Mutex<State>);

#[derive(Default)]
struct State {
    runs: HashMap<RunId, Followed>,
    /// Nothing more will be written.
    over: bool,
}

struct Followed {
    groups: Sender<Group>,
    held: Arc<AtomicUsize>,
}

impl Feeds {
    /// A feed of `run`. It takes the place of one that was there.
    pub(crate) fn of(&self, run: &RunId) -> Feed {
        let (sender, groups) = mpsc::channel();
        let held = Arc::new(AtomicUsize::new(0));
        let mut state = self.lock();
        if !state.over {
            state.runs.insert(run.clone(), Followed { groups: sender, held: Arc::clone(&held) });
        }
        Feed { groups, held }
    }

    /// End the feed of `run`; what is in it can still be taken out.
    pub(crate) fn end(&self, run: &RunId) {
        self.lock().runs.remove(run);
    }

    fn end_all(&self) {
        let mut state = self.lock();
        (state.runs, state.over) = (HashMap::new(), true);
    }

    /// The runs that are followed now.
    pub(crate) fn runs(&self) -> Vec<RunId> {
        self.lock().runs.keys().cloned().collect()
    }

    fn hand_on(&self, run: &RunId, group: Group) {
        let state = self.lock();
        let Some(Followed { groups, held }) = state.runs.get(run) else { return };
        if held.fetch_add(group.bytes, Ordering::Relaxed) + group.bytes > BYTES_MAX {
            held.fetch_sub(group.bytes, Ordering::Relaxed);
            return;
        }
        // Whoever followed may have gone.
        let _ = groups.send(group);
    }

    // A panic under this lock leaves nothing half done.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For the writer: what of the group at hand is followed, until it is committed.
pub(crate) struct Followers {
    feeds: Arc<Feeds>,
    runs: Vec<(RunId, Group)>,
}

/// What an event held before its values were moved away.
pub(crate) struct Whole {
    values: Vec<Payload>,
    bytes: usize,
}

impl Followers {
    pub(crate) fn new(feeds: Arc<Feeds>) -> Self {
        Self { feeds, runs: Vec::new() }
    }

    /// A new group begins; what was kept of one that was not committed is forgotten.
    pub(crate) fn begin(&mut self) {
        let none = |run| (run, Group { events: Vec::new(), bytes: 0 });
        self.runs = self.feeds.runs().into_iter().map(none).collect();
    }

    /// Whether anybody follows a run.
    pub(crate) fn are_there(&self) -> bool {
        !self.runs.is_empty()
    }

    /// What of `entry` whoever follows its run will want to see, where somebody does.
    pub(crate) fn look(&self, entry: &Entry) -> Option<Whole> {
        let followed = self.runs.iter().any(|(run, _)| *run == entry.run);
        followed
            .then(|| Whole { values: entry.event.contents().0.into_iter().cloned().collect(), bytes: entry.weight() })
    }

    /// The same event has been written.
    pub(crate) fn keep(&mut self, run: &RunId, Whole { values, bytes }: Whole, mut recorded: Recorded) {
        for (payload, value) in recorded.event.contents_mut().0.into_iter().zip(values) {
            *payload = value;
        }
        let Some((_, group)) = self.runs.iter_mut().find(|(followed, _)| followed == run) else { return };
        group.bytes += bytes;
        if group.bytes <= BYTES_MAX {
            group.events.push(recorded);
        } else {
            // All of it will be left out.
            group.events = Vec::new();
        }
    }

    /// The group is committed.
    pub(crate) fn hand_on(&mut self) {
        for (run, group) in mem::take(&mut self.runs) {
            if !group.events.is_empty() {
                self.feeds.hand_on(&run, group);
            }
        }
    }
}

impl Drop for Followers {
    fn drop(&mut self) {
        // Nothing more will be written.
        self.feeds.end_all();
    }
}
