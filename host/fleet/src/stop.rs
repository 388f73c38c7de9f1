//! How a run is stopped before its end: by a person, first gently, then firmly; gently when its time is over. Gentle lets running agents finish and starts no new ones, so the
//! script sees `null` for them and can still return what it has. Firm ends every cell at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;

/// How urgently a run should end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Go on.
    None,
    /// Start nothing new.
    Gentle,
    /// End everything.
    Firm,
}

/// The handle; clone it into whatever listens for the person.
#[derive(Debug, Clone)]
pub struct Stop {
    urgency: watch::Sender<Urgency>,
    late: Arc<AtomicBool>,
}

impl Default for Stop {
    fn default() -> Self {
        Self { urgency: watch::Sender::new(Urgency::None), late: Arc::default() }
    }
}

impl Stop {
    /// Stop gently; asked again, firmly. Gives the urgency now in force.
    pub fn ask(&self) -> Urgency {
        self.urgency.send_modify(|urgency| {
            *urgency = if *urgency == Urgency::None { Urgency::Gentle } else { Urgency::Firm };
        });
        self.urgency()
    }

    /// Stop gently because the run's time is over, unless it is being stopped already.
    pub(crate) fn late(&self) {
        let stops = self.urgency.send_if_modified(|urgency| {
            let stops = *urgency == Urgency::None;
            if stops {
                *urgency = Urgency::Gentle;
            }
            stops
        });
        self.late.fetch_or(stops, Ordering::SeqCst);
    }

    /// Whether nothing but the time stops the run.
    pub(crate) fn is_late(&self) -> bool {
        self.late.load(Ordering::SeqCst) && self.urgency() == Urgency::Gentle
    }

    /// Stop firmly at once.
    pub fn now(&self) {
        self.urgency.send_replace(Urgency::Firm);
    }

    /// What has been asked so far.
    pub fn urgency(&self) -> Urgency {
        *self.urgency.borrow()
    }

    /// Resolves when a stop of at least `urgency` has been asked.
    pub(crate) async fn reached(&self, urgency: Urgency) {
        let mut asked = self.urgency.subscribe();
        if asked.wait_for(|now| *now >= urgency).await.is_err() {
            // The sender lives in `self`, so it cannot be gone while we wait.
            std::future::pending::<()>().await;
        }
    }
}
